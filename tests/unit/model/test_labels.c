/* SPDX-License-Identifier: Apache-2.0 */
/* test_labels.c - canonical form, order, hash, copies, and what is refused. */
#include "narthex/base/rand.h"

#include "model_support.h"

#include <stdlib.h>

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void test_labels_get_finds_or_is_empty(void **state)
{
    (void)state;
    struct labels labels = test_labels(&arena, "__name__=up,job=node");
    assert_true(nx_str_eq(labels_get(labels, NX_STR("job")), NX_STR("node")));
    assert_int_equal(labels_get(labels, NX_STR("instance")).len, 0);
    assert_true(labels_has(labels, NX_STR("__name__")));
    assert_false(labels_has(labels, NX_STR("jo")));
    assert_false(labels_has((struct labels){0}, NX_STR("job")));
}

static void test_labels_canonicalize_sorts_and_drops_empty_values(void **state)
{
    (void)state;
    struct label items[64];
    size_t count = labels_canonicalize(items, test_items("z=1,a=2,m=,b=3", items, 64));
    assert_int_equal(count, 3);
    assert_true(nx_str_eq(items[0].name, NX_STR("a")));
    assert_true(nx_str_eq(items[1].name, NX_STR("b")));
    assert_true(nx_str_eq(items[2].value, NX_STR("1")));
    assert_int_equal(labels_canonicalize(items, 0), 0);
    count = labels_canonicalize(items, test_items("b=1,a=1,b=2", items, 64));
    assert_int_equal(count, 3); /* a duplicate is for labels_check to find */
}

static void test_labels_canonicalize_sorts_sets_of_any_size(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 51);
    for (size_t size = 0; size < 200; size += 7) {
        static char names[200][8];
        struct label items[200];
        for (size_t i = 0; i < size; i++) {
            snprintf(names[i], sizeof(names[i]), "n%llu",
                     (unsigned long long)rand_below(&rand, 100000));
            items[i] = (struct label){.name = nx_str_from(names[i]), .value = NX_STR("v")};
        }
        assert_int_equal(labels_canonicalize(items, size), size);
        for (size_t i = 1; i < size; i++)
            assert_true(nx_str_cmp(items[i - 1].name, items[i].name) <= 0);
    }
}

static void test_labels_compare_is_pair_by_pair(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "", "a=1", "a=1,b=1", "a=1,b=2", "a=1,c=0", "a=2", "aa=1", "b=0",
    };
    size_t count = sizeof(ascending) / sizeof(ascending[0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            struct labels a = test_labels(&arena, ascending[i]);
            struct labels b = test_labels(&arena, ascending[j]);
            int order = labels_compare(a, b);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_int_equal(labels_equal(a, b), i == j);
            assert_int_equal(labels_hash(a) == labels_hash(b), i == j);
        }
    }
}

static void test_labels_hash_is_pinned_and_separates_pairs(void **state)
{
    (void)state;
    /* Written to disk: this number never changes. */
    assert_true(labels_hash(test_labels(&arena, "__name__=up,job=node")) ==
                UINT64_C(0x85d666c28b445bb9));
    assert_true(labels_hash(test_labels(&arena, "a=bc")) !=
                labels_hash(test_labels(&arena, "ab=c")));
    assert_true(labels_hash(test_labels(&arena, "a=b,c=d")) !=
                labels_hash(test_labels(&arena, "a=bcd")));
    /* Longer than the buffer on the stack: the same text in two pieces of memory. */
    static char long_value[5000];
    memset(long_value, 'x', sizeof(long_value) - 1);
    struct label item = {.name = NX_STR("n"), .value = nx_str_from(long_value)};
    struct labels one = {.items = &item, .count = 1};
    assert_true(labels_hash(one) == labels_hash(labels_copy(&arena, one)));
}

static void test_labels_copy_is_deep(void **state)
{
    (void)state;
    char text[] = "a=1,b=two";
    struct label items[4];
    size_t count = test_items(text, items, 4);
    struct labels copy = labels_copy(&arena, (struct labels){.items = items, .count = count});
    memset(text, '#', sizeof(text) - 1);
    memset(items, 0, sizeof(items));
    assert_int_equal(copy.count, 2);
    assert_true(nx_str_eq(labels_get(copy, NX_STR("b")), NX_STR("two")));
    assert_int_equal(labels_copy(&arena, (struct labels){0}).count, 0);
}

