/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_histogram_code.c - any bytes as histograms and exemplars: refused, or well-formed and written the same way.
 *
 * Input    byte 0: 0 histograms one after another, each the difference from the one before or whole; 1 exemplars.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/exemplar_code.h"
#include "narthex/codec/histogram_code.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_and_get(const struct histogram *histogram, const struct histogram *before)
{
    struct nx_buf out = {0};
    struct arena arena;
    arena_init(&arena, 0);
    struct histogram back;
    histogram_put(histogram, before, &out);
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&out));
    NX_ASSERT(histogram_get(&reader, before, &arena, &back) == NX_OK);
    NX_ASSERT(byte_reader_left(&reader) == 0);
    NX_ASSERT(histogram_equal(&back, histogram));
    nx_buf_deinit(&out);
    arena_deinit(&arena);
}

static void read_histograms(struct nx_bytes bytes, struct arena *arena)
{
    struct byte_reader reader = byte_reader_of(bytes);
    struct histogram *before = NULL;
    while (byte_reader_left(&reader) > 0) {
        struct histogram *next = arena_alloc(arena, sizeof(*next));
        if (next == NULL || histogram_get(&reader, before, arena, next) != NX_OK)
            break;
        NX_ASSERT(histogram_is_well_formed(next));
        put_and_get(next, NULL);
        if (before != NULL)
            put_and_get(next, before);
        before = next;
    }
}

static void read_exemplars(struct nx_bytes bytes, struct arena *arena)
{
    struct byte_reader reader = byte_reader_of(bytes);
    struct exemplar exemplar = {0};
    struct exemplar back;
    struct nx_err err;
    while (byte_reader_left(&reader) > 0) {
        int64_t base_ms = exemplar.time_ms;
        if (exemplar_get(&reader, base_ms, arena, &exemplar) != NX_OK)
            break;
        NX_ASSERT(exemplar_check(&exemplar, &err) == NX_OK);
        struct nx_buf out = {0};
        exemplar_put(&exemplar, base_ms, &out);
        NX_ASSERT(out.len <= EXEMPLAR_CODE_BYTES_MAX);
        struct byte_reader again = byte_reader_of(nx_buf_bytes(&out));
        NX_ASSERT(exemplar_get(&again, base_ms, arena, &back) == NX_OK);
        NX_ASSERT(exemplar_equal(&back, &exemplar));
        nx_buf_deinit(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct arena arena;
    arena_init(&arena, 1 << 24);
    struct nx_bytes bytes = {.data = data + 1, .len = size - 1};
    if (data[0] == 0)
        read_histograms(bytes, &arena);
    else
        read_exemplars(bytes, &arena);
    arena_deinit(&arena);
    return 0;
}
