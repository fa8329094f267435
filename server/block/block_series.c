/* SPDX-License-Identifier: Apache-2.0 */
/* block_series.c - all series of a block as numbers of pairs: how a start fills the head.
 *
 * In       a block that verifies
 * Out      each pair's text once, then each series' pairs: no text is looked at per series
 * Fails    NX_E_CORRUPT, or what the visitor says
 */
#include "block_internal.h"

static nx_code damaged(const struct block *block, struct nx_err *err)
{
    return nx_err_set(err, NX_E_CORRUPT, "block %s: index.mdb: a series is damaged",
                      block->file.meta.ulid);
}

static nx_code each_pair(const struct block *block, const struct block_index *index,
                         const struct block_pairs_visitor *visitor, struct nx_err *err)
{
    uint32_t name_count;
    const struct index_name *names = block_index_names(index, &name_count);
    uint32_t pair = 0;
    for (uint32_t i = 0; i < name_count; i++) {
        if (names[i].first_pair != pair || names[i].end_pair < pair)
            return damaged(block, err);
        for (; pair < names[i].end_pair; pair++) {
            struct label label = {.name = names[i].text};
            nx_code code = block_index_value(index, pair, &label.value);
            if (code != NX_OK)
                return damaged(block, err);
            code = visitor->pair(visitor->context, label, err);
            if (code != NX_OK)
                return code;
        }
    }
    return pair == block_index_pair_count(index) ? NX_OK : damaged(block, err);
}

static nx_code each_of_page(const struct block *block, struct series_cursor *cursor,
                            uint32_t pair_bound, const struct block_pairs_visitor *visitor,
                            uint32_t *inout_rank, struct nx_err *err)
{
    nx_code code;
    while ((code = series_cursor_next(cursor, pair_bound)) == NX_OK) {
        if (cursor->rank != *inout_rank)
            return damaged(block, err);
        (*inout_rank)++;
        uint32_t slot = cursor->has_slots ? cursor->slot : BLOCK_SLOT_NONE;
        code = visitor->series(visitor->context, cursor->rank, slot, cursor->pairs, cursor->count,
                               err);
        if (code != NX_OK)
            return code;
    }
    return code == NX_E_NOT_FOUND ? NX_OK : damaged(block, err);
}

nx_code block_each_series_pairs(struct block *block, const struct block_pairs_visitor *visitor,
                                struct nx_err *err)
{
    const struct block_index *index;
    nx_code code = block_index_of(block, &index, err);
    if (code == NX_OK)
        code = each_pair(block, index, visitor, err);
    struct series_cursor cursor = {0};
    uint32_t count = code == NX_OK ? block_index_series_count(index) : 0;
    uint32_t rank = 0;
    while (code == NX_OK && rank < count) {
        struct nx_bytes page;
        uint32_t first = rank;
        code = block_index_series_page(index, rank, &page);
        if (code == NX_OK)
            code = series_cursor_begin(&cursor, page);
        if (code != NX_OK) {
            code = damaged(block, err);
            break;
        }
        code = each_of_page(block, &cursor, block_index_pair_count(index), visitor, &rank, err);
        if (code == NX_OK && rank == first)
            code = damaged(block, err); /* a page that does not hold its rank */
    }
    if (code == NX_OK && rank != count)
        code = damaged(block, err);
    series_cursor_deinit(&cursor);
    return code;
}
