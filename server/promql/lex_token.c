/* SPDX-License-Identifier: Apache-2.0 */
/* lex_token.c - what a token may stand for, and how messages name it. */
#include "narthex/model/labels.h"
#include "narthex/promql/lex.h"

bool token_is_metric_name(struct token token)
{
    switch (token.kind) {
    case TOKEN_IDENTIFIER:
    case TOKEN_METRIC_IDENTIFIER:
    case TOKEN_AGGREGATE:
    case TOKEN_BY:
    case TOKEN_WITHOUT:
    case TOKEN_OFFSET:
    case TOKEN_ANCHORED:
    case TOKEN_SMOOTHED:
    case TOKEN_START:
    case TOKEN_END_WORD:
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MIN_OF:
    case TOKEN_MAX_OF:
        return true;
    case TOKEN_OPERATOR:
        return token.op == OP_AND || token.op == OP_OR || token.op == OP_UNLESS;
    case TOKEN_END:
    case TOKEN_ERROR:
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
    case TOKEN_STRING:
    case TOKEN_LEFT_PAREN:
    case TOKEN_RIGHT_PAREN:
    case TOKEN_LEFT_BRACE:
    case TOKEN_RIGHT_BRACE:
    case TOKEN_LEFT_BRACKET:
    case TOKEN_RIGHT_BRACKET:
    case TOKEN_COMMA:
    case TOKEN_COLON:
    case TOKEN_EQUAL:
    case TOKEN_REGEX:
    case TOKEN_NOT_REGEX:
    case TOKEN_AT:
    case TOKEN_BOOL:
    case TOKEN_ON:
    case TOKEN_IGNORING:
    case TOKEN_GROUP_LEFT:
    case TOKEN_GROUP_RIGHT:
    case TOKEN_FILL:
    case TOKEN_FILL_LEFT:
    case TOKEN_FILL_RIGHT:
    case TOKEN_COUNT:
        return false;
    }
    return false;
}

bool token_is_label_name(struct token token)
{
    if (token.kind == TOKEN_WITHOUT)
        return false;
    if (token.kind >= TOKEN_BOOL && token.kind <= TOKEN_SMOOTHED)
        return true;
    return token_is_metric_name(token) || (token.kind == TOKEN_OPERATOR && token.op == OP_ATAN2);
}

/* The first ten characters of a long text, quoted, as Go's "%.10q...". */
static void describe_quoted(struct nx_str text, bool is_cut, struct nx_buf *out)
{
    size_t len = text.len;
    if (is_cut && text.len > 10) {
        size_t runes = 0;
        for (len = 0; len < text.len && runes < 10; runes++) {
            len++;
            while (len < text.len && ((uint8_t)text.data[len] & 0xC0) == 0x80)
                len++;
        }
    }
    labels_print_quoted((struct nx_str){.data = text.data, .len = len}, out);
    if (is_cut && text.len > 10)
        nx_buf_append_cstr(out, "...");
}

void token_describe(struct nx_str text, struct token token, struct nx_buf *out)
{
    struct nx_str own = token_text(text, token);
    switch (token.kind) {
    case TOKEN_END:
        nx_buf_append_cstr(out, "end of input");
        return;
    case TOKEN_IDENTIFIER:
        nx_buf_append_cstr(out, "identifier ");
        describe_quoted(own, false, out);
        return;
    case TOKEN_METRIC_IDENTIFIER:
        nx_buf_append_cstr(out, "metric identifier ");
        describe_quoted(own, false, out);
        return;
    case TOKEN_NUMBER:
        nx_buf_append_cstr(out, "number ");
        describe_quoted(own, true, out);
        return;
    case TOKEN_DURATION:
        nx_buf_append_cstr(out, "duration ");
        describe_quoted(own, true, out);
        return;
    case TOKEN_STRING:
        nx_buf_append_cstr(out, "string ");
        describe_quoted(own, true, out);
        return;
    case TOKEN_OPERATOR:
    case TOKEN_REGEX:
    case TOKEN_NOT_REGEX:
    case TOKEN_AT:
        nx_buf_printf(out, "<op:%.*s>", NX_STR_ARGS(own));
        return;
    case TOKEN_AGGREGATE:
        nx_buf_printf(out, "<aggr:%.*s>", NX_STR_ARGS(own));
        return;
    case TOKEN_BOOL:
    case TOKEN_BY:
    case TOKEN_WITHOUT:
    case TOKEN_ON:
    case TOKEN_IGNORING:
    case TOKEN_GROUP_LEFT:
    case TOKEN_GROUP_RIGHT:
    case TOKEN_FILL:
    case TOKEN_FILL_LEFT:
    case TOKEN_FILL_RIGHT:
    case TOKEN_OFFSET:
    case TOKEN_ANCHORED:
    case TOKEN_SMOOTHED:
        nx_buf_printf(out, "<%.*s>", NX_STR_ARGS(own));
        return;
    case TOKEN_ERROR:
    case TOKEN_LEFT_PAREN:
    case TOKEN_RIGHT_PAREN:
    case TOKEN_LEFT_BRACE:
    case TOKEN_RIGHT_BRACE:
    case TOKEN_LEFT_BRACKET:
    case TOKEN_RIGHT_BRACKET:
    case TOKEN_COMMA:
    case TOKEN_COLON:
    case TOKEN_EQUAL:
    case TOKEN_START:
    case TOKEN_END_WORD:
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MIN_OF:
    case TOKEN_MAX_OF:
    case TOKEN_COUNT:
        describe_quoted(own, true, out);
        return;
    }
}
