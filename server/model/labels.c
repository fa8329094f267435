/* SPDX-License-Identifier: Apache-2.0 */
/* labels.c - looking into label sets, ordering, hashing, checking and copying them. */
#include "narthex/model/labels.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"

#include <stdlib.h>
#include <string.h>

#define LABELS_INSERTION_MAX                                                                       \
 24 /* chosen: above, moving pairs one by one would be quadratic in a client's input */
#define LABELS_HASH_SEPARATOR 0xff /* never part of UTF-8 */

static const struct label *find(struct labels labels, struct nx_str name)
{
    for (size_t i = 0; i < labels.count; i++) {
        if (nx_str_eq(labels.items[i].name, name))
            return &labels.items[i];
    }
    return NULL;
}

struct nx_str labels_get(struct labels labels, struct nx_str name)
{
    const struct label *label = find(labels, name);
    return label == NULL ? (struct nx_str){0} : label->value;
}

bool labels_has(struct labels labels, struct nx_str name)
{
    return find(labels, name) != NULL;
}

int labels_compare(struct labels a, struct labels b)
{
    size_t shorter = a.count < b.count ? a.count : b.count;
    for (size_t i = 0; i < shorter; i++) {
        int order = nx_str_cmp(a.items[i].name, b.items[i].name);
        if (order == 0)
            order = nx_str_cmp(a.items[i].value, b.items[i].value);
        if (order != 0)
            return order;
    }
    return (a.count > b.count) - (a.count < b.count);
}

bool labels_equal(struct labels a, struct labels b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++) {
        if (!nx_str_eq(a.items[i].name, b.items[i].name) ||
            !nx_str_eq(a.items[i].value, b.items[i].value))
            return false;
    }
    return true;
}

static void append_separated(uint8_t **next, struct nx_str s)
{
    if (s.len > 0)
        memcpy(*next, s.data, s.len);
    *next += s.len;
    *(*next)++ = LABELS_HASH_SEPARATOR;
}

uint64_t labels_hash(struct labels labels)
{
    size_t bytes = 0;
    for (size_t i = 0; i < labels.count; i++)
        bytes += labels.items[i].name.len + labels.items[i].value.len + 2;
    uint8_t small[1024];
    struct nx_buf large = {0};
    uint8_t *text = bytes <= sizeof(small) ? small : nx_buf_extend(&large, bytes);
    uint8_t *next = text;
    for (size_t i = 0; i < labels.count; i++) {
        append_separated(&next, labels.items[i].name);
        append_separated(&next, labels.items[i].value);
    }
    uint64_t hash = nx_hash64(text, bytes, 0);
    nx_buf_deinit(&large);
    return hash;
}

static int compare_names(const void *a, const void *b)
{
    return nx_str_cmp(((const struct label *)a)->name, ((const struct label *)b)->name);
}

static void insertion_sort(struct label *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct label moving = items[i];
        size_t to = i;
        while (to > 0 && nx_str_cmp(items[to - 1].name, moving.name) > 0) {
            items[to] = items[to - 1];
            to--;
        }
        items[to] = moving;
    }
}

size_t labels_canonicalize(struct label *items, size_t count)
{
    size_t kept = 0;
    bool is_sorted = true;
    for (size_t i = 0; i < count; i++) {
        if (items[i].value.len == 0)
            continue;
        if (kept > 0 && nx_str_cmp(items[kept - 1].name, items[i].name) > 0)
            is_sorted = false;
        items[kept++] = items[i];
    }
    if (is_sorted)
        return kept;
    if (kept <= LABELS_INSERTION_MAX)
        insertion_sort(items, kept);
    else
        qsort(items, kept, sizeof(*items), compare_names);
    return kept;
}

/* Copies the text of `s` to *next and moves *next behind it. */
static struct nx_str place(char **next, struct nx_str s)
{
    char *at = *next;
    if (s.len > 0)
        memcpy(at, s.data, s.len);
    *next += s.len;
    return (struct nx_str){.data = at, .len = s.len};
}

struct labels labels_copy(struct arena *arena, struct labels labels)
{
    if (labels.count == 0)
        return (struct labels){0};
    size_t text_bytes = 0;
    for (size_t i = 0; i < labels.count; i++)
        text_bytes += labels.items[i].name.len + labels.items[i].value.len;
    /* One piece: the pairs, then their text. */
    struct label *items = arena_alloc(arena, labels.count * sizeof(*items) + text_bytes);
    if (items == NULL)
        return (struct labels){0};
    char *next = (char *)(items + labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        items[i].name = place(&next, labels.items[i].name);
        items[i].value = place(&next, labels.items[i].value);
    }
    return (struct labels){.items = items, .count = labels.count};
}

static bool is_word(char c, bool is_first, bool colon_too)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (colon_too && c == ':') || (!is_first && c >= '0' && c <= '9');
}

static bool is_legacy(struct nx_str name, bool colon_too)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!is_word(name.data[i], i == 0, colon_too))
            return false;
    }
    return name.len > 0;
}

bool label_name_is_legacy(struct nx_str name)
{
    return is_legacy(name, false);
}

bool metric_name_is_legacy(struct nx_str name)
{
    return is_legacy(name, true);
}

static nx_code refuse(struct nx_err *err, const char *reason, struct nx_str text)
{
    struct nx_buf quoted = {0};
    labels_print_quoted(text, &quoted);
    int shown = quoted.len < 160 ? (int)quoted.len : 160;
    nx_code code =
        nx_err_set(err, NX_E_INVALID, "%s: %.*s", reason, shown, (const char *)quoted.data);
    nx_buf_deinit(&quoted);
    return code;
}

nx_code labels_check(struct labels labels, struct nx_err *err)
{
    struct nx_str metric = labels_get(labels, NX_STR(LABEL_NAME_METRIC));
    if (metric.len == 0)
        return nx_err_set(err, NX_E_INVALID, "missing metric name");
    if (!nx_utf8_is_valid(metric))
        return refuse(err, "metric name is not valid UTF-8", metric);
    for (size_t i = 0; i < labels.count; i++) {
        const struct label *label = &labels.items[i];
        if (label->name.len == 0)
            return refuse(err, "empty label name for value", label->value);
        if (!nx_utf8_is_valid(label->name))
            return refuse(err, "label name is not valid UTF-8", label->name);
        if (!nx_utf8_is_valid(label->value))
            return refuse(err, "value is not valid UTF-8 in label", label->name);
        if (i == 0)
            continue;
        int order = nx_str_cmp(labels.items[i - 1].name, label->name);
        if (order == 0)
            return refuse(err, "duplicate label name", label->name);
        NX_ASSERT(order < 0);
    }
    return NX_OK;
}
