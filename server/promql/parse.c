/* SPDX-License-Identifier: Apache-2.0 */
/* parse.c - tokens to a tree: operators, calls, aggregations, modifiers.
 *
 * In     query text, options.   Out    a typed tree in the arena, checked by check.c.
 * Fails  NX_E_INVALID with Prometheus' text and position (first error only), NX_E_LIMIT.
 *
 * Precedence, low to high, climbed by parse_binary; a sign binds like *, so that -1^2 is -(1^2):
 *
 *   or  |  and unless  |  == != < <= > >= </ >/  |  + -  |  * / % atan2  |  ^ (to the right)
 *
 * Oddities kept from Prometheus:
 *   - Keywords are names where a name is expected: sum, by, offset or and can be metrics.
 *   - A sign in front of a number becomes part of it; in front of anything else it is a node.
 *   - What a message calls "in aggregation" is any surprise between an aggregation's name and its closing
 *     parenthesis, however deep, unless a more precise context applies.
 *   - 5m is the number 300 wherever a number may stand, and 300 is a duration.
 *
 * Stack: parse_binary -> parse_operand -> parse_primary (-> parse_call -> parse_arguments) -> parse_binary;
 * parser_enter bounds the rounds. Chains of left-associative operators are a loop.
 */
#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"
#include "narthex/model/labels.h"
#include "narthex/promql/check.h"
#include "narthex/promql/functions.h"

#include "parse_internal.h"

#include <math.h>
#include <stdio.h>

enum precedence {
    PRECEDENCE_OR = 1,
    PRECEDENCE_AND,
    PRECEDENCE_COMPARISON,
    PRECEDENCE_SUM,
    PRECEDENCE_PRODUCT,
    PRECEDENCE_POWER,
};

static int op_precedence(enum ast_op op)
{
    switch (op) {
    case OP_OR:
        return PRECEDENCE_OR;
    case OP_AND:
    case OP_UNLESS:
        return PRECEDENCE_AND;
    case OP_EQL:
    case OP_NEQ:
    case OP_LSS:
    case OP_LTE:
    case OP_GTR:
    case OP_GTE:
    case OP_TRIM_UPPER:
    case OP_TRIM_LOWER:
        return PRECEDENCE_COMPARISON;
    case OP_ADD:
    case OP_SUB:
        return PRECEDENCE_SUM;
    case OP_MUL:
    case OP_DIV:
    case OP_MOD:
    case OP_ATAN2:
        return PRECEDENCE_PRODUCT;
    case OP_POW:
        return PRECEDENCE_POWER;
    case OP_COUNT:
        break;
    }
    NX_ASSERT(false && "an operator has a precedence");
    return 0;
}

/* "<before>"name"<after>", the name quoted as Go's %q does. */
static void parser_fail_named(struct parser *parser, uint32_t offset, const char *before,
                              struct nx_str name, const char *after)
{
    struct nx_buf quoted = {0};
    labels_print_quoted(name, &quoted);
    parser_fail(parser, offset, "%s%.*s%s", before, NX_STR_ARGS(nx_buf_str(&quoted)), after);
    nx_buf_deinit(&quoted);
}

/* The rules. Each returns NULL once the parse has failed. */

static struct ast_node *parse_binary(struct parser *parser, int lowest);

static bool token_is_sign(struct token token)
{
    return token.kind == TOKEN_OPERATOR && (token.op == OP_ADD || token.op == OP_SUB);
}

static bool token_starts_expression(struct token token)
{
    switch ((int)token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
    case TOKEN_STRING:
    case TOKEN_LEFT_PAREN:
    case TOKEN_LEFT_BRACE:
        return true;
    default:
        return token_is_sign(token) || token_is_metric_name(token);
    }
}

