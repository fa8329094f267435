/* SPDX-License-Identifier: Apache-2.0 */
/* histogram_check.c - what a receiver refuses of a native histogram, and how it lowers the resolution of one.
 *
 * In       a view over what a sender wrote: nothing about it is known, but that its arrays are as long as it says.
 * Fails    NX_E_INVALID in Prometheus' words, in the order in which it looks (model/histogram: Validate,
 *          reduceResolution).
 */
#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"
#include "narthex/model/histogram.h"
#include "narthex/model/staleness.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define NEGATIVE_OFFSET  "histogram has a span whose offset is negative"
#define BUCKETS_MISMATCH "histogram spans specify different number of buckets than provided"
#define NEGATIVE_COUNT   "histogram has a bucket whose observation count is negative"

/* Each message begins with `where`. */
static nx_code check_spans(const struct histogram_side *side, bool is_first_checked,
                           const char *where, struct nx_err *err)
{
    uint64_t buckets = 0;
    for (size_t s = 0; s < side->span_count; s++) {
        const struct histogram_span *span = &side->spans[s];
        if (span->offset < 0 && (s > 0 || is_first_checked))
            return nx_err_set(err, NX_E_INVALID, "%sspan number %zu with offset %" PRId32 ": %s",
                              where, s + 1, span->offset, NEGATIVE_OFFSET);
        buckets += span->length;
    }
    if (buckets != side->bucket_count)
        return nx_err_set(err, NX_E_INVALID,
                          "%sspans need %" PRIu64 " buckets, have %" PRIu32 " buckets: %s", where,
                          buckets, side->bucket_count, BUCKETS_MISMATCH);
    return NX_OK;
}

static nx_code check_counts(const struct histogram *histogram, enum histogram_sign sign,
                            struct nx_err *err)
{
    const struct histogram_side *side = &histogram->sides[sign];
    const char *where = sign == HISTOGRAM_POSITIVE ? "positive" : "negative";
    char text[FLOAT_TEXT_MAX + 1];
    for (size_t b = 0; b < side->bucket_count; b++) {
        if (histogram->is_float) {
            double count = float_from_bits(side->buckets[b]);
            if (!(count < 0))
                continue;
            text[float_text_g(text, count)] = '\0';
        } else {
            int64_t count = (int64_t)side->buckets[b];
            if (count >= 0)
                continue;
            snprintf(text, sizeof(text), "%" PRId64, count);
        }
        return nx_err_set(err, NX_E_INVALID,
                          "%s side: bucket number %zu has observation count of %s: %s", where,
                          b + 1, text, NEGATIVE_COUNT);
    }
    return NX_OK;
}

/* As Go's %f. */
static void print_bound(char *out, size_t bytes, double bound)
{
    if (isinf(bound))
        snprintf(out, bytes, "%s", bound < 0 ? "-Inf" : "+Inf");
    else
        snprintf(out, bytes, "%f", bound);
}

static nx_code check_bounds(const struct histogram *histogram, struct nx_err *err)
{
    double before = (double)-INFINITY;
    for (size_t i = 0; i < histogram->bound_count; i++) {
        double bound = histogram->bounds[i];
        if (isnan(bound))
            return nx_err_set(err, NX_E_INVALID,
                              "custom buckets: histogram custom bounds must not be NaN");
        if (i > 0 && bound <= before) {
            char texts[2][FLOAT_TEXT_MAX];
            print_bound(texts[0], sizeof(texts[0]), before);
            print_bound(texts[1], sizeof(texts[1]), bound);
            return nx_err_set(err, NX_E_INVALID,
                              "custom buckets: previous bound is %s and current is %s: histogram "
                              "custom bounds must be in strictly increasing order",
                              texts[0], texts[1]);
        }
        before = bound;
    }
    if (before == (double)INFINITY)
        return nx_err_set(err, NX_E_INVALID,
                          "custom buckets: last +Inf bound must not be explicitly defined: "
                          "histogram custom bounds must be finite");
    return NX_OK;
}

