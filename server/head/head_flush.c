/* SPDX-License-Identifier: Apache-2.0 */
/* head_flush.c - what the head holds becomes columns for a block, and goes when the block is published.
 *
 *   begin   sweep: shard by shard, some hundred series at a time under the lock,
 *             pending -> open stream -> sealed stream;  late -> sealed late;  nothing sealed: no longer DEFINED
 *           order: new series are sorted and merged into the label order of the others
 *   next    in label order, without locks: sealed chunks do not change, and only the flusher lets go of them
 *   end     published: sealed data goes, series without any in this flush and the one before leave their slots
 *           else: sealed data stays; the next sweep puts the then open stream behind it
 *
 * Cut      a sample counts as sealed by when its series is swept, so the flush holds all that was appended before
 *          begin and some of what came during it. The journal after the cut has those too: replaying them changes
 *          nothing.
 * Defined  a series swept with data is defined by the block to come; one without data is defined again, in the
 *          journal, by its next sample. If the block is never published, the journal still begins at the cut before,
 *          with every definition.
 * Slots    a series that leaves has had no sample since the flush before the last began, so neither the block nor
 *          the journal behind its cut speaks of its slot.
 * Chunks   while a shard is swept, series that are not waiting for the sweep write to arena_next, so that afterwards
 *          arena_open holds sealed chunks only and is let go of as a whole.
 */
#include "head_internal.h"

#define SWEEP_SERIES     256u /* chosen: some 50 us under the lock */
#define SPARE_SHARE      8u   /* chosen: of the blocks let go of, one in eight stays */
#define GIVE_BACK_BLOCKS 8u   /* chosen: some 50 us under the lock */
#define LOOK_COLD        16u
#define LOOK_CHUNK       8u
#define LOOK_PAIRS       3u

struct head_flush {
    struct head *head;
    uint32_t *slots; /* with sealed data, in label order */
    uint32_t count;
    uint32_t next;
    uint64_t samples; /* handed out */
    struct nx_buf stream;
    struct nx_buf times;
    struct nx_buf values;
    struct nx_buf histograms; /* struct histogram_sample */
    struct nx_buf exemplars;  /* struct exemplar */
    struct side_copy side;
    struct arena arena; /* of both */
    bool has_sides[HEAD_SHARD_COUNT];
    struct label *labels;
    uint32_t *ids;
    size_t labels_cap;
};

/* ---- begin: sweep ---- */

/* One bit a local number of a shard: has sealed data. */
struct shard_marks {
    uint8_t *bits;
    uint32_t count;
    bool has_sides; /* some of these have histograms or exemplars */
};

/* True: with histograms or exemplars. */
static bool seal_series(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                        struct head_cold *cold) NX_REQUIRES(shard->lock)
{
    if (hot->pending > 0)
        series_encode_pending(shard, local, hot);
    if (hot->stream != 0) {
        size_t bytes = stream_bytes(&shard->store, hot->stream);
        size_t units = (bytes + STREAM_BEFORE_UNIT - 1) / STREAM_BEFORE_UNIT;
        hot->stream_before = (uint8_t)(units < UINT8_MAX ? units : UINT8_MAX);
        if (cold->sealed != 0)
            stream_link(&shard->store, hot->stream, cold->sealed);
        cold->sealed = hot->stream;
        hot->stream = 0;
    }
    late_move(shard, &cold->sealed_late, &cold->late);
    hot->flags &= (uint8_t) ~(HOT_LATE | HOT_SEALED | HOT_BREAK);
    bool has_side =
        (hot->flags & HOT_SIDE) && side_seal(&shard->sides, side_find(&shard->sides, local));
    if (cold->sealed != 0 || cold->sealed_late != 0 || has_side)
        hot->flags |= HOT_SEALED;
    else
        hot->flags &= (uint8_t)~HOT_DEFINED;
    return has_side;
}

/* Seals the next series of a running sweep. */
static void sweep_some(struct head_shard *shard, struct shard_marks *marks) NX_REQUIRES(shard->lock)
{
    uint32_t end = shard->sweep_next + SWEEP_SERIES;
    if (end > shard->sweep_end)
        end = shard->sweep_end;
    for (; shard->sweep_next < end; shard->sweep_next++) {
        uint32_t local = shard->sweep_next;
        struct head_hot *hot = hot_live(shard, local);
        if (hot == NULL)
            continue;
        marks->has_sides |= seal_series(shard, local, hot, cold_at(shard, local));
        if (hot->flags & HOT_SEALED)
            marks->bits[local / 8] |= (uint8_t)(1u << (local % 8));
    }
}

