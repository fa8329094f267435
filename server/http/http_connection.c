/* SPDX-License-Identifier: Apache-2.0 */
/* http_connection.c - one client's connection, from its first byte to its last.
 *
 *   HEAD --head complete--> BODY | CHUNKS --body complete--> HANDLING --answer sent--> HEAD (kept alive) or LINGER
 *     |        no body -----------------------------------------^
 *     |                       BODY | CHUNKS <--> WAITING         while all bodies together have reached their bound
 *     +--cannot be served, from any of these--> REFUSING --said so--> LINGER --peer has closed--> CLOSED
 *
 * Input    edge-triggered and greedy. A head is received into a small buffer of the server's, which a connection holds
 *          only while something is in it; a body of known length straight into the request's, which the server
 *          recycles. While a request is handled nothing is read: a client that pipelines fills its own window, not
 *          our memory.
 * Leaving  hang-up and reset are noticed while a request is handled and while a body waits, since the socket's
 *          events stay on.
 * Lingering  closing a socket with unread input resets the connection, and the reset may overtake our last answer.
 *          So we end our side, and read and discard until the peer closes, LINGER_BYTES_MAX, or linger_timeout_ms.
 *
 * Invariants
 *   1. request != NULL exactly in BODY, CHUNKS, WAITING and HANDLING.
 *   2. Nothing here recurses: a handler's answer is taken by http_server_settle, after the callback's own work.
 *   3. A connection that was closed is freed by http_server_settle, so that no caller up the stack loses it.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"

#include "http_server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TURN_BYTES_MAX                                                                             \
 (512 * 1024) /* read from one connection before the others get their turn (chosen) */
#define BODY_STEP_BYTES                                                                            \
 (256 * 1024) /* a body's room is taken in steps: declaring a length costs nothing */
/* While others wait for room, a body must come at this rate; one that has some room and waits for more does so for a
 * while only. */
#define PRESS_BYTES      (64 * 1024)
#define PRESS_WAIT_NS    UINT64_C(3000000000)
#define BODY_EXACT_MAX   (1024 * 1024) /* up to here a body's buffer gets its whole length at once */
#define LINGER_BYTES_MAX (16 * 1024 * 1024) /* discarded for a peer to see our answer */
#define SEND_PARTS_MAX   16

static void enter(struct http_connection *connection, enum connection_state state)
{
    connection->state = state;
    connection->since_ns = connection->server->now_ns;
}

/* ---- time-outs ---- */

static bool has_input(const struct http_connection *connection)
{
    return connection->in.len > connection->in_at;
}

bool http_connection_is_idle(const struct http_connection *connection)
{
    return connection->state == CONNECTION_HEAD && !has_input(connection);
}

static uint64_t ms_to_ns(unsigned ms)
{
    return (uint64_t)ms * 1000000;
}

/* When the connection's patience ends; 0: never, someone else's move. */
static uint64_t deadline_ns(const struct http_connection *connection)
{
    const struct http_server_options *options = &connection->server->options;
    switch (connection->state) {
    case CONNECTION_HEAD:
        if (http_connection_is_idle(connection) && !connection->is_first)
            return connection->since_ns + ms_to_ns(options->idle_timeout_ms);
        return connection->since_ns + ms_to_ns(options->head_timeout_ms);
    case CONNECTION_BODY:
    case CONNECTION_CHUNKS:
        return connection->since_ns + ms_to_ns(options->body_timeout_ms);
    case CONNECTION_HANDLING:
        if (connection->out.first == NULL)
            return 0;
        return connection->since_ns + ms_to_ns(options->write_timeout_ms);
    case CONNECTION_REFUSING:
    case CONNECTION_LINGER:
        return connection->since_ns + ms_to_ns(options->linger_timeout_ms);
    case CONNECTION_WAITING:
    case CONNECTION_CLOSED:
        break;
    }
    return 0;
}

