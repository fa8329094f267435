/* SPDX-License-Identifier: Apache-2.0
 *
 * api_metadata.c - /api/v1/metadata: type, help and unit of metric families, as the senders told them.
 *
 * In       metric, limit, limit_per_metric (each family has one entry).
 * Out      {"name":[{"type":...,"help":...,"unit":...}], ...}, sorted by name.
 * Fails    400 bad_data, 422 when the answer exceeds the query's memory.
 */
#include "narthex/codec/json_write.h"

#include "api_internal.h"

static void put_family(struct nx_buf *out, const struct metric_metadata *metadata)
{
    json_string(out, metadata->family);
    nx_buf_append_cstr(out, ":[{\"type\":");
    json_string(out, nx_str_from(metric_type_text(metadata->type)));
    nx_buf_append_cstr(out, ",\"help\":");
    json_string(out, metadata->help);
    nx_buf_append_cstr(out, ",\"unit\":");
    json_string(out, metadata->unit);
    nx_buf_append_cstr(out, "}]");
}

static void run_metadata(struct api_job *job)
{
    struct arena arena;
    struct nx_err err;
    size_t limit = 0, count = 0;
    struct metric_metadata *families = NULL;
    struct nx_str metric = NX_STR("");
    arena_init(&arena, job->api->query_limits.memory_bytes_max);
    http_params_get(&job->params, NX_STR("metric"), &metric);
    nx_code code = api_param_limit(&job->params, &limit, &err);
    if (code == NX_OK)
        code = store_metadata(job->api->store, metric, limit, &arena, &families, &count, &err);
    if (code != NX_OK) {
        api_respond_error(job->request, &err);
        arena_deinit(&arena);
        return;
    }
    struct api_answer answer;
    api_answer_begin(&answer, job->request);
    nx_buf_append_byte(&answer.buf, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            nx_buf_append_byte(&answer.buf, ',');
        put_family(&answer.buf, &families[i]);
        if (!api_answer_pace(&answer))
            break;
    }
    nx_buf_append_byte(&answer.buf, '}');
    api_answer_end(&answer, NULL, NULL, false);
    arena_deinit(&arena);
}

static void handle_metadata(void *context, struct http_request *request)
{
    api_job_submit(context, request, run_metadata);
}

nx_code api_metadata_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {{"GET", "/api/v1/metadata", handle_metadata, api, 0}};
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
