/* SPDX-License-Identifier: Apache-2.0 */
/* head_load.c - the head after a start: series of the newest flush, then what the journal holds.
 *
 * Load     1M series with 15 labels in label order: each pair's text is interned once, a series is numbers of pairs.
 *          Definitions of the journal are texts: neighbours share most of their pairs, so each label is first compared
 *          with the one at its place in the series before; only the others are hashed and looked up.
 * Threads  the loading thread reads, interns and copies; series and samples are made by the owners of their shards
 *          (head_loader.h).
 * Lists    the pairs' lists of slots are not kept while loading; head_load_finish fills them all by one counting sort,
 *          each thread over a range of local numbers.
 * Hostile  slots and labels come from checked files, but a wrong one must not crash us: another shard's slot, a slot
 *          taken twice, one series in two slots are NX_E_CORRUPT; samples for an unknown slot are counted.
 */
#include "narthex/codec/exemplar_code.h"
#include "narthex/codec/histogram_code.h"

#include "head_loader.h"

#define LOOK_HOT         24u
#define LOOK_CHUNK       8u
#define LOOK_TABLE       6u
#define LOAD_BATCH_BYTES (1u << 20)

static void look_at_table(const struct head *head, const struct load_series *series)
{
    const struct head_shard *shard = &head->shards[slot_shard(series->slot)];
    id_table_prefetch(&shard->table, series->hash);
    hot_prefetch(shard, slot_local(series->slot));
}

/* ---- the loading thread: pairs ---- */

static struct head_loader *loader_of(struct head *head)
{
    NX_ASSERT(!head->is_loaded);
    if (head->loader == NULL) {
        struct nx_err err;
        nx_code code = head_load_threads(head, 0, &err);
        NX_ASSERT(code == NX_OK); /* no thread, nothing that fails */
    }
    return head->loader;
}

nx_code head_load_threads(struct head *head, unsigned threads, struct nx_err *err)
{
    NX_ASSERT(!head->is_loaded && head->loader == NULL);
    return head_loader_new(&head->loader, head, threads, err);
}

nx_code head_load_wait(struct head *head, struct nx_err *err)
{
    return head->loader == NULL ? NX_OK : head_loader_wait(head->loader, err);
}

static bool label_is_pair(const struct head_index *index, struct label label, uint32_t id)
{
    struct label pair = index_label(index, id);
    return nx_str_eq(pair.value, label.value) && nx_str_eq(pair.name, label.name);
}

/* Series have much the same names, so the name's hash is mostly known. */
static uint64_t hash_by_neighbour(const struct head_index *index, struct label label,
                                  uint32_t id_before)
{
    if (id_before == PAIR_NONE)
        return index_hash_label(label);
    uint32_t name = index_pair_at(index, id_before)->name;
    if (!nx_str_eq(index_name_text(index, name), label.name))
        return index_hash_label(label);
    return index_hash_value(index, name, label.value);
}

static uint32_t *ids_of(const struct nx_buf *buf)
{
    return (uint32_t *)(void *)buf->data;
}

static uint64_t *hashes_of(const struct nx_buf *buf)
{
    return (uint64_t *)(void *)buf->data;
}

/* Room for the series at hand, which becomes the one before with the next call. */
static void turn_neighbours(struct head_loader *loader, size_t count)
{
    struct nx_buf ids = loader->ids_before;
    struct nx_buf hashes = loader->hashes_before;
    loader->ids_before = loader->ids;
    loader->hashes_before = loader->hashes;
    loader->ids = ids;
    loader->hashes = hashes;
    nx_buf_reset(&loader->ids);
    nx_buf_reset(&loader->hashes);
    nx_buf_extend(&loader->ids, count * sizeof(uint32_t));
    nx_buf_extend(&loader->hashes, count * sizeof(uint64_t));
}

/* loader->ids and hashes of the labels; most are those of the series before at the same place. True: it comes after
 * that in label order. */
