/* SPDX-License-Identifier: Apache-2.0 */
/* test_func_rate.c - functions of counters against slow, obvious twins that walk every window: equal bits, on random
 * series with resets, gaps, NaN and stale markers.
 */
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include "eval_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLES_MAX 300
#define ROUNDS      400

struct twin_series {
    int64_t times_ms[SAMPLES_MAX];
    double values[SAMPLES_MAX];
    size_t count;
};

struct twin_window {
    const int64_t *times_ms;
    const double *values;
    size_t count;
    int64_t start_ms;
    int64_t end_ms;
};

static uint64_t random_state;

static uint64_t random_next(uint64_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % below;
}

/* A counter that resets, jumps, and has odd values; regular or not. */
static void make_series(struct eval_world *world, struct twin_series *series)
{
    static const struct label name = {{"__name__", 8}, {"m_total", 7}};
    struct labels labels = {.items = &name, .count = 1};
    bool is_regular = random_next(2) == 0;
    uint64_t oddity = random_next(4);
    int64_t time_ms = (int64_t)random_next(100000);
    double value = (double)random_next(1000) / 7;
    memory_source_clear(world->source);
    series->count = 0;
    size_t count = random_next(SAMPLES_MAX);
    for (size_t i = 0; i < count; i++) {
        time_ms += is_regular ? 15000 : 1 + (int64_t)random_next(60000);
        value += (double)random_next(1000) / 3;
        if (random_next(20) == 0)
            value = (double)random_next(50) - (oddity == 3 ? 25 : 0);
        double kept = value;
        if (oddity == 1 && random_next(15) == 0)
            kept = NAN;
        if (oddity == 2 && random_next(15) == 0)
            kept = float_from_bits(STALE_NAN_BITS);
        memory_source_add(world->source, labels, time_ms, kept);
        if (is_stale_nan(kept))
            continue;
        series->times_ms[series->count] = time_ms;
        series->values[series->count++] = kept;
    }
}

static bool extrapolated(const struct twin_window *window, double range_seconds, bool is_counter,
                         bool is_rate, double *out)
{
    size_t n = window->count;
    if (n < 2)
        return false;
    double result = window->values[n - 1] - window->values[0];
    for (size_t i = 1; is_counter && i < n; i++)
        if (window->values[i] < window->values[i - 1])
            result += window->values[i - 1];
    double to_start = (double)(window->times_ms[0] - window->start_ms) / 1000;
    double to_end = (double)(window->end_ms - window->times_ms[n - 1]) / 1000;
    double sampled = (double)(window->times_ms[n - 1] - window->times_ms[0]) / 1000;
    double average = sampled / (double)(n - 1);
    double threshold = average * 1.1;
    if (to_start >= threshold)
        to_start = average / 2;
    if (is_counter && result > 0 && window->values[0] >= 0) {
        double to_zero = sampled * (window->values[0] / result);
        if (to_zero < to_start)
            to_start = to_zero;
    }
    if (to_end >= threshold)
        to_end = average / 2;
    double factor = (sampled + to_start + to_end) / sampled;
    if (is_rate)
        factor /= range_seconds;
    *out = result * factor;
    return true;
}

static bool twin_rate(const struct twin_window *window, double range_seconds, double *out)
{
    return extrapolated(window, range_seconds, true, true, out);
}

static bool twin_increase(const struct twin_window *window, double range_seconds, double *out)
{
    return extrapolated(window, range_seconds, true, false, out);
}

static bool twin_delta(const struct twin_window *window, double range_seconds, double *out)
{
    return extrapolated(window, range_seconds, false, false, out);
}

static bool twin_irate(const struct twin_window *window, double range_seconds, double *out)
{
    (void)range_seconds;
    size_t n = window->count;
    if (n < 2)
        return false;
    double last = window->values[n - 1];
    double change = last < window->values[n - 2] ? last : last - window->values[n - 2];
    *out = change / ((double)(window->times_ms[n - 1] - window->times_ms[n - 2]) / 1000);
    return true;
}

static bool twin_resets(const struct twin_window *window, double range_seconds, double *out)
{
    (void)range_seconds;
    *out = 0;
    for (size_t i = 1; i < window->count; i++)
        *out += window->values[i] < window->values[i - 1];
    return window->count > 0;
}

static bool twin_changes(const struct twin_window *window, double range_seconds, double *out)
{
    (void)range_seconds;
    *out = 0;
    for (size_t i = 1; i < window->count; i++) {
        double a = window->values[i - 1];
        double b = window->values[i];
        *out += a != b && !(isnan(a) && isnan(b));
    }
    return window->count > 0;
}

typedef bool (*twin_fn)(const struct twin_window *window, double range_seconds, double *out);

static const struct twin {
    const char *function;
    twin_fn compute;
} twins[] = {
    {"rate", twin_rate},   {"increase", twin_increase}, {"delta", twin_delta},
    {"irate", twin_irate}, {"resets", twin_resets},     {"changes", twin_changes},
};

static void compare_with_twin(struct eval_world *world, const struct twin_series *series,
                              const struct twin *twin)
{
    char expr[100];
    int64_t range_ms = 1000 + (int64_t)random_next(600000);
    int64_t step_s = 1 + (int64_t)random_next(120);
    int64_t start_s = (int64_t)random_next(2000);
    int64_t end_s = start_s + (int64_t)random_next(3000);
    snprintf(expr, sizeof(expr), "%s(m_total[%lldms])", twin->function, (long long)range_ms);
    assert_int_equal(world_range(world, expr, start_s, end_s, step_s), NX_OK);
    const struct value_series *result =
        world->value.series_count == 0 ? NULL : &world->value.series[0];
    double range_seconds = (double)(range_ms / 1000) + (double)(range_ms % 1000 * 1000000) / 1e9;
    size_t at = 0;
    for (int64_t t = start_s * 1000; t <= end_s * 1000; t += step_s * 1000) {
        struct twin_window window = {.start_ms = t - range_ms, .end_ms = t};
        size_t low = 0;
        while (low < series->count && series->times_ms[low] <= window.start_ms)
            low++;
        size_t high = low;
        while (high < series->count && series->times_ms[high] <= t)
            high++;
        window.times_ms = series->times_ms + low;
        window.values = series->values + low;
        window.count = high - low;
        double expected;
        if (!twin->compute(&window, range_seconds, &expected))
            continue;
        assert_non_null(result);
        assert_true(at < result->count);
        assert_int_equal(result->times_ms[at], t);
        if (!isnan(expected) || !isnan(result->values[at]))
            assert_int_equal(float_bits(expected), float_bits(result->values[at]));
        at++;
    }
    assert_true(result == NULL || at == result->count);
}

static void test_counters_agree_with_their_slow_twins_to_the_last_bit(void **state)
{
    (void)state;
    const char *seed = getenv("NARTHEX_TEST_SEED");
    random_state = seed == NULL ? 20240607 : strtoull(seed, NULL, 10);
    print_message("NARTHEX_TEST_SEED=%llu\n", (unsigned long long)random_state);
    struct eval_world world;
    struct twin_series *series = nx_calloc(1, sizeof(*series));
    world_init(&world, "m_total 1");
    for (int round = 0; round < ROUNDS; round++) {
        make_series(&world, series);
        for (size_t i = 0; i < sizeof(twins) / sizeof(twins[0]); i++)
            compare_with_twin(&world, series, &twins[i]);
    }
    world_deinit(&world);
    nx_free(series);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_agree_with_their_slow_twins_to_the_last_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
