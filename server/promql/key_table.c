/* SPDX-License-Identifier: Apache-2.0 */
/* key_table.c - open addressing with linear probing, at most two thirds full. */
#include "key_table.h"

#include "narthex/base/hash.h"

#define KEY_TABLE_SLOTS_MIN 64

void key_table_init(struct key_table *table, struct arena *arena, uint64_t seed)
{
    *table = (struct key_table){.arena = arena, .seed = seed};
}

static bool grow_slots(struct key_table *table)
{
    size_t slot_count = table->slot_count == 0 ? KEY_TABLE_SLOTS_MIN : table->slot_count * 2;
    struct key_slot *slots = arena_calloc(table->arena, slot_count, sizeof(*slots));
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < table->slot_count; i++) {
        if (table->slots[i].number == 0)
            continue;
        size_t at = table->slots[i].hash & (slot_count - 1);
        while (slots[at].number != 0)
            at = (at + 1) & (slot_count - 1);
        slots[at] = table->slots[i];
    }
    table->slots = slots;
    table->slot_count = slot_count;
    return true;
}

static bool grow_keys(struct key_table *table)
{
    size_t cap = table->cap == 0 ? KEY_TABLE_SLOTS_MIN / 2 : table->cap * 2;
    struct nx_str *keys =
        arena_grow(table->arena, table->keys, table->cap * sizeof(*keys), cap * sizeof(*keys));
    if (keys == NULL)
        return false;
    table->keys = keys;
    table->cap = cap;
    return true;
}

/* The slot of `key`, or the free one where it belongs. */
static struct key_slot *find_slot(const struct key_table *table, struct nx_str key, uint64_t hash)
{
    size_t at = hash & (table->slot_count - 1);
    for (;;) {
        struct key_slot *slot = &table->slots[at];
        if (slot->number == 0)
            return slot;
        if (slot->hash == hash && nx_str_eq(table->keys[slot->number - 1], key))
            return slot;
        at = (at + 1) & (table->slot_count - 1);
    }
}

size_t key_table_find(const struct key_table *table, struct nx_str key)
{
    if (table->slot_count == 0)
        return KEY_TABLE_NONE;
    struct key_slot *slot = find_slot(table, key, nx_hash64(key.data, key.len, table->seed));
    return slot->number == 0 ? KEY_TABLE_NONE : slot->number - 1;
}

size_t key_table_put(struct key_table *table, struct nx_str key, bool *out_is_new)
{
    if ((table->count + 1) * 3 > table->slot_count * 2 && !grow_slots(table))
        return KEY_TABLE_NONE;
    uint64_t hash = nx_hash64(key.data, key.len, table->seed);
    struct key_slot *slot = find_slot(table, key, hash);
    *out_is_new = slot->number == 0;
    if (slot->number != 0)
        return slot->number - 1;
    if (table->count == table->cap && !grow_keys(table))
        return KEY_TABLE_NONE;
    struct nx_str kept = arena_strdup(table->arena, key);
    if (kept.data == NULL)
        return KEY_TABLE_NONE;
    table->keys[table->count] = kept;
    *slot = (struct key_slot){.hash = hash, .number = ++table->count};
    return table->count - 1;
}
