/* SPDX-License-Identifier: Apache-2.0 */
/* block_select.c - matchers -> ranks, and label names and values, from a block's index.
 *
 * A matcher that does not match the empty string includes: the series of the values that it matches. One that does
 * match it also takes series without the label, so it excludes: the series of the values that it does not match.
 *
 *   step   all matchers, cheap ones first: equality, then sets, then what has to visit values
 *          result = result AND included, or AND NOT excluded
 *
 * Visiting values: those of a name are neighbours and sorted, so a prefix is a range, and a set is a few look-ups; only
 * the rest is shown to the regex. When a name has many more values than the result has series by then, the remaining
 * matchers look at the labels of these series instead.
 */
#include "narthex/base/mem.h"

#include "block_internal.h"

/* Visiting a value costs about 0.2 us with its list, reading a series' labels up to 1 us. */
#define SELECT_VALUES_PER_SERIES 6u

struct selection {
    struct block *block;
    const struct block_index *index;
    struct postings *set; /* NULL: all series */
    bool is_empty;
};

static nx_code select_damaged(const struct selection *selection, struct nx_err *err)
{
    return nx_err_set(err, NX_E_CORRUPT, "block %s: the index is damaged",
                      selection->block->file.meta.ulid);
}

static bool is_positive(const struct matcher *matcher)
{
    return matcher->type == MATCHER_EQUAL || matcher->type == MATCHER_REGEX;
}

/* True for every value there is: stored values are never empty. */
static bool matches_all_values(const struct matcher *matcher)
{
    return matcher->regex != NULL &&
           (nx_str_eq(matcher->value, NX_STR(".+")) || nx_str_eq(matcher->value, NX_STR(".*")));
}

/* ---- which values ---- */

/* Pairs first .. end - 1: all that can satisfy the positive condition. */
static nx_code prefix_range(const struct block_index *index, const struct index_name *name,
                            struct nx_str prefix, uint32_t *out_first, uint32_t *out_end)
{
    nx_code code = block_index_lower_bound(index, name, prefix, out_first);
    uint32_t low = *out_first, high = name->end_pair;
    while (code == NX_OK && low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct nx_str text = {0};
        code = block_index_value(index, middle, &text);
        if (nx_str_starts_with(text, prefix))
            low = middle + 1;
        else
            high = middle;
    }
    *out_end = low;
    return code;
}

/* ORs the series whose value is exactly `value`. */
static nx_code add_value(const struct block_index *index, const struct index_name *name,
                         struct nx_str value, struct postings *into)
{
    uint32_t pair = 0;
    struct nx_str text = {0};
    nx_code code = block_index_lower_bound(index, name, value, &pair);
    if (code != NX_OK || pair == name->end_pair)
        return code;
    code = block_index_value(index, pair, &text);
    if (code != NX_OK || !nx_str_eq(text, value))
        return code;
    return block_index_postings(index, pair, into);
}

/* The values that satisfy the positive condition (equal, or matched by the regex). */
static nx_code add_matching(const struct block_index *index, const struct index_name *name,
                            const struct matcher *matcher, struct postings *into)
{
    if (matcher->regex == NULL)
        return add_value(index, name, matcher->value, into);
    nx_code code = NX_OK;
    if (matcher->set != NULL) {
        for (size_t i = 0; code == NX_OK && i < matcher->set_count; i++)
            code = add_value(index, name, matcher->set[i], into);
        return code;
    }
    bool is_all = matches_all_values(matcher);
    uint32_t first = name->first_pair, end = name->end_pair;
    code = prefix_range(index, name, matcher->prefix, &first, &end);
    for (uint32_t pair = first; code == NX_OK && pair < end; pair++) {
        struct nx_str text = {0};
        code = block_index_value(index, pair, &text);
        if (code == NX_OK && (is_all || matcher_matches(matcher, text) == is_positive(matcher)))
            code = block_index_postings(index, pair, into);
    }
    return code;
}

