/* SPDX-License-Identifier: Apache-2.0 */
/* lex.c - PromQL text to tokens.
 *
 * In     the query text.       Out    one token per call, positions in bytes.
 * Fails  with TOKEN_ERROR and Prometheus' text; the position is where Prometheus puts it, which for brackets and
 *        parentheses is sometimes just behind the character.
 *
 * Three contexts, told apart by two flags:
 *
 *   plain        names, keywords, operators, numbers, strings
 *   { ... }      names that are never keywords, strings, = != =~ !~
 *   [ ... ]      numbers, durations, arithmetic, the words step range min_of max_of, one colon
 *
 * Inside [] Prometheus words its complaint differently before and after the first number; has_bracket_number keeps
 * that apart.
 */
#include "narthex/promql/lex.h"

#include "narthex/base/assert.h"
#include "narthex/model/labels.h"

#include <stdarg.h>
#include <stdio.h>

#define RUNE_END     (-1)
#define RUNE_INVALID 0xFFFD

/* A word with a meaning; kinds without a field leave it zero. */
struct lex_word {
    struct nx_str text;
    enum token_kind kind;
    int detail; /* ast_op or ast_aggregate */
};

#define WORD(word, kind, detail)                                                                   \
 {                                                                                                 \
  {(word), sizeof(word) - 1}, (kind), (detail)                                                     \
 }

static const struct lex_word lex_words[] = {
    WORD("and", TOKEN_OPERATOR, OP_AND),
    WORD("or", TOKEN_OPERATOR, OP_OR),
    WORD("unless", TOKEN_OPERATOR, OP_UNLESS),
    WORD("atan2", TOKEN_OPERATOR, OP_ATAN2),
    WORD("sum", TOKEN_AGGREGATE, AGGREGATE_SUM),
    WORD("avg", TOKEN_AGGREGATE, AGGREGATE_AVG),
    WORD("count", TOKEN_AGGREGATE, AGGREGATE_COUNT),
    WORD("min", TOKEN_AGGREGATE, AGGREGATE_MIN),
    WORD("max", TOKEN_AGGREGATE, AGGREGATE_MAX),
    WORD("group", TOKEN_AGGREGATE, AGGREGATE_GROUP),
    WORD("stddev", TOKEN_AGGREGATE, AGGREGATE_STDDEV),
    WORD("stdvar", TOKEN_AGGREGATE, AGGREGATE_STDVAR),
    WORD("topk", TOKEN_AGGREGATE, AGGREGATE_TOPK),
    WORD("bottomk", TOKEN_AGGREGATE, AGGREGATE_BOTTOMK),
    WORD("count_values", TOKEN_AGGREGATE, AGGREGATE_COUNT_VALUES),
    WORD("quantile", TOKEN_AGGREGATE, AGGREGATE_QUANTILE),
    WORD("limitk", TOKEN_AGGREGATE, AGGREGATE_LIMITK),
    WORD("limit_ratio", TOKEN_AGGREGATE, AGGREGATE_LIMIT_RATIO),
    WORD("offset", TOKEN_OFFSET, 0),
    WORD("smoothed", TOKEN_SMOOTHED, 0),
    WORD("anchored", TOKEN_ANCHORED, 0),
    WORD("by", TOKEN_BY, 0),
    WORD("without", TOKEN_WITHOUT, 0),
    WORD("on", TOKEN_ON, 0),
    WORD("ignoring", TOKEN_IGNORING, 0),
    WORD("group_left", TOKEN_GROUP_LEFT, 0),
    WORD("group_right", TOKEN_GROUP_RIGHT, 0),
    WORD("fill", TOKEN_FILL, 0),
    WORD("fill_left", TOKEN_FILL_LEFT, 0),
    WORD("fill_right", TOKEN_FILL_RIGHT, 0),
    WORD("bool", TOKEN_BOOL, 0),
    WORD("start", TOKEN_START, 0),
    WORD("end", TOKEN_END_WORD, 0),
    WORD("step", TOKEN_STEP, 0),
    WORD("range", TOKEN_RANGE, 0),
    WORD("max_of", TOKEN_MAX_OF, 0),
    WORD("min_of", TOKEN_MIN_OF, 0),
    WORD("inf", TOKEN_NUMBER, 0),
    WORD("nan", TOKEN_NUMBER, 0),
};

static bool is_space(int rune)
{
    return rune == ' ' || rune == '\t' || rune == '\n' || rune == '\r';
}

