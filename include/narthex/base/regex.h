/* regex.h - RE2 behind C: linear time, Prometheus' dialect (anchored at both ends, dot matches newline).
 *
 * The shim is one small C++ file. A compiled regex may be used by many threads at once.
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>

struct regex;

/* NX_E_INVALID with the reason, for a pattern too large to compile (8 MiB) too. Anchored: the whole text must match. A
 * text may hold any bytes; `.` and classes match whole UTF-8 characters only, so bytes that are none match nothing. */
NX_NODISCARD nx_code regex_compile(struct regex **out_regex, struct nx_str pattern,
                                   struct nx_err *err);
void regex_free(struct regex *regex); /* NULL is fine */
bool regex_matches(const struct regex *regex, struct nx_str text);

/* Number of capture groups; name of group i (1-based) or an empty view. */
int regex_group_count(const struct regex *regex);
struct nx_str regex_group_name(const struct regex *regex, int group);
/* Matches and fills groups[0..group_max): 0 the whole match. Groups that took no part have data NULL. */
bool regex_match_groups(const struct regex *regex, struct nx_str text, struct nx_str *groups,
                        int group_max);

/* When the pattern can only match a finite set of at most REGEX_LITERALS_MAX strings (literals, alternations, short
 * classes), writes it, sorted and without duplicates, and returns its size, else 0. The strings are owned by the regex.
 * Never wrong, but cautious: case-insensitive patterns and unusual syntax give 0. */
#define REGEX_LITERALS_MAX 4096
size_t regex_literals(const struct regex *regex, const struct nx_str **out_set);
/* A literal that every match begins with, empty if none is seen. Owned by the regex. */
struct nx_str regex_prefix(const struct regex *regex);
