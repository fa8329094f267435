/* SPDX-License-Identifier: Apache-2.0 */
/* eval_selector.c - vector and matrix selectors: a series' samples against all steps, each sample looked at once.
 *
 * Instant at T: the newest sample in (T - lookback, T], nothing when that is a stale marker.
 * Range at T:   the samples in (T - range, T] without stale markers.
 * T is the step's time, or what @ says, less the offset.
 * Smoothed instant at T: on the line between the newest sample up to T and the oldest from T on, each within lookback;
 *               without a later one, the earlier one's value.
 */
#include "narthex/base/assert.h"
#include "narthex/model/staleness.h"

#include "eval_internal.h"

/* What opening a series is worth, in samples. */
#define SERIES_WORK 500

/* An open set of series. */
struct selection {
    struct eval *eval;
    struct series_set *set;
    int64_t offset_ms;
    bool is_pinned;
    int64_t pinned_ms; /* offset applied */
    enum eval_names names;
};

static void selection_close(void *what)
{
    struct selection *selection = what;
    if (selection->set != NULL)
        selection->set->ops->free(selection->set);
    selection->set = NULL;
}

/* Where a step of `grid` looks. */
static int64_t selection_time(const struct selection *selection, const struct eval_grid *grid,
                              size_t step)
{
    return selection->is_pinned ? selection->pinned_ms
                                : eval_time_sub(eval_step_time(grid, step), selection->offset_ms);
}

static enum eval_names selector_names(const struct ast_node *node)
{
    for (size_t i = 0; i < node->u.selector.matcher_count; i++) {
        const struct matcher *matcher = &node->u.selector.matchers[i];
        if (matcher->type == MATCHER_EQUAL && matcher->value.len > 0 &&
            nx_str_eq(matcher->name, NX_STR(LABEL_NAME_METRIC)))
            return EVAL_NAMES_PINNED;
    }
    return EVAL_NAMES_ANY;
}

/* Opens the series that have a sample in (T - before, T + after] for some step's T. */
static nx_code selection_open(struct selection *selection, struct eval *eval,
                              const struct ast_node *node, int64_t before_ms, int64_t after_ms,
                              const struct eval_grid *grid)
{
    const struct ast_modifiers *modifiers = &node->u.selector.modifiers;
    int64_t at_ms = 0;
    switch (modifiers->at) {
    case AT_NONE:
        break;
    case AT_TIME:
        at_ms = modifiers->at_ms;
        break;
    case AT_START:
        at_ms = eval->options->start_ms;
        break;
    case AT_END:
        at_ms = eval->options->is_range ? eval->options->end_ms : eval->options->start_ms;
        break;
    }
    *selection = (struct selection){
        .eval = eval,
        .offset_ms = modifiers->offset.ms,
        .is_pinned = modifiers->at != AT_NONE,
        .pinned_ms = eval_time_sub(at_ms, modifiers->offset.ms),
        .names = selector_names(node),
    };
    if (grid->step_count == 0)
        return NX_OK;
    int64_t first_ms = selection_time(selection, grid, 0);
    int64_t last_ms = selection_time(selection, grid, grid->step_count - 1);
    struct series_hints hints = {
        .arena = eval->arena,
        .is_cancelled = eval->options->is_cancelled,
    };
    int64_t min_ms = eval_time_add(eval_time_sub(first_ms, before_ms), 1);
    last_ms = eval_time_add(last_ms, after_ms);
    nx_code code = eval->source->ops->select(eval->source, node->u.selector.matchers,
                                             node->u.selector.matcher_count, min_ms, last_ms,
                                             &hints, &selection->set, eval->warnings, eval->err);
    if (code != NX_OK) {
        selection->set = NULL;
        return nx_err_wrap(eval->err, "expanding series");
    }
    if (!eval_on_end(eval, selection_close, selection))
        return eval->err->code;
    return NX_OK;
}

