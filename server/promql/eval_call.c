/* SPDX-License-Identifier: Apache-2.0 */
/* eval_call.c - function calls: maps over a column, functions of windows that slide over a series' samples, and those
 * that open a stream of their own.
 *
 *   samples    t0  t1  t2  t3  t4  t5  t6  t7 ...        times ascending
 *   step i         [low ......... high)                  (T - range, T]
 *   step i+1               [low ......... high)          both ends only move forward
 */
#include "narthex/base/assert.h"

#include "eval_internal.h"

struct map_stream {
    struct eval_stream stream;
    struct eval_stream *child;
    eval_map_fn map;
    const void *context;
};

static int map_next(struct eval_stream *stream, struct eval_series *out)
{
    struct map_stream *map = (struct map_stream *)stream;
    size_t words = eval_words(stream->grid);
    for (;;) {
        int got = map->child->next(map->child, out);
        if (got != 1)
            return got;
        map->map(stream, map->context, out);
        if (eval_bits_any(out->present, words))
            return 1;
    }
}

nx_code eval_map_open(struct eval *eval, struct eval_stream *child, eval_map_fn map,
                      const void *context, struct eval_stream **out)
{
    struct map_stream *stream = eval_alloc(eval, 1, sizeof(*stream));
    if (stream == NULL)
        return eval->err->code;
    *stream = (struct map_stream){
        .stream = {.next = map_next, .eval = eval, .grid = child->grid, .names = child->names},
        .child = child,
        .map = map,
        .context = context,
    };
    *out = &stream->stream;
    return NX_OK;
}

static void map_values(struct eval_stream *map, const void *context, struct eval_series *series)
{
    const struct eval_function *function = context;
    size_t words = eval_words(map->grid);
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = series->present[w]; bits != 0; bits &= bits - 1) {
            double *value = &series->values[w * 64 + eval_lowest(bits)];
            *value = function->map(*value);
        }
    }
}

/* Seconds as Go's conversion from float64 gives them on the machines that Prometheus runs on. */
static int64_t whole_seconds(double value)
{
    if (!(value >= -9223372036854775808.0 && value < 9223372036854775808.0))
        return INT64_MIN;
    return (int64_t)value;
}

static void map_dates(struct eval_stream *map, const void *context, struct eval_series *series)
{
    const struct eval_function *function = context;
    size_t words = eval_words(map->grid);
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = series->present[w]; bits != 0; bits &= bits - 1) {
            double *value = &series->values[w * 64 + eval_lowest(bits)];
            *value = function->date(whole_seconds(*value));
        }
    }
}

/* hour() and its kin without an argument: of the step's time. */
static nx_code open_date_of_step(struct eval *eval, const struct eval_function *function,
                                 const struct eval_grid *grid, struct eval_stream **out)
{
    struct eval_series *series = eval_alloc(eval, 1, sizeof(*series));
    double *values = eval_alloc(eval, grid->step_count, sizeof(double));
    uint64_t *present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    if (series == NULL || values == NULL || present == NULL)
        return eval->err->code;
    for (size_t i = 0; i < grid->step_count; i++) {
        values[i] = function->date(eval_step_time(grid, i) / 1000);
        eval_bit_set(present, i);
    }
    *series = (struct eval_series){.values = values, .present = present};
    return eval_array_open(eval, grid, EVAL_NAMES_NONE, series, 1, out);
}

static nx_code open_map(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_stream **out)
{
    const struct eval_function *function = node->u.call.function->eval;
    if (node->u.call.arg_count == 0)
        return open_date_of_step(eval, function, grid, out);
    struct eval_stream *child;
    nx_code code = eval_open(eval, node->u.call.args[0], grid, &child);
    if (code != NX_OK)
        return code;
    eval_map_fn map = function->map != NULL ? map_values : map_dates;
    code = eval_map_open(eval, child, map, function, &child);
    if (code != NX_OK)
        return code;
    return eval_drop_open(eval, child, false, out);
}

bool eval_range_call_reserve(struct eval_range_call *call, size_t count)
{
    if (count <= call->scratch_cap)
        return true;
    size_t cap = count + count / 2;
    call->scratch = eval_alloc(call->stream.eval, cap, sizeof(double));
    if (call->scratch == NULL)
        return false;
    call->scratch_cap = cap;
    return true;
}

