/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_parse.c - heads and chunked bodies, whole and cut at every byte, and the shapes that smuggle requests. */
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/http/http_parse.h"

#include "http_support.h"

#include <stdint.h>
#include <string.h>

/* Feeds `text` in two pieces, the first of `cut` bytes. */
static enum http_verdict parse_cut(struct http_head *head, struct nx_str text, size_t cut)
{
    const uint8_t *data = (const uint8_t *)text.data;
    http_head_init(head);
    enum http_verdict verdict = http_head_parse(head, data, cut);
    return verdict == HTTP_PARSE_MORE ? http_head_parse(head, data, text.len) : verdict;
}

static void assert_same_span(struct http_span a, struct http_span b)
{
    assert_int_equal(a.at, b.at);
    assert_int_equal(a.len, b.len);
}

static void assert_same_head(const struct http_head *a, const struct http_head *b)
{
    assert_int_equal(a->head_bytes, b->head_bytes);
    assert_int_equal(a->field_count, b->field_count);
    assert_int_equal(a->body_bytes, b->body_bytes);
    assert_int_equal(a->minor, b->minor);
    assert_true(a->is_kept_alive == b->is_kept_alive && a->is_chunked == b->is_chunked);
    assert_true(a->has_length == b->has_length && a->expects_continue == b->expects_continue);
    assert_same_span(a->method, b->method);
    assert_same_span(a->path, b->path);
    assert_same_span(a->query, b->query);
    for (size_t i = 0; i < a->field_count; i++) {
        assert_same_span(a->fields[i].name, b->fields[i].name);
        assert_same_span(a->fields[i].value, b->fields[i].value);
    }
}

/* Whole, cut in two at every byte, and byte by byte: the same verdict, reason and head. */
static enum http_verdict parse_every_way(struct http_head *whole, struct nx_str text)
{
    const uint8_t *data = (const uint8_t *)text.data;
    enum http_verdict verdict = parse_cut(whole, text, text.len);
    struct http_head head;
    for (size_t cut = 0; cut < text.len; cut++) {
        assert_int_equal(parse_cut(&head, text, cut), verdict);
        assert_ptr_equal(head.why, whole->why);
        if (verdict == HTTP_PARSE_DONE)
            assert_same_head(&head, whole);
    }
    http_head_init(&head);
    enum http_verdict stepped = HTTP_PARSE_MORE;
    for (size_t bytes = 1; bytes <= text.len && stepped == HTTP_PARSE_MORE; bytes++)
        stepped = http_head_parse(&head, data, bytes);
    assert_int_equal(stepped, verdict);
    assert_ptr_equal(head.why, whole->why);
    return verdict;
}

static void assert_view(struct nx_str text, struct http_span span, const char *expected)
{
    struct nx_str view = http_span_view((const uint8_t *)text.data, span);
    if (!nx_str_eq(view, nx_str_from(expected)))
        fail_msg("got \"%.*s\", expected \"%s\"", NX_STR_ARGS(view), expected);
}

static void test_a_post_with_a_length_is_read(void **state)
{
    (void)state;
    struct nx_str text = NX_STR("POST /api/v1/write?a=b%20c&d HTTP/1.1\r\n"
                                "Host: example.org:9090\r\n"
                                "Content-Length:\t 1234 \r\n"
                                "X-Empty:\r\n"
                                "X-Bytes: caf\xc3\xa9 \"q\" \t x\r\n"
                                "Expect: 100-Continue\r\n"
                                "\r\nBODY");
    struct http_head head;
    assert_int_equal(parse_every_way(&head, text), HTTP_PARSE_DONE);
    assert_int_equal(head.head_bytes, text.len - 4);
    assert_view(text, head.method, "POST");
    assert_view(text, head.path, "/api/v1/write");
    assert_view(text, head.query, "a=b%20c&d");
    assert_int_equal(head.field_count, 5);
    assert_int_equal(head.body_bytes, 1234);
    assert_true(head.has_length && head.is_kept_alive && head.expects_continue && !head.is_chunked);
    assert_int_equal(head.minor, 1);
    struct nx_str value;
    const uint8_t *data = (const uint8_t *)text.data;
    assert_true(http_head_find(&head, data, NX_STR("content-LENGTH"), &value));
    assert_true(nx_str_eq(value, NX_STR("1234")));
    assert_true(http_head_find(&head, data, NX_STR("X-Empty"), &value));
    assert_int_equal(value.len, 0);
    assert_true(http_head_find(&head, data, NX_STR("x-bytes"), &value));
    assert_true(nx_str_eq(value, NX_STR("caf\xc3\xa9 \"q\" \t x")));
    assert_false(http_head_find(&head, data, NX_STR("X-None"), &value));
}

