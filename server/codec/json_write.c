/* SPDX-License-Identifier: Apache-2.0 */
/* json_write.c - JSON tokens appended to a buffer.
 *
 * Strings are copied in stretches that need no escape; a table says which bytes end a stretch. Escapes are those that
 * Prometheus' encoder (jsoniter) writes: short ones for " \ newline, return and tab, \u00xx for the rest.
 */
#include "narthex/codec/json_write.h"

#include "narthex/base/float_text.h"

#include <string.h>

static const char hex_digits[16] = "0123456789abcdef";

static bool is_plain(uint8_t byte, bool is_html)
{
    if (byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\')
        return false;
    return !is_html || (byte != '<' && byte != '>' && byte != '&');
}

/* Whether all of eight bytes are plain in both ways of escaping. Each byte at once: below 0x20, or equal to a stop and
 * so zero after the XOR, it borrows, which sets its top bit. May say no where the answer is yes. */
static bool is_plain_word(const uint8_t *s)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones << 7;
    uint64_t word;
    memcpy(&word, s, sizeof(word));
    uint64_t special = word | (word - ones * 0x20);
    static const uint8_t stops[] = {'"', '\\', '<', '>', '&'};
    for (size_t i = 0; i < sizeof(stops); i++)
        special |= (word ^ ones * stops[i]) - ones;
    return (special & tops) == 0;
}

/* Length of the well-formed UTF-8 sequence at `s` (RFC 3629: no surrogates, nothing overlong), 0 when there is none.
 * *out_rune is its code point. */
static size_t utf8_sequence(const uint8_t *s, size_t left, uint32_t *out_rune)
{
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t rune_min = len == 4 ? 0x10000 : len == 3 ? 0x800 : 0x80;
    uint32_t rune = s[0] & (0x7fu >> len);
    if (s[0] < 0xc2 || s[0] > 0xf4 || left < len)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        rune = rune << 6 | (s[i] & 0x3f);
    }
    if (rune < rune_min || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
        return 0;
    *out_rune = rune;
    return len;
}

static void escape_ascii(struct nx_buf *out, uint8_t byte)
{
    const char *named = "\"\\\n\r\t";
    const char *letter = memchr(named, byte, 5);
    if (letter != NULL) {
        uint8_t text[2] = {'\\', (uint8_t) "\"\\nrt"[letter - named]};
        nx_buf_append(out, text, sizeof(text));
        return;
    }
    uint8_t text[6] = {
        '\\', 'u', '0', '0', (uint8_t)hex_digits[byte >> 4], (uint8_t)hex_digits[byte & 15]};
    nx_buf_append(out, text, sizeof(text));
}

/* Writes the one character at s[at] that a stretch stopped at; returns how many bytes of input it takes. */
static size_t json_special(struct nx_buf *out, const uint8_t *s, size_t left, bool is_html)
{
    uint32_t rune = 0;
    if (s[0] < 0x80) {
        escape_ascii(out, s[0]);
        return 1;
    }
    size_t len = utf8_sequence(s, left, &rune);
    if (len == 0) {
        nx_buf_append_cstr(out, "\\ufffd");
        return 1;
    }
    if (is_html && (rune == 0x2028 || rune == 0x2029)) /* line ends to JavaScript */
        nx_buf_append_cstr(out, rune == 0x2028 ? "\\u2028" : "\\u2029");
    else
        nx_buf_append(out, s, len);
    return len;
}

static void json_string_as(struct nx_buf *out, struct nx_str string, bool is_html)
{
    const uint8_t *s = (const uint8_t *)string.data;
    size_t at = 0;
    nx_buf_append_byte(out, '"');
    while (at < string.len) {
        size_t start = at;
        while (at + 8 <= string.len && is_plain_word(s + at))
            at += 8;
        while (at < string.len && is_plain(s[at], is_html))
            at++;
        nx_buf_append(out, s + start, at - start);
        if (at < string.len)
            at += json_special(out, s + at, string.len - at, is_html);
    }
    nx_buf_append_byte(out, '"');
}

void json_string(struct nx_buf *out, struct nx_str s)
{
    json_string_as(out, s, true);
}

void json_string_raw(struct nx_buf *out, struct nx_str s)
{
    json_string_as(out, s, false);
}

#define UINT_TEXT_MAX 20 /* 2^64 - 1 */

/* Decimal digits of `value` at `out`, which has room for UINT_TEXT_MAX; returns their number. Two at a time. */
static size_t put_uint(uint8_t *out, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    uint8_t text[UINT_TEXT_MAX];
    size_t at = sizeof(text);
    for (; value >= 100; value /= 100) {
        at -= 2;
        memcpy(text + at, pairs + 2 * (value % 100), 2);
    }
    if (value >= 10) {
        at -= 2;
        memcpy(text + at, pairs + 2 * value, 2);
    } else {
        text[--at] = (uint8_t)('0' + value);
    }
    memcpy(out, text + at, sizeof(text) - at);
    return sizeof(text) - at;
}

static uint64_t magnitude_of(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

void json_uint(struct nx_buf *out, uint64_t value)
{
    nx_buf_reserve(out, UINT_TEXT_MAX);
    out->len += put_uint(out->data + out->len, value);
}

void json_int(struct nx_buf *out, int64_t value)
{
    if (value < 0)
        nx_buf_append_byte(out, '-');
    json_uint(out, magnitude_of(value));
}

void json_timestamp(struct nx_buf *out, int64_t time_ms)
{
    uint64_t magnitude = magnitude_of(time_ms);
    unsigned ms = (unsigned)(magnitude % 1000);
    nx_buf_reserve(out, UINT_TEXT_MAX + 5);
    uint8_t *at = out->data + out->len;
    if (time_ms < 0)
        *at++ = '-';
    at += put_uint(at, magnitude / 1000);
    if (ms != 0) {
        *at++ = '.';
        *at++ = (uint8_t)('0' + ms / 100);
        *at++ = (uint8_t)('0' + ms / 10 % 10);
        *at++ = (uint8_t)('0' + ms % 10);
    }
    out->len = (size_t)(at - out->data);
}

void json_sample_value(struct nx_buf *out, double value)
{
    nx_buf_reserve(out, FLOAT_TEXT_MAX + 2);
    uint8_t *at = out->data + out->len;
    *at++ = '"';
    at += float_text_json((char *)at, value);
    *at++ = '"';
    out->len = (size_t)(at - out->data);
}

void json_comma(struct nx_buf *out)
{
    if (out->len == 0)
        return;
    uint8_t last = out->data[out->len - 1];
    if (last != '[' && last != '{' && last != ':' && last != ',')
        nx_buf_append_byte(out, ',');
}
