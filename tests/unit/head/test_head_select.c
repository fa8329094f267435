/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_select.c - every kind of matcher over known series, limits, and the order of the answer. */
#include "head_support.h"

#include <stdio.h>
#include <string.h>

#define T0 INT64_C(1700000000000)

struct world {
    struct head *head;
    struct test_labels labels[40];
    size_t count;
};

static void world_make(struct world *world)
{
    world->head = test_head_new(0);
    world->count = NX_ARRAY_LEN(world->labels);
    for (size_t i = 0; i < world->count; i++) {
        char text[160];
        snprintf(text, sizeof(text), "__name__=m%zu,job=job-%zu,pod=web-%zu%s", i % 3, i % 5, i,
                 i % 4 == 0   ? ",zone=a"
                 : i % 4 == 1 ? ",zone=b"
                              : "");
        test_labels_make(&world->labels[i], text);
        test_write(world->head, NULL, world->labels[i].labels, T0 + (int64_t)i * 1000, 1);
    }
}

static void check(struct world *world, const struct matcher *matchers, size_t count, int64_t min_ms)
{
    struct arena arena;
    struct head_series *found;
    size_t found_count;
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(head_select(world->head, matchers, count, min_ms, INT64_MAX, &arena, &found,
                                 &found_count, &err),
                     NX_OK);
    size_t want = 0;
    for (size_t i = 0; i < world->count; i++)
        want += T0 + (int64_t)i * 1000 >= min_ms &&
                matchers_match(matchers, count, world->labels[i].labels);
    assert_int_equal(found_count, want);
    for (size_t i = 0; i < found_count; i++) {
        assert_true(matchers_match(matchers, count, found[i].labels));
        assert_true(i == 0 || labels_compare(found[i - 1].labels, found[i].labels) < 0);
    }
    arena_deinit(&arena);
}

/* All pairs of (name, type, value) alone and in twos: each finds what trying every series finds. */
static void test_select_equals_trying_every_series(void **state)
{
    (void)state;
    static const char *const names[] = {"__name__", "job", "pod", "zone", "absent"};
    static const char *const values[] = {
        "",     "m1",    "job-2", "a",     "web-1.*", "web-7|web-8|nothing", ".*",  ".+", "a|",
        "[ab]", "m[12]", "job-.", "(?i)A", "web-1?",  "absent|m0",           "zz.*"};
    enum { COUNT = 5 * 16 * 4 };
    struct matcher *matchers = nx_calloc(COUNT, sizeof(*matchers));
    struct world world;
    struct nx_err err;
    world_make(&world);
    size_t count = 0;
    for (size_t n = 0; n < NX_ARRAY_LEN(names); n++) {
        for (size_t v = 0; v < NX_ARRAY_LEN(values); v++) {
            for (int type = MATCHER_EQUAL; type <= MATCHER_NOT_REGEX; type++)
                assert_int_equal(matcher_init(&matchers[count++], (enum matcher_type)type,
                                              nx_str_from(names[n]), nx_str_from(values[v]), &err),
                                 NX_OK);
        }
    }
    assert_int_equal(count, COUNT);
    for (int is_ranked = 0; is_ranked < 2; is_ranked++) {
        for (size_t i = 0; i < count; i++) {
            check(&world, &matchers[i], 1, INT64_MIN);
            struct matcher two[2] = {matchers[i], matchers[(i * 7 + 13) % count]};
            check(&world, two, 2, T0 + 10000);
        }
        /* Sealed data of a flush that was given up is found too, now with ranks. */
        test_flush(world.head, false, NULL);
    }
    for (size_t i = 0; i < count; i++)
        matcher_deinit(&matchers[i]);
    nx_free(matchers);
    head_free(world.head);
}

static void test_select_without_matchers_finds_all_with_data(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    check(&world, NULL, 0, INT64_MIN);
    check(&world, NULL, 0, T0 + 30000);
    test_flush(world.head, true, NULL);
    struct arena arena;
    struct head_series *found;
    size_t count;
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(
        head_select(world.head, NULL, 0, INT64_MIN, INT64_MAX, &arena, &found, &count, &err),
        NX_OK);
    assert_int_equal(count, 0);
    assert_int_equal(head_select(world.head, NULL, 0, 5, 4, &arena, &found, &count, &err), NX_OK);
    assert_int_equal(count, 0);
    arena_deinit(&arena);
    head_free(world.head);
}

/* Ranked series and newer ones without rank, many of both. */
static void test_select_merges_ranked_and_new_series(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct arena arena;
    struct head_series *found;
    size_t count;
    struct nx_err err;
    arena_init(&arena, 0);
    for (int i = 0; i < 4000; i++) {
        struct test_labels labels;
        char text[64];
        snprintf(text, sizeof(text), "__name__=m%d,i=%d", i * 31 % 7, (i * 7919) % 4001);
        test_labels_make(&labels, text);
        test_write(head, NULL, labels.labels, T0, 1);
        if (i == 2500)
            test_flush(head, false, NULL);
    }
    assert_int_equal(head_select(head, NULL, 0, INT64_MIN, INT64_MAX, &arena, &found, &count, &err),
                     NX_OK);
    assert_int_equal(count, 4000);
    for (size_t i = 1; i < count; i++)
        assert_true(labels_compare(found[i - 1].labels, found[i].labels) < 0);
    arena_deinit(&arena);
    head_free(head);
}

static void test_select_stops_at_the_memory_limit(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct arena arena;
    struct head_series *found;
    struct nx_str *texts;
    size_t count;
    struct nx_err err;
    arena_init(&arena, 1);
    assert_int_equal(
        head_select(world.head, NULL, 0, INT64_MIN, INT64_MAX, &arena, &found, &count, &err),
        NX_E_LIMIT);
    assert_int_equal(head_label_names(world.head, &arena, &texts, &count, &err), NX_E_LIMIT);
    assert_int_equal(head_label_values(world.head, NX_STR("pod"), &arena, &texts, &count, &err),
                     NX_E_LIMIT);
    arena_deinit(&arena);
    head_free(world.head);
}

static bool has_text(const struct nx_str *texts, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (nx_str_eq(texts[i], nx_str_from(text)))
            return true;
    }
    return false;
}

static void test_label_names_and_values_are_those_of_live_series(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct arena arena;
    struct nx_str *texts;
    size_t count;
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(head_label_names(world.head, &arena, &texts, &count, &err), NX_OK);
    assert_int_equal(count, 4);
    assert_true(has_text(texts, count, "__name__") && has_text(texts, count, "zone"));
    assert_int_equal(head_label_values(world.head, NX_STR("job"), &arena, &texts, &count, &err),
                     NX_OK);
    assert_int_equal(count, 5);
    assert_true(has_text(texts, count, "job-0") && has_text(texts, count, "job-4"));
    assert_int_equal(head_label_values(world.head, NX_STR("nothing"), &arena, &texts, &count, &err),
                     NX_OK);
    assert_int_equal(count, 0);
    arena_deinit(&arena);
    head_free(world.head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select_equals_trying_every_series),
        cmocka_unit_test(test_select_without_matchers_finds_all_with_data),
        cmocka_unit_test(test_select_merges_ranked_and_new_series),
        cmocka_unit_test(test_select_stops_at_the_memory_limit),
        cmocka_unit_test(test_label_names_and_values_are_those_of_live_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
