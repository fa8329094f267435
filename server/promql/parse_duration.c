/* SPDX-License-Identifier: Apache-2.0 */
/* parse_duration.c - durations after a selector: [range], [range:step], offset, and the arithmetic in them.
 *
 * In     tokens from the bracket or the word offset on.   Out    the node with its range, step or offset.
 * Fails  NX_E_INVALID: malformed, not positive, out of range, on a node that cannot have it; NX_E_LIMIT.
 *
 * A lone number, signs included, is a constant and becomes milliseconds here. Anything else stays a tree of
 * AST_DURATION until ast_resolve_durations knows the query's step and range.
 *
 * An offset ends early: `x offset 1m * 2` is (x offset 1m) * 2, so arithmetic there needs parentheses. Only a sign, a
 * number, step(), range(), min_of(), max_of() or a parenthesis belongs to it.
 */
#include "parse_internal.h"

#include <math.h>

#define DURATION_SECONDS_MAX 9223372036.854775807 /* 2^63 ns */

/* Where a surprise is reported: it depends on how far the brackets were read, not on the token. */
struct duration_context {
    const char *where;
    const char *expected;
};

static const struct duration_context in_range = {"subquery or range selector",
                                                 "number, duration, step(), or range()"};
static const struct duration_context in_step = {"subquery selector",
                                                "number, duration, step(), range(), or \"]\""};
static const struct duration_context in_offset = {"offset", "number, duration, step(), or range()"};

static struct ast_node *duration_expression(struct parser *parser, int lowest,
                                            const struct duration_context *context);

static int duration_precedence(struct token token)
{
    if (token.kind != TOKEN_OPERATOR)
        return 0;
    switch ((int)token.op) {
    case OP_ADD:
    case OP_SUB:
        return 1;
    case OP_MUL:
    case OP_DIV:
    case OP_MOD:
        return 2;
    case OP_POW:
        return 3;
    default:
        return 0;
    }
}

static bool duration_is_sign(struct token token)
{
    return token.kind == TOKEN_OPERATOR && (token.op == OP_ADD || token.op == OP_SUB);
}

static bool duration_is_literal(const struct ast_node *node)
{
    return node->u.duration.what == DURATION_NUMBER && !node->u.duration.is_parenthesised;
}

static bool duration_expect(struct parser *parser, enum token_kind kind,
                            const struct duration_context *context)
{
    if (parser_accept(parser, kind))
        return true;
    parser_unexpected(parser, context->where, context->expected);
    return false;
}

static struct ast_node *duration_number(struct parser *parser)
{
    struct token token = parser->token;
    double seconds;
    struct ast_node *node = parser_node(parser, AST_DURATION, VALUE_TYPE_NONE, token.pos);
    if (node == NULL || !parser_number(parser, &seconds))
        return NULL;
    if (!(fabs(seconds) <= DURATION_SECONDS_MAX)) {
        parser_fail(parser, token.pos.start, "duration out of range");
        return NULL;
    }
    node->u.duration.what = DURATION_NUMBER;
    node->u.duration.seconds = seconds;
    node->u.duration.is_duration = token.kind == TOKEN_DURATION;
    return node;
}

/* step(), range(), min_of(a, b), max_of(a, b) */
static struct ast_node *duration_call(struct parser *parser, const struct duration_context *context)
{
    struct token word = parser->token;
    struct ast_node *node = parser_node(parser, AST_DURATION, VALUE_TYPE_NONE, word.pos);
    if (node == NULL)
        return NULL;
    parser_advance(parser);
    if (!duration_expect(parser, TOKEN_LEFT_PAREN, context))
        return NULL;
    if (word.kind == TOKEN_STEP || word.kind == TOKEN_RANGE) {
        node->u.duration.what = word.kind == TOKEN_STEP ? DURATION_STEP : DURATION_RANGE;
    } else {
        node->u.duration.what = word.kind == TOKEN_MIN_OF ? DURATION_MIN : DURATION_MAX;
        node->u.duration.left = duration_expression(parser, 1, context);
        if (node->u.duration.left == NULL || !duration_expect(parser, TOKEN_COMMA, context))
            return NULL;
        node->u.duration.right = duration_expression(parser, 1, context);
        if (node->u.duration.right == NULL || !parser_adopt(parser, node, node->u.duration.left) ||
            !parser_adopt(parser, node, node->u.duration.right))
            return NULL;
    }
    if (!duration_expect(parser, TOKEN_RIGHT_PAREN, context))
        return NULL;
    node->pos.end = parser->last_end;
    return node;
}