/* The values that do not. */
static nx_code add_not_matching(const struct block_index *index, const struct index_name *name,
                                const struct matcher *matcher, struct postings *into)
{
    if (matches_all_values(matcher))
        return NX_OK;
    nx_code code = NX_OK;
    for (uint32_t pair = name->first_pair; code == NX_OK && pair < name->end_pair; pair++) {
        struct nx_str text = {0};
        code = block_index_value(index, pair, &text);
        if (code == NX_OK && matcher_matches(matcher, text) != is_positive(matcher))
            code = block_index_postings(index, pair, into);
    }
    return code;
}

/* ---- applying a matcher ---- */

static void keep_only(struct selection *selection, struct postings *take_included)
{
    if (selection->set == NULL) {
        selection->set = take_included;
        return;
    }
    postings_and(selection->set, take_included);
    postings_free(take_included);
}

static void keep_without(struct selection *selection, struct postings *take_excluded)
{
    if (selection->set == NULL)
        selection->set = postings_from_range(0, block_index_series_count(selection->index));
    postings_and_not(selection->set, take_excluded);
    postings_free(take_excluded);
}

/* Looks at the labels of each series in the set. */
static nx_code apply_to_series(struct selection *selection, const struct matcher *matcher,
                               struct nx_err *err)
{
    struct block_reader *reader = NULL;
    nx_code code = block_reader_new(selection->block, &reader, err);
    if (code != NX_OK)
        return code;
    size_t count = postings_count(selection->set);
    uint32_t *ranks = nx_alloc(count * sizeof(*ranks));
    postings_to_array(selection->set, ranks);
    size_t kept = 0;
    for (size_t i = 0; code == NX_OK && i < count; i++) {
        struct labels labels;
        code = block_reader_labels(reader, ranks[i], &labels, NULL, err);
        if (code == NX_OK && matcher_matches(matcher, labels_get(labels, matcher->name)))
            ranks[kept++] = ranks[i];
    }
    if (code == NX_OK && kept < count) {
        postings_free(selection->set);
        selection->set = postings_from_array(ranks, kept);
    }
    nx_free(ranks);
    block_reader_free(reader);
    return code;
}

static nx_code apply_to_index(struct selection *selection, const struct index_name *name,
                              const struct matcher *matcher, struct nx_err *err)
{
    bool is_exclusion = matcher_matches_empty(matcher);
    struct postings *set = postings_new();
    nx_code code = is_positive(matcher) != is_exclusion
                       ? add_matching(selection->index, name, matcher, set)
                       : add_not_matching(selection->index, name, matcher, set);
    if (code != NX_OK) {
        postings_free(set);
        return select_damaged(selection, err);
    }
    if (is_exclusion)
        keep_without(selection, set);
    else
        keep_only(selection, set);
    return NX_OK;
}

/* How many values applying the matcher through the index has to visit. */
static nx_code values_to_visit(const struct selection *selection, const struct index_name *name,
                               const struct matcher *matcher, uint64_t *out_count)
{
    bool wants_matching = is_positive(matcher) != matcher_matches_empty(matcher);
    uint32_t first = name->first_pair, end = name->end_pair;
    nx_code code = NX_OK;
    if (wants_matching && matcher->regex == NULL) {
        *out_count = 1;
    } else if (wants_matching && matcher->set != NULL) {
        *out_count = matcher->set_count;
    } else {
        if (wants_matching)
            code = prefix_range(selection->index, name, matcher->prefix, &first, &end);
        *out_count = end - first;
    }
    return code;
}

static nx_code apply(struct selection *selection, const struct matcher *matcher, struct nx_err *err)
{
    const struct index_name *name = block_index_name_find(selection->index, matcher->name);
    if (name == NULL) {
        selection->is_empty = !matcher_matches_empty(matcher);
        return NX_OK;
    }
    if (matcher_matches_empty(matcher) && is_positive(matcher) && matches_all_values(matcher))
        return NX_OK;
    uint64_t visits = 0;
    if (values_to_visit(selection, name, matcher, &visits) != NX_OK)
        return select_damaged(selection, err);
    nx_code code =
        selection->set != NULL && postings_count(selection->set) * SELECT_VALUES_PER_SERIES < visits
            ? apply_to_series(selection, matcher, err)
            : apply_to_index(selection, name, matcher, err);
    if (code == NX_OK && selection->set != NULL)
        selection->is_empty = postings_count(selection->set) == 0;
    return code;
}