/* ( [expr {, expr}] ): a comma must be followed by an expression. */
static bool parse_arguments(struct parser *parser, struct ast_node ***out_args, size_t *out_count)
{
    struct ast_node **args = NULL;
    size_t count = 0;
    size_t cap = 0;

    if (!parser_accept(parser, TOKEN_LEFT_PAREN)) {
        parser_unexpected(parser, NULL, NULL);
        return false;
    }
    while (parser->token.kind != TOKEN_RIGHT_PAREN) {
        struct ast_node *arg = parse_binary(parser, PRECEDENCE_OR);
        if (arg == NULL || !parser_grow(parser, &args, count, &cap, sizeof(*args)))
            return false;
        args[count++] = arg;
        uint32_t comma = parser->token.pos.start;
        if (parser_accept(parser, TOKEN_COMMA)) {
            if (!token_starts_expression(parser->token)) {
                parser_fail(parser, comma, "trailing commas not allowed in function call args");
                return false;
            }
        } else if (parser->token.kind != TOKEN_RIGHT_PAREN) {
            parser_unexpected(parser, NULL, NULL);
            return false;
        }
    }
    parser_advance(parser);
    *out_args = args;
    *out_count = count;
    return !parser->is_failed;
}

static bool aggregate_has_parameter(enum ast_aggregate op)
{
    switch (op) {
    case AGGREGATE_TOPK:
    case AGGREGATE_BOTTOMK:
    case AGGREGATE_COUNT_VALUES:
    case AGGREGATE_QUANTILE:
    case AGGREGATE_LIMITK:
    case AGGREGATE_LIMIT_RATIO:
        return true;
    case AGGREGATE_SUM:
    case AGGREGATE_AVG:
    case AGGREGATE_COUNT:
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
    case AGGREGATE_GROUP:
    case AGGREGATE_STDDEV:
    case AGGREGATE_STDVAR:
    case AGGREGATE_COUNT_OF:
        return false;
    }
    return false;
}

static bool aggregate_take_arguments(struct parser *parser, struct ast_node *node,
                                     struct ast_node **args, size_t count)
{
    enum ast_aggregate op = node->u.aggregate.op;
    size_t wanted = aggregate_has_parameter(op) ? 2 : 1;

    if (count == 0) {
        parser_fail(parser, node->pos.start, "no arguments for aggregate expression provided");
        return false;
    }
    if ((op == AGGREGATE_LIMITK || op == AGGREGATE_LIMIT_RATIO) &&
        !parser->options->allow_experimental_functions) {
        parser_fail(parser, node->pos.start,
                    "%s() is experimental and must be enabled with "
                    "--enable-feature=promql-experimental-functions",
                    ast_aggregate_text(op));
        return false;
    }
    if (count != wanted) {
        parser_fail(parser, node->pos.start,
                    "wrong number of arguments for aggregate expression provided, expected %zu, "
                    "got %zu",
                    wanted, count);
        return false;
    }
    node->u.aggregate.param = wanted == 2 ? args[0] : NULL;
    node->u.aggregate.expr = args[wanted - 1];
    return parser_adopt(parser, node, node->u.aggregate.param) &&
           parser_adopt(parser, node, node->u.aggregate.expr);
}

static bool parse_aggregate_grouping(struct parser *parser, struct ast_node *node)
{
    if (parser->token.kind != TOKEN_BY && parser->token.kind != TOKEN_WITHOUT)
        return true;
    node->u.aggregate.is_without = parser->token.kind == TOKEN_WITHOUT;
    parser_advance(parser);
    return parse_grouping(parser, &node->u.aggregate.grouping, &node->u.aggregate.grouping_count);
}

/* sum [by (...)] (...) or sum(...) [by (...)]; `name` is consumed. */
static struct ast_node *parse_aggregate(struct parser *parser, const struct token *name)
{
    struct ast_node **args;
    size_t count;
    struct ast_node *node = parser_node(parser, AST_AGGREGATE, VALUE_TYPE_VECTOR, name->pos);
    if (node == NULL)
        return NULL;
    node->u.aggregate.op = name->aggregate;

    bool outer = parser->is_in_aggregate;
    parser->is_in_aggregate = true;
    bool is_grouped = parser->token.kind != TOKEN_LEFT_PAREN;
    if (!parse_aggregate_grouping(parser, node) || !parse_arguments(parser, &args, &count))
        return NULL;
    parser->is_in_aggregate = outer;
    if (!is_grouped && !parse_aggregate_grouping(parser, node))
        return NULL;
    node->pos.end = parser->last_end;
    return aggregate_take_arguments(parser, node, args, count) ? node : NULL;
}

