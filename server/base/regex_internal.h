/* regex_internal.h - the literal analysis of patterns, for regex.c and its tests. */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/str.h"

struct regex_analysis {
    const struct nx_str *
        literals; /* sorted, distinct; NULL when the language is not known to be finite and small */
    size_t literal_count;
    struct nx_str prefix; /* every match begins with it; may be empty */
};

/* `pattern` must be one that RE2 compiled. Results live in `arena`; when its budget ends, nothing is known. */
struct regex_analysis regex_analyze(struct nx_str pattern, struct arena *arena);
