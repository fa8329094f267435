/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - types and shapes of a parsed expression.
 *
 * In     a tree whose nodes have types.   Out   the same tree, matchings settled.
 * Fails  NX_E_INVALID "<line>:<column>: parse error: <what>".
 *
 * The order of the checks decides which of several faults is reported. Children come before their parent, left before
 * right, the vector of an aggregation before its parameter; but a call's number of arguments comes before all of them.
 * Stack: left-leaning chains of operators are a loop, the rest is bounded by PARSE_DEPTH_MAX.
 */
#include "narthex/promql/check.h"

#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/base/mem.h"
#include "narthex/promql/functions.h"
#include "narthex/promql/parse.h"

#include <stdarg.h>
#include <stdio.h>

struct check {
    struct nx_str text;
    struct nx_err *err;
};

NX_PRINTF(3, 4)
static nx_code check_fail(const struct check *check, uint32_t offset, const char *format, ...)
{
    char message[sizeof(check->err->msg)];
    unsigned line;
    unsigned column;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    promql_position(check->text, offset, &line, &column);
    return nx_err_set(check->err, NX_E_INVALID, "%u:%u: parse error: %s", line, column, message);
}

/* A name as messages quote it. At most a line of it is kept. */
struct quoted {
    char text[120];
};

static struct quoted check_quote(struct nx_str name)
{
    struct quoted quoted;
    struct nx_buf buf = {0};
    labels_print_quoted(name, &buf);
    (void)snprintf(quoted.text, sizeof(quoted.text), "%.*s", NX_STR_ARGS(nx_buf_str(&buf)));
    nx_buf_deinit(&buf);
    return quoted;
}

static nx_code check_node(const struct check *check, struct ast_node *node);

/* `node` passes its own check and has the type that `context` needs. */
static nx_code check_expects(const struct check *check, struct ast_node *node,
                             enum value_type wanted, const char *context)
{
    nx_code code = check_node(check, node);
    if (code != NX_OK || node->type == wanted)
        return code;
    return check_fail(check, node->pos.start, "expected type %s in %s, got %s",
                      value_type_text(wanted), context, value_type_text(node->type));
}

static nx_code check_aggregate(const struct check *check, struct ast_node *node)
{
    nx_code code =
        check_expects(check, node->u.aggregate.expr, VALUE_TYPE_VECTOR, "aggregation expression");
    if (code != NX_OK || node->u.aggregate.param == NULL)
        return code;
    return check_expects(check, node->u.aggregate.param,
                         node->u.aggregate.op == AGGREGATE_COUNT_VALUES ? VALUE_TYPE_STRING
                                                                        : VALUE_TYPE_SCALAR,
                         "aggregation parameter");
}

static nx_code check_selector(const struct check *check, const struct ast_node *node)
{
    const struct matcher *matchers = node->u.selector.matchers;
    size_t count = node->u.selector.matcher_count;

    if (node->u.selector.name.len > 0) {
        for (size_t i = 0; i + 1 < count; i++)
            if (nx_str_eq(matchers[i].name, NX_STR(LABEL_NAME_METRIC)))
                return check_fail(
                    check, node->pos.start, "metric name must not be set twice: %s or %s",
                    check_quote(node->u.selector.name).text, check_quote(matchers[i].value).text);
        return NX_OK;
    }
    for (size_t i = 0; i < count; i++)
        if (!matcher_matches_empty(&matchers[i]))
            return NX_OK;
    return check_fail(check, node->pos.start,
                      "vector selector must contain at least one non-empty matcher");
}

/* The second argument of info() only lists matchers; it may match anything. */
static nx_code check_info_selector(const struct check *check, const struct ast_node *call)
{
    const struct ast_node *arg = call->u.call.args[1];
    if (arg->type != VALUE_TYPE_VECTOR)
        return check_fail(check, call->pos.start,
                          "expected type instant vector in call to function \"info\", got %s",
                          value_type_text(arg->type));
    if (arg->kind != AST_VECTOR_SELECTOR)
        return check_fail(check, arg->pos.start, "expected label selectors only");
    if (arg->u.selector.name.len > 0)
        return check_fail(check, arg->pos.start,
                          "expected label selectors only, got vector selector instead");
    return NX_OK;
}