/* name(...); `name` is consumed. */
static struct ast_node *parse_call(struct parser *parser, const struct token *name)
{
    struct ast_node **args;
    size_t count;
    struct nx_str text = token_text(parser->text, *name);

    if (!parse_arguments(parser, &args, &count))
        return NULL;
    const struct function *function = function_find(text);
    if (function == NULL) {
        parser_fail_named(parser, name->pos.start, "unknown function with name ", text, "");
        return NULL;
    }
    if (function->is_experimental && !parser->options->allow_experimental_functions) {
        parser_fail_named(parser, name->pos.start, "function ", text, " is not enabled");
        return NULL;
    }
    struct ast_node *node =
        parser_node(parser, AST_CALL, function->returns,
                    (struct ast_range){.start = name->pos.start, .end = parser->last_end});
    if (node == NULL)
        return NULL;
    node->u.call.function = function;
    node->u.call.args = args;
    node->u.call.arg_count = count;
    for (size_t i = 0; i < count; i++)
        if (!parser_adopt(parser, node, args[i]))
            return NULL;
    return node;
}

static struct ast_node *parse_number(struct parser *parser)
{
    double value;
    struct token token = parser->token;
    struct ast_node *node = parser_node(parser, AST_NUMBER, VALUE_TYPE_SCALAR, token.pos);
    if (node == NULL || !parser_number(parser, &value))
        return NULL;
    node->u.number.value = value;
    node->u.number.is_duration = token.kind == TOKEN_DURATION;
    return node;
}

static struct ast_node *parse_string(struct parser *parser)
{
    struct ast_node *node = parser_node(parser, AST_STRING, VALUE_TYPE_STRING, parser->token.pos);
    if (node == NULL)
        return NULL;
    node->u.string.value = parser_string(parser);
    return parser->is_failed ? NULL : node;
}

static struct ast_node *parse_paren(struct parser *parser)
{
    uint32_t start = parser->token.pos.start;
    parser_advance(parser);
    struct ast_node *expr = parse_binary(parser, PRECEDENCE_OR);
    if (expr == NULL)
        return NULL;
    if (!parser_accept(parser, TOKEN_RIGHT_PAREN)) {
        parser_unexpected(parser, NULL, NULL);
        return NULL;
    }
    struct ast_node *node = parser_node(
        parser, AST_PAREN, expr->type, (struct ast_range){.start = start, .end = parser->last_end});
    if (node == NULL)
        return NULL;
    node->u.paren.expr = expr;
    return parser_adopt(parser, node, expr) ? node : NULL;
}

/* What starts with a word: an aggregation, a call or a metric. */
static struct ast_node *parse_word(struct parser *parser)
{
    struct token word = parser->token;
    parser_advance(parser);
    enum token_kind next = parser->token.kind;
    if (word.kind == TOKEN_AGGREGATE &&
        (next == TOKEN_LEFT_PAREN || next == TOKEN_BY || next == TOKEN_WITHOUT))
        return parse_aggregate(parser, &word);
    bool is_callable =
        word.kind == TOKEN_IDENTIFIER || (word.kind >= TOKEN_START && word.kind <= TOKEN_MAX_OF);
    if (is_callable && next == TOKEN_LEFT_PAREN)
        return parse_call(parser, &word);
    return parse_selector(parser, &word);
}

static struct ast_node *parse_primary(struct parser *parser)
{
    switch ((int)parser->token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        return parse_number(parser);
    case TOKEN_STRING:
        return parse_string(parser);
    case TOKEN_LEFT_PAREN:
        return parse_paren(parser);
    case TOKEN_LEFT_BRACE:
        return parse_selector(parser, NULL);
    default:
        if (token_is_metric_name(parser->token))
            return parse_word(parser);
        parser_unexpected(parser, NULL, NULL);
        return NULL;
    }
}

/* @ <number> | @ start() | @ end(): the time itself, into *out. */
static bool parse_at_time(struct parser *parser, const struct ast_node *node,
                          struct ast_modifiers *out)
{
    double sign = 1;
    double seconds = 0;
    enum token_kind word = parser->token.kind;

