/* matcher.h - one condition of a selector: name = value, != , =~ , !~ . An absent label has the empty value.
 *
 * Layer    model.   Threads  immutable after init; may be shared.
 * Regex    fully anchored. Sets and prefixes are recognised, so that indexes need not try every value.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"
#include "narthex/model/labels.h"

#include <stdbool.h>

enum matcher_type {
    MATCHER_EQUAL,
    MATCHER_NOT_EQUAL,
    MATCHER_REGEX,
    MATCHER_NOT_REGEX,
};

struct regex;

struct matcher {
    enum matcher_type type;
    struct nx_str name;  /* borrowed from the query's arena or text */
    struct nx_str value; /* borrowed likewise */
    struct regex *regex; /* owned; NULL for (not) equal */
    const struct nx_str
        *set; /* when not NULL: value matches the (positive) condition iff in this set, sorted */
    size_t set_count;
    struct nx_str prefix; /* every match of the regex begins with it; may be empty */
};

/* Borrows name and value. NX_E_INVALID when the regex does not compile. */
NX_NODISCARD nx_code matcher_init(struct matcher *matcher, enum matcher_type type,
                                  struct nx_str name, struct nx_str value, struct nx_err *err);
void matcher_deinit(struct matcher *matcher); /* safe on a zeroed struct and twice */

/* Whether a label with this value satisfies the condition; "" for an absent label. */
bool matcher_matches(const struct matcher *matcher, struct nx_str value);
bool matcher_matches_empty(const struct matcher *matcher);
/* All of them over a series' labels. */
bool matchers_match(const struct matcher *matchers, size_t count, struct labels labels);

const char *matcher_type_text(enum matcher_type type);                 /* "=", "!=", "=~", "!~" */
void matcher_print(const struct matcher *matcher, struct nx_buf *out); /* name="value" */