static bool intern(struct head *head, struct labels labels)
{
    struct head_loader *loader = head->loader;
    struct head_index *index = &head->index;
    turn_neighbours(loader, labels.count);
    const uint32_t *ids_before = ids_of(&loader->ids_before);
    const uint64_t *hashes_before = hashes_of(&loader->hashes_before);
    size_t count_before = loader->ids_before.len / sizeof(*ids_before);
    uint32_t *ids = ids_of(&loader->ids);
    uint64_t *hashes = hashes_of(&loader->hashes);
    bool is_after = labels.count > count_before;
    bool is_decided = false;
    for (size_t i = 0; i < labels.count; i++) {
        struct label label = labels.items[i];
        if (i < count_before && label_is_pair(index, label, ids_before[i])) {
            ids[i] = ids_before[i];
            hashes[i] = hashes_before[i];
            continue;
        }
        if (!is_decided && i < count_before) {
            struct label before = index_label(index, ids_before[i]);
            int order = nx_str_cmp(before.name, label.name);
            order = order != 0 ? order : nx_str_cmp(before.value, label.value);
            is_after = order < 0;
        }
        is_decided = true;
        ids[i] = PAIR_NONE;
        hashes[i] = hash_by_neighbour(index, label, i < count_before ? ids_before[i] : PAIR_NONE);
    }
    if (is_decided) {
        mutex_lock(&index->lock);
        index_intern(index, labels, hashes, ids);
        mutex_unlock(&index->lock);
    }
    return is_after;
}

/* ---- the loading thread: series ---- */

static nx_code check_local(uint32_t slot, struct nx_err *err)
{
    if (slot_local(slot) >= HEAD_LOCAL_LIMIT)
        return nx_err_set(err, NX_E_CORRUPT, "head: slot %u is too large", slot);
    return NX_OK;
}

static nx_code check_shard(uint32_t slot, struct labels labels, struct nx_err *err)
{
    if (slot_shard(slot) != (labels_hash(labels) & (HEAD_SHARD_COUNT - 1)))
        return nx_err_set(err, NX_E_CORRUPT,
                          "head: slot %u belongs to another shard than its series", slot);
    return NX_OK;
}

/* A slot whose series is told by its texts. */
static nx_code check_slot(uint32_t slot, struct labels labels, struct nx_err *err)
{
    nx_code code = check_local(slot, err);
    return code == NX_OK ? check_shard(slot, labels, err) : code;
}

/* Puts the series whose pairs are loader->ids into the batch. */
static nx_code hand_over(struct head_loader *loader, uint32_t slot, bool is_definition,
                         struct nx_err *err)
{
    struct load_batch *batch = head_loader_batch(loader);
    if (batch->sample_count + batch->blob_count > 0) {
        nx_code code = head_loader_give(loader, err);
        if (code != NX_OK)
            return code;
        batch = head_loader_batch(loader);
    }
    size_t count = loader->ids.len / sizeof(uint32_t);
    struct load_series *series = &batch->series[batch->series_count++];
    series->slot = slot;
    series->hash = index_hash_combine(hashes_of(&loader->hashes), count);
    series->is_definition = is_definition;
    series->begin = (uint32_t)batch->bytes.len;
    nx_buf_reserve(&batch->bytes, count * VARINT_BYTES_MAX);
    uint8_t *next = batch->bytes.data + batch->bytes.len;
    for (size_t i = 0; i < count; i++)
        next += varint_put(next, ids_of(&loader->ids)[i]);
    batch->bytes.len = (size_t)(next - batch->bytes.data);
    series->end = (uint32_t)batch->bytes.len;
    if (loader->thread_count > 0 && batch->series_count < LOAD_BATCH_SERIES)
        return NX_OK;
    return head_loader_give(loader, err);
}

static void note_order(struct head_loader *loader, uint32_t slot, bool is_after)
{
    if (!is_after && loader->order.len > 0)
        atomic_store_explicit(&loader->is_disordered, true, memory_order_relaxed);
    nx_buf_append(&loader->order, &slot, sizeof(slot));
}

nx_code head_load_series(struct head *head, uint32_t slot, struct labels labels, struct nx_err *err)
{
    struct head_loader *loader = loader_of(head);
    nx_code code = check_slot(slot, labels, err);
    if (code != NX_OK)
        return code;
    bool is_after = intern(head, labels);
    code = hand_over(loader, slot, false, err);
    if (code == NX_OK)
        note_order(loader, slot, is_after);
    return code;
}

