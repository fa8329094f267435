/* SPDX-License-Identifier: Apache-2.0 */
/* head_select.c - which series satisfy all matchers, in label order.
 *
 *   matchers --> terms     each a list of pairs of one name: their series are required, or excluded
 *   terms    --> slots     smallest requirement first; AND, AND NOT
 *   slots    --> items     under the shards' locks: still there? data in the range? packed labels copied
 *   items    --> series    sorted by rank, series without one apart and merged in; labels written to the arena
 *
 * Terms    a matcher that an absent label satisfies (x="", x!="a", x=~"a?") excludes the pairs of its name that it
 *          does not match; any other requires those that it matches.
 * Locks    values are matched outside the index' lock, on a copied list of ids: the index is pinned, so their texts
 *          stay. Lists are united under the lock, some hundred pairs at a time.
 * Races    a slot may change its series between the index' lock and the shard's. Removals are counted: if there was one
 *          meanwhile, all results are matched again by text.
 */
#include "head_internal.h"

#include <stdlib.h>

#define PAIRS_A_LOCK  512u
#define SERIES_A_LOCK 256u
#define LOOK_SERIES   8u
#define NAMES_CACHED  64u

struct term {
    bool is_excluding;
    uint32_t *ids; /* heap */
    size_t count;
    uint64_t slots; /* sum over the pairs, to order requirements */
};

struct select_item {
    struct order_item order; /* packed: in the call's copy; tag: index into items */
    size_t packed_at;
    struct series_ref ref;
    uint32_t rank;
    bool has_side;
};

struct select_run {
    struct head *head;
    const struct matcher *matchers;
    size_t matcher_count;
    int64_t min_ms;
    struct term *terms;
    uint32_t *slots; /* grouped by shard */
    size_t starts[HEAD_SHARD_COUNT + 1];
    struct select_item *items;
    size_t item_count;
    struct nx_buf packed;
    bool was_removed; /* series left during the run */
    bool has_ranks;   /* ranks of all shards belong together */
};

/* ---- matchers to terms ---- */

static void term_add(struct term *term, uint32_t id)
{
    term->ids = nx_realloc_array(term->ids, term->count + 1, sizeof(*term->ids));
    term->ids[term->count++] = id;
}

/* Fills in the pairs of a matcher that names its values: no text needs to be tried. */
static bool term_by_lookup(struct head_index *index, const struct matcher *matcher,
                           struct term *term) NX_REQUIRES(index->lock)
{
    bool is_regex = matcher->type == MATCHER_REGEX || matcher->type == MATCHER_NOT_REGEX;
    bool is_negated = matcher->type == MATCHER_NOT_EQUAL || matcher->type == MATCHER_NOT_REGEX;
    /* Pairs that match a positive requirement, or that a negated one excludes, are those of the set. */
    if (is_negated != term->is_excluding || (is_regex && matcher->set == NULL))
        return false;
    const struct nx_str *values = is_regex ? matcher->set : &matcher->value;
    size_t count = is_regex ? matcher->set_count : 1;
    for (size_t i = 0; i < count; i++) {
        uint32_t id = index_find_pair(index, matcher->name, values[i]);
        if (id != PAIR_NONE)
            term_add(term, id);
    }
    return true;
}

/* All pairs of the matcher's name, for trying them. */
static void term_candidates(struct head_index *index, struct nx_str name_text, struct term *term)
    NX_REQUIRES(index->lock)
{
    uint32_t id = index_find_name(index, name_text);
    if (id == PAIR_NONE)
        return;
    const struct index_name *name = index_name_at(index, id);
    term->ids = nx_alloc(name->pair_count * sizeof(*term->ids));
    memcpy(term->ids, name->pairs, name->pair_count * sizeof(*term->ids));
    term->count = name->pair_count;
}

