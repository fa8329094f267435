/* SPDX-License-Identifier: Apache-2.0 */
/* head_index.c - interning pairs and keeping their lists of slots. */
#include "head_index.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#define NAME_PAIRS_MIN 2u
#define LOOK_LABELS    64u /* chosen: labels of one series whose memory is asked for ahead */
#define DEAD_KEPT      4096u

void index_init(struct head_index *index)
{
    *index = (struct head_index){.pair_free = PAIR_NONE, .name_free = PAIR_NONE};
    mutex_init(&index->lock, LOCK_RANK_HEAD_INDEX);
    segvec_init(&index->pairs, sizeof(struct index_pair));
    segvec_init(&index->names, sizeof(struct index_name));
    index->all = postings_new();
}

/* Objects above POOL_CLASS_MAX live on the heap, so the pool alone does not know them. */
void index_deinit(struct head_index *index)
{
    for (uint32_t id = 0; id < index->pair_limit; id++) {
        struct index_pair *pair = index_pair_at(index, id);
        if (pair->value == NULL)
            continue;
        if (pair->kind == PAIR_SET)
            postings_free(pair->list.set);
        if (head_pool_usable(pair->value_len) > POOL_CLASS_MAX)
            nx_free((void *)(uintptr_t)pair->value);
    }
    for (uint32_t id = 0; id < index->name_limit; id++) {
        nx_free(index_name_at(index, id)->text);
        nx_free(index_name_at(index, id)->pairs);
    }
    segvec_deinit(&index->pairs);
    segvec_deinit(&index->names);
    id_table_deinit(&index->pair_table);
    id_table_deinit(&index->name_table);
    head_pool_deinit(&index->pool);
    nx_free(index->dead);
    postings_free(index->all);
    mutex_deinit(&index->lock);
}

/* ---- hashing ---- */

static inline uint64_t text_hash(struct nx_str text)
{
    return nx_hash64_secret(text.len == 0 ? "" : text.data, text.len);
}

static inline uint64_t pair_hash(struct nx_str name, struct nx_str value)
{
    return nx_hash_mix(text_hash(name), text_hash(value));
}

uint64_t index_hash_label(struct label label)
{
    return pair_hash(label.name, label.value);
}

uint64_t index_hash_value(const struct head_index *index, uint32_t name, struct nx_str value)
{
    return nx_hash_mix(index_name_at(index, name)->hash, text_hash(value));
}

uint32_t index_hash_combine(const uint64_t *hashes, size_t count)
{
    uint64_t all = count;
    for (size_t i = 0; i < count; i++)
        all = nx_hash_mix(all, hashes[i]);
    return (uint32_t)(all ^ (all >> 32));
}

uint32_t index_hash_labels(struct labels labels, uint64_t *out_hashes)
{
    for (size_t i = 0; i < labels.count; i++)
        out_hashes[i] = index_hash_label(labels.items[i]);
    return index_hash_combine(out_hashes, labels.count);
}

/* ---- interning ---- */

static char *text_copy(struct nx_str text, void *memory)
{
    if (text.len > 0)
        memcpy(memory, text.data, text.len);
    return memory;
}

static uint32_t find_name(struct head_index *index, struct nx_str name, uint32_t hash)
    NX_REQUIRES(index->lock)
{
    uint32_t at = hash;
    uint32_t id;
    while ((id = id_table_next(&index->name_table, hash, &at)) != ID_TABLE_NONE) {
        if (nx_str_eq(index_name_text(index, id), name))
            return id;
    }
    return PAIR_NONE;
}

uint32_t index_find_name(struct head_index *index, struct nx_str name)
{
    return find_name(index, name, (uint32_t)text_hash(name));
}

/* With the allocator's own. */
static uint64_t name_text_bytes(uint32_t length)
{
    return (uint64_t)length + 16;
}

