/* SPDX-License-Identifier: Apache-2.0 */
/* bench_eval.c - what the evaluator costs over columns in memory, without storage.
 *
 *   bench_eval [series [samples [steps]]]            default 100000 480 120
 *
 * Series are counters of 15 s spacing with 12 labels each, a few of them with a reset; they share their times, as
 * scraped series do, and their values come from COLUMN_COUNT distinct columns. Prints one line an expression: CPU
 * seconds, nanoseconds a series, the memory that the query took.
 */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/promql/eval.h"
#include "narthex/promql/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define COLUMN_COUNT 1009
#define LABEL_COUNT  12
#define SPACING_MS   15000
#define GROUP_COUNT  50

struct bench_source {
    struct series_source source; /* first */
    size_t series_count;
    size_t sample_count;
    int64_t *times_ms;
    double *columns; /* COLUMN_COUNT of sample_count each */
    struct label *labels;
    char (*texts)[3][16];
};

struct bench_set {
    struct series_set set; /* first */
    const struct bench_source *source;
    size_t given;
};

static int bench_next(struct series_set *set, struct series_columns *out, struct nx_err *err)
{
    struct bench_set *bench = (struct bench_set *)set;
    const struct bench_source *source = bench->source;
    (void)err;
    if (bench->given == source->series_count)
        return 0;
    size_t i = bench->given++;
    *out = (struct series_columns){
        .labels = {.items = source->labels + i * LABEL_COUNT, .count = LABEL_COUNT},
        .times_ms = source->times_ms,
        .values = source->columns + i % COLUMN_COUNT * source->sample_count,
        .count = source->sample_count,
    };
    return 1;
}

static void bench_free(struct series_set *set)
{
    nx_free(set);
}

static const struct series_set_ops bench_set_ops = {.next = bench_next, .free = bench_free};

static nx_code bench_select(struct series_source *source, const struct matcher *matchers,
                            size_t matcher_count, int64_t min_ms, int64_t max_ms,
                            const struct series_hints *hints, struct series_set **out_set,
                            struct series_warnings *warnings, struct nx_err *err)
{
    (void)matchers;
    (void)matcher_count;
    (void)min_ms;
    (void)max_ms;
    (void)hints;
    (void)warnings;
    (void)err;
    struct bench_set *set = nx_calloc(1, sizeof(*set));
    set->set.ops = &bench_set_ops;
    set->source = (const struct bench_source *)source;
    *out_set = &set->set;
    return NX_OK;
}

static const struct series_source_ops bench_source_ops = {.select = bench_select};

static void fill_columns(struct bench_source *source)
{
    uint32_t random = 12345;
    for (size_t i = 0; i < source->sample_count; i++)
        source->times_ms[i] = (int64_t)i * SPACING_MS;
    for (size_t c = 0; c < COLUMN_COUNT; c++) {
        double value = 0;
        for (size_t i = 0; i < source->sample_count; i++) {
            random = random * 1664525 + 1013904223;
            value += random >> 24;
            if (c % 20 == 0 && i == source->sample_count / 2)
                value = 0;
            source->columns[c * source->sample_count + i] = value;
        }
    }
}

/* In label order: the instance's number has leading zeros. */
static void fill_labels(struct bench_source *source)
{
    static const char *const names[LABEL_COUNT] = {
        "__name__",  "cluster", "container", "endpoint",   "instance", "job",
        "namespace", "node",    "pod",       "prometheus", "service",  "x",
    };
    for (size_t i = 0; i < source->series_count; i++) {
        struct label *labels = source->labels + i * LABEL_COUNT;
        snprintf(source->texts[i][0], 16, "host-%08zu", i % 100000000);
        snprintf(source->texts[i][1], 16, "pod-%08zu", i % 100000000);
        snprintf(source->texts[i][2], 16, "group-%zu", i % GROUP_COUNT);
        for (size_t k = 0; k < LABEL_COUNT; k++)
            labels[k] = (struct label){nx_str_from(names[k]), NX_STR("some-usual-value")};
        labels[0].value = NX_STR("http_requests_total");
        labels[4].value = nx_str_from(source->texts[i][0]);
        labels[8].value = nx_str_from(source->texts[i][1]);
        labels[11].value = nx_str_from(source->texts[i][2]);
    }
}

