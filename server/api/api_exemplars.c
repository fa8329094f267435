/* SPDX-License-Identifier: Apache-2.0
 *
 * api_exemplars.c - /api/v1/query_exemplars: exemplars of every series that the selectors of a query name.
 *
 * In       query, start, end.
 * Out      [{"seriesLabels":{...},"exemplars":[{"labels":{...},"value":"...","timestamp":...}]}], in label order.
 * Fails    400 bad_data, 422 when the answer exceeds the query's memory.
 */
#include "narthex/codec/json_write.h"
#include "narthex/promql/parse.h"

#include "api_internal.h"

#include <stdlib.h>

struct exemplar_call {
    struct api_job *job;
    struct arena arena;
    struct nx_str text;
    int64_t start_ms, end_ms;
    struct series_warnings warnings;
    struct nx_buf series; /* struct exemplar_series */
    nx_code code;
    struct nx_err err;
};

static nx_code read_params(struct exemplar_call *call)
{
    const struct http_params *params = &call->job->params;
    struct nx_err *err = &call->err;
    nx_code code = api_param_time(params, "start", INT64_MIN, &call->start_ms, err);
    if (code == NX_OK)
        code = api_param_time(params, "end", INT64_MAX, &call->end_ms, err);
    if (code == NX_OK && call->end_ms < call->start_ms)
        code = nx_err_set(err, NX_E_INVALID, "end timestamp must not be before start timestamp");
    if (!http_params_get(params, NX_STR("query"), &call->text))
        call->text = NX_STR("");
    return code;
}

/* Called for every node of the query. */
static void visit(void *context, struct ast_node *node)
{
    struct exemplar_call *call = context;
    if (node->kind != AST_VECTOR_SELECTOR || call->code != NX_OK)
        return;
    struct exemplar_series *series;
    size_t count;
    call->code = store_exemplars(call->job->api->store, node->u.selector.matchers,
                                 node->u.selector.matcher_count, call->start_ms, call->end_ms,
                                 &call->arena, &series, &count, &call->warnings, &call->err);
    if (call->code == NX_OK)
        nx_buf_append(&call->series, series, count * sizeof(*series));
    if (call->code == NX_OK)
        call->code = api_job_check(call->job, call->series.len, &call->err);
}

static nx_code search(struct exemplar_call *call)
{
    struct parse_options options = {0};
    struct ast_node *root = NULL;
    nx_code code = promql_parse(call->text, &options, &call->arena, &root, &call->err);
    if (code != NX_OK)
        return nx_err_wrap(&call->err, "invalid parameter \"query\"");
    ast_walk(root, visit, call);
    ast_deinit(root);
    return call->code;
}

static int compare_series(const void *a, const void *b)
{
    return labels_compare(((const struct exemplar_series *)a)->labels,
                          ((const struct exemplar_series *)b)->labels);
}

static void put_exemplar(struct nx_buf *out, const struct exemplar *exemplar)
{
    nx_buf_append_cstr(out, "{\"labels\":");
    api_json_labels(out, exemplar->labels);
    nx_buf_append_cstr(out, ",\"value\":");
    json_sample_value(out, exemplar->value);
    nx_buf_append_cstr(out, ",\"timestamp\":");
    json_timestamp(out, exemplar->time_ms);
    nx_buf_append_byte(out, '}');
}

static void put_series(struct nx_buf *out, const struct exemplar_series *series)
{
    nx_buf_append_cstr(out, "{\"seriesLabels\":");
    api_json_labels(out, series->labels);
    nx_buf_append_cstr(out, ",\"exemplars\":[");
    for (size_t i = 0; i < series->count; i++) {
        if (i > 0)
            nx_buf_append_byte(out, ',');
        put_exemplar(out, &series->exemplars[i]);
    }
    nx_buf_append_cstr(out, "]}");
}

/* Selectors may name a series twice: it is written once. */
static void respond(struct exemplar_call *call)
{
    struct exemplar_series *series = (struct exemplar_series *)(void *)call->series.data;
    size_t count = call->series.len / sizeof(*series);
    struct api_answer answer;
    api_answer_begin(&answer, call->job->request);
    if (count > 0)
        qsort(series, count, sizeof(*series), compare_series);
    nx_buf_append_byte(&answer.buf, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && labels_equal(series[i].labels, series[i - 1].labels))
            continue;
        if (i > 0)
            nx_buf_append_byte(&answer.buf, ',');
        put_series(&answer.buf, &series[i]);
        if (!api_answer_pace(&answer))
            break;
    }
    nx_buf_append_byte(&answer.buf, ']');
    api_answer_end(&answer, NULL, &call->warnings, false);
}

static void run_exemplars(struct api_job *job)
{
    struct exemplar_call call = {.job = job};
    arena_init(&call.arena, job->api->query_limits.memory_bytes_max);
    nx_code code = read_params(&call);
    if (code == NX_OK)
        code = search(&call);
    if (code == NX_OK)
        respond(&call);
    else
        api_respond_error(job->request, &call.err);
    nx_buf_deinit(&call.series);
    arena_deinit(&call.arena);
}

static void handle_exemplars(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_exemplars);
}

nx_code api_exemplars_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/api/v1/query_exemplars", handle_exemplars, api, 0},
        {"POST", "/api/v1/query_exemplars", handle_exemplars, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
