/* SPDX-License-Identifier: Apache-2.0 */
/* test_json_write.c - tokens as Prometheus writes them. */
#include "narthex/codec/json_write.h"
#include "narthex/model/staleness.h"

#include "codec_support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Compares what is in `buf` with `expected`, then empties it. */
static void check(struct nx_buf *buf, const char *expected)
{
    nx_buf_append_byte(buf, 0);
    assert_string_equal((const char *)buf->data, expected);
    nx_buf_reset(buf);
}

static void test_json_string_escapes(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    json_string(&buf, NX_STR(""));
    check(&buf, "\"\"");
    json_string(&buf, NX_STR("plain"));
    check(&buf, "\"plain\"");
    json_string(&buf, NX_STR("a\"b\\c\nd\re\tf"));
    check(&buf, "\"a\\\"b\\\\c\\nd\\re\\tf\"");
    json_string(&buf, NX_STR("\x01\x08\x0c\x1f\x7f"));
    check(&buf, "\"\\u0001\\u0008\\u000c\\u001f\x7f\"");
    json_string(&buf, (struct nx_str){"a\0b", 3});
    check(&buf, "\"a\\u0000b\"");
    json_string(&buf, NX_STR("<a & b>"));
    check(&buf, "\"\\u003ca \\u0026 b\\u003e\"");
    json_string_raw(&buf, NX_STR("<a & b>\n"));
    check(&buf, "\"<a & b>\\n\"");
    nx_buf_deinit(&buf);
}

static void test_json_string_keeps_valid_utf8(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    const char *text = "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf \xef\xbf\xbd";
    json_string_raw(&buf, nx_str_from(text));
    assert_int_equal(buf.len, strlen(text) + 2);
    assert_memory_equal(buf.data + 1, text, strlen(text));
    nx_buf_reset(&buf);
    json_string(&buf, NX_STR("x\xe2\x80\xa8y\xe2\x80\xa9z\xe2\x80\xaa"));
    check(&buf, "\"x\\u2028y\\u2029z\xe2\x80\xaa\"");
    json_string_raw(&buf, NX_STR("x\xe2\x80\xa8y"));
    check(&buf, "\"x\xe2\x80\xa8y\"");
    nx_buf_deinit(&buf);
}

static void test_json_string_replaces_invalid_utf8_bytes(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    json_string(&buf, NX_STR("a\xff"
                             "b"));
    check(&buf, "\"a\\ufffdb\"");
    json_string(&buf, NX_STR("\x80"));
    check(&buf, "\"\\ufffd\"");
    json_string_raw(&buf, NX_STR("\xc0\xaf")); /* overlong */
    check(&buf, "\"\\ufffd\\ufffd\"");
    json_string_raw(&buf, NX_STR("\xed\xa0\x80")); /* surrogate */
    check(&buf, "\"\\ufffd\\ufffd\\ufffd\"");
    json_string_raw(&buf, NX_STR("\xf4\x90\x80\x80")); /* beyond U+10FFFF */
    check(&buf, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
    json_string_raw(&buf, NX_STR("\xe2\x82")); /* cut */
    check(&buf, "\"\\ufffd\\ufffd\"");
    json_string_raw(&buf, NX_STR("\xe2\x82z"));
    check(&buf, "\"\\ufffd\\ufffdz\"");
    json_string_raw(&buf, NX_STR("\xe0\x9f\xbf")); /* overlong */
    check(&buf, "\"\\ufffd\\ufffd\\ufffd\"");
    nx_buf_deinit(&buf);
}

static void test_json_string_finds_every_byte_at_every_place(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    struct nx_buf alone = {0};
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t place = 0; place < 21; place++) {
            char text[] = "abcdefghijklmnopqrstu";
            text[place] = (char)byte;
            void (*write)(struct nx_buf *, struct nx_str) =
                place % 2 == 0 ? json_string : json_string_raw;
            nx_buf_reset(&buf);
            nx_buf_reset(&alone);
            write(&buf, (struct nx_str){text, 21});
            write(&alone, (struct nx_str){text + place, 1});
            assert_int_equal(buf.len, 20 + alone.len);
            assert_memory_equal(buf.data + 1 + place, alone.data + 1, alone.len - 2);
            bool is_kept = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\' &&
                           (place % 2 != 0 || (byte != '<' && byte != '>' && byte != '&'));
            assert_int_equal(alone.len == 3, is_kept);
        }
    }
    nx_buf_deinit(&buf);
    nx_buf_deinit(&alone);
}

