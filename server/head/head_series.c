/* SPDX-License-Identifier: Apache-2.0 */
/* head_series.c - series enter, are found by their labels, and leave. */
#include "head_internal.h"

/* ---- packed labels ---- */

size_t packed_ids(const uint8_t *packed, size_t bytes, uint32_t *out)
{
    const uint8_t *next = packed;
    uint32_t id;
    size_t count = 0;
    for (; packed_next(&next, packed + bytes, &id); count++) {
        if (out != NULL)
            out[count] = id;
    }
    return count;
}

bool packed_equals(const struct head_index *index, const uint8_t *packed, size_t bytes,
                   struct labels labels)
{
    const uint8_t *next = packed;
    uint32_t id;
    size_t i = 0;
    for (; packed_next(&next, packed + bytes, &id); i++) {
        if (i == labels.count)
            return false;
        struct label have = index_label(index, id);
        if (!nx_str_eq(have.value, labels.items[i].value) ||
            !nx_str_eq(have.name, labels.items[i].name))
            return false;
    }
    return i == labels.count;
}

static int compare_pairs(const struct head_index *index, uint32_t a, uint32_t b)
{
    struct label left = index_label(index, a);
    struct label right = index_label(index, b);
    int order = nx_str_cmp(left.name, right.name);
    return order != 0 ? order : nx_str_cmp(left.value, right.value);
}

int packed_compare(const struct head_index *index, const uint8_t *a, size_t a_bytes,
                   const uint8_t *b, size_t b_bytes)
{
    const uint8_t *a_end = a + a_bytes;
    const uint8_t *b_end = b + b_bytes;
    for (;;) {
        uint32_t left;
        uint32_t right;
        bool has_left = packed_next(&a, a_end, &left);
        bool has_right = packed_next(&b, b_end, &right);
        if (!has_left || !has_right)
            return (int)has_left - (int)has_right;
        if (left != right)
            return compare_pairs(index, left, right);
    }
}

/* ---- scratch ---- */

void shard_reserve_labels(struct head_shard *shard, size_t count)
{
    if (count <= shard->labels_cap)
        return;
    size_t cap = count < 32 ? 32 : count + count / 2;
    shard->hashes = nx_realloc_array(shard->hashes, cap, sizeof(*shard->hashes));
    shard->ids = nx_realloc_array(shard->ids, cap, sizeof(*shard->ids));
    shard->labels = nx_realloc_array(shard->labels, cap, sizeof(*shard->labels));
    shard->labels_cap = cap;
}

struct labels series_labels(struct head *head, struct head_shard *shard, uint32_t local)
{
    const struct head_cold *cold = cold_at(shard, local);
    size_t count = packed_ids(cold->labels, cold->labels_bytes, NULL);
    shard_reserve_labels(shard, count);
    packed_ids(cold->labels, cold->labels_bytes, shard->ids);
    for (size_t i = 0; i < count; i++)
        shard->labels[i] = index_label(&head->index, shard->ids[i]);
    return (struct labels){.items = shard->labels, .count = count};
}

/* ---- find, create, remove ---- */

uint32_t series_find(struct head *head, struct head_shard *shard, uint32_t hash,
                     struct labels labels)
{
    uint32_t at = hash;
    uint32_t local;
    while ((local = id_table_next(&shard->table, hash, &at)) != ID_TABLE_NONE) {
        const struct head_cold *cold = cold_at(shard, local);
        if (packed_equals(&head->index, cold->labels, cold->labels_bytes, labels))
            return local;
    }
    return HEAD_SLOT_NONE;
}

static uint32_t take_local(struct head_shard *shard) NX_REQUIRES(shard->lock)
{
    uint32_t local = shard->free_local;
    if (local != HEAD_SLOT_NONE) {
        shard->free_local = hot_at(shard, local)->stream;
        return local;
    }
    if (shard->local_count == HEAD_LOCAL_LIMIT)
        return HEAD_SLOT_NONE;
    return shard->local_count++;
}

