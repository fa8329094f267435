/* SPDX-License-Identifier: Apache-2.0
 *
 * plan.c - see plan.h: In tree, request, limits; Out evaluation options; Fails NX_E_INVALID, NX_E_TIMEOUT.
 */
#include "narthex/query/plan.h"

const struct parse_options query_parse_options = {0};

static int64_t smaller_set(int64_t wanted, int64_t limit)
{
    return wanted > 0 && wanted < limit ? wanted : limit;
}

nx_code plan_query(struct ast_node *root, const struct query_request *request,
                   const struct query_limits *limits, const struct clock *clock,
                   struct query_plan *out_plan, struct nx_err *err)
{
    if (request->is_range && root->type != VALUE_TYPE_VECTOR && root->type != VALUE_TYPE_SCALAR)
        return nx_err_set(
            err, NX_E_INVALID,
            "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
            value_type_text(root->type));
    nx_code code =
        ast_resolve_durations(root, request->step_ms, request->end_ms - request->start_ms, err);
    if (code != NX_OK)
        return code;
    int64_t timeout_ms = smaller_set(request->timeout_ms, limits->timeout_ms);
    uint64_t deadline_ns = request->received_ns + (uint64_t)timeout_ms * 1000000u;
    if (clock_mono_ns(clock) >= deadline_ns)
        return nx_err_set(err, NX_E_TIMEOUT, "query timed out in query queue");
    out_plan->eval = (struct eval_options){
        .start_ms = request->start_ms,
        .end_ms = request->end_ms,
        .step_ms = request->step_ms,
        .is_range = request->is_range,
        .lookback_ms = request->lookback_ms > 0 ? request->lookback_ms : limits->lookback_ms,
        .subquery_step_ms = limits->subquery_step_ms,
        .samples_max = limits->samples_max,
        .clock = clock,
        .deadline_ns = deadline_ns,
        .is_cancelled = request->is_cancelled,
        .text = request->text,
    };
    return NX_OK;
}