static void sweep_start(struct head_shard *shard, struct shard_marks *marks)
    NX_REQUIRES(shard->lock)
{
    marks->count = shard->local_count;
    marks->bits = nx_calloc(marks->count / 8 + 1, 1);
    shard->sweep_next = 0;
    shard->sweep_end = shard->local_count;
    shard->is_sweeping = true;
    /* What is appended to swept series counts from here on; for the others both spans hold it. */
    time_span_join(&shard->sealed_span, &shard->open_span);
    shard->open_span = TIME_SPAN_EMPTY;
}

static void sweep_finish(struct head_shard *shard) NX_REQUIRES(shard->lock)
{
    stream_arena_join(&shard->arena_sealed, &shard->arena_open);
    shard->arena_open = shard->arena_next;
    shard->arena_next = (struct stream_arena){0};
    shard->sweep_next = 0;
    shard->sweep_end = 0;
    shard->is_sweeping = false;
}

/* Seals a shard and takes the slots of its new series. */
static void sweep_shard(struct head_shard *shard, struct shard_marks *marks, struct nx_buf *fresh)
{
    mutex_lock(&shard->lock);
    sweep_start(shard, marks);
    while (shard->sweep_next < shard->sweep_end) {
        sweep_some(shard, marks);
        lock_pause(&shard->lock);
    }
    sweep_finish(shard);
    nx_buf_append(fresh, shard->fresh, shard->fresh_count * sizeof(*shard->fresh));
    nx_free(shard->fresh);
    shard->fresh = NULL;
    shard->fresh_count = 0;
    shard->fresh_cap = 0;
    mutex_unlock(&shard->lock);
}

/* ---- begin: order ---- */

/* Labels of live series do not change, so the flusher, who alone removes series, reads them without the lock. */
static struct order_item item_of(const struct head *head, uint32_t slot)
{
    const struct head_cold *cold = cold_at(&head->shards[slot_shard(slot)], slot_local(slot));
    return (struct order_item){.packed = cold->labels, .bytes = cold->labels_bytes, .tag = slot};
}

static bool comes_before(const struct head *head, uint32_t slot, const struct order_item *item)
{
    struct order_item other = item_of(head, slot);
    return packed_compare(&head->index, other.packed, other.bytes, item->packed, item->bytes) < 0;
}

/* First position at or after `from` in the order whose series does not come before the item; found by doubling steps,
 * so that few new series among many cost few comparisons, and many cost about one each. */
static uint32_t position_in_order(const struct head *head, uint32_t from,
                                  const struct order_item *item)
{
    uint32_t step = 1;
    uint32_t low = from;
    uint32_t high = from;
    while (high < head->order_count && comes_before(head, head->order[high], item)) {
        low = high + 1;
        high = head->order_count - high > step ? high + step : head->order_count;
        step *= 2;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (comes_before(head, head->order[middle], item))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void take_order(struct head *head, uint32_t *order, uint32_t count)
{
    nx_free(head->order);
    head->order = order;
    head->order_count = count;
    atomic_store_explicit(&head->order_bytes, (uint64_t)count * sizeof(*order),
                          memory_order_relaxed);
}

/* Readers compare ranks of several shards: the epoch tells them when those do not belong together. */
static void assign_ranks(struct head *head)
{
    atomic_fetch_add_explicit(&head->order_epoch, 1, memory_order_relaxed);
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        struct head_shard *shard = &head->shards[s];
        for (uint32_t i = 0; i < head->order_count;) {
            mutex_lock(&shard->lock);
            for (unsigned done = 0; i < head->order_count && done < SWEEP_SERIES; i++) {
                if (slot_shard(head->order[i]) != s)
                    continue;
                cold_at(shard, slot_local(head->order[i]))->rank = i;
                done++;
            }
            mutex_unlock(&shard->lock);
        }
    }
    atomic_fetch_add_explicit(&head->order_epoch, 1, memory_order_relaxed);
}

void order_set(struct head *head, const uint32_t *slots, uint32_t count)
{
    uint32_t *order = nx_alloc(count * sizeof(*order));
    if (count > 0)
        memcpy(order, slots, count * sizeof(*order));
    take_order(head, order, count);
    assign_ranks(head);
}

void order_add(struct head *head, const uint32_t *fresh, uint32_t fresh_count)
{
    if (fresh_count == 0)
        return;
    struct order_item *items = nx_alloc(fresh_count * sizeof(*items));
    for (uint32_t i = 0; i < fresh_count; i++)
        items[i] = item_of(head, fresh[i]);
    order_sort(&head->index, items, fresh_count);
    uint32_t count = head->order_count + fresh_count;
    uint32_t *order = nx_alloc(count * sizeof(*order));
    uint32_t from = 0;
    uint32_t out = 0;
    for (uint32_t i = 0; i < fresh_count; i++) {
        uint32_t to = position_in_order(head, from, &items[i]);
        if (to > from)
            memcpy(order + out, head->order + from, (to - from) * sizeof(*order));
        out += to - from;
        from = to;
        order[out++] = items[i].tag;
    }
    if (head->order_count > from)
        memcpy(order + out, head->order + from, (head->order_count - from) * sizeof(*order));
    nx_free(items);
    take_order(head, order, count);
    assign_ranks(head);
}

static void list_sealed(struct head_flush *flush, const struct shard_marks *marks)
{
    const struct head *head = flush->head;
    flush->slots = nx_alloc(head->order_count * sizeof(*flush->slots));
    for (uint32_t i = 0; i < head->order_count; i++) {
        const struct shard_marks *of = &marks[slot_shard(head->order[i])];
        uint32_t local = slot_local(head->order[i]);
        if (local < of->count && (of->bits[local / 8] >> (local % 8) & 1))
            flush->slots[flush->count++] = head->order[i];
    }
}

nx_code head_flush_begin(struct head *head, struct head_flush **out_flush, struct nx_err *err)
{
    if (head->is_flushing)
        return nx_err_set(err, NX_E_BUSY, "head: a flush is running");
    head->is_flushing = true;
    struct head_flush *flush = nx_calloc(1, sizeof(*flush));
    struct shard_marks marks[HEAD_SHARD_COUNT] = {0};
    struct nx_buf fresh = {0};
    flush->head = head;
    arena_init(&flush->arena, 0);
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        sweep_shard(&head->shards[s], &marks[s], &fresh);
        flush->has_sides[s] = marks[s].has_sides;
    }
    order_add(head, (const uint32_t *)(void *)fresh.data, (uint32_t)(fresh.len / sizeof(uint32_t)));
    list_sealed(flush, marks);
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
        nx_free(marks[s].bits);
    nx_buf_deinit(&fresh);
    *out_flush = flush;
    return NX_OK;
}

