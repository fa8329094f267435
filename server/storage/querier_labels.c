/* SPDX-License-Identifier: Apache-2.0
 *
 * querier_labels.c - label names and values: unions of what head and blocks list, or of the series that matchers
 * select.
 *
 * In       matchers (may be none), a range, a limit.
 * Out      sorted distinct strings in the caller's arena.
 * Fails    NX_E_LIMIT (the arena), NX_E_CANCELLED, NX_E_IO. A damaged block is left out with a warning.
 *
 * Without matchers whole dictionaries are merged: a block that overlaps the range counts whole, what is deleted of it
 * included until a merge, as in Prometheus.
 */
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#include "querier_internal.h"

#include <stdlib.h>

/* Distinct strings by open addressing; the texts are in the arena. */
struct string_set {
    struct arena *arena;
    struct nx_str *slots; /* data NULL: free */
    size_t capacity;      /* a power of two */
    size_t count;
    struct nx_str last; /* the value of the series before: neighbours mostly share it */
};

static size_t slot_of(const struct string_set *set, struct nx_str s)
{
    size_t at = (size_t)nx_hash64(s.data, s.len, 0) & (set->capacity - 1);
    while (set->slots[at].data != NULL && !nx_str_eq(set->slots[at], s))
        at = (at + 1) & (set->capacity - 1);
    return at;
}

static void string_set_grow(struct string_set *set)
{
    struct string_set larger = *set;
    larger.capacity = set->capacity == 0 ? 256 : set->capacity * 2;
    larger.slots = nx_calloc(larger.capacity, sizeof(*larger.slots));
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slots[i].data != NULL)
            larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
    nx_free(set->slots);
    *set = larger;
}

/* Adds a copy of `s` unless it is there. */
static void string_set_add(struct string_set *set, struct nx_str s)
{
    if (set->count > 0 && nx_str_eq(set->last, s))
        return;
    if (set->count * 2 >= set->capacity)
        string_set_grow(set);
    size_t at = slot_of(set, s);
    if (set->slots[at].data == NULL) {
        struct nx_str copy = arena_strdup(set->arena, s);
        if (copy.data == NULL)
            return; /* exhausted: the caller looks */
        set->slots[at] = copy;
        set->count++;
    }
    set->last = set->slots[at];
}

static int compare_strings(const void *a, const void *b)
{
    return nx_str_cmp(*(const struct nx_str *)a, *(const struct nx_str *)b);
}

/* The set as a sorted array in the arena, cut at the limit. Frees the table. */
static nx_code string_set_finish(struct string_set *set, size_t limit, struct nx_str **out,
                                 size_t *out_count, bool *out_truncated, struct nx_err *err)
{
    struct nx_str *list = arena_alloc(set->arena, set->count * sizeof(*list));
    if (list == NULL || arena_is_exhausted(set->arena)) {
        nx_free(set->slots);
        return nx_err_set(err, NX_E_LIMIT,
                          "the answer needs more memory than --query.max-memory allows");
    }
    size_t count = 0;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slots[i].data != NULL)
            list[count++] = set->slots[i];
    nx_free(set->slots);
    if (count > 0)
        qsort(list, count, sizeof(*list), compare_strings);
    if (limit > 0 && count > limit) {
        count = limit;
        *out_truncated = true;
    }
    *out = list;
    *out_count = count;
    return NX_OK;
}

/* What is asked for: names (is_values false) or the values of one name. */
struct listing {
    struct querier *querier;
    bool is_values;
    struct nx_str name;
    struct string_set set;
    struct series_warnings *warnings;
};

static void add_all(struct listing *listing, const struct nx_str *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        string_set_add(&listing->set, list[i]);
}

static nx_code add_block(struct listing *listing, struct block *block, struct nx_err *err)
{
    struct arena *arena = listing->set.arena;
    struct nx_str *list;
    size_t count;
    nx_code code = listing->is_values
                       ? block_label_values(block, listing->name, arena, &list, &count, err)
                       : block_label_names(block, arena, &list, &count, err);
    if (code == NX_E_CORRUPT || code == NX_E_IO) {
        querier_drop_block(listing->querier, block, listing->warnings, arena, err);
        return NX_OK;
    }
    if (code == NX_OK)
        add_all(listing, list, count);
    return code;
}