/* Sets low and high of every step; the number of samples that all windows hold together. */
static uint64_t slide_windows(struct eval_range_call *call, const struct eval_samples *samples)
{
    const struct eval_range *range = call->range;
    uint32_t count = (uint32_t)samples->count;
    uint32_t low = 0;
    uint32_t high = 0;
    uint64_t held = 0;
    for (size_t i = 0; i < range->grid->step_count; i++) {
        int64_t end_ms = eval_range_end(range, i);
        int64_t start_ms = eval_time_sub(end_ms, range->range_ms);
        int64_t last_ms = eval_range_last(range, end_ms);
        int64_t first_ms = eval_range_first(range, start_ms);
        while (high < count && samples->times_ms[high] <= last_ms)
            high++;
        while (low < high && samples->times_ms[low] <= first_ms)
            low++;
        call->low[i] = low;
        call->high[i] = high;
        held += high - low;
    }
    return held;
}

static bool run_windows(struct eval_range_call *call, const struct eval_samples *samples)
{
    const struct eval_grid *grid = call->stream.grid;
    int (*function)(const struct eval_window *window, double *out) =
        call->is_extended ? call->function->extended : call->function->window;
    struct eval_window window = {.call = call};
    for (size_t i = 0; i < grid->step_count; i++) {
        uint32_t low = call->low[i];
        if (low == call->high[i])
            continue;
        window.times_ms = samples->times_ms + low;
        window.values = samples->values + low;
        window.count = call->high[i] - low;
        if (!eval_poll(call->stream.eval, window.count))
            return false;
        window.end_ms = eval_range_end(call->range, i);
        window.start_ms = eval_time_sub(window.end_ms, call->range->range_ms);
        window.time_ms = eval_step_time(grid, i);
        for (size_t p = 0; p < call->param_count; p++)
            window.params[p] = call->params[p][i];
        int got = function(&window, &call->values[i]);
        if (got < 0)
            return false;
        if (got == 1)
            eval_bit_set(call->present, i);
    }
    return true;
}

static bool ends_as_counter(struct nx_str name)
{
    return nx_str_ends_with(name, NX_STR("_total")) || nx_str_ends_with(name, NX_STR("_sum")) ||
           nx_str_ends_with(name, NX_STR("_count")) || nx_str_ends_with(name, NX_STR("_bucket"));
}

static bool check_counter_name(struct eval_range_call *call, struct labels labels)
{
    struct eval *eval = call->stream.eval;
    struct nx_str name = labels_get(labels, NX_STR(LABEL_NAME_METRIC));
    if (nx_str_eq(name, call->checked_name) || ends_as_counter(name))
        return true;
    call->checked_name = arena_strdup(eval->arena, name);
    if (call->checked_name.data == NULL) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    struct nx_str quoted = eval_quoted(eval, 0, name);
    eval_annotate(eval, ANNOTATION_INFO, call->range_arg,
                  "metric might not be a counter, name does not end in "
                  "_total/_sum/_count/_bucket: %.*s",
                  NX_STR_ARGS(quoted));
    return true;
}

static int range_call_next(struct eval_stream *stream, struct eval_series *out)
{
    struct eval_range_call *call = (struct eval_range_call *)stream;
    size_t words = eval_words(stream->grid);
    struct eval_samples samples;
    for (;;) {
        int got = call->range->next(call->range, &samples);
        if (got != 1)
            return got;
        NX_ASSERT(samples.count < UINT32_MAX);
        uint64_t held = slide_windows(call, &samples);
        if (held == 0)
            continue;
        stream->eval->samples_queryable += held;
        memset(call->present, 0, words * sizeof(uint64_t));
        bool ok = call->function->columns != NULL && !call->is_extended
                      ? call->function->columns(call, &samples, call->values, call->present)
                      : run_windows(call, &samples);
        if (!ok)
            return -1;
        if (!eval_bits_any(call->present, words))
            continue;
        if (call->function->wants_counter && !check_counter_name(call, samples.labels))
            return -1;
        *out = (struct eval_series){
            .labels = samples.labels,
            .values = call->values,
            .present = call->present,
            .drop_name = samples.drop_name,
        };
        return 1;
    }
}

