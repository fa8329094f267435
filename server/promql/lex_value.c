/* SPDX-License-Identifier: Apache-2.0 */
/* lex_value.c - what number, duration and string tokens mean.
 *
 * In     the text of one token.   Out    a float64, milliseconds, bytes.
 * Fails  NX_E_INVALID with the reason alone; the parser adds the position.
 */
#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"
#include "narthex/model/labels.h"
#include "narthex/promql/lex.h"

#include <math.h>

#define NUMBER_TEXT_MAX 1024 /* digits beyond these cannot change a float64, underscores aside */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 99;
}

/* An integer below 2^63 with the base in its prefix: 0x is hexadecimal, another leading 0 octal. `digits` has no
 * underscores any more. */
static bool number_parse_integer(struct nx_str digits, double *out_value)
{
    int base = 10;
    size_t at = 0;
    uint64_t value = 0;

    if (digits.len > 2 && digits.data[0] == '0' && (digits.data[1] | 0x20) == 'x') {
        base = 16;
        at = 2;
    } else if (digits.len > 1 && digits.data[0] == '0') {
        base = 8;
        at = 1;
    }
    if (at == digits.len)
        return false;
    for (; at < digits.len; at++) {
        int digit = digit_of(digits.data[at]);
        if (digit >= base || value > ((uint64_t)INT64_MAX - (uint64_t)digit) / (uint64_t)base)
            return false;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    *out_value = (double)(int64_t)value;
    return true;
}

/* Copies `text` without its underscores; false when one does not stand between digits. */
static bool number_strip_underscores(struct nx_str text, char *out, size_t *out_len)
{
    bool is_hex = text.len > 1 && text.data[0] == '0' && (text.data[1] | 0x20) == 'x';
    int base = is_hex ? 16 : 10;
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c != '_') {
            out[len++] = c;
            continue;
        }
        bool follows = i > 0 && (digit_of(text.data[i - 1]) < base || (is_hex && i == 2));
        bool precedes = i + 1 < text.len && digit_of(text.data[i + 1]) < base;
        if (!follows || !precedes)
            return false;
    }
    *out_len = len;
    return true;
}

nx_code lex_number(struct nx_str text, double *out_value, struct nx_err *err)
{
    char plain[NUMBER_TEXT_MAX];
    size_t len = 0;
    double value;

    if (text.len > sizeof(plain))
        return nx_err_set(err, NX_E_INVALID, "error parsing number: longer than %zu characters",
                          sizeof(plain));
    if (!number_strip_underscores(text, plain, &len))
        goto fail;
    struct nx_str digits = {.data = plain, .len = len};
    if (number_parse_integer(digits, out_value))
        return NX_OK;
    if (!float_text_parse(digits, &value))
        goto fail;
    if (isinf(value) && digits.data[0] >= '.' && digits.data[0] <= '9')
        return nx_err_set(
            err, NX_E_INVALID,
            "error parsing number: strconv.ParseFloat: parsing \"%.*s\": value out of range",
            NX_STR_ARGS(text));
    *out_value = value;
    return NX_OK;

fail:
    return nx_err_set(err, NX_E_INVALID,
                      "error parsing number: strconv.ParseFloat: parsing \"%.*s\": invalid syntax",
                      NX_STR_ARGS(text));
}

struct duration_unit {
    struct nx_str name;
    int64_t ms;
    bool is_exact; /* printed only when nothing is left over */
};

static const struct duration_unit duration_units[] = {
    {{"y", 1}, 365LL * 24 * 3600 * 1000, true},
    {{"w", 1}, 7LL * 24 * 3600 * 1000, true},
    {{"d", 1}, 24LL * 3600 * 1000, false},
    {{"h", 1}, 3600LL * 1000, false},
    {{"m", 1}, 60LL * 1000, false},
    {{"s", 1}, 1000, false},
    {{"ms", 2}, 1, false},
};

/* Durations are bounded as if they were counted in nanoseconds in 64 bits. */
#define DURATION_MS_MAX (INT64_MAX / 1000000)

