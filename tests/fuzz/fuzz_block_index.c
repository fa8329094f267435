/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_block_index.c - values of index.mdb: pages of texts, lists and series, exemplars of a series. What is accepted
 * stays in bounds. */
#include "narthex/base/assert.h"
#include "narthex/codec/postings.h"

#include "server/block/block_exemplars.h"
#include "server/block/block_index_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAIR_BOUND 5000u
#define RANK_BOUND 100000u

static void read_blobs(struct nx_bytes page)
{
    struct index_page_head head;
    if (index_page_read(page, &head) != NX_OK)
        return;
    for (uint32_t i = 0; i < head.count; i++) {
        struct nx_bytes blob = {0};
        if (blob_page_get(page, i, &blob) != NX_OK)
            return;
        NX_ASSERT(blob.data >= page.data && blob.len <= (size_t)(page.data + page.len - blob.data));
        struct postings *set = postings_new();
        if (postings_decode_into(blob, RANK_BOUND, set) == NX_OK)
            NX_ASSERT(postings_count(set) <= RANK_BOUND);
        (void)postings_encoded_count(blob);
        postings_free(set);
    }
}

static void read_series(struct nx_bytes page)
{
    struct series_cursor cursor = {0};
    if (series_cursor_begin(&cursor, page) == NX_OK) {
        while (series_cursor_next(&cursor, PAIR_BOUND) == NX_OK) {
            NX_ASSERT(cursor.count > 0 && cursor.pairs[cursor.count - 1] < PAIR_BOUND);
            for (uint32_t i = 1; i < cursor.count; i++)
                NX_ASSERT(cursor.pairs[i - 1] < cursor.pairs[i]);
        }
    }
    series_cursor_deinit(&cursor);
}

/* What is accepted is packed again into what gives the same. */
static void read_exemplars(struct nx_bytes entry)
{
    struct arena arena;
    struct nx_buf out = {0}, again = {0}, packed = {0};
    uint32_t rank = 0;
    arena_init(&arena, 0);
    if (exemplars_rank(entry, &rank) == NX_OK &&
        exemplars_unpack(entry, INT64_MIN, INT64_MAX, &arena, &out) == NX_OK) {
        struct exemplar *all = (struct exemplar *)(void *)out.data;
        size_t count = out.len / sizeof(*all);
        NX_ASSERT(count > 0 && exemplars_sort(all, count) == count);
        size_t kept = exemplars_pack(rank, all, count, &packed);
        NX_ASSERT(exemplars_unpack(nx_buf_bytes(&packed), INT64_MIN, INT64_MAX, &arena, &again) ==
                  NX_OK);
        const struct exemplar *got = (const struct exemplar *)(const void *)again.data;
        NX_ASSERT(again.len == kept * sizeof(*got));
        for (size_t i = 0; i < kept; i++)
            NX_ASSERT(exemplar_equal(&got[i], &all[count - kept + i]));
    }
    nx_buf_deinit(&out);
    nx_buf_deinit(&again);
    nx_buf_deinit(&packed);
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nx_bytes page = {data, size};
    read_exemplars(page);
    read_blobs(page);
    read_series(page);
    return 0;
}
