/* SPDX-License-Identifier: Apache-2.0 */
/* eval_result.c - the value of a query: points out of the root's columns, names that go late, label order.
 */
#include "eval_internal.h"

#include <stdlib.h>

/* The result in the making. */
struct result {
    struct eval *eval;
    struct value *value;
    bool *drop_names; /* parallel to value->series */
    size_t cap;
    bool drops_any;
};

static struct value_series *result_push(struct result *result, struct labels labels,
                                        size_t point_count, bool drop_name)
{
    struct eval *eval = result->eval;
    struct value *value = result->value;
    if (value->series_count == result->cap) {
        size_t cap = result->cap == 0 ? 64 : result->cap * 2;
        value->series = arena_grow(eval->arena, value->series, result->cap * sizeof(*value->series),
                                   cap * sizeof(*value->series));
        result->drop_names = arena_grow(eval->arena, result->drop_names, result->cap, cap);
        if (value->series == NULL || result->drop_names == NULL) {
            nx_ignore(eval_no_memory(eval));
            return NULL;
        }
        result->cap = cap;
    }
    if (!eval_hold(eval, point_count))
        return NULL;
    struct value_series *series = &value->series[value->series_count];
    struct labels kept = labels_copy(eval->arena, labels);
    int64_t *points = arena_alloc(eval->arena, point_count * 2 * sizeof(*points));
    if (points == NULL || kept.count != labels.count) {
        nx_ignore(eval_no_memory(eval));
        return NULL;
    }
    *series = (struct value_series){
        .labels = kept,
        .times_ms = points,
        .values = (double *)(points + point_count),
        .count = point_count,
    };
    result->drop_names[value->series_count] = drop_name;
    result->drops_any |= drop_name;
    value->series_count++;
    return series;
}

static nx_code result_add_column(struct result *result, const struct eval_grid *grid,
                                 const struct eval_series *column)
{
    size_t words = eval_words(grid);
    size_t points = eval_bits_count(column->present, words);
    struct value_series *series = result_push(result, column->labels, points, column->drop_name);
    if (series == NULL)
        return result->eval->err->code;
    size_t at = 0;
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = column->present[w]; bits != 0; bits &= bits - 1) {
            size_t step = w * 64 + eval_lowest(bits);
            series->times_ms[at] = eval_step_time(grid, step);
            series->values[at++] = column->values[step];
        }
    }
    return NX_OK;
}

static nx_code result_from_vector(struct result *result, const struct ast_node *root,
                                  const struct eval_grid *grid)
{
    struct eval_stream *stream;
    nx_code code = eval_open(result->eval, root, grid, &stream);
    if (code != NX_OK)
        return code;
    struct eval_series series;
    int got;
    while ((got = stream->next(stream, &series)) == 1) {
        code = result_add_column(result, grid, &series);
        if (code != NX_OK)
            return code;
    }
    return got < 0 ? result->eval->err->code : NX_OK;
}

static nx_code result_add_window(struct result *result, const struct eval_range *range,
                                 const struct eval_samples *samples, int64_t start_ms,
                                 int64_t end_ms)
{
    struct eval *eval = result->eval;
    int64_t first_ms = eval_range_first(range, start_ms);
    int64_t last_ms = eval_range_last(range, end_ms);
    size_t low = 0;
    size_t high = samples->count;
    while (low < high && samples->times_ms[low] <= first_ms)
        low++;
    while (high > low && samples->times_ms[high - 1] > last_ms)
        high--;
    if (low == high)
        return NX_OK;
    eval->samples_queryable += high - low;
    bool extends = range->is_anchored || range->is_smoothed;
    struct value_series *series =
        result_push(result, samples->labels, high - low + (extends ? 2 : 0), samples->drop_name);
    if (series == NULL)
        return eval->err->code;
    if (extends) {
        struct eval_window window = {
            .times_ms = samples->times_ms + low,
            .values = samples->values + low,
            .count = high - low,
            .start_ms = start_ms,
            .end_ms = end_ms,
        };
        eval_extend_window(&window, range->is_smoothed, series->times_ms, series->values,
                           &series->count);
        if (series->count == 0)
            result->value->series_count--;
        return NX_OK;
    }
    memcpy(series->times_ms, samples->times_ms + low, (high - low) * sizeof(int64_t));
    memcpy(series->values, samples->values + low, (high - low) * sizeof(double));
    return NX_OK;
}

/* foo[5m] as the whole query: the samples as they are. */
static nx_code result_from_range(struct result *result, const struct ast_node *root,
                                 const struct eval_grid *grid)
{
    struct eval *eval = result->eval;
    struct eval_range *range;
    nx_code code = eval_open_range(eval, root, grid, &range);
    if (code != NX_OK)
        return code;
    int64_t end_ms = eval_range_end(range, 0);
    int64_t start_ms = eval_time_sub(end_ms, range->range_ms);
    struct eval_samples samples;
    int got;
    while ((got = range->next(range, &samples)) == 1) {
        code = result_add_window(result, range, &samples, start_ms, end_ms);
        if (code != NX_OK)
            return code;
    }
    return got < 0 ? eval->err->code : NX_OK;
}

