/* SPDX-License-Identifier: Apache-2.0
 *
 * raw_cache.c - see raw_cache.h for the idea and the table's shape.
 */
#include "narthex/ingest/raw_cache.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include <stdatomic.h>
#include <string.h>

#define PROBE_MAX       16u
#define MOVED_MAX       256u /* entries that one insert moves; runs are shorter below 3/4 */
#define CAPACITY_MIN    (1u << 12)
#define PREFETCH_AHEAD  16u
#define GENERATION_MASK 0x7fffffffu
#define HOT_BIT         0x80000000u

/* slot HEAD_SLOT_NONE marks an empty entry. The top bit of `generation` says "hit since its window was cooled". */
struct raw_cache_entry {
    struct nx_hash128 key;
    uint32_t slot;
    _Atomic uint32_t generation;
};
static_assert(sizeof(struct raw_cache_entry) == 24, "the memory budget counts 24 bytes");

static struct raw_cache_entry *entries_new(uint64_t capacity)
{
    struct raw_cache_entry *entries = nx_map_alloc(capacity * sizeof(*entries));
    for (uint64_t i = 0; i < capacity; i++)
        entries[i].slot = HEAD_SLOT_NONE;
    return entries;
}

void raw_cache_init(struct raw_cache *cache)
{
    *cache = (struct raw_cache){.capacity = CAPACITY_MIN};
    rwlock_init(&cache->lock, LOCK_RANK_RAW_CACHE);
    cache->entries = entries_new(CAPACITY_MIN);
}

void raw_cache_deinit(struct raw_cache *cache)
{
    if (cache->entries == NULL)
        return;
    nx_map_free(cache->entries, cache->capacity * sizeof(*cache->entries));
    cache->entries = NULL;
    rwlock_deinit(&cache->lock);
}

static bool key_equal(const struct nx_hash128 *a, const struct nx_hash128 *b)
{
    return a->low == b->low && a->high == b->high;
}

/* Any capacity will do: the high half of the hash says how far into the table. */
static uint64_t home_of(const struct raw_cache *cache, const struct nx_hash128 *key)
{
    return (key->low >> 32) * cache->capacity >> 32;
}

/* The place `steps` (fewer than the capacity) after `at`; the table is a ring. */
static uint64_t place_after(const struct raw_cache *cache, uint64_t at, uint64_t steps)
{
    uint64_t place = at + steps;
    return place < cache->capacity ? place : place - cache->capacity;
}

/* NULL when the key is not in its window. */
static struct raw_cache_entry *find_entry(const struct raw_cache *cache,
                                          const struct nx_hash128 *key)
{
    uint64_t home = home_of(cache, key);
    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct raw_cache_entry *entry = &cache->entries[place_after(cache, home, i)];
        if (entry->slot == HEAD_SLOT_NONE)
            return NULL;
        if (key_equal(&entry->key, key))
            return entry;
    }
    return NULL;
}

/* Most keys are within two or three places of their home. */
static void look_at(const struct raw_cache *cache, const struct nx_hash128 *key)
{
    const struct raw_cache_entry *home = &cache->entries[home_of(cache, key)];
    __builtin_prefetch(home);
    __builtin_prefetch((const char *)home + 64);
}

size_t raw_cache_find(struct raw_cache *cache, const struct nx_hash128 *keys, size_t count,
                      struct series_ref *out_refs)
{
    size_t hits = 0;
    rwlock_read_lock(&cache->lock);
    for (size_t i = 0; i < count && i < PREFETCH_AHEAD; i++)
        look_at(cache, &keys[i]);
    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count)
            look_at(cache, &keys[i + PREFETCH_AHEAD]);
        struct raw_cache_entry *entry = find_entry(cache, &keys[i]);
        if (entry == NULL) {
            out_refs[i] = (struct series_ref){.slot = HEAD_SLOT_NONE, .generation = 0};
            continue;
        }
        uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
        if ((generation & HOT_BIT) == 0)
            atomic_store_explicit(&entry->generation, generation | HOT_BIT, memory_order_relaxed);
        out_refs[i] =
            (struct series_ref){.slot = entry->slot, .generation = generation & GENERATION_MASK};
        hits++;
    }
    rwlock_read_unlock(&cache->lock);
    return hits;
}

static void cool_window(struct raw_cache *cache, uint64_t home)
{
    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct raw_cache_entry *entry = &cache->entries[place_after(cache, home, i)];
        uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
        atomic_store_explicit(&entry->generation, generation & GENERATION_MASK,
                              memory_order_relaxed);
    }
}

