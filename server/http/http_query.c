/* SPDX-License-Identifier: Apache-2.0 */
/* http_query.c - query strings and forms to parameters, by Go's rules (net/url ParseQuery).
 *
 * In     raw bytes between '?' and the end of the target, or a form body.
 * Out    names and values in order, decoded; those without escapes are views of the input.
 * Fails  NX_E_INVALID: broken escape, ';'. NX_E_LIMIT: too many pairs, arena spent.
 */
#include "narthex/http/http_query.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool http_percent_decode(struct nx_str text, bool plus_is_space, char *out, size_t *out_len)
{
    size_t written = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%') {
            int high = text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_value(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[written++] = c;
    }
    *out_len = written;
    return true;
}

/* The first escape that does not decode, at most three bytes, for the message. */
static struct nx_str broken_escape(struct nx_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '%')
            continue;
        bool is_whole = text.len - i > 2;
        if (!is_whole || hex_value(text.data[i + 1]) < 0 || hex_value(text.data[i + 2]) < 0)
            return (struct nx_str){.data = text.data + i, .len = is_whole ? 3 : text.len - i};
        i += 2;
    }
    return (struct nx_str){0};
}

static nx_code decode_piece(struct arena *arena, struct nx_str piece, struct nx_str *out,
                            struct nx_err *err)
{
    bool is_plain = piece.len == 0 || (memchr(piece.data, '%', piece.len) == NULL &&
                                       memchr(piece.data, '+', piece.len) == NULL);
    if (is_plain) {
        *out = piece;
        return NX_OK;
    }
    char *decoded = arena_alloc(arena, piece.len);
    if (decoded == NULL)
        return nx_err_set(err, NX_E_LIMIT, "parameters need too much memory");
    size_t decoded_bytes = 0;
    if (!http_percent_decode(piece, true, decoded, &decoded_bytes)) {
        struct nx_str broken = broken_escape(piece);
        return nx_err_set(err, NX_E_INVALID, "invalid URL escape \"%.*s\"", NX_STR_ARGS(broken));
    }
    *out = (struct nx_str){.data = decoded, .len = decoded_bytes};
    return NX_OK;
}

static nx_code append_param(struct http_params *params, struct arena *arena,
                            struct http_param param, struct nx_err *err)
{
    if (params->count == HTTP_PARAMS_MAX)
        return nx_err_set(err, NX_E_LIMIT, "more than %d parameters", HTTP_PARAMS_MAX);
    if (params->count == params->cap) {
        size_t cap = params->cap == 0 ? 8 : params->cap * 2;
        struct http_param *grown =
            arena_grow(arena, params->items, params->cap * sizeof(*grown), cap * sizeof(*grown));
        if (grown == NULL)
            return nx_err_set(err, NX_E_LIMIT, "parameters need too much memory");
        params->items = grown;
        params->cap = cap;
    }
    params->items[params->count++] = param;
    return NX_OK;
}

nx_code http_params_add(struct http_params *params, struct arena *arena, struct nx_str text,
                        struct nx_err *err)
{
    struct nx_str rest = text;
    while (rest.len > 0) {
        struct nx_str pair;
        (void)nx_str_split(rest, '&', &pair, &rest);
        if (pair.len == 0)
            continue;
        if (memchr(pair.data, ';', pair.len) != NULL)
            return nx_err_set(err, NX_E_INVALID, "invalid semicolon separator in query");
        struct nx_str name;
        struct nx_str value;
        (void)nx_str_split(pair, '=', &name, &value);
        struct http_param param;
        nx_code code = decode_piece(arena, name, &param.name, err);
        if (code == NX_OK)
            code = decode_piece(arena, value, &param.value, err);
        if (code == NX_OK)
            code = append_param(params, arena, param, err);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

bool http_params_get(const struct http_params *params, struct nx_str name, struct nx_str *out_value)
{
    size_t cursor = 0;
    return http_params_next(params, name, &cursor, out_value);
}

bool http_params_next(const struct http_params *params, struct nx_str name, size_t *cursor,
                      struct nx_str *out_value)
{
    for (size_t i = *cursor; i < params->count; i++) {
        if (nx_str_eq(params->items[i].name, name)) {
            *out_value = params->items[i].value;
            *cursor = i + 1;
            return true;
        }
    }
    *cursor = params->count;
    return false;
}

bool http_is_form(struct nx_str content_type)
{
    struct nx_str media_type;
    struct nx_str parameters;
    (void)nx_str_split(content_type, ';', &media_type, &parameters);
    return nx_str_eq_nocase(nx_str_trim(media_type), NX_STR("application/x-www-form-urlencoded"));
}
