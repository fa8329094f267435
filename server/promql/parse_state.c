/* SPDX-License-Identifier: Apache-2.0 */
/* parse_state.c - what all rules of the parser share: the token at hand, the first failure, memory, the bounds.
 *
 * A failure is sticky: the first one decides what is reported, and every rule returns NULL or false from then on.
 */
#include "parse_internal.h"

#include <stdarg.h>
#include <stdio.h>

void parser_begin(struct parser *parser, struct nx_str text, const struct parse_options *options,
                  struct arena *arena, struct nx_err *err)
{
    *parser = (struct parser){.options = options, .arena = arena, .err = err};
    if (text.len > PARSE_TEXT_BYTES_MAX) {
        parser_fail_limit(parser, "query text of %zu bytes exceeds the limit of %u bytes", text.len,
                          PARSE_TEXT_BYTES_MAX);
        return;
    }
    parser->text = arena_strdup(arena, text);
    if (parser->text.len != text.len) {
        parser_fail_limit(parser, "no memory left to parse the query");
        return;
    }
    lexer_init(&parser->lexer, parser->text);
    parser_advance(parser);
}

nx_code parser_end(struct parser *parser)
{
    if (!parser->is_failed)
        return NX_OK;
    for (struct parser_matchers *block = parser->matchers; block != NULL; block = block->next)
        for (size_t i = 0; i < block->count; i++)
            matcher_deinit(&block->items[i]);
    return parser->code;
}

void parser_advance(struct parser *parser)
{
    parser->last_end = parser->token.pos.end;
    parser->token = lexer_next(&parser->lexer);
    if (parser->token.kind == TOKEN_ERROR)
        parser_fail(parser, parser->token.pos.start, "%s", parser->lexer.error);
}

bool parser_accept(struct parser *parser, enum token_kind kind)
{
    if (parser->token.kind != kind)
        return false;
    parser_advance(parser);
    return true;
}

void parser_fail(struct parser *parser, uint32_t offset, const char *format, ...)
{
    char message[sizeof(parser->err->msg)];
    unsigned line;
    unsigned column;
    va_list args;

    if (parser->is_failed)
        return;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    parser->is_failed = true;
    if (parser->text.len == 0) {
        parser->code =
            nx_err_set(parser->err, NX_E_INVALID, "unknown position: parse error: %s", message);
        return;
    }
    promql_position(parser->text, offset, &line, &column);
    parser->code =
        nx_err_set(parser->err, NX_E_INVALID, "%u:%u: parse error: %s", line, column, message);
}

void parser_fail_limit(struct parser *parser, const char *format, ...)
{
    char message[sizeof(parser->err->msg)];
    va_list args;

    if (parser->is_failed)
        return;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    parser->is_failed = true;
    parser->code = nx_err_set(parser->err, NX_E_LIMIT, "%s", message);
}

void parser_unexpected(struct parser *parser, const char *context, const char *expected)
{
    struct nx_buf message = {0};
    if (parser->is_failed)
        return;
    if (context == NULL && parser->is_in_aggregate)
        context = "aggregation";
    nx_buf_append_cstr(&message, "unexpected ");
    token_describe(parser->text, parser->token, &message);
    if (context != NULL)
        nx_buf_printf(&message, " in %s", context);
    if (expected != NULL)
        nx_buf_printf(&message, ", expected %s", expected);
    parser_fail(parser, parser->token.pos.start, "%.*s", NX_STR_ARGS(nx_buf_str(&message)));
    nx_buf_deinit(&message);
}

bool parser_enter(struct parser *parser)
{
    if (parser->depth == PARSE_DEPTH_MAX) {
        parser_fail_limit(parser, "query is nested deeper than %d levels", PARSE_DEPTH_MAX);
        return false;
    }
    parser->depth++;
    return true;
}

void parser_leave(struct parser *parser)
{
    parser->depth--;
}

void *parser_alloc(struct parser *parser, size_t bytes)
{
    void *memory = arena_calloc(parser->arena, 1, bytes);
    if (memory == NULL)
        parser_fail_limit(parser, "no memory left to parse the query");
    return memory;
}

struct ast_node *parser_node(struct parser *parser, enum ast_kind kind, enum value_type type,
                             struct ast_range pos)
{
    struct ast_node *node = parser_alloc(parser, sizeof(*node));
    if (node == NULL)
        return NULL;
    node->kind = kind;
    node->type = type;
    node->pos = pos;
    node->height = 1;
    node->nesting = 1;
    return node;
}

bool parser_adopt(struct parser *parser, struct ast_node *parent, const struct ast_node *child)
{
    if (child == NULL)
        return true;
    bool is_chain = parent->kind == AST_BINARY && child == parent->u.binary.left;
    uint16_t nesting = (uint16_t)(child->nesting + (is_chain ? 0 : 1));
    if (child->height == AST_HEIGHT_MAX || nesting > PARSE_DEPTH_MAX) {
        parser_fail_limit(parser, "query is nested deeper than %d levels",
                          is_chain ? AST_HEIGHT_MAX : PARSE_DEPTH_MAX);
        return false;
    }
    if (parent->height <= child->height)
        parent->height = (uint16_t)(child->height + 1);
    if (parent->nesting < nesting)
        parent->nesting = nesting;
    return true;
}

bool parser_grow(struct parser *parser, void *items, size_t count, size_t *cap, size_t item_bytes)
{
    void *memory;
    if (count < *cap)
        return true;
    size_t wanted = *cap == 0 ? 4 : *cap * 2;
    memcpy(&memory, items, sizeof(memory));
    memory = arena_grow(parser->arena, memory, *cap * item_bytes, wanted * item_bytes);
    if (memory == NULL) {
        parser_fail_limit(parser, "no memory left to parse the query");
        return false;
    }
    memcpy(items, &memory, sizeof(memory));
    *cap = wanted;
    return true;
}

bool parser_number(struct parser *parser, double *out_value)
{
    struct nx_err err;
    struct nx_str text = token_text(parser->text, parser->token);
    int64_t ms = 0;
    bool is_duration = parser->token.kind == TOKEN_DURATION;
    nx_code code = is_duration ? lex_duration(text, &ms, &err) : lex_number(text, out_value, &err);
    if (code != NX_OK) {
        parser_fail(parser, parser->token.pos.start, "%s", err.msg);
        return false;
    }
    if (is_duration)
        *out_value = (double)ms / 1000;
    parser_advance(parser);
    return true;
}

struct nx_str parser_string(struct parser *parser)
{
    struct nx_str quoted = token_text(parser->text, parser->token);
    char *text = arena_alloc(parser->arena, quoted.len);
    if (text == NULL) {
        parser_fail_limit(parser, "no memory left to parse the query");
        return NX_STR("");
    }
    parser_advance(parser);
    return (struct nx_str){.data = text, .len = lex_unquote(quoted, text)};
}

void promql_position(struct nx_str text, uint32_t offset, unsigned *out_line, unsigned *out_column)
{
    unsigned line = 1;
    size_t line_start = 0;
    size_t end = offset < text.len ? offset : text.len;
    for (size_t i = 0; i < end; i++)
        if (text.data[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    *out_line = line;
    *out_column = (unsigned)(end - line_start + 1);
}
