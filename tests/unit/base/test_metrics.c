/* SPDX-License-Identifier: Apache-2.0 */
/* test_metrics.c - counting and the text of a scrape. */
#include "narthex/base/float_text.h"
#include "narthex/base/metrics.h"
#include "narthex/base/thread.h"

#include "base_support.h"

#include <math.h>
#include <string.h>

/* The value behind `series ` at the start of a line, NaN when there is none. */
static double sample(struct nx_str text, const char *series)
{
    struct nx_str line;
    struct nx_str rest = text;
    while (nx_str_split(rest, '\n', &line, &rest)) {
        size_t len = strlen(series);
        if (!nx_str_starts_with(line, nx_str_from(series)) || line.len <= len ||
            line.data[len] != ' ')
            continue;
        double value = 0;
        struct nx_str number = {.data = line.data + len + 1, .len = line.len - len - 1};
        assert_true(float_text_parse(number, &value));
        return value;
    }
    return (double)NAN;
}

static double scraped(const char *series)
{
    struct nx_buf out = {0};
    metrics_render(&out);
    double value = sample(nx_buf_str(&out), series);
    nx_buf_deinit(&out);
    return value;
}

static void test_metrics_counters_add_up_by_label(void **state)
{
    (void)state;
    uint64_t before = metrics_get(METRIC_HTTP_REQUESTS);
    metrics_add_at(METRIC_HTTP_REQUESTS, 0, 5);
    metrics_add_at(METRIC_HTTP_REQUESTS, 2, 7);
    assert_int_equal(metrics_get(METRIC_HTTP_REQUESTS) - before, 12);
    assert_true(scraped("narthex_http_requests_total{class=\"2xx\"}") == 5);
    assert_true(scraped("narthex_http_requests_total{class=\"3xx\"}") == 0);
    assert_true(scraped("narthex_http_requests_total{class=\"4xx\"}") == 7);
    metrics_add(METRIC_INGEST_SAMPLES, 1);
    metrics_add(METRIC_INGEST_SAMPLES, UINT64_C(1) << 40);
    assert_true(scraped("narthex_ingest_samples_total") == 1099511627777.0);
}

static void test_metrics_gauges_hold_the_last_value(void **state)
{
    (void)state;
    metrics_set(METRIC_HEAD_SERIES, 3);
    metrics_set(METRIC_HEAD_SERIES, 1.5);
    assert_true(scraped("narthex_head_series") == 1.5);
    metrics_set(METRIC_HEAD_SERIES, -INFINITY);
    assert_true(scraped("narthex_head_series") == -INFINITY);
}

static void test_metrics_histogram_buckets_are_cumulative(void **state)
{
    (void)state;
    metrics_observe(METRIC_FLUSH_SECONDS, 0.1); /* a bound belongs to its bucket */
    metrics_observe(METRIC_FLUSH_SECONDS, 0.2);
    metrics_observe(METRIC_FLUSH_SECONDS, 7);
    metrics_observe(METRIC_FLUSH_SECONDS, 1000);
    assert_true(scraped("narthex_flush_seconds_bucket{le=\"0.1\"}") == 1);
    assert_true(scraped("narthex_flush_seconds_bucket{le=\"0.25\"}") == 2);
    assert_true(scraped("narthex_flush_seconds_bucket{le=\"5\"}") == 2);
    assert_true(scraped("narthex_flush_seconds_bucket{le=\"10\"}") == 3);
    assert_true(scraped("narthex_flush_seconds_bucket{le=\"120\"}") == 3);
    assert_true(scraped("narthex_flush_seconds_bucket{le=\"+Inf\"}") == 4);
    assert_true(scraped("narthex_flush_seconds_count") == 4);
    assert_true(scraped("narthex_flush_seconds_sum") == 0.1 + 0.2 + 7 + 1000);
}

static void observe_many(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20000; i++) {
        metrics_observe(METRIC_QUERY_SECONDS, 0.5);
        metrics_add(METRIC_QUERY_SAMPLES, 2);
    }
}

static void test_metrics_threads_lose_nothing(void **state)
{
    (void)state;
    struct nx_thread threads[4] = {0};
    struct nx_err err = {0};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "metrics", observe_many, NULL, &err), NX_OK);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    assert_true(scraped("narthex_query_seconds_sum") == 40000);
    assert_true(scraped("narthex_query_seconds_count") == 80000);
    assert_int_equal(metrics_get(METRIC_QUERY_SAMPLES), 160000);
}

static void set_blocks(void *context)
{
    metrics_set(METRIC_BLOCKS, *(const double *)context);
}

static void test_metrics_collect_hooks_run_before_each_scrape(void **state)
{
    (void)state;
    double blocks = 4;
    metrics_on_collect(set_blocks, &blocks);
    assert_true(scraped("narthex_blocks") == 4);
    blocks = 5;
    assert_true(scraped("narthex_blocks") == 5);
    metrics_off_collect(set_blocks, &blocks);
    blocks = 6;
    assert_true(scraped("narthex_blocks") == 5);
    metrics_off_collect(set_blocks, &blocks);
}

static void test_metrics_process_and_build_are_told(void **state)
{
    (void)state;
    struct nx_buf out = {0};
    metrics_render(&out);
    struct nx_str text = nx_buf_str(&out);
    assert_true(sample(text, "process_resident_memory_bytes") > 1e6);
    assert_true(sample(text, "process_virtual_memory_bytes") > 1e6);
    assert_true(sample(text, "process_cpu_seconds_total") >= 0);
    assert_true(sample(text, "process_open_fds") >= 3);
    assert_true(sample(text, "process_max_fds") >= 3);
    assert_true(sample(text, "process_start_time_seconds") > 1.6e9);
    assert_true(nx_str_contains(text, NX_STR("\nnarthex_build_info{version=\"")));
    nx_buf_deinit(&out);
}

/* Every line is a comment of the two kinds or `name[{label="value"}] number`; HELP and TYPE come once per name. */
static void test_metrics_text_is_well_formed(void **state)
{
    (void)state;
    struct nx_buf out = {0};
    metrics_render(&out);
    assert_int_equal(out.data[out.len - 1], '\n');
    struct nx_str rest = nx_buf_str(&out);
    struct nx_str line;
    struct nx_str helped = {0};
    size_t types = 0;
    while (nx_str_split(rest, '\n', &line, &rest)) {
        struct nx_str word;
        struct nx_str behind;
        nx_str_split(line, ' ', &word, &behind);
        if (nx_str_eq(word, NX_STR("#"))) {
            struct nx_str kind;
            nx_str_split(behind, ' ', &kind, &behind);
            nx_str_split(behind, ' ', &word, &behind);
            if (nx_str_eq(kind, NX_STR("HELP"))) {
                helped = word;
                assert_true(behind.len > 0);
            } else {
                assert_true(nx_str_eq(kind, NX_STR("TYPE")));
                assert_true(nx_str_eq(word, helped));
                types++;
            }
            continue;
        }
        assert_true(nx_str_starts_with(word, helped));
        double value;
        assert_true(float_text_parse(behind, &value));
    }
    assert_int_equal(types, METRIC_COUNT + 7);
    nx_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_counters_add_up_by_label),
        cmocka_unit_test(test_metrics_gauges_hold_the_last_value),
        cmocka_unit_test(test_metrics_histogram_buckets_are_cumulative),
        cmocka_unit_test(test_metrics_threads_lose_nothing),
        cmocka_unit_test(test_metrics_collect_hooks_run_before_each_scrape),
        cmocka_unit_test(test_metrics_process_and_build_are_told),
        cmocka_unit_test(test_metrics_text_is_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
