/* http_server_support.h - a server for tests: one at a time.
 *
 *   GET  /hello   "hello\n", at once                POST /echo    the body
 *   GET  /later   "later\n", from a worker          POST /small   the same, at most 1000 bytes
 *   GET  /text    about 30 KB, compressible         GET, POST /form   name=value; of each parameter
 *   GET  /stream?N   N lines, streamed              GET  /label/{name}/values   the name
 *   GET  /cut     streamed, and broken off          GET, POST /hold   not answered: support_take_held
 *
 * Answers carry Access-Control-Allow-Origin when the request has Origin.
 */
#pragma once

#include "narthex/base/thread.h"
#include "narthex/http/http_server.h"

#include <stdatomic.h>

#define SUPPORT_LINE_BYTES 100
#define SUPPORT_HELD_MAX   256

struct support_server {
    struct http_server_options options; /* may be changed before start */
    struct http_router *router;
    struct http_server *server;
    struct worker_pool *pool;
    struct http_request *held[SUPPORT_HELD_MAX];
    _Atomic unsigned arrived; /* in held, since the start */
    unsigned taken;           /* of those, by the test */
    _Atomic unsigned cancels; /* on_cancel calls */
    _Atomic unsigned written_lines;
    _Atomic unsigned cancelled_writes;
    _Atomic unsigned streams_done;
};

struct support_server *support_server_new(void);
uint16_t support_server_start(struct support_server *support); /* the port */
void support_server_free(struct support_server *support);

/* The requests that /hold was given, in order; waits for the next. */
struct http_request *support_take_held(struct support_server *support);
unsigned support_held_now(struct support_server *support);               /* not taken yet */
bool support_wait_for(const _Atomic unsigned *count, unsigned at_least); /* up to 20 s */
void support_fill_line(char out[SUPPORT_LINE_BYTES], unsigned number);
void support_sleep_ms(unsigned ms);