static void test_labels_copy_into_a_spent_arena_is_empty(void **state)
{
    (void)state;
    struct arena tiny;
    arena_init(&tiny, 100);
    struct label item = {.name = NX_STR("a"), .value = NX_STR("b")};
    struct labels one = {.items = &item, .count = 1};
    while (arena_alloc(&tiny, 16) != NULL)
        continue;
    struct labels copy = labels_copy(&tiny, one);
    assert_int_equal(copy.count, 0);
    assert_null(copy.items);
    arena_deinit(&tiny);
}

static void assert_check(struct label *items, size_t count, nx_code expected, const char *msg)
{
    struct nx_err err = {0};
    assert_int_equal(labels_check((struct labels){.items = items, .count = count}, &err), expected);
    assert_string_equal(err.msg, msg);
}

static void test_labels_check_refuses_with_a_reason(void **state)
{
    (void)state;
    struct label items[3];
    size_t count = test_items("__name__=up,a=1,b=2", items, 3);
    assert_check(items, count, NX_OK, "");
    assert_check(items + 1, 2, NX_E_INVALID, "missing metric name");
    assert_check(items, 0, NX_E_INVALID, "missing metric name");
    items[0].value = NX_STR("\xff");
    assert_check(items, count, NX_E_INVALID, "metric name is not valid UTF-8: \"\\xff\"");
    items[0].value = NX_STR("caf\xc3\xa9 metric");
    assert_check(items, count, NX_OK, "");
    items[2].name = NX_STR("a");
    assert_check(items, count, NX_E_INVALID, "duplicate label name: \"a\"");
    items[2].name = NX_STR("b\xc3");
    assert_check(items, count, NX_E_INVALID, "label name is not valid UTF-8: \"b\\xc3\"");
    items[2].name = NX_STR("b.c d");
    assert_check(items, count, NX_OK, "");
    items[2].value = NX_STR("\xed\xa0\x80");
    assert_check(items, count, NX_E_INVALID, "value is not valid UTF-8 in label: \"b.c d\"");
    items[0] = (struct label){.name = NX_STR(""), .value = NX_STR("x")};
    items[1] = (struct label){.name = NX_STR("__name__"), .value = NX_STR("up")};
    assert_check(items, 2, NX_E_INVALID, "empty label name for value: \"x\"");
    items[0] = (struct label){.name = NX_STR("__name__"), .value = NX_STR("up")};
    assert_check(items, 2, NX_E_INVALID, "duplicate label name: \"__name__\"");
}

static void test_labels_legacy_names(void **state)
{
    (void)state;
    assert_true(label_name_is_legacy(NX_STR("_a9Z")));
    assert_false(label_name_is_legacy(NX_STR("")));
    assert_false(label_name_is_legacy(NX_STR("9a")));
    assert_false(label_name_is_legacy(NX_STR("a:b")));
    assert_false(label_name_is_legacy(NX_STR("a.b")));
    assert_false(label_name_is_legacy(NX_STR("\xc3\xa9")));
    assert_true(metric_name_is_legacy(NX_STR(":a:b9")));
    assert_false(metric_name_is_legacy(NX_STR("9")));
    assert_false(metric_name_is_legacy(NX_STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_get_finds_or_is_empty),
        cmocka_unit_test(test_labels_canonicalize_sorts_and_drops_empty_values),
        cmocka_unit_test(test_labels_canonicalize_sorts_sets_of_any_size),
        cmocka_unit_test(test_labels_compare_is_pair_by_pair),
        cmocka_unit_test(test_labels_hash_is_pinned_and_separates_pairs),
        cmocka_unit_test(test_labels_copy_is_deep),
        cmocka_unit_test(test_labels_copy_into_a_spent_arena_is_empty),
        cmocka_unit_test(test_labels_check_refuses_with_a_reason),
        cmocka_unit_test(test_labels_legacy_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
