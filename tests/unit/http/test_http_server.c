/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_server.c - the server over real sockets: requests in every shape, answers of every kind. */
#include "narthex/base/assert.h"
#include "narthex/base/metrics.h"
#include "narthex/base/rand.h"
#include "narthex/http/http_response.h"

#include "http_server_internal.h"
#include "http_server_support.h"
#include "http_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void assert_answer(struct support_answer answer, unsigned status, const char *body)
{
    assert_int_equal(answer.status, status);
    assert_string_equal((const char *)answer.body.data, body);
    support_answer_deinit(&answer);
}

#define HELLO "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"

static void test_a_connection_is_kept_for_further_requests(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    uint64_t answered = metrics_get(METRIC_HTTP_REQUESTS);
    for (int i = 0; i < 10; i++)
        assert_answer(
            support_ask(fd, i % 2 == 0 ? HELLO : "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"), 200,
            i % 2 == 0 ? "hello\n" : "later\n");
    /* The last one is counted when it is sent, so maybe after it was read. */
    for (int i = 0; i < 1000 && metrics_get(METRIC_HTTP_REQUESTS) < answered + 10; i++)
        support_sleep_ms(5);
    assert_int_equal(metrics_get(METRIC_HTTP_REQUESTS), answered + 10);
    struct support_answer answer =
        support_ask(fd, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_true(support_answer_has(&answer, "Connection: close"));
    assert_true(support_answer_has(&answer, "Content-Length: 6"));
    assert_true(support_answer_has(&answer, "Content-Type: text/plain; charset=utf-8"));
    assert_non_null(strstr((const char *)answer.head.data, "\r\nDate: "));
    assert_answer(answer, 200, "hello\n");
    assert_true(support_is_closed_within(fd, 5000));
    (void)close(fd);
    support_server_free(support);
}

static void test_http_1_0_closes_unless_asked_to_stay(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    struct support_answer answer =
        support_ask(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_true(support_answer_has(&answer, "Connection: keep-alive"));
    assert_answer(answer, 200, "hello\n");
    answer = support_ask(fd, "GET /hello HTTP/1.0\r\n\r\n");
    assert_true(support_answer_has(&answer, "Connection: close"));
    assert_answer(answer, 200, "hello\n");
    assert_true(support_is_closed_within(fd, 5000));
    (void)close(fd);

    /* Streamed: without chunks, to the end of the connection. */
    fd = support_connect(port);
    answer = support_ask(fd, "GET /stream?1000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 1000 * SUPPORT_LINE_BYTES);
    assert_true(support_answer_has(&answer, "Connection: close"));
    support_answer_deinit(&answer);
    (void)close(fd);
    support_server_free(support);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    struct nx_buf requests = {0};
    for (int i = 0; i < 2000; i++) {
        nx_buf_printf(&requests, "GET /label/n%d/values HTTP/1.1\r\nHost: h\r\n\r\n", i);
        if (i % 100 == 0)
            nx_buf_append_cstr(
                &requests, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"
                           "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                           "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "2\r\nde\r\n1\r\nf\r\n0\r\n\r\n");
    }
    support_send(fd, nx_buf_str(&requests));
    for (int i = 0; i < 2000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "n%d", i);
        assert_answer(support_read_answer(fd, false), 200, name);
        if (i % 100 != 0)
            continue;
        assert_answer(support_read_answer(fd, false), 200, "later\n");
        assert_answer(support_read_answer(fd, false), 200, "abc");
        assert_answer(support_read_answer(fd, false), 200, "def");
    }
    nx_buf_deinit(&requests);
    (void)close(fd);
    support_server_free(support);
}

static void test_a_request_may_come_byte_by_byte(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    int one = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    struct nx_str text =
        NX_STR("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
               "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3;x=y\r\nbye\r\n0\r\nT: t\r\n\r\n");
    for (size_t i = 0; i < text.len; i++)
        support_send(fd, (struct nx_str){.data = text.data + i, .len = 1});
    assert_answer(support_read_answer(fd, false), 200, "hello");
    assert_answer(support_read_answer(fd, false), 200, "bye");
    (void)close(fd);
    support_server_free(support);
}

static void fill_random(struct nx_buf *buf, size_t bytes, uint64_t seed)
{
    struct rand_state random;
    rand_seed(&random, seed);
    for (size_t i = 0; i < bytes; i++)
        nx_buf_append_byte(buf, (uint8_t)rand_u64(&random));
}

static void test_bodies_of_any_size_come_through(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,      1,      1000,    16383,    16384,         16385,
                                   131072, 300000, 1048577, 10 << 20, (32 << 20) + 1};
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    for (size_t i = 0; i < NX_ARRAY_LEN(sizes); i++) {
        for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
            struct nx_buf content = {0};
            fill_random(&content, sizes[i], i);
            struct nx_buf request = {0};
            nx_buf_append_cstr(&request, "POST /echo HTTP/1.1\r\nHost: h\r\n");
            if (is_chunked) {
                nx_buf_append_cstr(&request, "Transfer-Encoding: chunked\r\n\r\n");
                size_t step = 1 + sizes[i] / 3;
                for (size_t at = 0; at < content.len; at += step) {
                    size_t bytes = content.len - at < step ? content.len - at : step;
                    nx_buf_printf(&request, "%zx\r\n", bytes);
                    nx_buf_append(&request, content.data + at, bytes);
                    nx_buf_append_cstr(&request, "\r\n");
                }
                nx_buf_append_cstr(&request, "0\r\n\r\n");
            } else {
                nx_buf_printf(&request, "Content-Length: %zu\r\n\r\n", content.len);
                nx_buf_append(&request, content.data, content.len);
            }
            support_send(fd, nx_buf_str(&request));
            struct support_answer answer = support_read_answer(fd, false);
            assert_int_equal(answer.status, 200);
            assert_int_equal(answer.body.len, content.len);
            assert_memory_equal(answer.body.data, content.data, content.len);
            support_answer_deinit(&answer);
            nx_buf_deinit(&request);
            nx_buf_deinit(&content);
        }
    }
    (void)close(fd);
    support_server_free(support);
}

