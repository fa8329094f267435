/* SPDX-License-Identifier: Apache-2.0 */
/* test_exemplar.c - what is the same, what comes first, what is refused. */
#include "narthex/model/exemplar.h"
#include "narthex/model/staleness.h"

#include "model_support.h"

static void test_exemplar_order_and_equality(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct labels a = test_labels(&arena, "trace=a");
    struct labels b = test_labels(&arena, "trace=b");
    /* Ascending. */
    const struct exemplar all[] = {
        {a, 5, -1},
        {a, -0.0, 1},
        {a, 1, 1},
        {b, 1, 1},
        {a, 2, 1},
        {a, float_from_bits(ORDINARY_NAN_BITS), 1},
        {a, float_from_bits(ORDINARY_NAN_BITS + 1), 1},
        {a, 0, 2},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++) {
            assert_int_equal(exemplar_compare(&all[i], &all[j]), i < j ? -1 : i > j ? 1 : 0);
            assert_int_equal(exemplar_equal(&all[i], &all[j]), i == j);
        }
    struct exemplar zeros[] = {{a, 0.0, 1}, {a, -0.0, 1}};
    assert_false(exemplar_equal(&zeros[0], &zeros[1]));
    assert_true(exemplar_compare(&zeros[0], &zeros[1]) != 0);
    arena_deinit(&arena);
}

static nx_code check(const char *name, const char *value, struct nx_err *err)
{
    const struct label items[] = {{nx_str_from(name), nx_str_from(value)},
                                  {NX_STR("z"), NX_STR("")}};
    struct exemplar exemplar = {.labels = {items, 2}};
    return exemplar_check(&exemplar, err);
}

static void test_exemplar_limit_counts_characters(void **state)
{
    (void)state;
    struct nx_err err;
    char text[300];
    for (size_t i = 0; i < 126; i++)
        memcpy(text + 2 * i, "\xc3\xa4", 2); /* one character, two bytes */
    text[2 * 126] = '\0';
    assert_int_equal(check("a", text, &err), NX_OK); /* a, 126, z */
    assert_int_equal(check("ab", text, &err), NX_E_INVALID);
    assert_string_equal(err.msg,
                        "label length for exemplar exceeds maximum of 128 UTF-8 characters");
    text[2 * 126 - 1] = '\0';
    assert_int_equal(check("a", text, &err), NX_E_INVALID);
    assert_string_equal(err.msg, "exemplar has a label that is not valid UTF-8");
    assert_int_equal(check("", "x", &err), NX_E_INVALID);
    assert_int_equal(check("z", "x", &err), NX_E_INVALID);
    assert_string_equal(err.msg, "exemplar has labels that are not unique");
    assert_int_equal(check("zz", "x", &err), NX_E_INVALID);
}

static void test_exemplar_copy_is_deep(void **state)
{
    (void)state;
    struct arena arena;
    struct arena spent;
    arena_init(&arena, 0);
    arena_init(&spent, 1);
    char text[] = "trace=abc";
    struct exemplar exemplar = {.value = 1, .time_ms = 2};
    struct exemplar copy;
    struct label items[1];
    exemplar.labels = (struct labels){items, test_items(text, items, 1)};
    assert_true(exemplar_copy(&arena, &exemplar, &copy));
    memset(text, 'x', sizeof(text) - 1);
    assert_true(nx_str_eq(labels_get(copy.labels, NX_STR("trace")), NX_STR("abc")));
    assert_false(exemplar_copy(&spent, &exemplar, &copy));
    arena_deinit(&arena);
    arena_deinit(&spent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exemplar_order_and_equality),
        cmocka_unit_test(test_exemplar_limit_counts_characters),
        cmocka_unit_test(test_exemplar_copy_is_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