nx_code lex_duration(struct nx_str text, int64_t *out_ms, struct nx_err *err)
{
    int64_t total = 0;
    size_t unit = 0;
    size_t at = 0;

    while (at < text.len) {
        uint64_t count = 0;
        size_t digits = at;
        bool is_large = false;
        for (; at < text.len && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
            is_large |= count > (uint64_t)INT64_MAX / 100;
            count = is_large ? count : count * 10 + (uint64_t)(text.data[at] - '0');
        }
        size_t name = at;
        while (at < text.len && (text.data[at] < '0' || text.data[at] > '9'))
            at++;
        struct nx_str written = {.data = text.data + name, .len = at - name};
        while (unit < NX_ARRAY_LEN(duration_units) &&
               !nx_str_eq(duration_units[unit].name, written))
            unit++;
        if (digits == name || unit == NX_ARRAY_LEN(duration_units))
            goto fail;
        if (is_large || count > (uint64_t)((DURATION_MS_MAX - total) / duration_units[unit].ms))
            return nx_err_set(err, NX_E_INVALID, "duration out of range");
        total += (int64_t)count * duration_units[unit].ms;
        unit++;
    }
    if (text.len == 0)
        goto fail;
    *out_ms = total;
    return NX_OK;

fail:
    return nx_err_set(err, NX_E_INVALID, "not a valid duration string: \"%.*s\"",
                      NX_STR_ARGS(text));
}

void lex_duration_print(int64_t ms, struct nx_buf *out)
{
    uint64_t left = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    if (left == 0) {
        nx_buf_append_cstr(out, "0s");
        return;
    }
    if (ms < 0)
        nx_buf_append_byte(out, '-');
    for (size_t i = 0; i < NX_ARRAY_LEN(duration_units); i++) {
        uint64_t unit_ms = (uint64_t)duration_units[i].ms;
        if (left < unit_ms || (duration_units[i].is_exact && left % unit_ms != 0))
            continue;
        nx_buf_printf(out, "%llu%s", (unsigned long long)(left / unit_ms),
                      duration_units[i].name.data);
        left %= unit_ms;
    }
}

size_t lex_encode_rune(uint32_t rune, char out[LEX_RUNE_BYTES_MAX])
{
    if (rune < 0x80) {
        out[0] = (char)rune;
        return 1;
    }
    size_t extra = rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;
    out[0] = (char)(((0xFF00u >> (extra + 1)) & 0xFF) | (rune >> (6 * extra)));
    for (size_t i = 1; i <= extra; i++)
        out[i] = (char)(0x80 | ((rune >> (6 * (extra - i))) & 0x3F));
    return extra + 1;
}

size_t lex_unquote(struct nx_str quoted, char *out)
{
    static const char simple[] = "a\ab\bf\fn\nr\rt\tv\v";
    NX_ASSERT(quoted.len >= 2);
    const char *at = quoted.data + 1;
    const char *end = quoted.data + quoted.len - 1;
    size_t len = 0;

    if (quoted.data[0] == '`') {
        memcpy(out, at, (size_t)(end - at));
        return (size_t)(end - at);
    }
    while (at < end) {
        if (*at != '\\') {
            out[len++] = *at++;
            continue;
        }
        at++;
        NX_ASSERT(at < end);
        char kind = *at++;
        const char *named = strchr(simple, kind);
        if (named != NULL && (named - simple) % 2 == 0) {
            out[len++] = named[1];
            continue;
        }
        int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
        int base = 16;
        if (kind >= '0' && kind <= '7') {
            digits = 3;
            base = 8;
            at--;
        }
        if (digits == 0) {
            out[len++] = kind; /* a quote or a backslash */
            continue;
        }
        NX_ASSERT(end - at >= digits);
        uint32_t value = 0;
        for (int i = 0; i < digits; i++)
            value = value * (uint32_t)base + (uint32_t)digit_of(*at++);
        if (kind == 'u' || kind == 'U')
            len += lex_encode_rune(value, out + len);
        else
            out[len++] = (char)value;
    }
    return len;
}
