/* SPDX-License-Identifier: Apache-2.0 */
/* head_load.c - the head after a start: series of the newest flush, then what the journal holds.
 *
 * Load     1M series with 15 labels in label order. Neighbours share most of their pairs, so each label is first
 *          compared with the one at its place in the series before; only the others are hashed and looked up.
 * Lists    the pairs' lists of slots are not kept while loading; head_load_finish fills them all by one counting sort.
 * Hostile  slots and labels come from checked files, but a wrong one must not crash us: another shard's slot, a slot
 *          taken twice, one series in two slots are NX_E_CORRUPT; samples for an unknown slot are counted.
 */
#include "narthex/codec/exemplar_code.h"
#include "narthex/codec/histogram_code.h"

#include "head_internal.h"

#define LOOK_HOT   24u
#define LOOK_CHUNK 8u

/* Asks for a slot's hot line ahead. */
static void look_at_slot(const struct head_shard *shard, uint32_t local)
{
    if (!segvec_has(&shard->hots, local))
        return;
    const char *hot = (const char *)hot_at(shard, local);
    __builtin_prefetch(hot, 1);
    __builtin_prefetch(hot + 64, 1);
}

/* ---- series ---- */

static bool label_is_pair(const struct head_index *index, struct label label, uint32_t id)
{
    struct label pair = index_label(index, id);
    return nx_str_eq(pair.value, label.value) && nx_str_eq(pair.name, label.name);
}

/* What the series loaded before tells about this one. */
struct by_neighbour {
    uint32_t hash; /* of the series; those of its pairs are in the shard's scratch */
    bool is_after; /* in label order */
};

/* Series have much the same names, so the name's hash is mostly known. */
static uint64_t hash_by_neighbour(const struct head *head, struct label label, uint32_t id_before)
{
    if (id_before == PAIR_NONE)
        return index_hash_label(label);
    uint32_t name = index_pair_at(&head->index, id_before)->name;
    if (!nx_str_eq(index_name_text(&head->index, name), label.name))
        return index_hash_label(label);
    return index_hash_value(&head->index, name, label.value);
}

/* Fills the scratch: hashes of all pairs, ids of those that the neighbour has at the same place, else PAIR_NONE. */
static struct by_neighbour compare_neighbour(struct head *head, struct head_shard *shard,
                                             struct labels labels) NX_REQUIRES(shard->lock)
{
    const uint32_t *ids_before = (const uint32_t *)(void *)head->load_ids.data;
    const uint64_t *hashes_before = (const uint64_t *)(void *)head->load_hashes.data;
    size_t count_before = head->load_ids.len / sizeof(*ids_before);
    struct by_neighbour result = {.is_after = labels.count > count_before};
    bool is_decided = false;
    shard_reserve_labels(shard, labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        struct label label = labels.items[i];
        if (i < count_before && label_is_pair(&head->index, label, ids_before[i])) {
            shard->ids[i] = ids_before[i];
            shard->hashes[i] = hashes_before[i];
            continue;
        }
        if (!is_decided && i < count_before) {
            struct label before = index_label(&head->index, ids_before[i]);
            int order = nx_str_cmp(before.name, label.name);
            order = order != 0 ? order : nx_str_cmp(before.value, label.value);
            result.is_after = order < 0;
        }
        is_decided = true;
        shard->ids[i] = PAIR_NONE;
        shard->hashes[i] =
            hash_by_neighbour(head, label, i < count_before ? ids_before[i] : PAIR_NONE);
    }
    result.hash = index_hash_combine(shard->hashes, labels.count);
    return result;
}

static void remember_neighbour(struct head *head, const struct head_shard *shard, size_t count)
    NX_REQUIRES(shard->lock)
{
    nx_buf_reset(&head->load_ids);
    nx_buf_reset(&head->load_hashes);
    nx_buf_append(&head->load_ids, shard->ids, count * sizeof(*shard->ids));
    nx_buf_append(&head->load_hashes, shard->hashes, count * sizeof(*shard->hashes));
}

/* Makes way for a definition of the journal: a series without samples here is in a block at least. */
static bool displace(struct head *head, struct head_shard *shard, uint32_t local)
    NX_REQUIRES(shard->lock)
{
    if (hot_has_data(hot_at(shard, local)))
        return false;
    mutex_lock(&head->index.lock);
    series_remove(head, shard, local);
    mutex_unlock(&head->index.lock);
    head->load_is_disordered = true;
    return true;
}

enum placed {
    PLACED_NEW,
    PLACED_BEFORE, /* it was there */
    PLACED_REFUSED,
};