/* The first of the window that was not hit. When all were, none is any more, and the home is taken: windows overlap,
 * so cooling at each insert would cool what is hit, too. */
static struct raw_cache_entry *replaceable(struct raw_cache *cache, uint64_t home)
{
    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct raw_cache_entry *entry = &cache->entries[place_after(cache, home, i)];
        uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
        if ((generation & HOT_BIT) == 0)
            return entry;
    }
    cool_window(cache, home);
    return &cache->entries[home];
}

/* How far an entry is from its home. */
static uint64_t distance(const struct raw_cache *cache, uint64_t place)
{
    uint64_t home = home_of(cache, &cache->entries[place].key);
    return place >= home ? place - home : place + cache->capacity - home;
}

/* Makes way for a key that is not in the table: moves what comes behind on by one. NULL: some of it cannot move. */
static struct raw_cache_entry *make_way(struct raw_cache *cache, uint64_t home)
{
    uint64_t at = home;
    uint64_t steps = 0;
    while (cache->entries[at].slot != HEAD_SLOT_NONE && distance(cache, at) >= steps) {
        if (++steps == PROBE_MAX)
            return NULL;
        at = place_after(cache, at, 1);
    }
    uint64_t end = at;
    for (uint64_t moved = 0; cache->entries[end].slot != HEAD_SLOT_NONE; moved++) {
        if (moved == MOVED_MAX || distance(cache, end) == PROBE_MAX - 1)
            return NULL;
        end = place_after(cache, end, 1);
    }
    while (end != at) {
        uint64_t before = end == 0 ? cache->capacity - 1 : end - 1;
        struct raw_cache_entry *to = &cache->entries[end];
        struct raw_cache_entry *from = &cache->entries[before];
        to->key = from->key;
        to->slot = from->slot;
        atomic_store_explicit(&to->generation,
                              atomic_load_explicit(&from->generation, memory_order_relaxed),
                              memory_order_relaxed);
        end = before;
    }
    cache->count++;
    return &cache->entries[at];
}

static void insert_one(struct raw_cache *cache, const struct nx_hash128 *key, struct series_ref ref)
{
    struct raw_cache_entry *entry = find_entry(cache, key);
    if (entry == NULL)
        entry = make_way(cache, home_of(cache, key));
    if (entry == NULL)
        entry = replaceable(cache, home_of(cache, key));
    entry->key = *key;
    entry->slot = ref.slot;
    atomic_store_explicit(&entry->generation, ref.generation & GENERATION_MASK,
                          memory_order_relaxed);
}

static void grow(struct raw_cache *cache)
{
    struct raw_cache_entry *old = cache->entries;
    uint64_t old_capacity = cache->capacity;
    cache->capacity += cache->capacity / 4;
    cache->entries = entries_new(cache->capacity);
    cache->count = 0;
    for (uint64_t i = 0; i < old_capacity; i++) {
        if (old[i].slot == HEAD_SLOT_NONE)
            continue;
        uint32_t generation =
            atomic_load_explicit(&old[i].generation, memory_order_relaxed) & GENERATION_MASK;
        insert_one(cache, &old[i].key,
                   (struct series_ref){.slot = old[i].slot, .generation = generation});
    }
    nx_map_free(old, old_capacity * sizeof(*old));
}

void raw_cache_insert(struct raw_cache *cache, const struct nx_hash128 *keys,
                      const struct series_ref *refs, size_t count, uint64_t entries_max)
{
    rwlock_write_lock(&cache->lock);
    for (size_t i = 0; i < count; i++) {
        if (refs[i].slot == HEAD_SLOT_NONE)
            continue;
        bool is_full = cache->count * 4 >= cache->capacity * 3;
        if (is_full && cache->capacity + cache->capacity / 4 <= entries_max + CAPACITY_MIN)
            grow(cache);
        insert_one(cache, &keys[i], refs[i]);
    }
    rwlock_write_unlock(&cache->lock);
}

void raw_cache_clear(struct raw_cache *cache)
{
    rwlock_write_lock(&cache->lock);
    for (uint64_t i = 0; i < cache->capacity; i++)
        cache->entries[i].slot = HEAD_SLOT_NONE;
    cache->count = 0;
    rwlock_write_unlock(&cache->lock);
}

uint64_t raw_cache_bytes(struct raw_cache *cache)
{
    rwlock_read_lock(&cache->lock);
    uint64_t bytes = cache->capacity * sizeof(*cache->entries);
    rwlock_read_unlock(&cache->lock);
    return bytes;
}
