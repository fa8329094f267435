/* SPDX-License-Identifier: Apache-2.0 */
/* eval.c - dispatch: a tree node becomes a stream. What the root's stream gives becomes the value in eval_result.c.
 *
 * In       a typed tree with durations resolved, a source of series, the steps.
 * Out      a value, annotations, statistics; all in the query's arena.
 * Fails    as eval.h says. The first error ends the evaluation.
 *
 * Parts of the tree that cannot change from step to step (pinned by @, or constant) are evaluated on a grid of one step
 * and their columns are widened.
 */
#include "narthex/promql/eval.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/promql/parse.h"

#include "eval_internal.h"

#include <stdarg.h>
#include <stdio.h>

/* Chosen: far above any real query, and a column of it still fits many budgets. */
#define EVAL_STEPS_MAX ((uint64_t)1 << 28)
/* Chosen: some 100 us of work between two looks at the clock, which cost 30 ns each. */
#define EVAL_WORK_PER_LOOK 50000

nx_code eval_fail(struct eval *eval, nx_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    nx_buf_reset(&eval->text);
    nx_buf_reserve(&eval->text, (size_t)length + 1);
    va_start(args, format);
    vsnprintf((char *)eval->text.data, (size_t)length + 1, format, args);
    va_end(args);
    eval->text.len = (size_t)length;
    return eval_fail_text(eval, code, nx_buf_str(&eval->text));
}

nx_code eval_fail_text(struct eval *eval, nx_code code, struct nx_str text)
{
    if (text.len >= sizeof(eval->err->msg))
        eval->failure = arena_strdup(eval->arena, text);
    return nx_err_set(eval->err, code, "%.*s", NX_STR_ARGS(text));
}

nx_code eval_no_memory(struct eval *eval)
{
    return eval_fail(eval, NX_E_LIMIT, "query needs more memory than it may use (%zu bytes)",
                     eval->arena->budget_bytes);
}

nx_code eval_same_labels(struct eval *eval)
{
    return eval_fail(eval, NX_E_EXECUTION, "vector cannot contain metrics with the same labelset");
}

static bool too_many_samples(struct eval *eval)
{
    nx_ignore(eval_fail(eval, NX_E_LIMIT,
                        "query processing would load too many samples into memory in query "
                        "execution"));
    return false;
}

bool eval_touch(struct eval *eval, uint64_t samples)
{
    uint64_t held = eval->samples_held + samples;
    if (held > eval->samples_peak)
        eval->samples_peak = held;
    if (eval->options->samples_max != 0 && held > eval->options->samples_max)
        return too_many_samples(eval);
    return true;
}

bool eval_hold(struct eval *eval, uint64_t samples)
{
    eval->samples_held += samples;
    return eval_touch(eval, 0);
}

bool eval_poll(struct eval *eval, uint64_t work)
{
    const struct eval_options *options = eval->options;
    if (options->is_cancelled != NULL &&
        atomic_load_explicit(options->is_cancelled, memory_order_relaxed)) {
        nx_ignore(eval_fail(eval, NX_E_CANCELLED, "query was canceled in query execution"));
        return false;
    }
    eval->unpolled_work += work;
    if (options->deadline_ns == 0 || options->clock == NULL ||
        eval->unpolled_work < EVAL_WORK_PER_LOOK)
        return true;
    eval->unpolled_work = 0;
    if (clock_mono_ns(options->clock) < options->deadline_ns)
        return true;
    nx_ignore(eval_fail(eval, NX_E_TIMEOUT, "query timed out in query execution"));
    return false;
}

void *eval_alloc(struct eval *eval, size_t count, size_t bytes)
{
    void *memory = arena_calloc(eval->arena, count, bytes);
    if (memory == NULL)
        nx_ignore(eval_no_memory(eval));
    return memory;
}

bool eval_on_end(struct eval *eval, void (*run)(void *what), void *what)
{
    struct eval_cleanup *cleanup = eval_alloc(eval, 1, sizeof(*cleanup));
    if (cleanup == NULL) {
        run(what);
        return false;
    }
    *cleanup = (struct eval_cleanup){.run = run, .what = what, .next = eval->cleanups};
    eval->cleanups = cleanup;
    return true;
}

