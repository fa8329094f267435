/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_union.c - the buckets that several layouts of one schema have between them.
 *
 * Buckets come and go as values do that were not seen before, and with each the spans change. Their union has a column
 * for each bucket whatever the spans are: what changes is only which columns a sample has.
 */
#include "narthex/base/assert.h"
#include "narthex/model/staleness.h"

#include "histogram_internal.h"

#include <string.h>

void bucket_union_deinit(struct bucket_union *columns)
{
    nx_buf_deinit(&columns->ranges);
    nx_buf_deinit(&columns->next);
}

void bucket_union_reset(struct bucket_union *columns)
{
    nx_buf_reset(&columns->ranges);
    columns->columns = 0;
}

static const struct bucket_range *ranges_of(const struct nx_buf *ranges, size_t *out_count)
{
    *out_count = ranges->len / sizeof(struct bucket_range);
    return (const struct bucket_range *)(const void *)ranges->data;
}

/* Appends to columns->next, or makes its last range longer. Ranges come ascending by their first bucket. */
static void next_add(struct bucket_union *columns, int64_t first, int64_t end)
{
    struct nx_buf *next = &columns->next;
    if (next->len > 0) {
        struct bucket_range *last =
            (struct bucket_range *)(void *)(next->data + next->len - sizeof(*last));
        if (first <= last->end) {
            if (end > last->end) {
                columns->next_columns += (uint32_t)(end - last->end);
                last->end = end;
            }
            return;
        }
    }
    struct bucket_range range = {.first = first, .end = end, .column = columns->next_columns};
    nx_buf_append(next, &range, sizeof(range));
    columns->next_columns += (uint32_t)(end - first);
}

uint32_t bucket_union_prepare(struct bucket_union *columns, const struct histogram_side *side)
{
    size_t count;
    const struct bucket_range *old = ranges_of(&columns->ranges, &count);
    size_t at = 0;
    int64_t index = 0;
    nx_buf_reset(&columns->next);
    columns->next_columns = 0;
    for (size_t s = 0; s < side->span_count; s++) {
        index += side->spans[s].offset;
        int64_t first = index;
        index += side->spans[s].length;
        if (first == index)
            continue;
        for (; at < count && old[at].first <= first; at++)
            next_add(columns, old[at].first, old[at].end);
        next_add(columns, first, index);
    }
    for (; at < count; at++)
        next_add(columns, old[at].first, old[at].end);
    return columns->next_columns;
}

void bucket_union_commit(struct bucket_union *columns)
{
    struct nx_buf ranges = columns->ranges;
    columns->ranges = columns->next;
    columns->next = ranges;
    columns->columns = columns->next_columns;
}

uint32_t bucket_union_column(const struct bucket_union *columns, int64_t index)
{
    size_t count;
    const struct bucket_range *ranges = ranges_of(&columns->ranges, &count);
    size_t low = 0;
    while (count - low > 1) {
        size_t middle = low + (count - low) / 2;
        if (ranges[middle].first <= index)
            low = middle;
        else
            count = middle;
    }
    NX_DCHECK(count > 0 && index >= ranges[low].first && index < ranges[low].end);
    return ranges[low].column + (uint32_t)(index - ranges[low].first);
}

bool histogram_same_frame(const struct histogram *a, const struct histogram *b)
{
    return a->schema == b->schema && a->is_float == b->is_float &&
           a->bound_count == b->bound_count &&
           float_bits(a->zero_threshold) == float_bits(b->zero_threshold) &&
           (a->bound_count == 0 ||
            memcmp(a->bounds, b->bounds, a->bound_count * sizeof(*a->bounds)) == 0);
}

bool histogram_same_spans(const struct histogram *a, const struct histogram *b)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *x = &a->sides[sign];
        const struct histogram_side *y = &b->sides[sign];
        if (x->span_count != y->span_count || x->bucket_count != y->bucket_count ||
            (x->span_count > 0 &&
             memcmp(x->spans, y->spans, x->span_count * sizeof(*x->spans)) != 0))
            return false;
    }
    return true;
}
