/* parse_internal.h - what the files of the parser share: parse.c, parse_selector.c, parse_duration.c. */
#pragma once

#include "narthex/promql/lex.h"
#include "narthex/promql/parse.h"

/* Matchers whose regexes have to be freed when the parse fails. */
struct parser_matchers {
    struct matcher *items; /* in the arena, moved when it grows */
    size_t count;
    size_t cap;
    struct parser_matchers *next;
};

struct parser {
    struct lexer lexer;
    struct nx_str text;
    const struct parse_options *options;
    struct arena *arena;
    struct nx_err *err;
    struct token token; /* the one to be consumed next */
    uint32_t last_end;  /* where the last consumed one ended */
    unsigned depth;     /* open calls of the recursive rules */
    unsigned regexes;   /* compiled so far */
    bool is_in_aggregate;
    bool is_failed;
    nx_code code; /* when is_failed */
    struct parser_matchers *matchers;
};

/* Copies `text` into the arena and reads the first token. */
void parser_begin(struct parser *parser, struct nx_str text, const struct parse_options *options,
                  struct arena *arena, struct nx_err *err);
/* Frees what a failed parse leaves outside the arena. Returns the outcome. */
nx_code parser_end(struct parser *parser);

void parser_advance(struct parser *parser);
bool parser_accept(struct parser *parser, enum token_kind kind);

/* The first failure counts; later ones are ignored. `offset` is where it is. */
void parser_fail(struct parser *parser, uint32_t offset, const char *format, ...) NX_PRINTF(3, 4);
void parser_fail_limit(struct parser *parser, const char *format, ...) NX_PRINTF(2, 3);
/* "unexpected <token>[ in <context>][, expected <expected>]" about the token at hand; either may be NULL. Without a
 * context the enclosing aggregation is named. */
void parser_unexpected(struct parser *parser, const char *context, const char *expected);

/* One level deeper; false, and failed, when that is too deep. Pair with parser_leave. */
bool parser_enter(struct parser *parser);
void parser_leave(struct parser *parser);

/* Arena memory, zeroed; NULL and failed when the budget is spent. */
void *parser_alloc(struct parser *parser, size_t bytes);
struct ast_node *parser_node(struct parser *parser, enum ast_kind kind, enum value_type type,
                             struct ast_range pos);
/* Tells `parent` of a child (NULL is fine). False, and failed, when the tree becomes too high. */
bool parser_adopt(struct parser *parser, struct ast_node *parent, const struct ast_node *child);

/* Room for one more in an array of the arena; false and failed when the budget is spent. */
bool parser_grow(struct parser *parser, void *items, size_t count, size_t *cap, size_t item_bytes);

/* The value of a number or duration token at hand, consumed. False, and failed, when it is malformed. */
bool parser_number(struct parser *parser, double *out_value);
/* The content of the string token at hand, consumed. Empty, and failed, when the budget is spent. */
struct nx_str parser_string(struct parser *parser);

/* parse_selector.c */
/* name{...}, name or {...}: `name` is the token before the braces, consumed, or NULL. */
struct ast_node *parse_selector(struct parser *parser, const struct token *name);
/* (label, "label", ...) */
bool parse_grouping(struct parser *parser, struct nx_str **out_labels, size_t *out_count);

/* parse_duration.c */
/* What follows a node: [range], [range:step]; offset. NULL when failed. */
struct ast_node *parse_bracket(struct parser *parser, struct ast_node *node);
struct ast_node *parse_offset(struct parser *parser, struct ast_node *node);
/* The modifiers that `node` may carry, NULL when it may not. */
struct ast_modifiers *parse_modifiers(struct ast_node *node);
