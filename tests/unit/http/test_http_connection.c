/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_connection.c - clients that are slow, leave, or come in too great a number; and the server's own end. */
#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/metrics.h"
#include "narthex/base/rand.h"
#include "narthex/http/http_response.h"

#include "http_server_support.h"
#include "http_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELLO "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"

static void assert_answer(struct support_answer answer, unsigned status, const char *body)
{
    assert_int_equal(answer.status, status);
    if (body != NULL)
        assert_string_equal((const char *)answer.body.data, body);
    support_answer_deinit(&answer);
}

static uint64_t now_ms(void)
{
    return clock_mono_ns(clock_real()) / 1000000;
}

/* The server counts when it has acted, maybe after its client has seen that. */
static bool is_counted_to(enum metric_id metric, uint64_t at_least)
{
    for (int i = 0; i < 1000 && metrics_get(metric) < at_least; i++)
        support_sleep_ms(5);
    return metrics_get(metric) >= at_least;
}

/* ---- slow clients ---- */

static void test_a_head_that_does_not_end_is_408(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.head_timeout_ms = 200;
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    uint64_t begin_ms = now_ms();
    /* Steady drops do not prolong it. */
    support_send_text(fd, "GET /hello HTTP/1.1\r\nX: ");
    uint8_t byte;
    while (now_ms() - begin_ms < 10000 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
        (void)support_try_send(fd, NX_STR("x"));
        support_sleep_ms(20);
    }
    assert_true(now_ms() - begin_ms < 5000);
    assert_answer(support_read_answer(fd, false), 408, NULL);
    (void)close(fd);

    fd = support_connect(port);
    begin_ms = now_ms();
    assert_answer(support_ask(fd, "GET /hello HTTP/1.1\r\nHost"), 408,
                  "request head not complete in time\n");
    assert_true(now_ms() - begin_ms >= 190);
    assert_true(support_is_closed_within(fd, 5000));
    (void)close(fd);

    /* A connection that says nothing is closed without a word. */
    fd = support_connect(port);
    assert_answer(support_read_answer(fd, false), 0, NULL);
    (void)close(fd);
    support_server_free(support);
}

static void test_a_body_that_stands_still_is_408(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.body_timeout_ms = 200;
    uint16_t port = support_server_start(support);
    static const char *const starts[] = {
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(starts); i++) {
        int fd = support_connect(port);
        uint64_t begin_ms = now_ms();
        assert_answer(support_ask(fd, starts[i]), 408, "request body not complete in time\n");
        assert_true(now_ms() - begin_ms >= 190);
        (void)close(fd);
    }
    support_server_free(support);
}

static void test_a_body_below_the_least_rate_is_408(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.body_timeout_ms = 300;
    support->options.body_rate_min = 1000;
    int fd = support_connect(support_server_start(support));
    support_send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    uint64_t begin_ms = now_ms();
    uint8_t byte;
    /* A byte every 20 ms is progress, and too little of it. */
    while (now_ms() - begin_ms < 10000 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
        (void)support_try_send(fd, NX_STR("x"));
        support_sleep_ms(20);
    }
    assert_true(now_ms() - begin_ms < 5000);
    assert_answer(support_read_answer(fd, false), 408, NULL);
    (void)close(fd);
    support_server_free(support);
}

static void test_a_slow_body_above_the_least_rate_passes(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.body_timeout_ms = 500;
    support->options.body_rate_min = 1000;
    int fd = support_connect(support_server_start(support));
    support_send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\n\r\n");
    struct nx_buf piece = {0};
    memset(nx_buf_extend(&piece, 100), 'x', 100);
    for (int i = 0; i < 40; i++) {
        support_send(fd, nx_buf_str(&piece));
        support_sleep_ms(30);
    }
    assert_answer(support_read_answer(fd, false), 200, NULL);
    nx_buf_deinit(&piece);
    (void)close(fd);
    support_server_free(support);
}

