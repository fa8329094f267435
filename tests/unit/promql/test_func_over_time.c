/* SPDX-License-Identifier: Apache-2.0 */
/* test_func_over_time.c - extremes that slide against a walk of every window, and the exact bits of sums. */
#include "narthex/model/staleness.h"

#include "eval_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES 200
#define ROUNDS  300

static uint64_t random_state;

static uint64_t random_next(uint64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % below;
}

static double random_value(void)
{
    switch (random_next(12)) {
    case 0:
        return NAN;
    case 1:
        return 0.0;
    case 2:
        return -0.0;
    case 3:
        return INFINITY;
    case 4:
        return -INFINITY;
    default:
        return (double)random_next(7) - 3;
    }
}

/* The first extreme of a window; NaN only when there is nothing else. */
static double slow_extreme(const double *values, size_t low, size_t high, bool is_max)
{
    double best = values[low];
    for (size_t i = low + 1; i < high; i++)
        if (isnan(best) || (is_max ? values[i] > best : values[i] < best))
            best = values[i];
    return best;
}

static void test_extremes_agree_with_a_walk_of_every_window(void **state)
{
    (void)state;
    const char *seed = getenv("NARTHEX_TEST_SEED");
    random_state = seed == NULL ? 7 : strtoull(seed, NULL, 10);
    print_message("NARTHEX_TEST_SEED=%llu\n", (unsigned long long)random_state);
    static const struct label name = {{"__name__", 8}, {"m", 1}};
    struct labels labels = {.items = &name, .count = 1};
    struct eval_world world;
    double values[SAMPLES];
    world_init(&world, "m 1");
    for (int round = 0; round < ROUNDS; round++) {
        memory_source_clear(world.source);
        for (size_t i = 0; i < SAMPLES; i++) {
            values[i] = random_value();
            memory_source_add(world.source, labels, (int64_t)i * 10000, values[i]);
        }
        bool is_max = random_next(2) == 0;
        int64_t range_s = 10 * (1 + (int64_t)random_next(30));
        int64_t step_s = 10 * (1 + (int64_t)random_next(8));
        char expr[60];
        snprintf(expr, sizeof(expr), "%s_over_time(m[%llds])", is_max ? "max" : "min",
                 (long long)range_s);
        assert_int_equal(world_range(&world, expr, 0, 10 * (SAMPLES - 1), step_s), NX_OK);
        assert_int_equal(world.value.series_count, 1);
        const struct value_series *result = &world.value.series[0];
        for (size_t p = 0; p < result->count; p++) {
            size_t high = (size_t)(result->times_ms[p] / 10000) + 1;
            size_t width = (size_t)(range_s / 10);
            size_t low = high > width ? high - width : 0;
            double expected = slow_extreme(values, low, high, is_max);
            if (!isnan(expected) || !isnan(result->values[p]))
                assert_int_equal(float_bits(expected), float_bits(result->values[p]));
        }
    }
    world_deinit(&world);
}

static double only_value(struct eval_world *world, const char *expr, int64_t at_s)
{
    if (world_instant(world, expr, at_s) != NX_OK)
        fail_msg("%s: %s", expr, world->err.msg);
    assert_int_equal(world->value.series_count, 1);
    return world->value.series[0].values[0];
}

/* Ten tenths: a plain sum is 0.9999999999999999, a compensated one 1. */
static void test_sums_are_compensated(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m 0.1x9\ns{i=\"0\"} 0.1\ns{i=\"1\"} 0.1\ns{i=\"2\"} 0.1\ns{i=\"3\"} 0.1\n"
                       "s{i=\"4\"} 0.1\ns{i=\"5\"} 0.1\ns{i=\"6\"} 0.1\ns{i=\"7\"} 0.1\n"
                       "s{i=\"8\"} 0.1\ns{i=\"9\"} 0.1");
    assert_true(only_value(&world, "sum_over_time(m[10m])", 540) == 1.0);
    assert_true(only_value(&world, "avg_over_time(m[10m])", 540) == 0.1);
    assert_true(only_value(&world, "sum(s)", 0) == 1.0);
    assert_true(only_value(&world, "avg(s)", 0) == 0.1);
    world_deinit(&world);
}

/* 64 steps at once take another path than single ones: same bits. */
static void test_a_sum_does_not_depend_on_how_many_steps_there_are(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "s{i=\"0\"} 0.1+0.3x199\ns{i=\"1\"} 1e15-7x199\ns{i=\"2\"} 0.7+0.01x199\n"
                       "s{i=\"3\"} -1e15+3x199\ns{i=\"4\"} 1e-9x199");
    assert_int_equal(world_range(&world, "sum(s)", 0, 199 * 60, 60), NX_OK);
    assert_int_equal(world.value.series[0].count, 200);
    double sums[200];
    for (size_t i = 0; i < 200; i++)
        sums[i] = world.value.series[0].values[i];
    for (int64_t i = 0; i < 200; i++)
        assert_int_equal(float_bits(only_value(&world, "sum(s)", i * 60)), float_bits(sums[i]));
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extremes_agree_with_a_walk_of_every_window),
        cmocka_unit_test(test_sums_are_compensated),
        cmocka_unit_test(test_a_sum_does_not_depend_on_how_many_steps_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
