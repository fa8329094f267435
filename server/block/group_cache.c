/* SPDX-License-Identifier: Apache-2.0 */
/* group_cache.c - decompressed groups by (block, offset).
 *
 *   slots[] -> entry -> entry      chains by hash
 *   ring    entry <-> entry ...    all entries in a circle; the hand takes the next that is not in use and was not
 *                                  used since its last visit (CLOCK)
 *
 * Invariants  1. an entry in the table holds one reference of its own; whoever got it holds another.
 *             2. references are only added under the lock, so that an entry with one reference stays unused while the
 *                lock is held; they are dropped without it.
 *             3. bytes counts the entries in the table. Those in use are not evicted: it may exceed the bound by them.
 */
#include "narthex/block/group_cache.h"

#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"
#include "narthex/base/thread.h"

#include <stdatomic.h>

/* Rows of METRIC_GROUP_CACHE. */
enum {
    OUTCOME_HIT,
    OUTCOME_MISS,
};

#define CACHE_ENTRY_OVERHEAD                                                                       \
 (sizeof(struct group_cache_entry) + 32) /* chain slot and malloc's own */

struct group_cache_entry {
    struct group_cache_entry *chain;          /* [L:lock] */
    struct group_cache_entry *before, *after; /* [L:lock] the ring */
    uint64_t block_id, offset;                /* [I] */
    uint8_t *data;                            /* [I] owned */
    size_t bytes;                             /* [I] */
    _Atomic uint32_t refs;                    /* [A] acq_rel down */
    bool is_recent;                           /* [L:lock] */
};

struct group_cache {
    struct nx_mutex lock;
    size_t bytes_max;                 /* [L:lock] */
    size_t bytes;                     /* [L:lock] */
    struct group_cache_entry **slots; /* [L:lock] */
    size_t slot_count, entry_count;   /* [L:lock] a power of two */
    struct group_cache_entry *hand;   /* [L:lock] NULL when empty */
};

struct group_cache *group_cache_new(size_t bytes_max)
{
    struct group_cache *cache = nx_calloc(1, sizeof(*cache));
    mutex_init(&cache->lock, LOCK_RANK_GROUP_CACHE);
    cache->bytes_max = bytes_max;
    cache->slot_count = 1024;
    cache->slots = nx_calloc(cache->slot_count, sizeof(struct group_cache_entry *));
    return cache;
}

static void entry_unref(struct group_cache_entry *entry)
{
    if (atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) != 1)
        return;
    nx_free(entry->data);
    nx_free(entry);
}

static struct group_cache_entry **slot_of(const struct group_cache *cache, uint64_t block_id,
                                          uint64_t offset)
{
    return &cache->slots[nx_hash_mix(block_id, offset) & (cache->slot_count - 1)];
}

static void ring_remove(struct group_cache *cache, struct group_cache_entry *entry)
{
    if (entry->after == entry) {
        cache->hand = NULL;
        return;
    }
    entry->before->after = entry->after;
    entry->after->before = entry->before;
    if (cache->hand == entry)
        cache->hand = entry->after;
}

/* Just behind the hand: the last place that it reaches. */
static void ring_add(struct group_cache *cache, struct group_cache_entry *entry)
{
    if (cache->hand == NULL) {
        entry->before = entry->after = cache->hand = entry;
        return;
    }
    entry->after = cache->hand;
    entry->before = cache->hand->before;
    entry->before->after = entry;
    entry->after->before = entry;
}

/* Out of the table; freed when nobody uses it. */
static void entry_drop(struct group_cache *cache, struct group_cache_entry *entry)
{
    struct group_cache_entry **link = slot_of(cache, entry->block_id, entry->offset);
    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    ring_remove(cache, entry);
    cache->bytes -= entry->bytes + CACHE_ENTRY_OVERHEAD;
    cache->entry_count--;
    entry_unref(entry);
}

/* Two rounds at most: the first may only clear marks. */
static void cache_shrink(struct group_cache *cache)
{
    size_t visits = 2 * cache->entry_count;
    while (cache->bytes > cache->bytes_max && cache->hand != NULL && visits-- > 0) {
        struct group_cache_entry *entry = cache->hand;
        bool is_used = atomic_load_explicit(&entry->refs, memory_order_acquire) > 1;
        if (is_used || entry->is_recent) {
            entry->is_recent = false;
            cache->hand = entry->after;
        } else {
            entry_drop(cache, entry);
        }
    }
}

