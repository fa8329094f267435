/* SPDX-License-Identifier: Apache-2.0 */
/* test_key_table.c - numbers in order of appearance, through growth, for any bytes. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "key_table.h"

#include <stdio.h>

#define KEYS 20000

static struct nx_str key_of(char buffer[16], int number)
{
    int length = snprintf(buffer, 16, "%d", number);
    return (struct nx_str){.data = buffer, .len = (size_t)length};
}

static void test_keys_keep_their_numbers_while_the_table_grows(void **state)
{
    (void)state;
    struct arena arena;
    struct key_table table;
    char text[16];
    bool is_new;
    arena_init(&arena, 0);
    key_table_init(&table, &arena, 1);
    assert_true(key_table_find(&table, NX_STR("0")) == KEY_TABLE_NONE);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(key_table_put(&table, key_of(text, i), &is_new), i);
        assert_true(is_new);
    }
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(key_table_put(&table, key_of(text, i), &is_new), i);
        assert_false(is_new);
        assert_int_equal(key_table_find(&table, key_of(text, i)), i);
    }
    assert_true(key_table_find(&table, key_of(text, KEYS)) == KEY_TABLE_NONE);
    assert_int_equal(table.count, KEYS);
    arena_deinit(&arena);
}

static void test_empty_keys_and_zero_bytes_are_keys(void **state)
{
    (void)state;
    struct arena arena;
    struct key_table table;
    bool is_new;
    arena_init(&arena, 0);
    key_table_init(&table, &arena, 1);
    assert_int_equal(key_table_put(&table, NX_STR(""), &is_new), 0);
    assert_int_equal(key_table_put(&table, NX_STR("\0"), &is_new), 1);
    assert_int_equal(key_table_put(&table, NX_STR("\0\0"), &is_new), 2);
    assert_int_equal(key_table_put(&table, (struct nx_str){0}, &is_new), 0);
    assert_false(is_new);
    arena_deinit(&arena);
}

static void test_an_exhausted_arena_is_reported(void **state)
{
    (void)state;
    struct arena arena;
    struct key_table table;
    char text[16];
    bool is_new;
    arena_init(&arena, 20000);
    key_table_init(&table, &arena, 1);
    int number = 0;
    while (key_table_put(&table, key_of(text, number), &is_new) != KEY_TABLE_NONE)
        assert_in_range(number++, 0, KEYS);
    assert_true(number > 100);
    assert_int_equal(key_table_find(&table, key_of(text, 7)), 7);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_keep_their_numbers_while_the_table_grows),
        cmocka_unit_test(test_empty_keys_and_zero_bytes_are_keys),
        cmocka_unit_test(test_an_exhausted_arena_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
