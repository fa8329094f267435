/* str.h - views of text and bytes. A view never owns; its comment says whose memory it is in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Text: any bytes, not ended by a NUL. data may be NULL only when len is 0. */
struct nx_str {
    const char *data;
    size_t len;
};

struct nx_bytes {
    const uint8_t *data;
    size_t len;
};

#define NX_STR(literal)     ((struct nx_str){.data = (literal), .len = sizeof(literal) - 1})
#define NX_STR_ARGS(string) ((int)(string).len), ((string).data) /* for "%.*s" */

static inline struct nx_str nx_str_from(const char *text)
{
    return (struct nx_str){.data = text, .len = strlen(text)};
}

static inline struct nx_bytes nx_bytes_from_str(struct nx_str s)
{
    return (struct nx_bytes){.data = (const uint8_t *)s.data, .len = s.len};
}

static inline struct nx_str nx_str_from_bytes(struct nx_bytes b)
{
    return (struct nx_str){.data = (const char *)b.data, .len = b.len};
}

static inline bool nx_str_eq(struct nx_str a, struct nx_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Byte order, a prefix before what it begins: the order of labels everywhere. */
static inline int nx_str_cmp(struct nx_str a, struct nx_str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool nx_str_starts_with(struct nx_str s, struct nx_str prefix);
bool nx_str_ends_with(struct nx_str s, struct nx_str suffix);
bool nx_str_contains(struct nx_str s, struct nx_str needle);
bool nx_str_eq_nocase(struct nx_str a, struct nx_str b); /* ASCII letters only */
struct nx_str nx_str_trim(struct nx_str s);              /* space, tab, CR, LF on both sides */

/* Splits at the first `separator`: *out_head before it, *out_rest after it. False, and all in *out_head, when
 * there is none. */
bool nx_str_split(struct nx_str s, char separator, struct nx_str *out_head,
                  struct nx_str *out_rest);

/* Whole-string decimal numbers; false on anything else, overflow included. Outputs untouched on failure. */
bool nx_str_to_u64(struct nx_str s, uint64_t *out_value);
bool nx_str_to_i64(struct nx_str s, int64_t *out_value);

/* Well-formed UTF-8 as in RFC 3629: no surrogates, no overlong forms. Cost: linear, ASCII fast. */
bool nx_utf8_is_valid(struct nx_str s);
