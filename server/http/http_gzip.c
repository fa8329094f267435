/* SPDX-License-Identifier: Apache-2.0 */
/* http_gzip.c - zlib behind four functions.
 *
 * Level 1: JSON shrinks by about the factor of the default level at a third of its cost, and the answer is on its way
 * to a machine nearby.
 */
#include "narthex/http/http_gzip.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include <zlib.h>

#define GZIP_WINDOW_BITS (15 + 16) /* the largest window; 16 asks zlib for the gzip wrapper */
#define GZIP_MEMORY      8         /* zlib's default */
#define GZIP_STEP_BYTES  16384     /* room offered to zlib at a time */

struct http_gzip {
    z_stream stream;
};

bool http_gzip_is_accepted(struct nx_str accept_encoding)
{
    struct nx_str rest = accept_encoding;
    while (rest.len > 0) {
        struct nx_str token;
        (void)nx_str_split(rest, ',', &token, &rest);
        if (nx_str_eq(nx_str_trim(token), NX_STR("gzip")))
            return true;
    }
    return false;
}

static void *gzip_alloc(void *context, unsigned count, unsigned bytes)
{
    (void)context;
    return nx_calloc(count, bytes);
}

static void gzip_free(void *context, void *memory)
{
    (void)context;
    nx_free(memory);
}

struct http_gzip *http_gzip_new(void)
{
    struct http_gzip *gzip = nx_calloc(1, sizeof(*gzip));
    gzip->stream.zalloc = gzip_alloc;
    gzip->stream.zfree = gzip_free;
    int status = deflateInit2(&gzip->stream, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS,
                              GZIP_MEMORY, Z_DEFAULT_STRATEGY);
    NX_ASSERT(status == Z_OK);
    return gzip;
}

void http_gzip_free(struct http_gzip *gzip)
{
    if (gzip == NULL)
        return;
    (void)deflateEnd(&gzip->stream);
    nx_free(gzip);
}

/* Runs deflate until it has taken its input and filled less than it was offered. */
static void gzip_run(struct http_gzip *gzip, int flush, struct nx_buf *out)
{
    z_stream *stream = &gzip->stream;
    do {
        nx_buf_reserve(out, GZIP_STEP_BYTES);
        stream->next_out = out->data + out->len;
        stream->avail_out = GZIP_STEP_BYTES;
        int status = deflate(stream, flush);
        NX_ASSERT(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR);
        out->len += GZIP_STEP_BYTES - stream->avail_out;
    } while (stream->avail_out == 0);
    NX_ASSERT(stream->avail_in == 0);
}

void http_gzip_write(struct http_gzip *gzip, struct nx_bytes data, struct nx_buf *out)
{
    const uint8_t *at = data.data;
    size_t left = data.len;
    while (left > 0) {
        unsigned step = left > (1U << 30) ? 1U << 30 : (unsigned)left;
        /* zlib reads next_in only; its type lacks the const. */
        gzip->stream.next_in = (Bytef *)(uintptr_t)at;
        gzip->stream.avail_in = step;
        gzip_run(gzip, Z_NO_FLUSH, out);
        at += step;
        left -= step;
    }
}

void http_gzip_end(struct http_gzip *gzip, struct nx_buf *out)
{
    gzip->stream.next_in = NULL;
    gzip->stream.avail_in = 0;
    gzip_run(gzip, Z_FINISH, out);
}
