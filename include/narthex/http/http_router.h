/* http_router.h - which handler a method and a path belong to.
 *
 * Layer    http.   Threads  filled by one thread, then read by any.
 * Paths    literal segments, of which one may be {name}: "/api/v1/label/{name}/values". It matches one non-empty
 *          segment; a literal route wins over it. A request's escapes are decoded segment by segment, so %2F does
 *          not separate.
 * Built in HEAD for every GET route, OPTIONS for every path (204 with Allow) unless it has a route of its own,
 *          404 "404 page not found", 405 with Allow.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stddef.h>

struct http_request;

/* Runs on the transport thread with the complete request and must not block: it answers at once, or hands the request
 * to another thread that will (http_response.h). */
typedef void (*http_handler_fn)(void *context, struct http_request *request);

struct http_route {
    const char *method; /* "GET", "POST", ... static */
    const char *path;   /* static */
    http_handler_fn handler;
    void *context;         /* borrowed */
    size_t body_bytes_max; /* 0: the server's default */
};

struct http_router;
struct http_router *http_router_new(void);
void http_router_free(struct http_router *router); /* NULL is fine */

/* Errors: NX_E_INVALID for a path of another shape, NX_E_EXISTS. */
NX_NODISCARD nx_code http_router_add(struct http_router *router, const struct http_route *route,
                                     struct nx_err *err);

enum http_match {
    HTTP_MATCH_FOUND,
    HTTP_MATCH_BAD_PATH,  /* a broken escape: 400 */
    HTTP_MATCH_NO_PATH,   /* 404 */
    HTTP_MATCH_NO_METHOD, /* 405 */
    HTTP_MATCH_OPTIONS,   /* OPTIONS without a route: 204 */
};

/* *out_route (owned by the router) and *out_param (the {name} segment as sent, a view of `path`, empty without one) are
 * set when found. Cost: routes with as many segments as the path. */
enum http_match http_router_match(const struct http_router *router, struct nx_str method,
                                  struct nx_str path, const struct http_route **out_route,
                                  struct nx_str *out_param);

/* Appends "GET, HEAD, OPTIONS": what `path` may be asked with. */
void http_router_allow(const struct http_router *router, struct nx_str path, struct nx_buf *out);
