/* query.h - the read pipeline: a query's text and times in, a value out, within limits.
 *
 * Layer    query (uses promql, storage, model, base).
 * Stages   parse (promql/parse) > check > plan (query/plan) > select (storage/querier) > eval (promql/eval).
 * Threads  query_run on a worker of the query pool; any number of them.
 * Memory   everything of a query is in one arena with a budget, which the answer owns until query_answer_deinit.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/clock.h"
#include "narthex/base/err.h"
#include "narthex/model/series.h"
#include "narthex/promql/eval.h"
#include "narthex/promql/value.h"
#include "narthex/query/query_limits.h"

#include <stdbool.h>
#include <stdint.h>

/* What clients ask, as the API understood it. Zeroes mean the defaults of the limits. */
struct query_request {
    struct nx_str text;
    bool is_range;
    int64_t start_ms, end_ms, step_ms; /* instant: start = end, step 0 */
    int64_t lookback_ms;
    int64_t timeout_ms;         /* the smaller of this and the limit's holds */
    uint64_t received_ns;       /* monotonic: waiting counts as part of the time-out */
    _Atomic bool *is_cancelled; /* may be NULL */
};

struct query_answer {
    struct arena arena;
    struct value value;
    struct annotations annotations;
    struct series_warnings warnings;
    struct eval_stats stats;
};

/* On failure nothing needs to be freed. NX_E_INVALID (bad_data), NX_E_EXECUTION, NX_E_UNSUPPORTED, NX_E_LIMIT,
 * NX_E_TIMEOUT, NX_E_CANCELLED, NX_E_IO and NX_E_CORRUPT (internal). */
NX_NODISCARD nx_code query_run(struct series_source *source, const struct query_limits *limits,
                               const struct clock *clock, const struct query_request *request,
                               struct query_answer *out_answer, struct nx_err *err);
void query_answer_deinit(struct query_answer *answer); /* safe on a zeroed struct and twice */
