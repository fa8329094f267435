/* id_table.h - from a hash to ids whose keys the owner compares: series, pairs and names are found through one.
 *
 *   entries   [ hash 32 | id + 1 ] [ 0 | 0 ] ...    open addressing, linear probing, at most 4/5 full, power of two
 *
 * Cost     8 bytes an entry, 10 to 20 an id. Growing moves entries by the hash that they carry: no key is touched.
 * Remove   closes the gap by shifting back, so there are no tombstones and look-ups stay short under churn.
 * Threads  the owner's lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_TABLE_NONE UINT32_MAX

struct id_table_entry {
    uint32_t hash;
    uint32_t id_plus_1; /* 0: empty */
};

struct id_table {
    struct id_table_entry *entries;
    uint32_t count;
    uint32_t mask; /* entries - 1; 0 while there are none */
};

void id_table_deinit(
    struct id_table *table); /* safe on a zeroed struct, which is an empty table, and twice */
void id_table_insert(struct id_table *table, uint32_t hash, uint32_t id);
bool id_table_remove(struct id_table *table, uint32_t hash, uint32_t id); /* false: not there */
void id_table_reserve(struct id_table *table, uint32_t count);

static inline size_t id_table_bytes(const struct id_table *table)
{
    return table->mask == 0 ? 0 : ((size_t)table->mask + 1) * sizeof(*table->entries);
}

static inline void id_table_prefetch(const struct id_table *table, uint32_t hash)
{
    if (table->mask != 0)
        __builtin_prefetch(&table->entries[hash & table->mask]);
}

/* Walks the ids under `hash`: set *at to hash before the first call; ID_TABLE_NONE ends it. */
static inline uint32_t id_table_next(const struct id_table *table, uint32_t hash, uint32_t *at)
{
    if (table->mask == 0)
        return ID_TABLE_NONE;
    for (;;) {
        const struct id_table_entry *entry = &table->entries[*at & table->mask];
        if (entry->id_plus_1 == 0)
            return ID_TABLE_NONE;
        (*at)++;
        if (entry->hash == hash)
            return entry->id_plus_1 - 1;
    }
}
