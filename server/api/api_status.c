/* SPDX-License-Identifier: Apache-2.0
 *
 * api_status.c - /api/v1/status/buildinfo.
 *
 * In       nothing.
 * Out      Prometheus' object. `version` is the Prometheus release whose API is answered: Grafana picks features by it;
 *          narthex' own version is in `revision`.
 * Fails    never.
 */
#include "narthex/base/version.h"

#include "api_internal.h"

#define PROMETHEUS_API_VERSION "3.14.0"

static void handle_buildinfo(void *context, struct http_request *request)
{
    struct api_answer answer;
    (void)context;
    api_answer_begin(&answer, request);
    nx_buf_append_cstr(
        &answer.buf,
        "{\"version\":\"" PROMETHEUS_API_VERSION "\",\"revision\":\"narthex-" NARTHEX_VERSION
        "\",\"branch\":\"\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}");
    api_answer_end(&answer, NULL, NULL, false);
}

nx_code api_status_routes(struct api *api, struct http_router *router, struct nx_err *err)
{
    const struct http_route routes[] = {
        {"GET", "/api/v1/status/buildinfo", handle_buildinfo, api, 0},
    };
    return api_add_routes(router, routes, sizeof(routes) / sizeof(routes[0]), err);
}