/* Keeps the candidates that the term is about. The index is pinned. */
static void term_filter(const struct head_index *index, const struct matcher *matcher,
                        struct term *term)
{
    size_t kept = 0;
    for (size_t i = 0; i < term->count; i++) {
        struct nx_str value = index_pair_value(index_pair_at(index, term->ids[i]));
        if (matcher_matches(matcher, value) != term->is_excluding)
            term->ids[kept++] = term->ids[i];
    }
    term->count = kept;
}

static void make_terms(struct select_run *run)
{
    struct head_index *index = &run->head->index;
    for (size_t i = 0; i < run->matcher_count; i++) {
        const struct matcher *matcher = &run->matchers[i];
        struct term *term = &run->terms[i];
        term->is_excluding = matcher_matches_empty(matcher);
        mutex_lock(&index->lock);
        bool is_done = term_by_lookup(index, matcher, term);
        if (!is_done)
            term_candidates(index, matcher->name, term);
        mutex_unlock(&index->lock);
        if (!is_done)
            term_filter(index, matcher, term);
    }
}

/* ---- terms to slots ---- */

static struct postings *unite(struct head_index *index, const struct term *term)
{
    struct postings *set = postings_new();
    for (size_t i = 0; i < term->count;) {
        mutex_lock(&index->lock);
        for (size_t end = i + PAIRS_A_LOCK; i < term->count && i < end; i++)
            index_union_pair(index, term->ids[i], set);
        mutex_unlock(&index->lock);
    }
    return set;
}

static int compare_terms(const void *left, const void *right)
{
    const struct term *a = left;
    const struct term *b = right;
    if (a->is_excluding != b->is_excluding)
        return (int)a->is_excluding - (int)b->is_excluding;
    return (a->slots > b->slots) - (a->slots < b->slots);
}

static void weigh_terms(struct select_run *run)
{
    struct head_index *index = &run->head->index;
    mutex_lock(&index->lock);
    for (size_t i = 0; i < run->matcher_count; i++) {
        struct term *term = &run->terms[i];
        for (size_t k = 0; k < term->count; k++)
            term->slots += index_pair_at(index, term->ids[k])->count;
    }
    mutex_unlock(&index->lock);
    if (run->matcher_count > 1)
        qsort(run->terms, run->matcher_count, sizeof(*run->terms), compare_terms);
}

/* The slots of the series that satisfy all terms. */
static struct postings *combine_terms(struct select_run *run)
{
    struct head_index *index = &run->head->index;
    struct postings *result;
    size_t first = 0;
    weigh_terms(run);
    if (run->matcher_count > 0 && !run->terms[0].is_excluding) {
        result = unite(index, &run->terms[0]);
        first = 1;
    } else {
        result = postings_new();
        mutex_lock(&index->lock);
        postings_or(result, index->all);
        mutex_unlock(&index->lock);
    }
    for (size_t i = first; i < run->matcher_count && postings_count(result) > 0; i++) {
        struct postings *set = unite(index, &run->terms[i]);
        if (run->terms[i].is_excluding)
            postings_and_not(result, set);
        else
            postings_and(result, set);
        postings_free(set);
    }
    return result;
}

static void group_slots(struct select_run *run, const struct postings *set)
{
    size_t count = postings_count(set);
    uint32_t *slots = nx_alloc(count * sizeof(*slots));
    run->slots = nx_alloc(count * sizeof(*run->slots));
    postings_to_array(set, slots);
    size_t fill[HEAD_SHARD_COUNT];
    for (size_t i = 0; i < count; i++)
        run->starts[slot_shard(slots[i]) + 1]++;
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        run->starts[s + 1] += run->starts[s];
        fill[s] = run->starts[s];
    }
    for (size_t i = 0; i < count; i++)
        run->slots[fill[slot_shard(slots[i])]++] = slots[i];
    nx_free(slots);
}

/* ---- slots to items ---- */

