/* SPDX-License-Identifier: Apache-2.0
 *
 * api_snapshot.c - /api/v1/admin/tsdb/snapshot: a copy of everything below <data>/snapshots/.
 *
 * In       skip_head (a boolean), --web.enable-admin-api.
 * Out      {"name": "20260101T000000Z-<16 hex>"}.
 * Fails    500 unavailable when the admin API is off (as Prometheus answers), 400 for skip_head, 503 while another one
 *          is being made, 500 from the disk.
 */
#include "narthex/base/assert.h"
#include "narthex/base/log.h"
#include "narthex/codec/json_write.h"
#include "narthex/storage/snapshot.h"

#include "api_internal.h"

/* As Go's strconv.ParseBool. */
static nx_code param_bool(const struct http_params *params, const char *name, bool *out_value,
                          struct nx_err *err)
{
    static const char *const texts[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    struct nx_str text = {0};
    *out_value = false;
    if (!http_params_get(params, nx_str_from(name), &text) || text.len == 0)
        return NX_OK;
    for (unsigned value = 0; value < 2; value++)
        for (size_t i = 0; i < NX_ARRAY_LEN(texts[value]); i++)
            if (nx_str_eq(text, nx_str_from(texts[value][i]))) {
                *out_value = value == 1;
                return NX_OK;
            }
    return nx_err_set(
        err, NX_E_INVALID,
        "invalid parameter \"%s\": strconv.ParseBool: parsing \"%.*s\": invalid syntax", name,
        (int)(text.len < 100 ? text.len : 100), text.data);
}

static void run_snapshot(struct api_job *job)
{
    struct nx_err err;
    char name[SNAPSHOT_NAME_BYTES];
    bool skip_head;
    uint64_t begun_ns = clock_mono_ns(job->api->clock);
    nx_code code = param_bool(&job->params, "skip_head", &skip_head, &err);
    if (code == NX_OK)
        code = store_snapshot(job->api->store, skip_head, name, &err);
    if (code != NX_OK) {
        if (code != NX_E_INVALID && code != NX_E_BUSY)
            log_error("api", "no snapshot", LOG_STR("reason", err.msg));
        api_respond_error(job->request, &err);
        return;
    }
    log_info("api", "snapshot made", LOG_STR("name", name),
             LOG_UINT("duration_ms", (clock_mono_ns(job->api->clock) - begun_ns) / 1000000u));
    struct api_answer answer;
    api_answer_begin(&answer, job->request);
    nx_buf_append_cstr(&answer.buf, "{\"name\":");
    json_string(&answer.buf, nx_str_from(name));
    nx_buf_append_byte(&answer.buf, '}');
    api_answer_end(&answer, NULL, NULL, false);
}

static void handle_snapshot(void *context, struct http_request *request)
{
    api_admin_submit(context, request, run_snapshot);
}

nx_code api_snapshot_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"POST", "/api/v1/admin/tsdb/snapshot", handle_snapshot, api, 0},
        {"PUT", "/api/v1/admin/tsdb/snapshot", handle_snapshot, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