/* Makes the timer fire no later than the deadline; an earlier one is left, so that a busy connection sets it rarely. */
static void set_timer(struct http_connection *connection)
{
    uint64_t at_ns = deadline_ns(connection);
    if (at_ns == 0 || (connection->timer_at_ns != 0 && connection->timer_at_ns <= at_ns))
        return;
    uint64_t now_ns = connection->server->now_ns;
    uint64_t wait_us = at_ns > now_ns ? (at_ns - now_ns) / 1000 + 1 : 1;
    struct timeval wait = {
        .tv_sec = (time_t)(wait_us / 1000000),
        .tv_usec = (suseconds_t)(wait_us % 1000000),
    };
    int failed = event_add(&connection->timer, &wait);
    NX_ASSERT(failed == 0);
    connection->timer_at_ns = at_ns;
}

/* ---- endings ---- */

void http_connection_close(struct http_connection *connection)
{
    if (connection->state == CONNECTION_CLOSED)
        return;
    struct http_server *server = connection->server;
    struct http_request *request = connection->request;
    bool was_handling = connection->state == CONNECTION_HANDLING;
    if (connection->state == CONNECTION_WAITING)
        http_server_stop_waiting(connection);
    enter(connection, CONNECTION_CLOSED);
    (void)event_del(&connection->io);
    (void)event_del(&connection->timer);
    connection->transport.ops->close(&connection->transport);
    connection->next_closed = server->closed;
    server->closed = connection;
    if (request == NULL)
        return;
    connection->request = NULL;
    request->connection = NULL;
    if (was_handling)
        http_server_cancel(request);
    else
        metrics_add(METRIC_HTTP_ABORTED, 1);
    http_server_unref_request(request);
}

void http_connection_free(struct http_connection *connection)
{
    NX_ASSERT(connection->state == CONNECTION_CLOSED && connection->request == NULL);
    http_pieces_clear(&connection->out);
    http_server_return_in_buf(connection->server, &connection->in);
    nx_free(connection);
}

/* All is said. Ends our side and reads on until the peer has closed. */
static void linger(struct http_connection *connection)
{
    enter(connection, CONNECTION_LINGER);
    connection->transport.ops->end(&connection->transport);
    connection->linger_bytes = 0;
    http_server_return_in_buf(connection->server, &connection->in);
    connection->in_at = 0;
}

static void discard_input(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    size_t turn_bytes = 0;
    while (connection->is_readable) {
        if (turn_bytes >= TURN_BYTES_MAX) {
            http_server_run_again(connection);
            return;
        }
        ssize_t got = connection->transport.ops->read(&connection->transport, server->discard,
                                                      HTTP_DISCARD_BYTES);
        if (got < 0 && errno == EAGAIN) {
            connection->is_readable = false;
            return;
        }
        if (got <= 0) {
            http_connection_close(connection);
            return;
        }
        turn_bytes += (size_t)got;
        connection->linger_bytes += (size_t)got;
        if (connection->linger_bytes > LINGER_BYTES_MAX) {
            http_connection_close(connection);
            return;
        }
    }
}

/* Answers in the transport's own name and ends the connection; the request, if there is one, is no more. */
static void refuse(struct http_connection *connection, enum http_refusal reason, unsigned status,
                   const char *why)
{
    NX_ASSERT(connection->state != CONNECTION_HANDLING);
    http_server_count_refusal(reason, status);
    if (connection->request != NULL) {
        connection->request->connection = NULL;
        http_server_unref_request(connection->request);
        connection->request = NULL;
    }
    struct nx_buf answer = {0};
    http_response_refusal(&answer, status, why);
    http_pieces_add(&connection->out, &answer, 0, false);
    enter(connection, CONNECTION_REFUSING);
}

void http_connection_turn_away(struct http_connection *connection)
{
    refuse(connection, HTTP_REFUSAL_CONNECTIONS, 503, "too many connections");
    http_connection_run(connection);
}

