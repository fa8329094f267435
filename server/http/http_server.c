/* SPDX-License-Identifier: Apache-2.0 */
/* http_server.c - the transport thread: its loop, what it shares with the threads that answer, and its bounds.
 *
 * Holders of requests post news (pieces of output, the end, their last reference) to a list under the lock and write an
 * eventfd; http_server_settle, at the end of every callback, takes the list. On the transport thread itself nothing
 * needs waking, so an answer given inside a handler costs no system call but its send.
 *
 * Bodies   body_bytes counts every body from its receipt until its request is freed. Above bodies_bytes_max a
 *          connection waits in order of arrival, except the one overdraft: some body may always grow to its end, so
 *          bodies that are all half received cannot block each other. The excess is at most one body's limit.
 */
#include "narthex/http/http_server.h"

#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"

#include "http_server_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BODY_POOL_COUNT_MAX 64
#define BODY_POOL_BYTES_MAX (16 * 1024 * 1024)
#define BODY_POOLED_MAX     (1024 * 1024) /* larger buffers are not kept */
#define REQUEST_POOL_MAX    64

/* Set on a transport thread to its server. */
static _Thread_local const struct http_server *transport_of;

bool http_server_is_transport_thread(const struct http_server *server)
{
    return transport_of == server;
}

void http_server_options_init(struct http_server_options *options)
{
    *options = (struct http_server_options){
        .connections_max = 1024,
        .body_bytes_max = 32 * 1024 * 1024 + 1,
        .bodies_bytes_max = 256 * 1024 * 1024,
        .head_timeout_ms = 10 * 1000,
        .body_timeout_ms = 30 * 1000,
        .body_rate_min = 1024,
        .idle_timeout_ms = 350 * 1000,
        .write_timeout_ms = 60 * 1000,
        .linger_timeout_ms = 2 * 1000,
    };
}

void http_server_tick(struct http_server *server)
{
    server->now_ns = clock_mono_ns(clock_real());
}

/* ---- counting ---- */

void http_server_count_answer(unsigned status)
{
    if (status >= 200 && status <= 599)
        metrics_add_at(METRIC_HTTP_REQUESTS, status / 100 - 2, 1);
}

void http_server_count_refusal(enum http_refusal reason, unsigned status)
{
    metrics_add_at(METRIC_HTTP_REFUSED, (unsigned)reason, 1);
    http_server_count_answer(status);
}

/* ---- what holders post ---- */

static void wake_locked(struct http_server *server)
{
    if (server->is_woken || http_server_is_transport_thread(server))
        return;
    server->is_woken = true;
    uint64_t one = 1;
    ssize_t written = write(server->wake_fd, &one, sizeof(one));
    NX_ASSERT(written == (ssize_t)sizeof(one)); /* is_woken: the counter is 0, it cannot be full */
}

static void post_locked(struct http_request *request, struct http_piece_list *take_pieces)
{
    struct http_server *server = request->server;
    for (const struct http_piece *piece = take_pieces->first; piece != NULL; piece = piece->next) {
        if (piece->is_counted)
            request->unsent_bytes += piece->bytes.len - piece->sent;
    }
    http_pieces_join(&request->pieces, take_pieces);
    if (request->is_posted)
        return;
    request->is_posted = true;
    request->next_posted = NULL;
    if (server->posted_last != NULL)
        server->posted_last->next_posted = request;
    else
        server->posted_first = request;
    server->posted_last = request;
    wake_locked(server);
}

void http_server_post(struct http_request *request, struct http_piece_list *take_pieces,
                      bool is_ended, bool is_aborted)
{
    struct http_server *server = request->server;
    mutex_lock(&server->lock);
    NX_ASSERT(!request->is_ended && !request->is_aborted);
    request->is_ended = is_ended;
    request->is_aborted = is_aborted;
    if (is_ended || is_aborted)
        request->on_cancel = NULL;
    post_locked(request, take_pieces);
    mutex_unlock(&server->lock);
}

nx_code http_server_post_when_room(struct http_request *request,
                                   struct http_piece_list *take_pieces)
{
    struct http_server *server = request->server;
    mutex_lock(&server->lock);
    while (request->unsent_bytes >= HTTP_UNSENT_BYTES_MAX && !http_request_is_cancelled(request))
        cond_wait(&request->room, &server->lock);
    bool is_cancelled = http_request_is_cancelled(request);
    if (!is_cancelled)
        post_locked(request, take_pieces);
    mutex_unlock(&server->lock);
    http_pieces_clear(take_pieces); /* empty when they were posted */
    return is_cancelled ? NX_E_CANCELLED : NX_OK;
}