static void take_item(struct select_run *run, struct head_shard *shard, uint32_t slot)
    NX_REQUIRES(shard->lock)
{
    uint32_t local = slot_local(slot);
    const struct head_hot *hot = hot_at(shard, local);
    bool has_side = hot->flags & HOT_SIDE;
    if (!(hot->flags & HOT_LIVE) || !hot_has_data(hot) || (hot->last_ms < run->min_ms && !has_side))
        return;
    const struct head_cold *cold = cold_at(shard, local);
    run->items[run->item_count++] = (struct select_item){
        .order = {.bytes = cold->labels_bytes},
        .packed_at = run->packed.len,
        .ref = {.slot = slot, .generation = hot->generation},
        .rank = cold->rank,
        .has_side = has_side,
    };
    nx_buf_append(&run->packed, cold->labels, cold->labels_bytes);
}

static void look_at_series(const struct head_shard *shard, uint32_t slot) NX_REQUIRES(shard->lock)
{
    __builtin_prefetch(hot_at(shard, slot_local(slot)));
    __builtin_prefetch(cold_at(shard, slot_local(slot)));
}

static void take_items(struct select_run *run)
{
    struct head *head = run->head;
    uint32_t epoch = atomic_load_explicit(&head->order_epoch, memory_order_relaxed);
    run->items = nx_alloc(run->starts[HEAD_SHARD_COUNT] * sizeof(*run->items));
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        struct head_shard *shard = &head->shards[s];
        for (size_t i = run->starts[s]; i < run->starts[s + 1];) {
            mutex_lock(&shard->lock);
            for (size_t end = i + SERIES_A_LOCK; i < run->starts[s + 1] && i < end; i++) {
                if (i + LOOK_SERIES < run->starts[s + 1])
                    look_at_series(shard, run->slots[i + LOOK_SERIES]);
                take_item(run, shard, run->slots[i]);
            }
            mutex_unlock(&shard->lock);
        }
    }
    run->has_ranks =
        epoch % 2 == 0 && epoch == atomic_load_explicit(&head->order_epoch, memory_order_relaxed);
    for (size_t i = 0; i < run->item_count; i++) {
        run->items[i].order.packed = run->packed.data + run->items[i].packed_at;
        run->items[i].order.tag = (uint32_t)i;
    }
}

/* ---- items to series ---- */

struct ranked {
    uint32_t rank;
    uint32_t item;
};

static int compare_ranked(const void *left, const void *right)
{
    uint32_t a = ((const struct ranked *)left)->rank;
    uint32_t b = ((const struct ranked *)right)->rank;
    return (a > b) - (a < b);
}

/* Fills `order` with indexes of the items in label order. */
static void sort_items(const struct select_run *run, uint32_t *order)
{
    struct head_index *index = &run->head->index;
    struct ranked *ranked = nx_alloc(run->item_count * sizeof(*ranked));
    struct order_item *others = nx_alloc(run->item_count * sizeof(*others));
    size_t ranked_count = 0;
    size_t other_count = 0;
    for (size_t i = 0; i < run->item_count; i++) {
        if (run->has_ranks && run->items[i].rank != RANK_NONE)
            ranked[ranked_count++] =
                (struct ranked){.rank = run->items[i].rank, .item = (uint32_t)i};
        else
            others[other_count++] = run->items[i].order;
    }
    if (ranked_count > 1)
        qsort(ranked, ranked_count, sizeof(*ranked), compare_ranked);
    order_sort(index, others, other_count);
    size_t from_ranked = 0;
    size_t from_others = 0;
    for (size_t i = 0; i < run->item_count; i++) {
        bool is_ranked = from_others == other_count;
        if (!is_ranked && from_ranked < ranked_count) {
            const struct order_item *a = &run->items[ranked[from_ranked].item].order;
            const struct order_item *b = &others[from_others];
            is_ranked = packed_compare(index, a->packed, a->bytes, b->packed, b->bytes) < 0;
        }
        order[i] = is_ranked ? ranked[from_ranked++].item : others[from_others++].tag;
    }
    nx_free(ranked);
    nx_free(others);
}