/* 0 is cheapest. */
static unsigned matcher_class(const struct matcher *matcher)
{
    if (matcher->type == MATCHER_EQUAL && matcher->value.len > 0)
        return 0;
    if (matcher->type == MATCHER_REGEX && matcher->set != NULL)
        return 1;
    return matcher->type == MATCHER_NOT_EQUAL ? 2 : 3;
}
#define MATCHER_CLASSES 4u

nx_code block_select(struct block *block, const struct matcher *matchers, size_t matcher_count,
                     struct arena *arena, uint32_t **out_ranks, size_t *out_count,
                     struct nx_err *err)
{
    struct selection selection = {.block = block};
    nx_code code = block_index_of(block, &selection.index, err);
    for (unsigned wanted = 0; wanted < MATCHER_CLASSES; wanted++)
        for (size_t i = 0; code == NX_OK && !selection.is_empty && i < matcher_count; i++)
            if (matcher_class(&matchers[i]) == wanted)
                code = apply(&selection, &matchers[i], err);
    if (code != NX_OK)
        goto done;
    size_t count = 0;
    if (!selection.is_empty)
        count = selection.set != NULL ? postings_count(selection.set)
                                      : block_index_series_count(selection.index);
    uint32_t *ranks = arena_alloc(arena, count * sizeof(*ranks));
    if (ranks == NULL) {
        code = nx_err_set(err, NX_E_LIMIT, "query memory: %zu series selected", count);
        goto done;
    }
    if (count > 0 && selection.set != NULL)
        postings_to_array(selection.set, ranks);
    else
        for (size_t i = 0; i < count; i++)
            ranks[i] = (uint32_t)i;
    *out_ranks = ranks;
    *out_count = count;
done:
    postings_free(selection.set);
    return code;
}

/* ---- label names and values ---- */

nx_code block_label_names(struct block *block, struct arena *arena, struct nx_str **out,
                          size_t *out_count, struct nx_err *err)
{
    const struct block_index *index = NULL;
    nx_code code = block_index_of(block, &index, err);
    if (code != NX_OK)
        return code;
    uint32_t count = 0;
    const struct index_name *names = block_index_names(index, &count);
    struct nx_str *texts = arena_alloc(arena, (size_t)count * sizeof(*texts));
    for (uint32_t i = 0; texts != NULL && i < count; i++)
        texts[i] = arena_strdup(arena, names[i].text);
    if (texts == NULL || arena_is_exhausted(arena))
        return nx_err_set(err, NX_E_LIMIT, "query memory: %u label names", (unsigned)count);
    *out = texts;
    *out_count = count;
    return NX_OK;
}

nx_code block_label_values(struct block *block, struct nx_str name, struct arena *arena,
                           struct nx_str **out, size_t *out_count, struct nx_err *err)
{
    const struct block_index *index = NULL;
    nx_code code = block_index_of(block, &index, err);
    if (code != NX_OK)
        return code;
    const struct index_name *found = block_index_name_find(index, name);
    uint32_t count = found == NULL ? 0 : found->end_pair - found->first_pair;
    struct nx_str *texts = arena_alloc(arena, (size_t)count * sizeof(*texts));
    for (uint32_t i = 0; texts != NULL && i < count; i++) {
        struct nx_str text = {0};
        code = block_index_value(index, found->first_pair + i, &text);
        if (code != NX_OK)
            return nx_err_set(err, code, "block %s: the index is damaged", block->file.meta.ulid);
        texts[i] = arena_strdup(arena, text);
    }
    if (texts == NULL || arena_is_exhausted(arena))
        return nx_err_set(err, NX_E_LIMIT, "query memory: %u label values", (unsigned)count);
    *out = texts;
    *out_count = count;
    return NX_OK;
}