static void test_targets_split_into_path_and_query(void **state)
{
    (void)state;
    static const struct {
        const char *line, *path, *query;
    } rows[] = {
        {"GET / HTTP/1.1", "/", ""},
        {"GET /? HTTP/1.1", "/", ""},
        {"GET /a?b?c HTTP/1.1", "/a", "b?c"},
        {"GET /caf\xc3\xa9 HTTP/1.1", "/caf\xc3\xa9", ""},
        {"GET http://h/a?b HTTP/1.1", "/a", "b"},
        {"GET HTTPS://h:1/a HTTP/1.1", "/a", ""},
        {"GET http://h HTTP/1.1", "/", ""},
        {"GET http://h?x=1 HTTP/1.1", "/", "x=1"},
        {"OPTIONS * HTTP/1.1", "*", ""},
        {"\r\n\r\nGET /after HTTP/1.1", "/after", ""},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct nx_buf buf = {0};
        nx_buf_printf(&buf, "%s\r\nHost: h\r\n\r\n", rows[i].line);
        struct http_head head;
        assert_int_equal(parse_every_way(&head, nx_buf_str(&buf)), HTTP_PARSE_DONE);
        assert_view(nx_buf_str(&buf), head.path, rows[i].path);
        assert_view(nx_buf_str(&buf), head.query, rows[i].query);
        nx_buf_deinit(&buf);
    }
}

static void test_keep_alive_follows_version_and_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_kept_alive;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade , Close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct http_head head;
        assert_int_equal(parse_every_way(&head, nx_str_from(rows[i].text)), HTTP_PARSE_DONE);
        assert_true(head.is_kept_alive == rows[i].is_kept_alive);
    }
}

#define GET "GET / HTTP/1.1\r\nHost: h\r\n"

/* tidy: long: one table of cases */
static void test_what_could_be_read_in_two_ways_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct nx_str text;
        enum http_verdict verdict;
    } rows[] = {
#define ROW(literal, v) {{.data = (literal), .len = sizeof(literal) - 1}, v}
        /* body framing */
        ROW(GET "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: 3\r\nContent-Length: 4\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", HTTP_PARSE_DONE),
        ROW(GET "Content-Length: 3, 3\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: +3\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: -3\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: 3 4\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: 0x3\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length:\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: 18446744073709551615\r\n\r\n", HTTP_PARSE_DONE),
        ROW(GET "Content-Length: 18446744073709551616\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Content-Length: 99999999999999999999999\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: chunked\r\n\r\n", HTTP_PARSE_DONE),
        ROW(GET "Transfer-Encoding: CHUNKED\r\n\r\n", HTTP_PARSE_DONE),
        ROW(GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: chunked, chunked\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: gzip, chunked\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: identity\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: xchunked\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: \"chunked\"\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Transfer-Encoding: \x0b"
                "chunked\r\n\r\n",
            HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_PARSE_BAD),
        /* lines */
        ROW(GET "A: b\r\n c\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A: b\r\n\tc\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\r\n Host: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A: b\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\nHost: h\n\n", HTTP_PARSE_BAD),
        ROW("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "\n", HTTP_PARSE_BAD),
        ROW(GET "A: b\rc\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A: b\r\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A: b\0c\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A: b\x7f\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A\0: b\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A : b\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A\t: b\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET ": b\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A(: b\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "A\xc3\xa9: b\r\n\r\n", HTTP_PARSE_BAD),
        ROW(GET "Ab\r\n\r\n", HTTP_PARSE_BAD),
        /* host */
        ROW("GET / HTTP/1.1\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", HTTP_PARSE_DONE),
        ROW("GET / HTTP/1.1\r\nHost:\r\n\r\n", HTTP_PARSE_DONE),
        /* request line */
        ROW("GET /\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET /\t HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW(" GET / HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("G\"T / HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET * HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET a HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / http/1.1\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/11\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.10\r\nHost: h\r\n\r\n", HTTP_PARSE_BAD),
        ROW("GET / HTTP/1.2\r\nHost: h\r\n\r\n", HTTP_PARSE_VERSION_UNKNOWN),
        ROW("GET / HTTP/0.9\r\nHost: h\r\n\r\n", HTTP_PARSE_VERSION_UNKNOWN),
        ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_PARSE_VERSION_UNKNOWN),
        ROW("\x16\x03\x01\x02", HTTP_PARSE_BAD),
        /* expectations */
        ROW(GET "Expect: a miracle\r\n\r\n", HTTP_PARSE_EXPECT_UNKNOWN),
        ROW("GET / HTTP/1.0\r\nExpect: a miracle\r\n\r\n", HTTP_PARSE_DONE),
#undef ROW
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct http_head head;
        enum http_verdict verdict = parse_every_way(&head, rows[i].text);
        if (verdict != rows[i].verdict)
            fail_msg("row %zu, \"%.*s\": verdict %d, expected %d", i, NX_STR_ARGS(rows[i].text),
                     (int)verdict, (int)rows[i].verdict);
        if (verdict != HTTP_PARSE_DONE)
            assert_non_null(head.why);
    }
}

static void append_fill(struct nx_buf *buf, char c, size_t bytes)
{
    memset(nx_buf_extend(buf, bytes), c, bytes);
}

/* Verdict over a target of `bytes`, fed in steps, the line ended by `end`. */
static enum http_verdict parse_long_target(size_t bytes, const char *end, size_t step)
{
    struct nx_buf buf = {0};
    nx_buf_append_cstr(&buf, "GET /");
    append_fill(&buf, 'a', bytes - 1);
    nx_buf_append_cstr(&buf, end);
    struct http_head head;
    http_head_init(&head);
    enum http_verdict verdict = HTTP_PARSE_MORE;
    for (size_t at = step; verdict == HTTP_PARSE_MORE; at += step) {
        verdict = http_head_parse(&head, buf.data, at < buf.len ? at : buf.len);
        if (at >= buf.len)
            break;
    }
    nx_buf_deinit(&buf);
    return verdict;
}

static void test_a_target_of_the_limit_passes_and_one_more_byte_is_414(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 7, 4096, 100000};
    const char *whole = " HTTP/1.1\r\nHost: h\r\n\r\n";
    for (size_t i = 0; i < NX_ARRAY_LEN(steps); i++) {
        size_t max = HTTP_TARGET_BYTES_MAX;
        assert_int_equal(parse_long_target(max, whole, steps[i]), HTTP_PARSE_DONE);
        assert_int_equal(parse_long_target(max + 1, whole, steps[i]), HTTP_PARSE_TARGET_TOO_LONG);
        assert_int_equal(parse_long_target(max + 1, "", steps[i]), HTTP_PARSE_TARGET_TOO_LONG);
        assert_int_equal(parse_long_target(max, "\r\n", steps[i]), HTTP_PARSE_BAD);
        assert_int_equal(parse_long_target(max, "\n", steps[i]), HTTP_PARSE_BAD);
        assert_int_equal(parse_long_target(max + 1, "\n", steps[i]), HTTP_PARSE_TARGET_TOO_LONG);
        assert_int_equal(parse_long_target(max + 1, "\r\n", steps[i]), HTTP_PARSE_TARGET_TOO_LONG);
    }
}