void head_load_pair(struct head *head, struct label pair)
{
    struct head_loader *loader = loader_of(head);
    struct load_pair entry = {.id = PAIR_NONE};
    uint32_t before = PAIR_NONE;
    if (loader->pairs.len > 0)
        before = ((struct load_pair *)(void *)(loader->pairs.data + loader->pairs.len))[-1].id;
    entry.hash = hash_by_neighbour(&head->index, pair, before);
    mutex_lock(&head->index.lock);
    index_intern(&head->index, (struct labels){.items = &pair, .count = 1}, &entry.hash, &entry.id);
    mutex_unlock(&head->index.lock);
    nx_buf_append(&loader->pairs, &entry, sizeof(entry));
}

/* As labels_compare, for numbers of pairs. */
static bool pairs_are_after(const struct nx_buf *before, const uint32_t *pairs, size_t count)
{
    const uint32_t *items = ids_of(before);
    size_t count_before = before->len / sizeof(*items);
    for (size_t i = 0; i < count && i < count_before; i++) {
        if (items[i] != pairs[i])
            return items[i] < pairs[i];
    }
    return count > count_before;
}

/* The shard by the texts, now and then: that it is another's is a fault of a whole block, not of one series. */
static nx_code check_sometimes(struct head *head, uint32_t slot, struct nx_err *err)
{
    struct head_loader *loader = head->loader;
    if (loader->series++ % LOAD_CHECK_EVERY != 0)
        return NX_OK;
    size_t count = loader->ids.len / sizeof(uint32_t);
    nx_buf_reset(&loader->labels);
    struct label *items =
        (struct label *)(void *)nx_buf_extend(&loader->labels, count * sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = index_label(&head->index, ids_of(&loader->ids)[i]);
    return check_shard(slot, (struct labels){.items = items, .count = count}, err);
}

nx_code head_load_series_pairs(struct head *head, uint32_t slot, const uint32_t *pairs,
                               size_t count, struct nx_err *err)
{
    struct head_loader *loader = loader_of(head);
    nx_code code = check_local(slot, err);
    if (code != NX_OK)
        return code;
    const struct load_pair *known = (const struct load_pair *)(const void *)loader->pairs.data;
    size_t known_count = loader->pairs.len / sizeof(*known);
    turn_neighbours(loader, count);
    uint32_t *ids = ids_of(&loader->ids);
    uint64_t *hashes = hashes_of(&loader->hashes);
    for (size_t i = 0; i < count; i++) {
        if (pairs[i] >= known_count || (i > 0 && pairs[i] <= pairs[i - 1]))
            return nx_err_set(err, NX_E_CORRUPT, "head: the pairs of slot %u are none", slot);
        ids[i] = known[pairs[i]].id;
        hashes[i] = known[pairs[i]].hash;
    }
    bool is_after = pairs_are_after(&loader->pairs_before, pairs, count);
    nx_buf_reset(&loader->pairs_before);
    nx_buf_append(&loader->pairs_before, pairs, count * sizeof(*pairs));
    code = check_sometimes(head, slot, err);
    if (code == NX_OK)
        code = hand_over(loader, slot, false, err);
    if (code == NX_OK)
        note_order(loader, slot, is_after);
    return code;
}

/* ---- the loading thread: replay ---- */

static nx_code visit_define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    struct head *head = context;
    struct head_loader *loader = loader_of(head);
    nx_code code = check_slot(slot, labels, err);
    if (code != NX_OK)
        return code;
    intern(head, labels);
    return hand_over(loader, slot, true, err);
}

static nx_code visit_samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                             const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    struct head *head = context;
    struct head_loader *loader = loader_of(head);
    struct load_batch *batch = head_loader_batch(loader);
    nx_code code = NX_OK;
    if (batch->series_count + batch->blob_count > 0)
        code = head_loader_give(loader, err);
    while (count > 0 && code == NX_OK) {
        size_t part = count < LOAD_BATCH_SAMPLES ? count : LOAD_BATCH_SAMPLES;
        batch = head_loader_batch(loader);
        memcpy(batch->slots, slots, part * sizeof(*slots));
        memcpy(batch->times_ms, times_ms, part * sizeof(*times_ms));
        memcpy(batch->value_bits, value_bits, part * sizeof(*value_bits));
        batch->sample_count = part;
        code = head_loader_give(loader, err);
        slots += part;
        times_ms += part;
        value_bits += part;
        count -= part;
    }
    return code;
}

