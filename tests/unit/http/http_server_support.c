/* SPDX-License-Identifier: Apache-2.0 */
/* http_server_support.c - a server with one route for each way of answering. */
#include "http_server_support.h"

#include "narthex/base/clock.h"
#include "narthex/http/http_response.h"
#include "narthex/http/http_router.h"

#include "http_support.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void support_sleep_ms(unsigned ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&wait, NULL);
}

static void handle_hello(void *context, struct http_request *request)
{
    (void)context;
    http_respond_text(request, 200, "hello");
}

static void handle_echo(void *context, struct http_request *request)
{
    (void)context;
    struct nx_bytes content = http_request_body(request);
    struct nx_buf body = {0};
    nx_buf_append(&body, content.data, content.len);
    http_respond(request, 200, NULL, &body);
}

static void handle_param(void *context, struct http_request *request)
{
    (void)context;
    struct nx_buf body = {0};
    nx_buf_append_str(&body, http_request_param(request));
    http_respond(request, 200, NULL, &body);
}

static void handle_form(void *context, struct http_request *request)
{
    (void)context;
    struct http_params params;
    struct nx_err err;
    if (http_request_params(request, &params, &err) != NX_OK) {
        http_respond_text(request, 400, "%s", err.msg);
        return;
    }
    struct nx_buf body = {0};
    for (size_t i = 0; i < params.count; i++)
        nx_buf_printf(&body, "%.*s=%.*s;", NX_STR_ARGS(params.items[i].name),
                      NX_STR_ARGS(params.items[i].value));
    http_respond(request, 200, NULL, &body);
}

static void handle_text(void *context, struct http_request *request)
{
    (void)context;
    struct http_headers headers = {.can_compress = true};
    http_headers_add(&headers, "Content-Type", NX_STR("application/json"));
    struct nx_buf body = {0};
    for (int i = 0; i < 2000; i++)
        nx_buf_printf(&body, "{\"line\":%d},", i);
    http_respond(request, 200, &headers, &body);
}

static void answer_later(void *argument)
{
    struct http_request *request = argument;
    support_sleep_ms(5);
    http_respond_text(request, 200, "later");
}

static void hand_over(struct support_server *support, work_fn work, struct http_request *request)
{
    if (!worker_pool_try_submit(support->pool, work, request))
        http_respond_text(request, 503, "busy");
}

static void handle_later(void *context, struct http_request *request)
{
    hand_over(context, answer_later, request);
}

void support_fill_line(char out[SUPPORT_LINE_BYTES], unsigned number)
{
    memset(out, '.', SUPPORT_LINE_BYTES);
    char text[16];
    int length = snprintf(text, sizeof(text), "%u", number);
    memcpy(out, text, (size_t)length);
    out[SUPPORT_LINE_BYTES - 1] = '\n';
}

/* The server's support, found through the query: streams have only the request. */
static struct support_server *stream_support;

static void answer_stream(void *argument)
{
    struct http_request *request = argument;
    struct support_server *support = stream_support;
    uint64_t lines = 0;
    assert_true(nx_str_to_u64(http_request_query(request), &lines));
    struct http_headers headers = {.can_compress = true};
    http_headers_add(&headers, "X-Lines", http_request_query(request));
    http_respond_begin(request, 200, &headers);
    for (unsigned i = 0; i < lines; i++) {
        char line[SUPPORT_LINE_BYTES];
        support_fill_line(line, i);
        nx_code code = http_respond_write(
            request, (struct nx_bytes){.data = (uint8_t *)line, .len = sizeof(line)});
        if (code != NX_OK) {
            assert_int_equal(code, NX_E_CANCELLED);
            atomic_fetch_add(&support->cancelled_writes, 1);
            break;
        }
        atomic_fetch_add(&support->written_lines, 1);
    }
    http_respond_end(request);
    atomic_fetch_add(&support->streams_done, 1);
}

static void handle_stream(void *context, struct http_request *request)
{
    hand_over(context, answer_stream, request);
}

