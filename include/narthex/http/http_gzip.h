/* http_gzip.h - answers in Content-Encoding gzip (RFC 1952), level 1.
 *
 * Layer    http, over zlib.   Threads  a coder is used by one thread at a time.
 * Memory   about 270 KB per coder while an answer is being written.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/str.h"

#include <stdbool.h>

/* As Prometheus decides it: one of the comma-separated codings is literally "gzip"; "gzip;q=1" is not. */
bool http_gzip_is_accepted(struct nx_str accept_encoding);

struct http_gzip;
struct http_gzip *http_gzip_new(void);
void http_gzip_free(struct http_gzip *gzip); /* NULL is fine */

/* Appends compressed bytes to `out`, maybe none yet. */
void http_gzip_write(struct http_gzip *gzip, struct nx_bytes data, struct nx_buf *out);
/* Appends the rest; the coder may then only be freed. */
void http_gzip_end(struct http_gzip *gzip, struct nx_buf *out);