static nx_code visit_blob(void *context, enum journal_blob_kind kind, uint32_t slot,
                          int64_t time_ms, struct nx_bytes payload, struct nx_err *err)
{
    struct head *head = context;
    if (kind == JOURNAL_BLOB_METADATA)
        return NX_OK; /* the store's */
    struct head_loader *loader = loader_of(head);
    struct load_batch *batch = head_loader_batch(loader);
    if (batch->series_count > 0) {
        nx_code code = head_loader_give(loader, err);
        if (code != NX_OK)
            return code;
        batch = head_loader_batch(loader);
    }
    struct load_blob *blob = &batch->blobs[batch->blob_count++];
    *blob = (struct load_blob){
        .time_ms = time_ms, .slot = slot, .kind = kind, .begin = batch->bytes.len};
    nx_buf_append(&batch->bytes, payload.data, payload.len);
    blob->end = batch->bytes.len;
    if (loader->thread_count > 0 && batch->blob_count < LOAD_BATCH_SERIES &&
        batch->bytes.len < LOAD_BATCH_BYTES)
        return NX_OK;
    return head_loader_give(loader, err);
}

const struct journal_visitor head_journal_visitor = {
    .define = visit_define,
    .samples = visit_samples,
    .blob = visit_blob,
};

/* ---- applying: series ---- */

/* Makes way for a definition of the journal: a series without samples here is in a block at least. */
static bool displace(struct head *head, struct head_shard *shard, uint32_t local)
    NX_REQUIRES(shard->lock)
{
    if (hot_has_data(hot_at(shard, local)))
        return false;
    mutex_lock(&head->index.lock);
    series_remove(head, shard, local);
    mutex_unlock(&head->index.lock);
    atomic_store_explicit(&head->loader->is_disordered, true, memory_order_relaxed);
    return true;
}

/* A pair has one id, so equal series are equal bytes. */
static uint32_t find_packed(const struct head_shard *shard, uint32_t hash, struct nx_bytes packed)
    NX_REQUIRES(shard->lock)
{
    uint32_t at = hash;
    uint32_t local;
    while ((local = id_table_next(&shard->table, hash, &at)) != ID_TABLE_NONE) {
        const struct head_cold *cold = cold_at(shard, local);
        if (cold->labels_bytes == packed.len && memcmp(cold->labels, packed.data, packed.len) == 0)
            return local;
    }
    return HEAD_SLOT_NONE;
}

static void make_series(struct head *head, struct head_shard *shard, uint32_t local, uint32_t hash,
                        struct nx_bytes packed) NX_REQUIRES(shard->lock)
{
    if (local >= shard->local_count)
        shard->local_count = local + 1;
    segvec_ensure(&shard->hots, local);
    segvec_ensure(&shard->colds, local);
    struct head_hot *hot = hot_at(shard, local);
    struct head_cold *cold = cold_at(shard, local);
    *hot = (struct head_hot){
        .last_ms = INT64_MIN, .generation = hot->generation + 1, .flags = HOT_LIVE | HOT_DEFINED};
    *cold = (struct head_cold){.hash = hash, .rank = RANK_NONE};
    cold->labels = head_pool_alloc(&shard->pool, packed.len);
    cold->labels_bytes = (uint32_t)packed.len;
    memcpy(cold->labels, packed.data, packed.len);
    id_table_insert(&shard->table, hash, local);
    shard->series++;
    shard->created++;
    atomic_fetch_add_explicit(&head->series, 1, memory_order_relaxed);
}