static void answer_cut(void *argument)
{
    struct http_request *request = argument;
    http_respond_begin(request, 200, NULL);
    for (unsigned i = 0; i < 10000; i++) {
        char line[SUPPORT_LINE_BYTES];
        support_fill_line(line, i);
        if (http_respond_write(
                request, (struct nx_bytes){.data = (uint8_t *)line, .len = sizeof(line)}) != NX_OK)
            break;
    }
    http_respond_abort(request);
}

static void handle_cut(void *context, struct http_request *request)
{
    hand_over(context, answer_cut, request);
}

static void note_cancel(void *context)
{
    struct support_server *support = context;
    atomic_fetch_add(&support->cancels, 1);
}

static void handle_hold(void *context, struct http_request *request)
{
    struct support_server *support = context;
    http_request_on_cancel(request, note_cancel, support);
    unsigned slot = atomic_load(&support->arrived);
    assert_true(slot < SUPPORT_HELD_MAX);
    support->held[slot] = request;
    atomic_store(&support->arrived, slot + 1);
}

static void decorate(void *context, const struct http_request *request,
                     struct http_headers *headers)
{
    (void)context;
    struct nx_str origin;
    if (http_request_header(request, NX_STR("Origin"), &origin))
        http_headers_add(headers, "Access-Control-Allow-Origin", origin);
}

struct support_server *support_server_new(void)
{
    static struct support_server support;
    support = (struct support_server){0};
    stream_support = &support;
    http_server_options_init(&support.options);
    support.options.decorate = decorate;
    support.router = http_router_new();
    const struct http_route routes[] = {
        {.method = "GET", .path = "/hello", .handler = handle_hello},
        {.method = "POST", .path = "/echo", .handler = handle_echo},
        {.method = "POST", .path = "/small", .handler = handle_echo, .body_bytes_max = 1000},
        {.method = "GET", .path = "/label/{name}/values", .handler = handle_param},
        {.method = "GET", .path = "/form", .handler = handle_form},
        {.method = "POST", .path = "/form", .handler = handle_form},
        {.method = "GET", .path = "/text", .handler = handle_text},
        {.method = "GET", .path = "/later", .handler = handle_later},
        {.method = "GET", .path = "/stream", .handler = handle_stream},
        {.method = "GET", .path = "/cut", .handler = handle_cut},
        {.method = "GET", .path = "/hold", .handler = handle_hold},
        {.method = "POST", .path = "/hold", .handler = handle_hold},
    };
    struct nx_err err;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct http_route route = routes[i];
        route.context = &support;
        assert_int_equal(http_router_add(support.router, &route, &err), NX_OK);
    }
    assert_int_equal(worker_pool_new(&support.pool, "answer", 4, 1024, &err), NX_OK);
    return &support;
}

uint16_t support_server_start(struct support_server *support)
{
    struct nx_err err;
    assert_int_equal(http_server_new(&support->server, &support->options, support->router, &err),
                     NX_OK);
    assert_int_equal(http_server_listen(support->server, "127.0.0.1:0", &err), NX_OK);
    assert_int_equal(http_server_start(support->server, &err), NX_OK);
    return http_server_port(support->server, 0);
}

struct http_request *support_take_held(struct support_server *support)
{
    assert_true(support_wait_for(&support->arrived, support->taken + 1));
    return support->held[support->taken++];
}

unsigned support_held_now(struct support_server *support)
{
    return atomic_load(&support->arrived) - support->taken;
}

bool support_wait_for(const _Atomic unsigned *count, unsigned at_least)
{
    for (unsigned waited_ms = 0; waited_ms < 20000; waited_ms += 5) {
        if (atomic_load(count) >= at_least)
            return true;
        support_sleep_ms(5);
    }
    return false;
}

void support_server_free(struct support_server *support)
{
    http_server_free(support->server);
    worker_pool_free(support->pool);
    http_router_free(support->router);
}