/* Splits the arguments into the range vector and the scalars around it. */
static nx_code open_range_args(struct eval_range_call *call, const struct ast_node *node,
                               const struct eval_grid *grid)
{
    struct eval *eval = call->stream.eval;
    for (size_t i = 0; i < node->u.call.arg_count; i++) {
        const struct ast_node *arg = ast_unwrap_parens(node->u.call.args[i]);
        if (arg->type == VALUE_TYPE_MATRIX) {
            call->range_arg = arg;
            continue;
        }
        NX_ASSERT(call->param_count < NX_ARRAY_LEN(call->params));
        call->param_args[call->param_count] = arg;
        call->params[call->param_count] = eval_scalar_column(eval, arg, grid);
        if (call->params[call->param_count++] == NULL)
            return eval->err->code;
    }
    NX_ASSERT(call->range_arg != NULL);
    return eval_open_range(eval, call->range_arg, grid, &call->range);
}

/* Few functions know what to do with a window's edges. */
static nx_code check_extended(struct eval_range_call *call)
{
    const struct eval_function *function = call->function;
    const char *name = call->node->u.call.function->name;
    call->is_extended = call->range->is_anchored || call->range->is_smoothed;
    if (call->range->is_anchored && function->extended == NULL)
        return eval_fail(call->stream.eval, NX_E_EXECUTION,
                         "anchored modifier can only be used with: changes, delta, increase, rate, "
                         "resets - not with %s",
                         name);
    if (call->range->is_smoothed && !function->is_smoothable)
        return eval_fail(call->stream.eval, NX_E_EXECUTION,
                         "smoothed modifier can only be used with: delta, increase, rate - not "
                         "with %s",
                         name);
    return NX_OK;
}

/* As Go's Duration.Seconds: whole seconds and the rest are converted apart. */
static double duration_seconds(int64_t duration_ms)
{
    return (double)(duration_ms / 1000) + (double)(duration_ms % 1000 * 1000000) / 1e9;
}

static nx_code open_range_call(struct eval *eval, const struct ast_node *node,
                               const struct eval_grid *grid, struct eval_stream **out)
{
    struct eval_range_call *call = eval_alloc(eval, 1, sizeof(*call));
    if (call == NULL)
        return eval->err->code;
    call->stream = (struct eval_stream){.next = range_call_next, .eval = eval, .grid = grid};
    call->node = node;
    call->function = node->u.call.function->eval;
    nx_code code = open_range_args(call, node, grid);
    if (code == NX_OK)
        code = check_extended(call);
    if (code != NX_OK)
        return code;
    call->stream.names = call->range->names;
    call->range_seconds = duration_seconds(call->range->range_ms);
    call->low = eval_alloc(eval, grid->step_count, sizeof(uint32_t));
    call->high = eval_alloc(eval, grid->step_count, sizeof(uint32_t));
    call->values = eval_alloc(eval, grid->step_count, sizeof(double));
    call->present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    if (call->low == NULL || call->high == NULL || call->values == NULL || call->present == NULL)
        return eval->err->code;
    if (call->function->begin != NULL) {
        code = call->function->begin(call);
        if (code != NX_OK)
            return code;
    }
    *out = &call->stream;
    return call->function->keeps_name ? NX_OK : eval_drop_open(eval, &call->stream, true, out);
}

nx_code eval_call_open(struct eval *eval, const struct ast_node *node, const struct eval_grid *grid,
                       struct eval_stream **out)
{
    const struct eval_function *function = node->u.call.function->eval;
    if (function == NULL)
        return eval_fail(eval, NX_E_UNSUPPORTED, "the function %s() is not supported yet",
                         node->u.call.function->name);
    if (function->open != NULL)
        return function->open(eval, node, grid, out);
    if (function->map != NULL || function->date != NULL)
        return open_map(eval, node, grid, out);
    NX_ASSERT(function->window != NULL || function->columns != NULL);
    return open_range_call(eval, node, grid, out);
}
