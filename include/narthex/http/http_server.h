/* http_server.h - narthex' HTTP/1.1 server: listeners, connections, and the requests that they yield.
 *
 * Layer    http (uses base, libevent, zlib). Transport only: it knows bytes, routes and time-outs.
 * Owns     its sockets and the transport thread, which alone touches them.
 * Threads  the transport thread runs the event loop and the handlers; requests are answered from any thread.
 * Limits   every field of struct http_server_options; each refusal is counted in narthex_http_refused_total.
 *
 *   accept -> head -> body -> handler -> answer -> (keep-alive) head ...
 *
 * Memory   at most connections_max heads in receipt, plus bodies_bytes_max and one body's length of bodies in
 *          receipt or being worked on. Above that, connections with a body to send are not read until others are
 *          done; bodies that fit into HTTP_HEAD_BYTES_MAX are counted but never wait.
 * Pressure while connections wait for room for their bodies, others must send theirs at 64 KiB a second, and one that
 *          has some room waits 3 seconds for more at most: else 503 with Retry-After.
 * Leaving  a client that closes its sending side while its request is being worked on counts as gone: the request is
 *          cancelled. An answer that comes all the same is still tried.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"
#include "narthex/http/http_query.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_request;
struct http_router;
struct http_headers;

#define HTTP_LISTENERS_MAX 16

struct http_server_options {
    unsigned connections_max;       /* above: 503 and close */
    size_t body_bytes_max;          /* of routes that set none; above: 413 */
    size_t bodies_bytes_max;        /* all bodies together; above: reading pauses */
    _Atomic uint64_t *bodies_gauge; /* kept at the sum of all bodies; may be NULL */
    unsigned head_timeout_ms;   /* from a request's first byte (or accept) to the end of its head */
    unsigned body_timeout_ms;   /* without a byte of a body */
    size_t body_rate_min;       /* bytes per second, over each body_timeout_ms */
    unsigned idle_timeout_ms;   /* between two requests; longer than any load balancer's in front */
    unsigned write_timeout_ms;  /* without the client taking a byte of an answer */
    unsigned linger_timeout_ms; /* for the client to close after our last answer */

    /* Called for every answer to a parsed request, 404 and the like included, on the answering thread, to add fields
     * (CORS). May be NULL. */
    void (*decorate)(void *context, const struct http_request *request,
                     struct http_headers *headers);
    void *decorate_context;
};

/* The defaults: 1024 connections, 32 MiB + 1 a body, 256 MiB of bodies, 10 s, 30 s, 1 KiB/s, 350 s, 60 s, 2 s. */
void http_server_options_init(struct http_server_options *options);

/* Options are copied; the router is borrowed, complete, until http_server_free. */
NX_NODISCARD nx_code http_server_new(struct http_server **out_server,
                                     const struct http_server_options *options,
                                     const struct http_router *router, struct nx_err *err);

/* "host:port", "[::1]:port", ":port" (all addresses, both families). Port 0 takes a free one. Before start; up to
 * HTTP_LISTENERS_MAX times. Errors: NX_E_INVALID for an address of another shape or an unknown host, NX_E_IO with the
 * address named, NX_E_LIMIT. */
NX_NODISCARD nx_code http_server_listen(struct http_server *server, const char *address,
                                        struct nx_err *err);

/* Port of the listener that was added as number `listener`, from 0. */
uint16_t http_server_port(const struct http_server *server, size_t listener);

/* Starts the transport thread. Connections that arrived since listen are served now. */
NX_NODISCARD nx_code http_server_start(struct http_server *server, struct nx_err *err);

/* Stops accepting, closes idle connections, lets running requests finish with Connection: close. True when all were
 * done within `timeout_ms`. May be called again. Never on the transport thread. */
bool http_server_drain(struct http_server *server, unsigned timeout_ms);

/* Closes every connection and cancels the requests that are still held by others, without waiting for them: they are
 * answered to nobody. For a stop that has drained long enough; only http_server_free may follow. */
void http_server_cut(struct http_server *server);

/* Closes everything, cancels the requests that are still held by others, waits until they gave them back, ends the
 * thread. NULL is fine. */
void http_server_free(struct http_server *server);

/* ---- A request, as a handler sees it. All views live as long as the request. ---- */

struct nx_str http_request_method(const struct http_request *request);
struct nx_str http_request_path(const struct http_request *request);  /* raw, without the query */
struct nx_str http_request_query(const struct http_request *request); /* raw, without '?' */
/* The route's {name}, decoded; else empty. */
struct nx_str http_request_param(const struct http_request *request);
struct nx_bytes http_request_body(const struct http_request *request);
/* "10.0.0.7:51234", "[::1]:51234". */
const char *http_request_peer(const struct http_request *request);

/* First field of that name, case ignored; false when absent. */
bool http_request_header(const struct http_request *request, struct nx_str name,
                         struct nx_str *out_value);
/* The index-th field as sent; false behind the last. */
bool http_request_header_at(const struct http_request *request, size_t index,
                            struct nx_str *out_name, struct nx_str *out_value);

/* Parameters of a form body (POST, PUT, PATCH) and then of the URL, in the request's arena.
 * Errors: NX_E_INVALID, NX_E_LIMIT. */
NX_NODISCARD nx_code http_request_params(struct http_request *request,
                                         struct http_params *out_params, struct nx_err *err);

/* Memory that lives as long as the request; used by the thread that holds the request. No budget. */
struct arena *http_request_arena(struct http_request *request);

/* True once the client left or the server stops. The flag itself may be polled while the request is held. */
bool http_request_is_cancelled(const struct http_request *request);
_Atomic bool *http_request_cancel_flag(struct http_request *request);

/* Calls `on_cancel` once when the request is cancelled before its answer is complete; at once, on this thread, if it is
 * already. It runs on the transport thread under the transport's lock: set a flag, take no lock, call nothing here.
 * (request, NULL, NULL) takes it back: when that returns it neither runs nor will run. */
void http_request_on_cancel(struct http_request *request, void (*on_cancel)(void *context),
                            void *context);

/* Another holder: views and cancel flag stay valid until its unref. Any thread. */
void http_request_ref(struct http_request *request);
void http_request_unref(struct http_request *request);
