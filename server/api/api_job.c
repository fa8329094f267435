/* SPDX-License-Identifier: Apache-2.0
 *
 * api_job.c - a request that reads the store goes to the query pool with its parameters parsed.
 */
#include "narthex/base/metrics.h"

#include "api_internal.h"

static void answer_job(struct api_job *job)
{
    struct http_request *request = job->request;
    struct nx_err err;
    if (http_request_is_cancelled(request)) {
        /* The client left while the request waited: nobody reads the answer, but the request must be given back. */
        nx_err_set(&err, NX_E_CANCELLED, "query was canceled in query queue");
        api_respond_error(request, &err);
        return;
    }
    if (http_request_params(request, &job->params, &err) != NX_OK) {
        api_respond_error(request, &err);
        return;
    }
    job->run(job);
}

static void run_admin_job(void *argument)
{
    answer_job(argument);
}

static void run_job(void *argument)
{
    struct api_job *job = argument;
    struct api *api = job->api; /* the job is gone with its request */
    answer_job(job);
    atomic_fetch_sub_explicit(&api->jobs, 1, memory_order_relaxed);
}

nx_code api_job_check(const struct api_job *job, size_t answer_bytes, struct nx_err *err)
{
    const struct query_limits *limits = &job->api->query_limits;
    if (http_request_is_cancelled(job->request))
        return nx_err_set(err, NX_E_CANCELLED, "query was canceled in query execution");
    uint64_t elapsed_ns = clock_mono_ns(job->api->clock) - job->received_ns;
    if (elapsed_ns / 1000000u >= (uint64_t)limits->timeout_ms)
        return nx_err_set(err, NX_E_TIMEOUT, "query timed out in query execution");
    if (answer_bytes > limits->memory_bytes_max)
        return nx_err_set(err, NX_E_LIMIT,
                          "the answer needs more memory than --query.max-memory allows");
    return NX_OK;
}

static struct api_job *make_job(struct api *api, struct http_request *request, api_job_fn run)
{
    struct api_job *job = arena_calloc(http_request_arena(request), 1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->run = run;
    job->received_ns = clock_mono_ns(api->clock);
    return job;
}

void api_admin_submit(struct api *api, struct http_request *request, api_job_fn run)
{
    if (api->admin_pool == NULL) {
        api_respond_disabled(request, "admin APIs disabled");
        return;
    }
    if (api_state(api) != API_READY) {
        api_respond_unavailable(request, "Service Unavailable");
        return;
    }
    if (!worker_pool_try_submit(api->admin_pool, run_admin_job, make_job(api, request, run))) {
        metrics_add_at(METRIC_HTTP_REFUSED, API_REFUSED_OVERLOAD, 1);
        api_respond_unavailable(request, "too many admin calls are waiting");
    }
}

void api_job_submit(struct api *api, struct http_request *request, api_job_fn run)
{
    if (api_state(api) != API_READY) {
        api_respond_unavailable(request, "Service Unavailable");
        return;
    }
    struct nx_err err;
    if (mem_budget_check_query(api->budget, &err) != NX_OK) {
        api_respond_error(request, &err);
        return;
    }
    struct api_job *job = make_job(api, request, run);
    atomic_fetch_add_explicit(&api->jobs, 1, memory_order_relaxed);
    if (!worker_pool_try_submit(api->query_pool, run_job, job)) {
        atomic_fetch_sub_explicit(&api->jobs, 1, memory_order_relaxed);
        metrics_add_at(METRIC_HTTP_REFUSED, API_REFUSED_OVERLOAD, 1);
        api_respond_unavailable(request, "too many queries are waiting (--query.max-queue)");
    }
}
