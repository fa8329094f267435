/* lex.h - PromQL text to tokens, one at a time.
 *
 * Layer    promql.   Source  Prometheus 3.14 promql/parser/lex.go.
 * Context  what a character may be depends on where it stands: names inside {} are never keywords, inside [] only
 *          durations and their arithmetic are allowed. The lexer keeps track of that itself.
 * Errors   a token of kind TOKEN_ERROR, and the text in lexer.error; every later token is TOKEN_ERROR too.
 * Memory   tokens are views of the text; nothing is allocated.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"
#include "narthex/promql/ast.h"

#include <stdbool.h>
#include <stdint.h>

enum token_kind {
    TOKEN_END, /* of the text */
    TOKEN_ERROR,
    TOKEN_IDENTIFIER,        /* no colon */
    TOKEN_METRIC_IDENTIFIER, /* with a colon */
    TOKEN_NUMBER,
    TOKEN_DURATION,
    TOKEN_STRING, /* with its quotes */

    TOKEN_LEFT_PAREN,
    TOKEN_RIGHT_PAREN,
    TOKEN_LEFT_BRACE,
    TOKEN_RIGHT_BRACE,
    TOKEN_LEFT_BRACKET,
    TOKEN_RIGHT_BRACKET,
    TOKEN_COMMA,
    TOKEN_COLON,
    TOKEN_EQUAL, /* = */

    TOKEN_OPERATOR,  /* token.op says which; != as well inside {} */
    TOKEN_REGEX,     /* =~ */
    TOKEN_NOT_REGEX, /* !~ */
    TOKEN_AT,        /* @ */
    TOKEN_AGGREGATE, /* token.aggregate says which */

    TOKEN_BOOL,
    TOKEN_BY,
    TOKEN_WITHOUT,
    TOKEN_ON,
    TOKEN_IGNORING,
    TOKEN_GROUP_LEFT,
    TOKEN_GROUP_RIGHT,
    TOKEN_FILL,
    TOKEN_FILL_LEFT,
    TOKEN_FILL_RIGHT,
    TOKEN_OFFSET,
    TOKEN_ANCHORED,
    TOKEN_SMOOTHED,

    TOKEN_START,
    TOKEN_END_WORD, /* the word "end" */
    TOKEN_STEP,
    TOKEN_RANGE,
    TOKEN_MIN_OF,
    TOKEN_MAX_OF,
    TOKEN_COUNT,
};

struct token {
    enum token_kind kind;
    struct ast_range pos;
    enum ast_op op;               /* TOKEN_OPERATOR */
    enum ast_aggregate aggregate; /* TOKEN_AGGREGATE */
};

#define LEX_ERROR_BYTES_MAX 160

struct lexer {
    struct nx_str text; /* borrowed */
    /* private */
    uint32_t at;
    uint32_t start;
    unsigned paren_depth;
    bool is_in_braces;
    bool is_in_brackets;
    bool has_bracket_number; /* a number was seen since the bracket */
    bool has_bracket_word;   /* step, range, min_of or max_of was */
    bool has_bracket_colon;
    bool is_failed;
    /* public after TOKEN_ERROR */
    char error[LEX_ERROR_BYTES_MAX];
};

/* The text is at most PARSE_TEXT_BYTES_MAX long and outlives the lexer. */
void lexer_init(struct lexer *lexer, struct nx_str text);

/* The next token, comments and spaces skipped. TOKEN_END again and again at the end. */
struct token lexer_next(struct lexer *lexer);

/* The token as messages name it: identifier "foo", <op:+>, <aggr:sum>, <by>, ",", end of input. */
void token_describe(struct nx_str text, struct token token, struct nx_buf *out);

/* Text of a token. A view of `text`. */
static inline struct nx_str token_text(struct nx_str text, struct token token)
{
    return (struct nx_str){.data = text.data + token.pos.start,
                           .len = token.pos.end - token.pos.start};
}

/* Whether a token may name a metric outside {}, or a label in by(), on() and the like. */
bool token_is_metric_name(struct token token);
bool token_is_label_name(struct token token);

/* A number as written: decimal, hexadecimal, octal with a leading zero, Inf, NaN; underscores between digits.
 * NX_E_INVALID with the reason. */
NX_NODISCARD nx_code lex_number(struct nx_str text, double *out_value, struct nx_err *err);

/* A duration as written, in milliseconds: integers with units y w d h m s ms, descending. NX_E_INVALID with the
 * reason. */
NX_NODISCARD nx_code lex_duration(struct nx_str text, int64_t *out_ms, struct nx_err *err);

/* Writes a duration in its normal form (1h30m, 0s). Negative ones get a minus. */
void lex_duration_print(int64_t ms, struct nx_buf *out);

/* The content of a string token, quotes included, into `out`, which has room for its length. Returns the new length.
 * The token has passed the lexer: its escapes are well-formed. */
size_t lex_unquote(struct nx_str quoted, char *out);

/* UTF-8 of a code point that is one. Returns the length. */
#define LEX_RUNE_BYTES_MAX 4
size_t lex_encode_rune(uint32_t rune, char out[LEX_RUNE_BYTES_MAX]);
