/* SPDX-License-Identifier: Apache-2.0 */
/* eval_scalar.c - scalar expressions: one number a step, no labels, no gaps.
 *
 * Chains of operators lean left and may be thousands long, so their left side is walked by a loop.
 */
#include "eval_internal.h"

double *eval_scalar_column(struct eval *eval, const struct ast_node *node,
                           const struct eval_grid *grid)
{
    double *column = eval_alloc(eval, grid->step_count, sizeof(double));
    if (column == NULL || eval_scalar_fill(eval, node, grid, column) != NX_OK)
        return NULL;
    return column;
}

static void apply(enum ast_op op, const double *left, const double *right, size_t count,
                  double *out)
{
    bool compares = ast_op_is_comparison(op);
    for (size_t i = 0; i < count; i++) {
        bool keep;
        double value = eval_float_op(op, left[i], right[i], &keep);
        out[i] = compares ? (keep ? 1 : 0) : value;
    }
}

/* a op b op c: leftmost operand first, then the right ones as they stand. */
static nx_code eval_chain(struct eval *eval, const struct ast_node *node,
                          const struct eval_grid *grid, double *out)
{
    size_t length = 0;
    const struct ast_node *leftmost = node;
    while (leftmost->kind == AST_BINARY) {
        leftmost = ast_unwrap_parens(leftmost->u.binary.left);
        length++;
    }
    const struct ast_node **spine = eval_alloc(eval, length, sizeof(const struct ast_node *));
    double *right = eval_alloc(eval, grid->step_count, sizeof(double));
    if (spine == NULL || right == NULL)
        return eval->err->code;
    const struct ast_node *at = node;
    for (size_t i = length; i-- > 0; at = ast_unwrap_parens(at->u.binary.left))
        spine[i] = at;
    nx_code code = eval_scalar_fill(eval, leftmost, grid, out);
    for (size_t i = 0; i < length && code == NX_OK; i++) {
        code = eval_scalar_fill(eval, spine[i]->u.binary.right, grid, right);
        if (code == NX_OK)
            apply(spine[i]->u.binary.op, out, right, grid->step_count, out);
    }
    return code;
}

static nx_code eval_node(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, double *out)
{
    nx_code code;
    switch (node->kind) {
    case AST_NUMBER:
        for (size_t i = 0; i < grid->step_count; i++)
            out[i] = node->u.number.value;
        return NX_OK;
    case AST_UNARY:
        code = eval_scalar_fill(eval, node->u.unary.expr, grid, out);
        if (code == NX_OK && node->u.unary.is_negative)
            for (size_t i = 0; i < grid->step_count; i++)
                out[i] = -out[i];
        return code;
    case AST_BINARY:
        return eval_chain(eval, node, grid, out);
    case AST_CALL:
        if (node->u.call.function->eval == NULL || node->u.call.function->eval->scalar == NULL)
            return eval_fail(eval, NX_E_UNSUPPORTED, "the function %s() is not supported yet",
                             node->u.call.function->name);
        return node->u.call.function->eval->scalar(eval, node, grid, out);
    case AST_PAREN:
    case AST_STRING:
    case AST_VECTOR_SELECTOR:
    case AST_MATRIX_SELECTOR:
    case AST_SUBQUERY:
    case AST_AGGREGATE:
    case AST_DURATION:
    case AST_KIND_COUNT:
        break;
    }
    return eval_fail(eval, NX_E_INVALID, "unexpected %s where a scalar was expected",
                     value_type_text(node->type));
}

nx_code eval_scalar_fill(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, double *out)
{
    if (eval->depth == EVAL_DEPTH_MAX)
        return eval_fail(eval, NX_E_LIMIT, "query is nested more than %d deep", EVAL_DEPTH_MAX);
    eval->depth++;
    nx_code code = eval_node(eval, ast_unwrap_parens(node), grid, out);
    eval->depth--;
    return code;
}
