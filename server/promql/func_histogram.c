/* SPDX-License-Identifier: Apache-2.0 */
/* func_histogram.c - quantiles and fractions of classic histograms: series that differ in `le` only are one histogram.
 *
 *   series {le="0.1"} {le="0.5"} {le="+Inf"}      one group, sorted by bound; counts are cumulative
 *   step i   0-2        2-5        5-9
 *
 * The functions of native histograms (histogram_count and its kin) pass over floats: of classic series nothing is left.
 *
 * Source   Prometheus' promql/quantile.go: equal bounds are added up, differences within 1e-12 are rounding, other
 *          decreases are raised to the count before and reported.
 */
#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"

#include "eval_functions.h"

#include <math.h>
#include <stdlib.h>

#define SMALL_DELTA 1e-12
#define MIN_NORMAL  0x1p-1022

struct bucket {
    double bound;
    double count;
};

struct bucket_series {
    double bound;
    size_t input; /* its series */
    size_t group;
};

/* What an info about counts that were not cumulative says in the end: over all steps and groups. */
struct monotonicity_note {
    struct monotonicity_note *next;
    struct nx_str name; /* delayed name removal knows the metric's */
    const struct ast_node *node;
    int64_t first_ms;
    int64_t last_ms;
    double first_bound;
    double last_bound;
    double difference;
    uint64_t samples;
};

struct fix {
    bool is_forced;
    double first_bound;
    double last_bound;
    double difference;
};

/* Equal, or so close that rounding alone can explain it. */
static bool is_almost_equal(double a, double b)
{
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    double size = fabs(a) + fabs(b);
    double difference = fabs(a - b);
    if (a == 0 || b == 0 || size < MIN_NORMAL)
        return difference < SMALL_DELTA * MIN_NORMAL;
    return difference / fmin(size, 0x1.fffffffffffffp1023) < SMALL_DELTA;
}

static size_t join_equal_bounds(struct bucket *buckets, size_t count)
{
    size_t last = 0;
    for (size_t i = 1; i < count; i++) {
        if (buckets[i].bound == buckets[last].bound)
            buckets[last].count += buckets[i].count;
        else
            buckets[++last] = buckets[i];
    }
    return last + 1;
}

static void make_monotonic(struct bucket *buckets, size_t count, struct fix *fix)
{
    double before = buckets[0].count;
    for (size_t i = 1; i < count; i++) {
        double here = buckets[i].count;
        if (here == before)
            continue;
        if (is_almost_equal(before, here)) {
            buckets[i].count = before;
        } else if (here < before) {
            buckets[i].count = before;
            fix->is_forced = true;
            fix->first_bound = fmin(fix->first_bound, buckets[i].bound);
            fix->last_bound = fmax(fix->last_bound, buckets[i].bound);
            fix->difference = fmax(fix->difference, before - here);
        } else {
            before = here;
        }
    }
}