    if (word == TOKEN_START || word == TOKEN_END_WORD) {
        parser_advance(parser);
        if (!parser_accept(parser, TOKEN_LEFT_PAREN) || !parser_accept(parser, TOKEN_RIGHT_PAREN)) {
            parser_unexpected(parser, "@", "timestamp");
            return false;
        }
        out->at = word == TOKEN_START ? AT_START : AT_END;
        return true;
    }
    if (token_is_sign(parser->token)) {
        sign = parser->token.op == OP_SUB ? -1 : 1;
        parser_advance(parser);
    }
    if (parser->token.kind != TOKEN_NUMBER && parser->token.kind != TOKEN_DURATION) {
        parser_unexpected(parser, "@", "timestamp");
        return false;
    }
    if (!parser_number(parser, &seconds))
        return false;
    seconds *= sign;
    if (!(fabs(seconds) < (double)INT64_MAX / 1000)) {
        char shown[FLOAT_TEXT_MAX];
        if (isfinite(seconds))
            (void)snprintf(shown, sizeof(shown), "%f", seconds);
        else
            shown[float_text_f(shown, seconds)] = '\0';
        parser_fail(parser, node->pos.start, "timestamp out of bounds for @ modifier: %s", shown);
        return false;
    }
    out->at = AT_TIME;
    out->at_ms = (int64_t)round(seconds * 1000);
    return true;
}

static struct ast_node *parse_at(struct parser *parser, struct ast_node *node)
{
    struct ast_modifiers parsed = {0};
    parser_advance(parser);
    if (!parse_at_time(parser, node, &parsed))
        return NULL;
    struct ast_modifiers *modifiers = parse_modifiers(node);
    if (modifiers == NULL) {
        parser_fail(parser, node->pos.start,
                    "@ modifier must be preceded by an instant vector selector or range vector "
                    "selector or a subquery");
        return NULL;
    }
    if (modifiers->at != AT_NONE) {
        parser_fail(parser, node->pos.start, "@ <timestamp> may not be set multiple times");
        return NULL;
    }
    modifiers->at = parsed.at;
    modifiers->at_ms = parsed.at_ms;
    node->pos.end = parser->last_end;
    return node;
}

/* anchored and smoothed, which widen what a selector reads. */
static struct ast_node *parse_extended(struct parser *parser, struct ast_node *node)
{
    bool is_anchored = parser->token.kind == TOKEN_ANCHORED;
    const char *name = is_anchored ? "anchored" : "smoothed";
    struct ast_node *selector = node->kind == AST_MATRIX_SELECTOR ? node->u.matrix.selector : node;

    parser_advance(parser);
    if (!parser->options->allow_extended_range_selectors) {
        parser_fail(parser, node->pos.start, "%s modifier is experimental and not enabled", name);
    } else if (selector->kind == AST_SUBQUERY) {
        parser_fail(parser, node->pos.start, "%s modifier is not supported for subqueries", name);
    } else if (selector->kind != AST_VECTOR_SELECTOR) {
        parser_fail(parser, node->pos.start, "%s modifier not implemented", name);
    } else if (is_anchored ? selector->u.selector.is_smoothed : selector->u.selector.is_anchored) {
        parser_fail(parser, node->pos.start,
                    "anchored and smoothed modifiers cannot be used together");
    } else if (is_anchored) {
        selector->u.selector.is_anchored = true;
    } else {
        selector->u.selector.is_smoothed = true;
    }
    node->pos.end = parser->last_end;
    return parser->is_failed ? NULL : node;
}

static struct ast_node *parse_postfix(struct parser *parser, struct ast_node *node)
{
    while (node != NULL) {
        switch ((int)parser->token.kind) {
        case TOKEN_LEFT_BRACKET:
            node = parse_bracket(parser, node);
            break;
        case TOKEN_OFFSET:
            node = parse_offset(parser, node);
            break;
        case TOKEN_AT:
            node = parse_at(parser, node);
            break;
        case TOKEN_ANCHORED:
        case TOKEN_SMOOTHED:
            node = parse_extended(parser, node);
            break;
        default:
            return node;
        }
    }
    return NULL;
}

