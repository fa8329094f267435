/* SPDX-License-Identifier: Apache-2.0 */
/* func_sort.c - sort, sort_desc, sort_by_label, sort_by_label_desc. They matter for instant queries only: the answer
 * of a range query is always in label order, so there the series pass as they come, with a warning.
 */
#include "eval_functions.h"
#include "eval_order.h"

#include <math.h>

struct sort_stream {
    struct eval_stream stream;
    const struct ast_node *call;
    struct eval_stream *child;
    eval_precedes_fn precedes;
    struct eval_list list;
    size_t *order;
    bool is_sorted;
    size_t given;
};

static bool value_precedes(const void *context, size_t a, size_t b)
{
    const struct sort_stream *sort = context;
    double right = sort->list.items[b].values[0];
    return isnan(right) || sort->list.items[a].values[0] < right;
}

static bool value_precedes_desc(const void *context, size_t a, size_t b)
{
    const struct sort_stream *sort = context;
    double right = sort->list.items[b].values[0];
    return isnan(right) || sort->list.items[a].values[0] > right;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cuts the leading run of digits, or of anything else. */
static struct nx_str cut_run(struct nx_str *rest)
{
    size_t length = 1;
    while (length < rest->len && is_digit(rest->data[length]) == is_digit(rest->data[0]))
        length++;
    struct nx_str run = {.data = rest->data, .len = length};
    rest->data += length;
    rest->len -= length;
    return run;
}

/* Natural order: runs of digits compare as numbers when they fit 63 bits, everything else as bytes. */
static int compare_natural(struct nx_str a, struct nx_str b)
{
    while (a.len > 0 && b.len > 0) {
        struct nx_str run_a = cut_run(&a);
        struct nx_str run_b = cut_run(&b);
        int64_t number_a;
        int64_t number_b;
        bool are_numbers = is_digit(run_a.data[0]) && is_digit(run_b.data[0]) &&
                           nx_str_to_i64(run_a, &number_a) && nx_str_to_i64(run_b, &number_b);
        int order =
            are_numbers ? (number_a > number_b) - (number_a < number_b) : nx_str_cmp(run_a, run_b);
        if (order != 0)
            return order;
    }
    return (a.len > 0) - (b.len > 0);
}

static int compare_by_labels(const struct sort_stream *sort, size_t a, size_t b)
{
    struct labels left = sort->list.items[a].labels;
    struct labels right = sort->list.items[b].labels;
    for (size_t i = 1; i < sort->call->u.call.arg_count; i++) {
        struct nx_str name = eval_string(sort->call->u.call.args[i]);
        struct nx_str value_a = labels_get(left, name);
        struct nx_str value_b = labels_get(right, name);
        if (nx_str_eq(value_a, value_b))
            continue;
        int order = compare_natural(value_a, value_b);
        if (order != 0)
            return order;
    }
    return labels_compare(left, right);
}

static bool label_precedes(const void *context, size_t a, size_t b)
{
    return compare_by_labels(context, a, b) < 0;
}

static bool label_precedes_desc(const void *context, size_t a, size_t b)
{
    return compare_by_labels(context, a, b) > 0;
}

static int sort_next(struct eval_stream *stream, struct eval_series *out)
{
    struct sort_stream *sort = (struct sort_stream *)stream;
    if (!sort->is_sorted) {
        if (eval_list_collect(&sort->list, sort->child) != NX_OK)
            return -1;
        size_t count = sort->list.count;
        sort->order = eval_alloc(stream->eval, 2 * count, sizeof(size_t));
        if (sort->order == NULL)
            return -1;
        for (size_t i = 0; i < count; i++)
            sort->order[i] = i;
        eval_order_sort(sort->order, count, sort->order + count, sort->precedes, sort);
        sort->is_sorted = true;
    }
    if (sort->given == sort->list.count)
        return 0;
    *out = sort->list.items[sort->order[sort->given++]];
    return 1;
}

static nx_code open_sorted(struct eval *eval, const struct ast_node *call,
                           const struct eval_grid *grid, eval_precedes_fn precedes,
                           struct eval_stream **out)
{
    struct eval_stream *child;
    nx_code code = eval_open(eval, call->u.call.args[0], grid, &child);
    if (code != NX_OK)
        return code;
    if (grid->step_count != 1) {
        eval_annotate(eval, ANNOTATION_WARNING, call,
                      "sort is ineffective for range queries since results are always ordered by "
                      "labels");
        *out = child;
        return NX_OK;
    }
    struct sort_stream *sort = eval_alloc(eval, 1, sizeof(*sort));
    if (sort == NULL)
        return eval->err->code;
    sort->stream = (struct eval_stream){
        .next = sort_next,
        .eval = eval,
        .grid = grid,
        .names = child->names == EVAL_NAMES_NONE ? EVAL_NAMES_NONE : EVAL_NAMES_ANY,
    };
    sort->call = call;
    sort->child = child;
    sort->precedes = precedes;
    eval_list_init(&sort->list, eval, grid);
    *out = &sort->stream;
    return NX_OK;
}

static nx_code open_sort(struct eval *eval, const struct ast_node *call,
                         const struct eval_grid *grid, struct eval_stream **out)
{
    return open_sorted(eval, call, grid, value_precedes, out);
}

static nx_code open_sort_desc(struct eval *eval, const struct ast_node *call,
                              const struct eval_grid *grid, struct eval_stream **out)
{
    return open_sorted(eval, call, grid, value_precedes_desc, out);
}

static nx_code open_sort_by_label(struct eval *eval, const struct ast_node *call,
                                  const struct eval_grid *grid, struct eval_stream **out)
{
    return open_sorted(eval, call, grid, label_precedes, out);
}

static nx_code open_sort_by_label_desc(struct eval *eval, const struct ast_node *call,
                                       const struct eval_grid *grid, struct eval_stream **out)
{
    return open_sorted(eval, call, grid, label_precedes_desc, out);
}

const struct eval_function eval_sort = {.open = open_sort};
const struct eval_function eval_sort_desc = {.open = open_sort_desc};
const struct eval_function eval_sort_by_label = {.open = open_sort_by_label};
const struct eval_function eval_sort_by_label_desc = {.open = open_sort_by_label_desc};