/* `buckets` are sorted by bound, at least one. */
static double bucket_quantile(double q, struct bucket *buckets, size_t count, struct fix *fix)
{
    if (isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    if (buckets[count - 1].bound != INFINITY)
        return NAN;
    count = join_equal_bounds(buckets, count);
    make_monotonic(buckets, count, fix);
    if (count < 2 || buckets[count - 1].count == 0)
        return NAN;
    double rank = q * buckets[count - 1].count;
    size_t low = 0;
    size_t high = count - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (buckets[middle].count >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    if (low == count - 1)
        return buckets[count - 2].bound;
    if (low == 0 && buckets[0].bound <= 0)
        return buckets[0].bound;
    double start = 0;
    double held = buckets[low].count;
    if (low > 0) {
        start = buckets[low - 1].bound;
        held -= buckets[low - 1].count;
        rank -= buckets[low - 1].count;
    }
    return start + (buckets[low].bound - start) * (rank / held);
}

/* The cumulative count at `value`, which lies in bucket `at` or on its lower bound. */
static double rank_at(const struct bucket *buckets, size_t at, double lower, double value)
{
    double before = at == 0 ? 0 : buckets[at - 1].count;
    if (lower >= value)
        return before;
    if (lower == -INFINITY)
        return buckets[at].count; /* no share of an infinite width */
    return before + (buckets[at].count - before) * (value - lower) / (buckets[at].bound - lower);
}

static double find_rank(const struct bucket *buckets, size_t count, double value)
{
    double total = buckets[count - 1].count;
    double lower = buckets[0].bound <= 0 ? -INFINITY : 0;
    for (size_t i = 0; i < count; i++) {
        if (lower >= value || buckets[i].bound > value) {
            double rank = rank_at(buckets, i, lower, value);
            return rank > total ? total : rank;
        }
        lower = buckets[i].bound;
    }
    return total;
}

static double bucket_fraction(double lower, double upper, struct bucket *buckets, size_t count)
{
    if (buckets[count - 1].bound != INFINITY)
        return NAN;
    count = join_equal_bounds(buckets, count);
    double total = buckets[count - 1].count;
    if (total == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    return (find_rank(buckets, count, upper) - find_rank(buckets, count, lower)) / total;
}

struct histogram_stream {
    struct eval_stream stream;
    const struct ast_node *call;
    const struct ast_node *vector; /* the argument */
    struct eval_stream *child;
    bool is_fraction;
    const double **params; /* columns: q, or lower and upper, or several q */
    size_t param_count;
    struct nx_str quantile_label; /* histogram_quantiles */
    struct eval_list inputs;
    struct bucket_series *buckets; /* sorted by group and bound */
    size_t bucket_cap;
    struct labels *groups;
    size_t group_count;
    size_t group_cap;
    struct key_table keys;
    struct bucket *scratch;
    struct eval_list outputs;
    bool is_done;
    size_t given;
};

static void warn_bad_bucket(struct histogram_stream *histogram, struct labels labels)
{
    struct eval *eval = histogram->stream.eval;
    struct nx_str le = eval_quoted(eval, 0, labels_get(labels, NX_STR(LABEL_NAME_BUCKET)));
    struct nx_str name = labels_get(labels, NX_STR(LABEL_NAME_METRIC));
    static const char text[] = "bucket label \"le\" is missing or has a malformed value of %.*s";
    if (!eval->options->delayed_name_removal || name.len == 0) {
        eval_annotate(eval, ANNOTATION_WARNING, histogram->vector, text, NX_STR_ARGS(le));
        return;
    }
    struct nx_str quoted = eval_quoted(eval, 1, name);
    eval_annotate(eval, ANNOTATION_WARNING, histogram->vector,
                  "bucket label \"le\" is missing or has a malformed value of %.*s for metric name "
                  "%.*s",
                  NX_STR_ARGS(le), NX_STR_ARGS(quoted));
}

/* Room for one more input and one more group. */
static bool reserve(struct histogram_stream *histogram)
{
    struct eval *eval = histogram->stream.eval;
    if (histogram->inputs.count == histogram->bucket_cap) {
        size_t cap = histogram->bucket_cap == 0 ? 64 : histogram->bucket_cap * 2;
        histogram->buckets = arena_grow(eval->arena, histogram->buckets,
                                        histogram->bucket_cap * sizeof(*histogram->buckets),
                                        cap * sizeof(*histogram->buckets));
        histogram->bucket_cap = cap;
    }
    if (histogram->group_count == histogram->group_cap) {
        size_t cap = histogram->group_cap == 0 ? 16 : histogram->group_cap * 2;
        histogram->groups = arena_grow(eval->arena, histogram->groups,
                                       histogram->group_cap * sizeof(*histogram->groups),
                                       cap * sizeof(*histogram->groups));
        histogram->group_cap = cap;
    }
    if (histogram->buckets != NULL && histogram->groups != NULL)
        return true;
    nx_ignore(eval_no_memory(eval));
    return false;
}

static struct labels without_bucket(struct eval *eval, struct labels labels)
{
    struct label *items = eval_alloc(eval, labels.count + 1, sizeof(*items));
    size_t count = 0;
    for (size_t i = 0; items != NULL && i < labels.count; i++)
        if (!nx_str_eq(labels.items[i].name, NX_STR(LABEL_NAME_BUCKET)))
            items[count++] = labels.items[i];
    return (struct labels){.items = items, .count = count};
}

static bool take_input(struct histogram_stream *histogram, const struct eval_series *series)
{
    struct eval *eval = histogram->stream.eval;
    double bound;
    if (!float_text_parse(labels_get(series->labels, NX_STR(LABEL_NAME_BUCKET)), &bound)) {
        warn_bad_bucket(histogram, series->labels);
        return true;
    }
    if (!reserve(histogram))
        return false;
    size_t input = histogram->inputs.count;
    if (eval_list_add(&histogram->inputs, series) != NX_OK)
        return false;
    struct labels labels = without_bucket(eval, histogram->inputs.items[input].labels);
    if (labels.items == NULL)
        return false;
    bool is_new;
    size_t group = key_table_put(&histogram->keys, eval_labels_key(eval, labels), &is_new);
    if (group == KEY_TABLE_NONE) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    if (is_new)
        histogram->groups[histogram->group_count++] = labels;
    histogram->buckets[input] = (struct bucket_series){bound, input, group};
    return true;
}

static int compare_buckets(const void *a, const void *b)
{
    const struct bucket_series *left = a;
    const struct bucket_series *right = b;
    if (left->group != right->group)
        return (left->group > right->group) - (left->group < right->group);
    if (left->bound != right->bound)
        return (left->bound > right->bound) - (left->bound < right->bound);
    return (left->input > right->input) - (left->input < right->input);
}

static void note_fix(struct histogram_stream *histogram, size_t group, size_t step,
                     const struct fix *fix)
{
    struct eval *eval = histogram->stream.eval;
    int64_t time_ms = eval_step_time(histogram->stream.grid, step);
    struct nx_str name = {0};
    if (eval->options->delayed_name_removal)
        name = labels_get(histogram->groups[group], NX_STR(LABEL_NAME_METRIC));
    struct monotonicity_note *note = eval->monotonicity;
    while (note != NULL && !nx_str_eq(note->name, name))
        note = note->next;
    if (note == NULL) {
        note = arena_calloc(eval->arena, 1, sizeof(*note));
        if (note == NULL)
            return; /* the next allocation says so */
        *note = (struct monotonicity_note){
            .next = eval->monotonicity,
            .name = name,
            .node = histogram->vector,
            .first_ms = time_ms,
            .last_ms = time_ms,
            .first_bound = fix->first_bound,
            .last_bound = fix->last_bound,
        };
        eval->monotonicity = note;
    }
    note->first_ms = time_ms < note->first_ms ? time_ms : note->first_ms;
    note->last_ms = time_ms > note->last_ms ? time_ms : note->last_ms;
    note->first_bound = fmin(note->first_bound, fix->first_bound);
    note->last_bound = fmax(note->last_bound, fix->last_bound);
    note->difference = fmax(note->difference, fix->difference);
    note->samples++;
}

bool eval_monotonicity_end(struct eval *eval)
{
    for (struct monotonicity_note *note = eval->monotonicity; note != NULL; note = note->next) {
        char first[40];
        char last[40];
        char low[32];
        char high[32];
        eval_utc_text(note->first_ms / 1000, first);
        eval_utc_text(note->last_ms / 1000, last);
        struct nx_str quoted = note->name.len > 0 ? eval_quoted(eval, 0, note->name) : note->name;
        eval_annotate(eval, ANNOTATION_INFO, note->node,
                      "input to histogram_quantile needed to be fixed for monotonicity (see "
                      "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                      "#histogram_quantile)%s%.*s, from buckets %s to %s, with a max diff of %.2g, "
                      "over %llu samples from %s to %s",
                      note->name.len > 0 ? " for metric name " : "", NX_STR_ARGS(quoted),
                      eval_float_text(note->first_bound, low),
                      eval_float_text(note->last_bound, high), note->difference,
                      (unsigned long long)note->samples, first, last);
    }
    if (!arena_is_exhausted(eval->arena))
        return true;
    nx_ignore(eval_no_memory(eval));
    return false;
}

/* The buckets of a group that are there at a step, in order of bounds. */
static size_t gather(struct histogram_stream *histogram, size_t first, size_t last, size_t step)
{
    size_t count = 0;
    for (size_t i = first; i < last; i++) {
        const struct eval_series *input = &histogram->inputs.items[histogram->buckets[i].input];
        if (eval_bit(input->present, step))
            histogram->scratch[count++] =
                (struct bucket){histogram->buckets[i].bound, input->values[step]};
    }
    return count;
}

/* A group's column for parameter `param`. The buckets are [first, last). */
static void compute_group(struct histogram_stream *histogram, size_t group, size_t first,
                          size_t last, size_t param, struct eval_series *out)
{
    const struct eval_grid *grid = histogram->stream.grid;
    memset(out->present, 0, eval_words(grid) * sizeof(uint64_t));
    for (size_t step = 0; step < grid->step_count; step++) {
        size_t count = gather(histogram, first, last, step);
        if (count == 0)
            continue;
        double value = histogram->params[param][step];
        if (histogram->is_fraction) {
            out->values[step] =
                bucket_fraction(value, histogram->params[1][step], histogram->scratch, count);
        } else {
            struct fix fix = {.first_bound = INFINITY, .last_bound = -INFINITY};
            out->values[step] = bucket_quantile(value, histogram->scratch, count, &fix);
            if (fix.is_forced)
                note_fix(histogram, group, step, &fix);
        }
        eval_bit_set(out->present, step);
    }
}

/* As OpenMetrics writes a quantile: a point or an exponent is always there. */
static struct nx_str quantile_text(struct eval *eval, double q)
{
    char text[FLOAT_TEXT_MAX];
    size_t length = float_text_g(text, q);
    if (isfinite(q) && memchr(text, '.', length) == NULL && memchr(text, 'e', length) == NULL) {
        text[length++] = '.';
        text[length++] = '0';
    }
    return arena_strdup(eval->arena, (struct nx_str){.data = text, .len = length});
}

/* histogram_quantiles: the quantile becomes a label; when it changes over the steps, the column is split. */
static bool put_by_quantile(struct histogram_stream *histogram, const struct eval_series *series,
                            const double *quantiles, uint64_t *left)
{
    struct eval *eval = histogram->stream.eval;
    const struct eval_grid *grid = histogram->stream.grid;
    size_t words = eval_words(grid);
    struct eval_series part = *series;
    part.present = eval_alloc(eval, words, sizeof(uint64_t));
    if (part.present == NULL)
        return false;
    memcpy(left, series->present, words * sizeof(uint64_t));
    for (size_t step = 0; step < grid->step_count; step++) {
        if (!eval_bit(left, step))
            continue;
        double q = quantiles[step];
        memset(part.present, 0, words * sizeof(uint64_t));
        for (size_t i = step; i < grid->step_count; i++) {
            if (!eval_bit(left, i) || (quantiles[i] != q && !(isnan(q) && isnan(quantiles[i]))))
                continue;
            eval_bit_set(part.present, i);
            eval_bit_clear(left, i);
        }
        struct labels_builder builder;
        labels_builder_begin(&builder, eval->arena, series->labels);
        labels_builder_set(&builder, histogram->quantile_label, quantile_text(eval, q));
        if (labels_builder_finish(&builder, &part.labels) != NX_OK) {
            nx_ignore(eval_no_memory(eval));
            return false;
        }
        if (eval_list_merge(&histogram->outputs, &part, false) != NX_OK)
            return false;
    }
    return true;
}

static bool compute_all(struct histogram_stream *histogram)
{
    struct eval *eval = histogram->stream.eval;
    const struct eval_grid *grid = histogram->stream.grid;
    size_t input_count = histogram->inputs.count;
    struct eval_series series = {
        .values = eval_alloc(eval, grid->step_count, sizeof(double)),
        .present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t)),
    };
    uint64_t *left = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    histogram->scratch = eval_alloc(eval, input_count, sizeof(*histogram->scratch));
    if (series.values == NULL || series.present == NULL || left == NULL ||
        histogram->scratch == NULL)
        return false;
    bool has_label = histogram->quantile_label.data != NULL;
    size_t param_count = histogram->is_fraction ? 1 : histogram->param_count;
    for (size_t param = 0; param < param_count; param++) {
        size_t first = 0;
        while (first < input_count) {
            size_t group = histogram->buckets[first].group;
            size_t last = first;
            while (last < input_count && histogram->buckets[last].group == group)
                last++;
            if (!eval_poll(eval, grid->step_count * (last - first)))
                return false;
            compute_group(histogram, group, first, last, param, &series);
            series.labels = histogram->groups[group];
            series.drop_name = histogram->inputs.items[histogram->buckets[first].input].drop_name;
            bool ok = has_label
                          ? put_by_quantile(histogram, &series, histogram->params[param], left)
                          : eval_list_add(&histogram->outputs, &series) == NX_OK;
            if (!ok)
                return false;
            first = last;
        }
    }
    return true;
}

static bool run(struct histogram_stream *histogram)
{
    struct eval_series series;
    int got;
    while ((got = histogram->child->next(histogram->child, &series)) == 1)
        if (!take_input(histogram, &series))
            return false;
    if (got < 0)
        return false;
    if (histogram->inputs.count > 0)
        qsort(histogram->buckets, histogram->inputs.count, sizeof(*histogram->buckets),
              compare_buckets);
    return compute_all(histogram);
}

static int histogram_next(struct eval_stream *stream, struct eval_series *out)
{
    struct histogram_stream *histogram = (struct histogram_stream *)stream;
    if (!histogram->is_done && !run(histogram))
        return -1;
    histogram->is_done = true;
    if (histogram->given == histogram->outputs.count)
        return 0;
    *out = histogram->outputs.items[histogram->given++];
    return 1;
}

/* Evaluates scalar arguments [first, first + count) into columns. */
static nx_code open_params(struct histogram_stream *histogram, size_t first, size_t count)
{
    struct eval *eval = histogram->stream.eval;
    const struct eval_grid *grid = histogram->stream.grid;
    histogram->params = eval_alloc(eval, count, sizeof(const double *));
    if (histogram->params == NULL)
        return eval->err->code;
    histogram->param_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct ast_node *arg = ast_unwrap_parens(histogram->call->u.call.args[first + i]);
        const double *column = eval_scalar_column(eval, arg, grid);
        if (column == NULL)
            return eval->err->code;
        histogram->params[i] = column;
        for (size_t step = 0; !histogram->is_fraction && step < grid->step_count; step++) {
            char text[32];
            if (!(column[step] >= 0 && column[step] <= 1))
                eval_annotate(eval, ANNOTATION_WARNING, arg,
                              "quantile value should be between 0 and 1, got %s",
                              eval_float_text(column[step], text));
        }
    }
    return NX_OK;
}

