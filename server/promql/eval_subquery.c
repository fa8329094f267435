/* SPDX-License-Identifier: Apache-2.0 */
/* eval_subquery.c - expr[range:step]: the inner expression on a grid of its own, its columns read as samples.
 *
 * The inner steps are absolute multiples of the step within (T - range, T], for all outer T at once: outer windows that
 * overlap share what was computed.
 */
#include "eval_internal.h"

struct subquery_range {
    struct eval_range range;
    const struct eval_grid *inner;
    struct eval_stream *child; /* NULL: no step falls into the range */
    int64_t *times_ms;
    double *values;
};

static int subquery_next(struct eval_range *range, struct eval_samples *out)
{
    struct subquery_range *subquery = (struct subquery_range *)range;
    struct eval_series series;
    if (subquery->child == NULL)
        return 0;
    if (!eval_poll(range->eval, subquery->inner->step_count))
        return -1;
    int got = subquery->child->next(subquery->child, &series);
    if (got != 1)
        return got;
    size_t words = eval_words(subquery->inner);
    size_t count = 0;
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = series.present[w]; bits != 0; bits &= bits - 1) {
            size_t step = w * 64 + eval_lowest(bits);
            subquery->times_ms[count] = eval_step_time(subquery->inner, step);
            subquery->values[count++] = series.values[step];
        }
    }
    *out = (struct eval_samples){
        .labels = series.labels,
        .times_ms = subquery->times_ms,
        .values = subquery->values,
        .count = count,
        .drop_name = series.drop_name,
    };
    return eval_touch(range->eval, count) ? 1 : -1;
}

/* The first multiple of the step later than `after_ms`. */
static int64_t first_step_after(int64_t after_ms, int64_t step_ms)
{
    int64_t multiple = after_ms / step_ms * step_ms;
    return multiple <= after_ms ? eval_time_add(multiple, step_ms) : multiple;
}

nx_code eval_subquery_open(struct eval *eval, const struct ast_node *node,
                           const struct eval_grid *grid, struct eval_range **out)
{
    const struct ast_modifiers *modifiers = &node->u.subquery.modifiers;
    struct subquery_range *subquery = eval_alloc(eval, 1, sizeof(*subquery));
    if (subquery == NULL)
        return eval->err->code;
    int64_t at_ms = modifiers->at_ms;
    if (modifiers->at == AT_START)
        at_ms = eval->options->start_ms;
    else if (modifiers->at == AT_END)
        at_ms = eval->options->is_range ? eval->options->end_ms : eval->options->start_ms;
    struct eval_range *range = &subquery->range;
    *range = (struct eval_range){
        .next = subquery_next,
        .eval = eval,
        .grid = grid,
        .node = node,
        .range_ms = node->u.subquery.range.ms,
        .offset_ms = modifiers->offset.ms,
        .is_pinned = modifiers->at != AT_NONE,
        .pinned_ms = eval_time_sub(at_ms, modifiers->offset.ms),
        .names = EVAL_NAMES_NONE,
    };
    *out = range;
    int64_t step_ms = node->u.subquery.step.ms;
    if (step_ms == 0)
        step_ms = eval->options->subquery_step_ms;
    if (step_ms <= 0)
        return eval_fail(eval, NX_E_INVALID, "zero or negative subquery step");
    if (grid->step_count == 0)
        return NX_OK;
    int64_t first_ms = eval_range_end(range, 0);
    int64_t last_ms = eval_range_end(range, grid->step_count - 1);
    int64_t start_ms = first_step_after(eval_time_sub(first_ms, range->range_ms), step_ms);
    if (start_ms > last_ms)
        return NX_OK;
    subquery->inner = eval_grid_new(eval, start_ms, last_ms, step_ms);
    if (subquery->inner == NULL)
        return eval->err->code;
    nx_code code = eval_open(eval, node->u.subquery.expr, subquery->inner, &subquery->child);
    if (code != NX_OK)
        return code;
    range->names = subquery->child->names;
    subquery->times_ms = eval_alloc(eval, subquery->inner->step_count, sizeof(int64_t));
    subquery->values = eval_alloc(eval, subquery->inner->step_count, sizeof(double));
    if (subquery->times_ms == NULL || subquery->values == NULL)
        return eval->err->code;
    return NX_OK;
}