/* Texts of pairs that were written to the arena already: series share most of them. */
struct text_cache {
    struct id_table table; /* by pair id; ids are indexes into the arrays */
    uint32_t *pairs;
    struct label *labels;
    uint32_t count, cap;
    /* Names are few: the last one written for each of NAMES_CACHED remainders of the name id. */
    struct cached_name {
        uint32_t id_plus_1;
        struct nx_str text;
    } names[NAMES_CACHED];
};

static struct nx_str cached_name(struct text_cache *cache, const struct head_index *index,
                                 uint32_t name, struct arena *arena)
{
    struct cached_name *cached = &cache->names[name % NAMES_CACHED];
    if (cached->id_plus_1 != name + 1) {
        cached->id_plus_1 = name + 1;
        cached->text = arena_strdup(arena, index_name_text(index, name));
    }
    return cached->text;
}

static bool cached_label(struct text_cache *cache, const struct head_index *index, uint32_t pair,
                         struct arena *arena, struct label *out)
{
    uint32_t hash = (uint32_t)nx_hash_mix(pair, 0);
    uint32_t at = hash;
    uint32_t found;
    while ((found = id_table_next(&cache->table, hash, &at)) != ID_TABLE_NONE) {
        if (cache->pairs[found] != pair)
            continue;
        *out = cache->labels[found];
        return true;
    }
    const struct index_pair *entry = index_pair_at(index, pair);
    out->name = cached_name(cache, index, entry->name, arena);
    out->value = arena_strdup(arena, index_pair_value(entry));
    if (arena_is_exhausted(arena))
        return false;
    if (cache->count == cache->cap) {
        cache->cap = cache->cap == 0 ? 64 : cache->cap * 2;
        cache->pairs = nx_realloc_array(cache->pairs, cache->cap, sizeof(*cache->pairs));
        cache->labels = nx_realloc_array(cache->labels, cache->cap, sizeof(*cache->labels));
    }
    cache->pairs[cache->count] = pair;
    cache->labels[cache->count] = *out;
    id_table_insert(&cache->table, hash, cache->count++);
    return true;
}

static bool write_labels(struct text_cache *cache, const struct head_index *index,
                         const struct order_item *item, struct arena *arena, struct labels *out)
{
    size_t count = packed_ids(item->packed, item->bytes, NULL);
    struct label *labels = arena_alloc(arena, count * sizeof(*labels));
    if (labels == NULL)
        return false;
    const uint8_t *next = item->packed;
    uint32_t id;
    for (size_t i = 0; packed_next(&next, item->packed + item->bytes, &id); i++) {
        if (!cached_label(cache, index, id, arena, &labels[i]))
            return false;
    }
    *out = (struct labels){.items = labels, .count = count};
    return true;
}

static nx_code write_series(const struct select_run *run, struct arena *arena,
                            struct head_series **out_series, size_t *out_count, struct nx_err *err)
{
    const struct head_index *index = &run->head->index;
    struct head_series *series = arena_alloc(arena, run->item_count * sizeof(*series));
    uint32_t *order = nx_alloc(run->item_count * sizeof(*order));
    struct text_cache cache = {0};
    size_t count = 0;
    bool fits = series != NULL;
    sort_items(run, order);
    for (size_t i = 0; fits && i < run->item_count; i++) {
        const struct select_item *item = &run->items[order[i]];
        fits = write_labels(&cache, index, &item->order, arena, &series[count].labels);
        series[count].ref = item->ref;
        series[count].has_side = item->has_side;
        if (!fits || !run->was_removed ||
            matchers_match(run->matchers, run->matcher_count, series[count].labels))
            count++;
    }
    id_table_deinit(&cache.table);
    nx_free(cache.pairs);
    nx_free(cache.labels);
    nx_free(order);
    if (!fits)
        return nx_err_set(err, NX_E_LIMIT,
                          "memory limit of the query reached by the labels of %zu series",
                          run->item_count);
    *out_series = series;
    *out_count = count;
    return NX_OK;
}