static nx_code open_histogram(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, size_t vector, size_t first_param,
                              size_t param_count, bool is_fraction, struct nx_str label,
                              struct eval_stream **out)
{
    struct histogram_stream *histogram = eval_alloc(eval, 1, sizeof(*histogram));
    if (histogram == NULL)
        return eval->err->code;
    histogram->stream = (struct eval_stream){
        .next = histogram_next,
        .eval = eval,
        .grid = grid,
        .names = EVAL_NAMES_ANY,
    };
    histogram->call = call;
    histogram->vector = ast_unwrap_parens(call->u.call.args[vector]);
    histogram->is_fraction = is_fraction;
    histogram->quantile_label = label;
    key_table_init(&histogram->keys, eval->arena, eval->key_seed);
    eval_list_init(&histogram->inputs, eval, grid);
    eval_list_init(&histogram->outputs, eval, grid);
    nx_code code = open_params(histogram, first_param, param_count);
    if (code == NX_OK)
        code = eval_open(eval, histogram->vector, grid, &histogram->child);
    if (code != NX_OK)
        return code;
    if (histogram->child->names == EVAL_NAMES_NONE)
        histogram->stream.names = EVAL_NAMES_NONE;
    return eval_drop_open(eval, &histogram->stream, false, out);
}

static nx_code open_quantile(struct eval *eval, const struct ast_node *call,
                             const struct eval_grid *grid, struct eval_stream **out)
{
    return open_histogram(eval, call, grid, 1, 0, 1, false, (struct nx_str){0}, out);
}

