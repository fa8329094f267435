/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_query.c - query strings and forms, decoded as Go's net/url does. */
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/http/http_query.h"

#include "http_support.h"

#include <stdint.h>

static void test_pairs_are_decoded_in_order(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_err err;
    struct http_params params = {0};
    struct nx_str text = NX_STR(
        "query=sum%28rate(a%7Bb%3D%22c+d%22%7D%5B5m%5D))&&empty=&flag&=x&match[]=a&match%5B%5D=b"
        "&nul=%00&plus=1%2B1&eq=a=b&&");
    static const struct {
        struct nx_str name, value;
    } expected[] = {
#define ROW(n, v)                                                                                  \
 {                                                                                                 \
  {.data = (n), .len = sizeof(n) - 1},                                                             \
  {                                                                                                \
   .data = (v), .len = sizeof(v) - 1                                                               \
  }                                                                                                \
 }
        ROW("query", "sum(rate(a{b=\"c d\"}[5m]))"),
        ROW("empty", ""),
        ROW("flag", ""),
        ROW("", "x"),
        ROW("match[]", "a"),
        ROW("match[]", "b"),
        ROW("nul", "\0"),
        ROW("plus", "1+1"),
        ROW("eq", "a=b"),
#undef ROW
    };
    assert_int_equal(http_params_add(&params, &arena, text, &err), NX_OK);
    assert_int_equal(params.count, NX_ARRAY_LEN(expected));
    for (size_t i = 0; i < params.count; i++) {
        assert_true(nx_str_eq(params.items[i].name, expected[i].name));
        assert_true(nx_str_eq(params.items[i].value, expected[i].value));
    }
    arena_deinit(&arena);
}

static void test_repeated_names_are_walked_and_the_first_wins(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_err err;
    struct http_params params = {0};
    /* A body's parameters are added first, so they win over the URL's. */
    assert_int_equal(http_params_add(&params, &arena, NX_STR("a=body&m=1"), &err), NX_OK);
    assert_int_equal(http_params_add(&params, &arena, NX_STR("a=url&m=2&m=3"), &err), NX_OK);
    struct nx_str value;
    assert_true(http_params_get(&params, NX_STR("a"), &value));
    assert_true(nx_str_eq(value, NX_STR("body")));
    assert_false(http_params_get(&params, NX_STR("b"), &value));
    size_t cursor = 0;
    const char *all = "123";
    size_t seen = 0;
    while (http_params_next(&params, NX_STR("m"), &cursor, &value)) {
        assert_int_equal(value.len, 1);
        assert_int_equal(value.data[0], all[seen++]);
    }
    assert_int_equal(seen, 3);
    arena_deinit(&arena);
}

static void test_broken_escapes_and_semicolons_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"a=%", "invalid URL escape \"%\""},
        {"a=%4", "invalid URL escape \"%4\""},
        {"a=%41%zz", "invalid URL escape \"%zz\""},
        {"%g1=b", "invalid URL escape \"%g1\""},
        {"ok=1&a=b;c", "invalid semicolon separator in query"},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct arena arena;
        arena_init(&arena, 0);
        struct nx_err err;
        struct http_params params = {0};
        assert_int_equal(http_params_add(&params, &arena, nx_str_from(rows[i].text), &err),
                         NX_E_INVALID);
        assert_string_equal(err.msg, rows[i].message);
        arena_deinit(&arena);
    }
}

static void test_too_many_pairs_are_refused(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_err err;
    struct nx_buf text = {0};
    for (size_t i = 0; i < HTTP_PARAMS_MAX; i++)
        nx_buf_append_cstr(&text, "a&");
    struct http_params params = {0};
    assert_int_equal(http_params_add(&params, &arena, nx_buf_str(&text), &err), NX_OK);
    assert_int_equal(params.count, HTTP_PARAMS_MAX);
    assert_int_equal(http_params_add(&params, &arena, NX_STR("a"), &err), NX_E_LIMIT);
    nx_buf_deinit(&text);
    arena_deinit(&arena);
}

static void test_a_spent_arena_is_a_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1024 * 1024);
    struct nx_err err;
    struct nx_buf text = {0};
    nx_buf_append_cstr(&text, "a=+");
    for (size_t i = 0; i < 2 * 1024 * 1024; i++)
        nx_buf_append_byte(&text, 'x');
    struct http_params params = {0};
    assert_int_equal(http_params_add(&params, &arena, nx_buf_str(&text), &err), NX_E_LIMIT);
    nx_buf_deinit(&text);
    arena_deinit(&arena);
}

static void test_percent_decoding_works_in_place(void **state)
{
    (void)state;
    char text[] = "a%2Fb+%e4";
    size_t bytes = 0;
    assert_true(http_percent_decode(nx_str_from(text), false, text, &bytes));
    assert_int_equal(bytes, 5);
    assert_memory_equal(text, "a/b+\xe4", 5);
}

static void test_only_the_form_media_type_is_a_form(void **state)
{
    (void)state;
    assert_true(http_is_form(NX_STR("application/x-www-form-urlencoded")));
    assert_true(http_is_form(NX_STR("Application/X-WWW-Form-URLEncoded ; charset=utf-8")));
    assert_false(http_is_form(NX_STR("application/x-www-form-urlencodedx")));
    assert_false(http_is_form(NX_STR("application/x-protobuf")));
    assert_false(http_is_form(NX_STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs_are_decoded_in_order),
        cmocka_unit_test(test_repeated_names_are_walked_and_the_first_wins),
        cmocka_unit_test(test_broken_escapes_and_semicolons_are_errors),
        cmocka_unit_test(test_too_many_pairs_are_refused),
        cmocka_unit_test(test_a_spent_arena_is_a_limit),
        cmocka_unit_test(test_percent_decoding_works_in_place),
        cmocka_unit_test(test_only_the_form_media_type_is_a_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
