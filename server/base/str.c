/* SPDX-License-Identifier: Apache-2.0 */
/* str.c - questions about text. */
#include "narthex/base/str.h"

bool nx_str_starts_with(struct nx_str s, struct nx_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

bool nx_str_ends_with(struct nx_str s, struct nx_str suffix)
{
    if (s.len < suffix.len)
        return false;
    return suffix.len == 0 || memcmp(s.data + (s.len - suffix.len), suffix.data, suffix.len) == 0;
}

bool nx_str_contains(struct nx_str s, struct nx_str needle)
{
    if (needle.len == 0)
        return true;
    return s.len >= needle.len && memmem(s.data, s.len, needle.data, needle.len) != NULL;
}

static unsigned char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : (unsigned char)c;
}

bool nx_str_eq_nocase(struct nx_str a, struct nx_str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    }
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct nx_str nx_str_trim(struct nx_str s)
{
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    while (s.len > 0 && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    return s;
}

bool nx_str_split(struct nx_str s, char separator, struct nx_str *out_head, struct nx_str *out_rest)
{
    const char *found = s.len == 0 ? NULL : memchr(s.data, separator, s.len);
    if (found == NULL) {
        *out_head = s;
        *out_rest = (struct nx_str){0};
        return false;
    }
    size_t head_len = (size_t)(found - s.data);
    *out_head = (struct nx_str){.data = s.data, .len = head_len};
    *out_rest = (struct nx_str){.data = found + 1, .len = s.len - head_len - 1};
    return true;
}

bool nx_str_to_u64(struct nx_str s, uint64_t *out_value)
{
    if (s.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned char)s.data[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value))
            return false;
    }
    *out_value = value;
    return true;
}

bool nx_str_to_i64(struct nx_str s, int64_t *out_value)
{
    bool is_negative = s.len > 0 && s.data[0] == '-';
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+')) {
        s.data++;
        s.len--;
    }
    uint64_t size;
    if (!nx_str_to_u64(s, &size))
        return false;
    if (size > (uint64_t)INT64_MAX + (is_negative ? 1 : 0))
        return false;
    *out_value = is_negative ? (int64_t)(0 - size) : (int64_t)size;
    return true;
}

/* Bytes of the sequence that starts at p, 0 when it is not well-formed (table 3-7 of the Unicode standard). */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    unsigned char first = p[0];
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    size_t need = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (left < need)
        return 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return need;
}

bool nx_utf8_is_valid(struct nx_str s)
{
    const unsigned char *p = (const unsigned char *)s.data;
    size_t left = s.len;
    while (left > 0) {
        uint64_t word;
        if (left >= sizeof(word)) {
            memcpy(&word, p, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                p += sizeof(word);
                left -= sizeof(word);
                continue;
            }
        }
        size_t bytes = utf8_sequence(p, left);
        if (bytes == 0)
            return false;
        p += bytes;
        left -= bytes;
    }
    return true;
}
