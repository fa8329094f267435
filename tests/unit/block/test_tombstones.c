/* SPDX-License-Identifier: Apache-2.0 */
/* test_tombstones.c - entries join where that is exact, and mask what a slow twin says they mask. */
#include "narthex/base/mem.h"
#include "narthex/block/tombstones.h"

#include "tests/unit/block/block_support.h"

#define SERIES 12u
#define TIMES  40

/* ---- ranges ---- */

static void test_time_ranges(void **state)
{
    (void)state;
    const struct time_range ranges[] = {{INT64_MIN, -5}, {10, 10}, {20, 29}, {40, INT64_MAX}};
    static const struct {
        int64_t min_ms, max_ms;
        bool overlaps, covers;
    } rows[] = {
        {INT64_MIN, INT64_MAX, true, false},
        {INT64_MIN, -5, true, true},
        {INT64_MIN, -4, true, false},
        {-4, 9, false, false},
        {-4, 10, true, false},
        {10, 10, true, true},
        {11, 19, false, false},
        {19, 20, true, false},
        {20, 29, true, true},
        {21, 28, true, true},
        {29, 30, true, false},
        {30, 39, false, false},
        {39, INT64_MAX, true, false},
        {40, INT64_MAX, true, true},
        {INT64_MAX, INT64_MAX, true, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(time_ranges_overlap(ranges, 4, rows[i].min_ms, rows[i].max_ms),
                         rows[i].overlaps);
        assert_int_equal(time_ranges_cover(ranges, 4, rows[i].min_ms, rows[i].max_ms),
                         rows[i].covers);
    }
    int64_t times[] = {-6, -5, -4, 9, 10, 11, 19, 20, 25, 29, 30, 39, 40, 41};
    double values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    const int64_t left[] = {-4, 9, 11, 19, 30, 39};
    const double left_values[] = {2, 3, 5, 6, 10, 11};
    assert_int_equal(time_ranges_filter(ranges, 4, times, values, 14), 6);
    assert_memory_equal(times, left, sizeof(left));
    assert_memory_equal(values, left_values, sizeof(left_values));
    assert_int_equal(time_ranges_filter(ranges, 0, times, values, 6), 6);
    assert_int_equal(time_ranges_filter(ranges, 4, times, values, 0), 0);
}

/* ---- adding ---- */

struct addition {
    uint32_t ranks[4];
    size_t count;
    int64_t min_ms, max_ms;
};

static struct tombstones *add(struct tombstones *take_old, const struct addition *one)
{
    struct tombstones *made = NULL;
    struct nx_err err;
    assert_int_equal(tombstones_add(take_old, SERIES, one->ranks, one->count, one->min_ms,
                                    one->max_ms, &made, &err),
                     NX_OK);
    tombstones_unref(take_old);
    return made;
}

static void test_tombstones_join_where_that_is_exact(void **state)
{
    (void)state;
    static const struct {
        struct addition additions[3];
        size_t count, entries;
    } rows[] = {
        {{{{1, 2}, 2, 0, 9}}, 1, 1},
        {{{{1, 2}, 2, 0, 9}, {{1, 2}, 2, 0, 9}}, 2, 1},   /* the same */
        {{{{1, 2}, 2, 0, 9}, {{3}, 1, 0, 9}}, 2, 1},      /* the same range */
        {{{{1, 2}, 2, 0, 9}, {{2}, 1, 3, 5}}, 2, 1},      /* inside */
        {{{{2}, 1, 3, 5}, {{1, 2}, 2, 0, 9}}, 2, 1},      /* around */
        {{{{1, 2}, 2, 0, 9}, {{1, 2}, 2, 10, 15}}, 2, 1}, /* the same set, touching */
        {{{{1, 2}, 2, 0, 9}, {{1, 2}, 2, 11, 15}}, 2, 2}, /* a gap */
        {{{{1, 2}, 2, 0, 9}, {{1, 3}, 2, 5, 15}}, 2, 2},  /* other series */
        {{{{1}, 1, 0, 4}, {{1}, 1, 6, 9}, {{1}, 1, 5, 5}}, 3, 1},
        {{{{1}, 1, INT64_MIN, 0}, {{1}, 1, 1, INT64_MAX}}, 2, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct tombstones *all = NULL;
        for (size_t j = 0; j < rows[i].count; j++)
            all = add(all, &rows[i].additions[j]);
        if (tombstones_count(all) != rows[i].entries)
            fail_msg("row %zu: %zu entries", i, tombstones_count(all));
        tombstones_unref(all);
    }
}

static void test_tombstones_are_limited(void **state)
{
    (void)state;
    struct tombstones *all = NULL, *more = NULL;
    struct nx_err err;
    for (unsigned i = 0; i < TOMBSTONES_MAX; i++) {
        const struct addition one = {{i % SERIES}, 1, i * 10, i * 10 + 3};
        all = add(all, &one);
    }
    const uint32_t rank = 1;
    assert_int_equal(tombstones_count(all), TOMBSTONES_MAX);
    assert_int_equal(tombstones_add(all, SERIES, &rank, 1, -9, -5, &more, &err), NX_E_LIMIT);
    assert_null(more);
    tombstones_unref(all);
}

/* ---- against a table of flags ---- */

static void assert_is(const struct tombstones *all, bool deleted[SERIES][TIMES])
{
    struct nx_buf ranges = {0}, ranks = {0};
    size_t named = 0;
    for (uint32_t rank = 0; rank < SERIES; rank++) {
        bool has_any = false;
        nx_buf_reset(&ranges);
        if (tombstones_has(all, rank))
            tombstones_ranges(all, rank, &ranges);
        const struct time_range *list = (const struct time_range *)(const void *)ranges.data;
        size_t count = ranges.len / sizeof(*list);
        for (size_t i = 1; i < count; i++)
            assert_true(list[i].min_ms > list[i - 1].max_ms + 1);
        for (int64_t t = 0; t < TIMES; t++) {
            assert_int_equal(time_ranges_cover(list, count, t, t), deleted[rank][t]);
            has_any |= deleted[rank][t];
        }
        assert_int_equal(tombstones_has(all, rank), has_any);
        named += has_any;
    }
    if (all != NULL)
        tombstones_ranks(all, &ranks);
    assert_int_equal(ranks.len / sizeof(uint32_t), named);
    nx_buf_deinit(&ranges);
    nx_buf_deinit(&ranks);
}

static struct tombstones *repack(struct tombstones *take_all)
{
    struct tombstones *again = NULL;
    struct nx_err err;
    const struct nx_bytes packed = tombstones_packed(take_all);
    assert_int_equal(tombstones_unpack(packed, SERIES, &again, &err), NX_OK);
    assert_int_equal(tombstones_packed(again).len, packed.len);
    assert_memory_equal(tombstones_packed(again).data, packed.data, packed.len);
    assert_int_equal(tombstones_count(again), tombstones_count(take_all));
    assert_int_equal(tombstones_is_settled(again), tombstones_is_settled(take_all));
    tombstones_unref(take_all);
    return again;
}

static void test_tombstones_mask_what_was_added(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rand_state rand;
        struct tombstones *all = NULL;
        bool deleted[SERIES][TIMES] = {{false}};
        rand_seed(&rand, seed);
        for (unsigned step = 0; step < 12; step++) {
            struct addition one = {.count = 1 + (size_t)rand_below(&rand, 3)};
            one.min_ms = (int64_t)rand_below(&rand, TIMES);
            one.max_ms =
                one.min_ms + (int64_t)rand_below(&rand, rand_below(&rand, 3) == 0 ? 30 : 5);
            one.ranks[0] = (uint32_t)rand_below(&rand, SERIES - 3);
            for (size_t i = 0; i < one.count; i++) {
                one.ranks[i] = one.ranks[0] + (uint32_t)i;
                for (int64_t t = one.min_ms; t <= one.max_ms && t < TIMES; t++)
                    deleted[one.ranks[i]][t] = true;
            }
            all = add(all, &one);
            assert_is(all, deleted);
            all = repack(all);
            assert_is(all, deleted);
        }
        struct tombstones *settled = tombstones_settled(all);
        assert_true(tombstones_is_settled(settled) && !tombstones_is_settled(all));
        assert_is(settled, deleted);
        tombstones_unref(repack(settled));
        tombstones_unref(all);
    }
}

static void test_tombstones_know_when_all_is_gone(void **state)
{
    (void)state;
    uint32_t ranks[SERIES];
    struct nx_err err;
    struct tombstones *most = NULL, *all = NULL;
    for (uint32_t i = 0; i < SERIES; i++)
        ranks[i] = i;
    assert_false(tombstones_cover_all(NULL, 0, 9));
    assert_int_equal(tombstones_add(NULL, SERIES, ranks, SERIES - 1, 0, 9, &most, &err), NX_OK);
    assert_false(tombstones_cover_all(most, 0, 9));
    assert_int_equal(tombstones_add(most, SERIES, ranks + SERIES - 1, 1, 0, 9, &all, &err), NX_OK);
    assert_true(tombstones_cover_all(all, 0, 9));
    assert_true(tombstones_cover_all(all, 3, 4));
    assert_false(tombstones_cover_all(all, 0, 10));
    tombstones_unref(most);
    tombstones_unref(all);
}

/* Every prefix, and every bit: refused, or understood as something of the right bounds. */
static void test_tombstones_survive_damage(void **state)
{
    (void)state;
    const struct addition first = {{1, 5, 7}, 3, -100, 100}, second = {{2}, 1, 500, 900};
    struct tombstones *all = add(add(NULL, &first), &second);
    const struct nx_bytes packed = tombstones_packed(all);
    uint8_t *copy = nx_alloc(packed.len);
    for (size_t length = 0; length < packed.len; length++) {
        struct tombstones *got = NULL;
        struct nx_err err;
        memcpy(copy, packed.data, packed.len);
        assert_int_equal(tombstones_unpack((struct nx_bytes){copy, length}, SERIES, &got, &err),
                         NX_E_CORRUPT);
    }
    for (size_t bit = 0; bit < packed.len * 8; bit++) {
        struct tombstones *got = NULL;
        struct nx_err err;
        memcpy(copy, packed.data, packed.len);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        if (tombstones_unpack((struct nx_bytes){copy, packed.len}, SERIES, &got, &err) != NX_OK)
            continue;
        struct nx_buf ranks = {0};
        tombstones_ranks(got, &ranks);
        const uint32_t *list = (const uint32_t *)(const void *)ranks.data;
        for (size_t i = 0; i < ranks.len / sizeof(*list); i++)
            assert_true(list[i] < SERIES);
        nx_buf_deinit(&ranks);
        tombstones_unref(got);
    }
    nx_free(copy);
    tombstones_unref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_ranges),
        cmocka_unit_test(test_tombstones_join_where_that_is_exact),
        cmocka_unit_test(test_tombstones_are_limited),
        cmocka_unit_test(test_tombstones_mask_what_was_added),
        cmocka_unit_test(test_tombstones_know_when_all_is_gone),
        cmocka_unit_test(test_tombstones_survive_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
