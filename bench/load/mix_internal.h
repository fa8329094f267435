/* mix_internal.h - the values behind mix.c. */
#pragma once

#include "mix.h"

enum mix_kind {
    MIX_CONSTANT,
    MIX_BUCKET, /* these three show the pod's histogram */
    MIX_COUNT,
    MIX_SUM,
    MIX_UNIFORM,
    MIX_BUSY, /* counters; the models begin here */
    MIX_FITFUL,
    MIX_QUIET,
    MIX_BURSTY,
    MIX_PAGES_COUNTER,
    MIX_TICKS,
    MIX_MICROS,
    MIX_INT_GAUGE, /* gauges, from here on */
    MIX_PAGES_GAUGE,
    MIX_RATIO,
    MIX_DURATION,
};
#define MIX_KINDS (MIX_DURATION + 1)

extern const double mix_bounds[MIX_BUCKETS]; /* of the buckets: 0.005 to +Inf */

void mix_series_init(struct mix_series *series, enum mix_kind kind, uint64_t seed);
/* The value at the next step; of a histogram's series the caller sets it. */
double mix_series_next(struct mix_series *series, uint32_t step);

void mix_histogram_init(struct mix_histogram *histogram, uint64_t seed);
void mix_histogram_step(struct mix_histogram *histogram, uint32_t step);
