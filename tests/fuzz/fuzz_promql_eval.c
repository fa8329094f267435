/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_promql_eval.c - any expression over a source that has something for every selector: no crash, no leak, bounded
 * memory, results in label order and without doubles.
 *
 * The first byte of the input chooses the kind of query, the rest is the expression.
 */
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"
#include "narthex/promql/eval.h"
#include "narthex/promql/parse.h"

#include <stdlib.h>

#define SERIES_MAX   6
#define SAMPLES      40
#define SPACING_MS   15000
#define TEXT_MAX     2000
#define ARENA_BUDGET ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A set of series that satisfy the equality matchers of a selector, and differ in three labels. */
struct fuzz_set {
    struct series_set set; /* first */
    struct label labels[SERIES_MAX][24];
    size_t label_count;
    size_t series_count;
    size_t given;
    int64_t times_ms[SAMPLES];
    double values[SERIES_MAX][SAMPLES];
    int64_t min_ms;
    int64_t max_ms;
};

static int fuzz_next(struct series_set *set, struct series_columns *out, struct nx_err *err)
{
    struct fuzz_set *fuzz = (struct fuzz_set *)set;
    (void)err;
    if (fuzz->given == fuzz->series_count)
        return 0;
    size_t i = fuzz->given++;
    size_t first = 0;
    size_t end = SAMPLES;
    while (first < end && fuzz->times_ms[first] < fuzz->min_ms)
        first++;
    while (end > first && fuzz->times_ms[end - 1] > fuzz->max_ms)
        end--;
    *out = (struct series_columns){
        .labels = {.items = fuzz->labels[i],
                   .count = labels_canonicalize(fuzz->labels[i], fuzz->label_count)},
        .times_ms = fuzz->times_ms + first,
        .values = fuzz->values[i] + first,
        .count = end - first,
    };
    return 1;
}

static void fuzz_free(struct series_set *set)
{
    nx_free(set);
}

static const struct series_set_ops fuzz_set_ops = {.next = fuzz_next, .free = fuzz_free};

static void set_label(struct fuzz_set *fuzz, size_t series, size_t *count, struct nx_str name,
                      struct nx_str value)
{
    for (size_t i = 0; i < *count; i++)
        if (nx_str_eq(fuzz->labels[series][i].name, name))
            return;
    fuzz->labels[series][(*count)++] = (struct label){name, value};
}

/* Counters with a reset, NaN, infinities and a stale marker in some. */
static double sample(size_t series, size_t at)
{
    if (series == 1 && at == 20)
        return float_from_bits(STALE_NAN_BITS);
    if (series == 2 && at % 7 == 3)
        return float_from_bits(ORDINARY_NAN_BITS);
    if (series == 3 && at == 11)
        return __builtin_inf();
    return (double)((at * (series + 3)) % 97) * (series % 2 == 0 ? 1.5 : 1);
}

static int compare_sets(const void *a, const void *b)
{
    const struct label *left = a;
    const struct label *right = b;
    for (size_t i = 0; i < 24; i++) {
        int order = nx_str_cmp(left[i].name, right[i].name);
        if (order == 0)
            order = nx_str_cmp(left[i].value, right[i].value);
        if (order != 0)
            return order;
    }
    return 0;
}