static nx_code check_argument_count(const struct check *check, const struct ast_node *node)
{
    const struct function *function = node->u.call.function;
    size_t declared = strlen(function->args);
    size_t given = node->u.call.arg_count;

    if (function->variadic == 0)
        return given == declared ? NX_OK
                                 : check_fail(check, node->pos.start,
                                              "expected %zu argument(s) in call to \"%s\", got %zu",
                                              declared, function->name, given);
    if (given + 1 < declared)
        return check_fail(check, node->pos.start,
                          "expected at least %zu argument(s) in call to \"%s\", got %zu",
                          declared - 1, function->name, given);
    size_t most = declared - 1 + (size_t)(function->variadic > 0 ? function->variadic : 0);
    if (function->variadic > 0 && given > most)
        return check_fail(check, node->pos.start,
                          "expected at most %zu argument(s) in call to \"%s\", got %zu", most,
                          function->name, given);
    return NX_OK;
}

static nx_code check_call(const struct check *check, struct ast_node *node)
{
    const struct function *function = node->u.call.function;
    bool is_info = strcmp(function->name, "info") == 0;
    nx_code code = check_argument_count(check, node);
    if (code == NX_OK && is_info && node->u.call.arg_count > 1)
        code = check_info_selector(check, node);
    for (size_t i = 0; i < node->u.call.arg_count && code == NX_OK; i++) {
        struct ast_node *arg = node->u.call.args[i];
        if (is_info && i == 1)
            continue;
        char context[80];
        (void)snprintf(context, sizeof(context), "call to function \"%s\"", function->name);
        code = check_expects(check, arg, function_arg_type(function, i), context);
    }
    return code;
}

/* What bool, on() and group_x() ask of each other. */
static nx_code check_operator_modifiers(const struct check *check, const struct ast_node *node)
{
    const struct ast_matching *matching = node->u.binary.matching;
    enum ast_op op = node->u.binary.op;
    bool is_scalar = node->u.binary.left->type == VALUE_TYPE_SCALAR &&
                     node->u.binary.right->type == VALUE_TYPE_SCALAR;
    uint32_t at = node->u.binary.op_pos.start;

    if (node->u.binary.returns_bool && !ast_op_is_comparison(op))
        return check_fail(check, at, "bool modifier can only be used on comparison operators");
    if (ast_op_is_comparison(op) && !node->u.binary.returns_bool && is_scalar)
        return check_fail(check, at, "comparisons between scalars must use BOOL modifier");
    for (size_t i = 0; i < matching->label_count && matching->is_on; i++)
        for (size_t j = 0; j < matching->include_count; j++)
            if (nx_str_eq(matching->labels[i], matching->include[j]))
                return check_fail(check, at,
                                  "label %s must not occur in ON and GROUP clause at once",
                                  check_quote(matching->labels[i]).text);
    return NX_OK;
}

static nx_code check_set_operator(const struct check *check, const struct ast_node *node)
{
    const struct ast_matching *matching = node->u.binary.matching;
    uint32_t at = node->pos.start;
    if (matching->card != MATCH_MANY_TO_MANY)
        return check_fail(check, at, "no grouping allowed for \"%s\" operation",
                          ast_op_text(node->u.binary.op));
    if (matching->has_fill_left || matching->has_fill_right)
        return check_fail(check, at, "filling in missing series not allowed for set operators");
    return NX_OK;
}