static uint32_t intern_name(struct head_index *index, struct nx_str text) NX_REQUIRES(index->lock)
{
    uint64_t hash = text_hash(text);
    uint32_t id = find_name(index, text, (uint32_t)hash);
    if (id != PAIR_NONE)
        return id;
    if (index->name_free != PAIR_NONE) {
        id = index->name_free;
        index->name_free = index_name_at(index, id)->pair_count;
    } else {
        id = index->name_limit++;
        NX_ASSERT(id != PAIR_NONE);
        segvec_ensure(&index->names, id);
    }
    struct index_name *name = index_name_at(index, id);
    *name = (struct index_name){.len = (uint32_t)text.len, .hash = hash};
    name->text = text_copy(text, nx_alloc(text.len));
    index->heap_bytes += name_text_bytes((uint32_t)text.len);
    index->text_bytes += name_text_bytes((uint32_t)text.len);
    id_table_insert(&index->name_table, (uint32_t)hash, id);
    return id;
}

static void name_add_pair(struct head_index *index, struct index_name *name, uint32_t pair)
{
    if (name->pair_count == name->pair_cap) {
        uint32_t cap = name->pair_cap == 0 ? NAME_PAIRS_MIN : name->pair_cap + name->pair_cap / 2;
        name->pairs = nx_realloc_array(name->pairs, cap, sizeof(*name->pairs));
        index->heap_bytes += (cap - name->pair_cap) * sizeof(*name->pairs);
        name->pair_cap = cap;
    }
    name->pairs[name->pair_count++] = pair;
}

static void list_dead(struct head_index *index, uint32_t id, struct index_pair *pair)
{
    if (pair->is_dead)
        return;
    if (index->dead_count == index->dead_cap) {
        index->dead_cap = index->dead_cap == 0 ? 64 : index->dead_cap * 2;
        index->dead = nx_realloc_array(index->dead, index->dead_cap, sizeof(*index->dead));
    }
    index->dead[index->dead_count++] = id;
    pair->is_dead = true;
}

static uint32_t pair_new(struct head_index *index, struct label label, uint64_t hash)
    NX_REQUIRES(index->lock)
{
    uint32_t id = index->pair_free;
    if (id != PAIR_NONE) {
        index->pair_free = index_pair_at(index, id)->name;
    } else {
        id = index->pair_limit++;
        NX_ASSERT(id != PAIR_NONE);
        segvec_ensure(&index->pairs, id);
    }
    struct index_pair *pair = index_pair_at(index, id);
    *pair = (struct index_pair){.value_len = (uint32_t)label.value.len};
    pair->value = text_copy(label.value, head_pool_alloc(&index->pool, label.value.len));
    index->text_bytes += head_pool_usable(label.value.len);
    pair->name = intern_name(index, label.name);
    name_add_pair(index, index_name_at(index, pair->name), id);
    id_table_insert(&index->pair_table, (uint32_t)hash, id);
    list_dead(index, id, pair); /* until a series enters it */
    return id;
}

static uint32_t find_pair(struct head_index *index, struct nx_str name, struct nx_str value,
                          uint64_t hash) NX_REQUIRES(index->lock)
{
    uint32_t at = (uint32_t)hash;
    uint32_t id;
    while ((id = id_table_next(&index->pair_table, (uint32_t)hash, &at)) != ID_TABLE_NONE) {
        const struct index_pair *pair = index_pair_at(index, id);
        if (nx_str_eq(index_pair_value(pair), value) &&
            nx_str_eq(index_name_text(index, pair->name), name))
            return id;
    }
    return PAIR_NONE;
}

uint32_t index_find_pair(struct head_index *index, struct nx_str name, struct nx_str value)
{
    return find_pair(index, name, value, pair_hash(name, value));
}

