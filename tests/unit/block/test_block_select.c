/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_select.c - every kind of matcher against brute force over the labels. */
#include "narthex/base/mem.h"

#include "tests/unit/block/block_support.h"

#include <stdlib.h>

struct fixture {
    char *dir, *block_dir;
    struct model model;
    struct group_cache *cache;
    struct block *block;
};

static void fixture_init(struct fixture *fixture, uint64_t seed, size_t series)
{
    struct rand_state rand;
    struct block_meta meta;
    struct nx_err err;
    rand_seed(&rand, seed);
    fixture->dir = temp_dir_new();
    fixture->block_dir = path_of(fixture->dir, TEST_ULID);
    const struct model_options options = {
        .series_max = series, .samples_max = 2, .start_ms = 1700000000000, .step_ms = 15000};
    model_init(&fixture->model, &rand, &options);
    model_write(&fixture->model, io_real(), fixture->block_dir, TEST_ULID, 1, 0, 0, &meta);
    fixture->cache = group_cache_new(1 << 20);
    assert_int_equal(
        block_open(&fixture->block, io_real(), fixture->block_dir, fixture->cache, &err), NX_OK);
}

static void fixture_deinit(struct fixture *fixture)
{
    block_unref(fixture->block);
    group_cache_free(fixture->cache);
    model_deinit(&fixture->model);
    nx_free(fixture->block_dir);
    temp_dir_free(fixture->dir);
}

/* Returns how many series matched. */
static size_t assert_selects(const struct fixture *f, const struct matcher *matchers, size_t count)
{
    struct arena arena;
    struct nx_err err;
    uint32_t *ranks = NULL;
    size_t selected = 0, at = 0;
    arena_init(&arena, 0);
    nx_code code = block_select(f->block, matchers, count, &arena, &ranks, &selected, &err);
    if (code != NX_OK)
        fail_msg("select: %s", err.msg);
    for (uint32_t rank = 0; rank < f->model.count; rank++) {
        if (!matchers_match(matchers, count, f->model.series[rank].labels))
            continue;
        if (at == selected || ranks[at] != rank) {
            struct nx_buf text = {0};
            for (size_t i = 0; i < count; i++)
                matcher_print(&matchers[i], &text);
            fail_msg("%.*s: series %u is missing", (int)text.len, (const char *)text.data, rank);
        }
        at++;
    }
    assert_int_equal(at, selected);
    arena_deinit(&arena);
    return selected;
}

static const struct nx_str names[] = {
    {"__name__", 8}, {"code", 4}, {"instance", 8}, {"job", 3},
    {"note", 4},     {"zone", 4}, {"absent", 6},
};

static struct nx_str random_value(const struct fixture *f, struct rand_state *rand,
                                  struct nx_str name)
{
    if (rand_below(rand, 6) == 0)
        return NX_STR("no such value");
    return labels_get(f->model.series[rand_below(rand, f->model.count)].labels, name);
}

static struct nx_str escape(struct arena *arena, struct nx_str text)
{
    char *out = arena_alloc(arena, text.len * 2 + 1), *at = out;
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(".\"\\+*?()[]{}|^$", text.data[i]) != NULL)
            *at++ = '\\';
        *at++ = text.data[i];
    }
    return (struct nx_str){out, (size_t)(at - out)};
}

static struct nx_str random_pattern(const struct fixture *f, struct rand_state *rand,
                                    struct arena *arena, struct nx_str name)
{
    struct nx_str a = escape(arena, random_value(f, rand, name)),
                  b = escape(arena, random_value(f, rand, name));
    struct nx_str part = {a.data, a.len > 3 ? 3 : a.len};
    if (part.len > 0 && part.data[part.len - 1] == '\\')
        part.len--;
    switch (rand_below(rand, 10)) {
    case 0:
        return NX_STR(".*");
    case 1:
        return NX_STR(".+");
    case 2:
        return NX_STR("");
    case 3:
        return arena_printf(arena, "%.*s|%.*s", NX_STR_ARGS(a), NX_STR_ARGS(b));
    case 4:
        return arena_printf(arena, "%.*s.*", NX_STR_ARGS(part));
    case 5:
        return arena_printf(arena, ".*%.*s", NX_STR_ARGS(part));
    case 6:
        return arena_printf(arena, "|%.*s", NX_STR_ARGS(a));
    case 7:
        return NX_STR(".*[0-4]");
    case 8:
        return NX_STR("(?i:JOB-[12])");
    default:
        return a;
    }
}

