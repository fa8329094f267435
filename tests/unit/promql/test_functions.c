/* SPDX-License-Identifier: Apache-2.0 */
/* test_functions.c - the table of functions is well-formed and searchable. */
#include "narthex/promql/functions.h"

#include "parse_support.h"

#include <string.h>

static void test_functions_are_sorted_and_found(void **state)
{
    (void)state;
    size_t count;
    const struct function *all = functions_all(&count);
    assert_true(count >= 90);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            assert_true(strcmp(all[i - 1].name, all[i].name) < 0);
        assert_ptr_equal(function_find(nx_str_from(all[i].name)), &all[i]);
        assert_true(strspn(all[i].args, "vmst") == strlen(all[i].args));
        assert_true(all[i].variadic == 0 || strlen(all[i].args) > 0);
        assert_true(all[i].returns == VALUE_TYPE_SCALAR || all[i].returns == VALUE_TYPE_VECTOR);
    }
}

static void test_functions_unknown_names(void **state)
{
    (void)state;
    assert_null(function_find(NX_STR("")));
    assert_null(function_find(NX_STR("rat")));
    assert_null(function_find(NX_STR("rates")));
    assert_null(function_find(NX_STR("RATE")));
    assert_null(function_find(NX_STR("zzz")));
}

static void test_functions_argument_types(void **state)
{
    (void)state;
    const struct function *join = function_find(NX_STR("label_join"));
    assert_int_equal(function_arg_type(join, 0), VALUE_TYPE_VECTOR);
    assert_int_equal(function_arg_type(join, 3), VALUE_TYPE_STRING);
    assert_int_equal(function_arg_type(join, 99), VALUE_TYPE_STRING);
    const struct function *quantile = function_find(NX_STR("quantile_over_time"));
    assert_int_equal(function_arg_type(quantile, 0), VALUE_TYPE_SCALAR);
    assert_int_equal(function_arg_type(quantile, 1), VALUE_TYPE_MATRIX);
    assert_int_equal(function_arg_type(function_find(NX_STR("time")), 0), VALUE_TYPE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_functions_are_sorted_and_found),
        cmocka_unit_test(test_functions_unknown_names),
        cmocka_unit_test(test_functions_argument_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
