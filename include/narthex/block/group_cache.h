/* group_cache.h - decompressed chunk groups, shared by all queries, bounded in bytes, CLOCK eviction. */
#pragma once

#include "narthex/base/str.h"

#include <stddef.h>
#include <stdint.h>

struct group_cache;
struct group_cache *group_cache_new(size_t bytes_max);
void group_cache_free(struct group_cache *cache);

struct group_cache_entry; /* referenced while in use */
/* NULL: not there. */
struct group_cache_entry *group_cache_get(struct group_cache *cache, uint64_t block_id,
                                          uint64_t offset);
/* Takes `data` (nx_alloc'd, checked) and returns the entry, referenced; when another thread was faster, that one's. */
struct group_cache_entry *group_cache_put(struct group_cache *cache, uint64_t block_id,
                                          uint64_t offset, uint8_t *take_data, size_t bytes);
struct nx_bytes group_cache_data(const struct group_cache_entry *entry);
void group_cache_release(struct group_cache *cache, struct group_cache_entry *entry);
void group_cache_drop_block(struct group_cache *cache, uint64_t block_id);
size_t group_cache_bytes(struct group_cache *cache);
/* Another bound, from now on: what exceeds it goes at once. */
void group_cache_set_max(struct group_cache *cache, size_t bytes_max);