static void refuse_verdict(struct http_connection *connection, enum http_verdict verdict,
                           const char *why)
{
    switch (verdict) {
    case HTTP_PARSE_TARGET_TOO_LONG:
        refuse(connection, HTTP_REFUSAL_HEADER_LIMIT, 414, why);
        return;
    case HTTP_PARSE_HEAD_TOO_LARGE:
        refuse(connection, HTTP_REFUSAL_HEADER_LIMIT, 431, why);
        return;
    case HTTP_PARSE_EXPECT_UNKNOWN:
        refuse(connection, HTTP_REFUSAL_BAD_REQUEST, 417, why);
        return;
    case HTTP_PARSE_VERSION_UNKNOWN:
        refuse(connection, HTTP_REFUSAL_BAD_REQUEST, 505, why);
        return;
    case HTTP_PARSE_BAD:
    case HTTP_PARSE_MORE:
    case HTTP_PARSE_DONE:
        break;
    }
    NX_ASSERT(verdict == HTTP_PARSE_BAD);
    refuse(connection, HTTP_REFUSAL_BAD_REQUEST, 400, why);
}

static void refuse_body_size(struct http_connection *connection)
{
    char why[64];
    (void)snprintf(why, sizeof(why), "body larger than %zu bytes", connection->body_bytes_max);
    refuse(connection, HTTP_REFUSAL_BODY_LIMIT, 413, why);
}

static void expire(struct http_connection *connection)
{
    switch (connection->state) {
    case CONNECTION_HEAD:
        if (http_connection_is_idle(connection))
            http_connection_close(connection);
        else
            refuse(connection, HTTP_REFUSAL_TIMEOUT, 408, "request head not complete in time");
        break;
    case CONNECTION_BODY:
    case CONNECTION_CHUNKS:
        refuse(connection, HTTP_REFUSAL_TIMEOUT, 408, "request body not complete in time");
        break;
    case CONNECTION_HANDLING:
        metrics_add_at(METRIC_HTTP_REFUSED, HTTP_REFUSAL_TIMEOUT, 1);
        http_connection_close(connection);
        break;
    case CONNECTION_WAITING:
    case CONNECTION_REFUSING:
    case CONNECTION_LINGER:
    case CONNECTION_CLOSED:
        http_connection_close(connection);
        break;
    }
}

/* ---- requests ---- */

static void hand_over(struct http_connection *connection)
{
    struct http_request *request = connection->request;
    enter(connection, CONNECTION_HANDLING);
    /* The connection's reference is there; this one is the holder's. */
    http_request_ref(request);
    if (request->builtin != HTTP_BUILTIN_NONE)
        http_request_answer_builtin(request);
    else
        request->route->handler(request->route->context, request);
}

static void hand_over_body(struct http_connection *connection)
{
    http_server_trim_charge(connection->request, connection->request->body.len);
    hand_over(connection);
}

static void route_request(struct http_connection *connection, struct http_request *request)
{
    const struct http_server *server = connection->server;
    struct nx_str param = {0};
    enum http_match match = http_router_match(server->router, http_request_method(request),
                                              http_request_path(request), &request->route, &param);
    switch (match) {
    case HTTP_MATCH_FOUND:
        break;
    case HTTP_MATCH_BAD_PATH:
        request->builtin = HTTP_BUILTIN_BAD_PATH;
        return;
    case HTTP_MATCH_NO_PATH:
        request->builtin = HTTP_BUILTIN_NO_PATH;
        return;
    case HTTP_MATCH_NO_METHOD:
        request->builtin = HTTP_BUILTIN_NO_METHOD;
        return;
    case HTTP_MATCH_OPTIONS:
        request->builtin = HTTP_BUILTIN_OPTIONS;
        return;
    }
    connection->body_bytes_max = request->route->body_bytes_max;
    if (connection->body_bytes_max == 0)
        connection->body_bytes_max = server->options.body_bytes_max;
    if (param.len == 0)
        return;
    char *decoded = arena_alloc(&request->arena, param.len);
    size_t decoded_bytes = 0;
    bool is_whole = http_percent_decode(param, false, decoded, &decoded_bytes);
    NX_ASSERT(is_whole); /* http_router_match refuses broken escapes */
    request->param = (struct nx_str){.data = decoded, .len = decoded_bytes};
}

/* Into BODY or CHUNKS, with fresh patience. */
static void enter_body(struct http_connection *connection)
{
    const struct http_request *request = connection->request;
    connection->rate_since_ns = connection->server->now_ns;
    connection->rate_from_bytes = request->body.len;
    enter(connection, request->head.is_chunked ? CONNECTION_CHUNKS : CONNECTION_BODY);
}

