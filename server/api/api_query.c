/* SPDX-License-Identifier: Apache-2.0
 *
 * api_query.c - /api/v1/query and /api/v1/query_range: the first and the last stage of a query, receive and write.
 *
 * In       parameters of the URL and of a form body.
 * Out      Prometheus' JSON, streamed when it is large.
 * Fails    400 bad_data, 422 execution, 499 canceled, 503 timeout, 500 internal.
 */
#include "narthex/base/metrics.h"
#include "narthex/query/query.h"

#include "api_internal.h"

static struct nx_str query_text(const struct api_job *job)
{
    struct nx_str text;
    return http_params_get(&job->params, NX_STR("query"), &text) ? text : NX_STR("");
}

/* Parameters that both kinds of query have. */
static nx_code read_common(struct api_job *job, struct query_request *out, size_t *out_limit,
                           struct nx_err *err)
{
    out->text = query_text(job);
    out->received_ns = job->received_ns;
    out->is_cancelled = http_request_cancel_flag(job->request);
    nx_code code = api_param_limit(&job->params, out_limit, err);
    if (code == NX_OK)
        code = api_param_duration(&job->params, "timeout", 0, &out->timeout_ms, err);
    if (code == NX_OK)
        code = api_param_duration(&job->params, "lookback_delta", 0, &out->lookback_ms, err);
    return code;
}

static nx_code read_instant(struct api_job *job, struct query_request *out, size_t *out_limit,
                            struct nx_err *err)
{
    nx_code code =
        api_param_time(&job->params, "time", clock_wall_ms(job->api->clock), &out->start_ms, err);
    if (code != NX_OK)
        return code;
    out->end_ms = out->start_ms;
    return read_common(job, out, out_limit, err);
}

static nx_code read_range(struct api_job *job, struct query_request *out, size_t *out_limit,
                          struct nx_err *err)
{
    out->is_range = true;
    nx_code code = api_param_time_required(&job->params, "start", &out->start_ms, err);
    if (code == NX_OK)
        code = api_param_time_required(&job->params, "end", &out->end_ms, err);
    if (code != NX_OK)
        return code;
    if (out->end_ms < out->start_ms)
        return nx_err_set(err, NX_E_INVALID,
                          "invalid parameter \"end\": end timestamp must not be before start time");
    code = api_param_duration_required(&job->params, "step", &out->step_ms, err);
    if (code != NX_OK)
        return code;
    if (out->step_ms <= 0)
        return nx_err_set(
            err, NX_E_INVALID,
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. "
            "Try a positive integer");
    uint64_t span_ms = (uint64_t)out->end_ms - (uint64_t)out->start_ms;
    if (span_ms / (uint64_t)out->step_ms > QUERY_POINTS_MAX)
        return nx_err_set(
            err, NX_E_INVALID,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
            "resolution (?step=XX)");
    return read_common(job, out, out_limit, err);
}

static void respond(struct api_job *job, const struct query_answer *result, size_t limit)
{
    struct api_answer answer;
    bool is_truncated = false;
    api_answer_begin(&answer, job->request);
    api_json_value(&answer, &result->value, limit, &is_truncated);
    api_answer_end(&answer, &result->annotations, &result->warnings, is_truncated);
}

/* From a read request to its answer. */
static void run_request(struct api_job *job, const struct query_request *request, size_t limit)
{
    struct query_answer result;
    struct nx_err err;
    nx_code code = query_run(store_source(job->api->store), &job->api->query_limits,
                             job->api->clock, request, &result, &err);
    if (code != NX_OK) {
        if (code == NX_E_INVALID)
            nx_err_wrap(&err, "invalid parameter \"query\"");
        api_respond_error(job->request, &err);
        return;
    }
    respond(job, &result, limit);
    query_answer_deinit(&result);
}

static void run_instant(struct api_job *job)
{
    struct query_request request = {0};
    struct nx_err err;
    size_t limit;
    if (read_instant(job, &request, &limit, &err) != NX_OK) {
        api_respond_error(job->request, &err);
        return;
    }
    run_request(job, &request, limit);
}

static void run_range(struct api_job *job)
{
    struct query_request request = {0};
    struct nx_err err;
    size_t limit;
    if (read_range(job, &request, &limit, &err) != NX_OK) {
        api_respond_error(job->request, &err);
        return;
    }
    run_request(job, &request, limit);
}

static void handle_query(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_instant);
}

static void handle_query_range(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_range);
}

nx_code api_query_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/api/v1/query", handle_query, api, 0},
        {"POST", "/api/v1/query", handle_query, api, 0},
        {"GET", "/api/v1/query_range", handle_query_range, api, 0},
        {"POST", "/api/v1/query_range", handle_query_range, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