/* ---- next ---- */

/* Cold line, then labels and newest chunk, then pairs and the chunk before: each asked for by what the step before
 * brought. */
static void look_ahead(const struct head_flush *flush)
{
    const struct head *head = flush->head;
    if (flush->next + LOOK_COLD < flush->count) {
        uint32_t slot = flush->slots[flush->next + LOOK_COLD];
        __builtin_prefetch(cold_at(&head->shards[slot_shard(slot)], slot_local(slot)));
    }
    if (flush->next + LOOK_CHUNK < flush->count) {
        uint32_t slot = flush->slots[flush->next + LOOK_CHUNK];
        const struct head_shard *shard = &head->shards[slot_shard(slot)];
        const struct head_cold *cold = cold_at(shard, slot_local(slot));
        __builtin_prefetch(cold->labels);
        if (cold->sealed != 0)
            __builtin_prefetch(stream_store_chunk(&shard->store, cold->sealed));
    }
    if (flush->next + LOOK_PAIRS < flush->count) {
        uint32_t slot = flush->slots[flush->next + LOOK_PAIRS];
        const struct head_shard *shard = &head->shards[slot_shard(slot)];
        const struct head_cold *cold = cold_at(shard, slot_local(slot));
        const uint8_t *next = cold->labels;
        uint32_t id;
        while (packed_next(&next, cold->labels + cold->labels_bytes, &id))
            __builtin_prefetch(index_pair_at(&head->index, id));
        uint32_t older = 0;
        if (cold->sealed != 0)
            older = stream_store_chunk(&shard->store, cold->sealed)->older;
        if (older != 0)
            __builtin_prefetch(stream_store_chunk(&shard->store, older));
    }
}

static struct labels flush_labels(struct head_flush *flush, const struct head_cold *cold)
{
    size_t count = packed_ids(cold->labels, cold->labels_bytes, NULL);
    if (count > flush->labels_cap) {
        flush->labels_cap = count < 32 ? 32 : count;
        flush->labels = nx_realloc_array(flush->labels, flush->labels_cap, sizeof(*flush->labels));
        flush->ids = nx_realloc_array(flush->ids, flush->labels_cap, sizeof(*flush->ids));
    }
    packed_ids(cold->labels, cold->labels_bytes, flush->ids);
    for (size_t i = 0; i < count; i++)
        flush->labels[i] = index_label(&flush->head->index, flush->ids[i]);
    return (struct labels){.items = flush->labels, .count = count};
}