/* An operator whose operands have passed. */
static nx_code check_operator(const struct check *check, struct ast_node *node)
{
    struct ast_matching *matching = node->u.binary.matching;
    enum value_type left = node->u.binary.left->type;
    enum value_type right = node->u.binary.right->type;
    enum ast_op op = node->u.binary.op;
    static const char wrong_type[] =
        "binary expression must contain only scalar and instant vector types";

    nx_code code = check_operator_modifiers(check, node);
    if (code != NX_OK)
        return code;
    if (ast_op_is_set(op) && matching->card == MATCH_ONE_TO_ONE)
        matching->card = MATCH_MANY_TO_MANY;
    if (left != VALUE_TYPE_SCALAR && left != VALUE_TYPE_VECTOR)
        return check_fail(check, node->u.binary.left->pos.start, wrong_type);
    if (right != VALUE_TYPE_SCALAR && right != VALUE_TYPE_VECTOR)
        return check_fail(check, node->u.binary.right->pos.start, wrong_type);
    if (left == VALUE_TYPE_VECTOR && right == VALUE_TYPE_VECTOR)
        return ast_op_is_set(op) ? check_set_operator(check, node) : NX_OK;

    if (matching->label_count > 0)
        return check_fail(check, node->pos.start,
                          "vector matching only allowed between instant vectors");
    if (matching->has_fill_left || matching->has_fill_right)
        return check_fail(check, node->pos.start,
                          "filling in missing series only allowed between instant vectors");
    if (ast_op_is_set(op))
        return check_fail(check, node->pos.start,
                          "set operator \"%s\" not allowed in binary scalar expression",
                          ast_op_text(op));
    node->u.binary.matching = NULL;
    return NX_OK;
}

/* From the leftmost operand up the chain; `chain` holds the operators from the top down. */
static nx_code check_binary(const struct check *check, struct ast_node *node)
{
    size_t count = 0;
    for (struct ast_node *at = node; at->kind == AST_BINARY; at = at->u.binary.left)
        count++;
    struct ast_node *few[16];
    struct ast_node **chain =
        count <= NX_ARRAY_LEN(few) ? few : nx_realloc_array(NULL, count, sizeof(struct ast_node *));
    for (size_t i = 0; i < count; i++, node = node->u.binary.left)
        chain[i] = node;

    nx_code code = check_node(check, node);
    for (size_t i = count; i > 0 && code == NX_OK; i--) {
        code = check_node(check, chain[i - 1]->u.binary.right);
        if (code == NX_OK)
            code = check_operator(check, chain[i - 1]);
    }
    if (chain != few)
        nx_free(chain);
    return code;
}

static nx_code check_unary(const struct check *check, struct ast_node *node)
{
    enum value_type type = node->u.unary.expr->type;
    nx_code code = check_node(check, node->u.unary.expr);
    if (code != NX_OK || type == VALUE_TYPE_SCALAR || type == VALUE_TYPE_VECTOR)
        return code;
    return check_fail(check, node->pos.start,
                      "unary expression only allowed on expressions of type scalar or instant "
                      "vector, got \"%s\"",
                      value_type_text(type));
}

static nx_code check_subquery(const struct check *check, struct ast_node *node)
{
    enum value_type type = node->u.subquery.expr->type;
    nx_code code = check_node(check, node->u.subquery.expr);
    if (code != NX_OK || type == VALUE_TYPE_VECTOR)
        return code;
    return check_fail(check, node->pos.start,
                      "subquery is only allowed on instant vector, got %s instead",
                      value_type_name(type));
}

static nx_code check_node(const struct check *check, struct ast_node *node)
{
    switch (node->kind) {
    case AST_NUMBER:
    case AST_STRING:
    case AST_DURATION:
        return NX_OK;
    case AST_VECTOR_SELECTOR:
        return check_selector(check, node);
    case AST_MATRIX_SELECTOR:
        return check_selector(check, node->u.matrix.selector);
    case AST_SUBQUERY:
        return check_subquery(check, node);
    case AST_UNARY:
        return check_unary(check, node);
    case AST_BINARY:
        return check_binary(check, node);
    case AST_AGGREGATE:
        return check_aggregate(check, node);
    case AST_CALL:
        return check_call(check, node);
    case AST_PAREN:
        return check_node(check, node->u.paren.expr);
    case AST_KIND_COUNT:
        break;
    }
    NX_ASSERT(false && "a node has a kind");
    return NX_E_INVALID;
}

nx_code promql_check(struct ast_node *root, struct nx_str text, struct nx_err *err)
{
    struct check check = {.text = text, .err = err};
    return check_node(&check, root);
}
