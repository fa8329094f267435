/* SPDX-License-Identifier: Apache-2.0 */
/* test_eval.c - the evaluation as a whole: results' shapes, limits, cancellation, names as the server drops them. */
#include "narthex/base/buf.h"

#include "eval_support.h"

#include <string.h>

#define ASSERT_INSTANT(world, expr, at_s, text)                                                    \
 do {                                                                                              \
  nx_ignore(world_instant((world), (expr), (at_s)));                                               \
  assert_string_equal(world_text(world), (text));                                                  \
 } while (0)

#define ASSERT_RANGE(world, expr, start_s, end_s, step_s, text)                                    \
 do {                                                                                              \
  nx_ignore(world_range((world), (expr), (start_s), (end_s), (step_s)));                           \
  assert_string_equal(world_text(world), (text));                                                  \
 } while (0)

static void test_each_type_of_result_has_its_shape(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m{x=\"1\"} 1 2 3\nm{x=\"2\"} 4 5 6");
    ASSERT_INSTANT(&world, "m", 60, "m{x=\"1\"} 2@60; m{x=\"2\"} 5@60");
    assert_int_equal(world.value.type, VALUE_TYPE_VECTOR);
    ASSERT_INSTANT(&world, "1 + 2", 60, "3");
    assert_int_equal(world.value.type, VALUE_TYPE_SCALAR);
    assert_int_equal(world.value.time_ms, 60000);
    ASSERT_INSTANT(&world, "('a\\tb')", 60, "a\tb");
    assert_int_equal(world.value.type, VALUE_TYPE_STRING);
    ASSERT_INSTANT(&world, "m{x=\"1\"}[2m]", 60, "m{x=\"1\"} 1@0 2@60");
    assert_int_equal(world.value.type, VALUE_TYPE_MATRIX);
    ASSERT_RANGE(&world, "m", 0, 120, 120, "m{x=\"1\"} 1@0 3@120; m{x=\"2\"} 4@0 6@120");
    assert_int_equal(world.value.type, VALUE_TYPE_MATRIX);
    ASSERT_RANGE(&world, "7", 0, 60, 30, "{} 7@0 7@30 7@60");
    assert_int_equal(world.value.type, VALUE_TYPE_MATRIX);
    ASSERT_RANGE(&world, "nothing", 0, 60, 30, "");
    world_deinit(&world);
}

static void test_a_range_query_of_another_type_is_refused(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m 1 2 3");
    assert_int_equal(world_range(&world, "m[5m]", 0, 60, 30), NX_E_INVALID);
    assert_string_equal(world.err.msg, "invalid expression type \"range vector\" for range query, "
                                       "must be Scalar or instant Vector");
    assert_int_equal(world_range(&world, "\"text\"", 0, 60, 30), NX_E_INVALID);
    world_deinit(&world);
}

static void test_steps_end_at_the_last_one_that_fits(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m 1x10");
    ASSERT_RANGE(&world, "m", 0, 100, 30, "m 1@0 1@30 1@60 1@90");
    ASSERT_RANGE(&world, "m", 60, 60, 30, "m 1@60");
    ASSERT_RANGE(&world, "m", 60, 30, 30, "");
    ASSERT_RANGE(&world, "m", -60, 0, 60, "m 1@0");
    world_deinit(&world);
}

/* Columns have 64 steps a word: around that border nothing may be lost. */
static void test_any_number_of_steps_comes_out_whole(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m{x=\"1\"} 1x200\nm{x=\"2\"} 3x200");
    for (int64_t last = 60; last <= 132; last++) {
        assert_int_equal(world_range(&world, "sum(m) + count(rate(m[5m]))", 60, last * 60, 60),
                         NX_OK);
        assert_int_equal(world.value.series_count, 1);
        assert_int_equal(world.value.series[0].count, last);
        for (size_t i = 0; i < world.value.series[0].count; i++)
            assert_true(world.value.series[0].values[i] == 6);
    }
    world_deinit(&world);
}