static nx_code result_from_scalar(struct result *result, const struct ast_node *root,
                                  const struct eval_grid *grid)
{
    struct eval *eval = result->eval;
    double *column = eval_scalar_column(eval, root, grid);
    if (column == NULL)
        return eval->err->code;
    result->value->scalar = column[0];
    if (!eval->options->is_range)
        return NX_OK;
    struct value_series *series = result_push(result, (struct labels){0}, grid->step_count, false);
    if (series == NULL)
        return eval->err->code;
    for (size_t i = 0; i < grid->step_count; i++)
        series->times_ms[i] = eval_step_time(grid, i);
    memcpy(series->values, column, grid->step_count * sizeof(double));
    return NX_OK;
}

/* Joins `extra` into `base`, which has equal labels: points of both, by time. */
static nx_code join_series(struct eval *eval, struct value_series *base,
                           const struct value_series *extra)
{
    size_t count = base->count + extra->count;
    int64_t *points = arena_alloc(eval->arena, count * 2 * sizeof(*points));
    if (points == NULL)
        return eval_no_memory(eval);
    double *values = (double *)(points + count);
    size_t a = 0;
    size_t b = 0;
    for (size_t i = 0; i < count; i++) {
        if (a < base->count && b < extra->count && base->times_ms[a] == extra->times_ms[b])
            return eval_same_labels(eval);
        bool takes_base =
            b == extra->count || (a < base->count && base->times_ms[a] < extra->times_ms[b]);
        points[i] = takes_base ? base->times_ms[a] : extra->times_ms[b];
        values[i] = takes_base ? base->values[a] : extra->values[b];
        a += takes_base;
        b += !takes_base;
    }
    base->times_ms = points;
    base->values = values;
    base->count = count;
    return NX_OK;
}

/* Delayed name removal: the names go now, and series that become equal are joined. */
static nx_code result_drop_names(struct result *result)
{
    struct eval *eval = result->eval;
    struct value *value = result->value;
    struct key_table keys;
    key_table_init(&keys, eval->arena, eval->key_seed);
    size_t kept = 0;
    for (size_t i = 0; i < value->series_count; i++) {
        struct value_series *series = &value->series[i];
        if (result->drop_names[i]) {
            bool ok;
            series->labels = eval_labels_without_reserved(eval, series->labels, &ok);
            if (!ok)
                return eval->err->code;
        }
        bool is_new;
        size_t at = key_table_put(&keys, eval_labels_key(eval, series->labels), &is_new);
        if (at == KEY_TABLE_NONE)
            return eval_no_memory(eval);
        if (is_new) {
            value->series[kept++] = *series;
            continue;
        }
        nx_code code = join_series(eval, &value->series[at], series);
        if (code != NX_OK)
            return code;
    }
    value->series_count = kept;
    return NX_OK;
}

static int compare_series(const void *a, const void *b)
{
    const struct value_series *left = a;
    const struct value_series *right = b;
    return labels_compare(left->labels, right->labels);
}

nx_code eval_result(struct eval *eval, const struct ast_node *root, struct value *value)
{
    const struct eval_options *options = eval->options;
    const struct eval_grid *grid = eval_grid_new(
        eval, options->start_ms, options->is_range ? options->end_ms : options->start_ms,
        options->is_range && options->step_ms > 0 ? options->step_ms : 1);
    if (grid == NULL)
        return eval->err->code;
    if (options->is_range && root->type != VALUE_TYPE_VECTOR && root->type != VALUE_TYPE_SCALAR)
        return eval_fail(eval, NX_E_INVALID,
                         "invalid expression type \"%s\" for range query, must be Scalar or "
                         "instant Vector",
                         value_type_text(root->type));
    struct result result = {.eval = eval, .value = value};
    value->type = options->is_range ? VALUE_TYPE_MATRIX : root->type;
    value->time_ms = options->start_ms;
    if (grid->step_count == 0)
        return NX_OK;
    nx_code code = NX_OK;
    switch (root->type) {
    case VALUE_TYPE_SCALAR:
        code = result_from_scalar(&result, root, grid);
        break;
    case VALUE_TYPE_VECTOR:
        code = result_from_vector(&result, root, grid);
        break;
    case VALUE_TYPE_MATRIX:
        code = result_from_range(&result, root, grid);
        break;
    case VALUE_TYPE_STRING:
        value->string = eval_string(root);
        break;
    case VALUE_TYPE_NONE:
        return eval_fail(eval, NX_E_INVALID, "expression has no type");
    }
    if (code == NX_OK && options->delayed_name_removal && result.drops_any)
        code = result_drop_names(&result);
    if (code == NX_OK && value->type == VALUE_TYPE_MATRIX && value->series_count > 1)
        qsort(value->series, value->series_count, sizeof(*value->series), compare_series);
    return code;
}