static struct ast_node *duration_paren(struct parser *parser,
                                       const struct duration_context *context)
{
    uint32_t start = parser->token.pos.start;
    parser_advance(parser);
    struct ast_node *node = duration_expression(parser, 1, context);
    if (node == NULL || !duration_expect(parser, TOKEN_RIGHT_PAREN, context))
        return NULL;
    node->u.duration.is_parenthesised = true;
    node->pos = (struct ast_range){.start = start, .end = parser->last_end};
    return node;
}

/* A sign joins a lone number; a plus is forgotten in front of the rest. */
static struct ast_node *duration_apply_sign(struct parser *parser, struct token sign,
                                            struct ast_node *operand)
{
    if (duration_is_literal(operand)) {
        if (sign.op == OP_SUB)
            operand->u.duration.seconds = -operand->u.duration.seconds;
        operand->pos.start = sign.pos.start;
        return operand;
    }
    if (sign.op == OP_ADD)
        return operand;
    struct ast_node *node =
        parser_node(parser, AST_DURATION, VALUE_TYPE_NONE,
                    (struct ast_range){.start = sign.pos.start, .end = operand->pos.end});
    if (node == NULL)
        return NULL;
    node->u.duration.what = DURATION_NEGATE;
    node->u.duration.left = operand;
    return parser_adopt(parser, node, operand) ? node : NULL;
}

/* Without the operators between operands. A sign takes operands up to `lowest` with it. */
static struct ast_node *duration_operand(struct parser *parser, int lowest,
                                         const struct duration_context *context)
{
    struct token token = parser->token;
    if (duration_is_sign(token)) {
        parser_advance(parser);
        struct ast_node *operand = duration_expression(parser, lowest, context);
        return operand == NULL ? NULL : duration_apply_sign(parser, token, operand);
    }
    switch ((int)token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        return duration_number(parser);
    case TOKEN_LEFT_PAREN:
        return duration_paren(parser, context);
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MIN_OF:
    case TOKEN_MAX_OF:
        return duration_call(parser, context);
    default:
        parser_unexpected(parser, context->where, context->expected);
        return NULL;
    }
}

static struct ast_node *duration_operator(struct parser *parser, struct ast_node *left,
                                          const struct duration_context *context)
{
    struct token op = parser->token;
    int precedence = duration_precedence(op);
    parser_advance(parser);
    struct ast_node *right =
        duration_expression(parser, op.op == OP_POW ? precedence : precedence + 1, context);
    if (right == NULL)
        return NULL;
    if ((op.op == OP_DIV || op.op == OP_MOD) && duration_is_literal(right) &&
        right->u.duration.seconds == 0) {
        parser_fail(parser, op.pos.start, "%s by zero", op.op == OP_DIV ? "division" : "modulo");
        return NULL;
    }
    struct ast_node *node =
        parser_node(parser, AST_DURATION, VALUE_TYPE_NONE,
                    (struct ast_range){.start = left->pos.start, .end = right->pos.end});
    if (node == NULL)
        return NULL;
    node->u.duration.what = DURATION_BINARY;
    node->u.duration.op = op.op;
    node->u.duration.left = left;
    node->u.duration.right = right;
    return parser_adopt(parser, node, left) && parser_adopt(parser, node, right) ? node : NULL;
}

/* Operators that bind at least as tightly as `lowest`: 1 all of them, 3 only ^, 4 none. */
static struct ast_node *duration_expression(struct parser *parser, int lowest,
                                            const struct duration_context *context)
{
    if (!parser_enter(parser))
        return NULL;
    struct ast_node *left = duration_operand(parser, lowest < 4 ? 3 : 4, context);
    while (left != NULL && duration_precedence(parser->token) >= lowest)
        left = duration_operator(parser, left, context);
    parser_leave(parser);
    return parser->is_failed ? NULL : left;
}

/* Cut to milliseconds by way of rounded nanoseconds, as Prometheus does. */
static int64_t duration_ms(double seconds)
{
    double ns = round(seconds * 1e9);
    if (ns >= 9223372036854775807.0)
        return INT64_MAX / 1000000;
    if (ns <= -9223372036854775808.0)
        return INT64_MIN / 1000000;
    return (int64_t)ns / 1000000;
}

static void duration_store(struct ast_node *node, struct ast_duration *out)
{
    if (duration_is_literal(node))
        out->ms = duration_ms(node->u.duration.seconds);
    else
        out->expr = node;
}

/* A range or a step: greater than 0, now or when resolved. */
static bool duration_positive(struct parser *parser, const struct duration_context *context,
                              struct ast_duration *out)
{
    struct ast_node *node = duration_expression(parser, 1, context);
    if (node == NULL)
        return false;
    duration_store(node, out);
    if (out->expr == NULL && out->ms <= 0) {
        parser_fail(parser, node->pos.start, "duration must be greater than 0");
        return false;
    }
    return true;
}

