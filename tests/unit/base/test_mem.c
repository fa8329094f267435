/* SPDX-License-Identifier: Apache-2.0 */
/* test_mem.c - allocation, and its end. */
#include "narthex/base/mem.h"

#include "base_support.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static void test_mem_zero_bytes_give_a_pointer(void **state)
{
    (void)state;
    void *a = nx_alloc(0);
    void *b = nx_calloc(0, 8);
    assert_non_null(a);
    assert_non_null(b);
    a = nx_realloc(a, 0);
    assert_non_null(a);
    nx_free(a);
    nx_free(b);
    nx_free(NULL);
}

static void test_mem_calloc_is_zeroed_and_realloc_keeps_content(void **state)
{
    (void)state;
    int *numbers = nx_calloc(10, sizeof(*numbers));
    for (int i = 0; i < 10; i++)
        assert_int_equal(numbers[i], 0);
    numbers[9] = 42;
    numbers = nx_realloc_array(numbers, 1000, sizeof(*numbers));
    assert_int_equal(numbers[9], 42);
    nx_mem_release(); /* only what is free */
    assert_int_equal(numbers[9], 42);
    nx_free(numbers);
    char *copy = nx_strdup("text");
    assert_string_equal(copy, "text");
    nx_free(copy);
}

static void overflow_product(void *argument)
{
    volatile size_t many = SIZE_MAX / 2;
    (void)argument;
    nx_free(nx_calloc(many, 3));
}

static void test_mem_overflowing_product_aborts(void **state)
{
    (void)state;
    struct nx_buf text = {0};
    int status = test_in_child(overflow_product, NULL, &text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(nx_str_contains(nx_buf_str(&text), NX_STR("out of memory")));
    nx_buf_deinit(&text);
}

static void test_mem_map_is_zeroed_and_aligned(void **state)
{
    (void)state;
    size_t bytes = (size_t)3 << 20;
    unsigned char *memory = nx_map_alloc(bytes);
    assert_int_equal((uintptr_t)memory % 4096, 0);
    for (size_t i = 0; i < bytes; i += 4096)
        assert_int_equal(memory[i], 0);
    memory[bytes - 1] = 1;
    nx_map_free(memory, bytes);
    nx_map_free(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_zero_bytes_give_a_pointer),
        cmocka_unit_test(test_mem_calloc_is_zeroed_and_realloc_keeps_content),
        cmocka_unit_test(test_mem_overflowing_product_aborts),
        cmocka_unit_test(test_mem_map_is_zeroed_and_aligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