static enum placed place(struct head *head, struct head_shard *shard, uint32_t local,
                         struct labels labels, bool may_displace, bool *out_is_after)
    NX_REQUIRES(shard->lock)
{
    look_at_slot(shard, local);
    struct by_neighbour neighbour = compare_neighbour(head, shard, labels);
    id_table_prefetch(&shard->table, neighbour.hash);
    bool is_taken = local < shard->local_count && segvec_has(&shard->hots, local) &&
                    (hot_at(shard, local)->flags & HOT_LIVE);
    if (is_taken) {
        const struct head_cold *cold = cold_at(shard, local);
        if (packed_equals(&head->index, cold->labels, cold->labels_bytes, labels))
            return may_displace ? PLACED_BEFORE : PLACED_REFUSED;
        if (!may_displace || !displace(head, shard, local))
            return PLACED_REFUSED;
    }
    uint32_t elsewhere = series_find(head, shard, neighbour.hash, labels);
    if (elsewhere != HEAD_SLOT_NONE && (!may_displace || !displace(head, shard, elsewhere)))
        return PLACED_REFUSED;
    if (local >= shard->local_count)
        shard->local_count = local + 1;
    uint32_t made = series_create(head, shard, local, neighbour.hash, labels);
    NX_ASSERT(made == local); /* there is no limit while loading */
    hot_at(shard, local)->flags |= HOT_DEFINED;
    remember_neighbour(head, shard, labels.count);
    *out_is_after = neighbour.is_after;
    return PLACED_NEW;
}

static nx_code check_place(struct head *head, uint32_t slot, struct labels labels,
                           struct nx_err *err)
{
    NX_ASSERT(!head->is_loaded);
    head->is_loading = true;
    if (slot_local(slot) >= HEAD_LOCAL_LIMIT)
        return nx_err_set(err, NX_E_CORRUPT, "head: slot %u is too large", slot);
    if (slot_shard(slot) != (labels_hash(labels) & (HEAD_SHARD_COUNT - 1)))
        return nx_err_set(err, NX_E_CORRUPT,
                          "head: slot %u belongs to another shard than its series", slot);
    return NX_OK;
}

nx_code head_load_series(struct head *head, uint32_t slot, struct labels labels, struct nx_err *err)
{
    nx_code code = check_place(head, slot, labels, err);
    if (code != NX_OK)
        return code;
    struct head_shard *shard = &head->shards[slot_shard(slot)];
    bool is_after = false;
    mutex_lock(&shard->lock);
    enum placed placed = place(head, shard, slot_local(slot), labels, false, &is_after);
    if (placed == PLACED_NEW)
        hot_at(shard, slot_local(slot))->flags |= HOT_IN_PREVIOUS;
    mutex_unlock(&shard->lock);
    if (placed != PLACED_NEW)
        return nx_err_set(err, NX_E_CORRUPT, "head: slot %u or its series is there twice", slot);
    if (!is_after && head->load_order.len > 0)
        head->load_is_disordered = true;
    nx_buf_append(&head->load_order, &slot, sizeof(slot));
    return NX_OK;
}

/* ---- replay ---- */

static nx_code visit_define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    struct head *head = context;
    nx_code code = check_place(head, slot, labels, err);
    if (code != NX_OK)
        return code;
    struct head_shard *shard = &head->shards[slot_shard(slot)];
    bool is_after;
    mutex_lock(&shard->lock);
    enum placed placed = place(head, shard, slot_local(slot), labels, true, &is_after);
    if (placed == PLACED_NEW)
        shard_add_fresh(shard, slot);
    mutex_unlock(&shard->lock);
    if (placed == PLACED_REFUSED)
        return nx_err_set(err, NX_E_CORRUPT, "head: slot %u is defined twice, with samples", slot);
    return NX_OK;
}

static struct head_hot *live_hot(const struct head_shard *shard, uint32_t slot)
    NX_REQUIRES(shard->lock)
{
    uint32_t local = slot_local(slot);
    if (local >= shard->local_count || !segvec_has(&shard->hots, local))
        return NULL;
    struct head_hot *hot = hot_at(shard, local);
    return hot->flags & HOT_LIVE ? hot : NULL;
}

/* False: nobody defined the slot. */
static bool replay_sample(struct head_shard *shard, uint32_t slot, int64_t time_ms, uint64_t bits)
    NX_REQUIRES(shard->lock)
{
    struct head_hot *hot = live_hot(shard, slot);
    if (hot == NULL)
        return false;
    bool is_new = true;
    if (NX_LIKELY(time_ms > hot->last_ms)) {
        series_push(shard, slot_local(slot), hot, time_ms, bits);
    } else {
        uint64_t stored;
        /* With another value the earlier commit's stays. */
        if (!series_add_late(shard, slot_local(slot), hot, time_ms, bits, &is_new, &stored))
            is_new = false;
        shard->late_samples += is_new;
    }
    if (is_new) {
        shard->samples++;
        time_span_add(&shard->open_span, time_ms);
    }
    return true;
}