static void test_a_head_of_the_limit_passes_and_one_more_byte_is_431(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct nx_buf buf = {0};
        nx_buf_append_cstr(&buf, GET "A: ");
        append_fill(&buf, 'x', HTTP_HEAD_BYTES_MAX + more - buf.len - 4);
        nx_buf_append_cstr(&buf, "\r\n\r\n");
        nx_buf_append_cstr(&buf, "more");
        struct http_head head;
        enum http_verdict expected = more == 0 ? HTTP_PARSE_DONE : HTTP_PARSE_HEAD_TOO_LARGE;
        assert_int_equal(parse_every_way(&head, nx_buf_str(&buf)), expected);
        nx_buf_deinit(&buf);
    }
}

static void test_one_field_too_many_is_431(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct nx_buf buf = {0};
        nx_buf_append_cstr(&buf, GET);
        for (size_t i = 1; i < HTTP_FIELDS_MAX + more; i++)
            nx_buf_printf(&buf, "F%zu: v\r\n", i);
        nx_buf_append_cstr(&buf, "\r\n");
        struct http_head head;
        enum http_verdict expected = more == 0 ? HTTP_PARSE_DONE : HTTP_PARSE_HEAD_TOO_LARGE;
        assert_int_equal(parse_every_way(&head, nx_buf_str(&buf)), expected);
        nx_buf_deinit(&buf);
    }
}

/* ---- chunked ---- */

struct chunked_result {
    enum http_verdict verdict;
    struct nx_buf content;
    size_t consumed;
};

/* Feeds `text` in pieces of `step` bytes. */
static struct chunked_result decode(struct nx_str text, size_t step)
{
    struct chunked_result result = {.verdict = HTTP_PARSE_MORE};
    struct http_chunked chunked;
    http_chunked_init(&chunked);
    while (result.verdict == HTTP_PARSE_MORE && result.consumed < text.len) {
        size_t piece = text.len - result.consumed;
        size_t consumed = 0;
        struct nx_bytes content;
        result.verdict = http_chunked_parse(&chunked, (const uint8_t *)text.data + result.consumed,
                                            piece < step ? piece : step, &consumed, &content);
        nx_buf_append(&result.content, content.data, content.len);
        result.consumed += consumed;
        if (result.verdict == HTTP_PARSE_BAD)
            assert_non_null(chunked.why);
        else
            assert_true(consumed > 0);
    }
    return result;
}