static void cache_grow_slots(struct group_cache *cache)
{
    if (cache->entry_count < cache->slot_count)
        return;
    nx_free(cache->slots);
    cache->slot_count *= 2;
    cache->slots = nx_calloc(cache->slot_count, sizeof(struct group_cache_entry *));
    struct group_cache_entry *entry = cache->hand;
    for (size_t i = 0; i < cache->entry_count; i++, entry = entry->after) {
        struct group_cache_entry **slot = slot_of(cache, entry->block_id, entry->offset);
        entry->chain = *slot;
        *slot = entry;
    }
}

void group_cache_free(struct group_cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->hand != NULL)
        entry_drop(cache, cache->hand);
    nx_free(cache->slots);
    mutex_deinit(&cache->lock);
    nx_free(cache);
}

static struct group_cache_entry *cache_find(struct group_cache *cache, uint64_t block_id,
                                            uint64_t offset)
{
    struct group_cache_entry *entry = *slot_of(cache, block_id, offset);
    while (entry != NULL && (entry->block_id != block_id || entry->offset != offset))
        entry = entry->chain;
    if (entry != NULL) {
        atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
        entry->is_recent = true;
    }
    return entry;
}

struct group_cache_entry *group_cache_get(struct group_cache *cache, uint64_t block_id,
                                          uint64_t offset)
{
    mutex_lock(&cache->lock);
    struct group_cache_entry *entry = cache_find(cache, block_id, offset);
    mutex_unlock(&cache->lock);
    metrics_add_at(METRIC_GROUP_CACHE, entry != NULL ? OUTCOME_HIT : OUTCOME_MISS, 1);
    return entry;
}

struct group_cache_entry *group_cache_put(struct group_cache *cache, uint64_t block_id,
                                          uint64_t offset, uint8_t *take_data, size_t bytes)
{
    struct group_cache_entry *entry = nx_calloc(1, sizeof(*entry));
    entry->block_id = block_id;
    entry->offset = offset;
    entry->data = take_data;
    entry->bytes = bytes;
    atomic_init(&entry->refs, 2);
    mutex_lock(&cache->lock);
    struct group_cache_entry *other = cache_find(cache, block_id, offset);
    if (other == NULL) {
        cache->bytes += bytes + CACHE_ENTRY_OVERHEAD;
        cache_grow_slots(cache);
        struct group_cache_entry **slot = slot_of(cache, block_id, offset);
        entry->chain = *slot;
        *slot = entry;
        ring_add(cache, entry);
        cache->entry_count++;
        cache_shrink(cache);
    }
    mutex_unlock(&cache->lock);
    if (other == NULL)
        return entry;
    nx_free(entry->data);
    nx_free(entry);
    return other;
}

struct nx_bytes group_cache_data(const struct group_cache_entry *entry)
{
    return (struct nx_bytes){entry->data, entry->bytes};
}

void group_cache_release(struct group_cache *cache, struct group_cache_entry *entry)
{
    (void)cache;
    entry_unref(entry);
}

void group_cache_drop_block(struct group_cache *cache, uint64_t block_id)
{
    mutex_lock(&cache->lock);
    struct group_cache_entry *entry = cache->hand;
    for (size_t left = cache->entry_count; left > 0; left--) {
        struct group_cache_entry *after = entry->after;
        if (entry->block_id == block_id)
            entry_drop(cache, entry);
        entry = after;
    }
    mutex_unlock(&cache->lock);
}

void group_cache_set_max(struct group_cache *cache, size_t bytes_max)
{
    mutex_lock(&cache->lock);
    cache->bytes_max = bytes_max;
    cache_shrink(cache);
    mutex_unlock(&cache->lock);
}

size_t group_cache_bytes(struct group_cache *cache)
{
    mutex_lock(&cache->lock);
    size_t bytes = cache->bytes;
    mutex_unlock(&cache->lock);
    return bytes;
}