static void test_names_go_at_once_in_the_server(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "one{x=\"1\"} 1 stale\n"
                       "two{x=\"1\"} _ 2\n"
                       "three{A=\"0\", x=\"1\"} 3 3\n"
                       "typed{__type__=\"counter\", x=\"1\"} 4 4\n"
                       "typed{__type__=\"gauge\", x=\"1\"} _ 5\n"
                       "bare 9 9");
    ASSERT_INSTANT(&world, "-one", 0, "{x=\"1\"} -1@0");
    ASSERT_INSTANT(&world, "-three", 0, "{A=\"0\", x=\"1\"} -3@0");
    ASSERT_INSTANT(&world, "-bare", 0, "{} -9@0");
    ASSERT_INSTANT(&world, "sum by (__name__) (abs(one))", 0, "{} 1@0");
    ASSERT_INSTANT(&world, "label_replace(abs(one), \"was\", \"$1\", \"__name__\", \"(.*)\")", 0,
                   "{x=\"1\"} 1@0");
    /* Series that are never there at once are joined, others clash. */
    ASSERT_RANGE(&world, "-{__name__=~\"one|two\"}", 0, 60, 60, "{x=\"1\"} -1@0 -2@60");
    ASSERT_RANGE(&world, "-{x=\"1\", __name__=~\"one|three\"}", 0, 60, 60,
                 "{A=\"0\", x=\"1\"} -3@0 -3@60; {x=\"1\"} -1@0");
    ASSERT_INSTANT(&world, "-typed", 0, "{x=\"1\"} -4@0");
    ASSERT_INSTANT(&world, "-typed", 60, "vector cannot contain metrics with the same labelset");
    assert_int_equal(world.code, NX_E_EXECUTION);
    ASSERT_INSTANT(&world, "abs({__name__=~\"one|typed\"})", 0,
                   "vector cannot contain metrics with the same labelset");
    /* A function of a range does not join. */
    ASSERT_RANGE(&world, "count_over_time({__name__=~\"one|two\"}[1m])", 0, 60, 60,
                 "vector cannot contain metrics with the same labelset");
    ASSERT_INSTANT(&world, "sum(count_over_time({__name__=~\"one|two\"}[1m]))", 0, "{} 1@0");
    world_deinit(&world);
}

static void test_results_of_matching_lose_their_names(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "a{x=\"1\"} 6\nb{x=\"1\"} 3");
    ASSERT_INSTANT(&world, "a / b", 0, "{x=\"1\"} 2@0");
    ASSERT_INSTANT(&world, "a > b", 0, "a{x=\"1\"} 6@0");
    ASSERT_INSTANT(&world, "a > bool b", 0, "{x=\"1\"} 1@0");
    ASSERT_INSTANT(&world, "a > on (x) b", 0, "{x=\"1\"} 6@0");
    ASSERT_INSTANT(&world, "a * on (x) group_left (__name__) b", 0, "b{x=\"1\"} 18@0");
    ASSERT_INSTANT(&world, "-(a * on (x) group_left (__name__) b)", 0, "{x=\"1\"} -18@0");
    ASSERT_INSTANT(&world, "a and b", 0, "a{x=\"1\"} 6@0");
    ASSERT_INSTANT(&world, "last_over_time(a[1m])", 0, "a{x=\"1\"} 6@0");
    ASSERT_INSTANT(&world, "topk(1, a)", 0, "a{x=\"1\"} 6@0");
    world_deinit(&world);
}

static void test_samples_are_limited(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m{x=\"1\"} 1x100\nm{x=\"2\"} 1x100\nm{x=\"3\"} 1x100");
    world.options.samples_max = 150;
    assert_int_equal(world_range(&world, "m", 0, 3000, 60), NX_E_LIMIT);
    assert_string_equal(world.err.msg, "query processing would load too many samples into memory "
                                       "in query execution");
    assert_int_equal(world_range(&world, "m * on (x) m", 0, 3000, 60), NX_E_LIMIT);
    assert_int_equal(world_range(&world, "sort(m) or m", 0, 3000, 60), NX_E_LIMIT);
    assert_int_equal(world_range(&world, "quantile(0.5, m)", 0, 3000, 60), NX_E_LIMIT);
    assert_int_equal(world_range(&world, "1", 0, 3000, 1), NX_E_LIMIT);
    assert_int_equal(world_instant(&world, "sum_over_time(vector(1)[1d:1s])", 0), NX_E_LIMIT);
    /* A fold holds its groups only: that is what streaming is for. */
    assert_int_equal(world_range(&world, "sum(m)", 0, 1200, 60), NX_OK);
    assert_true(world.stats.samples_peak <= 150);
    world_deinit(&world);
}

