/* SPDX-License-Identifier: Apache-2.0
 *
 * query.c - the conductor of the read pipeline: parse, plan, select and evaluate.
 *
 * In       struct query_request.
 * Out      struct query_answer, whose arena holds everything.
 * Fails    see query_run.
 */
#include "narthex/query/query.h"

#include "narthex/base/mem_budget.h"
#include "narthex/base/metrics.h"
#include "narthex/promql/parse.h"
#include "narthex/query/plan.h"

#include <string.h>

/* Rows of METRIC_QUERIES. */
enum query_outcome {
    OUTCOME_OK,
    OUTCOME_INVALID,
    OUTCOME_EXECUTION,
    OUTCOME_LIMIT,
    OUTCOME_TIMEOUT,
    OUTCOME_CANCELLED,
    OUTCOME_INTERNAL,
};

static enum query_outcome outcome_of(nx_code code)
{
    switch (code) {
    case NX_OK:
        return OUTCOME_OK;
    case NX_E_INVALID:
        return OUTCOME_INVALID;
    case NX_E_EXECUTION:
    case NX_E_UNSUPPORTED:
        return OUTCOME_EXECUTION;
    case NX_E_LIMIT:
    case NX_E_BUSY:
        return OUTCOME_LIMIT;
    case NX_E_TIMEOUT:
        return OUTCOME_TIMEOUT;
    case NX_E_CANCELLED:
        return OUTCOME_CANCELLED;
    case NX_E_IO:
    case NX_E_CORRUPT:
    case NX_E_NOT_FOUND:
    case NX_E_EXISTS:
    case NX_E_FULL:
    case NX_E_COUNT:
        return OUTCOME_INTERNAL;
    }
    return OUTCOME_INTERNAL;
}

static nx_code run_stages(struct series_source *source, const struct query_limits *limits,
                          const struct clock *clock, const struct query_request *request,
                          struct query_answer *answer, struct ast_node **root, struct nx_err *err)
{
    struct query_plan plan;
    nx_code code = promql_parse(request->text, &query_parse_options, &answer->arena, root, err);
    if (code != NX_OK)
        return code;
    code = plan_query(*root, request, limits, clock, &plan, err);
    if (code != NX_OK)
        return code;
    return promql_eval(*root, source, &plan.eval, &answer->arena, &answer->value,
                       &answer->annotations, &answer->warnings, &answer->stats, err);
}

nx_code query_run(struct series_source *source, const struct query_limits *limits,
                  const struct clock *clock, const struct query_request *request,
                  struct query_answer *out_answer, struct nx_err *err)
{
    struct query_answer answer;
    struct ast_node *root = NULL;
    memset(&answer, 0, sizeof(answer));
    arena_init(&answer.arena, limits->memory_bytes_max);
    answer.arena.pool = limits->pool;
    nx_code code = run_stages(source, limits, clock, request, &answer, &root, err);
    ast_deinit(root);
    if (code == NX_E_LIMIT && arena_is_starved(&answer.arena))
        code = mem_budget_query_starved(err);
    metrics_add_at(METRIC_QUERIES, outcome_of(code), 1);
    metrics_add(METRIC_QUERY_SAMPLES, answer.stats.samples_read);
    metrics_observe(METRIC_QUERY_SECONDS,
                    (double)(clock_mono_ns(clock) - request->received_ns) / 1e9);
    if (code != NX_OK) {
        query_answer_deinit(&answer);
        return code;
    }
    *out_answer = answer;
    return NX_OK;
}

void query_answer_deinit(struct query_answer *answer)
{
    arena_deinit(&answer->arena);
    memset(answer, 0, sizeof(*answer));
}