/* Passes over the labels, so that the cache misses of one series' pairs overlap: table, pair, text. */
static void look_at_pairs(struct head_index *index, const uint64_t *hashes, const uint32_t *ids,
                          size_t count) NX_REQUIRES(index->lock)
{
    uint32_t likely[LOOK_LABELS];
    if (count > LOOK_LABELS)
        count = LOOK_LABELS;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == PAIR_NONE)
            id_table_prefetch(&index->pair_table, (uint32_t)hashes[i]);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t at = (uint32_t)hashes[i];
        likely[i] = ids[i] != PAIR_NONE ? PAIR_NONE : id_table_next(&index->pair_table, at, &at);
        if (likely[i] != PAIR_NONE)
            __builtin_prefetch(index_pair_at(index, likely[i]), 1);
    }
    for (size_t i = 0; i < count; i++) {
        if (likely[i] != PAIR_NONE)
            __builtin_prefetch(index_pair_at(index, likely[i])->value);
    }
}

void index_intern(struct head_index *index, struct labels labels, const uint64_t *hashes,
                  uint32_t *inout_ids)
{
    look_at_pairs(index, hashes, inout_ids, labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        struct label label = labels.items[i];
        if (inout_ids[i] == PAIR_NONE)
            inout_ids[i] = find_pair(index, label.name, label.value, hashes[i]);
        if (inout_ids[i] == PAIR_NONE)
            inout_ids[i] = pair_new(index, label, hashes[i]);
    }
}

/* ---- lists of slots ---- */

static uint8_t array_cap(uint32_t count)
{
    size_t grown = count + count / 4 + 1;
    size_t cap = head_pool_usable(grown * sizeof(uint32_t)) / sizeof(uint32_t);
    return (uint8_t)(cap > PAIR_ARRAY_SLOTS ? PAIR_ARRAY_SLOTS : cap);
}

static uint32_t *array_new(struct head_index *index, uint8_t cap)
{
    return head_pool_alloc(&index->pool, cap * sizeof(uint32_t));
}

static void array_free(struct head_index *index, uint32_t *array, uint8_t cap)
{
    head_pool_free(&index->pool, array, cap * sizeof(uint32_t));
}

/* The slots while they are inline or in an array. */
static const uint32_t *pair_slots(const struct index_pair *pair)
{
    return pair->kind == PAIR_INLINE ? pair->list.slots : pair->list.array;
}

/* Inserts into sorted `slots`, which have room. Slots come mostly in ascending order. */
static void insert_sorted(uint32_t *slots, uint32_t count, uint32_t slot)
{
    uint32_t at = count;
    while (at > 0 && slots[at - 1] > slot) {
        slots[at] = slots[at - 1];
        at--;
    }
    slots[at] = slot;
}

/* Makes room for one more slot; the kind may change. */
static void pair_make_room(struct head_index *index, struct index_pair *pair)
{
    if (pair->kind == PAIR_SET || (pair->kind == PAIR_INLINE && pair->count < PAIR_INLINE_SLOTS) ||
        (pair->kind == PAIR_ARRAY && pair->count < pair->cap))
        return;
    const uint32_t *slots = pair_slots(pair);
    if (pair->count == PAIR_ARRAY_SLOTS) {
        struct postings *set = postings_from_array(slots, pair->count);
        array_free(index, pair->list.array, pair->cap);
        pair->list.set = set;
        pair->kind = PAIR_SET;
        return;
    }
    uint8_t cap = array_cap(pair->count);
    uint32_t *array = array_new(index, cap);
    memcpy(array, slots, pair->count * sizeof(*array));
    if (pair->kind == PAIR_ARRAY)
        array_free(index, pair->list.array, pair->cap);
    pair->list.array = array;
    pair->kind = PAIR_ARRAY;
    pair->cap = cap;
}

/* The pair's first series came. */
static void count_live(struct head_index *index, const struct index_pair *pair,
                       struct index_name *name)
{
    name->value_bytes += head_pool_usable(pair->value_len);
    index->live_pairs++;
    index->live_names += name->live++ == 0;
}

/* The pair's last series left. */
static void count_dead(struct head_index *index, const struct index_pair *pair,
                       struct index_name *name)
{
    name->value_bytes -= head_pool_usable(pair->value_len);
    index->live_pairs--;
    index->live_names -= --name->live == 0;
}

