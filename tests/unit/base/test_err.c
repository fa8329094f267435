/* SPDX-License-Identifier: Apache-2.0 */
/* test_err.c - messages: set, from errno, wrapped, cut. */
#include "narthex/base/err.h"

#include "base_support.h"

#include <errno.h>
#include <string.h>

static void test_err_set_fills_code_and_message(void **state)
{
    (void)state;
    struct nx_err err = {.sys = 7};
    assert_int_equal(nx_err_set(&err, NX_E_LIMIT, "limit of %d", 5), NX_E_LIMIT);
    assert_int_equal(err.code, NX_E_LIMIT);
    assert_int_equal(err.sys, 0);
    assert_string_equal(err.msg, "limit of 5");
}

static void test_err_set_may_print_its_own_message(void **state)
{
    (void)state;
    struct nx_err err = {0};
    nx_err_set(&err, NX_E_IO, "inner");
    nx_err_set(&err, NX_E_CORRUPT, "outer: %s", err.msg);
    assert_string_equal(err.msg, "outer: inner");
    assert_int_equal(err.code, NX_E_CORRUPT);
}

static void test_err_sys_maps_a_full_volume(void **state)
{
    (void)state;
    struct nx_err err = {0};
    assert_int_equal(nx_err_sys(&err, ENOSPC, "write %s", "a"), NX_E_FULL);
    assert_string_equal(err.msg, "write a: No space left on device");
    assert_int_equal(err.sys, ENOSPC);
    assert_int_equal(nx_err_sys(&err, EDQUOT, "write"), NX_E_FULL);
    assert_int_equal(nx_err_sys(&err, EIO, "read"), NX_E_IO);
    assert_int_equal(err.sys, EIO);
}

static void test_err_wrap_keeps_code_and_sys(void **state)
{
    (void)state;
    struct nx_err err = {0};
    nx_err_sys(&err, EIO, "read");
    assert_int_equal(nx_err_wrap(&err, "block %d", 3), NX_E_IO);
    assert_string_equal(err.msg, "block 3: read: Input/output error");
    assert_int_equal(err.sys, EIO);
}

static void test_err_long_messages_are_cut_at_a_character(void **state)
{
    (void)state;
    /* Each euro sign has three bytes; the room for 999 is no multiple of three behind one letter. */
    char text[1400];
    text[0] = 'a';
    for (int i = 0; i < 400; i++)
        memcpy(text + 1 + 3 * i, "\xe2\x82\xac", 3);
    text[1201] = '\0';
    struct nx_err err = {0};
    nx_err_set(&err, NX_E_INVALID, "%s", text);
    assert_int_equal(strlen(err.msg), 997);
    assert_true(nx_utf8_is_valid(nx_str_from(err.msg)));
    nx_err_wrap(&err, "xx");
    assert_true(nx_utf8_is_valid(nx_str_from(err.msg)));
    assert_true(strlen(err.msg) < sizeof(err.msg));
    nx_err_sys(&err, EIO, "%s", text);
    assert_true(nx_utf8_is_valid(nx_str_from(err.msg)));
}

static void test_err_every_code_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < NX_E_COUNT; i++) {
        assert_string_not_equal(nx_code_name((nx_code)i), "unknown");
        for (int j = 0; j < i; j++)
            assert_string_not_equal(nx_code_name((nx_code)i), nx_code_name((nx_code)j));
    }
    assert_string_equal(nx_code_name(NX_E_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_set_fills_code_and_message),
        cmocka_unit_test(test_err_set_may_print_its_own_message),
        cmocka_unit_test(test_err_sys_maps_a_full_volume),
        cmocka_unit_test(test_err_wrap_keeps_code_and_sys),
        cmocka_unit_test(test_err_long_messages_are_cut_at_a_character),
        cmocka_unit_test(test_err_every_code_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
