/* SPDX-License-Identifier: Apache-2.0 */
/* test_labels_builder.c - changed copies, against a simple model. */
#include "narthex/base/rand.h"

#include "model_support.h"

static struct arena arena;
static struct nx_buf out;

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
    nx_buf_deinit(&out);
    return 0;
}

static void assert_finish(struct labels_builder *builder, const char *expected)
{
    struct labels labels;
    assert_int_equal(labels_builder_finish(builder, &labels), NX_OK);
    labels_print(labels, &out);
    test_assert_buf(&out, expected);
}

static void test_labels_builder_sets_and_drops(void **state)
{
    (void)state;
    struct labels base = test_labels(&arena, "__name__=up,b=1,d=2");
    struct labels_builder builder;
    labels_builder_begin(&builder, &arena, base);
    labels_builder_set(&builder, NX_STR("c"), NX_STR("new"));
    labels_builder_set(&builder, NX_STR("b"), NX_STR("changed"));
    labels_builder_drop(&builder, NX_STR("__name__"));
    labels_builder_drop(&builder, NX_STR("absent"));
    labels_builder_set(&builder, NX_STR("d"), NX_STR(""));
    assert_finish(&builder, "{b=\"changed\", c=\"new\"}");
    assert_true(nx_str_eq(labels_get(base, NX_STR("b")), NX_STR("1")));
}

static void test_labels_builder_keeps_or_drops_lists(void **state)
{
    (void)state;
    static const struct nx_str names[] = {NX_STR("a"), NX_STR("c"), NX_STR("none")};
    struct labels_builder builder;
    labels_builder_begin(&builder, &arena, test_labels(&arena, "a=1,b=2,c=3,d=4"));
    labels_builder_keep(&builder, names, 3);
    assert_finish(&builder, "{a=\"1\", c=\"3\"}");
    labels_builder_begin(&builder, &arena, test_labels(&arena, "a=1,b=2,c=3,d=4"));
    labels_builder_drop_all(&builder, names, 3);
    assert_finish(&builder, "{b=\"2\", d=\"4\"}");
    labels_builder_begin(&builder, &arena, test_labels(&arena, "a=1"));
    labels_builder_keep(&builder, NULL, 0);
    assert_finish(&builder, "{}");
}

static void test_labels_builder_agrees_with_a_table(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g",
                                        "h", "i", "j", "k", "l", "m", "n"};
    static const char *const values[] = {"", "1", "2", "3"};
    enum { NAMES = 14 };
    struct rand_state rand;
    rand_seed(&rand, 61);
    for (int round = 0; round < 300; round++) {
        const char *table[NAMES] = {0};
        struct labels_builder builder;
        labels_builder_begin(&builder, &arena, (struct labels){0});
        for (int step = 0; step < 40; step++) {
            size_t name = rand_below(&rand, NAMES);
            size_t value = rand_below(&rand, 4);
            table[name] = value == 0 ? NULL : values[value];
            labels_builder_set(&builder, nx_str_from(names[name]), nx_str_from(values[value]));
        }
        struct labels labels;
        assert_int_equal(labels_builder_finish(&builder, &labels), NX_OK);
        size_t count = 0;
        for (size_t i = 0; i < NAMES; i++) {
            struct nx_str got = labels_get(labels, nx_str_from(names[i]));
            assert_true(nx_str_eq(got, nx_str_from(table[i] == NULL ? "" : table[i])));
            count += table[i] != NULL;
        }
        assert_int_equal(labels.count, count);
        for (size_t i = 1; i < labels.count; i++)
            assert_true(nx_str_cmp(labels.items[i - 1].name, labels.items[i].name) < 0);
    }
}

static void test_labels_builder_says_when_memory_ends(void **state)
{
    (void)state;
    struct arena tiny;
    arena_init(&tiny, 2000);
    struct labels_builder builder;
    labels_builder_begin(&builder, &tiny, (struct labels){0});
    static char names[100][8];
    for (size_t i = 0; i < 100; i++) {
        snprintf(names[i], sizeof(names[i]), "n%zu", i);
        labels_builder_set(&builder, nx_str_from(names[i]), NX_STR("v"));
    }
    struct labels labels = {.count = 77};
    assert_int_equal(labels_builder_finish(&builder, &labels), NX_E_LIMIT);
    assert_int_equal(labels.count, 77);
    labels_builder_begin(&builder, &tiny, (struct labels){0});
    labels_builder_set(&builder, NX_STR("a"), NX_STR("b"));
    labels_builder_drop(&builder, NX_STR("a"));
    assert_int_equal(labels_builder_finish(&builder, &labels), NX_E_LIMIT);
    arena_deinit(&tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_builder_sets_and_drops),
        cmocka_unit_test(test_labels_builder_keeps_or_drops_lists),
        cmocka_unit_test(test_labels_builder_agrees_with_a_table),
        cmocka_unit_test(test_labels_builder_says_when_memory_ends),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
