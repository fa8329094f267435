/* mix.h - the series that the load generator writes: Kubernetes-shaped labels and the values that such series show.
 *
 * A pod has MIX_POD_SERIES series. Its target is scraped once a step with a phase of its own and a few ms of jitter;
 * one series in ten (cAdvisor) carries the container's own timestamps instead. Each series draws from its own
 * generator, so the same seed gives the same bytes whatever the number of connections.
 *
 *   share   kind                                   what it does
 *   62 %    constant                               keeps its value for two hours
 *    8 %    integer counters: quiet, busy, bursty
 *    4 %    byte counters in multiples of 4096
 *    5 %    counters with 2 to 9 decimals
 *    3 %    _sum: a growing double
 *    9 %    histogram buckets: integer counters that grow together
 *    7 %    gauges with 0 to 3 decimals
 *    2 %    uniform doubles
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/rand.h"

#include <stdint.h>

#define MIX_POD_SERIES 100u
#define MIX_LABELS     15u
#define MIX_STEP_MS    15000

struct mix_series {
    struct rand_state rand;
    double value;
    uint8_t kind;
    uint8_t decimals;
};

struct mix_pod {
    uint32_t number;     /* of the pod, unique over all pods and generations */
    uint32_t generation; /* a replaced pod comes back with new labels */
    int64_t phase_ms;
    struct rand_state rand; /* jitter */
    struct nx_buf labels;   /* the label fields of all its series, back to back */
    uint32_t label_end[MIX_POD_SERIES];
    struct mix_series series[MIX_POD_SERIES];
};

void mix_pod_init(struct mix_pod *pod, uint64_t seed, uint32_t number, uint32_t generation);
void mix_pod_deinit(struct mix_pod *pod);

/* Appends the TimeSeries fields of all of the pod's series at this step: one sample each. */
void mix_pod_encode(struct mix_pod *pod, int64_t step_begins_ms, struct nx_buf *out);

/* The name of the mix for reports: changes whenever its numbers do. */
const char *mix_name(void);
