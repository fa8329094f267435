/* mix.h - the series that the load generator writes: Kubernetes-shaped labels and the values that such series show.
 *
 * A pod has MIX_POD_SERIES series. Its target is scraped once a step with a phase of its own and a few ms of jitter;
 * one series in ten (cAdvisor) carries the container's own timestamps instead. Each series draws from its own
 * generator, so the same seed gives the same bytes whatever the number of connections. Which kinds of values there are,
 * how many of each and what their steps look like was measured on exporters: decision 009.
 *
 *   share   kind                                   what it does
 *   60 %    constant                               keeps its value; with buckets that nothing falls into, 62 %
 *    8 %    integer counters: busy, fitful, quiet, bursty
 *   12 %    buckets, count and sum of one histogram
 *    6 %    memory and bytes in multiples of 4096: gauges and counters
 *    8 %    integer gauges
 *    2 %    counters of ticks and microseconds, in seconds
 *    4 %    gauges of 5 and 9 decimals
 *    1/4 %  uniform doubles
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/rand.h"

#include <stdint.h>

#define MIX_POD_SERIES 100u
#define MIX_LABELS     15u
#define MIX_STEP_MS    15000

#define MIX_BUCKETS    10u

struct mix_series {
    struct rand_state rand;
    double total; /* in units of the kind */
    double level; /* of a gauge */
    double step;
    float idle, variation;
    uint8_t kind;
};

struct mix_histogram {
    struct rand_state rand;
    double counts[MIX_BUCKETS]; /* cumulative */
    double sum;
    double rate; /* observations a step */
    double median;
};

struct mix_pod {
    uint32_t number;     /* of the pod, unique over all pods and generations */
    uint32_t generation; /* a replaced pod comes back with new labels */
    int64_t phase_ms;
    struct rand_state rand; /* jitter */
    uint32_t step;
    uint32_t container_series; /* the first ones */
    struct mix_histogram histogram;
    struct nx_buf labels; /* the label fields of all its series, back to back */
    uint32_t label_end[MIX_POD_SERIES];
    struct mix_series series[MIX_POD_SERIES];
};

void mix_pod_init(struct mix_pod *pod, uint64_t seed, uint32_t number, uint32_t generation);
void mix_pod_deinit(struct mix_pod *pod);

/* One sample of each of the pod's series at this step. */
void mix_pod_step(struct mix_pod *pod, int64_t step_begins_ms, int64_t times_ms[MIX_POD_SERIES],
                  double values[MIX_POD_SERIES]);
/* Appends the TimeSeries fields of all of the pod's series at this step: one sample each. */
void mix_pod_encode(struct mix_pod *pod, int64_t step_begins_ms, struct nx_buf *out);

/* The name of the mix for reports: changes whenever its numbers do. */
const char *mix_name(void);