/* Counts the new series against the limit. */
static bool admit(struct head *head)
{
    uint64_t before = atomic_fetch_add_explicit(&head->series, 1, memory_order_relaxed);
    if (head->series_max == 0 || before < head->series_max)
        return true;
    atomic_fetch_sub_explicit(&head->series, 1, memory_order_relaxed);
    return false;
}

/* Packs the ids in the shard's scratch. */
static void pack_labels(struct head_shard *shard, struct head_cold *cold, size_t count)
    NX_REQUIRES(shard->lock)
{
    nx_buf_reset(&shard->bytes);
    nx_buf_reserve(&shard->bytes, count * VARINT_BYTES_MAX + 1);
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += varint_put(shard->bytes.data + bytes, shard->ids[i]);
    cold->labels = head_pool_alloc(&shard->pool, bytes);
    cold->labels_bytes = (uint32_t)bytes;
    memcpy(cold->labels, shard->bytes.data, bytes);
}

uint32_t series_create(struct head *head, struct head_shard *shard, uint32_t local, uint32_t hash,
                       struct labels labels)
{
    if (!admit(head))
        return HEAD_SLOT_NONE;
    if (local == HEAD_SLOT_NONE)
        local = take_local(shard);
    if (local == HEAD_SLOT_NONE) {
        atomic_fetch_sub_explicit(&head->series, 1, memory_order_relaxed);
        return HEAD_SLOT_NONE;
    }
    segvec_ensure(&shard->hots, local);
    segvec_ensure(&shard->colds, local);
    struct head_hot *hot = hot_at(shard, local);
    struct head_cold *cold = cold_at(shard, local);
    uint32_t slot = slot_of(head_shard_number(head, shard), local);
    uint32_t generation = hot->generation;

    mutex_lock(&head->index.lock);
    index_intern(&head->index, labels, shard->hashes, shard->ids);
    index_add_slot(&head->index, shard->ids, labels.count, slot);
    *hot = (struct head_hot){.last_ms = INT64_MIN, .generation = generation + 1, .flags = HOT_LIVE};
    mutex_unlock(&head->index.lock);

    *cold = (struct head_cold){.hash = hash, .rank = RANK_NONE};
    pack_labels(shard, cold, labels.count);
    id_table_insert(&shard->table, hash, local);
    shard->series++;
    shard->created++;
    return local;
}

void series_remove(struct head *head, struct head_shard *shard, uint32_t local)
{
    struct head_hot *hot = hot_at(shard, local);
    struct head_cold *cold = cold_at(shard, local);
    NX_ASSERT((hot->flags & HOT_LIVE) && !hot_has_data(hot));
    size_t count = packed_ids(cold->labels, cold->labels_bytes, NULL);
    uint32_t *ids = nx_alloc(count * sizeof(*ids)); /* the scratch may hold another series' */
    packed_ids(cold->labels, cold->labels_bytes, ids);
    if (head->loader == NULL) /* while loading, lists are not kept yet */
        index_remove_slot(&head->index, ids, count, slot_of(head_shard_number(head, shard), local));
    nx_free(ids);
    bool was_there = id_table_remove(&shard->table, cold->hash, local);
    NX_ASSERT(was_there);
    head_pool_free(&shard->pool, cold->labels, cold->labels_bytes);
    *cold = (struct head_cold){.rank = RANK_NONE};
    *hot = (struct head_hot){.generation = hot->generation + 1, .stream = shard->free_local};
    shard->free_local = local;
    shard->series--;
    shard->removed++;
    atomic_fetch_sub_explicit(&head->series, 1, memory_order_relaxed);
}

void shard_add_fresh(struct head_shard *shard, uint32_t slot)
{
    if (shard->fresh_count == shard->fresh_cap) {
        shard->fresh_cap = shard->fresh_cap == 0 ? 64 : shard->fresh_cap * 2;
        shard->fresh = nx_realloc_array(shard->fresh, shard->fresh_cap, sizeof(*shard->fresh));
    }
    shard->fresh[shard->fresh_count++] = slot;
}
