/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_block_index.c - values of index.mdb: pages of texts, lists and series. What is accepted stays in bounds. */
#include "narthex/base/assert.h"
#include "narthex/codec/postings.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nx_bytes page = {data, size};
    read_blobs(page);
    read_series(page);
    return 0;
}
