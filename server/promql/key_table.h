/* key_table.h - byte strings to dense numbers: how the evaluator finds the group of a series.
 *
 * Layer    promql, private.   Memory  the arena given; keys are copied there. Grows by doubling, old arrays stay
 *          behind.
 * Cost     one hash and mostly one comparison a look-up.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_TABLE_NONE SIZE_MAX

struct key_slot {
    uint64_t hash;
    size_t number; /* plus one; 0: free */
};

struct key_table {
    struct arena *arena;
    uint64_t seed;
    struct key_slot *slots;
    size_t slot_count; /* a power of two */
    struct nx_str *keys;
    size_t count;
    size_t cap;
};

void key_table_init(struct key_table *table, struct arena *arena, uint64_t seed);
/* The number of `key`, given in order of appearance from 0; KEY_TABLE_NONE when the arena is exhausted. */
size_t key_table_put(struct key_table *table, struct nx_str key, bool *out_is_new);
/* KEY_TABLE_NONE when absent. */
size_t key_table_find(const struct key_table *table, struct nx_str key);