/* Of the process, so that a busy machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec time;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0)
        abort();
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int run(struct bench_source *source, const char *text, size_t step_count)
{
    static const struct parse_options parse_options = {0};
    struct arena arena;
    struct ast_node *root = NULL;
    struct value value;
    struct annotations annotations;
    struct series_warnings warnings;
    struct eval_stats stats;
    struct nx_err err;
    int64_t end_ms = (int64_t)(source->sample_count - 1) * SPACING_MS;
    struct eval_options options = {
        .end_ms = end_ms,
        .step_ms = end_ms / (int64_t)step_count,
        .is_range = step_count > 1,
        .lookback_ms = 300000,
        .subquery_step_ms = 60000,
        .clock = clock_real(),
        .deadline_ns = UINT64_MAX,
    };
    options.start_ms = step_count > 1 ? options.step_ms : end_ms;
    arena_init(&arena, 0);
    nx_code code = promql_parse(nx_str_from(text), &parse_options, &arena, &root, &err);
    if (code == NX_OK)
        code = ast_resolve_durations(root, options.step_ms, end_ms, &err);
    uint64_t start_ns = cpu_ns();
    if (code == NX_OK)
        code = promql_eval(root, &source->source, &options, &arena, &value, &annotations, &warnings,
                           &stats, &err);
    uint64_t taken_ns = cpu_ns() - start_ns;
    if (code != NX_OK)
        fprintf(stderr, "%s: %s\n", text, err.msg);
    else
        printf("%-60s %8.3f s %8.0f ns/series %8.1f MiB %7zu series out\n", text,
               (double)taken_ns / 1e9, (double)taken_ns / (double)source->series_count,
               (double)arena_usage(&arena) / 1048576, value.series_count);
    ast_deinit(root);
    arena_deinit(&arena);
    return code == NX_OK ? 0 : 1;
}

static size_t argument(int count, char **values, int index, size_t otherwise)
{
    if (index >= count)
        return otherwise;
    uint64_t value;
    return nx_str_to_u64(nx_str_from(values[index]), &value) && value > 1 ? (size_t)value
                                                                          : otherwise;
}

int main(int argc, char **argv)
{
    static const char *const expressions[] = {
        "sum by (x) (rate(m[5m]))",
        "sum by (x) (m)",
        "sum(rate(m[5m]))",
        "max by (x) (max_over_time(m[10m]))",
        "sum by (x) (sum_over_time(m[5m]))",
        "sum by (x) (avg_over_time(m[1h]))",
        "count by (x) (rate(m[5m]) > 5)",
        "topk(5, rate(m[5m]))",
        "quantile by (x) (0.9, rate(m[5m]))",
        "sum by (x) (rate(m[5m]) / on (instance) group_left m)",
        "sum by (x) (max_over_time(rate(m[5m])[10m:1m]))",
    };
    struct bench_source source = {
        .source = {.ops = &bench_source_ops},
        .series_count = argument(argc, argv, 1, 100000),
        .sample_count = argument(argc, argv, 2, 480),
    };
    size_t step_count = argument(argc, argv, 3, 120);
    source.times_ms = nx_calloc(source.sample_count, sizeof(int64_t));
    source.columns = nx_calloc(source.sample_count * COLUMN_COUNT, sizeof(double));
    source.labels = nx_calloc(source.series_count * LABEL_COUNT, sizeof(struct label));
    source.texts = nx_calloc(source.series_count, sizeof(*source.texts));
    fill_columns(&source);
    fill_labels(&source);
    printf("%zu series, %zu samples each, %zu steps\n", source.series_count, source.sample_count,
           step_count);
    int failed = 0;
    for (size_t i = 0; i < sizeof(expressions) / sizeof(expressions[0]); i++)
        failed |= run(&source, expressions[i], step_count);
    nx_free(source.texts);
    nx_free(source.labels);
    nx_free(source.columns);
    nx_free(source.times_ms);
    return failed;
}
