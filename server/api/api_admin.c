/* SPDX-License-Identifier: Apache-2.0
 *
 * api_admin.c - /api/v1/admin/tsdb/delete_series and clean_tombstones, POST or PUT.
 *
 * In       delete_series: match[] (one at least), start, end. clean_tombstones: nothing.
 * Out      204 without a body, once it is done.
 * Fails    500 unavailable unless --web.enable-admin-api; 400 bad_data; 500 internal when the storage fails.
 *
 * One at a time, on a thread of their own: they wait for the disk, and must not keep queries waiting.
 */
#include "narthex/base/log.h"
#include "narthex/base/mem.h"

#include "api_internal.h"

static void respond_done(struct api_job *job, nx_code code, const struct nx_err *err)
{
    if (code == NX_OK)
        http_respond(job->request, 204, NULL, NULL);
    else
        api_respond_error(job->request, err);
}

struct delete_call {
    struct api_match match;
    struct arena arena; /* matchers */
    struct store_delete what;
};

static nx_code read_delete(struct api_job *job, struct delete_call *call, struct nx_err *err)
{
    nx_code code = api_param_match(&job->params, &call->arena, &call->match, err);
    if (code == NX_OK && call->match.list_count == 0)
        code = nx_err_set(err, NX_E_INVALID, "no match[] parameter provided");
    if (code == NX_OK)
        code = api_param_time(&job->params, "start", INT64_MIN, &call->what.min_ms, err);
    if (code == NX_OK)
        code = api_param_time(&job->params, "end", INT64_MAX, &call->what.max_ms, err);
    call->what.lists = call->match.lists;
    call->what.matcher_counts = call->match.counts;
    call->what.list_count = call->match.list_count;
    return code;
}

static void run_delete(struct api_job *job)
{
    struct delete_call call = {0};
    struct store_delete_result result = {0};
    struct nx_err err;
    arena_init(&call.arena, job->api->query_limits.memory_bytes_max);
    uint64_t begun_ns = clock_mono_ns(job->api->clock);
    nx_code code = read_delete(job, &call, &err);
    if (code == NX_OK) {
        code = store_delete(job->api->store, &call.what, &result, &err);
        if (code == NX_OK)
            log_info(
                "api", "series deleted", LOG_UINT("series", result.series),
                LOG_UINT("blocks", result.blocks), LOG_INT("start_ms", call.what.min_ms),
                LOG_INT("end_ms", call.what.max_ms),
                LOG_UINT("duration_ms", (clock_mono_ns(job->api->clock) - begun_ns) / 1000000u));
        else
            log_error("api", "delete_series failed", LOG_STR("code", nx_code_name(code)),
                      LOG_STR("reason", err.msg));
    }
    respond_done(job, code, &err);
    api_match_deinit(&call.match);
    arena_deinit(&call.arena);
}

static void run_clean(struct api_job *job)
{
    struct nx_err err;
    uint64_t begun_ns = clock_mono_ns(job->api->clock);
    nx_code code = store_clean(job->api->store, &err);
    if (code == NX_OK)
        log_info("api", "tombstones cleaned",
                 LOG_UINT("duration_ms", (clock_mono_ns(job->api->clock) - begun_ns) / 1000000u));
    else
        log_error("api", "clean_tombstones failed", LOG_STR("code", nx_code_name(code)),
                  LOG_STR("reason", err.msg));
    respond_done(job, code, &err);
}

static void handle_delete(void *context, struct http_request *request)
{
    api_admin_submit(context, request, run_delete);
}

static void handle_clean(void *context, struct http_request *request)
{
    api_admin_submit(context, request, run_clean);
}

nx_code api_admin_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"POST", "/api/v1/admin/tsdb/delete_series", handle_delete, api, 0},
        {"PUT", "/api/v1/admin/tsdb/delete_series", handle_delete, api, 0},
        {"POST", "/api/v1/admin/tsdb/clean_tombstones", handle_clean, api, 0},
        {"PUT", "/api/v1/admin/tsdb/clean_tombstones", handle_clean, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
