/* SPDX-License-Identifier: Apache-2.0 */
/* http_request.c - what a handler sees of a request, who holds it, and the answers that need no handler. */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/http/http_server.h"

#include "http_server_internal.h"

struct nx_str http_request_method(const struct http_request *request)
{
    return http_span_view(request->head_bytes.data, request->head.method);
}

struct nx_str http_request_path(const struct http_request *request)
{
    return http_span_view(request->head_bytes.data, request->head.path);
}

struct nx_str http_request_query(const struct http_request *request)
{
    return http_span_view(request->head_bytes.data, request->head.query);
}

struct nx_str http_request_param(const struct http_request *request)
{
    return request->param;
}

struct nx_bytes http_request_body(const struct http_request *request)
{
    return nx_buf_bytes(&request->body);
}

const char *http_request_peer(const struct http_request *request)
{
    return request->peer;
}

bool http_request_header(const struct http_request *request, struct nx_str name,
                         struct nx_str *out_value)
{
    return http_head_find(&request->head, request->head_bytes.data, name, out_value);
}

bool http_request_header_at(const struct http_request *request, size_t index,
                            struct nx_str *out_name, struct nx_str *out_value)
{
    if (index >= request->head.field_count)
        return false;
    *out_name = http_span_view(request->head_bytes.data, request->head.fields[index].name);
    *out_value = http_span_view(request->head_bytes.data, request->head.fields[index].value);
    return true;
}

struct arena *http_request_arena(struct http_request *request)
{
    return &request->arena;
}

static bool may_carry_form(struct nx_str method)
{
    return nx_str_eq(method, NX_STR("POST")) || nx_str_eq(method, NX_STR("PUT")) ||
           nx_str_eq(method, NX_STR("PATCH"));
}

nx_code http_request_params(struct http_request *request, struct http_params *out_params,
                            struct nx_err *err)
{
    struct http_params params = {0};
    struct nx_str content_type;
    bool is_form = may_carry_form(http_request_method(request)) &&
                   http_request_header(request, NX_STR("Content-Type"), &content_type) &&
                   http_is_form(content_type);
    nx_code code = NX_OK;
    if (is_form)
        code = http_params_add(&params, &request->arena, nx_buf_str(&request->body), err);
    if (code == NX_OK)
        code = http_params_add(&params, &request->arena, http_request_query(request), err);
    if (code == NX_OK)
        *out_params = params;
    return code;
}

bool http_request_is_cancelled(const struct http_request *request)
{
    return atomic_load_explicit(&request->is_cancelled, memory_order_acquire);
}

_Atomic bool *http_request_cancel_flag(struct http_request *request)
{
    return &request->is_cancelled;
}

void http_request_on_cancel(struct http_request *request, void (*on_cancel)(void *context),
                            void *context)
{
    struct nx_mutex *lock = &request->server->lock;
    mutex_lock(lock);
    NX_ASSERT(!request->is_ended && !request->is_aborted);
    bool is_late = atomic_load_explicit(&request->is_cancelled, memory_order_acquire);
    request->on_cancel = is_late ? NULL : on_cancel;
    request->on_cancel_context = context;
    mutex_unlock(lock);
    if (is_late && on_cancel != NULL)
        on_cancel(context);
}

void http_request_ref(struct http_request *request)
{
    unsigned before = atomic_fetch_add_explicit(&request->refs, 1, memory_order_relaxed);
    NX_ASSERT(before > 0);
}

/* A request goes back to the pool for the next one: memory of usual size stays with it. */
void http_request_reset(struct http_request *request)
{
    NX_ASSERT(request->connection == NULL && request->body.data == NULL);
    http_pieces_clear(&request->pieces);
    http_pieces_clear(&request->held_head);
    nx_buf_deinit(&request->stage);
    http_gzip_free(request->gzip);
    request->gzip = NULL;
    nx_buf_reset(&request->head_bytes);
    arena_reset(&request->arena);
    request->param = (struct nx_str){0};
    request->route = NULL;
    request->builtin = HTTP_BUILTIN_NONE;
    request->charged_bytes = 0;
    atomic_store_explicit(&request->is_cancelled, false, memory_order_relaxed);
    request->is_begun = request->is_framed = request->drops_body = false;
    request->is_cut = request->closes = false;
    request->status = 0;
    request->unsent_bytes = 0;
    request->is_posted = request->is_ended = request->is_aborted = false;
    request->on_cancel = NULL;
    request->next_posted = NULL;
    request->is_answer_whole = false;
}

void http_request_destroy(struct http_request *request)
{
    nx_buf_deinit(&request->head_bytes);
    arena_deinit(&request->arena);
    cond_deinit(&request->room);
    nx_free(request);
}

static void answer_with_allow(struct http_request *request, unsigned status)
{
    struct nx_buf allow = {0};
    http_router_allow(request->server->router, http_request_path(request), &allow);
    struct http_headers headers = {0};
    http_headers_add(&headers, "Allow", nx_buf_str(&allow));
    nx_buf_deinit(&allow);
    if (status == 204) {
        http_respond(request, status, &headers, NULL);
        return;
    }
    http_headers_add(&headers, "Content-Type", NX_STR("text/plain; charset=utf-8"));
    http_headers_add(&headers, "X-Content-Type-Options", NX_STR("nosniff"));
    struct nx_buf body = {0};
    nx_buf_append_cstr(&body, http_status_text(status));
    nx_buf_append_byte(&body, '\n');
    http_respond(request, status, &headers, &body);
}

void http_request_answer_builtin(struct http_request *request)
{
    switch (request->builtin) {
    case HTTP_BUILTIN_BAD_PATH:
        http_respond_text(request, 400, "invalid URL escape in path");
        return;
    case HTTP_BUILTIN_NO_PATH:
        http_respond_text(request, 404, "404 page not found");
        return;
    case HTTP_BUILTIN_NO_METHOD:
        answer_with_allow(request, 405);
        return;
    case HTTP_BUILTIN_OPTIONS:
        answer_with_allow(request, 204);
        return;
    case HTTP_BUILTIN_NONE:
        break;
    }
    NX_ASSERT(request->builtin != HTTP_BUILTIN_NONE);
}
