/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_regex_literals.c - the analysis of patterns against RE2.
 *
 * Input: a pattern, a newline, texts separated by newlines. Each string of the set must match; each text must be in the
 * set iff it matches, and begin with the prefix if it does.
 */
#include "narthex/base/assert.h"
#include "narthex/base/regex.h"

#include <stdint.h>

#define PATTERN_BYTES_MAX 200 /* larger ones only test RE2's patience */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_in(const struct nx_str *set, size_t count, struct nx_str text)
{
    for (size_t i = 0; i < count; i++) {
        if (nx_str_eq(set[i], text))
            return true;
    }
    return false;
}

static void check_text(const struct regex *regex, struct nx_str text)
{
    const struct nx_str *set = NULL;
    size_t count = regex_literals(regex, &set);
    bool yes = regex_matches(regex, text);
    NX_ASSERT(count == 0 || yes == is_in(set, count, text));
    NX_ASSERT(!yes || nx_str_starts_with(text, regex_prefix(regex)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nx_str pattern;
    struct nx_str rest;
    struct nx_str text;
    nx_str_split((struct nx_str){.data = (const char *)data, .len = size}, '\n', &pattern, &rest);
    struct regex *regex = NULL;
    struct nx_err err;
    if (pattern.len > PATTERN_BYTES_MAX || regex_compile(&regex, pattern, &err) != NX_OK)
        return 0;
    const struct nx_str *set = NULL;
    size_t count = regex_literals(regex, &set);
    for (size_t i = 0; i < count; i++) {
        NX_ASSERT(regex_matches(regex, set[i]));
        NX_ASSERT(i == 0 || nx_str_cmp(set[i - 1], set[i]) < 0);
        /* Neighbours of what matches are the likeliest mistakes. */
        if (set[i].len > 0) {
            check_text(regex, (struct nx_str){.data = set[i].data, .len = set[i].len - 1});
            check_text(regex, (struct nx_str){.data = set[i].data + 1, .len = set[i].len - 1});
        }
    }
    check_text(regex, pattern);
    while (nx_str_split(rest, '\n', &text, &rest))
        check_text(regex, text);
    check_text(regex, text);
    struct nx_str groups[4];
    if (regex_match_groups(regex, text, groups, 4))
        NX_ASSERT(nx_str_eq(groups[0], text));
    regex_free(regex);
    return 0;
}
