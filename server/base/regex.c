/* SPDX-License-Identifier: Apache-2.0 */
/* regex.c - RE2 with Prometheus' conventions.
 *
 * Two differences between RE2 and Go's regexp are evened out before compiling: (?<name>...) becomes (?P<name>...),
 * and \C, a byte that Go does not offer, is refused.
 */
#include "narthex/base/regex.h"

#include "narthex/base/arena.h"
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/base/mem.h"

#include "cxx_shim.h"
#include "regex_internal.h"

/* Chosen: far above 4096 label values of usual length; reached, the regex is merely not analysed. */
#define REGEX_ANALYSIS_BYTES_MAX ((size_t)4 << 20)
#define REGEX_GROUPS_MAX         100

struct regex {
    struct cxx_regex *compiled;
    struct arena arena; /* of the analysis */
    struct regex_analysis analysis;
};

/* Length of the class that begins at p with '['; up to the end when it is not closed. */
static size_t class_length(const char *p, size_t left)
{
    size_t i = 1;
    if (i < left && p[i] == '^')
        i++;
    if (i < left && p[i] == ']')
        i++;
    while (i < left && p[i] != ']') {
        if (p[i] == '\\' && i + 1 < left) {
            i += 2;
        } else if (p[i] == '[' && i + 1 < left && p[i + 1] == ':') {
            const char *close = memmem(p + i + 2, left - i - 2, ":]", 2);
            i = close == NULL ? i + 1 : (size_t)(close - p) + 2;
        } else {
            i++;
        }
    }
    return i < left ? i + 1 : left;
}

/* Bytes of an escape: two, or a whole \Q...\E. */
static size_t escape_length(const char *p, size_t left)
{
    if (left < 2)
        return left;
    if (p[1] != 'Q')
        return 2;
    const char *close = memmem(p + 2, left - 2, "\\E", 2);
    return close == NULL ? left : (size_t)(close - p) + 2;
}

static nx_code to_re2_dialect(struct nx_str pattern, struct nx_buf *out, struct nx_err *err)
{
    for (size_t i = 0; i < pattern.len;) {
        const char *p = pattern.data + i;
        size_t left = pattern.len - i;
        size_t length = 1;
        if (*p == '\\') {
            if (left > 1 && p[1] == 'C')
                return nx_err_set(err, NX_E_INVALID,
                                  "error parsing regexp: invalid escape sequence: `\\C`");
            length = escape_length(p, left);
        } else if (*p == '[') {
            length = class_length(p, left);
        } else if (left > 3 && p[0] == '(' && p[1] == '?' && p[2] == '<') {
            nx_buf_append_cstr(out, "(?P");
            i += 2;
            continue;
        }
        nx_buf_append(out, p, length);
        i += length;
    }
    return NX_OK;
}

nx_code regex_compile(struct regex **out_regex, struct nx_str pattern, struct nx_err *err)
{
    struct nx_buf text = {0};
    nx_code code = to_re2_dialect(pattern, &text, err);
    if (code != NX_OK) {
        nx_buf_deinit(&text);
        return code;
    }
    char reason[512]; /* more than a message holds, so that the cut is made there */
    const char *data = text.data == NULL ? "" : (const char *)text.data;
    struct cxx_regex *compiled = cxx_regex_new(data, text.len, reason, sizeof(reason));
    if (compiled == NULL) {
        nx_buf_deinit(&text);
        return nx_err_set(err, NX_E_INVALID, "error parsing regexp: %s", reason);
    }
    struct regex *regex = nx_calloc(1, sizeof(*regex));
    regex->compiled = compiled;
    arena_init(&regex->arena, REGEX_ANALYSIS_BYTES_MAX);
    regex->analysis = regex_analyze(nx_buf_str(&text), &regex->arena);
    nx_buf_deinit(&text);
    *out_regex = regex;
    return NX_OK;
}

void regex_free(struct regex *regex)
{
    if (regex == NULL)
        return;
    cxx_regex_free(regex->compiled);
    arena_deinit(&regex->arena);
    nx_free(regex);
}

bool regex_matches(const struct regex *regex, struct nx_str text)
{
    return cxx_regex_match(regex->compiled, text.data, text.len, NULL, 0);
}

int regex_group_count(const struct regex *regex)
{
    return cxx_regex_group_count(regex->compiled);
}

struct nx_str regex_group_name(const struct regex *regex, int group)
{
    struct nx_str name = {0};
    name.data = cxx_regex_group_name(regex->compiled, group, &name.len);
    return name;
}

bool regex_match_groups(const struct regex *regex, struct nx_str text, struct nx_str *groups,
                        int group_max)
{
    NX_ASSERT(group_max > 0);
    size_t offsets[2 * REGEX_GROUPS_MAX];
    int asked = group_max < REGEX_GROUPS_MAX ? group_max : REGEX_GROUPS_MAX;
    int known = regex_group_count(regex) + 1;
    if (asked > known)
        asked = known;
    if (!cxx_regex_match(regex->compiled, text.data, text.len, offsets, asked))
        return false;
    const char *base = text.data == NULL ? "" : text.data;
    for (int i = 0; i < group_max; i++) {
        groups[i] = (struct nx_str){0};
        if (i < asked && offsets[2 * i] != CXX_REGEX_NO_GROUP)
            groups[i] = (struct nx_str){.data = base + offsets[2 * i],
                                        .len = offsets[2 * i + 1] - offsets[2 * i]};
    }
    return true;
}

size_t regex_literals(const struct regex *regex, const struct nx_str **out_set)
{
    if (regex->analysis.literal_count > 0)
        *out_set = regex->analysis.literals;
    return regex->analysis.literal_count;
}

struct nx_str regex_prefix(const struct regex *regex)
{
    return regex->analysis.prefix;
}
