/* SPDX-License-Identifier: Apache-2.0 */
/* head_append.c - the write path: samples of a request to their series and to the journal's buffers.
 *
 *   writes --by shard, one counting sort--> per shard, under its lock: look ahead (prefetch), resolve, check,
 *   append, journal
 *
 * Load     2000 series of one sample each in a request, 125 a shard; 1M known series cost two cache misses each.
 * Looking ahead hides them: the series' two lines are asked for LOOK_HOT writes before their turn, and the chunk
 * that a full batch goes to LOOK_CHUNK writes before.
 */
#include "narthex/model/staleness.h"

#include "head_internal.h"

#define PIECE_WRITES                                                                               \
 2048u                 /* chosen: its order fits the stack, and its writes the second-level cache */
#define LOOK_HOT   16u /* measured: 8 to 32 are equal */
#define LOOK_CHUNK 6u

struct append_bounds {
    int64_t min_ms, max_ms;
};

static unsigned write_shard(const struct head_write *write)
{
    if (write->ref.slot != HEAD_SLOT_NONE)
        return series_ref_shard(write->ref);
    return (unsigned)(labels_hash(write->labels) & (HEAD_SHARD_COUNT - 1));
}

static void refuse(struct head_write *write, enum append_result why, struct sample sample,
                   uint32_t count)
{
    uint32_t before = 0;
    for (unsigned i = APPEND_OK + 1; i < APPEND_RESULT_COUNT; i++)
        before += write->refused[i];
    if (before == 0 && count > 0)
        write->refused_first = sample;
    write->refused[why] += count;
}

static enum append_result check_time(const struct append_bounds *bounds, int64_t time_ms)
{
    if (time_ms > bounds->max_ms)
        return APPEND_FUTURE;
    if (time_ms < bounds->min_ms)
        return APPEND_TOO_OLD;
    return APPEND_OK;
}

/* ---- resolve ---- */

/* A series is not made for samples that would be refused anyway. */
static bool has_sample_in_bounds(const struct head_write *write, const struct append_bounds *bounds)
{
    for (uint32_t i = 0; i < write->sample_count; i++) {
        if (check_time(bounds, write->samples[i].time_ms) == APPEND_OK)
            return true;
    }
    for (uint32_t i = 0; i < write->histogram_count; i++) {
        if (check_time(bounds, write->histograms[i].time_ms) == APPEND_OK)
            return true;
    }
    return false;
}

/* A sample of the write, for the message. */
static struct sample first_sample(const struct head_write *write)
{
    if (write->sample_count > 0)
        return write->samples[0];
    if (write->histogram_count > 0)
        return (struct sample){.time_ms = write->histograms[0].time_ms};
    return (struct sample){0};
}

static void refuse_out_of_bounds(struct head_write *write, const struct append_bounds *bounds)
{
    for (uint32_t i = 0; i < write->sample_count; i++)
        refuse(write, check_time(bounds, write->samples[i].time_ms), write->samples[i], 1);
    for (uint32_t i = 0; i < write->histogram_count; i++) {
        struct sample sample = {.time_ms = write->histograms[i].time_ms};
        refuse(write, check_time(bounds, sample.time_ms), sample, 1);
    }
    write->exemplars_refused += write->exemplar_count;
}

