/* SPDX-License-Identifier: Apache-2.0 */
/* test_memory_source.c - the double behaves as the contract of series sources says. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/promql/memory_source.h"

static void add(struct memory_source *source, const char *x, int64_t time_ms, double value)
{
    struct label items[] = {{NX_STR("__name__"), NX_STR("m")}, {NX_STR("x"), nx_str_from(x)}};
    memory_source_add(source, (struct labels){.items = items, .count = 2}, time_ms, value);
}

static struct series_set *select_all(struct memory_source *source, int64_t min_ms, int64_t max_ms,
                                     size_t limit)
{
    struct series_hints hints = {.series_limit = limit};
    struct series_warnings warnings = {0};
    struct series_set *set = NULL;
    struct nx_err err;
    struct series_source *handle = memory_source_handle(source);
    assert_int_equal(
        handle->ops->select(handle, NULL, 0, min_ms, max_ms, &hints, &set, &warnings, &err), NX_OK);
    return set;
}

static void test_series_come_in_label_order_with_the_samples_of_the_range(void **state)
{
    (void)state;
    struct memory_source *source = memory_source_new();
    struct series_columns columns;
    struct nx_err err;
    add(source, "b", 30, 3);
    add(source, "b", 10, 1);
    add(source, "b", 20, 2);
    add(source, "b", 20, 22);
    add(source, "a", 40, 4);
    add(source, "c", 20, 5);
    assert_int_equal(memory_source_series_count(source), 3);
    struct series_set *set = select_all(source, 10, 20, 0);
    assert_int_equal(set->ops->next(set, &columns, &err), 1);
    assert_string_equal(columns.labels.items[1].value.data[0] == 'b' ? "b" : "?", "b");
    assert_int_equal(columns.count, 2);
    assert_int_equal(columns.times_ms[0], 10);
    assert_true(columns.values[1] == 22);
    assert_int_equal(set->ops->next(set, &columns, &err), 1);
    assert_true(columns.labels.items[1].value.data[0] == 'c');
    assert_int_equal(set->ops->next(set, &columns, &err), 0);
    assert_int_equal(set->ops->next(set, &columns, &err), 0);
    set->ops->free(set);
    set = select_all(source, 0, 100, 2);
    assert_true(set->is_truncated);
    set->ops->free(set);
    memory_source_clear(source);
    set = select_all(source, 0, 100, 0);
    assert_int_equal(set->ops->next(set, &columns, &err), 0);
    set->ops->free(set);
    memory_source_free(source);
}

static void test_label_texts_are_sorted_and_distinct(void **state)
{
    (void)state;
    struct memory_source *source = memory_source_new();
    struct series_source *handle = memory_source_handle(source);
    struct series_warnings warnings = {0};
    struct arena arena;
    struct nx_str *texts;
    size_t count;
    bool is_truncated;
    struct nx_err err;
    arena_init(&arena, 0);
    add(source, "b", 10, 1);
    add(source, "a", 10, 1);
    add(source, "late", 99, 1);
    assert_int_equal(handle->ops->label_names(handle, NULL, 0, 0, 50, 0, &arena, &texts, &count,
                                              &is_truncated, &warnings, &err),
                     NX_OK);
    assert_int_equal(count, 2);
    assert_true(nx_str_eq(texts[0], NX_STR("__name__")));
    assert_true(nx_str_eq(texts[1], NX_STR("x")));
    assert_int_equal(handle->ops->label_values(handle, NX_STR("x"), NULL, 0, 0, 50, 0, &arena,
                                               &texts, &count, &is_truncated, &warnings, &err),
                     NX_OK);
    assert_int_equal(count, 2);
    assert_true(nx_str_eq(texts[0], NX_STR("a")));
    assert_false(is_truncated);
    assert_int_equal(handle->ops->label_values(handle, NX_STR("x"), NULL, 0, 0, 99, 2, &arena,
                                               &texts, &count, &is_truncated, &warnings, &err),
                     NX_OK);
    assert_int_equal(count, 2);
    assert_true(is_truncated);
    arena_deinit(&arena);
    memory_source_free(source);
}

static void test_unreadable_samples_fail_a_select_that_would_see_them(void **state)
{
    (void)state;
    struct memory_source *source = memory_source_new();
    struct series_source *handle = memory_source_handle(source);
    struct series_hints hints = {0};
    struct series_warnings warnings = {0};
    struct series_set *set = NULL;
    struct nx_err err;
    add(source, "a", 10, 1);
    memory_source_add_unreadable(source, (struct labels){0}, 50, "an odd thing");
    set = select_all(source, 0, 49, 0);
    set->ops->free(set);
    assert_int_equal(handle->ops->select(handle, NULL, 0, 0, 50, &hints, &set, &warnings, &err),
                     NX_E_UNSUPPORTED);
    assert_string_equal(err.msg, "an odd thing cannot be read yet");
    memory_source_free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_come_in_label_order_with_the_samples_of_the_range),
        cmocka_unit_test(test_label_texts_are_sorted_and_distinct),
        cmocka_unit_test(test_unreadable_samples_fail_a_select_that_would_see_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