static void look_at_sample(const struct head *head, uint32_t slot)
{
    if (slot_local(slot) < HEAD_LOCAL_LIMIT)
        look_at_slot(&head->shards[slot_shard(slot)], slot_local(slot));
}

static void look_at_sample_chunk(const struct head *head, uint32_t slot)
{
    const struct head_shard *shard = &head->shards[slot_shard(slot)];
    uint32_t local = slot_local(slot);
    if (local >= HEAD_LOCAL_LIMIT || !segvec_has(&shard->hots, local))
        return;
    const struct head_hot *hot = hot_at(shard, local);
    if (hot->pending != STREAM_BATCH - 1 || hot->stream == 0 || !(hot->flags & HOT_LIVE))
        return;
    const char *chunk = (const char *)stream_store_chunk(&shard->store, hot->stream);
    __builtin_prefetch(chunk, 1);
    __builtin_prefetch(chunk + 64, 1);
}

/* A record holds one shard's samples, so the lock is taken once a record. There are no other threads: looking ahead
 * needs none. */
static nx_code visit_samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                             const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    (void)err;
    struct head *head = context;
    uint64_t unknown = 0;
    for (size_t i = 0; i < count;) {
        unsigned number = slot_shard(slots[i]);
        struct head_shard *shard = &head->shards[number];
        mutex_lock(&shard->lock);
        for (; i < count && slot_shard(slots[i]) == number; i++) {
            if (i + LOOK_HOT < count)
                look_at_sample(head, slots[i + LOOK_HOT]);
            if (i + LOOK_CHUNK < count)
                look_at_sample_chunk(head, slots[i + LOOK_CHUNK]);
            unknown += !replay_sample(shard, slots[i], times_ms[i], value_bits[i]);
        }
        mutex_unlock(&shard->lock);
    }
    if (unknown > 0)
        atomic_fetch_add_explicit(&head->unknown_samples, unknown, memory_order_relaxed);
    return NX_OK;
}

/* SIDE_NEW: it is data that the head had not. Entries were checked when they came, and their record's checksum
 * holds: one that does not decode all the same is lost, and counted. */
static bool replay_side(struct head_shard *shard, enum journal_blob_kind kind, uint32_t local,
                        int64_t time_ms, struct nx_bytes payload, enum side_result *out_result)
    NX_REQUIRES(shard->lock)
{
    struct byte_reader reader = byte_reader_of(payload);
    struct arena arena;
    arena_init(&arena, 0);
    bool is_good;
    if (kind == JOURNAL_BLOB_HISTOGRAM) {
        struct histogram histogram;
        struct histogram_sample sample = {.time_ms = time_ms, .histogram = &histogram};
        is_good = histogram_get(&reader, NULL, &arena, &histogram) == NX_OK;
        *out_result = SIDE_CONFLICT;
        if (is_good && !series_has_float(shard, local, time_ms))
            *out_result =
                side_add_histogram(&shard->sides, side_get(&shard->sides, local), &sample);
    } else {
        struct exemplar exemplar;
        is_good = exemplar_get(&reader, 0, &arena, &exemplar) == NX_OK;
        if (is_good)
            *out_result =
                side_add_exemplar(&shard->sides, side_get(&shard->sides, local), &exemplar);
    }
    arena_deinit(&arena);
    return is_good;
}

static nx_code visit_blob(void *context, enum journal_blob_kind kind, uint32_t slot,
                          int64_t time_ms, struct nx_bytes payload, struct nx_err *err)
{
    (void)err;
    struct head *head = context;
    if (kind == JOURNAL_BLOB_METADATA)
        return NX_OK; /* the store's */
    struct head_shard *shard = &head->shards[slot_shard(slot)];
    uint32_t local = slot_local(slot);
    enum side_result result = SIDE_SAME;
    mutex_lock(&shard->lock);
    bool is_known = local < HEAD_LOCAL_LIMIT && live_hot(shard, slot) != NULL &&
                    replay_side(shard, kind, local, time_ms, payload, &result);
    if (is_known && side_find(&shard->sides, local) != NULL)
        hot_at(shard, local)->flags |= HOT_SIDE;
    if (result == SIDE_NEW) {
        shard->samples += kind == JOURNAL_BLOB_HISTOGRAM;
        time_span_add(&shard->open_span, time_ms);
    }
    mutex_unlock(&shard->lock);
    if (!is_known)
        atomic_fetch_add_explicit(&head->unknown_samples, 1, memory_order_relaxed);
    return NX_OK;
}

const struct journal_visitor head_journal_visitor = {
    .define = visit_define,
    .samples = visit_samples,
    .blob = visit_blob,
};