void http_server_cancel(struct http_request *request)
{
    struct http_server *server = request->server;
    if (http_request_is_cancelled(request))
        return;
    mutex_lock(&server->lock);
    atomic_store_explicit(&request->is_cancelled, true, memory_order_release);
    if (request->on_cancel != NULL) {
        request->on_cancel(request->on_cancel_context);
        request->on_cancel = NULL;
    }
    cond_broadcast(&request->room);
    mutex_unlock(&server->lock);
    metrics_add(METRIC_HTTP_ABORTED, 1);
}

/* ---- bodies ---- */

static void note_body_bytes(struct http_server *server)
{
    metrics_set(METRIC_HTTP_BODY_BYTES, (double)server->body_bytes);
    if (server->options.bodies_gauge != NULL)
        atomic_store_explicit(server->options.bodies_gauge, server->body_bytes,
                              memory_order_relaxed);
}

static bool may_grow(const struct http_connection *connection, size_t growth)
{
    struct http_server *server = connection->server;
    const struct http_request *request = connection->request;
    if (server->overdraft == request)
        return true;
    bool is_turn = server->waiting_first == NULL || server->waiting_first == connection;
    size_t max = server->options.bodies_bytes_max;
    if (is_turn && server->body_bytes <= max && growth <= max - server->body_bytes)
        return true;
    /* Who holds room already must be able to finish. So must the only one there is. */
    if (server->overdraft != NULL || (request->charged_bytes == 0 && server->body_bytes > 0))
        return false;
    server->overdraft = request;
    return true;
}

static void wait_for_room(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    metrics_add(METRIC_HTTP_BODY_WAITS, 1);
    connection->state = CONNECTION_WAITING;
    connection->next_waiting = NULL;
    if (server->waiting_last != NULL)
        server->waiting_last->next_waiting = connection;
    else
        server->waiting_first = connection;
    server->waiting_last = connection;
}

/* Once a second while connections wait for room: slow clients must not keep others out. */
static void on_press(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_server *server = argument;
    struct http_connection *next;
    server->is_pressing = false;
    http_server_tick(server);
    for (struct http_connection *connection = server->connections;
         connection != NULL && server->waiting_first != NULL; connection = next) {
        next = connection->next;
        http_connection_press(connection);
    }
    http_server_settle(server);
}

static void keep_pressing(struct http_server *server)
{
    static const struct timeval second = {.tv_sec = 1};
    if (server->waiting_first == NULL || server->is_pressing)
        return;
    server->is_pressing = event_add(&server->press_timer, &second) == 0;
}

static void charge(struct http_request *request, size_t growth)
{
    request->charged_bytes += growth;
    request->server->body_bytes += growth;
    note_body_bytes(request->server);
}

bool http_server_charge_body(struct http_connection *connection, size_t growth, bool never_waits)
{
    if (!never_waits && !may_grow(connection, growth)) {
        wait_for_room(connection);
        return false;
    }
    charge(connection->request, growth);
    return true;
}

void http_server_stop_waiting(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    struct http_connection *previous = NULL;
    struct http_connection *at = server->waiting_first;
    while (at != connection) {
        previous = at;
        at = at->next_waiting;
    }
    if (previous != NULL)
        previous->next_waiting = connection->next_waiting;
    else
        server->waiting_first = connection->next_waiting;
    if (server->waiting_last == connection)
        server->waiting_last = previous;
    connection->next_waiting = NULL;
}

/* Lets those go on, in order, for whom there is room now. */
static void resume_waiting(struct http_server *server)
{
    while (server->waiting_first != NULL) {
        struct http_connection *connection = server->waiting_first;
        size_t growth = http_connection_body_growth(connection);
        if (!may_grow(connection, growth))
            return;
        /* Charged here, so that it does not find itself behind the others again. */
        charge(connection->request, growth);
        http_server_stop_waiting(connection);
        http_connection_resume(connection);
    }
}

void http_server_trim_charge(struct http_request *request, size_t bytes)
{
    struct http_server *server = request->server;
    NX_ASSERT(bytes <= request->charged_bytes);
    server->body_bytes -= request->charged_bytes - bytes;
    request->charged_bytes = bytes;
    note_body_bytes(server);
}

