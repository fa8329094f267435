/* http_parse.h - bytes of HTTP/1.1 to a request head and a body, strictly: what two readers could understand in two
 * ways is refused (RFC 9112, with every leniency that it allows left out).
 *
 * Layer    http; pure functions, no I/O, no memory of its own.
 * Limits   HTTP_HEAD_BYTES_MAX, HTTP_TARGET_BYTES_MAX, HTTP_FIELDS_MAX, HTTP_CHUNK_*_MAX.
 *
 * Invariants
 *   1. The result does not depend on how the bytes were split into calls.
 *   2. After a verdict other than HTTP_PARSE_MORE the parser is not called again before its next init.
 *   3. A field value holds no control bytes but HTAB: no CR, LF or NUL leaves the parser.
 */
#pragma once

#include "narthex/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Request line and fields with their line ends; spans are 16-bit offsets into it. */
#define HTTP_HEAD_BYTES_MAX   16384
#define HTTP_TARGET_BYTES_MAX 8192
#define HTTP_METHOD_BYTES_MAX 24 /* the longest registered one has 17 */
#define HTTP_FIELDS_MAX       100
#define HTTP_CHUNK_LINE_MAX   256   /* one chunk's size with its extensions */
#define HTTP_CHUNK_WASTE_MAX  16384 /* all extensions and trailers of a body together */

enum http_verdict {
    HTTP_PARSE_MORE, /* fine so far, needs more bytes */
    HTTP_PARSE_DONE,
    HTTP_PARSE_BAD,             /* 400 */
    HTTP_PARSE_TARGET_TOO_LONG, /* 414 */
    HTTP_PARSE_EXPECT_UNKNOWN,  /* 417 */
    HTTP_PARSE_HEAD_TOO_LARGE,  /* 431 */
    HTTP_PARSE_VERSION_UNKNOWN, /* 505 */
};

/* Where a piece of the head is, so that the head may move while it is being received. */
struct http_span {
    uint16_t at;
    uint16_t len;
};

struct http_field {
    struct http_span name;
    struct http_span value; /* without surrounding white space */
};

struct http_head {
    struct http_span method;
    struct http_span path;  /* raw: percent-escapes as sent; begins with '/', or is "*" */
    struct http_span query; /* raw, behind the first '?'; empty when there is none */
    uint8_t minor;          /* HTTP/1.minor, 0 or 1 */
    bool is_kept_alive;     /* what the client asked for, by version and Connection */
    bool expects_continue;
    bool is_chunked;
    bool has_length;
    uint64_t body_bytes; /* Content-Length when has_length */
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t field_count;
    size_t head_bytes; /* set with HTTP_PARSE_DONE: the body begins here */
    const char *why;   /* set with a refusal: a static sentence for the client */

    /* private */
    size_t line_at; /* first byte of the line being received */
    size_t scan_at; /* bytes before this hold no line end */
    bool has_request_line;
    bool has_host;
    bool has_coding;
    bool wants_close;
    bool wants_keep_alive;
};

void http_head_init(struct http_head *head);

/* `data` is everything received since the head began: each call passes what the last one did, and more behind it. */
enum http_verdict http_head_parse(struct http_head *head, const uint8_t *data, size_t bytes);

static inline struct nx_str http_span_view(const uint8_t *data, struct http_span span)
{
    return (struct nx_str){.data = (const char *)data + span.at, .len = span.len};
}

/* First field of that name, ASCII case ignored; false when absent. The view is into `data`. */
bool http_head_find(const struct http_head *head, const uint8_t *data, struct nx_str name,
                    struct nx_str *out_value);

/* A body in chunks: hands out its content as views of the input. Extensions and trailers are checked and dropped. */
struct http_chunked {
    const char *why; /* as above */

    /* private */
    uint8_t state;
    uint8_t digits;
    uint64_t remaining_bytes;
    size_t line_bytes;
    size_t waste_bytes;
};

void http_chunked_init(struct http_chunked *chunked);

/* Consumes *out_consumed of `data`, of which *out_content, maybe empty, is content. HTTP_PARSE_MORE with all consumed
 * asks for more input, with some left for another call. HTTP_PARSE_DONE: what is left belongs to the next request. */
enum http_verdict http_chunked_parse(struct http_chunked *chunked, const uint8_t *data,
                                     size_t bytes, size_t *out_consumed,
                                     struct nx_bytes *out_content);

/* RFC 9110: tchar, what methods and field names are made of. */
bool http_is_token_char(uint8_t c);