void index_add_slot(struct head_index *index, const uint32_t *ids, size_t count, uint32_t slot)
{
    for (size_t i = 0; i < count; i++) {
        struct index_pair *pair = index_pair_at(index, ids[i]);
        struct index_name *name = index_name_at(index, pair->name);
        name->series++;
        if (pair->count == 0)
            count_live(index, pair, name);
        pair_make_room(index, pair);
        if (pair->kind == PAIR_SET)
            postings_add(pair->list.set, slot);
        else
            insert_sorted(pair->kind == PAIR_INLINE ? pair->list.slots : pair->list.array,
                          pair->count, slot);
        pair->count++;
    }
    postings_add(index->all, slot);
    index->changes++;
    index->series++;
}

static void remove_sorted(uint32_t *slots, uint32_t count, uint32_t slot)
{
    uint32_t at = 0;
    while (at < count && slots[at] != slot)
        at++;
    NX_ASSERT(at < count);
    memmove(&slots[at], &slots[at + 1], (count - at - 1) * sizeof(*slots));
}

/* Gives up the memory of a list that became empty. */
static void pair_reset_list(struct head_index *index, struct index_pair *pair)
{
    if (pair->kind == PAIR_SET)
        postings_free(pair->list.set);
    if (pair->kind == PAIR_ARRAY)
        array_free(index, pair->list.array, pair->cap);
    pair->kind = PAIR_INLINE;
    pair->cap = 0;
}

void index_remove_slot(struct head_index *index, const uint32_t *ids, size_t count, uint32_t slot)
{
    for (size_t i = 0; i < count; i++) {
        struct index_pair *pair = index_pair_at(index, ids[i]);
        NX_ASSERT(pair->count > 0);
        if (pair->kind == PAIR_SET)
            postings_remove(pair->list.set, slot);
        else
            remove_sorted(pair->kind == PAIR_INLINE ? pair->list.slots : pair->list.array,
                          pair->count, slot);
        struct index_name *name = index_name_at(index, pair->name);
        name->series--;
        if (--pair->count > 0)
            continue;
        count_dead(index, pair, name);
        pair_reset_list(index, pair);
        list_dead(index, ids[i], pair);
    }
    postings_remove(index->all, slot);
    index->changes++;
    index->series--;
}

void index_fill_pair(struct head_index *index, uint32_t id, const uint32_t *slots, uint32_t count)
{
    struct index_pair *pair = index_pair_at(index, id);
    NX_ASSERT(pair->kind == PAIR_INLINE && pair->count == 0);
    struct index_name *name = index_name_at(index, pair->name);
    pair->count = count;
    name->series += count;
    if (count > 0)
        count_live(index, pair, name);
    if (count > PAIR_ARRAY_SLOTS) {
        pair->list.set = postings_from_array(slots, count);
        pair->kind = PAIR_SET;
    } else if (count > PAIR_INLINE_SLOTS) {
        pair->cap = (uint8_t)(head_pool_usable(count * sizeof(*slots)) / sizeof(*slots));
        pair->list.array = array_new(index, pair->cap);
        memcpy(pair->list.array, slots, count * sizeof(*slots));
        pair->kind = PAIR_ARRAY;
    } else {
        memcpy(pair->list.slots, slots, count * sizeof(*slots));
    }
}

void index_fill_all(struct head_index *index, const uint32_t *slots, size_t count)
{
    postings_add_many(index->all, slots, count);
    index->series += count;
    index->changes += count;
}

void index_union_pair(const struct head_index *index, uint32_t id, struct postings *set)
{
    const struct index_pair *pair = index_pair_at(index, id);
    if (pair->count == 0)
        return;
    if (pair->kind == PAIR_SET)
        postings_or(set, pair->list.set);
    else
        postings_add_many(set, pair_slots(pair), pair->count);
}

/* ---- pins and collection ---- */

void index_pin(struct head_index *index)
{
    index->pins++;
}

void index_unpin(struct head_index *index)
{
    NX_ASSERT(index->pins > 0);
    index->pins--;
}

