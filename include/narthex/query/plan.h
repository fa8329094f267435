/* plan.h - a parsed query with its request and limits becomes what the evaluator needs.
 *
 * In       tree, request, limits.
 * Out      evaluation options; the tree's duration expressions are resolved.
 * Fails    NX_E_INVALID: a range query over an expression that is no scalar or instant vector, a time-out already
 *          over is NX_E_TIMEOUT.
 */
#pragma once

#include "narthex/promql/parse.h"
#include "narthex/query/query.h"

struct query_plan {
    struct eval_options eval;
};

/* What the server's parser accepts: no feature switches yet. */
extern const struct parse_options query_parse_options;

NX_NODISCARD nx_code plan_query(struct ast_node *root, const struct query_request *request,
                                const struct query_limits *limits, const struct clock *clock,
                                struct query_plan *out_plan, struct nx_err *err);
