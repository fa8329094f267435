/* SPDX-License-Identifier: Apache-2.0 */
/* histogram.c - comparing, copying and walking native histograms.
 *
 * What a receiver refuses is in histogram_check.c.
 */
#include "narthex/model/histogram.h"

#include "narthex/base/assert.h"
#include "narthex/model/staleness.h"

#include <math.h>
#include <string.h>

static_assert(sizeof(struct histogram_span) == 8, "spans are compared as bytes: no padding");

bool histogram_is_stale(const struct histogram *histogram)
{
    return is_stale_nan(histogram->sum);
}

static bool same_bytes(const void *a, const void *b, size_t bytes)
{
    return bytes == 0 || memcmp(a, b, bytes) == 0;
}

bool histogram_same_layout(const struct histogram *a, const struct histogram *b)
{
    if (a->schema != b->schema || a->is_float != b->is_float || a->bound_count != b->bound_count ||
        float_bits(a->zero_threshold) != float_bits(b->zero_threshold))
        return false;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *x = &a->sides[sign];
        const struct histogram_side *y = &b->sides[sign];
        if (x->span_count != y->span_count || x->bucket_count != y->bucket_count ||
            !same_bytes(x->spans, y->spans, x->span_count * sizeof(*x->spans)))
            return false;
    }
    return same_bytes(a->bounds, b->bounds, a->bound_count * sizeof(*a->bounds));
}

bool histogram_equal(const struct histogram *a, const struct histogram *b)
{
    if (!histogram_same_layout(a, b) || a->hint != b->hint || a->count != b->count ||
        a->zero_count != b->zero_count || float_bits(a->sum) != float_bits(b->sum))
        return false;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *x = &a->sides[sign];
        if (!same_bytes(x->buckets, b->sides[sign].buckets, x->bucket_count * sizeof(*x->buckets)))
            return false;
    }
    return true;
}

size_t histogram_bytes(const struct histogram *histogram)
{
    size_t bytes = sizeof(*histogram) + histogram->bound_count * sizeof(*histogram->bounds);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *side = &histogram->sides[sign];
        bytes += side->span_count * sizeof(*side->spans);
        bytes += side->bucket_count * sizeof(*side->buckets);
    }
    return bytes;
}

/* Copies to *next and moves it on; NULL for nothing. All arrays are of 8-byte elements, so each stands aligned. */
static void *place(char **next, const void *data, size_t bytes)
{
    if (bytes == 0)
        return NULL;
    void *to = *next;
    memcpy(to, data, bytes);
    *next += bytes;
    return to;
}

struct histogram *histogram_copy(struct arena *arena, const struct histogram *histogram)
{
    static_assert(sizeof(struct histogram) % 8 == 0, "arrays follow the struct");
    struct histogram *copy = arena_alloc(arena, histogram_bytes(histogram));
    if (copy == NULL)
        return NULL;
    *copy = *histogram;
    char *next = (char *)(copy + 1);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        struct histogram_side *side = &copy->sides[sign];
        side->spans = place(&next, side->spans, side->span_count * sizeof(*side->spans));
        side->buckets = place(&next, side->buckets, side->bucket_count * sizeof(*side->buckets));
    }
    copy->bounds = place(&next, copy->bounds, copy->bound_count * sizeof(*copy->bounds));
    return copy;
}

uint64_t histogram_total(const struct histogram *histogram)
{
    static const enum histogram_sign order[] = {HISTOGRAM_NEGATIVE, HISTOGRAM_POSITIVE};
    uint64_t total = histogram->zero_count;
    double float_total = float_from_bits(histogram->zero_count);
    for (size_t i = 0; i < NX_ARRAY_LEN(order); i++) {
        const struct histogram_side *side = &histogram->sides[order[i]];
        if (histogram->is_float)
            for (size_t b = 0; b < side->bucket_count; b++)
                float_total += float_from_bits(side->buckets[b]);
        else
            for (size_t b = 0; b < side->bucket_count; b++)
                total += side->buckets[b];
    }
    return histogram->is_float ? float_bits(float_total) : total;
}

/* Spans as a reader needs them: `floor` is the least that the first offset may be. */
static bool side_is_well_formed(const struct histogram_side *side, int64_t floor, int64_t index_max)
{
    uint64_t buckets = 0;
    int64_t index = 0; /* of the next bucket; cannot overflow: at most 2^12 steps below 2^32 */
    if (side->span_count > HISTOGRAM_SPANS_MAX || side->bucket_count > HISTOGRAM_BUCKETS_MAX)
        return false;
    for (size_t s = 0; s < side->span_count; s++) {
        const struct histogram_span *span = &side->spans[s];
        if (span->offset < (s == 0 ? floor : 0))
            return false;
        buckets += span->length;
        index += span->offset;
        index += span->length;
        if (index > index_max)
            return false;
    }
    return buckets == side->bucket_count;
}

static bool bounds_are_well_formed(const struct histogram *histogram)
{
    const double *bounds = histogram->bounds;
    if (histogram->bound_count > HISTOGRAM_BUCKETS_MAX)
        return false;
    for (size_t i = 0; i < histogram->bound_count; i++)
        if (isnan(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1]))
            return false;
    return histogram->bound_count == 0 || bounds[histogram->bound_count - 1] < (double)INFINITY;
}

bool histogram_is_well_formed(const struct histogram *histogram)
{
    const struct histogram_side *sides = histogram->sides;
    if (histogram->hint > HISTOGRAM_HINT_GAUGE)
        return false;
    if (histogram->schema == HISTOGRAM_SCHEMA_CUSTOM)
        return sides[HISTOGRAM_NEGATIVE].span_count == 0 &&
               sides[HISTOGRAM_NEGATIVE].bucket_count == 0 && bounds_are_well_formed(histogram) &&
               side_is_well_formed(&sides[HISTOGRAM_POSITIVE], 0,
                                   (int64_t)histogram->bound_count + 1);
    return histogram->schema >= HISTOGRAM_SCHEMA_MIN && histogram->schema <= HISTOGRAM_SCHEMA_MAX &&
           histogram->bound_count == 0 &&
           side_is_well_formed(&sides[HISTOGRAM_POSITIVE], INT32_MIN, INT32_MAX) &&
           side_is_well_formed(&sides[HISTOGRAM_NEGATIVE], INT32_MIN, INT32_MAX);
}