void http_connection_press(struct http_connection *connection)
{
    const struct http_request *request = connection->request;
    if (request == NULL || request->charged_bytes == 0)
        return;
    if (connection->state == CONNECTION_WAITING) {
        uint64_t waited_ns = connection->server->now_ns - connection->since_ns;
        if (waited_ns < PRESS_WAIT_NS)
            return;
        http_server_stop_waiting(connection);
    } else if (connection->state != CONNECTION_BODY && connection->state != CONNECTION_CHUNKS) {
        return;
    } else if (!connection->is_pressed ||
               request->body.len - connection->pressed_from_bytes >= PRESS_BYTES) {
        connection->is_pressed = true;
        connection->pressed_from_bytes = request->body.len;
        return;
    }
    refuse(connection, HTTP_REFUSAL_OVERLOAD, 503, "no room for slow bodies, send it again");
    http_connection_run(connection);
}

static void begin_body(struct http_connection *connection)
{
    struct http_request *request = connection->request;
    connection->is_pressed = false;
    http_server_take_body_buf(connection->server, &request->body);
    http_chunked_init(&connection->chunked);
    enter_body(connection);
    if (request->head.expects_continue && !has_input(connection)) {
        struct nx_buf go_on = {0};
        nx_buf_append_cstr(&go_on, "HTTP/1.1 100 Continue\r\n\r\n");
        http_pieces_add(&connection->out, &go_on, 0, false);
    }
}

/* The head in connection->head is complete. */
static void begin_request(struct http_connection *connection)
{
    struct http_request *request = http_server_take_request(connection->server);
    const struct http_head *head = &connection->head;
    nx_buf_append(&request->head_bytes, connection->in.data + connection->in_at, head->head_bytes);
    request->head = *head;
    memcpy(request->peer, connection->peer, sizeof(request->peer));
    request->connection = connection;
    request->closes = !head->is_kept_alive;
    connection->request = request;
    connection->in_at += head->head_bytes;
    connection->is_first = false;
    route_request(connection, request);
    http_head_init(&connection->head);

    bool has_body = request->head.is_chunked || request->head.body_bytes > 0;
    if (request->builtin != HTTP_BUILTIN_NONE) {
        /* Its body, if any, is not worth receiving. */
        request->closes |= has_body;
        hand_over(connection);
    } else if (!has_body) {
        hand_over(connection);
    } else if (request->head.body_bytes > connection->body_bytes_max) {
        refuse_body_size(connection);
    } else {
        begin_body(connection);
    }
}

/* ---- input ---- */

/* Counts progress of a body; false, and the connection refused, when it is too slow. */
static bool note_progress(struct http_connection *connection)
{
    const struct http_server *server = connection->server;
    connection->since_ns = server->now_ns;
    uint64_t window_ns = server->now_ns - connection->rate_since_ns;
    if (window_ns < ms_to_ns(server->options.body_timeout_ms))
        return true;
    size_t body_bytes = connection->request->body.len;
    double expected = (double)server->options.body_rate_min * ((double)window_ns / 1e9);
    if ((double)(body_bytes - connection->rate_from_bytes) < expected) {
        expire(connection);
        return false;
    }
    connection->rate_since_ns = server->now_ns;
    connection->rate_from_bytes = body_bytes;
    return true;
}

size_t http_connection_body_growth(const struct http_connection *connection)
{
    const struct http_request *request = connection->request;
    if (request->head.is_chunked)
        return BODY_STEP_BYTES;
    size_t left = (size_t)request->head.body_bytes - request->charged_bytes;
    return left < BODY_STEP_BYTES ? left : BODY_STEP_BYTES;
}