static bool is_digit(int rune)
{
    return rune >= '0' && rune <= '9';
}

static bool is_alpha(int rune)
{
    return rune == '_' || (rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z');
}

static bool is_alphanumeric(int rune)
{
    return is_alpha(rune) || is_digit(rune);
}

static bool is_in(int rune, const char *set)
{
    return rune > 0 && rune < 128 && strchr(set, rune) != NULL;
}

/* The byte at the cursor, RUNE_END behind the text. Enough wherever only ASCII matters. */
static int lexer_peek(const struct lexer *lexer)
{
    return lexer->at < lexer->text.len ? (uint8_t)lexer->text.data[lexer->at] : RUNE_END;
}

static int lexer_peek_second(const struct lexer *lexer)
{
    return lexer->at + 1 < lexer->text.len ? (uint8_t)lexer->text.data[lexer->at + 1] : RUNE_END;
}

static bool lexer_accept(struct lexer *lexer, const char *set)
{
    if (!is_in(lexer_peek(lexer), set))
        return false;
    lexer->at++;
    return true;
}

/* Decodes one UTF-8 character and steps over it; RUNE_INVALID (and one byte) when it is malformed. */
static int lexer_next_rune(struct lexer *lexer)
{
    static const int lowest[5] = {0, 0, 0x80, 0x800, 0x10000};
    int first = lexer_peek(lexer);
    if (first == RUNE_END)
        return RUNE_END;
    lexer->at++;
    if (first < 0x80)
        return first;
    uint32_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || lexer->at + length - 1 > lexer->text.len)
        return RUNE_INVALID;
    int rune = first & (0x7F >> length);
    for (uint32_t i = 0; i + 1 < length; i++) {
        uint8_t byte = (uint8_t)lexer->text.data[lexer->at + i];
        if ((byte & 0xC0) != 0x80)
            return RUNE_INVALID;
        rune = (rune << 6) | (byte & 0x3F);
    }
    if (rune < lowest[length] || rune > 0x10FFFF || (rune >= 0xD800 && rune < 0xE000))
        return RUNE_INVALID;
    lexer->at += length - 1;
    return rune;
}

/* Characters that are shown as escapes: controls, format characters and spaces other than ' '. */
static bool rune_is_hidden(int rune)
{
    return rune < 0x20 || rune == 0x7F || (rune >= 0x80 && rune <= 0xA0) || rune == 0xAD ||
           rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200F) ||
           (rune >= 0x2028 && rune <= 0x202F) || (rune >= 0x205F && rune <= 0x206F) ||
           rune == 0x3000 || (rune >= 0xE000 && rune <= 0xF8FF) || rune == 0xFEFF ||
           rune >= 0xE0000;
}

#define RUNE_TEXT_MAX 16

/* 'x' as Go's %q writes a character; the end of the text shows as U+FFFD. */
static const char *rune_quote(int rune, char out[RUNE_TEXT_MAX])
{
    static const char names[] = "a\ab\bf\fn\nr\rt\tv\v\\\\''";
    char *next = out;
    *next++ = '\'';
    for (size_t i = 0; i + 1 < sizeof(names) && rune >= 0; i += 2)
        if (names[i + 1] == rune) {
            (void)snprintf(next, RUNE_TEXT_MAX - 1, "\\%c'", names[i]);
            return out;
        }
    if (rune < 0)
        rune = RUNE_INVALID;
    if (rune_is_hidden(rune)) {
        char kind = rune < 0x80 ? 'x' : rune < 0x10000 ? 'u' : 'U';
        int width = rune < 0x80 ? 2 : rune < 0x10000 ? 4 : 8;
        (void)snprintf(next, RUNE_TEXT_MAX - 1, "\\%c%0*x'", kind, width, (unsigned)rune);
        return out;
    }
    next += lex_encode_rune((uint32_t)rune, next);
    *next++ = '\'';
    *next = '\0';
    return out;
}

static struct token lexer_emit(struct lexer *lexer, enum token_kind kind)
{
    struct token token = {.kind = kind, .pos = {.start = lexer->start, .end = lexer->at}};
    lexer->start = lexer->at;
    return token;
}

static struct token lexer_emit_op(struct lexer *lexer, enum ast_op op)
{
    struct token token = lexer_emit(lexer, TOKEN_OPERATOR);
    token.op = op;
    return token;
}

