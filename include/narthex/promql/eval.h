/* eval.h - a typed tree over a source of series becomes a value.
 *
 * Layer    promql: sees storage only as `struct series_source`.
 * Source   Prometheus 3.14 promql/engine.go, functions.go, quantile.go.
 * How      per series over all steps: every node is a stream of series, each a dense column of one value per step and
 *          a presence bitmap. A sample is decoded once. Aggregations fold series as they come.
 * Errors   NX_E_EXECUTION with Prometheus' text, NX_E_UNSUPPORTED naming what is not evaluated yet, NX_E_LIMIT (samples
 *          or arena), NX_E_TIMEOUT, NX_E_CANCELLED.
 * Threads  one thread per query; many queries at once.
 */
#pragma once

#include "narthex/base/clock.h"
#include "narthex/model/series.h"
#include "narthex/promql/ast.h"
#include "narthex/promql/value.h"

struct eval_options {
    int64_t start_ms;
    int64_t end_ms;             /* inclusive; equal to start for an instant query */
    int64_t step_ms;            /* 0 for an instant query */
    bool is_range;              /* the answer is a matrix */
    int64_t lookback_ms;        /* 5 min by default */
    int64_t subquery_step_ms;   /* default step of [r:] */
    uint64_t samples_max;       /* held at once, 0: no limit */
    bool delayed_name_removal;  /* off in the server, on in test scripts */
    const struct clock *clock;  /* for the deadline */
    uint64_t deadline_ns;       /* monotonic; 0: none */
    _Atomic bool *is_cancelled; /* may be NULL */
    struct nx_str text;         /* the query, for positions in annotations and messages */
};

struct eval_stats {
    uint64_t samples_read; /* from the source, each once */
    uint64_t
        samples_queryable; /* summed over steps: what every selector saw (totalQueryableSamples) */
    uint64_t samples_peak; /* held at once */
    struct nx_str
        failure; /* an error's whole text (in the arena) when err->msg is too short for it, else empty */
};

/* `root` has been through ast_resolve_durations. The value, its series and annotations are in `arena`. Statistics,
 * annotations and warnings are set on failure too. */
NX_NODISCARD nx_code promql_eval(const struct ast_node *root, struct series_source *source,
                                 const struct eval_options *options, struct arena *arena,
                                 struct value *out_value, struct annotations *out_annotations,
                                 struct series_warnings *out_warnings, struct eval_stats *out_stats,
                                 struct nx_err *err);