static struct ast_node *parse_operand(struct parser *parser)
{
    struct token sign = parser->token;
    if (!token_is_sign(sign))
        return parse_postfix(parser, parse_primary(parser));

    parser_advance(parser);
    struct ast_node *expr = parse_binary(parser, PRECEDENCE_POWER);
    if (expr == NULL)
        return NULL;
    if (expr->kind == AST_NUMBER) {
        if (sign.op == OP_SUB)
            expr->u.number.value = -expr->u.number.value;
        expr->pos.start = sign.pos.start;
        return expr;
    }
    struct ast_node *node =
        parser_node(parser, AST_UNARY, expr->type,
                    (struct ast_range){.start = sign.pos.start, .end = expr->pos.end});
    if (node == NULL)
        return NULL;
    node->u.unary.is_negative = sign.op == OP_SUB;
    node->u.unary.expr = expr;
    return parser_adopt(parser, node, expr) ? node : NULL;
}

/* ( [sign] number ) */
static bool parse_fill_value(struct parser *parser, double *out_value)
{
    double sign = 1;
    if (!parser_accept(parser, TOKEN_LEFT_PAREN)) {
        parser_unexpected(parser, "fill modifier", "\"(\"");
        return false;
    }
    if (token_is_sign(parser->token)) {
        sign = parser->token.op == OP_SUB ? -1 : 1;
        parser_advance(parser);
    }
    if (parser->token.kind != TOKEN_NUMBER && parser->token.kind != TOKEN_DURATION) {
        parser_unexpected(parser, "fill modifier", "number");
        return false;
    }
    if (!parser_number(parser, out_value))
        return false;
    *out_value *= sign;
    if (!parser_accept(parser, TOKEN_RIGHT_PAREN)) {
        parser_unexpected(parser, "fill modifier", "\")\"");
        return false;
    }
    return true;
}

/* fill(v), or fill_left(v) and fill_right(v) in either order, each once. */
static bool parse_fill(struct parser *parser, struct ast_matching *matching)
{
    for (;;) {
        enum token_kind kind = parser->token.kind;
        bool is_left = kind == TOKEN_FILL || kind == TOKEN_FILL_LEFT;
        bool is_right = kind == TOKEN_FILL || kind == TOKEN_FILL_RIGHT;
        if ((!is_left && !is_right) || (is_left && matching->has_fill_left) ||
            (is_right && matching->has_fill_right))
            return true;
        double value;
        parser_advance(parser);
        if (!parse_fill_value(parser, &value))
            return false;
        if (is_left) {
            matching->has_fill_left = true;
            matching->fill_left = value;
        }
        if (is_right) {
            matching->has_fill_right = true;
            matching->fill_right = value;
        }
    }
}

/* [bool] [on|ignoring (...) [group_left|group_right [(...)]]] [fill ...] */
static bool parse_matching(struct parser *parser, struct ast_node *node)
{
    struct ast_matching *matching = parser_alloc(parser, sizeof(*matching));
    if (matching == NULL)
        return false;
    node->u.binary.matching = matching;
    node->u.binary.returns_bool = parser_accept(parser, TOKEN_BOOL);

    enum token_kind kind = parser->token.kind;
    if (kind == TOKEN_ON || kind == TOKEN_IGNORING) {
        matching->is_on = kind == TOKEN_ON;
        parser_advance(parser);
        if (!parse_grouping(parser, &matching->labels, &matching->label_count))
            return false;
        kind = parser->token.kind;
        if (kind == TOKEN_GROUP_LEFT || kind == TOKEN_GROUP_RIGHT) {
            matching->card = kind == TOKEN_GROUP_LEFT ? MATCH_MANY_TO_ONE : MATCH_ONE_TO_MANY;
            parser_advance(parser);
            if (parser->token.kind == TOKEN_LEFT_PAREN &&
                !parse_grouping(parser, &matching->include, &matching->include_count))
                return false;
        }
    }
    return parse_fill(parser, matching);
}

