/* SPDX-License-Identifier: Apache-2.0 */
/* parse_selector.c - what stands in braces: matchers of a selector, pairs of a label set; and grouping lists.
 *
 * In     tokens.   Out    a selector node with its matchers, a label set, a list of names.
 * Fails  NX_E_INVALID: malformed, a regex that does not compile; NX_E_LIMIT.
 *
 * A quoted string alone is the metric name. A name in front of the braces becomes the last matcher, so that check.c
 * can tell it from one inside.
 */
#include "narthex/model/labels.h"

#include "parse_internal.h"

static bool selector_match_type(struct token token, enum matcher_type *out_type)
{
    switch ((int)token.kind) {
    case TOKEN_EQUAL:
        *out_type = MATCHER_EQUAL;
        return true;
    case TOKEN_REGEX:
        *out_type = MATCHER_REGEX;
        return true;
    case TOKEN_NOT_REGEX:
        *out_type = MATCHER_NOT_REGEX;
        return true;
    case TOKEN_OPERATOR:
        *out_type = MATCHER_NOT_EQUAL;
        return token.op == OP_NEQ;
    default:
        return false;
    }
}

static bool selector_add(struct parser *parser, struct parser_matchers *block, uint32_t offset,
                         enum matcher_type type, struct nx_str name, struct nx_str value)
{
    struct nx_err err;
    bool is_regex = type == MATCHER_REGEX || type == MATCHER_NOT_REGEX;
    if (is_regex && parser->regexes++ == PARSE_REGEXES_MAX) {
        parser_fail_limit(parser, "query has more than %d regular expressions", PARSE_REGEXES_MAX);
        return false;
    }
    if (!parser_grow(parser, &block->items, block->count, &block->cap, sizeof(*block->items)))
        return false;
    struct matcher *matcher = &block->items[block->count];
    *matcher = (struct matcher){0};
    nx_code code = matcher_init(matcher, type, name, value, &err);
    if (code != NX_OK) {
        parser_fail(parser, offset, "%s", err.msg);
        return false;
    }
    block->count++;
    return true;
}

/* name op "value", "name" op "value" or "metric". */
static bool selector_parse_matcher(struct parser *parser, struct parser_matchers *block)
{
    enum matcher_type type;
    struct token token = parser->token;
    struct nx_str name;

    if (token.kind == TOKEN_STRING) {
        name = parser_string(parser);
        if (!selector_match_type(parser->token, &type) && !parser->is_failed)
            return selector_add(parser, block, token.pos.start, MATCHER_EQUAL,
                                NX_STR(LABEL_NAME_METRIC), name);
    } else if (token.kind == TOKEN_IDENTIFIER) {
        name = token_text(parser->text, token);
        parser_advance(parser);
    } else {
        parser_unexpected(parser, "label matching", "identifier or \"}\"");
        return false;
    }
    if (!selector_match_type(parser->token, &type)) {
        parser_unexpected(parser, "label matching", "label matching operator");
        return false;
    }
    parser_advance(parser);
    if (parser->token.kind != TOKEN_STRING) {
        parser_unexpected(parser, "label matching", "string");
        return false;
    }
    struct nx_str value = parser_string(parser);
    return !parser->is_failed && selector_add(parser, block, token.pos.start, type, name, value);
}

/* { [matcher {, matcher} [,]] } */
static bool selector_parse_braces(struct parser *parser, struct parser_matchers *block)
{
    parser_advance(parser);
    while (parser->token.kind != TOKEN_RIGHT_BRACE) {
        if (!selector_parse_matcher(parser, block))
            return false;
        if (parser->token.kind != TOKEN_RIGHT_BRACE && !parser_accept(parser, TOKEN_COMMA)) {
            parser_unexpected(parser, "label matching", "\",\" or \"}\"");
            return false;
        }
    }
    parser_advance(parser);
    return !parser->is_failed;
}

struct ast_node *parse_selector(struct parser *parser, const struct token *name)
{
    struct ast_range pos = name != NULL ? name->pos : parser->token.pos;
    struct ast_node *node = parser_node(parser, AST_VECTOR_SELECTOR, VALUE_TYPE_VECTOR, pos);
    struct parser_matchers *block = parser_alloc(parser, sizeof(*block));
    if (node == NULL || block == NULL)
        return NULL;
    block->next = parser->matchers;
    parser->matchers = block;

    if (parser->token.kind == TOKEN_LEFT_BRACE) {
        if (!selector_parse_braces(parser, block))
            return NULL;
        node->pos.end = parser->last_end;
    }
    if (name != NULL) {
        node->u.selector.name = token_text(parser->text, *name);
        if (!selector_add(parser, block, pos.start, MATCHER_EQUAL, NX_STR(LABEL_NAME_METRIC),
                          node->u.selector.name))
            return NULL;
    }
    node->u.selector.matchers = block->items;
    node->u.selector.matcher_count = block->count;
    return node;
}

