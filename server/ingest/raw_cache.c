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
    *cache = (struct raw_cache){.mask = CAPACITY_MIN - 1};
    rwlock_init(&cache->lock, LOCK_RANK_RAW_CACHE);
    cache->entries = entries_new(CAPACITY_MIN);
}

void raw_cache_deinit(struct raw_cache *cache)
{
    if (cache->entries == NULL)
        return;
    nx_map_free(cache->entries, (cache->mask + 1) * sizeof(*cache->entries));
    cache->entries = NULL;
    rwlock_deinit(&cache->lock);
}

static bool key_equal(const struct nx_hash128 *a, const struct nx_hash128 *b)
{
    return a->low == b->low && a->high == b->high;
}

/* NULL when the key is not in its window. */
static struct raw_cache_entry *find_entry(const struct raw_cache *cache,
                                          const struct nx_hash128 *key)
{
    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct raw_cache_entry *entry = &cache->entries[(key->low + i) & cache->mask];
        if (entry->slot == HEAD_SLOT_NONE)
            return NULL;
        if (key_equal(&entry->key, key))
            return entry;
    }
    return NULL;
}

size_t raw_cache_find(struct raw_cache *cache, const struct nx_hash128 *keys, size_t count,
                      struct series_ref *out_refs)
{
    size_t hits = 0;
    rwlock_read_lock(&cache->lock);
    for (size_t i = 0; i < count && i < PREFETCH_AHEAD; i++)
        __builtin_prefetch(&cache->entries[keys[i].low & cache->mask]);
    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_AHEAD < count)
            __builtin_prefetch(&cache->entries[keys[i + PREFETCH_AHEAD].low & cache->mask]);
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
        struct raw_cache_entry *entry = &cache->entries[(home + i) & cache->mask];
        uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
        atomic_store_explicit(&entry->generation, generation & GENERATION_MASK,
                              memory_order_relaxed);
    }
}

/* Where the key goes: its own entry, the first free one, or the first that was not hit. When all of the window were,
 * none is any more, and its home is taken: windows overlap, so cooling at each insert would cool what is hit, too. */
static struct raw_cache_entry *place_for(struct raw_cache *cache, const struct nx_hash128 *key)
{
    struct raw_cache_entry *victim = NULL;
    for (uint64_t i = 0; i < PROBE_MAX; i++) {
        struct raw_cache_entry *entry = &cache->entries[(key->low + i) & cache->mask];
        if (entry->slot == HEAD_SLOT_NONE || key_equal(&entry->key, key))
            return entry;
        uint32_t generation = atomic_load_explicit(&entry->generation, memory_order_relaxed);
        if (victim == NULL && (generation & HOT_BIT) == 0)
            victim = entry;
    }
    if (victim != NULL)
        return victim;
    cool_window(cache, key->low);
    return &cache->entries[key->low & cache->mask];
}

static void insert_one(struct raw_cache *cache, const struct nx_hash128 *key, struct series_ref ref)
{
    struct raw_cache_entry *entry = place_for(cache, key);
    if (entry->slot == HEAD_SLOT_NONE)
        cache->count++;
    entry->key = *key;
    entry->slot = ref.slot;
    atomic_store_explicit(&entry->generation, ref.generation & GENERATION_MASK,
                          memory_order_relaxed);
}

static void grow(struct raw_cache *cache)
{
    struct raw_cache_entry *old = cache->entries;
    uint64_t old_capacity = cache->mask + 1;
    cache->entries = entries_new(old_capacity * 2);
    cache->mask = old_capacity * 2 - 1;
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
        uint64_t capacity = cache->mask + 1;
        if (cache->count * 2 >= capacity && capacity * 2 <= entries_max * 2 + CAPACITY_MIN)
            grow(cache);
        insert_one(cache, &keys[i], refs[i]);
    }
    rwlock_write_unlock(&cache->lock);
}

void raw_cache_clear(struct raw_cache *cache)
{
    rwlock_write_lock(&cache->lock);
    for (uint64_t i = 0; i <= cache->mask; i++)
        cache->entries[i].slot = HEAD_SLOT_NONE;
    cache->count = 0;
    rwlock_write_unlock(&cache->lock);
}

uint64_t raw_cache_bytes(struct raw_cache *cache)
{
    rwlock_read_lock(&cache->lock);
    uint64_t bytes = (cache->mask + 1) * sizeof(*cache->entries);
    rwlock_read_unlock(&cache->lock);
    return bytes;
}
