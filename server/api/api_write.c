/* SPDX-License-Identifier: Apache-2.0
 *
 * api_write.c - POST /api/v1/write: the first and the last stage of ingest, receive and reply.
 *
 * In       a complete request: the transport has bounded its body.
 * Out      204 when all of it is durable; otherwise one or more lines of text that say what was not taken and why.
 * Fails    415 encoding or type, 400 refused in part or not decodable, 503 with Retry-After when nothing was taken.
 */
#include "narthex/base/metrics.h"

#include "api_internal.h"

enum {
    FAILED_RECEIVE = 0, /* row of METRIC_INGEST_FAILED */
};

struct write_job {
    struct api *api;
    struct http_request *request;
};

static void reply(void *context, const struct ingest_outcome *outcome)
{
    struct write_job *job = context;
    unsigned status = api_write_status(outcome->code);
    if (status == 204)
        http_respond(job->request, status, NULL, NULL);
    else if (status == 503)
        api_respond_unavailable(job->request, outcome->message);
    else
        http_respond_text(job->request, status, "%s", outcome->message);
}

static void run_write(void *argument)
{
    struct write_job *job = argument;
    ingest_write(job->api->ingest, http_request_body(job->request), reply, job);
}

/* Only remote write 1.0 is taken: application/x-protobuf, with or without proto=prometheus.WriteRequest. */
static bool is_accepted_type(struct nx_str content_type)
{
    struct nx_str media, rest;
    nx_str_split(content_type, ';', &media, &rest);
    media = nx_str_trim(media);
    if (!nx_str_eq_nocase(media, NX_STR("application/x-protobuf")))
        return false;
    while (rest.len > 0) {
        struct nx_str parameter, key, value;
        nx_str_split(rest, ';', &parameter, &rest);
        parameter = nx_str_trim(parameter);
        if (parameter.len == 0)
            continue;
        if (!nx_str_split(parameter, '=', &key, &value))
            return false;
        if (nx_str_eq_nocase(nx_str_trim(key), NX_STR("proto")) &&
            !nx_str_eq(nx_str_trim(value), NX_STR("prometheus.WriteRequest")))
            return false;
    }
    return true;
}

static void refuse(struct http_request *request, const char *what, struct nx_str got,
                   const char *expected)
{
    metrics_add_at(METRIC_INGEST_FAILED, FAILED_RECEIVE, 1);
    int shown = (int)(got.len < 100 ? got.len : 100);
    http_respond_text(request, 415, "%s \"%.*s\" is not supported, expected %s", what, shown,
                      got.data, expected);
}

static void handle_write(void *context, struct http_request *request)
{
    struct api *api = context;
    struct nx_str encoding, content_type;
    if (api_state(api) != API_READY) {
        api_respond_unavailable(request, "Service Unavailable");
        return;
    }
    if (http_request_header(request, NX_STR("Content-Encoding"), &encoding) && encoding.len > 0 &&
        !nx_str_eq(encoding, NX_STR("snappy"))) {
        refuse(request, "Content-Encoding", encoding, "snappy (block format)");
        return;
    }
    if (http_request_header(request, NX_STR("Content-Type"), &content_type) &&
        content_type.len > 0 && !is_accepted_type(content_type)) {
        refuse(request, "Content-Type", content_type,
               "application/x-protobuf;proto=prometheus.WriteRequest");
        return;
    }
    struct write_job *job = arena_alloc(http_request_arena(request), sizeof(*job));
    *job = (struct write_job){.api = api, .request = request};
    if (!worker_pool_try_submit(api->ingest_pool, run_write, job)) {
        metrics_add_at(METRIC_HTTP_REFUSED, API_REFUSED_OVERLOAD, 1);
        api_respond_unavailable(request, "too many writes are waiting");
    }
}

nx_code api_write_routes(struct api *api, struct http_router *router, size_t body_bytes_max,
                         struct nx_err *err)
{
    struct http_route route = {"POST", "/api/v1/write", handle_write, api, body_bytes_max};
    return http_router_add(router, &route, err);
}