/* ---- finish ---- */

/* Calls for every live series in ascending order of slots. */
typedef void (*series_fn)(struct head *head, uint32_t slot, const struct head_cold *cold,
                          void *context);

NX_NO_THREAD_ANALYSIS /* before other threads */
    static void
    each_series(struct head *head, series_fn each, void *context)
{
    uint32_t locals = 0;
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        if (head->shards[s].local_count > locals)
            locals = head->shards[s].local_count;
    }
    for (uint32_t local = 0; local < locals; local++) {
        for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
            const struct head_shard *shard = &head->shards[s];
            if (live_hot(shard, slot_of(s, local)) != NULL)
                each(head, slot_of(s, local), cold_at(shard, local), context);
        }
    }
}

struct list_fill {
    uint32_t *ends; /* per pair: where its next slot goes in `slots` */
    uint32_t *slots;
    uint32_t *all;
    size_t series;
};

static void fill_pairs(struct head *head, uint32_t slot, const struct head_cold *cold,
                       void *context)
{
    (void)head;
    struct list_fill *fill = context;
    const uint8_t *next = cold->labels;
    uint32_t id;
    while (packed_next(&next, cold->labels + cold->labels_bytes, &id))
        fill->slots[fill->ends[id]++] = slot;
    fill->all[fill->series++] = slot;
}

static void fill_lists(struct head *head)
{
    struct head_index *index = &head->index;
    mutex_lock(&index->lock);
    struct list_fill fill = {.ends = nx_calloc(index->pair_limit, sizeof(*fill.ends))};
    uint32_t total = 0;
    for (uint32_t id = 0; id < index->pair_limit; id++) {
        fill.ends[id] = total;
        bool overflows = __builtin_add_overflow(total, index_pair_at(index, id)->count, &total);
        NX_ASSERT(!overflows);
    }
    fill.slots = nx_alloc((size_t)total * sizeof(*fill.slots));
    fill.all =
        nx_alloc(atomic_load_explicit(&head->series, memory_order_relaxed) * sizeof(*fill.all));
    each_series(head, fill_pairs, &fill);
    uint32_t start = 0;
    for (uint32_t id = 0; id < index->pair_limit; id++) {
        NX_ASSERT(fill.ends[id] - start == index_pair_at(index, id)->count);
        index_fill_pair(index, id, fill.slots + start);
        start = fill.ends[id];
    }
    index_fill_all(index, fill.all, fill.series);
    index_collect(index);
    mutex_unlock(&index->lock);
    nx_free(fill.ends);
    nx_free(fill.slots);
    nx_free(fill.all);
}

/* Lowest numbers are reused first. */
static void rebuild_free_list(struct head_shard *shard)
{
    mutex_lock(&shard->lock);
    shard->free_local = HEAD_SLOT_NONE;
    for (uint32_t local = shard->local_count; local-- > 0;) {
        segvec_ensure(&shard->hots, local);
        segvec_ensure(&shard->colds, local);
        struct head_hot *hot = hot_at(shard, local);
        if (hot->flags & HOT_LIVE)
            continue;
        hot->stream = shard->free_local;
        shard->free_local = local;
    }
    mutex_unlock(&shard->lock);
}

static void add_all_fresh(struct head *head, uint32_t slot, const struct head_cold *cold,
                          void *context)
{
    (void)head;
    (void)cold;
    nx_buf_append(context, &slot, sizeof(slot));
}

/* The order that the block gave, or a sort of everything when that was none. */
static void finish_order(struct head *head)
{
    struct nx_buf fresh = {0};
    for (unsigned s = 0; s < HEAD_SHARD_COUNT && head->load_is_disordered; s++) {
        struct head_shard *shard = &head->shards[s];
        mutex_lock(&shard->lock);
        shard->fresh_count = 0;
        mutex_unlock(&shard->lock);
    }
    if (head->load_is_disordered)
        each_series(head, add_all_fresh, &fresh);
    else
        order_set(head, (const uint32_t *)(void *)head->load_order.data,
                  (uint32_t)(head->load_order.len / sizeof(uint32_t)));
    order_add(head, (const uint32_t *)(void *)fresh.data, (uint32_t)(fresh.len / sizeof(uint32_t)));
    nx_buf_deinit(&fresh);
}

void head_load_finish(struct head *head)
{
    if (head->is_loaded)
        return;
    if (head->is_loading) {
        fill_lists(head);
        for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
            rebuild_free_list(&head->shards[s]);
        finish_order(head);
    }
    head->is_loading = false;
    head->is_loaded = true;
    nx_buf_deinit(&head->load_order);
    nx_buf_deinit(&head->load_ids);
    nx_buf_deinit(&head->load_hashes);
}