void http_server_take_body_buf(struct http_server *server, struct nx_buf *out_buf)
{
    if (server->body_pool_count == 0)
        return;
    *out_buf = server->body_pool[--server->body_pool_count];
    server->body_pool_bytes -= out_buf->cap;
}

static void return_body_buf(struct http_server *server, struct nx_buf *take_buf)
{
    bool is_kept = take_buf->data != NULL && take_buf->cap <= BODY_POOLED_MAX &&
                   server->body_pool_count < BODY_POOL_COUNT_MAX &&
                   server->body_pool_bytes + take_buf->cap <= BODY_POOL_BYTES_MAX;
    if (!is_kept) {
        nx_buf_deinit(take_buf);
        return;
    }
    nx_buf_reset(take_buf);
    server->body_pool_bytes += take_buf->cap;
    server->body_pool[server->body_pool_count++] = *take_buf;
    *take_buf = (struct nx_buf){0};
}

void http_server_take_in_buf(struct http_server *server, struct nx_buf *out_buf)
{
    if (server->in_pool_count > 0) {
        *out_buf = server->in_pool[--server->in_pool_count];
        return;
    }
    *out_buf = (struct nx_buf){0};
    nx_buf_reserve(out_buf, HTTP_HEAD_BYTES_MAX);
}

void http_server_return_in_buf(struct http_server *server, struct nx_buf *take_buf)
{
    if (take_buf->data == NULL)
        return;
    if (server->in_pool_count == NX_ARRAY_LEN(server->in_pool)) {
        nx_buf_deinit(take_buf);
        return;
    }
    nx_buf_reset(take_buf);
    server->in_pool[server->in_pool_count++] = *take_buf;
    *take_buf = (struct nx_buf){0};
}

/* ---- requests ---- */

struct http_request *http_server_take_request(struct http_server *server)
{
    struct http_request *request = server->request_pool;
    if (request != NULL) {
        server->request_pool = request->next;
        server->request_pool_count--;
    } else {
        request = nx_calloc(1, sizeof(*request));
        request->server = server;
        arena_init(&request->arena, 0);
        cond_init(&request->room);
    }
    request->next = NULL;
    atomic_store_explicit(&request->refs, 1, memory_order_relaxed);
    server->request_count++;
    return request;
}

/* The last reference is gone: the room its body took is free, and so is the request. */
static void free_request(struct http_request *request)
{
    struct http_server *server = request->server;
    server->body_bytes -= request->charged_bytes;
    if (server->overdraft == request)
        server->overdraft = NULL;
    note_body_bytes(server);
    return_body_buf(server, &request->body);
    server->request_count--;
    http_request_reset(request);
    if (server->request_pool_count == REQUEST_POOL_MAX) {
        http_request_destroy(request);
        return;
    }
    request->next = server->request_pool;
    server->request_pool = request;
    server->request_pool_count++;
}

static bool drop_ref(struct http_request *request)
{
    unsigned before = atomic_fetch_sub_explicit(&request->refs, 1, memory_order_acq_rel);
    NX_ASSERT(before > 0);
    return before == 1;
}

void http_server_unref_request(struct http_request *request)
{
    if (drop_ref(request))
        free_request(request);
}

void http_request_unref(struct http_request *request)
{
    struct http_server *server = request->server;
    /* Under the lock throughout: the transport thread cannot end, and the server not be freed, before we are out. */
    mutex_lock(&server->lock);
    if (drop_ref(request)) {
        request->next = server->dead;
        server->dead = request;
        wake_locked(server);
    }
    mutex_unlock(&server->lock);
}

/* ---- the loop ---- */

void http_server_run_again(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    if (connection->is_again)
        return;
    connection->is_again = true;
    connection->next_again = server->again;
    server->again = connection;
    /* A timer of zero fires after the sockets were asked again: the others have their turn in between. */
    struct timeval now = {0};
    int failed = event_add(&server->again_timer, &now);
    NX_ASSERT(failed == 0);
}

static void on_again(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_server *server = argument;
    http_server_tick(server);
    struct http_connection *connection = server->again;
    server->again = NULL;
    while (connection != NULL) {
        struct http_connection *next = connection->next_again;
        connection->is_again = false;
        http_connection_run(connection);
        connection = next;
    }
    http_server_settle(server);
}

static void on_wake(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct http_server *server = argument;
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));
    NX_ASSERT(got == (ssize_t)sizeof(count) || errno == EAGAIN);
    http_server_tick(server);
    http_server_settle(server);
}

