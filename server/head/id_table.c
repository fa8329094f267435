/* SPDX-License-Identifier: Apache-2.0 */
/* id_table.c - growing, inserting, removing. */
#include "id_table.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#define ID_TABLE_ENTRIES_MIN 64u
#define ID_TABLE_MAPPED_MIN  (1u << 20) /* bytes; larger tables are mapped, for huge pages */

static struct id_table_entry *entries_new(size_t count)
{
    size_t bytes = count * sizeof(struct id_table_entry);
    return bytes >= ID_TABLE_MAPPED_MIN ? nx_map_alloc(bytes) : nx_calloc(1, bytes);
}

static void entries_free(struct id_table_entry *entries, size_t count)
{
    size_t bytes = count * sizeof(*entries);
    if (bytes >= ID_TABLE_MAPPED_MIN)
        nx_map_free(entries, bytes);
    else
        nx_free(entries);
}

void id_table_deinit(struct id_table *table)
{
    if (table->mask != 0)
        entries_free(table->entries, (size_t)table->mask + 1);
    *table = (struct id_table){0};
}

static void place(struct id_table_entry *entries, uint32_t mask, struct id_table_entry entry)
{
    uint32_t at = entry.hash & mask;
    while (entries[at].id_plus_1 != 0)
        at = (at + 1) & mask;
    entries[at] = entry;
}

static void resize(struct id_table *table, size_t entry_count)
{
    NX_ASSERT(entry_count <= (size_t)1 << 31);
    struct id_table_entry *entries = entries_new(entry_count);
    uint32_t mask = (uint32_t)(entry_count - 1);
    size_t old_count = table->mask == 0 ? 0 : (size_t)table->mask + 1;
    for (size_t i = 0; i < old_count; i++) {
        if (table->entries[i].id_plus_1 != 0)
            place(entries, mask, table->entries[i]);
    }
    if (old_count > 0)
        entries_free(table->entries, old_count);
    table->entries = entries;
    table->mask = mask;
}

/* Whether `count` ids fit into `entries` places at a load of 4/5. */
static bool fits(uint64_t count, uint64_t entries)
{
    return count * 5 <= entries * 4;
}

void id_table_reserve(struct id_table *table, uint32_t count)
{
    size_t entries = table->mask == 0 ? ID_TABLE_ENTRIES_MIN : (size_t)table->mask + 1;
    while (!fits(count, entries))
        entries *= 2;
    if (table->mask == 0 || entries > (size_t)table->mask + 1)
        resize(table, entries);
}

void id_table_insert(struct id_table *table, uint32_t hash, uint32_t id)
{
    NX_ASSERT(id != ID_TABLE_NONE);
    if (table->mask == 0 || !fits((uint64_t)table->count + 1, (uint64_t)table->mask + 1))
        id_table_reserve(table, table->count + 1);
    place(table->entries, table->mask, (struct id_table_entry){.hash = hash, .id_plus_1 = id + 1});
    table->count++;
}

/* Moves later entries of the run into the gap, each unless that would put it before its home. */
static void close_gap(struct id_table *table, uint32_t gap)
{
    struct id_table_entry *entries = table->entries;
    uint32_t mask = table->mask;
    for (uint32_t at = (gap + 1) & mask; entries[at].id_plus_1 != 0; at = (at + 1) & mask) {
        uint32_t home = entries[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            entries[gap] = entries[at];
            gap = at;
        }
    }
    entries[gap] = (struct id_table_entry){0};
}

bool id_table_remove(struct id_table *table, uint32_t hash, uint32_t id)
{
    if (table->mask == 0)
        return false;
    for (uint32_t at = hash & table->mask; table->entries[at].id_plus_1 != 0;
         at = (at + 1) & table->mask) {
        if (table->entries[at].hash != hash || table->entries[at].id_plus_1 != id + 1)
            continue;
        close_gap(table, at);
        table->count--;
        return true;
    }
    return false;
}