static int selection_next(struct selection *selection, struct series_columns *out)
{
    struct eval *eval = selection->eval;
    if (selection->set == NULL)
        return 0;
    if (!eval_poll(eval, SERIES_WORK))
        return -1;
    int got = selection->set->ops->next(selection->set, out, eval->err);
    if (got < 0) {
        nx_ignore(nx_err_wrap(eval->err, "expanding series"));
        return -1;
    }
    if (got == 0) {
        selection_close(selection);
        return 0;
    }
    eval->samples_read += out->count;
    return eval_touch(eval, out->count) && eval_poll(eval, out->count) ? 1 : -1;
}

/* Samples without stale markers: copied only when there are any. */
struct stale_filter {
    int64_t *times_ms;
    double *values;
    size_t cap;
};

static bool has_stale(const double *values, size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found |= is_stale_nan(values[i]);
    return found;
}

static bool filter_stale(struct stale_filter *filter, struct eval *eval,
                         const struct series_columns *columns, struct eval_samples *out)
{
    *out = (struct eval_samples){
        .labels = columns->labels,
        .times_ms = columns->times_ms,
        .values = columns->values,
        .count = columns->count,
    };
    if (!has_stale(columns->values, columns->count))
        return true;
    if (columns->count > filter->cap) {
        size_t cap = columns->count + columns->count / 2;
        filter->times_ms = eval_alloc(eval, cap, sizeof(int64_t));
        filter->values = eval_alloc(eval, cap, sizeof(double));
        if (filter->times_ms == NULL || filter->values == NULL)
            return false;
        filter->cap = cap;
    }
    size_t kept = 0;
    for (size_t i = 0; i < columns->count; i++) {
        filter->times_ms[kept] = columns->times_ms[i];
        filter->values[kept] = columns->values[i];
        kept += !is_stale_nan(columns->values[i]);
    }
    out->times_ms = filter->times_ms;
    out->values = filter->values;
    out->count = kept;
    return true;
}

struct selector_stream {
    struct eval_stream stream;
    struct selection selection;
    bool wants_times; /* timestamp(): the sample's own time is the value */
    bool is_smoothed;
    struct stale_filter filter; /* smoothed only */
    double *values;
    uint64_t *present;
};

/* Finds each step's sample: `next` is the first one later than the step. */
static size_t fill_steps(struct selector_stream *selector, const struct series_columns *columns)
{
    const struct eval_grid *grid = selector->stream.grid;
    int64_t lookback_ms = selector->stream.eval->options->lookback_ms;
    size_t found = 0;
    size_t next = 0;
    memset(selector->present, 0, eval_words(grid) * sizeof(uint64_t));
    for (size_t i = 0; i < grid->step_count; i++) {
        int64_t at_ms = selection_time(&selector->selection, grid, i);
        while (next < columns->count && columns->times_ms[next] <= at_ms)
            next++;
        if (next == 0)
            continue;
        int64_t time_ms = columns->times_ms[next - 1];
        double value = columns->values[next - 1];
        if (time_ms <= eval_time_sub(at_ms, lookback_ms) || is_stale_nan(value))
            continue;
        selector->values[i] = selector->wants_times ? (double)time_ms / 1000 : value;
        eval_bit_set(selector->present, i);
        found++;
    }
    return found;
}

double eval_interpolate(int64_t first_ms, double first, int64_t second_ms, double second,
                        int64_t time_ms, bool is_counter)
{
    if (is_counter && second < first)
        first = 0;
    return first + (second - first) * (double)eval_time_sub(time_ms, first_ms) /
                       (double)eval_time_sub(second_ms, first_ms);
}

/* `next` is the first sample at or after the step. */
static size_t fill_smoothed(struct selector_stream *selector, const struct eval_samples *samples)
{
    const struct eval_grid *grid = selector->stream.grid;
    int64_t lookback_ms = selector->stream.eval->options->lookback_ms;
    size_t found = 0;
    size_t next = 0;
    memset(selector->present, 0, eval_words(grid) * sizeof(uint64_t));
    for (size_t i = 0; i < grid->step_count; i++) {
        int64_t at_ms = selection_time(&selector->selection, grid, i);
        while (next < samples->count && samples->times_ms[next] < at_ms)
            next++;
        bool has_next =
            next < samples->count && samples->times_ms[next] <= eval_time_add(at_ms, lookback_ms);
        bool has_before =
            next > 0 && samples->times_ms[next - 1] > eval_time_sub(at_ms, lookback_ms);
        if (has_next && samples->times_ms[next] == at_ms)
            selector->values[i] = samples->values[next];
        else if (has_next && has_before)
            selector->values[i] =
                eval_interpolate(samples->times_ms[next - 1], samples->values[next - 1],
                                 samples->times_ms[next], samples->values[next], at_ms, false);
        else if (has_before)
            selector->values[i] = samples->values[next - 1];
        else
            continue;
        eval_bit_set(selector->present, i);
        found++;
    }
    return found;
}