static void test_memory_is_limited(void **state)
{
    (void)state;
    static const char *const expressions[] = {
        "m",
        "m + on (x) m",
        "m or m",
        "m and m",
        "topk(3, m)",
        "quantile(0.5, m)",
        "count_values(\"v\", m)",
        "sum by (x) (m)",
        "sort(m)",
        "label_replace(m, \"y\", \"$1\", \"x\", \"(.*)\")",
        "histogram_quantile(0.5, m)",
        "max_over_time(m[5m:10s])",
        "abs({x=~\".+\"})",
        "scalar(m) + time()", /* fits into little */
        "absent(m)",
    };
    const size_t little = 2;
    struct nx_buf series = {0};
    for (int i = 0; i < 50; i++)
        nx_buf_printf(&series, "%sm{x=\"%d\", le=\"%d\"} %dx60", i > 0 ? "\n" : "", i, i, i);
    nx_buf_append_byte(&series, '\0');
    struct eval_world world;
    world_init(&world, (const char *)series.data);
    /* Every budget: each allocation is the one that fails at some time, and nothing leaks or breaks. */
    for (size_t e = 0; e < sizeof(expressions) / sizeof(expressions[0]); e++) {
        bool has_failed = false;
        for (size_t budget = 16384; budget < (1 << 20); budget += 4096) {
            world.arena_budget = budget;
            nx_code code = world_range(&world, expressions[e], 0, 3600, 10);
            has_failed |= code == NX_E_LIMIT;
            assert_true(code == NX_OK || code == NX_E_LIMIT);
        }
        assert_true(has_failed || e + little >= sizeof(expressions) / sizeof(expressions[0]));
    }
    world_deinit(&world);
    nx_buf_deinit(&series);
}

static void test_a_cancelled_query_ends(void **state)
{
    (void)state;
    struct eval_world world;
    _Atomic bool is_cancelled = true;
    world_init(&world, "m 1x100");
    world.options.is_cancelled = &is_cancelled;
    assert_int_equal(world_instant(&world, "rate(m[5m])", 600), NX_E_CANCELLED);
    assert_string_equal(world.err.msg, "query was canceled in query execution");
    assert_int_equal(world_instant(&world, "m", 600), NX_E_CANCELLED);
    is_cancelled = false;
    assert_int_equal(world_instant(&world, "rate(m[5m])", 600), NX_OK);
    world_deinit(&world);
}

static void test_a_late_query_ends(void **state)
{
    (void)state;
    struct eval_world world;
    struct clock_manual clock;
    world_init(&world, "m 1x100");
    clock_manual_init(&clock, 0);
    clock_manual_advance(&clock, 1000);
    world.options.clock = &clock.clock;
    world.options.deadline_ns = 1;
    assert_int_equal(world_instant(&world, "rate(m[5m])", 600), NX_E_TIMEOUT);
    assert_string_equal(world.err.msg, "query timed out in query execution");
    world.options.deadline_ns = UINT64_MAX;
    assert_int_equal(world_instant(&world, "rate(m[5m])", 600), NX_OK);
    world_deinit(&world);
}

static void test_what_is_not_there_yet_is_named(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m 1x10");
    assert_int_equal(world_instant(&world, "info(m)", 0), NX_E_UNSUPPORTED);
    assert_string_equal(world.err.msg, "the function info() is not supported yet");
    assert_int_equal(world_instant(&world, "start_timestamp(m)", 0), NX_E_UNSUPPORTED);
    world_deinit(&world);
}

static void test_long_chains_are_evaluated_and_deep_trees_refused(void **state)
{
    (void)state;
    struct eval_world world;
    struct nx_buf text = {0};
    world_init(&world, "m 1");
    nx_buf_append_cstr(&text, "1");
    for (int i = 0; i < 10000; i++)
        nx_buf_append_cstr(&text, "+1");
    nx_buf_append_byte(&text, '\0');
    ASSERT_INSTANT(&world, (const char *)text.data, 0, "10001");
    nx_buf_reset(&text);
    nx_buf_append_cstr(&text, "m");
    for (int i = 0; i < 700; i++)
        nx_buf_append_cstr(&text, "+m");
    nx_buf_append_byte(&text, '\0');
    ASSERT_INSTANT(&world, (const char *)text.data, 0, "{} 701@0");
    ASSERT_RANGE(&world, (const char *)text.data, 0, 60, 60, "{} 701@0 701@60");
    nx_buf_reset(&text);
    nx_buf_append_cstr(&text, "m");
    for (int i = 0; i < 9000; i++)
        nx_buf_append_cstr(&text, "+m");
    nx_buf_append_byte(&text, '\0');
    assert_int_equal(world_instant(&world, (const char *)text.data, 0), NX_E_LIMIT);
    nx_buf_deinit(&text);
    world_deinit(&world);
}