static nx_code apply_series(struct head *head, struct head_shard *shard,
                            const struct load_series *series, struct nx_bytes packed,
                            struct nx_err *err) NX_REQUIRES(shard->lock)
{
    uint32_t local = slot_local(series->slot);
    bool is_refused = false;
    if (hot_live(shard, local) != NULL) {
        const struct head_cold *cold = cold_at(shard, local);
        bool is_same =
            cold->labels_bytes == packed.len && memcmp(cold->labels, packed.data, packed.len) == 0;
        if (is_same && series->is_definition)
            return NX_OK;
        is_refused = !series->is_definition || !displace(head, shard, local);
    }
    uint32_t elsewhere = is_refused ? HEAD_SLOT_NONE : find_packed(shard, series->hash, packed);
    if (elsewhere != HEAD_SLOT_NONE)
        is_refused = !series->is_definition || !displace(head, shard, elsewhere);
    if (is_refused && series->is_definition)
        return nx_err_set(err, NX_E_CORRUPT, "head: slot %u is defined twice, with samples",
                          series->slot);
    if (is_refused)
        return nx_err_set(err, NX_E_CORRUPT, "head: slot %u or its series is there twice",
                          series->slot);
    make_series(head, shard, local, series->hash, packed);
    if (series->is_definition)
        shard_add_fresh(shard, series->slot);
    else
        hot_at(shard, local)->flags |= HOT_IN_PREVIOUS;
    return NX_OK;
}

static nx_code apply_all_series(struct head *head, const struct load_batch *batch, unsigned number,
                                unsigned of, struct nx_err *err)
{
    nx_code code = NX_OK;
    for (size_t i = 0; i < batch->series_count && code == NX_OK; i++) {
        const struct load_series *series = &batch->series[i];
        unsigned s = slot_shard(series->slot);
        if (s % of != number)
            continue;
        struct nx_bytes packed = {.data = batch->bytes.data + series->begin,
                                  .len = series->end - series->begin};
        struct head_shard *shard = &head->shards[s];
        if (i + LOOK_TABLE < batch->series_count &&
            slot_shard(batch->series[i + LOOK_TABLE].slot) % of == number)
            look_at_table(head, &batch->series[i + LOOK_TABLE]);
        mutex_lock(&shard->lock);
        code = apply_series(head, shard, series, packed, err);
        mutex_unlock(&shard->lock);
    }
    return code;
}

/* ---- applying: samples ---- */

