/* SPDX-License-Identifier: Apache-2.0 */
/* eval_binop.c - binary operators: the arithmetic itself, and a vector with a scalar. Two vectors are matched in
 * eval_match.c, set operators are in eval_setop.c, two scalars in eval_scalar.c.
 */
#include "narthex/base/assert.h"

#include "eval_internal.h"

#include <math.h>

bool eval_op_changes_schema(enum ast_op op)
{
    return !ast_op_is_comparison(op) && !ast_op_is_set(op) && op != OP_TRIM_UPPER &&
           op != OP_TRIM_LOWER;
}

/* Whole powers are multiplied out by repeated squaring, as Go does: from the third on, the last bit may differ from
 * pow's. Mantissas stay in [0.5, 1), so that nothing overflows on the way. */
static double power(double base, double exponent)
{
    if (exponent != trunc(exponent) || fabs(exponent) >= 0x1p53 || !isfinite(base) || base == 0)
        return pow(base, exponent);
    int base_exponent;
    double factor = frexp(base, &base_exponent);
    int64_t factor_exponent = base_exponent;
    double result = 1;
    int64_t result_exponent = 0;
    for (int64_t left = (int64_t)fabs(exponent); left != 0; left >>= 1) {
        if (factor_exponent < -(1 << 12) || factor_exponent > 1 << 12) {
            result_exponent += factor_exponent; /* beyond any float already */
            break;
        }
        if ((left & 1) != 0) {
            result *= factor;
            result_exponent += factor_exponent;
        }
        factor *= factor;
        factor_exponent *= 2;
        if (factor < 0.5) {
            factor += factor;
            factor_exponent--;
        }
    }
    if (exponent < 0) {
        result = 1 / result;
        result_exponent = -result_exponent;
    }
    return ldexp(result, (int)result_exponent);
}

double eval_float_op(enum ast_op op, double left, double right, bool *out_keep)
{
    *out_keep = true;
    switch (op) {
    case OP_ADD:
        return left + right;
    case OP_SUB:
        return left - right;
    case OP_MUL:
        return left * right;
    case OP_DIV:
        return left / right;
    case OP_MOD:
        return fmod(left, right);
    case OP_POW:
        return power(left, right);
    case OP_ATAN2:
        return atan2(left, right);
    case OP_EQL:
        *out_keep = left == right;
        return left;
    case OP_NEQ:
        *out_keep = left != right;
        return left;
    case OP_LSS:
        *out_keep = left < right;
        return left;
    case OP_LTE:
        *out_keep = left <= right;
        return left;
    case OP_GTR:
        *out_keep = left > right;
        return left;
    case OP_GTE:
        *out_keep = left >= right;
        return left;
    case OP_TRIM_UPPER: /* trims cut histograms: of floats nothing is left */
    case OP_TRIM_LOWER:
    case OP_AND:
    case OP_OR:
    case OP_UNLESS:
    case OP_COUNT:
        break;
    }
    *out_keep = false;
    return 0;
}

void eval_float_trim_info(struct eval *eval, const struct ast_node *node)
{
    const char *op = ast_op_text(node->u.binary.op);
    eval_annotate(eval, ANNOTATION_INFO, node,
                  "incompatible sample types encountered for binary operator \"%s\": float %s "
                  "float",
                  op, op);
}

struct scalar_side {
    const struct ast_node *node;
    const double *column;
    bool is_left; /* scalar op vector */
};

static void apply_arithmetic(const struct scalar_side *side, struct eval_series *series,
                             size_t step_count)
{
    enum ast_op op = side->node->u.binary.op;
    const double *scalar = side->column;
    double *values = series->values;
    bool keep;
    if (side->is_left)
        for (size_t i = 0; i < step_count; i++)
            values[i] = eval_float_op(op, scalar[i], values[i], &keep);
    else
        for (size_t i = 0; i < step_count; i++)
            values[i] = eval_float_op(op, values[i], scalar[i], &keep);
}

/* A filter keeps the vector's value, also when the scalar is on the left. */
static void apply_comparison(const struct scalar_side *side, struct eval_series *series,
                             size_t step_count)
{
    enum ast_op op = side->node->u.binary.op;
    bool returns_bool = side->node->u.binary.returns_bool;
    for (size_t i = 0; i < step_count; i++) {
        if (!eval_bit(series->present, i))
            continue;
        bool keep;
        double left = side->is_left ? side->column[i] : series->values[i];
        double right = side->is_left ? series->values[i] : side->column[i];
        eval_float_op(op, left, right, &keep);
        if (returns_bool)
            series->values[i] = keep ? 1 : 0;
        else if (!keep)
            eval_bit_clear(series->present, i);
    }
}

static void apply_scalar(struct eval_stream *map, const void *context, struct eval_series *series)
{
    const struct scalar_side *side = context;
    enum ast_op op = side->node->u.binary.op;
    if (ast_op_is_comparison(op)) {
        apply_comparison(side, series, map->grid->step_count);
    } else if (eval_op_changes_schema(op)) {
        apply_arithmetic(side, series, map->grid->step_count);
    } else {
        eval_float_trim_info(map->eval, side->node);
        memset(series->present, 0, eval_words(map->grid) * sizeof(uint64_t));
    }
}

static nx_code open_with_scalar(struct eval *eval, const struct ast_node *node,
                                const struct eval_grid *grid, struct eval_stream **out)
{
    struct scalar_side *side = eval_alloc(eval, 1, sizeof(*side));
    if (side == NULL)
        return eval->err->code;
    const struct ast_node *left = node->u.binary.left;
    const struct ast_node *right = node->u.binary.right;
    *side = (struct scalar_side){.node = node, .is_left = left->type == VALUE_TYPE_SCALAR};
    side->column = eval_scalar_column(eval, side->is_left ? left : right, grid);
    if (side->column == NULL)
        return eval->err->code;
    struct eval_stream *child;
    nx_code code = eval_open(eval, side->is_left ? right : left, grid, &child);
    if (code == NX_OK)
        code = eval_map_open(eval, child, apply_scalar, side, out);
    if (code != NX_OK)
        return code;
    if (!eval_op_changes_schema(node->u.binary.op) && !node->u.binary.returns_bool)
        return NX_OK;
    return eval_drop_open(eval, *out, false, out);
}

nx_code eval_binary_open(struct eval *eval, const struct ast_node *node,
                         const struct eval_grid *grid, struct eval_stream **out)
{
    if (node->u.binary.left->type == VALUE_TYPE_SCALAR ||
        node->u.binary.right->type == VALUE_TYPE_SCALAR)
        return open_with_scalar(eval, node, grid, out);
    if (ast_op_is_set(node->u.binary.op))
        return eval_setop_open(eval, node, grid, out);
    return eval_match_open(eval, node, grid, out);
}
