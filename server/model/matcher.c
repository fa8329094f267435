/* SPDX-License-Identifier: Apache-2.0 */
/* matcher.c - conditions on labels. */
#include "narthex/model/matcher.h"

#include "narthex/base/assert.h"
#include "narthex/base/regex.h"

nx_code matcher_init(struct matcher *matcher, enum matcher_type type, struct nx_str name,
                     struct nx_str value, struct nx_err *err)
{
    struct regex *regex = NULL;
    if (type == MATCHER_REGEX || type == MATCHER_NOT_REGEX) {
        nx_code code = regex_compile(&regex, value, err);
        if (code != NX_OK)
            return code;
    }
    *matcher = (struct matcher){.type = type, .name = name, .value = value, .regex = regex};
    if (regex != NULL) {
        const struct nx_str *set = NULL;
        matcher->set_count = regex_literals(regex, &set);
        matcher->set = matcher->set_count > 0 ? set : NULL;
        matcher->prefix = regex_prefix(regex);
    }
    return NX_OK;
}

void matcher_deinit(struct matcher *matcher)
{
    regex_free(matcher->regex);
    *matcher = (struct matcher){0};
}

static bool is_in_set(const struct matcher *matcher, struct nx_str value)
{
    size_t low = 0;
    size_t high = matcher->set_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = nx_str_cmp(matcher->set[middle], value);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool regex_condition(const struct matcher *matcher, struct nx_str value)
{
    if (matcher->set != NULL)
        return is_in_set(matcher, value);
    return nx_str_starts_with(value, matcher->prefix) && regex_matches(matcher->regex, value);
}

bool matcher_matches(const struct matcher *matcher, struct nx_str value)
{
    switch (matcher->type) {
    case MATCHER_EQUAL:
        return nx_str_eq(value, matcher->value);
    case MATCHER_NOT_EQUAL:
        return !nx_str_eq(value, matcher->value);
    case MATCHER_REGEX:
        return regex_condition(matcher, value);
    case MATCHER_NOT_REGEX:
        return !regex_condition(matcher, value);
    }
    NX_ASSERT(false);
    return false;
}

bool matcher_matches_empty(const struct matcher *matcher)
{
    return matcher_matches(matcher, (struct nx_str){0});
}

bool matchers_match(const struct matcher *matchers, size_t count, struct labels labels)
{
    for (size_t i = 0; i < count; i++) {
        if (!matcher_matches(&matchers[i], labels_get(labels, matchers[i].name)))
            return false;
    }
    return true;
}

const char *matcher_type_text(enum matcher_type type)
{
    switch (type) {
    case MATCHER_EQUAL:
        return "=";
    case MATCHER_NOT_EQUAL:
        return "!=";
    case MATCHER_REGEX:
        return "=~";
    case MATCHER_NOT_REGEX:
        return "!~";
    }
    NX_ASSERT(false);
    return "";
}

void matcher_print(const struct matcher *matcher, struct nx_buf *out)
{
    if (label_name_is_legacy(matcher->name))
        nx_buf_append_str(out, matcher->name);
    else
        labels_print_quoted(matcher->name, out);
    nx_buf_append_cstr(out, matcher_type_text(matcher->type));
    labels_print_quoted(matcher->value, out);
}
