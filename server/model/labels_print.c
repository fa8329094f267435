/* SPDX-License-Identifier: Apache-2.0 */
/* labels_print.c - series as text, with Go's quoting.
 *
 * Source   Go's strconv.Quote: what is not printable is escaped, printable being the Unicode categories L, M, N, P, S
 *          and the ASCII space; a byte that is no part of UTF-8 becomes \xNN.
 */
#include "narthex/base/assert.h"
#include "narthex/model/labels.h"

struct code_range {
    uint32_t first;
    uint32_t last;
};

static const struct code_range unprintable[] = {
#define UNPRINTABLE(from, to) {.first = (from), .last = (to)},
#include "unprintable.def"
#undef UNPRINTABLE
};

static bool is_printable(uint32_t code_point)
{
    size_t low = 0;
    size_t high = NX_ARRAY_LEN(unprintable);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (unprintable[middle].last < code_point)
            low = middle + 1;
        else
            high = middle;
    }
    return low == NX_ARRAY_LEN(unprintable) || code_point < unprintable[low].first;
}

/* Bytes of the character at s.data[at] and its code point; 0 when no well-formed character starts there. */
static size_t decode(struct nx_str s, size_t at, uint32_t *out_code_point)
{
    unsigned char first = (unsigned char)s.data[at];
    size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (bytes > s.len - at || !nx_utf8_is_valid((struct nx_str){.data = s.data + at, .len = bytes}))
        return 0;
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code_point = first & masks[bytes];
    for (size_t i = 1; i < bytes; i++)
        code_point = code_point << 6 | ((unsigned char)s.data[at + i] & 0x3f);
    *out_code_point = code_point;
    return bytes;
}

static void print_ascii(unsigned char c, struct nx_buf *out)
{
    static const char named[] = "\a\b\t\n\v\f\r"; /* 7 to 13 */
    static const char names[] = "abtnvfr";
    if (c == '"' || c == '\\') {
        nx_buf_append_byte(out, '\\');
        nx_buf_append_byte(out, c);
    } else if (c >= (unsigned char)named[0] && c < named[0] + sizeof(names) - 1) {
        nx_buf_append_byte(out, '\\');
        nx_buf_append_byte(out, (uint8_t)names[c - named[0]]);
    } else if (c < ' ' || c == 0x7f) {
        nx_buf_printf(out, "\\x%02x", c);
    } else {
        nx_buf_append_byte(out, c);
    }
}

void labels_print_quoted(struct nx_str value, struct nx_buf *out)
{
    nx_buf_reserve(out, value.len + 2);
    nx_buf_append_byte(out, '"');
    for (size_t i = 0; i < value.len;) {
        unsigned char c = (unsigned char)value.data[i];
        if (c < 0x80) {
            print_ascii(c, out);
            i++;
            continue;
        }
        uint32_t code_point;
        size_t bytes = decode(value, i, &code_point);
        if (bytes == 0) {
            nx_buf_printf(out, "\\x%02x", c);
            i++;
            continue;
        }
        if (is_printable(code_point))
            nx_buf_append(out, value.data + i, bytes);
        else
            nx_buf_printf(out, code_point < 0x10000 ? "\\u%04x" : "\\U%08x", code_point);
        i += bytes;
    }
    nx_buf_append_byte(out, '"');
}

static void print_pair(const struct label *label, struct nx_buf *out)
{
    if (label_name_is_legacy(label->name))
        nx_buf_append_str(out, label->name);
    else
        labels_print_quoted(label->name, out);
    nx_buf_append_byte(out, '=');
    labels_print_quoted(label->value, out);
}

void labels_print(struct labels labels, struct nx_buf *out)
{
    nx_buf_append_byte(out, '{');
    for (size_t i = 0; i < labels.count; i++) {
        if (i > 0)
            nx_buf_append_cstr(out, ", ");
        print_pair(&labels.items[i], out);
    }
    nx_buf_append_byte(out, '}');
}

void labels_print_series(struct labels labels, struct nx_buf *out)
{
    struct nx_str metric = labels_get(labels, NX_STR(LABEL_NAME_METRIC));
    bool is_in_front = metric_name_is_legacy(metric);
    if (is_in_front)
        nx_buf_append_str(out, metric);
    if (is_in_front && labels.count == 1)
        return;
    nx_buf_append_byte(out, '{');
    const char *separator = "";
    if (metric.len > 0 && !is_in_front) {
        labels_print_quoted(metric, out);
        separator = ", ";
    }
    for (size_t i = 0; i < labels.count; i++) {
        if (metric.len > 0 && nx_str_eq(labels.items[i].name, NX_STR(LABEL_NAME_METRIC)))
            continue;
        nx_buf_append_cstr(out, separator);
        print_pair(&labels.items[i], out);
        separator = ", ";
    }
    nx_buf_append_byte(out, '}');
}
