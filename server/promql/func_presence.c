/* SPDX-License-Identifier: Apache-2.0 */
/* func_presence.c - between vectors and scalars, and what is not there: scalar, vector, absent, absent_over_time.
 *
 * Source   Prometheus' promql/functions.go.
 */
#include "eval_functions.h"

#include <math.h>

static nx_code scalar_of_vector(struct eval *eval, const struct ast_node *call,
                                const struct eval_grid *grid, double *out)
{
    size_t words = eval_words(grid);
    uint64_t *seen = eval_alloc(eval, words, sizeof(uint64_t));
    struct eval_stream *child;
    if (seen == NULL)
        return eval->err->code;
    nx_code code = eval_open(eval, call->u.call.args[0], grid, &child);
    if (code != NX_OK)
        return code;
    for (size_t i = 0; i < grid->step_count; i++)
        out[i] = NAN;
    struct eval_series series;
    int got;
    while ((got = child->next(child, &series)) == 1) {
        for (size_t w = 0; w < words; w++) {
            for (uint64_t bits = series.present[w]; bits != 0; bits &= bits - 1) {
                size_t step = w * 64 + eval_lowest(bits);
                out[step] = eval_bit(seen, step) ? NAN : series.values[step];
                eval_bit_set(seen, step);
            }
        }
    }
    return got < 0 ? eval->err->code : NX_OK;
}

const struct eval_function eval_scalar = {.scalar = scalar_of_vector};

static nx_code open_vector(struct eval *eval, const struct ast_node *call,
                           const struct eval_grid *grid, struct eval_stream **out)
{
    struct eval_series *series = eval_alloc(eval, 1, sizeof(*series));
    uint64_t *present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    double *values = eval_scalar_column(eval, call->u.call.args[0], grid);
    if (series == NULL || present == NULL || values == NULL)
        return eval->err->code;
    for (size_t i = 0; i < grid->step_count; i++)
        eval_bit_set(present, i);
    *series = (struct eval_series){.values = values, .present = present};
    return eval_array_open(eval, grid, EVAL_NAMES_NONE, series, 1, out);
}

const struct eval_function eval_vector = {.open = open_vector};

/* The labels that the selector pins: unique equality matchers. None for anything but a selector. */
static bool absent_labels(struct eval *eval, const struct ast_node *arg, struct labels *out)
{
    *out = (struct labels){0};
    arg = ast_unwrap_parens(arg);
    if (arg->kind == AST_MATRIX_SELECTOR)
        arg = arg->u.matrix.selector;
    if (arg->kind != AST_VECTOR_SELECTOR)
        return true;
    size_t count = arg->u.selector.matcher_count;
    struct label *items = eval_alloc(eval, count, sizeof(*items));
    if (items == NULL)
        return false;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const struct matcher *matcher = &arg->u.selector.matchers[i];
        if (nx_str_eq(matcher->name, NX_STR(LABEL_NAME_METRIC)))
            continue;
        /* A label that was set before goes away again, whatever the second condition is; and stays away. */
        bool is_known = false;
        for (size_t k = 0; k < kept; k++) {
            if (!nx_str_eq(items[k].name, matcher->name))
                continue;
            items[k].value = (struct nx_str){0};
            is_known = true;
        }
        if (!is_known && matcher->type == MATCHER_EQUAL)
            items[kept++] = (struct label){matcher->name, matcher->value};
    }
    out->items = items;
    out->count = labels_canonicalize(items, kept);
    return true;
}

struct absent_stream {
    struct eval_stream stream;
    struct eval_stream *child; /* absent */
    struct eval_range *range;  /* absent_over_time */
    struct labels labels;
    double *values;
    uint64_t *present;
    bool is_given;
};

static int clear_where_present(struct absent_stream *absent)
{
    size_t words = eval_words(absent->stream.grid);
    struct eval_series series;
    int got;
    while ((got = absent->child->next(absent->child, &series)) == 1)
        for (size_t w = 0; w < words; w++)
            absent->present[w] &= ~series.present[w];
    return got;
}

static int clear_where_sampled(struct absent_stream *absent)
{
    const struct eval_grid *grid = absent->stream.grid;
    struct eval_samples samples;
    int got;
    while ((got = absent->range->next(absent->range, &samples)) == 1) {
        size_t low = 0;
        size_t high = 0;
        for (size_t i = 0; i < grid->step_count; i++) {
            int64_t end_ms = eval_range_end(absent->range, i);
            int64_t start_ms = eval_time_sub(end_ms, absent->range->range_ms);
            while (high < samples.count && samples.times_ms[high] <= end_ms)
                high++;
            while (low < high && samples.times_ms[low] <= start_ms)
                low++;
            absent->stream.eval->samples_queryable += high - low;
            if (low < high)
                eval_bit_clear(absent->present, i);
        }
    }
    return got;
}

static int absent_next(struct eval_stream *stream, struct eval_series *out)
{
    struct absent_stream *absent = (struct absent_stream *)stream;
    if (absent->is_given)
        return 0;
    absent->is_given = true;
    int got = absent->child != NULL ? clear_where_present(absent) : clear_where_sampled(absent);
    if (got < 0)
        return -1;
    *out = (struct eval_series){
        .labels = absent->labels,
        .values = absent->values,
        .present = absent->present,
    };
    return eval_bits_any(absent->present, eval_words(stream->grid)) ? 1 : 0;
}

static nx_code open_absent(struct eval *eval, const struct ast_node *call,
                           const struct eval_grid *grid, struct eval_stream **out)
{
    const struct ast_node *arg = ast_unwrap_parens(call->u.call.args[0]);
    struct absent_stream *absent = eval_alloc(eval, 1, sizeof(*absent));
    if (absent == NULL)
        return eval->err->code;
    nx_code code = arg->type == VALUE_TYPE_MATRIX ? eval_open_range(eval, arg, grid, &absent->range)
                                                  : eval_open(eval, arg, grid, &absent->child);
    if (code != NX_OK)
        return code;
    if (absent->range != NULL && (absent->range->is_anchored || absent->range->is_smoothed))
        return eval_fail(eval, NX_E_EXECUTION,
                         "%s modifier can only be used with: %sdelta, increase, rate%s - not with "
                         "absent_over_time",
                         absent->range->is_anchored ? "anchored" : "smoothed",
                         absent->range->is_anchored ? "changes, " : "",
                         absent->range->is_anchored ? ", resets" : "");
    absent->values = eval_alloc(eval, grid->step_count, sizeof(double));
    absent->present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    if (absent->values == NULL || absent->present == NULL ||
        !absent_labels(eval, arg, &absent->labels))
        return eval->err->code;
    for (size_t i = 0; i < grid->step_count; i++) {
        absent->values[i] = 1;
        eval_bit_set(absent->present, i);
    }
    absent->stream = (struct eval_stream){
        .next = absent_next,
        .eval = eval,
        .grid = grid,
        .names = labels_have_reserved(absent->labels) ? EVAL_NAMES_ANY : EVAL_NAMES_NONE,
    };
    *out = &absent->stream;
    return NX_OK;
}

const struct eval_function eval_absent = {.open = open_absent};
const struct eval_function eval_absent_over_time = {.open = open_absent};
