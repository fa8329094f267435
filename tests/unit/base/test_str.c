/* SPDX-License-Identifier: Apache-2.0 */
/* test_str.c - views of text. */
#include "narthex/base/str.h"

#include "base_support.h"

static void test_str_order_is_by_bytes_and_prefix_first(void **state)
{
    (void)state;
    assert_true(nx_str_cmp(NX_STR("a"), NX_STR("b")) < 0);
    assert_true(nx_str_cmp(NX_STR("a"), NX_STR("ab")) < 0);
    assert_true(nx_str_cmp(NX_STR("\xff"), NX_STR("a")) > 0);
    assert_int_equal(nx_str_cmp(NX_STR("same"), NX_STR("same")), 0);
    assert_int_equal(nx_str_cmp((struct nx_str){0}, NX_STR("")), 0);
    assert_true(nx_str_cmp((struct nx_str){0}, NX_STR("x")) < 0);
    assert_true(nx_str_eq((struct nx_str){0}, NX_STR("")));
}

static void test_str_starts_ends_contains(void **state)
{
    (void)state;
    struct nx_str s = NX_STR("node_cpu_seconds");
    assert_true(nx_str_starts_with(s, NX_STR("node_")));
    assert_true(nx_str_starts_with(s, NX_STR("")));
    assert_false(nx_str_starts_with(NX_STR("no"), NX_STR("node")));
    assert_true(nx_str_ends_with(s, NX_STR("_seconds")));
    assert_true(nx_str_ends_with(s, NX_STR("")));
    assert_false(nx_str_ends_with(NX_STR("s"), NX_STR("ss")));
    assert_true(nx_str_contains(s, NX_STR("cpu")));
    assert_true(nx_str_contains((struct nx_str){0}, NX_STR("")));
    assert_false(nx_str_contains(s, NX_STR("gpu")));
    assert_true(nx_str_eq_nocase(NX_STR("NaN"), NX_STR("nan")));
    assert_false(nx_str_eq_nocase(NX_STR("@"), NX_STR("`")));
}

static void test_str_trim_and_split(void **state)
{
    (void)state;
    test_assert_str(nx_str_trim(NX_STR(" \t a b\r\n")), "a b");
    test_assert_str(nx_str_trim(NX_STR(" \n")), "");
    struct nx_str head;
    struct nx_str rest;
    assert_true(nx_str_split(NX_STR("a=b=c"), '=', &head, &rest));
    test_assert_str(head, "a");
    test_assert_str(rest, "b=c");
    assert_true(nx_str_split(NX_STR("=x"), '=', &head, &rest));
    test_assert_str(head, "");
    assert_false(nx_str_split(NX_STR("abc"), '=', &head, &rest));
    test_assert_str(head, "abc");
    assert_int_equal(rest.len, 0);
    assert_false(nx_str_split((struct nx_str){0}, '=', &head, &rest));
}

static void test_str_numbers_end_at_their_limits(void **state)
{
    (void)state;
    uint64_t u = 7;
    int64_t i = 7;
    assert_true(nx_str_to_u64(NX_STR("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    u = 7;
    assert_false(nx_str_to_u64(NX_STR("18446744073709551616"), &u));
    assert_false(nx_str_to_u64(NX_STR("99999999999999999999"), &u));
    assert_false(nx_str_to_u64(NX_STR(""), &u));
    assert_false(nx_str_to_u64(NX_STR("-1"), &u));
    assert_false(nx_str_to_u64(NX_STR("1 "), &u));
    assert_true(u == 7);
    assert_true(nx_str_to_i64(NX_STR("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_true(nx_str_to_i64(NX_STR("9223372036854775807"), &i));
    assert_true(i == INT64_MAX);
    assert_true(nx_str_to_i64(NX_STR("+5"), &i));
    assert_true(i == 5);
    assert_false(nx_str_to_i64(NX_STR("9223372036854775808"), &i));
    assert_false(nx_str_to_i64(NX_STR("-9223372036854775809"), &i));
    assert_false(nx_str_to_i64(NX_STR("-"), &i));
    assert_false(nx_str_to_i64(NX_STR("+-1"), &i));
    assert_true(i == 5);
}

static void test_str_utf8_rejects_what_rfc_3629_forbids(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "plain ascii, longer than eight",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "12345678\xe2\x82\xac",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xe2\x82",
        "\xe2\x82\x41",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "12345678\xe2\x82",
        "1234567\xff"
        "12345678",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(nx_utf8_is_valid(nx_str_from(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(nx_utf8_is_valid(nx_str_from(bad[i])));
    assert_true(nx_utf8_is_valid((struct nx_str){0}));
}

static void test_str_utf8_accepts_every_code_point_and_no_surrogate(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c <= 0x110000; c++) {
        char text[4];
        size_t len;
        if (c < 0x800) {
            text[0] = (char)(0xc0 | c >> 6);
            len = 2;
        } else if (c < 0x10000) {
            text[0] = (char)(0xe0 | c >> 12);
            len = 3;
        } else {
            text[0] = (char)(0xf0 | c >> 18);
            len = 4;
        }
        for (size_t i = 1; i < len; i++)
            text[i] = (char)(0x80 | (c >> (6 * (len - 1 - i)) & 0x3f));
        bool is_character = c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
        struct nx_str s = {.data = text, .len = len};
        if (nx_utf8_is_valid(s) != is_character)
            fail_msg("code point %x", c);
        s.len--;
        assert_false(nx_utf8_is_valid(s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_order_is_by_bytes_and_prefix_first),
        cmocka_unit_test(test_str_starts_ends_contains),
        cmocka_unit_test(test_str_trim_and_split),
        cmocka_unit_test(test_str_numbers_end_at_their_limits),
        cmocka_unit_test(test_str_utf8_rejects_what_rfc_3629_forbids),
        cmocka_unit_test(test_str_utf8_accepts_every_code_point_and_no_surrogate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