/* Whole dictionaries of the head and the blocks that overlap the range. */
static nx_code list_dictionaries(struct listing *listing, int64_t min_ms, int64_t max_ms,
                                 struct nx_err *err)
{
    struct arena *arena = listing->set.arena;
    struct block_snapshot snapshot;
    struct nx_str *list;
    size_t count;
    struct head *head = listing->querier->head;
    nx_code code = listing->is_values
                       ? head_label_values(head, listing->name, arena, &list, &count, err)
                       : head_label_names(head, arena, &list, &count, err);
    if (code != NX_OK)
        return code;
    add_all(listing, list, count);
    block_list_snapshot(listing->querier->blocks, min_ms, max_ms, &snapshot);
    querier_warn_absent(listing->querier, &snapshot, min_ms, max_ms, listing->warnings, arena);
    for (size_t i = 0; i < snapshot.count && code == NX_OK; i++)
        code = add_block(listing, snapshot.blocks[i], err);
    block_snapshot_end(&snapshot);
    return code;
}

static void add_series(struct listing *listing, struct labels labels)
{
    if (listing->is_values) {
        struct nx_str value = labels_get(labels, listing->name);
        if (value.len > 0)
            string_set_add(&listing->set, value);
        return;
    }
    for (size_t i = 0; i < labels.count; i++)
        string_set_add(&listing->set, labels.items[i].name);
}

/* Labels of the series that matchers select. */
static nx_code list_selected(struct listing *listing, const struct matcher *matchers,
                             size_t matcher_count, int64_t min_ms, int64_t max_ms,
                             struct nx_err *err)
{
    struct series_hints hints = {.labels_only = true, .arena = listing->set.arena};
    struct series_set *set;
    struct series_columns series;
    int more;
    nx_code code = querier_select(&listing->querier->source, matchers, matcher_count, min_ms,
                                  max_ms, &hints, &set, listing->warnings, err);
    if (code != NX_OK)
        return code;
    while ((more = set->ops->next(set, &series, err)) > 0)
        add_series(listing, series.labels);
    set->ops->free(set);
    return more < 0 ? err->code : NX_OK;
}

static nx_code list_labels(struct listing *listing, const struct matcher *matchers,
                           size_t matcher_count, int64_t min_ms, int64_t max_ms, size_t limit,
                           struct nx_str **out, size_t *out_count, bool *out_truncated,
                           struct nx_err *err)
{
    nx_code code = matcher_count > 0
                       ? list_selected(listing, matchers, matcher_count, min_ms, max_ms, err)
                       : list_dictionaries(listing, min_ms, max_ms, err);
    if (code != NX_OK) {
        nx_free(listing->set.slots);
        return code;
    }
    return string_set_finish(&listing->set, limit, out, out_count, out_truncated, err);
}

nx_code querier_label_names(struct series_source *source, const struct matcher *matchers,
                            size_t matcher_count, int64_t min_ms, int64_t max_ms, size_t limit,
                            struct arena *arena, struct nx_str **out, size_t *out_count,
                            bool *out_truncated, struct series_warnings *warnings,
                            struct nx_err *err)
{
    struct listing listing = {
        .querier = (struct querier *)source, .set = {.arena = arena}, .warnings = warnings};
    return list_labels(&listing, matchers, matcher_count, min_ms, max_ms, limit, out, out_count,
                       out_truncated, err);
}

nx_code querier_label_values(struct series_source *source, struct nx_str name,
                             const struct matcher *matchers, size_t matcher_count, int64_t min_ms,
                             int64_t max_ms, size_t limit, struct arena *arena, struct nx_str **out,
                             size_t *out_count, bool *out_truncated,
                             struct series_warnings *warnings, struct nx_err *err)
{
    struct listing listing = {.querier = (struct querier *)source,
                              .is_values = true,
                              .name = name,
                              .set = {.arena = arena},
                              .warnings = warnings};
    return list_labels(&listing, matchers, matcher_count, min_ms, max_ms, limit, out, out_count,
                       out_truncated, err);
}
