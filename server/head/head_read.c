/* SPDX-License-Identifier: Apache-2.0 */
/* head_read.c - one series' samples: bytes are copied under the shard's lock and decoded outside it. */
#include "head_internal.h"

/* What a series holds, copied. */
struct read_copy {
    struct nx_buf streams; /* sealed, then open; STREAM_PAD more are readable */
    int64_t pending_ms[STREAM_BATCH];
    uint64_t pending_bits[STREAM_BATCH];
    unsigned pending;
    struct late_sample *late; /* ascending, heap */
    size_t late_count;
};

static void copy_late(struct head_shard *shard, const struct head_cold *cold,
                      struct read_copy *copy) NX_REQUIRES(shard->lock)
{
    const struct late_list none = {0};
    const struct late_list *old =
        cold->sealed_late == 0 ? &none : &shard->lates[cold->sealed_late - 1];
    const struct late_list *young = cold->late == 0 ? &none : &shard->lates[cold->late - 1];
    copy->late_count = (size_t)old->count + young->count;
    if (copy->late_count == 0)
        return;
    copy->late = nx_alloc(copy->late_count * sizeof(*copy->late));
    size_t from_old = 0;
    size_t from_young = 0;
    for (size_t i = 0; i < copy->late_count; i++) {
        bool is_old = from_young == young->count ||
                      (from_old < old->count &&
                       old->items[from_old].time_ms < young->items[from_young].time_ms);
        copy->late[i] = is_old ? old->items[from_old++] : young->items[from_young++];
    }
}

static void copy_series(struct head_shard *shard, uint32_t local, struct read_copy *copy)
    NX_REQUIRES(shard->lock)
{
    const struct head_hot *hot = hot_at(shard, local);
    const struct head_cold *cold = cold_at(shard, local);
    if (cold->sealed != 0)
        stream_gather(&shard->store, cold->sealed, &copy->streams);
    if (hot->stream != 0)
        stream_gather(&shard->store, hot->stream, &copy->streams);
    struct hot_columns pending;
    hot_unpack(hot, &pending);
    copy->pending = pending.count;
    uint64_t time = (uint64_t)hot->last_ms;
    for (unsigned i = pending.count; i-- > 0;) {
        copy->pending_ms[i] = (int64_t)time;
        copy->pending_bits[i] = pending.bits[i];
        time -= pending.steps[i];
    }
    copy_late(shard, cold, copy);
}

static nx_code decode_copy(const struct read_copy *copy, int64_t min_ms, int64_t max_ms,
                           struct nx_buf *times_ms, struct nx_buf *values)
{
    size_t start = times_ms->len / sizeof(int64_t);
    nx_code code =
        stream_read(copy->streams.data, copy->streams.len, min_ms, max_ms, times_ms, values);
    if (code != NX_OK)
        return code;
    for (unsigned i = 0; i < copy->pending; i++) {
        if (copy->pending_ms[i] < min_ms || copy->pending_ms[i] > max_ms)
            continue;
        nx_buf_append(times_ms, &copy->pending_ms[i], sizeof(int64_t));
        nx_buf_append(values, &copy->pending_bits[i], sizeof(uint64_t));
    }
    if (copy->late_count > 0)
        late_merge_into(times_ms, values, start, copy->late, copy->late_count, min_ms, max_ms);
    return NX_OK;
}

/* The ref was handed over under the lock, so its segments are there and stay: the misses overlap one another and the
 * wait for the lock. */
NX_NO_THREAD_ANALYSIS static void look_at_series(const struct head_shard *shard, uint32_t local)
{
    if (segvec_has(&shard->hots, local) && segvec_has(&shard->colds, local)) {
        const char *hot = (const char *)hot_at(shard, local);
        __builtin_prefetch(hot);
        __builtin_prefetch(hot + 64);
        __builtin_prefetch(cold_at(shard, local));
    }
}

nx_code head_read(struct head *head, struct series_ref ref, int64_t min_ms, int64_t max_ms,
                  struct nx_buf *times_ms, struct nx_buf *values, struct nx_err *err)
{
    struct head_shard *shard = &head->shards[series_ref_shard(ref)];
    uint32_t local = slot_local(ref.slot);
    struct read_copy copy = {0};
    look_at_series(shard, local);
    mutex_lock(&shard->lock);
    if (hot_of(shard, ref) != NULL)
        copy_series(shard, local, &copy);
    mutex_unlock(&shard->lock);
    nx_code code = decode_copy(&copy, min_ms, max_ms, times_ms, values);
    nx_buf_deinit(&copy.streams);
    nx_free(copy.late);
    if (code != NX_OK)
        return nx_err_set(err, code, "head: samples of slot %u do not decode", ref.slot);
    return NX_OK;
}

/* Fills the copy with one kind of the series' side data; nothing when it has none or has left. */
static void copy_side(struct head *head, struct series_ref ref, bool is_exemplars,
                      struct side_copy *copy)
{
    struct head_shard *shard = &head->shards[series_ref_shard(ref)];
    mutex_lock(&shard->lock);
    const struct head_hot *hot = hot_of(shard, ref);
    if (hot != NULL && (hot->flags & HOT_SIDE)) {
        const struct side_series *side = side_find(&shard->sides, slot_local(ref.slot));
        if (is_exemplars)
            side_copy_exemplars(side, false, copy);
        else
            side_copy_histograms(side, false, copy);
    }
    mutex_unlock(&shard->lock);
}

static nx_code side_failed(nx_code code, struct series_ref ref, struct nx_err *err)
{
    if (code == NX_E_LIMIT)
        return nx_err_set(err, code,
                          "the histograms of one series need more memory than a query may use");
    return nx_err_set(err, code, "head: histograms or exemplars of slot %u do not decode",
                      ref.slot);
}

nx_code head_read_histograms(struct head *head, struct series_ref ref, int64_t min_ms,
                             int64_t max_ms, struct arena *arena, struct nx_buf *out,
                             struct nx_err *err)
{
    struct side_copy copy = {0};
    copy_side(head, ref, false, &copy);
    nx_code code = side_decode_histograms(&copy, min_ms, max_ms, arena, out);
    side_copy_deinit(&copy);
    return code == NX_OK ? NX_OK : side_failed(code, ref, err);
}

nx_code head_read_exemplars(struct head *head, struct series_ref ref, int64_t min_ms,
                            int64_t max_ms, struct arena *arena, struct nx_buf *out,
                            struct nx_err *err)
{
    struct side_copy copy = {0};
    copy_side(head, ref, true, &copy);
    nx_code code = side_decode_exemplars(&copy, min_ms, max_ms, arena, out);
    side_copy_deinit(&copy);
    return code == NX_OK ? NX_OK : side_failed(code, ref, err);
}