static nx_code open_quantiles(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    struct nx_str label = eval_string(call->u.call.args[1]);
    if (label.len == 0 || !nx_utf8_is_valid(label))
        return eval_fail(eval, NX_E_EXECUTION, "invalid label name in histogram_quantiles(): %.*s",
                         NX_STR_ARGS(label));
    return open_histogram(eval, call, grid, 0, 2, call->u.call.arg_count - 2, false, label, out);
}

static nx_code open_fraction(struct eval *eval, const struct ast_node *call,
                             const struct eval_grid *grid, struct eval_stream **out)
{
    return open_histogram(eval, call, grid, 2, 0, 2, true, (struct nx_str){0}, out);
}

const struct eval_function eval_histogram_quantile = {.open = open_quantile};
const struct eval_function eval_histogram_quantiles = {.open = open_quantiles};
const struct eval_function eval_histogram_fraction = {.open = open_fraction};

static void drop_floats(struct eval_stream *map, const void *context, struct eval_series *series)
{
    (void)context;
    memset(series->present, 0, eval_words(map->grid) * sizeof(uint64_t));
}

/* Functions of native histograms: what is not one has no part in the result. */
static nx_code open_of_native(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    struct eval_stream *child;
    nx_code code = eval_open(eval, call->u.call.args[0], grid, &child);
    if (code == NX_OK)
        code = eval_map_open(eval, child, drop_floats, NULL, &child);
    return code == NX_OK ? eval_drop_open(eval, child, false, out) : code;
}

const struct eval_function eval_histogram_avg = {.open = open_of_native};
const struct eval_function eval_histogram_count = {.open = open_of_native};
const struct eval_function eval_histogram_stddev = {.open = open_of_native};
const struct eval_function eval_histogram_stdvar = {.open = open_of_native};
const struct eval_function eval_histogram_sum = {.open = open_of_native};