static void test_a_client_that_waits_for_continue_is_told(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    for (int i = 0; i < 2; i++) {
        struct support_answer answer = support_ask(
            fd,
            "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
        assert_int_equal(answer.status, 100);
        support_answer_deinit(&answer);
        assert_answer(support_ask(fd, "body"), 200, "body");
    }
    /* One that does not wait needs no telling; one that asks too much is told so instead. */
    assert_answer(support_ask(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                                  "Content-Length: 4\r\n\r\nbody"),
                  200, "body");
    assert_answer(support_ask(fd, "POST /small HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                                  "Content-Length: 1001\r\n\r\n"),
                  413, "body larger than 1000 bytes\n");
    (void)close(fd);
    support_server_free(support);
}

static void test_a_streamed_answer_arrives_whole(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    static const unsigned counts[] = {0, 1, 100, 700, 30000};
    for (size_t i = 0; i < NX_ARRAY_LEN(counts); i++) {
        char request[128];
        (void)snprintf(request, sizeof(request), "GET /stream?%u HTTP/1.1\r\nHost: h\r\n\r\n",
                       counts[i]);
        struct support_answer answer = support_ask(fd, request);
        assert_int_equal(answer.status, 200);
        assert_true(support_answer_has(&answer, "Transfer-Encoding: chunked"));
        assert_int_equal(answer.body.len, counts[i] * SUPPORT_LINE_BYTES);
        for (unsigned n = 0; n < counts[i]; n++) {
            char line[SUPPORT_LINE_BYTES];
            support_fill_line(line, n);
            assert_memory_equal(answer.body.data + (size_t)n * SUPPORT_LINE_BYTES, line,
                                SUPPORT_LINE_BYTES);
        }
        support_answer_deinit(&answer);
    }
    assert_answer(support_ask(fd, HELLO), 200, "hello\n");
    (void)close(fd);
    support_server_free(support);
}

static void test_answers_are_compressed_for_who_accepts_it(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    static const char *const paths[] = {"/text", "/stream?20000"};
    for (size_t i = 0; i < NX_ARRAY_LEN(paths); i++) {
        char request[128];
        (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", paths[i]);
        struct support_answer plain = support_ask(fd, request);
        assert_int_equal(plain.status, 200);
        assert_true(support_answer_has(&plain, "Vary: Accept-Encoding"));
        assert_false(support_answer_has(&plain, "Content-Encoding: gzip"));

        (void)snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: h\r\nAccept-Encoding: br, gzip\r\n\r\n", paths[i]);
        struct support_answer packed = support_ask(fd, request);
        assert_int_equal(packed.status, 200);
        assert_true(support_answer_has(&packed, "Content-Encoding: gzip"));
        assert_true(support_answer_has(&packed, "Vary: Accept-Encoding"));
        assert_true(packed.body.len < plain.body.len / 3);
        struct nx_buf unpacked = {0};
        assert_true(support_gunzip(nx_buf_bytes(&packed.body), &unpacked));
        assert_true(nx_str_eq(nx_buf_str(&unpacked), nx_buf_str(&plain.body)));
        nx_buf_deinit(&unpacked);
        support_answer_deinit(&packed);
        support_answer_deinit(&plain);
    }
    /* Not worth it, and not asked in the way that counts. */
    struct support_answer answer =
        support_ask(fd, "GET /stream?0 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip;q=1\r\n\r\n");
    assert_false(support_answer_has(&answer, "Content-Encoding: gzip"));
    support_answer_deinit(&answer);
    (void)close(fd);
    support_server_free(support);
}

static void test_head_options_and_what_does_not_exist(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int fd = support_connect(port);
    struct support_answer answer = support_ask(fd, "HEAD /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(support_answer_has(&answer, "Content-Length: 6"));
    assert_answer(answer, 200, "");
    answer = support_ask(fd, "HEAD /stream?500 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(support_answer_has(&answer, "Transfer-Encoding: chunked"));
    assert_answer(answer, 200, "");
    answer = support_ask(fd, "OPTIONS /form HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n");
    assert_true(support_answer_has(&answer, "Allow: GET, POST, HEAD, OPTIONS"));
    assert_true(support_answer_has(&answer, "Access-Control-Allow-Origin: http://o"));
    assert_answer(answer, 204, "");
    answer = support_ask(fd, "GET /nothing HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n");
    assert_true(support_answer_has(&answer, "X-Content-Type-Options: nosniff"));
    assert_true(support_answer_has(&answer, "Access-Control-Allow-Origin: http://o"));
    assert_answer(answer, 404, "404 page not found\n");
    answer = support_ask(fd, "DELETE /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(support_answer_has(&answer, "Allow: GET, HEAD, OPTIONS"));
    assert_answer(answer, 405, "Method Not Allowed\n");
    assert_answer(support_ask(fd, "GET /label/a%2fb%20c/values HTTP/1.1\r\nHost: h\r\n\r\n"), 200,
                  "a/b c");
    assert_answer(support_ask(fd, "GET /label/%zz/values HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
                  "invalid URL escape in path\n");
    assert_answer(support_ask(fd, HELLO), 200, "hello\n");

    /* A body that nobody takes is not read as a request: the connection ends. */
    answer =
        support_ask(fd, "POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 36\r\n\r\n" HELLO);
    assert_true(support_answer_has(&answer, "Connection: close"));
    assert_answer(answer, 404, "404 page not found\n");
    assert_true(support_is_closed_within(fd, 5000));
    (void)close(fd);
    support_server_free(support);
}

static void test_form_and_url_parameters_merge(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    assert_answer(support_ask(fd, "GET /form?a=1&b=%2B HTTP/1.1\r\nHost: h\r\n\r\n"), 200,
                  "a=1;b=+;");
    assert_answer(support_ask(fd,
                              "POST /form?a=url HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n"
                              "Content-Type: application/x-www-form-urlencoded\r\n\r\na=b+y&c=%20"),
                  200, "a=b y;c= ;a=url;");
    /* Of another type it is not a form; a broken one is said to be. */
    assert_answer(support_ask(fd, "POST /form?a=url HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n"
                                  "Content-Type: text/plain\r\n\r\na=b+y&c=%20"),
                  200, "a=url;");
    assert_answer(support_ask(fd, "GET /form?a=%2 HTTP/1.1\r\nHost: h\r\n\r\n"), 400,
                  "invalid URL escape \"%2\"\n");
    (void)close(fd);
    support_server_free(support);
}

static void test_a_refused_request_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned status;
    } rows[] = {
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HELLO,
         400},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" HELLO, 400},
        {"GET /hello HTTP/1.1\r\n\r\n" HELLO, 400},
        {"\x16\x03\x01\x02" HELLO, 400},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nExpect: more\r\nContent-Length: 1\r\n\r\nx" HELLO, 417},
        {"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" HELLO, 413},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 33554434\r\n\r\n" HELLO, 413},
        {"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\n" HELLO,
         413},
    };
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        int fd = support_connect(port);
        uint64_t refused = metrics_get(METRIC_HTTP_REFUSED);
        struct support_answer answer = support_ask(fd, rows[i].text);
        if (answer.status != rows[i].status)
            fail_msg("row %zu: status %u", i, answer.status);
        assert_true(support_answer_has(&answer, "Connection: close"));
        /* One line of text. */
        assert_ptr_equal(strchr((const char *)answer.body.data, '\n'),
                         answer.body.data + answer.body.len - 1);
        support_answer_deinit(&answer);
        answer = support_read_answer(fd, false);
        assert_int_equal(answer.status, 0);
        support_answer_deinit(&answer);
        assert_int_equal(metrics_get(METRIC_HTTP_REFUSED), refused + 1);
        (void)close(fd);
    }
    support_server_free(support);
}

static void test_long_targets_large_heads_and_endless_chunks_are_refused(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    for (int kind = 0; kind < 4; kind++) {
        static const unsigned expected[] = {414, 431, 431, 413};
        struct nx_buf request = {0};
        if (kind == 0) {
            nx_buf_append_cstr(&request, "GET /");
            memset(nx_buf_extend(&request, 8192), 'a', 8192);
        } else if (kind == 1) {
            nx_buf_append_cstr(&request, "GET / HTTP/1.1\r\nHost: h\r\nA: ");
            memset(nx_buf_extend(&request, 20000), 'a', 20000);
        } else if (kind == 2) {
            nx_buf_append_cstr(&request, "GET / HTTP/1.1\r\nHost: h\r\n");
            for (int i = 0; i < 100; i++)
                nx_buf_append_cstr(&request, "A: b\r\n");
        } else {
            nx_buf_append_cstr(
                &request, "POST /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
            for (int i = 0; i < 11; i++) {
                nx_buf_append_cstr(&request, "64\r\n");
                memset(nx_buf_extend(&request, 100), 'a', 100);
                nx_buf_append_cstr(&request, "\r\n");
            }
        }
        int fd = support_connect(port);
        support_send(fd, nx_buf_str(&request));
        struct support_answer answer = support_read_answer(fd, false);
        assert_int_equal(answer.status, expected[kind]);
        support_answer_deinit(&answer);
        assert_true(support_is_closed_within(fd, 5000));
        (void)close(fd);
        nx_buf_deinit(&request);
    }
    support_server_free(support);
}

static void test_a_refusal_reaches_a_client_that_is_still_sending(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    struct nx_buf body = {0};
    memset(nx_buf_extend(&body, 8 << 20), 'x', 8 << 20);
    support_send_text(fd, "POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n");
    assert_true(support_try_send(fd, nx_buf_str(&body)));
    assert_answer(support_read_answer(fd, false), 413, "body larger than 1000 bytes\n");
    nx_buf_deinit(&body);
    (void)close(fd);
    support_server_free(support);
}

static void test_many_connections_are_served_at_once(void **state)
{
    (void)state;
    enum { CONNECTIONS = 400 };
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    int fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = support_connect(port);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CONNECTIONS; i++)
            support_send_text(fds[i],
                              i % 3 == 0 ? "GET /later HTTP/1.1\r\nHost: h\r\n\r\n" : HELLO);
        for (int i = 0; i < CONNECTIONS; i++)
            assert_answer(support_read_answer(fds[i], false), 200,
                          i % 3 == 0 ? "later\n" : "hello\n");
    }
    for (int i = 0; i < CONNECTIONS; i++)
        (void)close(fds[i]);
    support_server_free(support);
}

static void test_a_request_outlives_its_answer_while_it_is_referenced(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    int fd = support_connect(support_server_start(support));
    support_send_text(
        fd, "POST /hold?q HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nX-A: b\r\n\r\nbody");
    struct http_request *request = support_take_held(support);
    http_request_ref(request);
    http_request_on_cancel(request, NULL, NULL);
    http_respond_text(request, 200, "%s", "held");
    assert_answer(support_read_answer(fd, false), 200, "held\n");
    (void)close(fd);
    assert_true(nx_str_eq(http_request_path(request), NX_STR("/hold")));
    assert_true(nx_str_eq(http_request_query(request), NX_STR("q")));
    assert_true(nx_str_eq(nx_str_from_bytes(http_request_body(request)), NX_STR("body")));
    struct nx_str name, value;
    assert_true(http_request_header_at(request, 2, &name, &value));
    assert_true(nx_str_eq(name, NX_STR("X-A")) && nx_str_eq(value, NX_STR("b")));
    assert_false(http_request_header_at(request, 3, &name, &value));
    assert_memory_equal(http_request_peer(request), "127.0.0.1:", 10);
    http_request_unref(request);
    assert_int_equal(atomic_load(&support->cancels), 0);
    support_server_free(support);
}

static void test_listen_addresses_are_checked(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    uint16_t port = support_server_start(support);
    struct http_server *server = NULL;
    struct nx_err err;
    assert_int_equal(http_server_new(&server, &support->options, support->router, &err), NX_OK);
    static const char *const malformed[] = {"localhost", "localhost:", "127.0.0.1:65536",
                                            "::1:80",    "h:-1",       "[::1]"};
    for (size_t i = 0; i < NX_ARRAY_LEN(malformed); i++)
        assert_int_equal(http_server_listen(server, malformed[i], &err), NX_E_INVALID);
    char taken[32];
    (void)snprintf(taken, sizeof(taken), "127.0.0.1:%u", port);
    assert_int_equal(http_server_listen(server, taken, &err), NX_E_IO);
    assert_non_null(strstr(err.msg, taken));
    assert_non_null(strstr(err.msg, "in use"));

    assert_int_equal(http_server_listen(server, "localhost:0", &err), NX_OK);
    assert_int_equal(http_server_listen(server, ":0", &err), NX_OK);
    assert_int_equal(http_server_start(server, &err), NX_OK);
    for (size_t i = 0; i < 2; i++) {
        int fd = support_connect(http_server_port(server, i));
        assert_answer(support_ask(fd, HELLO), 200, "hello\n");
        (void)close(fd);
    }
    http_server_free(server);
    support_server_free(support);
}

static void test_peers_are_written_as_address_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *address, *expected;
        int family;
    } rows[] = {
        {"10.0.0.7", "10.0.0.7:51234", AF_INET},
        {"::1", "[::1]:51234", AF_INET6},
        {"::ffff:10.0.0.7", "10.0.0.7:51234", AF_INET6},
        {"fe80:1111:2222:3333:4444:5555:6666:7777",
         "[fe80:1111:2222:3333:4444:5555:6666:7777]:51234", AF_INET6},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct sockaddr_storage address = {.ss_family = (sa_family_t)rows[i].family};
        void *number = &((struct sockaddr_in *)&address)->sin_addr;
        if (rows[i].family == AF_INET6)
            number = &((struct sockaddr_in6 *)&address)->sin6_addr;
        assert_int_equal(inet_pton(rows[i].family, rows[i].address, number), 1);
        ((struct sockaddr_in *)&address)->sin_port = htons(51234); /* at the same place in both */
        char text[HTTP_PEER_TEXT_BYTES];
        http_listener_peer_text(&address, text);
        assert_string_equal(text, rows[i].expected);
    }
}

