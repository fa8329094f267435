/* SPDX-License-Identifier: Apache-2.0 */
/* test_assert.c - a failed assertion ends the process and says where. */
#include "narthex/base/assert.h"

#include "base_support.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static void fail_assertion(void *argument)
{
    const int *zero = argument;
    NX_ASSERT(*zero == 1);
}

static void test_assert_failure_aborts_and_names_the_expression(void **state)
{
    (void)state;
    int zero = 0;
    struct nx_buf text = {0};
    int status = test_in_child(fail_assertion, &zero, &text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(nx_str_contains(nx_buf_str(&text), NX_STR("*zero == 1")));
    assert_true(nx_str_contains(nx_buf_str(&text), NX_STR("test_assert.c:")));
    nx_buf_deinit(&text);
}

static void test_assert_true_has_no_effect(void **state)
{
    (void)state;
    int calls = 0;
    NX_ASSERT(++calls == 1);
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assert_failure_aborts_and_names_the_expression),
        cmocka_unit_test(test_assert_true_has_no_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