static void test_extreme_times_are_harmless(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m 1x10");
    memory_source_add(world.source, (struct labels){0}, INT64_MIN, 1);
    memory_source_add(world.source, (struct labels){0}, INT64_MAX, 2);
    static const char *const expressions[] = {
        "rate(m[100y])",
        "m offset 100y",
        "m offset -100y",
        "m @ 9e15",
        "m @ -9e15",
        "{__name__=\"\"}",
        "timestamp(m)",
        "year()",
        "sum_over_time(m[100y:50y])",
        "deriv({__name__=\"\"}[290y])",
        "predict_linear(m[290y] @ -9e15, 1)",
    };
    const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX - 1, INT64_MAX};
    for (size_t e = 0; e < sizeof(expressions) / sizeof(expressions[0]); e++) {
        for (size_t t = 0; t < sizeof(times) / sizeof(times[0]); t++) {
            nx_ignore(world_instant(&world, expressions[e], 0)); /* sets the shape */
            world.options.start_ms = world.options.end_ms = times[t];
            nx_ignore(world_instant(&world, expressions[e], times[t] / 1000));
        }
    }
    world_deinit(&world);
}

static void test_statistics_count_samples(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "m{x=\"1\"} 1x10\nm{x=\"2\"} 1x10");
    assert_int_equal(world_range(&world, "m", 0, 300, 60), NX_OK);
    assert_int_equal(world.stats.samples_queryable, 12);
    assert_int_equal(world.stats.samples_read, 12);
    assert_int_equal(world_range(&world, "sum(count_over_time(m[2m]))", 60, 300, 60), NX_OK);
    assert_int_equal(world.stats.samples_queryable, 20);
    assert_int_equal(world.stats.samples_read, 12);
    assert_true(world.stats.samples_peak >= 5);
    world_deinit(&world);
}

static void test_a_long_message_is_kept_whole(void **state)
{
    (void)state;
    struct eval_world world;
    struct nx_buf series = {0};
    nx_buf_append_cstr(&series, "a{j=\"1\"} 1");
    for (int i = 0; i < 2; i++)
        nx_buf_printf(&series, "\nb{j=\"1\", long=\"%d%0900d\"} 1", i, 0);
    nx_buf_append_byte(&series, '\0');
    world_init(&world, (const char *)series.data);
    assert_int_equal(world_instant(&world, "a * on (j) b", 0), NX_E_EXECUTION);
    assert_true(world.stats.failure.len > sizeof(world.err.msg));
    assert_memory_equal(world.stats.failure.data, world.err.msg, sizeof(world.err.msg) - 1);
    assert_true(nx_str_ends_with(world.stats.failure,
                                 NX_STR("];many-to-many matching not allowed: matching labels must "
                                        "be unique on one side")));
    world_deinit(&world);
    nx_buf_deinit(&series);
}

static void test_annotations_come_once_and_with_their_place(void **state)
{
    (void)state;
    struct eval_world world;
    world_init(&world, "gauge_a{x=\"1\"} 1x10\ngauge_a{x=\"2\"} 1x10\nc_total 1x10");
    assert_int_equal(
        world_range(&world, "sum(rate(gauge_a[5m]))\n+ sum(rate(c_total[5m]))", 0, 300, 60), NX_OK);
    assert_int_equal(world.annotations.count, 1);
    assert_int_equal(world.annotations.items[0].kind, ANNOTATION_INFO);
    struct nx_str text = world.annotations.items[0].text;
    assert_true(nx_str_eq(text, NX_STR("PromQL info: metric might not be a counter, name does not "
                                       "end in _total/_sum/_count/_bucket: \"gauge_a\" (1:10)")));
    assert_int_equal(world_range(&world, "1 +\n sum(rate(gauge_a[5m]))", 0, 300, 60), NX_OK);
    assert_int_equal(world.annotations.count, 1);
    assert_true(nx_str_ends_with(world.annotations.items[0].text, NX_STR(" (2:11)")));
    world_deinit(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_type_of_result_has_its_shape),
        cmocka_unit_test(test_a_range_query_of_another_type_is_refused),
        cmocka_unit_test(test_steps_end_at_the_last_one_that_fits),
        cmocka_unit_test(test_any_number_of_steps_comes_out_whole),
        cmocka_unit_test(test_names_go_at_once_in_the_server),
        cmocka_unit_test(test_results_of_matching_lose_their_names),
        cmocka_unit_test(test_samples_are_limited),
        cmocka_unit_test(test_memory_is_limited),
        cmocka_unit_test(test_a_cancelled_query_ends),
        cmocka_unit_test(test_a_late_query_ends),
        cmocka_unit_test(test_what_is_not_there_yet_is_named),
        cmocka_unit_test(test_long_chains_are_evaluated_and_deep_trees_refused),
        cmocka_unit_test(test_extreme_times_are_harmless),
        cmocka_unit_test(test_statistics_count_samples),
        cmocka_unit_test(test_a_long_message_is_kept_whole),
        cmocka_unit_test(test_annotations_come_once_and_with_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