const struct eval_grid *eval_grid_new(struct eval *eval, int64_t start_ms, int64_t end_ms,
                                      int64_t step_ms)
{
    uint64_t count = 0;
    if (end_ms >= start_ms)
        count = ((uint64_t)end_ms - (uint64_t)start_ms) / (uint64_t)step_ms + 1;
    uint64_t limit = eval->options->samples_max;
    if (limit == 0 || limit > EVAL_STEPS_MAX)
        limit = EVAL_STEPS_MAX;
    if (count > limit) {
        too_many_samples(eval);
        return NULL;
    }
    struct eval_grid *grid = eval_alloc(eval, 1, sizeof(*grid));
    if (grid != NULL)
        *grid = (struct eval_grid){start_ms, step_ms, (size_t)count};
    return grid;
}

struct nx_str eval_string(const struct ast_node *node)
{
    const struct ast_node *inner = ast_unwrap_parens(node);
    return inner->kind == AST_STRING ? inner->u.string.value : (struct nx_str){0};
}

bool function_is_at_unsafe(struct nx_str name)
{
    static const char *const unsafe[] = {
        "days_in_month", "day_of_month", "day_of_week",    "day_of_year", "hour",      "minute",
        "month",         "year",         "predict_linear", "time",        "timestamp",
    };
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        if (nx_str_eq(name, nx_str_from(unsafe[i])))
            return true;
    return false;
}

/* Whether the value is the same at every step. Long chains of operators lean left, so that side is a loop. */
static bool node_is_invariant(const struct ast_node *node)
{
    for (;;) {
        switch (node->kind) {
        case AST_NUMBER:
        case AST_STRING:
            return true;
        case AST_VECTOR_SELECTOR:
            return node->u.selector.modifiers.at != AT_NONE;
        case AST_MATRIX_SELECTOR:
            node = node->u.matrix.selector;
            continue;
        case AST_SUBQUERY:
            return node->u.subquery.modifiers.at != AT_NONE;
        case AST_UNARY:
            node = node->u.unary.expr;
            continue;
        case AST_PAREN:
            node = node->u.paren.expr;
            continue;
        case AST_BINARY:
            if (!node_is_invariant(node->u.binary.right))
                return false;
            node = node->u.binary.left;
            continue;
        case AST_AGGREGATE:
            if (node->u.aggregate.param != NULL && !node_is_invariant(node->u.aggregate.param))
                return false;
            node = node->u.aggregate.expr;
            continue;
        case AST_CALL:
            if (function_is_at_unsafe(nx_str_from(node->u.call.function->name)))
                return false;
            for (size_t i = 0; i < node->u.call.arg_count; i++)
                if (!node_is_invariant(node->u.call.args[i]))
                    return false;
            return true;
        case AST_DURATION:
        case AST_KIND_COUNT:
            return false;
        }
        return false;
    }
}

/* Widens a column of one step to all. */
struct broadcast_stream {
    struct eval_stream stream;
    struct eval_stream *child;
    double *values;
    uint64_t *present;
};

static int broadcast_next(struct eval_stream *stream, struct eval_series *out)
{
    struct broadcast_stream *broadcast = (struct broadcast_stream *)stream;
    struct eval_series narrow;
    int got = broadcast->child->next(broadcast->child, &narrow);
    if (got != 1)
        return got;
    for (size_t i = 0; i < stream->grid->step_count; i++) {
        broadcast->values[i] = narrow.values[0];
        eval_bit_set(broadcast->present, i);
    }
    *out = (struct eval_series){
        .labels = narrow.labels,
        .values = broadcast->values,
        .present = broadcast->present,
        .drop_name = narrow.drop_name,
    };
    return 1;
}

static nx_code broadcast_open(struct eval *eval, const struct ast_node *node,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    struct broadcast_stream *broadcast = eval_alloc(eval, 1, sizeof(*broadcast));
    if (broadcast == NULL)
        return eval->err->code;
    const struct eval_grid *narrow = eval_grid_new(eval, grid->start_ms, grid->start_ms, 1);
    if (narrow == NULL)
        return eval->err->code;
    nx_code code = eval_open(eval, node, narrow, &broadcast->child);
    if (code != NX_OK)
        return code;
    broadcast->values = eval_alloc(eval, grid->step_count, sizeof(double));
    broadcast->present = eval_alloc(eval, eval_words(grid), sizeof(uint64_t));
    if (broadcast->values == NULL || broadcast->present == NULL)
        return eval->err->code;
    broadcast->stream = (struct eval_stream){
        .next = broadcast_next,
        .eval = eval,
        .grid = grid,
        .names = broadcast->child->names,
    };
    *out = &broadcast->stream;
    return NX_OK;
}