/* False: nobody defined the slot. */
static bool replay_sample(struct head_shard *shard, uint32_t slot, int64_t time_ms, uint64_t bits)
    NX_REQUIRES(shard->lock)
{
    struct head_hot *hot = hot_live(shard, slot_local(slot));
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

static void look_at_sample(const struct head *head, uint32_t slot, unsigned number, unsigned of)
{
    if (slot_shard(slot) % of == number)
        hot_prefetch(&head->shards[slot_shard(slot)], slot_local(slot));
}

static void look_at_sample_chunk(const struct head *head, uint32_t slot, unsigned number,
                                 unsigned of)
{
    if (slot_shard(slot) % of == number)
        stream_prefetch(&head->shards[slot_shard(slot)], slot_local(slot), 1);
}

/* A shard's samples stand together, so its lock is taken a few times a batch. Looking ahead needs no lock: a shard has
 * one thread. */
static void apply_samples(struct head *head, const struct load_batch *batch, unsigned number,
                          unsigned of)
{
    const uint32_t *slots = batch->slots;
    size_t count = batch->sample_count;
    uint64_t unknown = 0;
    for (size_t i = 0; i < count;) {
        unsigned s = slot_shard(slots[i]);
        if (s % of != number) {
            i++;
            continue;
        }
        struct head_shard *shard = &head->shards[s];
        mutex_lock(&shard->lock);
        for (; i < count && slot_shard(slots[i]) == s; i++) {
            if (i + LOOK_HOT < count)
                look_at_sample(head, slots[i + LOOK_HOT], number, of);
            if (i + LOOK_CHUNK < count)
                look_at_sample_chunk(head, slots[i + LOOK_CHUNK], number, of);
            unknown += !replay_sample(shard, slots[i], batch->times_ms[i], batch->value_bits[i]);
        }
        mutex_unlock(&shard->lock);
    }
    if (unknown > 0)
        atomic_fetch_add_explicit(&head->unknown_samples, unknown, memory_order_relaxed);
}

/* ---- applying: side entries ---- */

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

static void apply_blob(struct head *head, const struct load_blob *blob, struct nx_bytes payload)
{
    struct head_shard *shard = &head->shards[slot_shard(blob->slot)];
    uint32_t local = slot_local(blob->slot);
    enum side_result result = SIDE_SAME;
    mutex_lock(&shard->lock);
    bool is_known = hot_live(shard, local) != NULL &&
                    replay_side(shard, blob->kind, local, blob->time_ms, payload, &result);
    if (is_known && side_find(&shard->sides, local) != NULL)
        hot_at(shard, local)->flags |= HOT_SIDE;
    if (result == SIDE_NEW) {
        shard->samples += blob->kind == JOURNAL_BLOB_HISTOGRAM;
        time_span_add(&shard->open_span, blob->time_ms);
    }
    mutex_unlock(&shard->lock);
    if (!is_known)
        atomic_fetch_add_explicit(&head->unknown_samples, 1, memory_order_relaxed);
}

nx_code load_apply(struct head *head, const struct load_batch *batch, unsigned number, unsigned of,
                   struct nx_err *err)
{
    nx_code code = apply_all_series(head, batch, number, of, err);
    if (code != NX_OK)
        return code;
    apply_samples(head, batch, number, of);
    for (size_t i = 0; i < batch->blob_count; i++) {
        const struct load_blob *blob = &batch->blobs[i];
        struct nx_bytes payload = {.data = batch->bytes.data + blob->begin,
                                   .len = blob->end - blob->begin};
        if (slot_shard(blob->slot) % of == number)
            apply_blob(head, blob, payload);
    }
    return NX_OK;
}

/* ---- finish ---- */

/* Calls for every live series with a local number in [begin, end) in ascending order of slots. */
typedef void (*series_fn)(uint32_t slot, const struct head_cold *cold, void *context);

NX_NO_THREAD_ANALYSIS /* nothing changes any more */
    static void
    each_series(const struct head *head, uint32_t begin, uint32_t end, series_fn each,
                void *context)
{
    for (uint32_t local = begin; local < end; local++) {
        for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
            const struct head_shard *shard = &head->shards[s];
            if (hot_live(shard, local) != NULL)
                each(slot_of(s, local), cold_at(shard, local), context);
        }
    }
}

NX_NO_THREAD_ANALYSIS /* nothing changes any more */
    static uint32_t
    local_bound(const struct head *head)
{
    uint32_t locals = 0;
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        if (head->shards[s].local_count > locals)
            locals = head->shards[s].local_count;
    }
    return locals;
}

/* A range of local numbers, and where its slots go. */
struct list_part {
    struct nx_thread thread;
    const struct head *head;
    uint32_t begin, end;
    uint32_t *counts; /* per pair: slots; then where the next one goes in `slots` */
    uint32_t *slots;
    uint32_t *all; /* slots of all series of the range */
    size_t series;
    bool is_filling;
};

static void count_pairs(uint32_t slot, const struct head_cold *cold, void *context)
{
    (void)slot;
    struct list_part *part = context;
    const uint8_t *next = cold->labels;
    uint32_t id;
    while (packed_next(&next, cold->labels + cold->labels_bytes, &id))
        part->counts[id]++;
    part->series++;
}

static void fill_pairs(uint32_t slot, const struct head_cold *cold, void *context)
{
    struct list_part *part = context;
    const uint8_t *next = cold->labels;
    uint32_t id;
    while (packed_next(&next, cold->labels + cold->labels_bytes, &id))
        part->slots[part->counts[id]++] = slot;
    *part->all++ = slot;
}

static void run_part(void *argument)
{
    struct list_part *part = argument;
    each_series(part->head, part->begin, part->end, part->is_filling ? fill_pairs : count_pairs,
                part);
}

/* The first part here, the others beside it; here too where a thread cannot be had. */
static void run_parts(struct list_part *parts, unsigned count)
{
    struct nx_err ignored;
    for (unsigned i = 1; i < count; i++) {
        if (thread_start(&parts[i].thread, "head-load", run_part, &parts[i], &ignored) != NX_OK)
            run_part(&parts[i]);
    }
    run_part(&parts[0]);
    for (unsigned i = 1; i < count; i++)
        thread_join(&parts[i].thread);
}