/* The error stands at lexer->start: where the token began, or behind the last character consumed by an emit. */
NX_PRINTF(2, 3)
static struct token lexer_fail(struct lexer *lexer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(lexer->error, sizeof(lexer->error), format, args);
    va_end(args);
    lexer->is_failed = true;
    return (struct token){.kind = TOKEN_ERROR,
                          .pos = {.start = lexer->start, .end = (uint32_t)lexer->text.len}};
}

/* format has one %s for the character. The cursor is behind it, `start` still at it. */
static struct token lexer_fail_rune(struct lexer *lexer, const char *before, int rune,
                                    const char *after)
{
    char quoted[RUNE_TEXT_MAX];
    return lexer_fail(lexer, "%s%s%s", before, rune_quote(rune, quoted), after);
}

/* Characters whose meaning is their own, in every context but {}. */
static bool lexer_punctuation(struct lexer *lexer, int rune, struct token *out_token)
{
    static const struct {
        char rune;
        enum ast_op op;
    } arithmetic[] = {{'+', OP_ADD}, {'-', OP_SUB}, {'*', OP_MUL},
                      {'/', OP_DIV}, {'%', OP_MOD}, {'^', OP_POW}};

    for (size_t i = 0; i < NX_ARRAY_LEN(arithmetic); i++)
        if (arithmetic[i].rune == rune) {
            lexer->at++;
            *out_token = lexer_emit_op(lexer, arithmetic[i].op);
            return true;
        }
    switch (rune) {
    case ',':
        lexer->at++;
        *out_token = lexer_emit(lexer, TOKEN_COMMA);
        return true;
    case '(':
        lexer->at++;
        lexer->paren_depth++;
        *out_token = lexer_emit(lexer, TOKEN_LEFT_PAREN);
        return true;
    case ')':
        lexer->at++;
        *out_token = lexer_emit(lexer, TOKEN_RIGHT_PAREN);
        if (lexer->paren_depth == 0)
            *out_token = lexer_fail_rune(lexer, "unexpected right parenthesis ", rune, "");
        else
            lexer->paren_depth--;
        return true;
    default:
        return false;
    }
}

static struct token lexer_comparison(struct lexer *lexer, int rune)
{
    lexer->at++;
    int next = lexer_peek(lexer);
    switch (rune) {
    case '=':
        if (next == '~')
            return lexer_fail_rune(lexer, "unexpected character after '=': ", next, "");
        if (next != '=')
            return lexer_emit(lexer, TOKEN_EQUAL);
        lexer->at++;
        return lexer_emit_op(lexer, OP_EQL);
    case '!':
        next = lexer_next_rune(lexer);
        if (next != '=')
            return lexer_fail_rune(lexer, "unexpected character after '!': ", next, "");
        return lexer_emit_op(lexer, OP_NEQ);
    case '<':
        if (next != '=' && next != '/')
            return lexer_emit_op(lexer, OP_LSS);
        lexer->at++;
        return lexer_emit_op(lexer, next == '=' ? OP_LTE : OP_TRIM_UPPER);
    default:
        if (next != '=' && next != '/')
            return lexer_emit_op(lexer, OP_GTR);
        lexer->at++;
        return lexer_emit_op(lexer, next == '=' ? OP_GTE : OP_TRIM_LOWER);
    }
}

/* Whether the characters at the cursor look like a number; the cursor ends behind what was looked at. What passes is
 * not always a number: lex_number decides. As Prometheus, e and E count as exponents in hexadecimal numbers, too,
 * except in the first place, so that at most one of them may follow. */
static bool lexer_scan_number(struct lexer *lexer)
{
    const char *digits = "0123456789";
    uint32_t begin = lexer->at;
    bool is_hex = false;
    bool has_dot = false;
    bool has_exponent = false;

    if (lexer_accept(lexer, "0") && lexer_accept(lexer, "xX")) {
        (void)lexer_accept(lexer, "_");
        digits = "0123456789abcdefABCDEF";
        is_hex = true;
    }
    (void)lexer_accept(lexer, ".");
    (void)lexer_accept(lexer, digits);
    for (;;) {
        if (lexer_accept(lexer, ".")) {
            if (has_dot || is_hex || lexer_accept(lexer, "_."))
                return false;
            has_dot = true;
        } else if (lexer_accept(lexer, "eE")) {
            if (has_exponent)
                return false;
            has_exponent = true;
            (void)lexer_accept(lexer, "+-");
            if (lexer_accept(lexer, "._eE") || lexer_peek(lexer) == RUNE_END)
                return false;
        } else if (lexer_accept(lexer, "_")) {
            if (lexer_accept(lexer, "._eE") || lexer_peek(lexer) == RUNE_END)
                return false;
        } else if (lexer_accept(lexer, digits)) {
            while (lexer_accept(lexer, digits))
                continue;
        } else {
            break;
        }
    }
    return lexer->at != begin && !is_alphanumeric(lexer_peek(lexer));
}