static void test_block_select_agrees_with_brute_force(void **state)
{
    (void)state;
    size_t non_empty = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct fixture f;
        struct rand_state rand;
        fixture_init(&f, seed, seed == 1 ? 60 : 1500);
        rand_seed(&rand, seed * 1000);
        for (unsigned round = 0; round < 700; round++) {
            struct matcher matchers[4] = {0};
            struct arena arena;
            struct nx_err err;
            size_t count = (size_t)rand_below(&rand, 4);
            arena_init(&arena, 0);
            for (size_t i = 0; i < count; i++) {
                struct nx_str name = names[rand_below(&rand, 7)];
                enum matcher_type type = (enum matcher_type)rand_below(&rand, 4);
                bool is_regex = type == MATCHER_REGEX || type == MATCHER_NOT_REGEX;
                struct nx_str value = is_regex ? random_pattern(&f, &rand, &arena, name)
                                               : random_value(&f, &rand, name);
                nx_code code = matcher_init(&matchers[i], type, name, value, &err);
                if (code != NX_OK)
                    fail_msg("%.*s: %s", NX_STR_ARGS(value), err.msg);
            }
            non_empty += assert_selects(&f, matchers, count) > 0;
            for (size_t i = 0; i < count; i++)
                matcher_deinit(&matchers[i]);
            arena_deinit(&arena);
        }
        fixture_deinit(&f);
    }
    assert_true(non_empty > 300);
}

/* A unique series and a regex over a label of many values: the way over labels is taken. */
static void test_block_select_of_few_series_and_many_values(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    fixture_init(&f, 77, 4000);
    for (unsigned i = 0; i < 50; i++) {
        const struct labels labels = f.model.series[i * f.model.count / 50].labels;
        struct matcher matchers[3] = {0};
        assert_int_equal(matcher_init(&matchers[0], MATCHER_EQUAL, NX_STR("instance"),
                                      labels_get(labels, NX_STR("instance")), &err),
                         NX_OK);
        assert_int_equal(matcher_init(&matchers[1], i % 2 == 0 ? MATCHER_REGEX : MATCHER_NOT_REGEX,
                                      NX_STR("note"), NX_STR(".*[02468]"), &err),
                         NX_OK);
        assert_int_equal(
            matcher_init(&matchers[2], MATCHER_NOT_EQUAL, NX_STR("note"), NX_STR(""), &err), NX_OK);
        assert_selects(&f, matchers, 2);
        assert_selects(&f, matchers, 3);
        for (unsigned j = 0; j < 3; j++)
            matcher_deinit(&matchers[j]);
    }
    fixture_deinit(&f);
}

static void test_block_select_stops_at_the_memory_limit(void **state)
{
    (void)state;
    struct fixture f;
    struct arena arena;
    struct nx_err err;
    uint32_t *ranks = NULL;
    size_t count = 0;
    fixture_init(&f, 5, 6000);
    arena_init(&arena, 16 << 10);
    assert_int_equal(block_select(f.block, NULL, 0, &arena, &ranks, &count, &err), NX_E_LIMIT);
    arena_deinit(&arena);
    fixture_deinit(&f);
}

static int text_compare(const void *left, const void *right)
{
    return nx_str_cmp(*(const struct nx_str *)left, *(const struct nx_str *)right);
}

static void test_block_label_names_and_values_are_distinct_and_sorted(void **state)
{
    (void)state;
    struct fixture f;
    struct arena arena;
    struct nx_err err;
    struct nx_str *texts = NULL;
    size_t count = 0;
    fixture_init(&f, 6, 500);
    arena_init(&arena, 0);
    assert_int_equal(block_label_names(f.block, &arena, &texts, &count, &err), NX_OK);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++)
        assert_true(nx_str_eq(texts[i], names[i]));
    for (size_t n = 0; n < 7; n++) {
        struct nx_str *expected = arena_alloc(&arena, f.model.count * sizeof(*expected));
        size_t expected_count = 0, unique = 0;
        for (size_t i = 0; i < f.model.count; i++) {
            struct nx_str value = labels_get(f.model.series[i].labels, names[n]);
            if (value.len > 0)
                expected[expected_count++] = value;
        }
        qsort(expected, expected_count, sizeof(*expected), text_compare);
        for (size_t i = 0; i < expected_count; i++)
            if (unique == 0 || !nx_str_eq(expected[unique - 1], expected[i]))
                expected[unique++] = expected[i];
        assert_int_equal(block_label_values(f.block, names[n], &arena, &texts, &count, &err),
                         NX_OK);
        assert_int_equal(count, unique);
        for (size_t i = 0; i < count; i++)
            assert_true(nx_str_eq(texts[i], expected[i]));
    }
    arena_deinit(&arena);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_select_agrees_with_brute_force),
        cmocka_unit_test(test_block_select_of_few_series_and_many_values),
        cmocka_unit_test(test_block_select_stops_at_the_memory_limit),
        cmocka_unit_test(test_block_label_names_and_values_are_distinct_and_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