static nx_code check_custom(const struct histogram *histogram, struct nx_err *err)
{
    const struct histogram_side *positive = &histogram->sides[HISTOGRAM_POSITIVE];
    const struct histogram_side *negative = &histogram->sides[HISTOGRAM_NEGATIVE];
    nx_code code = check_bounds(histogram, err);
    if (code != NX_OK)
        return code;
    code = check_spans(positive, true, "custom buckets: ", err);
    if (code != NX_OK)
        return code;
    uint64_t reach = 0;
    for (size_t s = 0; s < positive->span_count; s++)
        reach += positive->spans[s].length + (uint64_t)positive->spans[s].offset;
    if (reach > (uint64_t)histogram->bound_count + 1)
        return nx_err_set(err, NX_E_INVALID,
                          "custom buckets: only %" PRIu32 " custom bounds defined which is "
                          "insufficient to cover total span length of %" PRIu64
                          ": histogram custom bounds are too few",
                          histogram->bound_count, reach);
    bool has_zeros = histogram->is_float ? float_from_bits(histogram->zero_count) != 0
                                         : histogram->zero_count != 0;
    if (has_zeros)
        return nx_err_set(err, NX_E_INVALID, "custom buckets: must have zero count of 0");
    if (histogram->zero_threshold != 0)
        return nx_err_set(err, NX_E_INVALID, "custom buckets: must have zero threshold of 0");
    if (negative->span_count > 0)
        return nx_err_set(err, NX_E_INVALID, "custom buckets: must not have negative spans");
    if (negative->bucket_count > 0)
        return nx_err_set(err, NX_E_INVALID, "custom buckets: must not have negative buckets");
    return NX_OK;
}

static nx_code check_exponential(const struct histogram *histogram, struct nx_err *err)
{
    const struct histogram_side *sides = histogram->sides;
    nx_code code = check_spans(&sides[HISTOGRAM_POSITIVE], false, "positive side: ", err);
    if (code != NX_OK)
        return code;
    code = check_spans(&sides[HISTOGRAM_NEGATIVE], false, "negative side: ", err);
    if (code != NX_OK)
        return code;
    code = check_counts(histogram, HISTOGRAM_NEGATIVE, err);
    if (code != NX_OK)
        return code;
    if (histogram->bound_count > 0)
        return nx_err_set(err, NX_E_INVALID,
                          "histogram with exponential schema must not have custom bounds");
    return NX_OK;
}

static nx_code refuse_schema(int32_t schema, struct nx_err *err)
{
    bool is_known = schema >= HISTOGRAM_SCHEMA_KNOWN_MIN && schema <= HISTOGRAM_SCHEMA_KNOWN_MAX;
    return nx_err_set(err, NX_E_INVALID,
                      "histogram has an %s schema, which must be between %d and %d for "
                      "exponential buckets, or %d for custom buckets, got schema %" PRId32,
                      is_known ? "invalid" : "unknown",
                      is_known ? HISTOGRAM_SCHEMA_MIN : HISTOGRAM_SCHEMA_KNOWN_MIN,
                      is_known ? HISTOGRAM_SCHEMA_MAX : HISTOGRAM_SCHEMA_KNOWN_MAX,
                      HISTOGRAM_SCHEMA_CUSTOM, schema);
}

/* What Prometheus would take, and no exporter sends. */
static nx_code refuse_shape(struct nx_err *err)
{
    return nx_err_set(err, NX_E_INVALID,
                      "histogram has more than %u spans or %u buckets on a side, an unknown reset "
                      "hint, or a bucket whose index is out of range",
                      HISTOGRAM_SPANS_MAX, HISTOGRAM_BUCKETS_MAX);
}

/* Integers only: float counts round, so Prometheus does not compare them either. */
static nx_code check_total(const struct histogram *histogram, struct nx_err *err)
{
    uint64_t total = histogram_total(histogram);
    bool has_nan = isnan(histogram->sum); /* a NaN is counted, and in no bucket */
    if (has_nan ? total <= histogram->count : total == histogram->count)
        return NX_OK;
    return nx_err_set(
        err, NX_E_INVALID,
        "%" PRIu64 " observations found in buckets, but the Count field is %" PRIu64
        ": histogram's observation count should %s",
        total, histogram->count,
        has_nan ? "be at least the number of observations found in the buckets"
                : "equal the number of observations found in the buckets (in absence of NaN)");
}

