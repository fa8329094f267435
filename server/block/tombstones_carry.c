/* SPDX-License-Identifier: Apache-2.0 */
/* tombstones_carry.c - a delete that came while its block was being merged, applied to what the merge made.
 *
 *   ranks of the source --labels--> ranks of the output     both ascend in label order, so one walk over each
 *   ranges now - ranges that the merge has applied          what is new
 *
 * Only what is new may be carried: the merge has put samples of other blocks beside this one's, which an older delete,
 * already applied, has nothing to do with. The new one named them in their own blocks too: all sources were live.
 */
#include "narthex/base/mem.h"

#include "merge_internal.h"

#include <stdlib.h>

struct carried {
    struct time_range range;
    uint32_t rank; /* in the output */
};

static int carried_compare(const void *left, const void *right)
{
    const struct carried *a = left, *b = right;
    if (a->range.min_ms != b->range.min_ms)
        return a->range.min_ms < b->range.min_ms ? -1 : 1;
    if (a->range.max_ms != b->range.max_ms)
        return a->range.max_ms < b->range.max_ms ? -1 : 1;
    return (a->rank > b->rank) - (a->rank < b->rank);
}

struct carry {
    struct block *output;
    struct block_reader *from, *to;
    struct labels to_labels; /* of to_rank */
    uint32_t to_rank;
    bool has_labels;
    struct nx_buf before, now; /* struct time_range of the series at hand */
    struct nx_buf found;       /* struct carried */
};

/* The output's series with these labels; false when it has none. Labels come ascending. */
static nx_code find_in_output(struct carry *carry, struct labels labels, bool *out_is_there,
                              struct nx_err *err)
{
    uint32_t count = (uint32_t)block_meta(carry->output)->series_count;
    *out_is_there = false;
    while (carry->to_rank < count) {
        if (!carry->has_labels) {
            nx_code code =
                block_reader_labels(carry->to, carry->to_rank, &carry->to_labels, NULL, err);
            if (code != NX_OK)
                return code;
            carry->has_labels = true;
        }
        int order = labels_compare(carry->to_labels, labels);
        *out_is_there = order == 0;
        if (order >= 0)
            return NX_OK;
        carry->to_rank++;
        carry->has_labels = false;
    }
    return NX_OK;
}

static void note(struct carry *carry, int64_t min_ms, int64_t max_ms)
{
    struct time_range span = block_span(block_meta(carry->output));
    struct carried item = {
        {min_ms > span.min_ms ? min_ms : span.min_ms, max_ms < span.max_ms ? max_ms : span.max_ms},
        carry->to_rank};
    if (item.range.min_ms <= item.range.max_ms)
        nx_buf_append(&carry->found, &item, sizeof(item));
}

/* The parts of `now` that are not in `before`. */
static void note_new(struct carry *carry)
{
    const struct time_range *now = (const struct time_range *)(const void *)carry->now.data;
    const struct time_range *before = (const struct time_range *)(const void *)carry->before.data;
    size_t before_count = carry->before.len / sizeof(*before);
    for (size_t i = 0; i < carry->now.len / sizeof(*now); i++) {
        int64_t from_ms = now[i].min_ms;
        bool is_done = false;
        for (size_t j = 0; j < before_count && !is_done; j++) {
            if (before[j].max_ms < from_ms || before[j].min_ms > now[i].max_ms)
                continue;
            if (before[j].min_ms > from_ms)
                note(carry, from_ms, before[j].min_ms - 1);
            is_done = before[j].max_ms >= now[i].max_ms;
            if (!is_done)
                from_ms = before[j].max_ms + 1;
        }
        if (!is_done)
            note(carry, from_ms, now[i].max_ms);
    }
}

static bool is_unchanged(const struct carry *carry)
{
    return carry->now.len == carry->before.len &&
           (carry->now.len == 0 ||
            memcmp(carry->now.data, carry->before.data, carry->now.len) == 0);
}

static nx_code collect(struct carry *carry, const struct tombstones *applied,
                       const struct tombstones *current, struct nx_err *err)
{
    struct nx_buf ranks = {0};
    nx_code code = NX_OK;
    tombstones_ranks(current, &ranks);
    const uint32_t *rank = (const uint32_t *)(const void *)ranks.data;
    for (size_t i = 0; code == NX_OK && i < ranks.len / sizeof(*rank); i++) {
        struct labels labels;
        bool is_there = false;
        nx_buf_reset(&carry->now);
        nx_buf_reset(&carry->before);
        tombstones_ranges(current, rank[i], &carry->now);
        if (applied != NULL)
            tombstones_ranges(applied, rank[i], &carry->before);
        if (is_unchanged(carry))
            continue;
        code = block_reader_labels(carry->from, rank[i], &labels, NULL, err);
        if (code == NX_OK)
            code = find_in_output(carry, labels, &is_there, err);
        if (code == NX_OK && is_there)
            note_new(carry);
    }
    nx_buf_deinit(&ranks);
    return code;
}

/* One entry for each range among those found. */
static nx_code add_found(struct carry *carry, struct tombstones **inout, struct nx_err *err)
{
    struct carried *found = (struct carried *)(void *)carry->found.data;
    size_t count = carry->found.len / sizeof(*found);
    struct nx_buf ranks = {0};
    nx_code code = NX_OK;
    if (count > 0)
        qsort(found, count, sizeof(*found), carried_compare);
    for (size_t first = 0, end; code == NX_OK && first < count; first = end) {
        nx_buf_reset(&ranks);
        for (end = first; end < count && found[end].range.min_ms == found[first].range.min_ms &&
                          found[end].range.max_ms == found[first].range.max_ms;
             end++)
            nx_buf_append(&ranks, &found[end].rank, sizeof(uint32_t));
        struct tombstones *made = NULL;
        code =
            tombstones_add(*inout, (uint32_t)block_meta(carry->output)->series_count,
                           (const uint32_t *)(const void *)ranks.data, ranks.len / sizeof(uint32_t),
                           found[first].range.min_ms, found[first].range.max_ms, &made, err);
        if (code == NX_OK) {
            tombstones_unref(*inout);
            *inout = made;
        }
    }
    nx_buf_deinit(&ranks);
    return code;
}

nx_code tombstones_carry(struct block *source, const struct tombstones *applied,
                         const struct tombstones *current, struct block *output,
                         struct tombstones **inout, struct nx_err *err)
{
    struct carry carry = {.output = output};
    nx_code code = block_reader_new_walk(source, &carry.from, err);
    if (code == NX_OK)
        code = block_reader_new_walk(output, &carry.to, err);
    if (code == NX_OK)
        code = collect(&carry, applied, current, err);
    if (code == NX_OK)
        code = add_found(&carry, inout, err);
    block_reader_free(carry.from);
    block_reader_free(carry.to);
    nx_buf_deinit(&carry.before);
    nx_buf_deinit(&carry.now);
    nx_buf_deinit(&carry.found);
    return code;
}