/* After a number without unit: units and more numbers, up to the end of the word. */
static bool lexer_scan_duration_rest(struct lexer *lexer)
{
    if (!lexer_accept(lexer, "smhdwy"))
        return false;
    (void)lexer_accept(lexer, "s");
    while (lexer_accept(lexer, "0123456789")) {
        while (lexer_accept(lexer, "0123456789"))
            continue;
        if (!lexer_accept(lexer, "smhdw"))
            return false;
        (void)lexer_accept(lexer, "s");
    }
    if (!is_alphanumeric(lexer_peek(lexer)))
        return true;
    lexer->at++;
    return false;
}

static struct token lexer_number(struct lexer *lexer)
{
    if (lexer->is_in_brackets)
        lexer->has_bracket_number = true;
    if (lexer_scan_number(lexer))
        return lexer_emit(lexer, TOKEN_NUMBER);
    if (lexer_scan_duration_rest(lexer))
        return lexer_emit(lexer, TOKEN_DURATION);

    struct nx_buf quoted = {0};
    labels_print_quoted(
        (struct nx_str){.data = lexer->text.data + lexer->start, .len = lexer->at - lexer->start},
        &quoted);
    struct token token =
        lexer_fail(lexer, "bad number or duration syntax: %.*s", NX_STR_ARGS(nx_buf_str(&quoted)));
    nx_buf_deinit(&quoted);
    return token;
}

static int digit_value(int rune)
{
    if (is_digit(rune))
        return rune - '0';
    if (rune >= 'a' && rune <= 'f')
        return rune - 'a' + 10;
    if (rune >= 'A' && rune <= 'F')
        return rune - 'A' + 10;
    return 16;
}

/* Steps over an escape sequence, the backslash already consumed. True when it is well-formed, else *out_error. */
static bool lexer_escape(struct lexer *lexer, int quote, struct token *out_error)
{
    int rune = lexer_next_rune(lexer);
    int length;
    int base = 16;
    uint32_t most = 0x10FFFF;

    if (rune == quote || is_in(rune, "abfnrtv\\"))
        return true;
    if (rune >= '0' && rune <= '7') {
        length = 3;
        base = 8;
        most = 255;
    } else if (rune == 'x') {
        length = 2;
        most = 255;
        rune = lexer_next_rune(lexer);
    } else if (rune == 'u' || rune == 'U') {
        length = rune == 'u' ? 4 : 8;
        rune = lexer_next_rune(lexer);
    } else if (rune == RUNE_END) {
        *out_error = lexer_fail(lexer, "escape sequence not terminated");
        return false;
    } else {
        char quoted[RUNE_TEXT_MAX];
        *out_error = lexer_fail(lexer, "unknown escape sequence U+%04X %s", (unsigned)rune,
                                rune_quote(rune, quoted));
        return false;
    }

    uint32_t value = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0)
            rune = lexer_next_rune(lexer);
        int digit = digit_value(rune);
        if (rune == RUNE_END) {
            *out_error = lexer_fail(lexer, "escape sequence not terminated");
            return false;
        }
        if (digit >= base) {
            char quoted[RUNE_TEXT_MAX];
            *out_error = lexer_fail(lexer, "illegal character U+%04X %s in escape sequence",
                                    (unsigned)rune, rune_quote(rune, quoted));
            return false;
        }
        value = value * (uint32_t)base + (uint32_t)digit;
    }
    if (value > most || (value >= 0xD800 && value < 0xE000)) {
        *out_error = lexer_fail(lexer, "escape sequence is an invalid Unicode code point");
        return false;
    }
    return true;
}

static struct token lexer_string(struct lexer *lexer)
{
    int quote = lexer_next_rune(lexer);
    bool is_raw = quote == '`';
    for (;;) {
        int rune = lexer_next_rune(lexer);
        if (rune == quote)
            return lexer_emit(lexer, TOKEN_STRING);
        if (rune == RUNE_INVALID)
            return lexer_fail(lexer, "invalid UTF-8 rune");
        if (rune == RUNE_END || (rune == '\n' && !is_raw))
            return lexer_fail(lexer,
                              is_raw ? "unterminated raw string" : "unterminated quoted string");
        struct token error;
        if (rune == '\\' && !is_raw && !lexer_escape(lexer, quote, &error))
            return error;
    }
}