static void test_a_server_that_never_started_is_freed(void **state)
{
    (void)state;
    struct support_server *support = support_server_new();
    struct nx_err err;
    assert_int_equal(http_server_new(&support->server, &support->options, support->router, &err),
                     NX_OK);
    assert_int_equal(http_server_listen(support->server, "127.0.0.1:0", &err), NX_OK);
    assert_true(http_server_drain(support->server, 0));
    support_server_free(support);
    http_server_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_connection_is_kept_for_further_requests),
        cmocka_unit_test(test_http_1_0_closes_unless_asked_to_stay),
        cmocka_unit_test(test_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_a_request_may_come_byte_by_byte),
        cmocka_unit_test(test_bodies_of_any_size_come_through),
        cmocka_unit_test(test_a_client_that_waits_for_continue_is_told),
        cmocka_unit_test(test_a_streamed_answer_arrives_whole),
        cmocka_unit_test(test_answers_are_compressed_for_who_accepts_it),
        cmocka_unit_test(test_head_options_and_what_does_not_exist),
        cmocka_unit_test(test_form_and_url_parameters_merge),
        cmocka_unit_test(test_a_refused_request_ends_the_connection),
        cmocka_unit_test(test_long_targets_large_heads_and_endless_chunks_are_refused),
        cmocka_unit_test(test_a_refusal_reaches_a_client_that_is_still_sending),
        cmocka_unit_test(test_many_connections_are_served_at_once),
        cmocka_unit_test(test_a_request_outlives_its_answer_while_it_is_referenced),
        cmocka_unit_test(test_listen_addresses_are_checked),
        cmocka_unit_test(test_peers_are_written_as_address_and_port),
        cmocka_unit_test(test_a_server_that_never_started_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
