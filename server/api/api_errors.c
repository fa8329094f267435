/* SPDX-License-Identifier: Apache-2.0
 *
 * api_errors.c - the one table from codes to HTTP statuses and Prometheus' errorType.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/json_write.h"

#include "api_internal.h"

struct error_row {
    unsigned status;
    const char *type;
};

static const struct error_row query_errors[NX_E_COUNT] = {
    [NX_OK] = {200, ""},
    [NX_E_IO] = {500, "internal"},
    [NX_E_CORRUPT] = {500, "internal"},
    [NX_E_LIMIT] = {422, "execution"},
    [NX_E_INVALID] = {400, "bad_data"},
    [NX_E_UNSUPPORTED] = {422, "execution"},
    [NX_E_NOT_FOUND] = {404, "not_found"},
    [NX_E_EXISTS] = {500, "internal"},
    [NX_E_EXECUTION] = {422, "execution"},
    [NX_E_BUSY] = {503, "unavailable"},
    [NX_E_TIMEOUT] = {503, "timeout"},
    [NX_E_CANCELLED] = {499, "canceled"},
    [NX_E_FULL] = {500, "internal"},
};

/* A write that was not taken whole is either refused for good (4xx: the sender drops it) or worth a resend (5xx). */
static const unsigned write_statuses[NX_E_COUNT] = {
    [NX_OK] = 204,          [NX_E_IO] = 503,      [NX_E_CORRUPT] = 500,
    [NX_E_LIMIT] = 400,     [NX_E_INVALID] = 400, [NX_E_UNSUPPORTED] = 400,
    [NX_E_NOT_FOUND] = 500, [NX_E_EXISTS] = 500,  [NX_E_EXECUTION] = 500,
    [NX_E_BUSY] = 503,      [NX_E_TIMEOUT] = 503, [NX_E_CANCELLED] = 503,
    [NX_E_FULL] = 503,
};
static_assert(NX_E_COUNT == 13, "a new code needs its rows here");

static void respond_error(struct http_request *request, const struct error_row *row,
                          const char *text)
{
    struct nx_buf body = {0};
    struct http_headers headers = {0};
    nx_buf_append_cstr(&body, "{\"status\":\"error\",\"errorType\":\"");
    nx_buf_append_cstr(&body, row->type);
    nx_buf_append_cstr(&body, "\",\"error\":");
    json_string(&body, nx_str_from(text));
    nx_buf_append_byte(&body, '}');
    http_headers_add(&headers, "Content-Type", NX_STR("application/json"));
    headers.can_compress = true;
    http_respond(request, row->status, &headers, &body);
}

void api_respond_error(struct http_request *request, const struct nx_err *err)
{
    respond_error(request, &query_errors[err->code], err->msg);
}

void api_respond_disabled(struct http_request *request, const char *why)
{
    static const struct error_row row = {500, "unavailable"};
    respond_error(request, &row, why);
}

void api_respond_unavailable(struct http_request *request, const char *why)
{
    struct nx_buf body = {0};
    struct http_headers headers = {0};
    http_headers_add(&headers, "Content-Type", NX_STR("text/plain; charset=utf-8"));
    http_headers_add(&headers, "X-Content-Type-Options", NX_STR("nosniff"));
    http_headers_add(&headers, "Retry-After", NX_STR("1"));
    nx_buf_append_cstr(&body, why);
    nx_buf_append_byte(&body, '\n');
    http_respond(request, 503, &headers, &body);
}

unsigned api_write_status(nx_code code)
{
    return write_statuses[code];
}