static nx_code fuzz_select(struct series_source *source, const struct matcher *matchers,
                           size_t matcher_count, int64_t min_ms, int64_t max_ms,
                           const struct series_hints *hints, struct series_set **out_set,
                           struct series_warnings *warnings, struct nx_err *err)
{
    static const char *const bounds[SERIES_MAX] = {"+Inf", "0.1", "0.5", "1", "2", "8"};
    static const char *const digits[SERIES_MAX] = {"0", "1", "2", "3", "4", "5"};
    (void)source;
    (void)hints;
    (void)warnings;
    (void)err;
    struct fuzz_set *fuzz = nx_calloc(1, sizeof(*fuzz));
    fuzz->set.ops = &fuzz_set_ops;
    fuzz->min_ms = min_ms;
    fuzz->max_ms = max_ms;
    fuzz->series_count = SERIES_MAX;
    for (size_t s = 0; s < SERIES_MAX; s++) {
        size_t count = 0;
        for (size_t i = 0; i < matcher_count && count < 20; i++)
            if (matchers[i].type == MATCHER_EQUAL && matchers[i].value.len > 0)
                set_label(fuzz, s, &count, matchers[i].name, matchers[i].value);
        set_label(fuzz, s, &count, NX_STR("le"), nx_str_from(bounds[s]));
        set_label(fuzz, s, &count, NX_STR("instance"), nx_str_from(digits[s / 2]));
        set_label(fuzz, s, &count, NX_STR("job"), nx_str_from(digits[s % 2]));
        fuzz->label_count = labels_canonicalize(fuzz->labels[s], count);
        for (size_t i = 0; i < SAMPLES; i++)
            fuzz->values[s][i] = sample(s, i);
    }
    for (size_t i = 0; i < SAMPLES; i++)
        fuzz->times_ms[i] = (int64_t)i * SPACING_MS;
    qsort(fuzz->labels, SERIES_MAX, sizeof(fuzz->labels[0]), compare_sets);
    /* A selector that pins all of le, instance and job has one series, and so on. */
    size_t kept = 1;
    for (size_t s = 1; s < SERIES_MAX; s++)
        if (compare_sets(fuzz->labels[kept - 1], fuzz->labels[s]) != 0)
            memcpy(fuzz->labels[kept++], fuzz->labels[s], sizeof(fuzz->labels[0]));
    fuzz->series_count = kept;
    *out_set = &fuzz->set;
    return NX_OK;
}

static void check_value(const struct value *value)
{
    for (size_t i = 0; i < value->series_count; i++) {
        const struct value_series *series = &value->series[i];
        if (series->count == 0 || (value->type == VALUE_TYPE_VECTOR && series->count != 1))
            abort();
        for (size_t p = 1; p < series->count; p++)
            if (series->times_ms[p - 1] >= series->times_ms[p])
                abort();
        for (size_t k = 1; k < series->labels.count; k++)
            if (nx_str_cmp(series->labels.items[k - 1].name, series->labels.items[k].name) >= 0)
                abort();
        if (value->type == VALUE_TYPE_MATRIX && i > 0 &&
            labels_compare(series[-1].labels, series->labels) >= 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct series_source_ops ops = {.select = fuzz_select};
    static const struct parse_options everything = {true, true, true};
    if (size < 2 || size > TEXT_MAX)
        return 0;
    struct series_source source = {.ops = &ops};
    struct nx_str text = {.data = (const char *)data + 1, .len = size - 1};
    struct eval_options options = {
        .start_ms = 300000,
        .end_ms = data[0] & 1 ? 600000 : 300000,
        .step_ms = data[0] & 1 ? (data[0] & 2 ? 5000 : 60000) : 0,
        .is_range = data[0] & 1,
        .lookback_ms = 300000,
        .subquery_step_ms = 60000,
        .samples_max = 200000,
        .delayed_name_removal = data[0] & 4,
        .text = text,
    };
    struct arena arena;
    struct ast_node *root = NULL;
    struct value value;
    struct annotations annotations;
    struct series_warnings warnings;
    struct eval_stats stats;
    struct nx_err err;
    arena_init(&arena, data[0] & 8 ? ARENA_BUDGET / 256 : ARENA_BUDGET);
    nx_code code = promql_parse(text, &everything, &arena, &root, &err);
    if (code == NX_OK)
        code =
            ast_resolve_durations(root, options.step_ms, options.end_ms - options.start_ms, &err);
    if (code == NX_OK) {
        code = promql_eval(root, &source, &options, &arena, &value, &annotations, &warnings, &stats,
                           &err);
        if (code == NX_OK)
            check_value(&value);
        else if (err.msg[0] == '\0')
            abort();
    }
    ast_deinit(root);
    arena_deinit(&arena);
    return 0;
}
