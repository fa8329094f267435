/* http_response.h - answering a request, whole or streamed, from any thread.
 *
 *     http_respond | http_respond_text                              the whole answer
 *     http_respond_begin { http_respond_write } http_respond_end    streamed, from a worker thread
 *     http_respond_begin { http_respond_write } http_respond_abort  broken off: the client sees a cut connection
 *
 * Exactly one of the three is walked for each request that a handler was given; its last call takes the caller's
 * reference, and the request may not be touched after it (but see http_request_ref).
 *
 * Threads  a request is answered by one thread at a time. http_respond and http_respond_text never block;
 *          http_respond_write waits while HTTP_UNSENT_BYTES_MAX are queued, so it may not be called on the transport
 *          thread.
 * Framing  Content-Length for whole answers, chunks for streamed ones (HTTP/1.0: until close). Date, Connection and
 *          Content-Encoding are the transport's. HEAD, 204 and 304 send no body, whatever was given.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>

#define HTTP_UNSENT_BYTES_MAX (1024 * 1024) /* of a streamed answer; above, its writer waits */
#define HTTP_PIECE_BYTES      (64 * 1024)   /* streamed answers are handed over in such pieces */
#define HTTP_GZIP_BYTES_MIN   512 /* smaller whole answers are sent as they are (chosen) */

struct http_request;

/* Fields of an answer beyond those that the transport sets itself. A zeroed struct is an empty set. */
struct http_headers {
    bool can_compress;    /* gzip when the client accepts it; adds Vary: Accept-Encoding */
    struct nx_buf fields; /* private: "Name: value\r\n" ... */
};

void http_headers_deinit(struct http_headers *headers); /* safe on a zeroed struct and twice */
/* `name` is a token; control bytes in `value` become spaces, so a value cannot split the answer. */
void http_headers_add(struct http_headers *headers, const char *name, struct nx_str value);

/* Takes the memory of `headers` and `body`, both may be NULL; they are empty afterwards. `status` is 200 to 599. */
void http_respond(struct http_request *request, unsigned status, struct http_headers *take_headers,
                  struct nx_buf *take_body);

/* text/plain with nosniff, as Go's http.Error: the message and a line end. */
void http_respond_text(struct http_request *request, unsigned status, const char *format, ...)
    NX_PRINTF(3, 4);

void http_respond_begin(struct http_request *request, unsigned status,
                        struct http_headers *take_headers);
/* `data` is copied (or compressed) before this returns. NX_E_CANCELLED once the client is gone or the server stops:
 * nothing further will be sent, http_respond_end or _abort is still due. */
NX_NODISCARD nx_code http_respond_write(struct http_request *request, struct nx_bytes data);
void http_respond_end(struct http_request *request);

/* Gives a request up without a (complete) answer: the connection is closed. */
void http_respond_abort(struct http_request *request);

/* "Not Found"; "Unknown" for a status that has no text here. */
const char *http_status_text(unsigned status);

/* Appends an RFC 9110 date, "Sun, 06 Nov 1994 08:49:37 GMT"; years 1970 to 9999. */
void http_append_date(struct nx_buf *out, int64_t unix_s);
