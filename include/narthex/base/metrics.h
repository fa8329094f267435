/* metrics.h - narthex' own metrics: one table, counted by atomics, rendered as Prometheus text.
 *
 * Every metric is a row of metrics.def: METRIC_COUNTER(id, name, help), METRIC_GAUGE, METRIC_HISTOGRAM(id, name, help,
 * bounds...) and their one-label forms METRIC_COUNTER_BY(id, name, help, label, "value", ...). The registry is one of
 * the three process globals. A gauge that is computed on demand is set by its owner's collect hook.
 *
 *   metrics_add(METRIC_INGEST_SAMPLES, n);
 *   metrics_add_at(METRIC_INGEST_REFUSED, INGEST_REFUSED_LABELS, 1);    label value by its position in the row
 *   metrics_observe(METRIC_JOURNAL_COMMIT_SECONDS, seconds);
 *
 * Threads  any. Counters are relaxed atomics: cheap per request, not for per-sample loops.
 */
#pragma once

#include "narthex/base/buf.h"

#include <stdint.h>

enum metric_id {
#define METRIC_COUNTER(id, name, help)                METRIC_##id,
#define METRIC_GAUGE(id, name, help)                  METRIC_##id,
#define METRIC_HISTOGRAM(id, name, help, ...)         METRIC_##id,
#define METRIC_COUNTER_BY(id, name, help, label, ...) METRIC_##id,
#define METRIC_GAUGE_BY(id, name, help, label, ...)   METRIC_##id,
#include "narthex/base/metrics.def"
#undef METRIC_COUNTER
#undef METRIC_GAUGE
#undef METRIC_HISTOGRAM
#undef METRIC_COUNTER_BY
#undef METRIC_GAUGE_BY
    METRIC_COUNT,
};

#define METRICS_LABEL_VALUES_MAX 24
#define METRICS_BUCKETS_MAX      16

/* add: counters; set: gauges; observe: histograms. The wrong one is an assertion in builds with NX_DCHECK. */
void metrics_add(enum metric_id id, uint64_t n);
void metrics_add_at(enum metric_id id, unsigned label_index, uint64_t n);
void metrics_set(enum metric_id id, double value);
void metrics_set_at(enum metric_id id, unsigned label_index, double value);
void metrics_observe(enum metric_id id, double value);
/* A counter's sum over its label values, for tests and status pages. */
uint64_t metrics_get(enum metric_id id);

/* Text exposition format 0.0.4, rows in table order; process_* (cpu, resident memory, fds, start time) and
 * narthex_build_info come with it. Collect hooks run first, under the lock of rank LOCK_RANK_METRICS. */
void metrics_render(struct nx_buf *out);

typedef void (*metrics_collect_fn)(void *context);
/* At most 16, registered at start. */
void metrics_on_collect(metrics_collect_fn collect, void *context);
void metrics_off_collect(metrics_collect_fn collect, void *context);