/* The vector of late lists is the shard's, and appenders move it. */
static void merge_sealed_late(struct head_flush *flush, struct head_shard *shard, uint32_t list)
{
    if (list == 0)
        return;
    mutex_lock(&shard->lock);
    const struct late_list *late = &shard->lates[list - 1];
    late_merge_into(&flush->times, &flush->values, 0, late->items, late->count, INT64_MIN,
                    INT64_MAX);
    mutex_unlock(&shard->lock);
}

/* Appenders move the entries of sides, so the codes are copied under the lock. */
static nx_code read_sealed_side(struct head_flush *flush, struct head_shard *shard, uint32_t local)
{
    nx_buf_reset(&flush->histograms);
    nx_buf_reset(&flush->exemplars);
    if (!flush->has_sides[head_shard_number(flush->head, shard)])
        return NX_OK;
    arena_reset(&flush->arena);
    for (unsigned kind = 0; kind < 2; kind++) {
        side_copy_reset(&flush->side);
        mutex_lock(&shard->lock);
        const struct side_series *side = NULL;
        if (hot_at(shard, local)->flags & HOT_SIDE)
            side = side_find(&shard->sides, local);
        if (side != NULL && kind == 0)
            side_copy_histograms(side, true, &flush->side);
        if (side != NULL && kind == 1)
            side_copy_exemplars(side, true, &flush->side);
        mutex_unlock(&shard->lock);
        if (side == NULL)
            return NX_OK;
        nx_code code = kind == 0 ? side_decode_histograms(&flush->side, INT64_MIN, INT64_MAX,
                                                          &flush->arena, &flush->histograms)
                                 : side_decode_exemplars(&flush->side, INT64_MIN, INT64_MAX,
                                                         &flush->arena, &flush->exemplars);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

int head_flush_next(struct head_flush *flush, struct head_flush_series *out, struct nx_err *err)
{
    if (flush->next == flush->count)
        return 0;
    look_ahead(flush);
    uint32_t slot = flush->slots[flush->next++];
    struct head_shard *shard = &flush->head->shards[slot_shard(slot)];
    const struct head_cold *cold = cold_at(shard, slot_local(slot));
    nx_buf_reset(&flush->stream);
    nx_buf_reset(&flush->times);
    nx_buf_reset(&flush->values);
    if (cold->sealed != 0)
        stream_gather(&shard->store, cold->sealed, &flush->stream);
    nx_code code = stream_read(flush->stream.data, flush->stream.len, INT64_MIN, INT64_MAX,
                               &flush->times, &flush->values);
    if (code == NX_OK)
        code = read_sealed_side(flush, shard, slot_local(slot));
    if (code != NX_OK) {
        nx_err_set(err, code, "head: samples of slot %u do not decode", slot);
        return -1;
    }
    merge_sealed_late(flush, shard, cold->sealed_late);
    out->labels = flush_labels(flush, cold);
    out->slot = slot;
    out->times_ms = (const int64_t *)(void *)flush->times.data;
    out->values = (const double *)(void *)flush->values.data;
    out->count = flush->times.len / sizeof(int64_t);
    out->histograms = (const struct histogram_sample *)(void *)flush->histograms.data;
    out->histogram_count = flush->histograms.len / sizeof(*out->histograms);
    out->exemplars = (const struct exemplar *)(void *)flush->exemplars.data;
    out->exemplar_count = flush->exemplars.len / sizeof(*out->exemplars);
    flush->samples += out->count + out->histogram_count;
    return 1;
}

/* ---- end ---- */

/* Whether the series leaves: it had data neither in this flush, nor in the one before, nor since. */
static bool pass_flush(struct head_hot *hot, bool is_leaving)
{
    bool was_sealed = hot->flags & HOT_SEALED;
    bool was_in_previous = hot->flags & HOT_IN_PREVIOUS;
    hot->flags &= (uint8_t)~HOT_SEALED;
    if (was_sealed)
        hot->flags |= HOT_IN_PREVIOUS;
    else if (is_leaving)
        hot->flags &= (uint8_t)~HOT_IN_PREVIOUS;
    return is_leaving && !was_sealed && !was_in_previous && !hot_has_data(hot);
}

static void remove_series(struct head *head, struct head_shard *shard, const uint32_t *locals,
                          unsigned count) NX_REQUIRES(shard->lock)
{
    if (count == 0)
        return;
    mutex_lock(&head->index.lock);
    atomic_fetch_add_explicit(&head->removals, 1, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++)
        series_remove(head, shard, locals[i]);
    mutex_unlock(&head->index.lock);
}

/* Locals [from, end) of a shard after a published flush; the slots that are freed are appended. */
static void end_some(struct head *head, struct head_shard *shard, uint32_t from, uint32_t end,
                     struct nx_buf *freed) NX_REQUIRES(shard->lock)
{
    uint32_t leaving[SWEEP_SERIES];
    unsigned count = 0;
    for (uint32_t local = from; local < end; local++) {
        struct head_hot *hot = hot_live(shard, local);
        if (hot == NULL)
            continue;
        if (hot->flags & HOT_SEALED) {
            struct head_cold *cold = cold_at(shard, local);
            cold->sealed = 0;
            late_free(shard, &cold->sealed_late);
            if ((hot->flags & HOT_SIDE) &&
                !side_let_go(&shard->sides, side_find(&shard->sides, local)))
                hot->flags &= (uint8_t)~HOT_SIDE;
        }
        if (!pass_flush(hot, head->is_leaving))
            continue;
        uint32_t slot = slot_of(head_shard_number(head, shard), local);
        nx_buf_append(freed, &slot, sizeof(slot));
        leaving[count++] = local;
    }
    remove_series(head, shard, leaving, count);
}

/* New pages cost less than a nanosecond a sample, so only some blocks wait for the next interval. */
static void give_back_spare(struct head_shard *shard, uint32_t kept) NX_REQUIRES(shard->lock)
{
    while (shard->store.spare_mapped > kept) {
        uint32_t count = shard->store.spare_mapped - kept;
        stream_store_give_back(&shard->store, count < GIVE_BACK_BLOCKS ? count : GIVE_BACK_BLOCKS);
        lock_pause(&shard->lock);
    }
}

static void end_shard(struct head *head, struct head_shard *shard, struct nx_buf *freed)
{
    mutex_lock(&shard->lock);
    uint32_t end = shard->local_count;
    for (uint32_t local = 0; local < end; local += SWEEP_SERIES) {
        uint32_t piece_end = end - local > SWEEP_SERIES ? local + SWEEP_SERIES : end;
        end_some(head, shard, local, piece_end, freed);
        lock_pause(&shard->lock);
    }
    uint32_t kept = shard->arena_sealed.count / SPARE_SHARE;
    stream_store_release(&shard->store, &shard->arena_sealed, shard->arena_sealed.count);
    give_back_spare(shard, kept);
    shard->sealed_span = TIME_SPAN_EMPTY;
    mutex_unlock(&shard->lock);
}

/* A freed slot that has a new series by now is not in the order yet: that series is among the fresh ones. */
static void drop_from_order(struct head *head, const uint32_t *freed, size_t count)
{
    if (count == 0)
        return;
    uint32_t slot_max = 0;
    for (size_t i = 0; i < count; i++)
        slot_max = freed[i] > slot_max ? freed[i] : slot_max;
    uint8_t *is_freed = nx_calloc((size_t)slot_max / 8 + 1, 1);
    for (size_t i = 0; i < count; i++)
        is_freed[freed[i] / 8] |= (uint8_t)(1u << (freed[i] % 8));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < head->order_count; i++) {
        uint32_t slot = head->order[i];
        if (slot > slot_max || !(is_freed[slot / 8] >> (slot % 8) & 1))
            head->order[kept++] = slot;
    }
    head->order_count = kept;
    nx_free(is_freed);
}

static void end_published(struct head *head)
{
    struct nx_buf freed = {0};
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
        end_shard(head, &head->shards[s], &freed);
    drop_from_order(head, (const uint32_t *)(void *)freed.data, freed.len / sizeof(uint32_t));
    nx_buf_deinit(&freed);
    mutex_lock(&head->index.lock);
    index_collect(&head->index);
    mutex_unlock(&head->index.lock);
}

void head_set_leaving(struct head *head, bool is_leaving)
{
    head->is_leaving = is_leaving;
}

void head_flush_end(struct head_flush *flush, bool is_published)
{
    struct head *head = flush->head;
    NX_ASSERT(!is_published || flush->next == flush->count);
    if (is_published) {
        atomic_fetch_add_explicit(&head->flushed_samples, flush->samples, memory_order_relaxed);
        end_published(head);
    }
    head->is_flushing = false;
    nx_buf_deinit(&flush->stream);
    nx_buf_deinit(&flush->times);
    nx_buf_deinit(&flush->values);
    nx_buf_deinit(&flush->histograms);
    nx_buf_deinit(&flush->exemplars);
    side_copy_deinit(&flush->side);
    arena_deinit(&flush->arena);
    nx_free(flush->labels);
    nx_free(flush->ids);
    nx_free(flush->slots);
    nx_free(flush);
}