/* One name of a grouping list. */
static bool grouping_parse_label(struct parser *parser, struct nx_str *out_label)
{
    struct token token = parser->token;
    if (token.kind == TOKEN_STRING) {
        *out_label = parser_string(parser);
    } else if (token_is_label_name(token)) {
        *out_label = token_text(parser->text, token);
        parser_advance(parser);
    } else {
        parser_unexpected(parser, "grouping opts", "label");
        return false;
    }
    if (out_label->len == 0 || !nx_utf8_is_valid(*out_label)) {
        struct nx_buf quoted = {0};
        labels_print_quoted(*out_label, &quoted);
        parser_fail(parser, token.pos.start, "invalid label name for grouping: %.*s",
                    NX_STR_ARGS(nx_buf_str(&quoted)));
        nx_buf_deinit(&quoted);
    }
    return !parser->is_failed;
}

bool parse_grouping(struct parser *parser, struct nx_str **out_labels, size_t *out_count)
{
    struct nx_str *labels = NULL;
    size_t count = 0;
    size_t cap = 0;

    if (!parser_accept(parser, TOKEN_LEFT_PAREN)) {
        parser_unexpected(parser, "grouping opts", "\"(\"");
        return false;
    }
    while (parser->token.kind != TOKEN_RIGHT_PAREN) {
        if (count == PARSE_NAMES_MAX) {
            parser_fail_limit(parser, "query has more than %d names in one list", PARSE_NAMES_MAX);
            return false;
        }
        if (!parser_grow(parser, &labels, count, &cap, sizeof(*labels)) ||
            !grouping_parse_label(parser, &labels[count]))
            return false;
        count++;
        if (parser->token.kind != TOKEN_RIGHT_PAREN && !parser_accept(parser, TOKEN_COMMA)) {
            parser_unexpected(parser, "grouping opts", "\",\" or \")\"");
            return false;
        }
    }
    parser_advance(parser);
    *out_labels = labels;
    *out_count = count;
    return !parser->is_failed;
}

/* Pairs of a label set while it is read. */
struct label_list {
    struct label *items;
    size_t count;
    size_t cap;
};

static bool labels_add(struct parser *parser, struct label_list *list, struct nx_str name,
                       struct nx_str value)
{
    if (!parser_grow(parser, &list->items, list->count, &list->cap, sizeof(*list->items)))
        return false;
    list->items[list->count++] = (struct label){.name = name, .value = value};
    return true;
}

/* name="value", "name"="value" or "metric". */
static bool labels_parse_pair(struct parser *parser, struct label_list *list)
{
    struct token token = parser->token;
    struct nx_str name;

    if (token.kind == TOKEN_STRING) {
        name = parser_string(parser);
        if (parser->token.kind != TOKEN_EQUAL && !parser->is_failed)
            return labels_add(parser, list, NX_STR(LABEL_NAME_METRIC), name);
    } else if (token.kind == TOKEN_IDENTIFIER) {
        name = token_text(parser->text, token);
        parser_advance(parser);
    } else {
        parser_unexpected(parser, "label set", "identifier or \"}\"");
        return false;
    }
    if (!parser_accept(parser, TOKEN_EQUAL)) {
        parser_unexpected(parser, "label set", "\"=\"");
        return false;
    }
    if (parser->token.kind != TOKEN_STRING) {
        parser_unexpected(parser, "label set", "string");
        return false;
    }
    struct nx_str value = parser_string(parser);
    return !parser->is_failed && labels_add(parser, list, name, value);
}

static bool labels_parse(struct parser *parser, struct label_list *list)
{
    if (token_is_metric_name(parser->token)) {
        struct token name = parser->token;
        parser_advance(parser);
        if (!labels_add(parser, list, NX_STR(LABEL_NAME_METRIC), token_text(parser->text, name)))
            return false;
    }
    if (parser_accept(parser, TOKEN_LEFT_BRACE)) {
        while (parser->token.kind != TOKEN_RIGHT_BRACE) {
            if (!labels_parse_pair(parser, list))
                return false;
            if (parser->token.kind != TOKEN_RIGHT_BRACE && !parser_accept(parser, TOKEN_COMMA)) {
                parser_unexpected(parser, "label set", "\",\" or \"}\"");
                return false;
            }
        }
        parser_advance(parser);
    }
    if (parser->token.kind != TOKEN_END)
        parser_unexpected(parser, NULL, NULL);
    return !parser->is_failed;
}

/* Sorts the pairs and refuses a name that is there twice. */
static void labels_finish(struct parser *parser, struct label_list *list)
{
    list->count = labels_canonicalize(list->items, list->count);
    for (size_t i = 1; i < list->count; i++)
        if (nx_str_eq(list->items[i - 1].name, list->items[i].name)) {
            struct nx_buf quoted = {0};
            labels_print_quoted(list->items[i].name, &quoted);
            parser_fail(parser, 0, "label %.*s is set twice", NX_STR_ARGS(nx_buf_str(&quoted)));
            nx_buf_deinit(&quoted);
            return;
        }
}

nx_code promql_parse_labels(struct nx_str text, struct arena *arena, struct labels *out_labels,
                            struct nx_err *err)
{
    struct parse_options options = {0};
    struct label_list list = {0};
    struct parser parser;

    parser_begin(&parser, text, &options, arena, err);
    if (!parser.is_failed && labels_parse(&parser, &list))
        labels_finish(&parser, &list);
    if (!parser.is_failed)
        *out_labels = (struct labels){.items = list.items, .count = list.count};
    return parser_end(&parser);
}