static void test_an_idle_connection_is_closed_and_a_busy_one_is_not(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.idle_timeout_ms = 1000;
    support->options.head_timeout_ms = 5000;
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    uint64_t begin_ms = now_ms();
    for (int i = 0; i < 6; i++) {
        assert_answer(support_ask(fd, HELLO), 200, "hello\n");
        support_sleep_ms(250);
    }
    assert_true(now_ms() - begin_ms > 1200);
    begin_ms = now_ms();
    assert_true(support_is_closed_within(fd, 5000));
    assert_true(now_ms() - begin_ms < 3000);
    (void)close(fd);
    support_server_free(support);
}

/* ---- clients that leave ---- */

static void leave(int fd, int how)
{
    if (how == 0) {
        (void)close(fd);
        return;
    }
    if (how == 1) { /* by a reset */
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        (void)close(fd);
        return;
    }
    (void)shutdown(fd, SHUT_WR); /* half */
}

static void test_a_client_that_leaves_is_noticed_at_once(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    for (int how = 0; how < 3; how++) {
        for (int is_pipelining = 0; is_pipelining < 2; is_pipelining++) {
            unsigned cancels = atomic_load(&support->cancels);
            uint64_t aborted = metrics_get(METRIC_HTTP_ABORTED);
            int fd = support_connect(port);
            support_send_text(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
            struct http_request *request = support_take_held(support);
            if (is_pipelining) {
                support_send_text(fd, HELLO);
                support_sleep_ms(20);
            }
            assert_false(http_request_is_cancelled(request));
            assert_false(atomic_load(http_request_cancel_flag(request)));
            leave(fd, how);
            assert_true(support_wait_for(&support->cancels, cancels + 1));
            assert_true(http_request_is_cancelled(request));
            assert_true(atomic_load(http_request_cancel_flag(request)));
            assert_int_equal(atomic_load(&support->cancels), cancels + 1);
            http_respond_text(request, 200, "too late");
            if (how == 2) { /* and yet it may be read */
                assert_answer(support_read_answer(fd, false), 200, "too late\n");
                (void)close(fd);
            }
            assert_true(is_counted_to(METRIC_HTTP_ABORTED, aborted + 1));
        }
    }
    support_server_free(support);
}

static void test_a_client_that_asks_and_closes_its_side_gets_a_ready_answer(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    for (int i = 0; i < 100; i++) {
        int fd = support_connect(port);
        support_send_text(fd, HELLO);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_answer(support_read_answer(fd, false), 200, "hello\n");
        assert_true(support_is_closed_within(fd, 5000));
        (void)close(fd);
    }
    support_server_free(support);
}

static void test_a_request_whose_client_left_before_it_was_handed_over_is_cancelled(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    for (int i = 0; i < 50; i++) {
        int fd = support_connect(port);
        support_send_text(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        leave(fd, i % 2 == 0 ? 0 : 2);
        struct http_request *request = support_take_held(support);
        assert_true(support_wait_for(&support->cancels, (unsigned)i + 1));
        http_respond_abort(request);
        if (i % 2 != 0)
            (void)close(fd);
    }
    support_server_free(support);
}

static void test_a_reset_right_behind_the_last_bytes_is_noticed(void **state)
{
    (void)state;
    enum { CLIENTS = 100 };
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    uint64_t aborted = metrics_get(METRIC_HTTP_ABORTED);
    for (int i = 0; i < CLIENTS; i++) {
        int fd = support_connect(port);
        support_send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n");
        support_sleep_ms(1);
        support_send_text(fd, "half a body");
        leave(fd, 1);
    }
    assert_true(is_counted_to(METRIC_HTTP_ABORTED, aborted + CLIENTS));
    assert_int_equal(metrics_get(METRIC_HTTP_ABORTED), aborted + CLIENTS);
    support_server_free(support);
}

static void note_late(void *context)
{
    struct support_server *support = context;
    atomic_fetch_add(&support->cancels, 1);
}

static void test_a_late_cancel_callback_is_called_on_the_spot(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    support_send_text(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *request = support_take_held(support);
    http_request_on_cancel(request, NULL, NULL);
    (void)close(fd);
    while (!http_request_is_cancelled(request))
        support_sleep_ms(1);
    assert_int_equal(atomic_load(&support->cancels), 0);
    http_request_on_cancel(request, note_late, support);
    assert_int_equal(atomic_load(&support->cancels), 1);
    http_respond_abort(request);
    support_server_free(support);
}

/* ---- back-pressure ---- */

static void test_a_writer_waits_for_a_client_that_does_not_read(void **state)
{
    (void)state;
    enum { LINES = 400000 }; /* 40 MB */
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    support_send_text(fd, "GET /stream?400000 HTTP/1.1\r\nHost: h\r\n\r\n");
    unsigned before;
    do {
        before = atomic_load(&support->written_lines);
        support_sleep_ms(200);
    } while (before == 0 || atomic_load(&support->written_lines) != before);
    /* What is unsent is bounded; the rest is in the kernel's buffers. */
    assert_true(before < LINES * 3 / 4);
    assert_int_equal(atomic_load(&support->streams_done), 0);
    struct support_answer answer = support_read_answer(fd, false);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, (size_t)LINES * SUPPORT_LINE_BYTES);
    support_answer_deinit(&answer);
    assert_true(support_wait_for(&support->streams_done, 1));
    (void)close(fd);

    /* One that leaves instead of reading releases the writer. */
    fd = support_connect(port);
    support_send_text(fd, "GET /stream?4000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    support_sleep_ms(100);
    (void)close(fd);
    assert_true(support_wait_for(&support->streams_done, 2));
    assert_int_equal(atomic_load(&support->cancelled_writes), 1);
    support_server_free(support);
}

static void test_a_client_that_never_reads_is_dropped(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.write_timeout_ms = 300;
    int fd = support_connect(support_server_start(support));
    support_send_text(fd, "GET /stream?4000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(support_wait_for(&support->streams_done, 1));
    assert_int_equal(atomic_load(&support->cancelled_writes), 1);
    (void)close(fd);
    support_server_free(support);
}

static void test_an_answer_broken_off_does_not_look_complete(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    assert_answer(support_ask(fd, "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n"), 0, NULL);
    (void)close(fd);
    support_server_free(support);
}

/* ---- bounds ---- */

static void test_connections_above_the_limit_are_told_so(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    support->options.connections_max = 3;
    uint16_t port = support_server_start(support);
    int fds[3];
    for (int i = 0; i < 3; i++) {
        fds[i] = support_connect(port);
        assert_answer(support_ask(fds[i], HELLO), 200, "hello\n");
    }
    int above = support_connect(port);
    assert_answer(support_read_answer(above, false), 503, "too many connections\n");
    assert_true(support_is_closed_within(above, 5000));
    (void)close(above);
    (void)close(fds[0]);
    /* Room again, once the server has noticed. */
    unsigned status = 503;
    for (int i = 0; i < 100 && status != 200; i++) {
        support_sleep_ms(20);
        int fd = support_connect(port);
        struct support_answer answer = support_ask(fd, HELLO);
        status = answer.status;
        support_answer_deinit(&answer);
        (void)close(fd);
    }
    assert_int_equal(status, 200);
    (void)close(fds[1]);
    (void)close(fds[2]);
    support_server_free(support);
}

static struct nx_buf body_request(size_t bytes)
{
    struct nx_buf request = {0};
    nx_buf_printf(&request, "POST /hold HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", bytes);
    memset(nx_buf_extend(&request, bytes), 'x', bytes);
    return request;
}

static void answer_held(struct support_server *support)
{
    struct http_request *request = support_take_held(support);
    http_respond_text(request, 200, "%zu", http_request_body(request).len);
}

static void test_bodies_wait_while_all_together_have_reached_their_bound(void **state)
{
    (void)state;
    enum { CONNECTIONS = 8, BODY = 200000 };
    struct support_server *support = support_server_new();
    support->options.bodies_bytes_max = 2 * BODY + BODY / 2; /* two fit */
    uint16_t port = support_server_start(support);
    uint64_t waits = metrics_get(METRIC_HTTP_BODY_WAITS);
    struct nx_buf request = body_request(BODY);
    int fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = support_connect(port);
        /* The last one sends little, so that its end is not stuck behind what is not read. */
        size_t bytes = i < CONNECTIONS - 1 ? request.len : 1000;
        support_send(fds[i], (struct nx_str){.data = (const char *)request.data, .len = bytes});
    }
    assert_true(support_wait_for(&support->arrived, 2));
    support_sleep_ms(100);
    assert_int_equal(support_held_now(support), 2);
    assert_true(is_counted_to(METRIC_HTTP_BODY_WAITS, waits + CONNECTIONS - 2));
    assert_int_equal(support_held_now(support), 2);
    /* Small bodies, and requests without one, pass the queue. */
    int small = support_connect(port);
    assert_answer(support_ask(small, HELLO), 200, "hello\n");
    assert_answer(
        support_ask(small, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"), 200,
        "hi");
    (void)close(small);
    /* One that waits and leaves is taken off the queue. */
    (void)close(fds[CONNECTIONS - 1]);
    for (int i = 0; i < CONNECTIONS - 1; i++) {
        assert_true(support_wait_for(&support->arrived, support->taken + 1));
        assert_true(support_held_now(support) <= 2);
        answer_held(support);
    }
    for (int i = 0; i < CONNECTIONS - 1; i++) {
        assert_answer(support_read_answer(fds[i], false), 200, "200000\n");
        (void)close(fds[i]);
    }
    nx_buf_deinit(&request);
    support_server_free(support);
}

/* Clients that send just enough not to be timed out hold all the room; another one gets some all the same. */
static void test_slow_bodies_make_room_for_others(void **state)
{
    (void)state;
    enum { SLOW = 6, BODY = 2000000 };
    struct support_server *support = support_server_new();
    support->options.bodies_bytes_max = 1000000;
    uint16_t port = support_server_start(support);
    struct nx_buf request = body_request(BODY);
    int slow[SLOW];
    for (int i = 0; i < SLOW; i++) {
        slow[i] = support_connect(port);
        support_send(slow[i], (struct nx_str){.data = (const char *)request.data, .len = 300000});
    }
    support_sleep_ms(50);
    struct nx_buf small = body_request(200000);
    int fast = support_connect(port);
    uint64_t begin_ms = now_ms();
    support_send(fast, (struct nx_str){.data = (const char *)small.data, .len = small.len});
    for (unsigned i = 0; support_held_now(support) == 0 && i < 2000; i++) {
        for (int k = 0; k < SLOW; k++) /* who was refused cannot send any more */
            (void)!send(slow[k], request.data, 100, MSG_NOSIGNAL | MSG_DONTWAIT);
        support_sleep_ms(10);
    }
    assert_true(support_held_now(support) > 0);
    answer_held(support);
    assert_answer(support_read_answer(fast, false), 200, "200000\n");
    assert_true(now_ms() - begin_ms < 15000);
    unsigned refused = 0;
    for (int i = 0; i < SLOW; i++) {
        char answer[200] = "";
        if (recv(slow[i], answer, sizeof(answer) - 1, MSG_DONTWAIT) > 0) {
            assert_non_null(strstr(answer, " 503 "));
            assert_non_null(strstr(answer, "Retry-After: 1\r\n"));
            refused++;
        }
        (void)close(slow[i]);
    }
    assert_true(refused > 0);
    (void)close(fast);
    nx_buf_deinit(&small);
    nx_buf_deinit(&request);
    support_server_free(support);
}

static void test_half_received_bodies_do_not_block_each_other(void **state)
{
    (void)state;
    enum { CONNECTIONS = 5, BODY = 2000000 };
    struct support_server *support = support_server_new();
    support->options.bodies_bytes_max = 1500000; /* not even one */
    uint16_t port = support_server_start(support);
    struct nx_buf request = body_request(BODY);
    int fds[CONNECTIONS];
    size_t half = request.len / 2;
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = support_connect(port);
        /* The kernel holds what the server does not read. */
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
    }
    size_t sent[CONNECTIONS] = {0};
    unsigned answered = 0;
    bool is_answered[CONNECTIONS] = {false};
    uint64_t begin_ms = now_ms();
    while (answered < CONNECTIONS && now_ms() - begin_ms < 30000) {
        for (int i = 0; i < CONNECTIONS; i++) {
            size_t goal = now_ms() - begin_ms < 300 ? half : request.len;
            ssize_t got = send(fds[i], request.data + sent[i], goal - sent[i], MSG_NOSIGNAL);
            sent[i] += got > 0 ? (size_t)got : 0;
            uint8_t byte;
            if (!is_answered[i] && recv(fds[i], &byte, 1, MSG_PEEK) == 1) {
                is_answered[i] = true;
                answered++;
            }
        }
        if (support_held_now(support) > 0)
            answer_held(support);
        support_sleep_ms(1);
    }
    assert_int_equal(answered, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) {
        assert_int_equal(fcntl(fds[i], F_SETFL, 0), 0);
        assert_answer(support_read_answer(fds[i], false), 200, "2000000\n");
        (void)close(fds[i]);
    }
    nx_buf_deinit(&request);
    support_server_free(support);
}

static void test_running_out_of_descriptors_does_not_spin(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    assert_answer(support_ask(fd, HELLO), 200, "hello\n");
    int client = socket(AF_INET, SOCK_STREAM, 0);
    (void)close(client); /* the lowest free descriptor: kept for the client */
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)client + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    uint64_t refused = metrics_get(METRIC_HTTP_REFUSED);
    uint64_t begin_ms = now_ms();
    struct rusage before, after;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    client = support_connect(port);
    support_send_text(client, HELLO);
    support_sleep_ms(550);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    uint64_t times = metrics_get(METRIC_HTTP_REFUSED) - refused;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(times >= 2 && times <= (now_ms() - begin_ms) / 100 + 1);
    uint64_t cpu_ms = (uint64_t)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
                      (uint64_t)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
                      (uint64_t)((after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000 +
                                 (after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000);
    assert_true(cpu_ms < 200);
    /* Others are served meanwhile, and this one as soon as there are descriptors. */
    assert_answer(support_ask(fd, HELLO), 200, "hello\n");
    assert_answer(support_read_answer(client, false), 200, "hello\n");
    (void)close(client);
    (void)close(fd);
    support_server_free(support);
}

/* ---- everything at once ---- */

static void act_at_random(int fd, struct rand_state *random)
{
    static const char *const pieces[] = {
        HELLO,
        "GET /later HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /stream?3000 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET /stream?100000 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /text HTTP/1.0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n",
        "DELETE /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
        "nonsense\r\n\r\n",
    };
    switch (rand_below(random, 8)) {
    case 0:
        support_sleep_ms((unsigned)rand_below(random, 3));
        break;
    case 1: {
        char dropped[4096];
        (void)recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT);
        break;
    }
    case 2: {
        struct nx_str piece = nx_str_from(pieces[rand_below(random, NX_ARRAY_LEN(pieces))]);
        piece.len = rand_below(random, piece.len);
        (void)support_try_send(fd, piece);
        break;
    }
    default:
        (void)support_try_send(fd, nx_str_from(pieces[rand_below(random, NX_ARRAY_LEN(pieces))]));
        break;
    }
}

static void test_random_clients_leave_nothing_behind(void **state)
{
    (void)state;
    enum { CONNECTIONS = 24, ACTIONS = 6000 };
    struct support_server *support = support_server_new();
    support->options.bodies_bytes_max = 50000;
    support->options.connections_max = CONNECTIONS - 4;
    uint16_t port = support_server_start(support);
    struct rand_state random;
    rand_seed(&random, 1);
    int fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = support_connect(port);
    for (int action = 0; action < ACTIONS; action++) {
        int *fd = &fds[rand_below(&random, CONNECTIONS)];
        act_at_random(*fd, &random);
        if (rand_below(&random, 10) > 0)
            continue;
        int how = (int)rand_below(&random, 3);
        leave(*fd, how);
        if (how == 2)
            (void)close(*fd);
        *fd = support_connect(port);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        (void)close(fds[i]);
    /* Every request has been given back, and every connection has ended. */
    assert_true(http_server_drain(support->server, 20000));
    support_server_free(support);
}

/* ---- the end ---- */

struct drain_call {
    struct http_server *server;
    unsigned timeout_ms;
    bool is_idle;
};

static void run_drain(void *argument)
{
    struct drain_call *call = argument;
    call->is_idle = http_server_drain(call->server, call->timeout_ms);
}

static void test_draining_finishes_what_runs_and_takes_nothing_new(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int idle = support_connect(port);
    assert_answer(support_ask(idle, HELLO), 200, "hello\n");
    int running = support_connect(port);
    support_send_text(running, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(support_wait_for(&support->arrived, 1));
    int sending = support_connect(port);
    support_send_text(sending, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
    support_sleep_ms(50);

    struct drain_call call = {.server = support->server, .timeout_ms = 20000};
    struct nx_thread thread = {0};
    struct nx_err err;
    assert_int_equal(thread_start(&thread, "drain", run_drain, &call, &err), NX_OK);
    assert_true(support_is_closed_within(idle, 5000));
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int refused = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(refused, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    (void)close(refused);
    struct support_answer answer = support_ask(sending, "dy");
    assert_true(support_answer_has(&answer, "Connection: close"));
    assert_answer(answer, 200, "body");
    (void)close(sending);
    struct http_request *request = support_take_held(support);
    assert_false(http_request_is_cancelled(request));
    http_respond_text(request, 200, "done");
    answer = support_read_answer(running, false);
    assert_true(support_answer_has(&answer, "Connection: close"));
    assert_answer(answer, 200, "done\n");
    (void)close(running);
    thread_join(&thread);
    assert_true(call.is_idle);
    (void)close(idle);
    support_server_free(support);
}

static void run_free(void *argument)
{
    http_server_free(argument);
}

static void test_freeing_cancels_what_does_not_end(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int held = support_connect(port);
    support_send_text(held, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    int stuck = support_connect(port);
    support_send_text(stuck, "GET /stream?4000000 HTTP/1.1\r\nHost: h\r\n\r\n");
    struct http_request *request = support_take_held(support);
    assert_true(support_wait_for(&support->written_lines, 1));
    uint64_t begin_ms = now_ms();
    assert_false(http_server_drain(support->server, 200));
    assert_true(now_ms() - begin_ms >= 190 && now_ms() - begin_ms < 5000);

    /* http_server_free waits for the holders, which learn that they are cancelled. */
    struct nx_thread thread = {0};
    struct nx_err err;
    assert_int_equal(thread_start(&thread, "free", run_free, support->server, &err), NX_OK);
    assert_true(support_wait_for(&support->cancels, 1));
    assert_true(support_wait_for(&support->streams_done, 1));
    http_respond_text(request, 200, "nobody hears");
    thread_join(&thread);
    support->server = NULL;
    (void)close(held);
    (void)close(stuck);
    support_server_free(support);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_that_does_not_end_is_408),
        cmocka_unit_test(test_a_body_that_stands_still_is_408),
        cmocka_unit_test(test_a_body_below_the_least_rate_is_408),
        cmocka_unit_test(test_a_slow_body_above_the_least_rate_passes),
        cmocka_unit_test(test_an_idle_connection_is_closed_and_a_busy_one_is_not),
        cmocka_unit_test(test_a_client_that_leaves_is_noticed_at_once),
        cmocka_unit_test(test_a_client_that_asks_and_closes_its_side_gets_a_ready_answer),
        cmocka_unit_test(test_a_request_whose_client_left_before_it_was_handed_over_is_cancelled),
        cmocka_unit_test(test_a_reset_right_behind_the_last_bytes_is_noticed),
        cmocka_unit_test(test_a_late_cancel_callback_is_called_on_the_spot),
        cmocka_unit_test(test_a_writer_waits_for_a_client_that_does_not_read),
        cmocka_unit_test(test_a_client_that_never_reads_is_dropped),
        cmocka_unit_test(test_an_answer_broken_off_does_not_look_complete),
        cmocka_unit_test(test_connections_above_the_limit_are_told_so),
        cmocka_unit_test(test_bodies_wait_while_all_together_have_reached_their_bound),
        cmocka_unit_test(test_slow_bodies_make_room_for_others),
        cmocka_unit_test(test_half_received_bodies_do_not_block_each_other),
        cmocka_unit_test(test_running_out_of_descriptors_does_not_spin),
        cmocka_unit_test(test_random_clients_leave_nothing_behind),
        cmocka_unit_test(test_draining_finishes_what_runs_and_takes_nothing_new),
        cmocka_unit_test(test_freeing_cancels_what_does_not_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