/* HEAD_SLOT_NONE: not resolved, and its samples are refused. */
static uint32_t resolve(struct head *head, struct head_shard *shard, struct head_write *write,
                        const struct append_bounds *bounds) NX_REQUIRES(shard->lock)
{
    uint32_t samples = write->sample_count + write->histogram_count;
    if (write->ref.slot != HEAD_SLOT_NONE) {
        if (hot_of(shard, write->ref) != NULL)
            return slot_local(write->ref.slot);
        refuse(write, APPEND_STALE_REF, first_sample(write), samples);
        return HEAD_SLOT_NONE;
    }
    shard_reserve_labels(shard, write->labels.count);
    uint32_t hash = index_hash_labels(write->labels, shard->hashes);
    uint32_t local = series_find(head, shard, hash, write->labels);
    if (local == HEAD_SLOT_NONE && has_sample_in_bounds(write, bounds)) {
        enum append_result verdict = APPEND_OK;
        if (head->admit != NULL)
            verdict = head->admit(head->admit_context, write->labels);
        if (verdict != APPEND_OK) {
            refuse(write, verdict, first_sample(write), samples);
            write->exemplars_refused += write->exemplar_count;
            return HEAD_SLOT_NONE;
        }
        for (size_t i = 0; i < write->labels.count; i++)
            shard->ids[i] = PAIR_NONE;
        local = series_create(head, shard, HEAD_SLOT_NONE, hash, write->labels);
        if (local == HEAD_SLOT_NONE) {
            refuse(write, APPEND_SERIES_LIMIT, first_sample(write), samples);
            write->exemplars_refused += write->exemplar_count;
            return HEAD_SLOT_NONE;
        }
        shard_add_fresh(shard, slot_of(head_shard_number(head, shard), local));
    }
    if (local == HEAD_SLOT_NONE) {
        refuse_out_of_bounds(write, bounds);
        return HEAD_SLOT_NONE;
    }
    write->ref = (struct series_ref){.slot = slot_of(head_shard_number(head, shard), local),
                                     .generation = hot_at(shard, local)->generation};
    return local;
}

/* ---- append ---- */

static void define(struct head *head, struct head_shard *shard, struct head_hot *hot,
                   uint32_t local, struct labels labels) NX_REQUIRES(shard->lock)
{
    if (labels.count == 0)
        labels = series_labels(head, shard, local);
    journal_buffer_define(&shard->pending, slot_of(head_shard_number(head, shard), local), labels);
    hot->flags |= HOT_DEFINED;
}

static void refuse_conflict(struct head_write *write, struct sample sample, bool has_histogram,
                            double stored)
{
    if (write->refused[APPEND_CONFLICT] == 0) {
        write->conflict_value = stored;
        write->has_histogram_conflict = has_histogram;
    }
    refuse(write, APPEND_CONFLICT, sample, 1);
}

/* Something of this time is new in the series; its entry for the journal comes next. */
static inline void took(struct head *head, struct head_shard *shard, struct head_hot *hot,
                        uint32_t local, const struct head_write *write, int64_t time_ms)
    NX_REQUIRES(shard->lock)
{
    time_span_add(&shard->open_span, time_ms);
    if (NX_UNLIKELY(!(hot->flags & HOT_DEFINED)))
        define(head, shard, hot, local, write->labels);
}

static void append_histogram(struct head *head, struct head_shard *shard, struct head_write *write,
                             uint32_t local, const struct histogram_sample *histogram)
    NX_REQUIRES(shard->lock)
{
    struct sample sample = {.time_ms = histogram->time_ms, .value = histogram->histogram->sum};
    if (series_has_float(shard, local, sample.time_ms)) {
        refuse_conflict(write, sample, true, 0);
        return;
    }
    struct head_hot *hot = hot_at(shard, local);
    enum side_result result =
        side_add_histogram(&shard->sides, side_get(&shard->sides, local), histogram);
    hot->flags |= HOT_SIDE;
    if (result == SIDE_CONFLICT) {
        refuse_conflict(write, sample, true, 0);
        return;
    }
    write->refused[APPEND_OK]++;
    if (result != SIDE_NEW)
        return;
    shard->samples++;
    took(head, shard, hot, local, write, sample.time_ms);
    journal_buffer_push_blob(&shard->pending, JOURNAL_BLOB_HISTOGRAM,
                             slot_of(head_shard_number(head, shard), local), sample.time_ms,
                             nx_buf_bytes(&shard->sides.buf));
}

