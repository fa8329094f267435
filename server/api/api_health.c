/* SPDX-License-Identifier: Apache-2.0
 *
 * api_health.c - /, /-/healthy, /-/ready: answered on the transport thread, so they never wait for ingest or queries.
 *
 * In       nothing.
 * Out      plain text.
 * Fails    /-/ready: 503 until the store serves, and while stopping.
 */
#include "narthex/base/version.h"

#include "api_internal.h"

static void respond_text(struct http_request *request, unsigned status, struct nx_str text)
{
    struct http_headers headers = {0};
    struct nx_buf body = {0};
    http_headers_add(&headers, "Content-Type", NX_STR("text/plain; charset=utf-8"));
    nx_buf_append_str(&body, text);
    http_respond(request, status, &headers, &body);
}

static void handle_root(void *context, struct http_request *request)
{
    (void)context;
    respond_text(request, 200,
                 NX_STR("narthex " NARTHEX_VERSION "\n"
                        "\n"
                        "POST /api/v1/write          Prometheus remote write 1.0\n"
                        "GET  /api/v1/query          PromQL, also POST; /api/v1/query_range\n"
                        "GET  /api/v1/labels         /api/v1/label/<name>/values, /api/v1/series\n"
                        "GET  /metrics               own metrics\n"
                        "GET  /-/healthy             /-/ready\n"));
}

static void handle_healthy(void *context, struct http_request *request)
{
    (void)context;
    respond_text(request, 200, NX_STR("narthex is Healthy.\n"));
}

static void handle_ready(void *context, struct http_request *request)
{
    if (api_state(context) == API_READY)
        respond_text(request, 200, NX_STR("narthex is Ready.\n"));
    else
        api_respond_unavailable(request, "Service Unavailable");
}

nx_code api_health_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/", handle_root, api, 0},
        {"GET", "/-/healthy", handle_healthy, api, 0},
        {"GET", "/-/ready", handle_ready, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
