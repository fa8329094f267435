/* histogram.h - a native histogram sample: counts of observations in exponential or custom buckets.
 *
 * Layer    model.   A `struct histogram` is a view: its arrays belong to whoever made it.
 * Counts   are held as 64 bits each: an integer, or the bits of a float64 when is_float. Buckets are absolute counts,
 *          not the differences of the wire: both convert exactly, modulo 2^64.
 * Source   Prometheus model/histogram (Histogram, FloatHistogram) and prompb.Histogram; OpenMetrics native histograms.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define HISTOGRAM_SCHEMA_MIN       (-4)
#define HISTOGRAM_SCHEMA_MAX       8
#define HISTOGRAM_SCHEMA_CUSTOM    (-53)
#define HISTOGRAM_SCHEMA_KNOWN_MIN (-9) /* legal on the wire, see histogram_reduce */
#define HISTOGRAM_SCHEMA_KNOWN_MAX 52
/* Chosen: far above any exporter's; bounds what hostile input makes us allocate. */
#define HISTOGRAM_SPANS_MAX 4096u
#define HISTOGRAM_BUCKETS_MAX                                                                      \
 8192u /* of a side; custom bounds too; all of it fits a journal entry */

enum histogram_hint { /* whether a counter reset lies between this sample and the one before */
                      HISTOGRAM_HINT_UNKNOWN = 0,
                      HISTOGRAM_HINT_YES = 1,
                      HISTOGRAM_HINT_NO = 2,
                      HISTOGRAM_HINT_GAUGE = 3,
};

enum histogram_sign { HISTOGRAM_POSITIVE = 0, HISTOGRAM_NEGATIVE = 1, HISTOGRAM_SIGNS = 2 };

/* `length` consecutive buckets; `offset` empty ones lie before them (the first span's: the index of its bucket). */
struct histogram_span {
    int32_t offset;
    uint32_t length;
};

/* The buckets of one sign. bucket_count is the sum of the spans' lengths. */
struct histogram_side {
    const struct histogram_span *spans;
    const uint64_t *buckets;
    uint32_t span_count;
    uint32_t bucket_count;
};

struct histogram {
    int32_t schema; /* -4 .. 8, or HISTOGRAM_SCHEMA_CUSTOM */
    uint8_t hint;   /* enum histogram_hint */
    bool is_float;
    uint32_t bound_count;
    uint64_t count;      /* bits, see Counts */
    uint64_t zero_count; /* likewise */
    double zero_threshold;
    double sum; /* the stale marker: the whole sample is one */
    struct histogram_side sides[HISTOGRAM_SIGNS];
    const double *bounds; /* upper bounds of custom buckets, ascending */
};

/* A sample of a series. */
struct histogram_sample {
    int64_t time_ms;
    const struct histogram *histogram; /* never NULL */
};

bool histogram_is_stale(const struct histogram *histogram);
/* Same bits in every field. Cost: linear in its buckets. */
bool histogram_equal(const struct histogram *a, const struct histogram *b);
/* Same schema, threshold, spans and bounds, kind of counts: neighbours of one layout are stored as differences. */
bool histogram_same_layout(const struct histogram *a, const struct histogram *b);
/* A deep copy; NULL when the arena is exhausted. */
struct histogram *histogram_copy(struct arena *arena, const struct histogram *histogram);
/* Bytes of a deep copy. */
size_t histogram_bytes(const struct histogram *histogram);

/* The bits of the count that the zero bucket and the buckets add up to (negative ones first; floats in that order). */
uint64_t histogram_total(const struct histogram *histogram);

/* Whether schema, hint, spans and bounds are such that a reader can walk the buckets without another look: a schema
 * that is stored, no more than the limits, as many buckets as the spans say, every index of a bucket in an int32, and
 * custom bounds that ascend and suffice. Counts may be anything. What is stored has passed it, and so has what a
 * decoder gives. */
bool histogram_is_well_formed(const struct histogram *histogram);

/* What a receiver must refuse, as Prometheus does (Histogram.Validate, FloatHistogram.Validate) and in its words:
 * unknown schema, spans that do not fit the buckets, negative counts, counts that do not add up, bounds that do not
 * ascend; and, in ours, what is not well-formed. A stale marker is checked too. NX_E_INVALID with the reason. */
NX_NODISCARD nx_code histogram_check(const struct histogram *histogram, struct nx_err *err);
/* Schemas 9 to 52 are legal on the wire and stored at HISTOGRAM_SCHEMA_MAX: merges their buckets into `*histogram`,
 * whose new arrays are in the arena. Others are left as they are; call it before histogram_check. NX_E_LIMIT when the
 * arena is exhausted, NX_E_INVALID when spans and buckets do not fit. */
NX_NODISCARD nx_code histogram_reduce(struct histogram *histogram, struct arena *arena,
                                      struct nx_err *err);
