/* histogram_support.h - native histograms of many shapes, for tests, benchmarks and fuzzers. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/assert.h"
#include "narthex/base/rand.h"
#include "narthex/model/histogram.h"
#include "narthex/model/staleness.h"

static inline uint64_t histogram_any_count(struct rand_state *rand, bool is_float)
{
    uint64_t count = rand_u64(rand) >> rand_below(rand, 64);
    if (!is_float || rand_below(rand, 16) == 0)
        return rand_below(rand, 32) == 0 ? rand_u64(rand) : count;
    return float_bits(rand_below(rand, 2) == 0 ? (double)(count >> 20) : rand_unit(rand) * 1e6);
}

/* Random spans and counts: `spans_max` of at most `length_max` buckets. */
static inline struct histogram_side histogram_any_side(struct rand_state *rand, struct arena *arena,
                                                       size_t spans_max, size_t length_max,
                                                       int32_t offset_min, bool is_float)
{
    struct histogram_side side = {.span_count = (uint32_t)rand_below(rand, spans_max + 1)};
    struct histogram_span *spans = arena_alloc(arena, (side.span_count + 1) * sizeof(*spans));
    for (size_t s = 0; s < side.span_count; s++) {
        spans[s].offset = (int32_t)rand_below(rand, 5) + (s == 0 ? offset_min : 0);
        spans[s].length = (uint32_t)rand_below(rand, length_max + 1);
        side.bucket_count += spans[s].length;
    }
    uint64_t *buckets = arena_alloc(arena, (side.bucket_count + 1) * sizeof(*buckets));
    for (size_t b = 0; b < side.bucket_count; b++)
        buckets[b] = histogram_any_count(rand, is_float);
    side.spans = side.span_count == 0 ? NULL : spans;
    side.buckets = side.bucket_count == 0 ? NULL : buckets;
    return side;
}

/* A well-formed histogram, whose counts need not add up. */
static inline struct histogram *histogram_any(struct rand_state *rand, struct arena *arena)
{
    struct histogram *histogram = arena_calloc(arena, 1, sizeof(*histogram));
    bool is_custom = rand_below(rand, 4) == 0;
    bool is_float = rand_below(rand, 2) == 0;
    histogram->is_float = is_float;
    histogram->schema =
        is_custom ? HISTOGRAM_SCHEMA_CUSTOM : (int32_t)rand_below(rand, 13) + HISTOGRAM_SCHEMA_MIN;
    histogram->hint = (uint8_t)rand_below(rand, 4);
    histogram->sum = rand_below(rand, 20) == 0  ? float_from_bits(STALE_NAN_BITS)
                     : rand_below(rand, 2) == 0 ? (double)rand_below(rand, 100000)
                                                : rand_unit(rand) * 1e4;
    histogram->sides[HISTOGRAM_POSITIVE] =
        histogram_any_side(rand, arena, 4, 12, is_custom ? 0 : -20, is_float);
    if (!is_custom) {
        histogram->zero_threshold = rand_below(rand, 2) == 0 ? 0x1p-128 : rand_unit(rand);
        histogram->zero_count = histogram_any_count(rand, is_float);
        histogram->sides[HISTOGRAM_NEGATIVE] = histogram_any_side(rand, arena, 2, 6, -20, is_float);
    } else {
        histogram->bound_count = 80; /* more than 4 spans of 12 + 4 */
        double *bounds = arena_alloc(arena, histogram->bound_count * sizeof(*bounds));
        double bound = rand_below(rand, 4) == 0 ? -__builtin_inf() : -1;
        for (size_t i = 0; i < histogram->bound_count; i++) {
            bounds[i] = bound;
            bound = i == 0 ? 0.005 : bound + 0.005 + rand_unit(rand);
        }
        histogram->bounds = bounds;
    }
    histogram->count =
        rand_below(rand, 4) == 0 ? histogram_any_count(rand, is_float) : histogram_total(histogram);
    NX_ASSERT(histogram_is_well_formed(histogram));
    return histogram;
}

/* The next sample of a series: often the same layout with some counts grown, else another one. */
static inline struct histogram *histogram_any_next(struct rand_state *rand, struct arena *arena,
                                                   const struct histogram *before)
{
    if (rand_below(rand, 16) == 0)
        return histogram_any(rand, arena);
    struct histogram *next = histogram_copy(arena, before);
    if (rand_below(rand, 4) == 0)
        return next;
    bool is_total = next->count == histogram_total(next);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        uint64_t *buckets = arena_copy(arena, next->sides[sign].buckets,
                                       next->sides[sign].bucket_count * sizeof(*buckets));
        for (size_t b = 0; b < next->sides[sign].bucket_count; b++)
            if (rand_below(rand, 3) == 0)
                buckets[b] = next->is_float ? float_bits(float_from_bits(buckets[b]) + 1)
                                            : buckets[b] + rand_below(rand, 100);
        if (next->sides[sign].bucket_count > 0)
            next->sides[sign].buckets = buckets;
    }
    next->sum += rand_unit(rand);
    next->hint = rand_below(rand, 8) == 0 ? (uint8_t)rand_below(rand, 4) : next->hint;
    next->count = is_total ? histogram_total(next) : histogram_any_count(rand, next->is_float);
    return next;
}