/* Room in the body's buffer for what may be received now; 0 when the connection has to wait. */
static size_t make_room(struct http_connection *connection)
{
    struct http_request *request = connection->request;
    size_t total = (size_t)request->head.body_bytes;
    if (request->charged_bytes == request->body.len) {
        size_t growth = http_connection_body_growth(connection);
        if (!http_server_charge_body(connection, growth, total <= HTTP_HEAD_BYTES_MAX))
            return 0;
    }
    size_t room = request->charged_bytes - request->body.len;
    nx_buf_reserve(&request->body, total <= BODY_EXACT_MAX ? total - request->body.len : room);
    return room;
}

/* Moves what is in `in` to a body of known length. */
static void take_body(struct http_connection *connection)
{
    struct nx_buf *body = &connection->request->body;
    size_t total = (size_t)connection->request->head.body_bytes;
    while (body->len < total && has_input(connection)) {
        size_t bytes = make_room(connection);
        if (bytes == 0)
            return;
        size_t present = connection->in.len - connection->in_at;
        if (bytes > present)
            bytes = present;
        nx_buf_append(body, connection->in.data + connection->in_at, bytes);
        connection->in_at += bytes;
    }
    if (body->len == total)
        hand_over_body(connection);
}

/* Decodes what is in `in`, which is never more than HTTP_HEAD_BYTES_MAX: that much room is made first. */
static void take_chunks(struct http_connection *connection)
{
    struct http_request *request = connection->request;
    enum http_verdict verdict = HTTP_PARSE_MORE;
    while (verdict == HTTP_PARSE_MORE && has_input(connection)) {
        if (request->charged_bytes - request->body.len < HTTP_HEAD_BYTES_MAX &&
            !http_server_charge_body(connection, BODY_STEP_BYTES, false))
            return;
        size_t consumed = 0;
        struct nx_bytes content;
        verdict = http_chunked_parse(&connection->chunked, connection->in.data + connection->in_at,
                                     connection->in.len - connection->in_at, &consumed, &content);
        connection->in_at += consumed;
        if (content.len > connection->body_bytes_max - request->body.len) {
            refuse_body_size(connection);
            return;
        }
        nx_buf_append(&request->body, content.data, content.len);
    }
    if (verdict == HTTP_PARSE_DONE)
        hand_over_body(connection);
    else if (verdict != HTTP_PARSE_MORE)
        refuse_verdict(connection, verdict, connection->chunked.why);
}

static void take_head(struct http_connection *connection)
{
    if (!has_input(connection))
        return;
    enum http_verdict verdict =
        http_head_parse(&connection->head, connection->in.data + connection->in_at,
                        connection->in.len - connection->in_at);
    if (verdict == HTTP_PARSE_DONE)
        begin_request(connection);
    else if (verdict != HTTP_PARSE_MORE)
        refuse_verdict(connection, verdict, connection->head.why);
}

/* Consumes the input at hand as far as it goes. */
static void process(struct http_connection *connection)
{
    enum connection_state before;
    do {
        before = connection->state;
        if (before == CONNECTION_HEAD)
            take_head(connection);
        else if (before == CONNECTION_BODY)
            take_body(connection);
        else if (before == CONNECTION_CHUNKS)
            take_chunks(connection);
    } while (connection->state != before);
    if (!has_input(connection) && connection->in.data != NULL) {
        http_server_return_in_buf(connection->server, &connection->in);
        connection->in_at = 0;
    }
}

static bool is_receiving(const struct http_connection *connection)
{
    return connection->state == CONNECTION_HEAD || connection->state == CONNECTION_BODY ||
           connection->state == CONNECTION_CHUNKS;
}

static void input_ended(struct http_connection *connection)
{
    /* An orderly end between two requests is how connections end; anything else is a client that left. */
    connection->is_peer_done = true;
    http_connection_close(connection);
}

/* One read into the body, or into `in`. Returns the bytes received; 0 when there is nothing to read now, or the
 * connection has left the receiving states. */
