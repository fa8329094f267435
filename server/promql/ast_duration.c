/* SPDX-License-Identifier: Apache-2.0 */
/* ast_duration.c - arithmetic over durations becomes milliseconds, once step and range of the query are known.
 *
 * In     a tree, step and range.   Out   ms of every ast_duration that has an expression.
 * Fails  NX_E_INVALID with Prometheus' text.
 * Source Prometheus promql/durations.go. Stack: trees of durations are at most PARSE_DEPTH_MAX high.
 */
#include "narthex/base/assert.h"
#include "narthex/promql/ast.h"

#include <math.h>

#define DURATION_SECONDS_MAX 9223372036.854775807 /* 2^63 ns */

struct resolve {
    double step_seconds;
    double range_seconds;
    struct nx_err *err;
    nx_code code;
};

static nx_code duration_compute(const struct resolve *resolve, const struct ast_node *node,
                                double *out_seconds);

static nx_code duration_compute_binary(const struct resolve *resolve, const struct ast_node *node,
                                       double *out_seconds)
{
    double left;
    double right;
    nx_code code = duration_compute(resolve, node->u.duration.left, &left);
    if (code == NX_OK)
        code = duration_compute(resolve, node->u.duration.right, &right);
    if (code != NX_OK)
        return code;
    if (node->u.duration.what == DURATION_MIN || node->u.duration.what == DURATION_MAX) {
        bool is_left = node->u.duration.what == DURATION_MIN ? left <= right : left >= right;
        *out_seconds = isnan(left) || isnan(right) ? NAN : is_left ? left : right;
        return NX_OK;
    }
    switch ((int)node->u.duration.op) {
    case OP_ADD:
        *out_seconds = left + right;
        return NX_OK;
    case OP_SUB:
        *out_seconds = left - right;
        return NX_OK;
    case OP_MUL:
        *out_seconds = left * right;
        return NX_OK;
    case OP_DIV:
        if (right == 0)
            return nx_err_set(resolve->err, NX_E_INVALID, "division by zero");
        *out_seconds = left / right;
        return NX_OK;
    case OP_MOD:
        if (right == 0)
            return nx_err_set(resolve->err, NX_E_INVALID, "modulo by zero");
        *out_seconds = fmod(left, right);
        return NX_OK;
    case OP_POW:
        *out_seconds = pow(left, right);
        return NX_OK;
    default:
        NX_ASSERT(false && "durations know only arithmetic");
        return NX_E_INVALID;
    }
}

static nx_code duration_compute(const struct resolve *resolve, const struct ast_node *node,
                                double *out_seconds)
{
    NX_ASSERT(node->kind == AST_DURATION);
    switch (node->u.duration.what) {
    case DURATION_NUMBER:
        *out_seconds = node->u.duration.seconds;
        return NX_OK;
    case DURATION_STEP:
        *out_seconds = resolve->step_seconds;
        return NX_OK;
    case DURATION_RANGE:
        *out_seconds = resolve->range_seconds;
        return NX_OK;
    case DURATION_NEGATE: {
        nx_code code = duration_compute(resolve, node->u.duration.left, out_seconds);
        *out_seconds = -*out_seconds;
        return code;
    }
    case DURATION_BINARY:
    case DURATION_MIN:
    case DURATION_MAX:
        return duration_compute_binary(resolve, node, out_seconds);
    }
    NX_ASSERT(false && "a duration is of one kind");
    return NX_E_INVALID;
}

static void duration_resolve(struct resolve *resolve, struct ast_duration *duration,
                             bool may_be_negative)
{
    double seconds = 0;
    if (duration->expr == NULL || resolve->code != NX_OK)
        return;
    resolve->code = duration_compute(resolve, duration->expr, &seconds);
    if (resolve->code != NX_OK)
        return;
    if (!(fabs(seconds) < DURATION_SECONDS_MAX)) {
        resolve->code = nx_err_set(resolve->err, NX_E_INVALID, "duration is out of range");
        return;
    }
    int64_t ms = (int64_t)(seconds * 1000);
    if (ms <= 0 && !may_be_negative) {
        resolve->code = nx_err_set(resolve->err, NX_E_INVALID, "duration must be greater than 0");
        return;
    }
    duration->ms = ms;
}

static void resolve_visit(void *context, struct ast_node *node)
{
    struct resolve *resolve = context;
    switch ((int)node->kind) {
    case AST_VECTOR_SELECTOR:
        duration_resolve(resolve, &node->u.selector.modifiers.offset, true);
        break;
    case AST_MATRIX_SELECTOR:
        duration_resolve(resolve, &node->u.matrix.range, false);
        break;
    case AST_SUBQUERY:
        duration_resolve(resolve, &node->u.subquery.modifiers.offset, true);
        duration_resolve(resolve, &node->u.subquery.step, false);
        duration_resolve(resolve, &node->u.subquery.range, false);
        break;
    default:
        break;
    }
}

nx_code ast_resolve_durations(struct ast_node *root, int64_t step_ms, int64_t range_ms,
                              struct nx_err *err)
{
    struct resolve resolve = {
        .step_seconds = (double)step_ms / 1000,
        .range_seconds = (double)range_ms / 1000,
        .err = err,
        .code = NX_OK,
    };
    ast_walk(root, resolve_visit, &resolve);
    return resolve.code;
}