/* Takes what one request's holder has posted: under the lock, so quickly. */
static void take_news_locked(struct http_request *request)
{
    struct http_connection *connection = request->connection;
    request->is_posted = false;
    if (connection != NULL) {
        if (connection->out.first == NULL)
            connection->since_ns = connection->server->now_ns; /* write_timeout_ms begins */
        http_pieces_join(&connection->out, &request->pieces);
        request->is_answer_whole = request->is_ended;
    }
}

/* Passes an answer on to its connection. */
static void act_on_news(struct http_request *request, bool is_ended, bool is_aborted)
{
    struct http_connection *connection = request->connection;
    if (connection != NULL && is_aborted)
        http_connection_close(connection);
    else if (connection != NULL)
        http_connection_run(connection);
    if (is_ended || is_aborted)
        http_server_unref_request(request);
}

/* Takes the next request with news, and all that are dead. False when there was nothing. */
static bool take_posted(struct http_server *server)
{
    mutex_lock(&server->lock);
    struct http_request *request = server->posted_first;
    struct http_request *dead = server->dead;
    if (request != NULL) {
        server->posted_first = request->next_posted;
        if (server->posted_first == NULL)
            server->posted_last = NULL;
        take_news_locked(request);
    }
    bool has_news = request != NULL || dead != NULL;
    bool is_ended = request != NULL && request->is_ended;
    bool is_aborted = request != NULL && request->is_aborted;
    server->dead = NULL;
    server->is_woken = false;
    mutex_unlock(&server->lock);

    while (dead != NULL) {
        struct http_request *next = dead->next;
        free_request(dead);
        dead = next;
    }
    if (request != NULL)
        act_on_news(request, is_ended, is_aborted);
    return has_news;
}

static void free_closed(struct http_server *server)
{
    while (server->closed != NULL) {
        struct http_connection *connection = server->closed;
        server->closed = connection->next_closed;
        if (connection->previous != NULL)
            connection->previous->next = connection->next;
        else
            server->connections = connection->next;
        if (connection->next != NULL)
            connection->next->previous = connection->previous;
        server->connection_count--;
        http_connection_free(connection);
        metrics_set(METRIC_HTTP_CONNECTIONS, server->connection_count);
    }
}

/* Takes closed connections out of the list that on_again walks. */
static void forget_again(struct http_server *server)
{
    struct http_connection **link = &server->again;
    while (*link != NULL) {
        if ((*link)->state == CONNECTION_CLOSED)
            *link = (*link)->next_again;
        else
            link = &(*link)->next_again;
    }
}

static void close_connections(struct http_server *server, bool only_idle)
{
    for (struct http_connection *connection = server->connections; connection != NULL;
         connection = connection->next) {
        if (!only_idle || http_connection_is_idle(connection))
            http_connection_close(connection);
    }
}

/* Draining and stopping, as the phase says. */
static void wind_down(struct http_server *server, enum server_phase phase)
{
    switch (phase) {
    case SERVER_PHASE_SERVING:
        return;
    case SERVER_PHASE_DRAINING:
        http_listeners_close(server);
        close_connections(server, true);
        break;
    case SERVER_PHASE_STOPPING:
        http_listeners_close(server);
        close_connections(server, false);
        break;
    }
}

void http_server_settle(struct http_server *server)
{
    mutex_lock(&server->lock);
    enum server_phase phase = server->phase;
    mutex_unlock(&server->lock);
    do {
        wind_down(server, phase);
        resume_waiting(server);
    } while (take_posted(server));
    keep_pressing(server);
    if (phase != SERVER_PHASE_SERVING)
        wind_down(server, phase);
    if (server->closed != NULL) {
        forget_again(server);
        free_closed(server);
    }
    if (phase == SERVER_PHASE_SERVING || server->connection_count > 0 || server->request_count > 0)
        return;
    mutex_lock(&server->lock);
    server->is_idle = true;
    cond_broadcast(&server->idle);
    phase = server->phase;
    mutex_unlock(&server->lock);
    if (phase == SERVER_PHASE_STOPPING)
        (void)event_base_loopbreak(server->base);
}

static void run_transport(void *argument)
{
    struct http_server *server = argument;
    transport_of = server;
    http_server_tick(server);
    http_listeners_start(server);
    int result = event_base_loop(server->base, EVLOOP_NO_EXIT_ON_EMPTY);
    NX_ASSERT(result >= 0);
    transport_of = NULL;
}