static void test_json_integers(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    uint64_t value = 1;
    for (unsigned digits = 1; digits <= 19; digits++, value = value * 10 + digits % 10) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%llu", (unsigned long long)value);
        json_uint(&buf, value);
        check(&buf, expected);
    }
    json_int(&buf, 0);
    check(&buf, "0");
    json_int(&buf, -7);
    check(&buf, "-7");
    json_int(&buf, INT64_MIN);
    check(&buf, "-9223372036854775808");
    json_int(&buf, INT64_MAX);
    check(&buf, "9223372036854775807");
    json_uint(&buf, UINT64_MAX);
    check(&buf, "18446744073709551615");
    nx_buf_deinit(&buf);
}

static void test_json_timestamps_have_none_or_three_decimals(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    json_timestamp(&buf, 0);
    check(&buf, "0");
    json_timestamp(&buf, 1700000000000);
    check(&buf, "1700000000");
    json_timestamp(&buf, 1700000000001);
    check(&buf, "1700000000.001");
    json_timestamp(&buf, 1700000000020);
    check(&buf, "1700000000.020");
    json_timestamp(&buf, 1700000000300);
    check(&buf, "1700000000.300");
    json_timestamp(&buf, -1);
    check(&buf, "-0.001");
    json_timestamp(&buf, -1500);
    check(&buf, "-1.500");
    json_timestamp(&buf, INT64_MIN);
    check(&buf, "-9223372036854775.808");
    nx_buf_deinit(&buf);
}

static void test_json_sample_values_are_quoted(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    json_sample_value(&buf, 1.5);
    check(&buf, "\"1.5\"");
    json_sample_value(&buf, 0.0000001);
    check(&buf, "\"1e-07\"");
    json_sample_value(&buf, 1e21);
    check(&buf, "\"1e+21\"");
    json_sample_value(&buf, (double)INFINITY);
    check(&buf, "\"+Inf\"");
    json_sample_value(&buf, -(double)INFINITY);
    check(&buf, "\"-Inf\"");
    json_sample_value(&buf, float_from_bits(ORDINARY_NAN_BITS));
    check(&buf, "\"NaN\"");
    nx_buf_deinit(&buf);
}

static void test_json_comma_only_between_elements(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    json_comma(&buf);
    assert_int_equal(buf.len, 0);
    nx_buf_append_byte(&buf, '[');
    for (int i = 0; i < 3; i++) {
        json_comma(&buf);
        json_int(&buf, i);
    }
    nx_buf_append_cstr(&buf, "],{");
    json_comma(&buf);
    json_string(&buf, NX_STR("k["));
    nx_buf_append_byte(&buf, ':');
    json_comma(&buf);
    json_string(&buf, NX_STR("v,"));
    json_comma(&buf);
    check(&buf, "[0,1,2],{\"k[\":\"v,\",");
    nx_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_string_escapes),
        cmocka_unit_test(test_json_string_keeps_valid_utf8),
        cmocka_unit_test(test_json_string_replaces_invalid_utf8_bytes),
        cmocka_unit_test(test_json_string_finds_every_byte_at_every_place),
        cmocka_unit_test(test_json_integers),
        cmocka_unit_test(test_json_timestamps_have_none_or_three_decimals),
        cmocka_unit_test(test_json_sample_values_are_quoted),
        cmocka_unit_test(test_json_comma_only_between_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
