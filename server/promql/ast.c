/* SPDX-License-Identifier: Apache-2.0 */
/* ast.c - names of what a tree consists of, walking it, freeing what is outside the arena.
 *
 * A walk keeps the nodes still to be visited in a list of its own: a chain of operators may be AST_HEIGHT_MAX high,
 * which is more than a thread's stack should be asked for.
 */
#include "narthex/promql/ast.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

const char *value_type_name(enum value_type type)
{
    switch (type) {
    case VALUE_TYPE_NONE:
        return "none";
    case VALUE_TYPE_SCALAR:
        return "scalar";
    case VALUE_TYPE_VECTOR:
        return "vector";
    case VALUE_TYPE_MATRIX:
        return "matrix";
    case VALUE_TYPE_STRING:
        return "string";
    }
    return "none";
}

const char *value_type_text(enum value_type type)
{
    switch (type) {
    case VALUE_TYPE_VECTOR:
        return "instant vector";
    case VALUE_TYPE_MATRIX:
        return "range vector";
    case VALUE_TYPE_NONE:
    case VALUE_TYPE_SCALAR:
    case VALUE_TYPE_STRING:
        break;
    }
    return value_type_name(type);
}

const char *ast_op_text(enum ast_op op)
{
    static const char *const texts[OP_COUNT] = {
        [OP_ADD] = "+",  [OP_SUB] = "-",         [OP_MUL] = "*",         [OP_DIV] = "/",
        [OP_MOD] = "%",  [OP_POW] = "^",         [OP_ATAN2] = "atan2",   [OP_EQL] = "==",
        [OP_NEQ] = "!=", [OP_LSS] = "<",         [OP_LTE] = "<=",        [OP_GTR] = ">",
        [OP_GTE] = ">=", [OP_TRIM_UPPER] = "</", [OP_TRIM_LOWER] = ">/", [OP_AND] = "and",
        [OP_OR] = "or",  [OP_UNLESS] = "unless",
    };
    NX_ASSERT(op < OP_COUNT);
    return texts[op];
}

bool ast_op_is_comparison(enum ast_op op)
{
    return op >= OP_EQL && op <= OP_GTE;
}

bool ast_op_is_set(enum ast_op op)
{
    return op == OP_AND || op == OP_OR || op == OP_UNLESS;
}

const char *ast_aggregate_text(enum ast_aggregate op)
{
    static const char *const texts[AGGREGATE_COUNT_OF] = {
        [AGGREGATE_SUM] = "sum",
        [AGGREGATE_AVG] = "avg",
        [AGGREGATE_COUNT] = "count",
        [AGGREGATE_MIN] = "min",
        [AGGREGATE_MAX] = "max",
        [AGGREGATE_GROUP] = "group",
        [AGGREGATE_STDDEV] = "stddev",
        [AGGREGATE_STDVAR] = "stdvar",
        [AGGREGATE_TOPK] = "topk",
        [AGGREGATE_BOTTOMK] = "bottomk",
        [AGGREGATE_COUNT_VALUES] = "count_values",
        [AGGREGATE_QUANTILE] = "quantile",
        [AGGREGATE_LIMITK] = "limitk",
        [AGGREGATE_LIMIT_RATIO] = "limit_ratio",
    };
    NX_ASSERT(op < AGGREGATE_COUNT_OF);
    return texts[op];
}

const struct ast_node *ast_unwrap_parens(const struct ast_node *node)
{
    while (node->kind == AST_PAREN)
        node = node->u.paren.expr;
    return node;
}

/* Nodes waiting for their visit, the next one last. */
struct walk_list {
    struct ast_node **items;
    size_t count;
    size_t cap;
};

static void walk_push(struct walk_list *list, struct ast_node *node)
{
    if (node == NULL)
        return;
    if (list->count == list->cap) {
        list->cap = list->cap == 0 ? 32 : list->cap * 2;
        list->items = nx_realloc_array(list->items, list->cap, sizeof(struct ast_node *));
    }
    list->items[list->count++] = node;
}

/* The last child first, so that the first one is visited next. */
static void walk_push_children(struct walk_list *list, struct ast_node *node)
{
    switch (node->kind) {
    case AST_NUMBER:
    case AST_STRING:
        return;
    case AST_VECTOR_SELECTOR:
        walk_push(list, node->u.selector.modifiers.offset.expr);
        return;
    case AST_MATRIX_SELECTOR:
        walk_push(list, node->u.matrix.range.expr);
        walk_push(list, node->u.matrix.selector);
        return;
    case AST_SUBQUERY:
        walk_push(list, node->u.subquery.modifiers.offset.expr);
        walk_push(list, node->u.subquery.step.expr);
        walk_push(list, node->u.subquery.range.expr);
        walk_push(list, node->u.subquery.expr);
        return;
    case AST_UNARY:
        walk_push(list, node->u.unary.expr);
        return;
    case AST_BINARY:
        walk_push(list, node->u.binary.right);
        walk_push(list, node->u.binary.left);
        return;
    case AST_AGGREGATE:
        walk_push(list, node->u.aggregate.expr);
        walk_push(list, node->u.aggregate.param);
        return;
    case AST_CALL:
        for (size_t i = node->u.call.arg_count; i > 0; i--)
            walk_push(list, node->u.call.args[i - 1]);
        return;
    case AST_PAREN:
        walk_push(list, node->u.paren.expr);
        return;
    case AST_DURATION:
        walk_push(list, node->u.duration.right);
        walk_push(list, node->u.duration.left);
        return;
    case AST_KIND_COUNT:
        break;
    }
    NX_ASSERT(false && "a node has a kind");
}

void ast_walk(struct ast_node *root, ast_visit_fn visit, void *context)
{
    struct walk_list list = {0};
    walk_push(&list, root);
    while (list.count > 0) {
        struct ast_node *node = list.items[--list.count];
        visit(context, node);
        walk_push_children(&list, node);
    }
    nx_free(list.items);
}

static void deinit_visit(void *context, struct ast_node *node)
{
    (void)context;
    if (node->kind != AST_VECTOR_SELECTOR)
        return;
    for (size_t i = 0; i < node->u.selector.matcher_count; i++)
        matcher_deinit(&node->u.selector.matchers[i]);
    node->u.selector.matcher_count = 0;
}

void ast_deinit(struct ast_node *root)
{
    if (root != NULL)
        ast_walk(root, deinit_visit, NULL);
}