/* ---- life cycle ---- */

static nx_code open_loop(struct http_server *server, struct nx_err *err)
{
    struct event_config *config = event_config_new();
    NX_ASSERT(config != NULL);
    /* One thread uses the base, so it needs no locks. Hang-ups of a peer that sends nothing must be seen. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    (void)event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
    server->base = event_base_new_with_config(config);
    event_config_free(config);
    if (server->base == NULL)
        return nx_err_set(err, NX_E_UNSUPPORTED,
                          "no event mechanism with edge triggers and hang-up detection");
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->wake_fd < 0)
        return nx_err_sys(err, errno, "eventfd");
    int failed = event_assign(&server->wake, server->base, server->wake_fd, EV_READ | EV_PERSIST,
                              on_wake, server);
    failed |= event_assign(&server->press_timer, server->base, -1, EV_TIMEOUT, on_press, server);
    failed |= event_assign(&server->again_timer, server->base, -1, EV_TIMEOUT, on_again, server);
    failed |= event_add(&server->wake, NULL);
    if (failed != 0)
        return nx_err_sys(err, errno, "event loop");
    return NX_OK;
}

nx_code http_server_new(struct http_server **out_server, const struct http_server_options *options,
                        const struct http_router *router, struct nx_err *err)
{
    struct http_server *server = nx_calloc(1, sizeof(*server));
    server->options = *options;
    server->router = router;
    server->wake_fd = -1;
    for (size_t i = 0; i < NX_ARRAY_LEN(server->listeners); i++)
        server->listeners[i].fd = -1;
    mutex_init(&server->lock, LOCK_RANK_HTTP_QUEUE);
    cond_init(&server->idle);
    server->body_pool = nx_calloc(BODY_POOL_COUNT_MAX, sizeof(*server->body_pool));
    server->discard = nx_alloc(HTTP_DISCARD_BYTES);
    nx_code code = open_loop(server, err);
    if (code != NX_OK) {
        http_server_free(server);
        return code;
    }
    *out_server = server;
    return NX_OK;
}

nx_code http_server_start(struct http_server *server, struct nx_err *err)
{
    return thread_start(&server->thread, "transport", run_transport, server, err);
}

static void enter_phase(struct http_server *server, enum server_phase phase)
{
    mutex_lock(&server->lock);
    if (server->phase < phase)
        server->phase = phase;
    server->is_idle = false;
    wake_locked(server);
    mutex_unlock(&server->lock);
}

bool http_server_drain(struct http_server *server, unsigned timeout_ms)
{
    NX_ASSERT(!http_server_is_transport_thread(server));
    if (!server->thread.is_running)
        return true;
    atomic_store_explicit(&server->is_draining, true, memory_order_relaxed);
    enter_phase(server, SERVER_PHASE_DRAINING);
    uint64_t until_ns = clock_mono_ns(clock_real()) + (uint64_t)timeout_ms * 1000000;
    mutex_lock(&server->lock);
    while (!server->is_idle) {
        uint64_t now_ns = clock_mono_ns(clock_real());
        if (now_ns >= until_ns)
            break;
        (void)cond_wait_for(&server->idle, &server->lock, until_ns - now_ns);
    }
    bool is_idle = server->is_idle;
    mutex_unlock(&server->lock);
    return is_idle;
}

void http_server_cut(struct http_server *server)
{
    if (server->thread.is_running)
        enter_phase(server, SERVER_PHASE_STOPPING);
}

static void free_pools(struct http_server *server)
{
    for (size_t i = 0; i < server->body_pool_count; i++)
        nx_buf_deinit(&server->body_pool[i]);
    for (size_t i = 0; i < server->in_pool_count; i++)
        nx_buf_deinit(&server->in_pool[i]);
    while (server->request_pool != NULL) {
        struct http_request *request = server->request_pool;
        server->request_pool = request->next;
        http_request_destroy(request);
    }
    nx_free(server->body_pool);
    nx_free(server->discard);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->thread.is_running) {
        http_server_cut(server);
        thread_join(&server->thread);
    }
    NX_ASSERT(server->connection_count == 0 && server->request_count == 0);
    http_listeners_close(server);
    free_pools(server);
    if (server->wake_fd >= 0)
        (void)close(server->wake_fd);
    if (server->base != NULL)
        event_base_free(server->base);
    cond_deinit(&server->idle);
    mutex_deinit(&server->lock);
    nx_free(server);
}