static int selector_next(struct eval_stream *stream, struct eval_series *out)
{
    struct selector_stream *selector = (struct selector_stream *)stream;
    struct series_columns columns;
    for (;;) {
        int got = selection_next(&selector->selection, &columns);
        if (got != 1)
            return got;
        size_t found;
        if (selector->is_smoothed) {
            struct eval_samples samples;
            if (!filter_stale(&selector->filter, stream->eval, &columns, &samples))
                return -1;
            found = fill_smoothed(selector, &samples);
        } else {
            found = fill_steps(selector, &columns);
        }
        if (found == 0)
            continue;
        stream->eval->samples_queryable += found;
        *out = (struct eval_series){
            .labels = columns.labels,
            .values = selector->values,
            .present = selector->present,
        };
        return 1;
    }
}

nx_code eval_selector_open(struct eval *eval, const struct ast_node *node, bool wants_times,
                           const struct eval_grid *grid, struct eval_stream **out)
{
    struct selector_stream *selector = eval_alloc(eval, 1, sizeof(*selector));
    if (selector == NULL)
        return eval->err->code;
    int64_t lookback_ms = eval->options->lookback_ms;
    selector->is_smoothed = node->u.selector.is_smoothed && !wants_times;
    nx_code code = selection_open(&selector->selection, eval, node, lookback_ms,
                                  selector->is_smoothed ? lookback_ms : 0, grid);
    if (code != NX_OK)
        return code;
    selector->values = eval_alloc(eval, grid->step_count, sizeof(double));
    selector->present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    if (selector->values == NULL || selector->present == NULL)
        return eval->err->code;
    selector->wants_times = wants_times;
    selector->stream = (struct eval_stream){
        .next = selector_next,
        .eval = eval,
        .grid = grid,
        .names = selector->selection.names,
    };
    *out = &selector->stream;
    return NX_OK;
}

struct matrix_range {
    struct eval_range range;
    struct selection selection;
    struct stale_filter filter;
};

static int matrix_next(struct eval_range *range, struct eval_samples *out)
{
    struct matrix_range *matrix = (struct matrix_range *)range;
    struct series_columns columns;
    int got = selection_next(&matrix->selection, &columns);
    if (got != 1)
        return got;
    return filter_stale(&matrix->filter, range->eval, &columns, out) ? 1 : -1;
}

nx_code eval_matrix_open(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, struct eval_range **out)
{
    struct matrix_range *matrix = eval_alloc(eval, 1, sizeof(*matrix));
    if (matrix == NULL)
        return eval->err->code;
    const struct ast_node *selector = node->u.matrix.selector;
    int64_t range_ms = node->u.matrix.range.ms;
    int64_t lookback_ms = eval->options->lookback_ms;
    bool is_anchored = selector->u.selector.is_anchored;
    bool is_smoothed = selector->u.selector.is_smoothed;
    int64_t before_ms =
        is_anchored || is_smoothed ? eval_time_add(range_ms, lookback_ms) : range_ms;
    nx_code code = selection_open(&matrix->selection, eval, selector, before_ms,
                                  is_smoothed ? lookback_ms : 0, grid);
    if (code != NX_OK)
        return code;
    matrix->range = (struct eval_range){
        .next = matrix_next,
        .eval = eval,
        .grid = grid,
        .node = node,
        .range_ms = range_ms,
        .offset_ms = matrix->selection.offset_ms,
        .is_pinned = matrix->selection.is_pinned,
        .pinned_ms = matrix->selection.pinned_ms,
        .is_anchored = is_anchored,
        .is_smoothed = is_smoothed,
        .names = matrix->selection.names,
    };
    *out = &matrix->range;
    return NX_OK;
}