static void test_chunked_bodies_decode_alike_in_pieces_of_any_size(void **state)
{
    (void)state;
    struct nx_str text = NX_STR("5\r\nhello\r\n"
                                "0A;name=value;q=\"x y\"\r\n, chunked!\r\n"
                                "1\r\n\n\r\n"
                                "000\r\nTrailer: x\r\nOther:\r\n\r\n"
                                "GET / HTTP/1.1\r\n");
    size_t tail = strlen("GET / HTTP/1.1\r\n");
    for (size_t step = 1; step <= text.len; step++) {
        struct chunked_result result = decode(text, step);
        assert_int_equal(result.verdict, HTTP_PARSE_DONE);
        assert_int_equal(result.consumed, text.len - tail);
        assert_true(nx_str_eq(nx_buf_str(&result.content), NX_STR("hello, chunked!\n")));
        nx_buf_deinit(&result.content);
    }
}

static void test_malformed_chunks_are_refused_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\r\n",
        "g\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\t;a\r\nhello\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n",
        "5\rhello\r\n",
        "5\r\nhello\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\r\n\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\x01\r\nhello\r\n",
        "1000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "0000000000000000000000\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\r\nTrailer x\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\nTrailer: x\n\r\n",
        "0\r\nTrailer : x\r\n\r\n",
        "0\r\n\rx",
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct nx_str text = nx_str_from(rows[i]);
        for (size_t step = 1; step <= text.len; step++) {
            struct chunked_result result = decode(text, step);
            if (result.verdict != HTTP_PARSE_BAD)
                fail_msg("row %zu in steps of %zu: verdict %d", i, step, (int)result.verdict);
            nx_buf_deinit(&result.content);
        }
    }
}

static void test_chunk_extensions_and_trailers_are_bounded(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct nx_buf buf = {0};
        nx_buf_append_cstr(&buf, "1;");
        append_fill(&buf, 'e', HTTP_CHUNK_LINE_MAX + more);
        nx_buf_append_cstr(&buf, "\r\nx\r\n0\r\n\r\n");
        struct chunked_result result = decode(nx_buf_str(&buf), 1000);
        assert_int_equal(result.verdict, more == 0 ? HTTP_PARSE_DONE : HTTP_PARSE_BAD);
        nx_buf_deinit(&result.content);

        nx_buf_reset(&buf);
        nx_buf_append_cstr(&buf, "0\r\nT:");
        append_fill(&buf, 't', HTTP_CHUNK_WASTE_MAX + more - 1);
        nx_buf_append_cstr(&buf, "\r\n\r\n");
        result = decode(nx_buf_str(&buf), 1000);
        assert_int_equal(result.verdict, more == 0 ? HTTP_PARSE_DONE : HTTP_PARSE_BAD);
        nx_buf_deinit(&result.content);

        /* Many short extensions add up. */
        nx_buf_reset(&buf);
        for (size_t i = 0; i < HTTP_CHUNK_WASTE_MAX / 128 + more; i++) {
            nx_buf_append_cstr(&buf, "1;");
            append_fill(&buf, 'e', 128);
            nx_buf_append_cstr(&buf, "\r\nx\r\n");
        }
        nx_buf_append_cstr(&buf, "0\r\n\r\n");
        result = decode(nx_buf_str(&buf), 1000);
        assert_int_equal(result.verdict, more == 0 ? HTTP_PARSE_DONE : HTTP_PARSE_BAD);
        nx_buf_deinit(&result.content);
        nx_buf_deinit(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_post_with_a_length_is_read),
        cmocka_unit_test(test_targets_split_into_path_and_query),
        cmocka_unit_test(test_keep_alive_follows_version_and_connection),
        cmocka_unit_test(test_what_could_be_read_in_two_ways_is_refused),
        cmocka_unit_test(test_a_target_of_the_limit_passes_and_one_more_byte_is_414),
        cmocka_unit_test(test_a_head_of_the_limit_passes_and_one_more_byte_is_431),
        cmocka_unit_test(test_one_field_too_many_is_431),
        cmocka_unit_test(test_chunked_bodies_decode_alike_in_pieces_of_any_size),
        cmocka_unit_test(test_malformed_chunks_are_refused_in_pieces_of_any_size),
        cmocka_unit_test(test_chunk_extensions_and_trailers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
