/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_histogram_chunk.c - any bytes as a chunk of native histograms, and any histograms through a chunk and back.
 *
 * Input    byte 0: 0: two bytes of count, then a chunk. Else histograms one after another (histogram_code), each the
 *          difference from the one before or whole, as samples of a series.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/histogram_chunk.h"
#include "narthex/codec/histogram_code.h"

#include <stdint.h>

#define SAMPLES_MAX 700u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct histogram back[HISTOGRAM_CHUNK_SAMPLES_MAX];
static struct histogram given[SAMPLES_MAX];

static void through_a_chunk(const struct histogram *const *samples, size_t count)
{
    struct nx_buf out = {0};
    struct arena arena;
    arena_init(&arena, 0);
    histogram_chunk_encode(samples, count, &out);
    NX_ASSERT(histogram_chunk_decode(nx_buf_bytes(&out), count, &arena, back) == NX_OK);
    for (size_t i = 0; i < count; i++)
        NX_ASSERT(histogram_equal(samples[i], &back[i]));
    nx_buf_deinit(&out);
    arena_deinit(&arena);
}

static void decode_any(const uint8_t *data, size_t size, struct arena *arena)
{
    const struct histogram *samples[HISTOGRAM_CHUNK_SAMPLES_MAX];
    size_t count = (size_t)data[0] | (size_t)data[1] << 8;
    if (count > HISTOGRAM_CHUNK_SAMPLES_MAX)
        return;
    if (histogram_chunk_decode((struct nx_bytes){data + 2, size - 2}, count, arena, back) != NX_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        NX_ASSERT(histogram_is_well_formed(&back[i]));
        samples[i] = histogram_copy(arena, &back[i]);
        if (samples[i] == NULL)
            return;
    }
    through_a_chunk(samples, histogram_chunk_fit(samples, count));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct arena arena;
    arena_init(&arena, 1 << 25);
    if (data[0] == 0) {
        decode_any(data + 1, size - 1, &arena);
        arena_deinit(&arena);
        return 0;
    }
    const struct histogram *samples[SAMPLES_MAX];
    size_t count = 0;
    struct byte_reader reader = byte_reader_of((struct nx_bytes){data + 1, size - 1});
    while (count < SAMPLES_MAX && byte_reader_left(&reader) > 0 &&
           histogram_get(&reader, count == 0 ? NULL : &given[count - 1], &arena, &given[count]) ==
               NX_OK) {
        samples[count] = &given[count];
        count++;
    }
    for (size_t at = 0, taken; at < count; at += taken) {
        taken = histogram_chunk_fit(samples + at, count - at);
        NX_ASSERT(taken > 0 && taken <= count - at);
        through_a_chunk(samples + at, taken);
    }
    arena_deinit(&arena);
    return 0;
}