nx_code head_select(struct head *head, const struct matcher *matchers, size_t matcher_count,
                    int64_t min_ms, int64_t max_ms, struct arena *arena,
                    struct head_series **out_series, size_t *out_count, struct nx_err *err)
{
    *out_series = NULL;
    *out_count = 0;
    if (min_ms > max_ms)
        return NX_OK;
    struct select_run run = {
        .head = head, .matchers = matchers, .matcher_count = matcher_count, .min_ms = min_ms};
    run.terms = nx_calloc(matcher_count, sizeof(*run.terms));
    uint64_t removals = atomic_load_explicit(&head->removals, memory_order_relaxed);
    mutex_lock(&head->index.lock);
    index_pin(&head->index);
    mutex_unlock(&head->index.lock);

    make_terms(&run);
    struct postings *set = combine_terms(&run);
    group_slots(&run, set);
    postings_free(set);
    take_items(&run);
    run.was_removed = removals != atomic_load_explicit(&head->removals, memory_order_relaxed);
    nx_code code = write_series(&run, arena, out_series, out_count, err);

    mutex_lock(&head->index.lock);
    index_unpin(&head->index);
    mutex_unlock(&head->index.lock);
    for (size_t i = 0; i < matcher_count; i++)
        nx_free(run.terms[i].ids);
    nx_free(run.terms);
    nx_free(run.slots);
    nx_free(run.items);
    nx_buf_deinit(&run.packed);
    return code;
}

/* ---- names and values ---- */

nx_code head_label_names(struct head *head, struct arena *arena, struct nx_str **out,
                         size_t *out_count, struct nx_err *err)
{
    struct head_index *index = &head->index;
    size_t count = 0;
    mutex_lock(&index->lock);
    struct nx_str *names = arena_alloc(arena, index->name_limit * sizeof(*names));
    for (uint32_t id = 0; names != NULL && id < index->name_limit; id++) {
        const struct index_name *name = index_name_at(index, id);
        bool has_series = false;
        for (uint32_t i = 0; i < name->pair_count && !has_series && name->text != NULL; i++)
            has_series = index_pair_at(index, name->pairs[i])->count > 0;
        if (has_series)
            names[count++] = arena_strdup(arena, index_name_text(index, id));
    }
    mutex_unlock(&index->lock);
    if (names == NULL || arena_is_exhausted(arena))
        return nx_err_set(err, NX_E_LIMIT, "memory limit of the query reached by label names");
    *out = names;
    *out_count = count;
    return NX_OK;
}

/* Ids of the pairs of a name that have series, on the heap. */
static uint32_t *live_pairs(struct head_index *index, struct nx_str name_text, size_t *out_count)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    mutex_lock(&index->lock);
    index_pin(index);
    uint32_t name_id = index_find_name(index, name_text);
    if (name_id != PAIR_NONE) {
        const struct index_name *name = index_name_at(index, name_id);
        ids = nx_alloc(name->pair_count * sizeof(*ids));
        for (uint32_t i = 0; i < name->pair_count; i++) {
            if (index_pair_at(index, name->pairs[i])->count > 0)
                ids[count++] = name->pairs[i];
        }
    }
    mutex_unlock(&index->lock);
    *out_count = count;
    return ids;
}

nx_code head_label_values(struct head *head, struct nx_str name, struct arena *arena,
                          struct nx_str **out, size_t *out_count, struct nx_err *err)
{
    struct head_index *index = &head->index;
    size_t count;
    uint32_t *ids = live_pairs(index, name, &count);
    struct nx_str *values = arena_alloc(arena, count * sizeof(*values));
    for (size_t i = 0; values != NULL && i < count; i++)
        values[i] = arena_strdup(arena, index_pair_value(index_pair_at(index, ids[i])));
    mutex_lock(&index->lock);
    index_unpin(index);
    mutex_unlock(&index->lock);
    nx_free(ids);
    if (values == NULL || arena_is_exhausted(arena))
        return nx_err_set(err, NX_E_LIMIT,
                          "memory limit of the query reached by values of a label");
    *out = values;
    *out_count = count;
    return NX_OK;
}