static void append_exemplar(struct head *head, struct head_shard *shard, struct head_write *write,
                            uint32_t local, const struct exemplar *exemplar)
    NX_REQUIRES(shard->lock)
{
    struct head_hot *hot = hot_at(shard, local);
    enum side_result result =
        side_add_exemplar(&shard->sides, side_get(&shard->sides, local), exemplar);
    hot->flags |= HOT_SIDE;
    write->exemplars_refused += result == SIDE_FULL;
    if (result != SIDE_NEW)
        return;
    took(head, shard, hot, local, write, exemplar->time_ms);
    journal_buffer_push_blob(&shard->pending, JOURNAL_BLOB_EXEMPLAR,
                             slot_of(head_shard_number(head, shard), local), exemplar->time_ms,
                             nx_buf_bytes(&shard->sides.buf));
}

static void append_sides(struct head *head, struct head_shard *shard, struct head_write *write,
                         uint32_t local, const struct append_bounds *bounds)
    NX_REQUIRES(shard->lock)
{
    for (uint32_t i = 0; i < write->histogram_count; i++) {
        const struct histogram_sample *histogram = &write->histograms[i];
        enum append_result verdict = check_time(bounds, histogram->time_ms);
        if (verdict == APPEND_OK)
            append_histogram(head, shard, write, local, histogram);
        else
            refuse(write, verdict, (struct sample){.time_ms = histogram->time_ms}, 1);
    }
    for (uint32_t i = 0; i < write->exemplar_count; i++) {
        if (check_time(bounds, write->exemplars[i].time_ms) == APPEND_OK)
            append_exemplar(head, shard, write, local, &write->exemplars[i]);
        else
            write->exemplars_refused++;
    }
}

/* A float for a series with histograms: true when it was dealt with here. Senders mark the end of a histogram series by
 * the float marker too, which becomes that of a histogram. */
static bool append_beside(struct head *head, struct head_shard *shard, struct head_write *write,
                          uint32_t local, struct sample sample, uint64_t bits)
    NX_REQUIRES(shard->lock)
{
    const struct side_series *side = side_find(&shard->sides, local);
    if (bits == STALE_NAN_BITS && side_newest_ms(side) > hot_at(shard, local)->last_ms &&
        sample.time_ms > side_newest_ms(side)) {
        struct histogram marker = {.sum = sample.value};
        append_histogram(
            head, shard, write, local,
            &(struct histogram_sample){.time_ms = sample.time_ms, .histogram = &marker});
        return true;
    }
    if (!side_has_histogram_at(side, sample.time_ms))
        return false;
    refuse_conflict(write, sample, true, 0);
    return true;
}

static void append_write(struct head *head, struct head_shard *shard, struct head_write *write,
                         uint32_t local, const struct append_bounds *bounds)
    NX_REQUIRES(shard->lock)
{
    struct head_hot *hot = hot_at(shard, local);
    uint32_t slot = slot_of(head_shard_number(head, shard), local);
    for (uint32_t i = 0; i < write->sample_count; i++) {
        struct sample sample = write->samples[i];
        uint64_t bits;
        memcpy(&bits, &sample.value, sizeof(bits));
        enum append_result verdict = check_time(bounds, sample.time_ms);
        if (NX_UNLIKELY(verdict != APPEND_OK)) {
            refuse(write, verdict, sample, 1);
            continue;
        }
        if (NX_UNLIKELY(hot->flags & HOT_SIDE) &&
            append_beside(head, shard, write, local, sample, bits))
            continue;
        if (NX_LIKELY(sample.time_ms > hot->last_ms)) {
            series_push(shard, local, hot, sample.time_ms, bits);
        } else {
            bool is_new;
            uint64_t stored;
            if (!series_add_late(shard, local, hot, sample.time_ms, bits, &is_new, &stored)) {
                refuse_conflict(write, sample, false, float_from_bits(stored));
                continue;
            }
            if (!is_new) {
                write->refused[APPEND_OK]++;
                continue;
            }
            shard->late_samples++;
        }
        write->refused[APPEND_OK]++;
        shard->samples++;
        took(head, shard, hot, local, write, sample.time_ms);
        journal_buffer_push(&shard->pending, slot, sample.time_ms, bits);
    }
    if (NX_UNLIKELY(write->histogram_count + write->exemplar_count > 0))
        append_sides(head, shard, write, local, bounds);
}