static void negate(struct eval_stream *map, const void *context, struct eval_series *series)
{
    (void)context;
    for (size_t i = 0; i < map->grid->step_count; i++)
        series->values[i] = -series->values[i];
}

static nx_code unary_open(struct eval *eval, const struct ast_node *node,
                          const struct eval_grid *grid, struct eval_stream **out)
{
    struct eval_stream *child;
    nx_code code = eval_open(eval, node->u.unary.expr, grid, &child);
    if (code != NX_OK || !node->u.unary.is_negative) {
        *out = child;
        return code;
    }
    code = eval_map_open(eval, child, negate, NULL, &child);
    if (code != NX_OK)
        return code;
    return eval_drop_open(eval, child, false, out);
}

static nx_code open_node(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, struct eval_stream **out)
{
    switch (node->kind) {
    case AST_VECTOR_SELECTOR:
        return eval_selector_open(eval, node, false, grid, out);
    case AST_UNARY:
        return unary_open(eval, node, grid, out);
    case AST_BINARY:
        return eval_binary_open(eval, node, grid, out);
    case AST_AGGREGATE:
        return eval_aggregate_open(eval, node, grid, out);
    case AST_CALL:
        return eval_call_open(eval, node, grid, out);
    case AST_PAREN:
        return eval_open(eval, node->u.paren.expr, grid, out);
    case AST_NUMBER:
    case AST_STRING:
    case AST_MATRIX_SELECTOR:
    case AST_SUBQUERY:
    case AST_DURATION:
    case AST_KIND_COUNT:
        break;
    }
    return eval_fail(eval, NX_E_INVALID, "unexpected %s where an instant vector was expected",
                     value_type_text(node->type));
}

nx_code eval_open(struct eval *eval, const struct ast_node *node, const struct eval_grid *grid,
                  struct eval_stream **out)
{
    if (eval->depth == EVAL_DEPTH_MAX)
        return eval_fail(eval, NX_E_LIMIT, "query is nested more than %d deep", EVAL_DEPTH_MAX);
    node = ast_unwrap_parens(node);
    eval->depth++;
    nx_code code;
    if (grid->step_count > 1 && node_is_invariant(node))
        code = broadcast_open(eval, node, grid, out);
    else
        code = open_node(eval, node, grid, out);
    eval->depth--;
    return code;
}

nx_code eval_open_range(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_range **out)
{
    node = ast_unwrap_parens(node);
    if (node->kind == AST_MATRIX_SELECTOR)
        return eval_matrix_open(eval, node, grid, out);
    if (node->kind == AST_SUBQUERY)
        return eval_subquery_open(eval, node, grid, out);
    return eval_fail(eval, NX_E_INVALID, "unexpected %s where a range vector was expected",
                     value_type_text(node->type));
}

nx_code promql_eval(const struct ast_node *root, struct series_source *source,
                    const struct eval_options *options, struct arena *arena,
                    struct value *out_value, struct annotations *out_annotations,
                    struct series_warnings *out_warnings, struct eval_stats *out_stats,
                    struct nx_err *err)
{
    struct annotations annotations = {0};
    struct series_warnings warnings = {0};
    struct eval eval = {
        .options = options,
        .source = source,
        .arena = arena,
        .annotations = &annotations,
        .warnings = &warnings,
        .err = err,
        .unpolled_work = EVAL_WORK_PER_LOOK,
        .key_seed = nx_hash_mix((uint64_t)(uintptr_t)arena, (uint64_t)(uintptr_t)&annotations),
    };
    struct value value = {0};
    *err = (struct nx_err){0};
    nx_code code = eval_result(&eval, ast_unwrap_parens(root), &value);
    if (code == NX_OK && !eval_monotonicity_end(&eval))
        code = err->code;
    while (eval.cleanups != NULL) {
        struct eval_cleanup *cleanup = eval.cleanups;
        eval.cleanups = cleanup->next;
        cleanup->run(cleanup->what);
    }
    nx_buf_deinit(&eval.key);
    nx_buf_deinit(&eval.text);
    nx_buf_deinit(&eval.quotes[0]);
    nx_buf_deinit(&eval.quotes[1]);
    *out_annotations = annotations;
    *out_warnings = warnings;
    *out_stats = (struct eval_stats){
        .samples_read = eval.samples_read,
        .samples_queryable = eval.samples_queryable,
        .samples_peak = eval.samples_peak,
        .failure = eval.failure,
    };
    if (code == NX_OK)
        *out_value = value;
    return code;
}
