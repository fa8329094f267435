/* SPDX-License-Identifier: Apache-2.0 */
/* test_buf.c - growable bytes. */
#include "narthex/base/buf.h"

#include "base_support.h"

#include <string.h>

static void test_buf_zeroed_struct_is_empty_and_may_be_freed_twice(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    nx_buf_deinit(&buf);
    nx_buf_append_cstr(&buf, "");
    assert_int_equal(buf.len, 0);
    nx_buf_append_cstr(&buf, "x");
    nx_buf_deinit(&buf);
    nx_buf_deinit(&buf);
    assert_null(buf.data);
}

static void test_buf_appends_keep_their_order(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    nx_buf_append_str(&buf, NX_STR("ab"));
    nx_buf_append_byte(&buf, 'c');
    nx_buf_append(&buf, "de", 2);
    memcpy(nx_buf_extend(&buf, 1), "f", 1);
    nx_buf_printf(&buf, "-%d-%s", 7, "g");
    test_assert_str(nx_buf_str(&buf), "abcdef-7-g");
    size_t cap = buf.cap;
    nx_buf_reset(&buf);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.cap, cap);
    nx_buf_deinit(&buf);
}

static void test_buf_printf_grows_for_long_text(void **state)
{
    (void)state;
    for (int width = 1; width < 300; width++) {
        struct nx_buf buf = {0};
        nx_buf_append_cstr(&buf, "head");
        nx_buf_printf(&buf, "%*d|", width, 1);
        assert_int_equal(buf.len, (size_t)width + 5);
        assert_int_equal(buf.data[buf.len - 1], '|');
        assert_int_equal(buf.data[buf.len - 2], '1');
        nx_buf_deinit(&buf);
    }
}

static void test_buf_integers_are_little_endian(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    nx_buf_append_u16(&buf, 0x0102);
    nx_buf_append_u32(&buf, 0x03040506);
    nx_buf_append_u64(&buf, UINT64_C(0x0708090a0b0c0d0e));
    static const uint8_t expected[] = {2, 1, 6, 5, 4, 3, 14, 13, 12, 11, 10, 9, 8, 7};
    assert_int_equal(buf.len, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
    nx_buf_deinit(&buf);
}

static void test_buf_growth_is_geometric(void **state)
{
    (void)state;
    struct nx_buf buf = {0};
    size_t moves = 0;
    size_t cap = 0;
    for (int i = 0; i < 1000000; i++) {
        nx_buf_append_byte(&buf, (uint8_t)i);
        moves += buf.cap != cap;
        cap = buf.cap;
    }
    assert_true(moves < 40);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(buf.data[i], (uint8_t)i);
    nx_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_zeroed_struct_is_empty_and_may_be_freed_twice),
        cmocka_unit_test(test_buf_appends_keep_their_order),
        cmocka_unit_test(test_buf_printf_grows_for_long_text),
        cmocka_unit_test(test_buf_integers_are_little_endian),
        cmocka_unit_test(test_buf_growth_is_geometric),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