static const struct lex_word *lexer_find_word(struct nx_str text)
{
    for (size_t i = 0; i < NX_ARRAY_LEN(lex_words); i++)
        if (nx_str_eq_nocase(lex_words[i].text, text))
            return &lex_words[i];
    return NULL;
}

/* fill(...) is a modifier only in front of a parenthesis, else a metric. */
static bool lexer_before_paren(const struct lexer *lexer)
{
    size_t at = lexer->at;
    while (at < lexer->text.len && is_space((uint8_t)lexer->text.data[at]))
        at++;
    return at < lexer->text.len && lexer->text.data[at] == '(';
}

static struct token lexer_word(struct lexer *lexer)
{
    bool has_colon = false;
    for (int rune; (rune = lexer_peek(lexer)), is_alphanumeric(rune) || rune == ':'; lexer->at++)
        has_colon |= rune == ':';

    struct nx_str text = {.data = lexer->text.data + lexer->start, .len = lexer->at - lexer->start};
    const struct lex_word *word = has_colon ? NULL : lexer_find_word(text);
    if (word == NULL)
        return lexer_emit(lexer, has_colon ? TOKEN_METRIC_IDENTIFIER : TOKEN_IDENTIFIER);
    if (word->kind >= TOKEN_FILL && word->kind <= TOKEN_FILL_RIGHT && !lexer_before_paren(lexer))
        return lexer_emit(lexer, TOKEN_IDENTIFIER);

    struct token token = lexer_emit(lexer, word->kind);
    if (word->kind == TOKEN_OPERATOR)
        token.op = (enum ast_op)word->detail;
    else if (word->kind == TOKEN_AGGREGATE)
        token.aggregate = (enum ast_aggregate)word->detail;
    return token;
}

/* A word inside []: only four are known there, and a complaint names the first character. */
static struct token lexer_bracket_word(struct lexer *lexer)
{
    int first = lexer_peek(lexer);
    while (is_alphanumeric(lexer_peek(lexer)))
        lexer->at++;
    struct nx_str text = {.data = lexer->text.data + lexer->start, .len = lexer->at - lexer->start};
    const struct lex_word *word = lexer_find_word(text);
    if (word != NULL && word->kind >= TOKEN_STEP && word->kind <= TOKEN_MAX_OF) {
        lexer->has_bracket_word = true;
        return lexer_emit(lexer, word->kind);
    }
    if (lexer->has_bracket_number)
        return lexer_fail_rune(lexer, "unexpected character: ", first, ", expected ':'");
    return lexer_fail_rune(lexer, "unexpected character in duration expression: ", first, "");
}

static struct token lexer_bracket_colon(struct lexer *lexer)
{
    bool is_repeated = lexer->has_bracket_colon;
    if (is_repeated && lexer->has_bracket_number)
        return lexer_fail_rune(lexer, "unexpected colon ", ':', "");
    lexer->at++;
    lexer->has_bracket_colon = true;
    struct token colon = lexer_emit(lexer, TOKEN_COLON);
    if (!lexer->has_bracket_number && !lexer->has_bracket_word)
        return lexer_fail(lexer, "unexpected colon before duration in duration expression");
    if (is_repeated)
        return lexer_fail(lexer, "unexpected repeated colon in duration expression");
    return colon;
}

static struct token lexer_end(struct lexer *lexer)
{
    if (lexer->is_in_brackets && !lexer->has_bracket_number)
        return lexer_fail(lexer, "unexpected end of input in duration expression");
    if (lexer->paren_depth != 0)
        return lexer_fail(lexer, "unclosed left parenthesis");
    if (lexer->is_in_brackets)
        return lexer_fail(lexer, "unclosed left bracket");
    return lexer_emit(lexer, TOKEN_END);
}