/* The operator at hand and its right side, onto `left`. */
static struct ast_node *parse_operator(struct parser *parser, struct ast_node *left)
{
    struct token op = parser->token;
    int precedence = op_precedence(op.op);
    struct ast_node *node = parser_node(parser, AST_BINARY, VALUE_TYPE_VECTOR, left->pos);
    if (node == NULL)
        return NULL;
    node->u.binary.op = op.op;
    node->u.binary.op_pos = op.pos;
    parser_advance(parser);
    if (!parse_matching(parser, node))
        return NULL;
    struct ast_node *right =
        parse_binary(parser, precedence == PRECEDENCE_POWER ? precedence : precedence + 1);
    if (right == NULL)
        return NULL;
    const struct ast_matching *matching = node->u.binary.matching;
    if ((matching->has_fill_left || matching->has_fill_right) &&
        !parser->options->allow_fill_modifiers) {
        parser_fail(parser, left->pos.start,
                    "binop fill modifiers are experimental and not enabled");
        return NULL;
    }
    node->u.binary.left = left;
    node->u.binary.right = right;
    node->pos.end = right->pos.end;
    if (left->type == VALUE_TYPE_SCALAR && right->type == VALUE_TYPE_SCALAR)
        node->type = VALUE_TYPE_SCALAR;
    return parser_adopt(parser, node, left) && parser_adopt(parser, node, right) ? node : NULL;
}

/* Operators that bind at least as tightly as `lowest`. */
static struct ast_node *parse_binary(struct parser *parser, int lowest)
{
    if (!parser_enter(parser))
        return NULL;
    struct ast_node *left = parse_operand(parser);
    while (left != NULL && parser->token.kind == TOKEN_OPERATOR &&
           op_precedence(parser->token.op) >= lowest)
        left = parse_operator(parser, left);
    parser_leave(parser);
    return parser->is_failed ? NULL : left;
}

static struct ast_node *parse_expression(struct parser *parser)
{
    if (parser->token.kind == TOKEN_END) {
        parser_fail(parser, 0, "no expression found in input");
        return NULL;
    }
    struct ast_node *root = parse_binary(parser, PRECEDENCE_OR);
    if (root != NULL && parser->token.kind != TOKEN_END)
        parser_unexpected(parser, NULL, NULL);
    return parser->is_failed ? NULL : root;
}

nx_code promql_parse(struct nx_str text, const struct parse_options *options, struct arena *arena,
                     struct ast_node **out_root, struct nx_err *err)
{
    struct parser parser;
    parser_begin(&parser, text, options, arena, err);
    struct ast_node *root = parser.is_failed ? NULL : parse_expression(&parser);
    if (root == NULL)
        return parser_end(&parser);
    nx_code code = promql_check(root, parser.text, err);
    if (code != NX_OK) {
        parser.is_failed = true;
        parser.code = code;
        return parser_end(&parser);
    }
    *out_root = root;
    return NX_OK;
}

nx_code promql_parse_selector(struct nx_str text, struct arena *arena,
                              struct matcher **out_matchers, size_t *out_count, struct nx_err *err)
{
    struct parse_options options = {0};
    struct parser parser;
    struct ast_node *node = NULL;

    parser_begin(&parser, text, &options, arena, err);
    if (parser.is_failed)
        return parser_end(&parser);
    if (parser.token.kind == TOKEN_LEFT_BRACE) {
        node = parse_selector(&parser, NULL);
    } else if (token_is_metric_name(parser.token)) {
        struct token name = parser.token;
        parser_advance(&parser);
        node = parse_selector(&parser, &name);
    } else {
        parser_unexpected(&parser, NULL, NULL);
    }
    if (node != NULL && parser.token.kind != TOKEN_END)
        parser_unexpected(&parser, NULL, NULL);
    if (parser.is_failed)
        return parser_end(&parser);

    for (size_t i = 0; i < node->u.selector.matcher_count; i++)
        if (!matcher_matches_empty(&node->u.selector.matchers[i])) {
            *out_matchers = node->u.selector.matchers;
            *out_count = node->u.selector.matcher_count;
            return NX_OK;
        }
    parser.is_failed = true;
    parser.code =
        nx_err_set(err, NX_E_INVALID, "match[] must contain at least one non-empty matcher");
    return parser_end(&parser);
}
