/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_block_group.c - bytes of a group, as chunks and as vectors, with and without a good envelope.
 *
 * First byte: 0 the bytes are a stored group, 1 the body of a chunk group; 2 that of a vector group. Then, for 1 and
 * 2, two bytes: ranks (first, last) or (count). What is accepted is read to the end.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"

#include "server/block/block_group.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_chunks(struct nx_bytes raw, uint32_t first, uint32_t last)
{
    struct chunk_group *group = NULL;
    size_t bytes = 0;
    uint64_t bits[64];
    if (chunk_group_parse(raw, first, last, &group, &bytes) != NX_OK)
        return;
    NX_ASSERT(group->chunks[0].rank == first && group->chunks[group->chunk_count - 1].rank == last);
    for (uint32_t i = 0; i < group->chunk_count; i++) {
        NX_ASSERT(i == 0 || group->chunks[i - 1].rank <= group->chunks[i].rank);
        NX_ASSERT(chunk_group_find(group, group->chunks[i].rank) <= i);
        /* Inside implies overlap. */
        if (chunk_group_is_inside(group, i, -1000000, 1000000))
            NX_ASSERT(chunk_group_may_overlap(group, i, -1000000, 1000000));
        struct nx_bytes chunk = chunk_group_bytes(group, i);
        if (chunk_is_histogram(chunk)) {
            struct histogram histograms[64];
            struct arena arena;
            arena_init(&arena, 0);
            nx_ignore(histogram_chunk_decode(chunk, 64, &arena, histograms));
            arena_deinit(&arena);
        } else {
            nx_ignore(chunk_decode(chunk, 64, bits));
        }
    }
    nx_free(group);
}

static void read_vectors(struct nx_bytes raw, uint32_t count)
{
    struct vector_group *group = NULL;
    size_t bytes = 0;
    if (vector_group_parse(raw, 5, count, &group, &bytes) != NX_OK)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t times_count = 0;
        const int64_t *times = vector_group_times(group, 5 + i, &times_count);
        NX_ASSERT(times_count > 0);
        for (uint32_t j = 1; j < times_count; j++)
            NX_ASSERT(times[j - 1] < times[j]);
    }
    nx_free(group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct nx_bytes body = {data + 3, size - 3};
    if (data[0] == 1) {
        read_chunks(body, data[1], (uint32_t)data[1] + data[2]);
    } else if (data[0] == 2) {
        read_vectors(body, data[1] + 256u * data[2]);
    } else {
        struct nx_buf scratch = {0};
        struct nx_bytes raw = {0};
        struct nx_bytes stored = {data + 1, size - 1};
        if (group_unpack(stored, 0, GROUP_KIND_CHUNKS, 0, &scratch, &raw) == NX_OK)
            read_chunks(raw, 0, 2);
        if (group_unpack(stored, 0, GROUP_KIND_VECTORS, 0, &scratch, &raw) == NX_OK)
            read_vectors(raw, 2);
        nx_buf_deinit(&scratch);
    }
    return 0;
}