static void pair_free(struct head_index *index, uint32_t id, struct index_pair *pair)
    NX_REQUIRES(index->lock)
{
    struct index_name *name = index_name_at(index, pair->name);
    uint64_t hash = index_hash_value(index, pair->name, index_pair_value(pair));
    bool was_there = id_table_remove(&index->pair_table, (uint32_t)hash, id);
    NX_ASSERT(was_there);
    name->has_freed = true;
    head_pool_free(&index->pool, (void *)(uintptr_t)pair->value, pair->value_len);
    index->text_bytes -= head_pool_usable(pair->value_len);
    pair->value = NULL;
}

/* Drops the freed pairs of a name, and the name with its last pair. */
static void name_drop_freed(struct head_index *index, uint32_t id) NX_REQUIRES(index->lock)
{
    struct index_name *name = index_name_at(index, id);
    if (!name->has_freed)
        return;
    name->has_freed = false;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < name->pair_count; i++) {
        if (index_pair_at(index, name->pairs[i])->value != NULL)
            name->pairs[kept++] = name->pairs[i];
    }
    name->pair_count = kept;
    if (kept > 0)
        return;
    NX_ASSERT(name->live == 0 && name->series == 0 && name->value_bytes == 0);
    bool was_there = id_table_remove(&index->name_table, (uint32_t)name->hash, id);
    NX_ASSERT(was_there);
    index->heap_bytes -= name_text_bytes(name->len) + name->pair_cap * sizeof(*name->pairs);
    index->text_bytes -= name_text_bytes(name->len);
    nx_free(name->text);
    nx_free(name->pairs);
    *name = (struct index_name){.pair_count = index->name_free};
    index->name_free = id;
}

void index_collect(struct head_index *index)
{
    if (index->pins > 0 || index->dead_count == 0)
        return;
    uint32_t freed = 0;
    for (uint32_t i = 0; i < index->dead_count; i++) {
        uint32_t id = index->dead[i];
        struct index_pair *pair = index_pair_at(index, id);
        pair->is_dead = false;
        if (pair->count > 0)
            continue;
        pair_free(index, id, pair);
        index->dead[freed++] = id;
    }
    /* The ids become free only after no name lists them any more. */
    for (uint32_t i = 0; i < freed; i++)
        name_drop_freed(index, index_pair_at(index, index->dead[i])->name);
    for (uint32_t i = 0; i < freed; i++) {
        index_pair_at(index, index->dead[i])->name = index->pair_free;
        index->pair_free = index->dead[i];
    }
    index->dead_count = 0;
    if (index->dead_cap > DEAD_KEPT) {
        nx_free(index->dead);
        index->dead = NULL;
        index->dead_cap = 0;
    }
}

/* ---- numbers ---- */

/* Measuring walks all pairs: done again only when a sixteenth of the series changed. */
static uint64_t measured_sets(struct head_index *index) NX_REQUIRES(index->lock)
{
    uint64_t changed = index->changes - index->sets_measured_at;
    if (index->sets_bytes != 0 && changed * 16 < index->series)
        return index->sets_bytes;
    uint64_t bytes = postings_memory(index->all);
    for (uint32_t id = 0; id < index->pair_limit; id++) {
        const struct index_pair *pair = index_pair_at(index, id);
        if (pair->value != NULL && pair->kind == PAIR_SET)
            bytes += postings_memory(pair->list.set);
    }
    index->sets_bytes = bytes;
    index->sets_measured_at = index->changes;
    return bytes;
}

uint64_t index_bytes(struct head_index *index)
{
    return (uint64_t)index->pair_limit * sizeof(struct index_pair) +
           (uint64_t)index->name_limit * sizeof(struct index_name) +
           id_table_bytes(&index->pair_table) + id_table_bytes(&index->name_table) +
           index->pool.bytes + index->heap_bytes + (uint64_t)index->dead_cap * 4 +
           measured_sets(index) - index->text_bytes;
}

uint64_t index_text_bytes(const struct head_index *index)
{
    return index->text_bytes;
}
