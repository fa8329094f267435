/* model_support.h - cmocka in the order that it needs, and label sets from short text. */
#pragma once

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/model/labels.h"

#include <stdio.h>
#include <string.h>

/* Labels from "a=1,b=2", in the given order; views of `text`. "" is the empty set. */
static inline size_t test_items(const char *text, struct label *items, size_t max)
{
    struct nx_str rest = nx_str_from(text);
    struct nx_str pair;
    size_t count = 0;
    while (rest.len > 0) {
        nx_str_split(rest, ',', &pair, &rest);
        assert_true(count < max);
        nx_str_split(pair, '=', &items[count].name, &items[count].value);
        count++;
    }
    return count;
}

/* The same, as a set in `arena`, made canonical. */
static inline struct labels test_labels(struct arena *arena, const char *text)
{
    struct label items[64];
    size_t count = labels_canonicalize(items, test_items(text, items, 64));
    return labels_copy(arena, (struct labels){.items = items, .count = count});
}

static inline void test_assert_buf(struct nx_buf *buf, const char *expected)
{
    nx_buf_append_byte(buf, 0);
    assert_string_equal((const char *)buf->data, expected);
    nx_buf_reset(buf);
}