static size_t receive_once(struct http_connection *connection)
{
    struct nx_buf *target = &connection->in;
    size_t room;
    if (connection->state == CONNECTION_BODY) {
        room = make_room(connection);
        if (room == 0)
            return 0;
        target = &connection->request->body;
    } else {
        if (connection->in.data == NULL)
            http_server_take_in_buf(connection->server, &connection->in);
        if (connection->in_at > 0) {
            connection->in.len -= connection->in_at;
            memmove(connection->in.data, connection->in.data + connection->in_at,
                    connection->in.len);
            connection->in_at = 0;
        }
        room = HTTP_HEAD_BYTES_MAX - connection->in.len;
        NX_ASSERT(room > 0); /* a full buffer that needs more is a head too large */
    }
    bool was_idle = http_connection_is_idle(connection);
    ssize_t got =
        connection->transport.ops->read(&connection->transport, target->data + target->len, room);
    if (got < 0 && errno == EAGAIN) {
        connection->is_readable = false;
        return 0;
    }
    if (got <= 0) {
        input_ended(connection);
        return 0;
    }
    target->len += (size_t)got;
    /* Less than asked for does not mean that all was read: the end or a reset behind it may have been announced by the
     * same edge. Only EAGAIN clears is_readable. */
    if (was_idle)
        connection->since_ns = connection->server->now_ns;
    return (size_t)got;
}

static void receive(struct http_connection *connection)
{
    size_t turn_bytes = 0;
    process(connection);
    while (is_receiving(connection) && connection->is_readable) {
        if (turn_bytes >= TURN_BYTES_MAX) {
            http_server_run_again(connection);
            return;
        }
        size_t got = receive_once(connection);
        if (got == 0)
            break;
        turn_bytes += got;
        process(connection);
        bool has_body_begun =
            connection->state == CONNECTION_BODY || connection->state == CONNECTION_CHUNKS;
        if (has_body_begun && !note_progress(connection))
            return;
    }
}

/* ---- output ---- */

/* The whole answer has been sent. */
static void finish_answer(struct http_connection *connection)
{
    struct http_request *request = connection->request;
    http_server_count_answer(request->status);
    bool closes = request->closes ||
                  atomic_load_explicit(&connection->server->is_draining, memory_order_relaxed);
    connection->request = NULL;
    request->connection = NULL;
    http_server_unref_request(request);
    if (closes)
        linger(connection);
    else
        enter(connection, CONNECTION_HEAD);
}

/* Tells the answering thread that `bytes` of its pieces are gone. */
static void release_room(struct http_request *request, size_t bytes)
{
    if (request == NULL || bytes == 0)
        return;
    mutex_lock(&request->server->lock);
    request->unsent_bytes -= bytes;
    if (request->unsent_bytes < HTTP_UNSENT_BYTES_MAX)
        cond_broadcast(&request->room);
    mutex_unlock(&request->server->lock);
}

/* Forgets `sent` bytes of the output; returns how many of them were counted. */
static size_t drop_sent(struct http_connection *connection, size_t sent)
{
    size_t counted = 0;
    while (sent > 0) {
        struct http_piece *piece = connection->out.first;
        size_t left = piece->bytes.len - piece->sent;
        size_t step = sent < left ? sent : left;
        piece->sent += step;
        sent -= step;
        if (piece->is_counted)
            counted += step;
        if (step == left)
            http_pieces_drop_first(&connection->out);
    }
    return counted;
}

/* One gathering write. False when nothing more can be sent now. */
static bool send_once(struct http_connection *connection)
{
    struct iovec parts[SEND_PARTS_MAX];
    int count = 0;
    size_t offered = 0;
    for (struct http_piece *piece = connection->out.first; piece != NULL && count < SEND_PARTS_MAX;
         piece = piece->next) {
        parts[count].iov_base = piece->bytes.data + piece->sent;
        parts[count].iov_len = piece->bytes.len - piece->sent;
        offered += parts[count].iov_len;
        count++;
    }
    ssize_t sent = connection->transport.ops->write(&connection->transport, parts, count);
    if (sent < 0 && errno == EAGAIN) {
        connection->is_writable = false;
        return false;
    }
    if (sent < 0) {
        http_connection_close(connection);
        return false;
    }
    if (connection->state == CONNECTION_HANDLING)
        connection->since_ns = connection->server->now_ns;
    size_t counted = drop_sent(connection, (size_t)sent);
    release_room(connection->request, counted);
    if ((size_t)sent < offered)
        connection->is_writable = false;
    return connection->is_writable;
}