static void look_at_hot(const struct head_shard *shard, const struct head_write *write)
{
    hot_prefetch(shard, slot_local(write->ref.slot));
}

static void look_at_chunk(const struct head_shard *shard, const struct head_write *write)
{
    stream_prefetch(shard, slot_local(write->ref.slot), write->sample_count);
}

static void append_shard(struct head *head, struct head_shard *shard, struct head_write *writes,
                         const uint16_t *order, size_t count, const struct append_bounds *bounds)
    NX_REQUIRES(shard->lock)
{
    size_t samples = 0;
    for (size_t i = 0; i < count; i++)
        samples += writes[order[i]].sample_count;
    journal_buffer_reserve(&shard->pending, samples);
    for (size_t i = 0; i < count && i < LOOK_HOT; i++)
        look_at_hot(shard, &writes[order[i]]);
    for (size_t i = 0; i < count; i++) {
        if (i + LOOK_HOT < count)
            look_at_hot(shard, &writes[order[i + LOOK_HOT]]);
        if (i + LOOK_CHUNK < count)
            look_at_chunk(shard, &writes[order[i + LOOK_CHUNK]]);
        struct head_write *write = &writes[order[i]];
        uint32_t local = resolve(head, shard, write, bounds);
        if (local != HEAD_SLOT_NONE)
            append_write(head, shard, write, local, bounds);
    }
}

/* Shards are visited from a different one in each call, so that workers do not queue up behind one another. */
static void append_piece(struct head *head, struct head_write *writes, size_t count,
                         const struct append_bounds *bounds)
{
    uint8_t shards[PIECE_WRITES];
    uint16_t order[PIECE_WRITES];
    size_t starts[HEAD_SHARD_COUNT + 1] = {0};
    size_t fill[HEAD_SHARD_COUNT];
    for (size_t i = 0; i < count; i++) {
        memset(writes[i].refused, 0, sizeof(writes[i].refused));
        writes[i].exemplars_refused = 0;
        shards[i] = (uint8_t)write_shard(&writes[i]);
        starts[shards[i] + 1]++;
    }
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        starts[s + 1] += starts[s];
        fill[s] = starts[s];
    }
    for (size_t i = 0; i < count; i++)
        order[fill[shards[i]]++] = (uint16_t)i;
    uint32_t turn = atomic_fetch_add_explicit(&head->shard_turn, 1, memory_order_relaxed);
    for (unsigned k = 0; k < HEAD_SHARD_COUNT; k++) {
        unsigned s = (turn + k) & (HEAD_SHARD_COUNT - 1);
        if (starts[s] == starts[s + 1])
            continue;
        struct head_shard *shard = &head->shards[s];
        mutex_lock(&shard->lock);
        append_shard(head, shard, writes, order + starts[s], starts[s + 1] - starts[s], bounds);
        mutex_unlock(&shard->lock);
    }
}

void head_append(struct head *head, struct head_write *writes, size_t count, int64_t time_min_ms,
                 int64_t time_max_ms)
{
    struct append_bounds bounds = {.min_ms = time_min_ms, .max_ms = time_max_ms};
    while (count > 0) {
        size_t piece = count < PIECE_WRITES ? count : PIECE_WRITES;
        append_piece(head, writes, piece, &bounds);
        writes += piece;
        count -= piece;
    }
}

void head_push_blob(struct head *head, enum journal_blob_kind kind, struct nx_bytes payload)
{
    struct head_shard *shard = &head->shards[0];
    mutex_lock(&shard->lock);
    journal_buffer_push_blob(&shard->pending, kind, 0, 0, payload);
    mutex_unlock(&shard->lock);
}

void head_take_pending(struct head *head, unsigned shard_number, struct journal_buffer *inout)
{
    NX_ASSERT(shard_number < HEAD_SHARD_COUNT);
    struct head_shard *shard = &head->shards[shard_number];
    mutex_lock(&shard->lock);
    struct journal_buffer taken = shard->pending;
    shard->pending = *inout;
    mutex_unlock(&shard->lock);
    *inout = taken;
}