/* [range:] or [range:step], from the colon on. */
static struct ast_node *bracket_subquery(struct parser *parser, struct ast_node *expr,
                                         struct ast_duration range)
{
    struct ast_node *node = parser_node(parser, AST_SUBQUERY, VALUE_TYPE_MATRIX, expr->pos);
    if (node == NULL)
        return NULL;
    node->u.subquery.expr = expr;
    node->u.subquery.range = range;
    parser_advance(parser);
    if (parser->token.kind != TOKEN_RIGHT_BRACKET) {
        if (!duration_positive(parser, &in_step, &node->u.subquery.step))
            return NULL;
        if (parser->token.kind != TOKEN_RIGHT_BRACKET) {
            parser_unexpected(parser, in_step.where, "\"]\"");
            return NULL;
        }
    }
    parser_advance(parser);
    node->pos.end = parser->last_end;
    return parser_adopt(parser, node, expr) && parser_adopt(parser, node, range.expr) &&
                   parser_adopt(parser, node, node->u.subquery.step.expr)
               ? node
               : NULL;
}

/* [range], from the closing bracket on. */
static struct ast_node *bracket_matrix(struct parser *parser, struct ast_node *expr,
                                       struct ast_duration range, uint32_t bracket)
{
    const char *problem = NULL;
    if (expr->kind != AST_VECTOR_SELECTOR)
        problem = "ranges only allowed for vector selectors";
    else if (expr->u.selector.modifiers.offset.ms != 0 ||
             expr->u.selector.modifiers.offset.expr != NULL)
        problem = "no offset modifiers allowed before range";
    else if (expr->u.selector.modifiers.at != AT_NONE)
        problem = "no @ modifiers allowed before range";
    if (problem != NULL) {
        parser_fail(parser, bracket, "%s", problem);
        return NULL;
    }
    struct ast_node *node = parser_node(parser, AST_MATRIX_SELECTOR, VALUE_TYPE_MATRIX, expr->pos);
    if (node == NULL)
        return NULL;
    parser_advance(parser);
    node->u.matrix.selector = expr;
    node->u.matrix.range = range;
    node->pos.end = parser->last_end;
    return parser_adopt(parser, node, expr) && parser_adopt(parser, node, range.expr) ? node : NULL;
}

struct ast_node *parse_bracket(struct parser *parser, struct ast_node *node)
{
    uint32_t bracket = parser->token.pos.start;
    struct ast_duration range = {0};
    parser_advance(parser);
    if (!duration_positive(parser, &in_range, &range))
        return NULL;
    if (parser->token.kind == TOKEN_COLON)
        return bracket_subquery(parser, node, range);
    if (parser->token.kind == TOKEN_RIGHT_BRACKET)
        return bracket_matrix(parser, node, range, bracket);
    parser_unexpected(parser, "subquery or range", "\":\" or \"]\"");
    return NULL;
}

struct ast_modifiers *parse_modifiers(struct ast_node *node)
{
    switch ((int)node->kind) {
    case AST_VECTOR_SELECTOR:
        return &node->u.selector.modifiers;
    case AST_MATRIX_SELECTOR:
        return &node->u.matrix.selector->u.selector.modifiers;
    case AST_SUBQUERY:
        return &node->u.subquery.modifiers;
    default:
        return NULL;
    }
}

struct ast_node *parse_offset(struct parser *parser, struct ast_node *node)
{
    parser_advance(parser);
    if (!parser_enter(parser))
        return NULL;
    struct ast_node *duration = duration_operand(parser, 4, &in_offset);
    parser_leave(parser);
    if (duration == NULL)
        return NULL;
    struct ast_modifiers *modifiers = parse_modifiers(node);
    if (modifiers == NULL) {
        parser_fail(parser, node->pos.start,
                    "offset modifier must be preceded by an instant vector selector or range "
                    "vector selector or a subquery");
        return NULL;
    }
    if (modifiers->offset.ms != 0 || modifiers->offset.expr != NULL) {
        parser_fail(parser, node->pos.start, "offset may not be set multiple times");
        return NULL;
    }
    duration_store(duration, &modifiers->offset);
    node->pos.end = parser->last_end;
    struct ast_node *owner = node->kind == AST_MATRIX_SELECTOR ? node->u.matrix.selector : node;
    if (!parser_adopt(parser, owner, modifiers->offset.expr) ||
        !parser_adopt(parser, node, owner == node ? NULL : owner))
        return NULL;
    return node;
}