/* Where each part's slots of each pair begin: pair by pair, in a pair part by part. Returns how many there are. */
static uint32_t place_lists(struct list_part *parts, unsigned count, uint32_t pair_limit)
{
    uint32_t total = 0;
    for (uint32_t id = 0; id < pair_limit; id++) {
        for (unsigned i = 0; i < count; i++) {
            uint32_t slots = parts[i].counts[id];
            parts[i].counts[id] = total;
            bool overflows = __builtin_add_overflow(total, slots, &total);
            NX_ASSERT(!overflows);
        }
    }
    return total;
}

static void fill_lists(struct head *head)
{
    struct head_index *index = &head->index;
    struct list_part parts[HEAD_SHARD_COUNT] = {0};
    unsigned count = head->loader->thread_count + 1;
    if (count > HEAD_SHARD_COUNT)
        count = HEAD_SHARD_COUNT;
    uint32_t locals = local_bound(head);
    mutex_lock(&index->lock);
    uint32_t pair_limit = index->pair_limit;
    for (unsigned i = 0; i < count; i++) {
        parts[i].head = head;
        parts[i].begin = (uint32_t)((uint64_t)locals * i / count);
        parts[i].end = (uint32_t)((uint64_t)locals * (i + 1) / count);
        parts[i].counts = nx_calloc(pair_limit, sizeof(*parts[i].counts));
    }
    run_parts(parts, count);
    uint32_t total = place_lists(parts, count, pair_limit);
    uint32_t *slots = nx_alloc((size_t)total * sizeof(*slots));
    size_t series = 0;
    for (unsigned i = 0; i < count; i++)
        series += parts[i].series;
    uint32_t *all = nx_alloc(series * sizeof(*all));
    uint32_t *next = all;
    for (unsigned i = 0; i < count; i++) {
        parts[i].slots = slots;
        parts[i].all = next;
        parts[i].is_filling = true;
        next += parts[i].series;
    }
    run_parts(parts, count);
    uint32_t start = 0;
    for (uint32_t id = 0; id < pair_limit; id++) {
        uint32_t end =
            parts[count - 1].counts[id]; /* the last part's slots of a pair are its last */
        if (end > start)
            index_fill_pair(index, id, slots + start, end - start);
        start = end;
    }
    index_fill_all(index, all, series);
    index_collect(index);
    mutex_unlock(&index->lock);
    for (unsigned i = 0; i < count; i++)
        nx_free(parts[i].counts);
    nx_free(slots);
    nx_free(all);
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

static void add_fresh(uint32_t slot, const struct head_cold *cold, void *context)
{
    (void)cold;
    nx_buf_append(context, &slot, sizeof(slot));
}

/* The order that the block gave, or a sort of everything when that was none. */
static void finish_order(struct head *head)
{
    const struct nx_buf *order = &head->loader->order;
    if (!atomic_load_explicit(&head->loader->is_disordered, memory_order_relaxed)) {
        order_set(head, ids_of(order), (uint32_t)(order->len / sizeof(uint32_t)));
        return;
    }
    struct nx_buf fresh = {0};
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        struct head_shard *shard = &head->shards[s];
        mutex_lock(&shard->lock);
        shard->fresh_count = 0;
        mutex_unlock(&shard->lock);
    }
    each_series(head, 0, local_bound(head), add_fresh, &fresh);
    order_add(head, ids_of(&fresh), (uint32_t)(fresh.len / sizeof(uint32_t)));
    nx_buf_deinit(&fresh);
}

void head_load_finish(struct head *head)
{
    if (head->is_loaded)
        return;
    if (head->loader != NULL) {
        struct nx_err ignored; /* told by the calls, or by head_load_wait */
        nx_ignore(head_loader_wait(head->loader, &ignored));
        fill_lists(head);
        for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
            rebuild_free_list(&head->shards[s]);
        finish_order(head);
        head_loader_free(head->loader);
        head->loader = NULL;
    }
    head->is_loaded = true;
}
