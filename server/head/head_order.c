/* SPDX-License-Identifier: Apache-2.0 */
/* head_order.c - sorting many series by their labels without comparing texts again and again.
 *
 *   distinct pairs of all items --sorted once by text--> rank of each pair
 *   an item is its pairs' ranks, ended by 0; two ranks make a 64-bit key:
 *     sort by key 0, then within each run of equal keys by key 1, ...
 *
 * Comparing ranks in this way is labels_compare: pair by pair, a prefix first. Few items are compared directly.
 * Memory   some 8 bytes a label of the items and 4 a pair of the head, for the time of the call.
 */
#include "head_internal.h"

#include <stdlib.h>

#define DIRECT_MAX 48u /* chosen: below this, finding the distinct pairs costs more than it saves */

struct sort_pair {
    const char *name;
    const char *value;
    uint32_t name_id, name_len, value_len;
    uint32_t id;
};

struct sort_item {
    uint64_t key;
    const uint32_t *ranks; /* ended by 0 */
    struct order_item item;
};

static int compare_text(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
    return nx_str_cmp((struct nx_str){.data = a, .len = a_len},
                      (struct nx_str){.data = b, .len = b_len});
}

static int compare_sort_pairs(const void *left, const void *right)
{
    const struct sort_pair *a = left;
    const struct sort_pair *b = right;
    if (a->name_id != b->name_id) {
        int order = compare_text(a->name, a->name_len, b->name, b->name_len);
        if (order != 0)
            return order;
    }
    return compare_text(a->value, a->value_len, b->value, b->value_len);
}

static int compare_keys(const void *left, const void *right)
{
    uint64_t a = ((const struct sort_item *)left)->key;
    uint64_t b = ((const struct sort_item *)right)->key;
    return (a > b) - (a < b);
}

static void sort_directly(const struct head_index *index, struct order_item *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct order_item moving = items[i];
        size_t at = i;
        while (at > 0 && packed_compare(index, items[at - 1].packed, items[at - 1].bytes,
                                        moving.packed, moving.bytes) > 0) {
            items[at] = items[at - 1];
            at--;
        }
        items[at] = moving;
    }
}

/* Sorts items whose ranks before `depth` are equal. Recursion is as deep as half the labels of a series. */
static void sort_from(struct sort_item *items, size_t count, size_t depth)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t first = items[i].ranks[depth];
        uint32_t second = first == 0 ? 0 : items[i].ranks[depth + 1];
        items[i].key = (uint64_t)first << 32 | second;
    }
    qsort(items, count, sizeof(*items), compare_keys);
    for (size_t i = 0; i < count;) {
        size_t end = i + 1;
        while (end < count && items[end].key == items[i].key)
            end++;
        /* A 0 in the key: the series end here, so they are equal. */
        if (end - i > 1 && (uint32_t)items[i].key != 0)
            sort_from(items + i, end - i, depth + 2);
        i = end;
    }
}

/* Replaces the ids by ranks of the pairs in (name, value) order, from 1 on; 0 ends an item and stays. */
static void ids_to_ranks(struct head_index *index, uint32_t *ids, size_t count)
{
    mutex_lock(&index->lock);
    uint32_t pair_limit = index->pair_limit;
    mutex_unlock(&index->lock);
    uint32_t *rank_of = nx_calloc((size_t)pair_limit, sizeof(*rank_of));
    struct sort_pair *pairs = NULL;
    size_t pair_count = 0;
    size_t pair_cap = 0;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] == PAIR_NONE || rank_of[ids[i]] != 0)
            continue;
        if (pair_count == pair_cap) {
            pair_cap = pair_cap == 0 ? 256 : pair_cap * 2;
            pairs = nx_realloc_array(pairs, pair_cap, sizeof(*pairs));
        }
        const struct index_pair *pair = index_pair_at(index, ids[i]);
        struct nx_str name = index_name_text(index, pair->name);
        pairs[pair_count++] = (struct sort_pair){.name = name.data,
                                                 .value = pair->value,
                                                 .name_id = pair->name,
                                                 .name_len = (uint32_t)name.len,
                                                 .value_len = pair->value_len,
                                                 .id = ids[i]};
        rank_of[ids[i]] = 1;
    }
    if (pair_count > 0)
        qsort(pairs, pair_count, sizeof(*pairs), compare_sort_pairs);
    for (size_t i = 0; i < pair_count; i++)
        rank_of[pairs[i].id] = (uint32_t)(i + 1);
    for (size_t i = 0; i < count; i++)
        ids[i] = ids[i] == PAIR_NONE ? 0 : rank_of[ids[i]];
    nx_free(pairs);
    nx_free(rank_of);
}

void order_sort(struct head_index *index, struct order_item *items, size_t count)
{
    if (count <= DIRECT_MAX) {
        sort_directly(index, items, count);
        return;
    }
    size_t id_count = 0;
    for (size_t i = 0; i < count; i++)
        id_count += packed_ids(items[i].packed, items[i].bytes, NULL) + 1;
    uint32_t *ids = nx_alloc(id_count * sizeof(*ids));
    struct sort_item *sorted = nx_alloc(count * sizeof(*sorted));
    uint32_t *next = ids;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = (struct sort_item){.ranks = next, .item = items[i]};
        next += packed_ids(items[i].packed, items[i].bytes, next);
        *next++ = PAIR_NONE;
    }
    ids_to_ranks(index, ids, id_count);
    sort_from(sorted, count, 0);
    for (size_t i = 0; i < count; i++)
        items[i] = sorted[i].item;
    nx_free(ids);
    nx_free(sorted);
}