nx_code histogram_check(const struct histogram *histogram, struct nx_err *err)
{
    nx_code code = NX_OK;
    if (histogram->schema == HISTOGRAM_SCHEMA_CUSTOM)
        code = check_custom(histogram, err);
    else if (histogram->schema >= HISTOGRAM_SCHEMA_MIN && histogram->schema <= HISTOGRAM_SCHEMA_MAX)
        code = check_exponential(histogram, err);
    else
        code = refuse_schema(histogram->schema, err);
    if (code != NX_OK)
        return code;
    code = check_counts(histogram, HISTOGRAM_POSITIVE, err);
    if (code != NX_OK)
        return code;
    if (!histogram->is_float) {
        code = check_total(histogram, err);
        if (code != NX_OK)
            return code;
    }
    return histogram_is_well_formed(histogram) ? NX_OK : refuse_shape(err);
}

struct reduction {
    struct histogram_span *spans;
    uint64_t *buckets;
    uint32_t span_count;
    uint32_t bucket_count;
    int64_t last_index; /* of the last bucket in `buckets` */
    bool is_float;
};

/* False when a span cannot say where the bucket is. */
static bool reduction_add(struct reduction *to, int64_t index, uint64_t count)
{
    if (to->bucket_count > 0 && index == to->last_index) {
        uint64_t *last = &to->buckets[to->bucket_count - 1];
        *last = to->is_float ? float_bits(float_from_bits(*last) + float_from_bits(count))
                             : *last + count;
        return true;
    }
    if (to->bucket_count > 0 && index == to->last_index + 1) {
        to->spans[to->span_count - 1].length++;
    } else {
        int64_t offset = to->bucket_count == 0 ? index : index - to->last_index - 1;
        if (offset < INT32_MIN || offset > INT32_MAX)
            return false;
        to->spans[to->span_count++] =
            (struct histogram_span){.offset = (int32_t)offset, .length = 1};
    }
    to->last_index = index;
    to->buckets[to->bucket_count++] = count;
    return true;
}

static nx_code reduce_side(struct histogram_side *side, unsigned shift, bool is_float,
                           struct arena *arena, struct nx_err *err)
{
    nx_code code = check_spans(side, false, "", err);
    if (code != NX_OK)
        return code;
    if (side->span_count > HISTOGRAM_SPANS_MAX || side->bucket_count > HISTOGRAM_BUCKETS_MAX)
        return refuse_shape(err);
    if (side->bucket_count == 0) {
        *side = (struct histogram_side){0};
        return NX_OK;
    }
    struct reduction to = {.is_float = is_float};
    to.spans = arena_alloc(arena, side->span_count * sizeof(*to.spans));
    to.buckets = arena_alloc(arena, side->bucket_count * sizeof(*to.buckets));
    if (to.spans == NULL || to.buckets == NULL)
        return nx_err_set(err, NX_E_LIMIT, "no memory left for a histogram");
    int64_t index = 0; /* HISTOGRAM_SPANS_MAX steps below 2^33 do not overflow it */
    size_t bucket = 0;
    for (size_t s = 0; s < side->span_count; s++) {
        index += side->spans[s].offset;
        for (uint32_t i = 0; i < side->spans[s].length; i++) {
            if (!reduction_add(&to, ((index - 1) >> shift) + 1, side->buckets[bucket]))
                return refuse_shape(err);
            bucket++;
            index++;
        }
    }
    *side = (struct histogram_side){.spans = to.spans,
                                    .buckets = to.buckets,
                                    .span_count = to.span_count,
                                    .bucket_count = to.bucket_count};
    return NX_OK;
}

nx_code histogram_reduce(struct histogram *histogram, struct arena *arena, struct nx_err *err)
{
    if (histogram->schema <= HISTOGRAM_SCHEMA_MAX || histogram->schema > HISTOGRAM_SCHEMA_KNOWN_MAX)
        return NX_OK;
    struct histogram reduced = *histogram;
    unsigned shift = (unsigned)(histogram->schema - HISTOGRAM_SCHEMA_MAX);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        nx_code code = reduce_side(&reduced.sides[sign], shift, histogram->is_float, arena, err);
        if (code != NX_OK)
            return code;
    }
    reduced.schema = HISTOGRAM_SCHEMA_MAX;
    *histogram = reduced;
    return NX_OK;
}