static void send_output(struct http_connection *connection)
{
    bool may_go_on = connection->is_writable && connection->state != CONNECTION_CLOSED;
    while (may_go_on && connection->out.first != NULL)
        may_go_on = send_once(connection);
    if (connection->out.first != NULL || connection->state == CONNECTION_CLOSED)
        return;
    if (connection->state == CONNECTION_REFUSING)
        linger(connection);
    else if (connection->state == CONNECTION_HANDLING && connection->request->is_answer_whole)
        finish_answer(connection);
}

/* ---- events ---- */

static bool is_kept_waiting(const struct http_connection *connection)
{
    return connection->state == CONNECTION_WAITING ||
           (connection->state == CONNECTION_HANDLING && !connection->request->is_answer_whole);
}

/* The peer has closed while something was still to come from us. */
static void note_peer_done(struct http_connection *connection)
{
    if (connection->state == CONNECTION_WAITING)
        http_connection_close(connection);
    else
        http_server_cancel(connection->request);
}

/* A reset shows in no read while none is made, and its event looks like any other's. */
static void check_socket(struct http_connection *connection)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    if (getsockopt(connection->transport.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 &&
        error != 0)
        http_connection_close(connection);
}

void http_connection_run(struct http_connection *connection)
{
    if (connection->is_peer_done && is_kept_waiting(connection))
        note_peer_done(connection);
    /* Sending an answer may make way for a request that is here already, and so on. */
    bool has_news = connection->state != CONNECTION_CLOSED;
    while (has_news) {
        send_output(connection);
        if (!is_receiving(connection))
            break;
        receive(connection);
        has_news = connection->out.first != NULL && connection->is_writable;
    }
    if (connection->state == CONNECTION_LINGER)
        discard_input(connection);
    if (is_kept_waiting(connection) && connection->is_readable)
        check_socket(connection);
    if (connection->state == CONNECTION_CLOSED)
        return;
    set_timer(connection);
    /* A request whose sender has closed already: an answer that is ready goes out first, else it is cancelled. */
    if (connection->is_peer_done && is_kept_waiting(connection) &&
        !http_request_is_cancelled(connection->request))
        http_server_run_again(connection);
}

void http_connection_resume(struct http_connection *connection)
{
    enter_body(connection);
    http_connection_run(connection);
}

static void on_io(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    struct http_connection *connection = argument;
    struct http_server *server = connection->server;
    http_server_tick(server);
    if (connection->state != CONNECTION_CLOSED) {
        connection->is_readable |= (what & (EV_READ | EV_CLOSED)) != 0;
        connection->is_writable |= (what & EV_WRITE) != 0;
        connection->is_peer_done |= (what & EV_CLOSED) != 0;
        http_connection_run(connection);
    }
    http_server_settle(server);
}

static void on_timer(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_connection *connection = argument;
    struct http_server *server = connection->server;
    http_server_tick(server);
    connection->timer_at_ns = 0;
    uint64_t at_ns = deadline_ns(connection);
    if (at_ns != 0 && at_ns <= server->now_ns)
        expire(connection);
    http_connection_run(connection);
    http_server_settle(server);
}

struct http_connection *http_connection_new(struct http_server *server, int fd, const char *peer)
{
    struct http_connection *connection = nx_calloc(1, sizeof(*connection));
    connection->server = server;
    connection->is_first = true;
    connection->is_writable = true;
    (void)snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
    http_transport_open_plain(&connection->transport, fd);
    http_head_init(&connection->head);
    int failed =
        event_assign(&connection->io, server->base, fd,
                     EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_io, connection);
    failed |= event_assign(&connection->timer, server->base, -1, EV_TIMEOUT, on_timer, connection);
    NX_ASSERT(failed == 0);
    enter(connection, CONNECTION_HEAD);
    if (event_add(&connection->io, NULL) != 0) {
        /* epoll is out of memory or watches: this client cannot be served. */
        connection->transport.ops->close(&connection->transport);
        nx_free(connection);
        return NULL;
    }
    set_timer(connection);
    return connection;
}
