/* series.h - what storage hands to the query engine: series in label order, each as columns of samples.
 *
 * Layer    model: storage implements it, promql and api consume it, and neither knows the other.
 * Order    labels_compare; each series once, its samples ascending by time, no two of one time: floats and native
 *          histograms are columns of their own, and no time is in both.
 * Memory   a series' labels and columns belong to the set and live until its next `next` or `free`, unless copied.
 * Threads  a set is used by one thread at a time. A source may be used by many.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/model/histogram.h"
#include "narthex/model/labels.h"
#include "narthex/model/matcher.h"

#include <stdbool.h>
#include <stdint.h>

struct series_columns {
    struct labels labels;
    const int64_t *times_ms; /* ascending */
    const double *values;    /* stale markers included: the engine knows what they mean */
    size_t count;
    const struct histogram_sample *histograms; /* ascending, stale markers included */
    size_t histogram_count;
};

/* What the reader may assume; never changes the answer, only its cost. */
struct series_hints {
    bool labels_only;    /* count may be 0: only that a sample exists in the range matters */
    size_t series_limit; /* 0: none. More is truncated, and is_truncated set */
    struct arena *
        arena; /* the query's accounted memory: sets allocate their columns from a child of its budget */
    _Atomic bool *is_cancelled; /* polled; may be NULL */
};

struct series_set;
struct series_set_ops {
    /* 1: *out is the next series, 0: the end, -1: failed, *err set. */
    int (*next)(struct series_set *set, struct series_columns *out, struct nx_err *err);
    void (*free)(struct series_set *set);
};
struct series_set {
    const struct series_set_ops *ops;
    bool is_truncated;
};

/* Warnings that an answer must carry (a damaged block was left out, ...). Texts live in the query's arena. */
struct series_warnings {
    struct nx_str texts[8];
    size_t count;
};

struct series_source;
struct series_source_ops {
    /* All series that satisfy every matcher and have a sample in [min_ms, max_ms] (both inclusive). */
    nx_code (*select)(struct series_source *source, const struct matcher *matchers,
                      size_t matcher_count, int64_t min_ms, int64_t max_ms,
                      const struct series_hints *hints, struct series_set **out_set,
                      struct series_warnings *warnings, struct nx_err *err);
    /* Sorted distinct label names, or values of `name`, of the series that match (none: of all) in the range.
     * Strings in
     * `arena`. limit 0: none; *out_truncated says that there was more. */
    nx_code (*label_names)(struct series_source *source, const struct matcher *matchers,
                           size_t matcher_count, int64_t min_ms, int64_t max_ms, size_t limit,
                           struct arena *arena, struct nx_str **out, size_t *out_count,
                           bool *out_truncated, struct series_warnings *warnings,
                           struct nx_err *err);
    nx_code (*label_values)(struct series_source *source, struct nx_str name,
                            const struct matcher *matchers, size_t matcher_count, int64_t min_ms,
                            int64_t max_ms, size_t limit, struct arena *arena, struct nx_str **out,
                            size_t *out_count, bool *out_truncated,
                            struct series_warnings *warnings, struct nx_err *err);
};
struct series_source {
    const struct series_source_ops *ops;
};