static struct token lexer_in_braces(struct lexer *lexer)
{
    int rune = lexer_peek(lexer);
    switch (rune) {
    case RUNE_END:
        return lexer_fail(lexer, "unexpected end of input inside braces");
    case ',':
        lexer->at++;
        return lexer_emit(lexer, TOKEN_COMMA);
    case '"':
    case '\'':
    case '`':
        return lexer_string(lexer);
    case '=':
        lexer->at++;
        return lexer_emit(lexer, lexer_accept(lexer, "~") ? TOKEN_REGEX : TOKEN_EQUAL);
    case '!':
        lexer->at++;
        rune = lexer_next_rune(lexer);
        if (rune == '~')
            return lexer_emit(lexer, TOKEN_NOT_REGEX);
        if (rune == '=')
            return lexer_emit_op(lexer, OP_NEQ);
        return lexer_fail_rune(lexer, "unexpected character after '!' inside braces: ", rune, "");
    case '{':
        return lexer_fail_rune(lexer, "unexpected left brace ", rune, "");
    case '}':
        lexer->at++;
        lexer->is_in_braces = false;
        return lexer_emit(lexer, TOKEN_RIGHT_BRACE);
    default:
        if (!is_alpha(rune))
            return lexer_fail_rune(
                lexer, "unexpected character inside braces: ", lexer_next_rune(lexer), "");
        while (is_alphanumeric(lexer_peek(lexer)))
            lexer->at++;
        return lexer_emit(lexer, TOKEN_IDENTIFIER);
    }
}

/* What may stand in [] and nowhere else, or means something else there. */
static bool lexer_in_brackets(struct lexer *lexer, int rune, struct token *out_token)
{
    if (rune == ':') {
        *out_token = lexer_bracket_colon(lexer);
        return true;
    }
    if (is_alpha(rune)) {
        *out_token = lexer_bracket_word(lexer);
        return true;
    }
    if (rune == ']') {
        lexer->at++;
        lexer->is_in_brackets = false;
        *out_token = lexer_emit(lexer, TOKEN_RIGHT_BRACKET);
        return true;
    }
    if (lexer->has_bracket_number || is_digit(rune) || is_in(rune, "+-*/%^,()") ||
        (rune == '.' && is_digit(lexer_peek_second(lexer))))
        return false;
    *out_token = lexer_fail_rune(
        lexer, "unexpected character in duration expression: ", lexer_next_rune(lexer), "");
    return true;
}

static struct token lexer_open_bracket(struct lexer *lexer, int rune)
{
    if (lexer->is_in_brackets)
        return lexer_fail_rune(lexer, "unexpected left bracket ", rune, "");
    lexer->at++;
    lexer->is_in_brackets = true;
    lexer->has_bracket_number = false;
    lexer->has_bracket_word = false;
    lexer->has_bracket_colon = false;
    return lexer_emit(lexer, TOKEN_LEFT_BRACKET);
}

static void lexer_skip_blank(struct lexer *lexer)
{
    for (;;) {
        int rune = lexer_peek(lexer);
        if (is_space(rune)) {
            lexer->at++;
        } else if (rune == '#') {
            while ((rune = lexer_peek(lexer)) != RUNE_END && rune != '\n' && rune != '\r')
                lexer->at++;
        } else {
            break;
        }
    }
    lexer->start = lexer->at;
}

void lexer_init(struct lexer *lexer, struct nx_str text)
{
    *lexer = (struct lexer){.text = text};
}

struct token lexer_next(struct lexer *lexer)
{
    struct token token;
    if (lexer->is_failed)
        return (struct token){.kind = TOKEN_ERROR,
                              .pos = {.start = lexer->start, .end = (uint32_t)lexer->text.len}};
    lexer_skip_blank(lexer);
    if (lexer->is_in_braces)
        return lexer_in_braces(lexer);

    int rune = lexer_peek(lexer);
    if (rune == RUNE_END)
        return lexer_end(lexer);
    if (lexer->is_in_brackets && lexer_in_brackets(lexer, rune, &token))
        return token;
    if (lexer_punctuation(lexer, rune, &token))
        return token;
    if (is_alpha(rune) || rune == ':')
        return lexer_word(lexer);
    if (is_digit(rune) || (rune == '.' && is_digit(lexer_peek_second(lexer))))
        return lexer_number(lexer);
    switch (rune) {
    case '=':
    case '!':
    case '<':
    case '>':
        return lexer_comparison(lexer, rune);
    case '"':
    case '\'':
    case '`':
        return lexer_string(lexer);
    case '{':
        lexer->at++;
        lexer->is_in_braces = true;
        return lexer_emit(lexer, TOKEN_LEFT_BRACE);
    case '[':
        return lexer_open_bracket(lexer, rune);
    case ']':
        return lexer_fail_rune(lexer, "unexpected right bracket ", rune, "");
    case '@':
        lexer->at++;
        return lexer_emit(lexer, TOKEN_AT);
    default:
        return lexer_fail_rune(lexer, "unexpected character: ", lexer_next_rune(lexer), "");
    }
}
