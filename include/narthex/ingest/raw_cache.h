/* raw_cache.h - label bytes that were seen before -> the series that they named.
 *
 * The key is the 128-bit XXH3 of the raw region with this process' secret: a hit proves that exactly these bytes
 * were parsed and validated before, so they need not be again. A ref may have gone stale; the head finds out.
 *
 *   table of entries, open addressing; a key lives within PROBE_MAX places of its home:
 *   home -> [k][k][k][ ] ...     a key goes before the first whose home is later, those behind move on by one; where
 *                                that would take one out of its window, the first that was not hit is replaced
 *                                (second chance)
 *
 * Threads  look-ups under a shared lock, a request at a time; inserts under the exclusive one.
 * Limits   2 x active series + 64k entries of 24 bytes; 3/5 to 3/4 full while it grows, by a quarter at a time: 32 to
 *          40 bytes an entry.
 */
#pragma once

#include "narthex/base/hash.h"
#include "narthex/base/thread.h"
#include "narthex/head/head.h"

#include <stdint.h>

struct raw_cache_entry;

struct raw_cache {
    struct nx_rwlock lock;
    struct raw_cache_entry *entries; /* [L:lock] */
    uint64_t capacity;               /* [L:lock] */
    uint64_t count;                  /* [L:lock] */
};

void raw_cache_init(struct raw_cache *cache);
void raw_cache_deinit(struct raw_cache *cache);

/* Fills out_refs[i], slot HEAD_SLOT_NONE where keys[i] is not known. Returns the number of hits. Cost: about one cache
 * miss per key, overlapped. */
size_t raw_cache_find(struct raw_cache *cache, const struct nx_hash128 *keys, size_t count,
                      struct series_ref *out_refs);

/* Remembers keys[i] -> refs[i] (slot NONE is skipped). The table grows while it holds less than entries_max. */
void raw_cache_insert(struct raw_cache *cache, const struct nx_hash128 *keys,
                      const struct series_ref *refs, size_t count, uint64_t entries_max);

void raw_cache_clear(struct raw_cache *cache);
uint64_t raw_cache_bytes(struct raw_cache *cache);
