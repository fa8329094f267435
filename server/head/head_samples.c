/* SPDX-License-Identifier: Apache-2.0 */
/* head_samples.c - a series' samples: pending values into chunks, late ones into a list, and everything back as
 * columns.
 *
 * Chunks   a series needs about as much in each flush interval: its first chunk gets half of what the last interval
 *          needed, and the second the rest. Where that is not known they have room for four batches like the one at
 *          hand. What comes on top goes to small chunks that grow by a quarter each, so that a stream that no flush
 *          takes stays a short chain.
 * Late     a look-up decodes the stream up to the time in question; that is the price of a late sample, not of an
 *          ordinary one.
 */
#include "head_internal.h"

#include <string.h>

#define CHUNK_BATCHES      4u /* measured: shorter chunks cost headers, longer ones their unused end */
#define CHUNK_BATCHES_MORE 2u
#define CHUNK_MARGIN       16u /* chosen: the second chunk expects a sixteenth more than the last time */
#define CHUNK_CAP_MAX      1024u
#define BATCH_HEAD_LEN     12u /* what an absolute batch has on top of an ordinary one, about */

/* ---- pending values to chunks ---- */

/* Room for some more batches like the one at hand. */
static size_t room_for(size_t batch_bytes, bool is_absolute, size_t batches)
{
    size_t later = batch_bytes;
    if (is_absolute)
        later = batch_bytes > BATCH_HEAD_LEN + 1 ? batch_bytes - BATCH_HEAD_LEN : 1;
    return batch_bytes + (batches - 1) * later;
}

static size_t chunk_cap_for(const struct head_shard *shard, const struct head_hot *hot,
                            size_t batch_bytes, bool is_absolute) NX_REQUIRES(shard->lock)
{
    size_t expected = hot->stream_before * STREAM_BEFORE_UNIT;
    size_t cap = room_for(batch_bytes, is_absolute, CHUNK_BATCHES);
    if (hot->stream == 0) {
        cap = expected / 2 > cap ? expected / 2 : cap;
    } else {
        const struct stream_chunk *chunk = stream_store_chunk(&shard->store, hot->stream);
        if (chunk->older == 0 && expected > chunk->used + batch_bytes)
            cap = expected + expected / CHUNK_MARGIN - chunk->used;
        else if (chunk->older != 0)
            cap = room_for(batch_bytes, is_absolute, CHUNK_BATCHES_MORE);
        if (chunk->older != 0 && stream_store_chunk(&shard->store, chunk->older)->older != 0 &&
            cap < chunk->cap + chunk->cap / 4u)
            cap = chunk->cap + chunk->cap / 4u;
    }
    size_t cap_max = batch_bytes > CHUNK_CAP_MAX ? batch_bytes : CHUNK_CAP_MAX;
    return cap < cap_max ? cap : cap_max;
}

/* What a sweep has yet to seal must stay among what it seals, and nothing else may join that. */
static struct stream_arena *arena_for(struct head_shard *shard, uint32_t local)
    NX_REQUIRES(shard->lock)
{
    bool is_to_seal = local >= shard->sweep_next && local < shard->sweep_end;
    return shard->is_sweeping && !is_to_seal ? &shard->arena_next : &shard->arena_open;
}

static void stream_append(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                          const uint8_t *data, size_t bytes, bool is_absolute)
    NX_REQUIRES(shard->lock)
{
    struct stream_chunk *chunk = NULL;
    if (hot->stream != 0)
        chunk = stream_store_chunk(&shard->store, hot->stream);
    if (chunk == NULL || (size_t)chunk->used + bytes > chunk->cap) {
        size_t cap = chunk_cap_for(shard, hot, bytes, is_absolute);
        uint32_t ref = stream_store_alloc(&shard->store, arena_for(shard, local), cap);
        chunk = stream_store_chunk(&shard->store, ref);
        chunk->older = hot->stream;
        hot->stream = ref;
    }
    memcpy(chunk->data + chunk->used, data, bytes);
    chunk->used = (uint16_t)(chunk->used + bytes);
}

void hot_unpack(const struct head_hot *hot, struct hot_columns *out)
{
    out->count = hot->pending;
    memcpy(out->bits, hot->bits, sizeof(hot->bits)); /* wide ones begin at the same place */
    if (hot->is_wide) {
        memcpy(out->steps, hot->wide_steps, sizeof(hot->wide_steps));
        return;
    }
    for (unsigned i = 0; i < HOT_STORED; i++)
        out->steps[i] = hot->step + (uint32_t)(int32_t)hot->deviations[i];
}

static bool is_absolute(const struct head_hot *hot)
{
    return hot->stream == 0 || (hot->flags & HOT_BREAK);
}

/* Encodes columns that end with last_ms; nothing is pending then. */
static void encode(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                   const struct hot_columns *columns) NX_REQUIRES(shard->lock)
{
    struct stream_batch batch = {
        .is_absolute = is_absolute(hot),
        .steps = columns->steps,
        .bits = columns->bits,
        .count = columns->count,
        .step = hot->step,
        .bits_before = hot->bits_before,
    };
    if (batch.is_absolute) {
        uint64_t first = (uint64_t)hot->last_ms;
        for (unsigned i = 1; i < columns->count; i++)
            first -= columns->steps[i];
        batch.first_ms = (int64_t)first;
    }
    uint8_t bytes[STREAM_BATCH_BYTES_MAX];
    size_t length = stream_encode(bytes, &batch, &hot->step);
    stream_append(shard, local, hot, bytes, length, batch.is_absolute);
    hot->bits_before = columns->bits[columns->count - 1];
    hot->pending = 0;
    hot->flags &= (uint8_t)~HOT_BREAK;
    hot->is_wide = false;
}

void series_encode_pending(struct head_shard *shard, uint32_t local, struct head_hot *hot)
{
    struct hot_columns columns;
    hot_unpack(hot, &columns);
    encode(shard, local, hot, &columns);
}

/* The pending samples, few enough, in the wide form. */
static void widen(struct head_hot *hot)
{
    struct hot_columns columns;
    hot_unpack(hot, &columns);
    memcpy(hot->wide_steps, columns.steps, sizeof(hot->wide_steps));
    hot->is_wide = true;
}

static bool is_deviation(uint32_t step, uint32_t from)
{
    return (uint64_t)step - from + 128 < 256;
}

void series_push_other(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                       int64_t time_ms, uint64_t bits)
{
    uint64_t distance = (uint64_t)time_ms - (uint64_t)hot->last_ms;
    bool begins = hot->pending == 0 && is_absolute(hot);
    if (distance > UINT32_MAX && !begins) {
        if (hot->pending > 0)
            series_encode_pending(shard, local, hot);
        hot->flags |= HOT_BREAK;
        begins = true;
    }
    uint32_t step = begins ? hot->step : (uint32_t)distance;
    /* Nothing is relative to the step before an absolute batch: its own first one is expected to come again. */
    if (hot->pending == 1 && is_absolute(hot) && !hot->is_wide)
        hot->step = step;
    bool fits = is_deviation(step, hot->step);
    if (!fits && !hot->is_wide && hot->pending > HOT_WIDE_STORED) {
        series_encode_pending(shard, local, hot);
        fits = is_deviation(step, hot->step);
    }
    if (!fits && !hot->is_wide)
        widen(hot);
    hot->last_ms = time_ms;
    hot->flags |= HOT_HAS_LAST;
    if (hot->pending == (hot->is_wide ? HOT_WIDE_STORED : HOT_STORED)) {
        struct hot_columns columns;
        hot_unpack(hot, &columns);
        columns.steps[columns.count] = step;
        columns.bits[columns.count++] = bits;
        encode(shard, local, hot, &columns);
        return;
    }
    if (hot->is_wide)
        hot->wide_steps[hot->pending] = step;
    else
        hot->deviations[hot->pending] = (int8_t)(step - hot->step);
    hot->bits[hot->pending++] = bits;
}

/* ---- chunks to columns ---- */

size_t stream_bytes(const struct stream_store *store, uint32_t newest)
{
    size_t bytes = 0;
    for (uint32_t ref = newest; ref != 0; ref = stream_store_chunk(store, ref)->older)
        bytes += stream_store_chunk(store, ref)->used;
    return bytes;
}

void stream_gather(const struct stream_store *store, uint32_t newest, struct nx_buf *out)
{
    size_t bytes = stream_bytes(store, newest);
    nx_buf_reserve(out, bytes + STREAM_PAD);
    out->len += bytes;
    uint8_t *end = out->data + out->len;
    memset(end, 0, STREAM_PAD);
    for (uint32_t ref = newest; ref != 0;) {
        const struct stream_chunk *chunk = stream_store_chunk(store, ref);
        end -= chunk->used;
        memcpy(end, chunk->data, chunk->used);
        ref = chunk->older;
    }
}

void stream_link(const struct stream_store *store, uint32_t newest, uint32_t older)
{
    struct stream_chunk *chunk = stream_store_chunk(store, newest);
    while (chunk->older != 0)
        chunk = stream_store_chunk(store, chunk->older);
    chunk->older = older;
}

nx_code stream_read(const uint8_t *data, size_t bytes, int64_t min_ms, int64_t max_ms,
                    struct nx_buf *times_ms, struct nx_buf *values)
{
    if (bytes == 0)
        return NX_OK;
    struct stream_reader reader;
    stream_reader_init(&reader, data, bytes);
    int64_t batch_times[STREAM_BATCH];
    uint64_t batch_bits[STREAM_BATCH];
    int count;
    while ((count = stream_decode(&reader, batch_times, batch_bits)) > 0) {
        size_t from = 0;
        size_t to = (size_t)count;
        while (from < to && batch_times[from] < min_ms)
            from++;
        while (to > from && batch_times[to - 1] > max_ms)
            to--;
        if (from < to) {
            nx_buf_append(times_ms, batch_times + from, (to - from) * sizeof(int64_t));
            nx_buf_append(values, batch_bits + from, (to - from) * sizeof(uint64_t));
        }
        if (batch_times[count - 1] >= max_ms)
            return NX_OK;
    }
    return count < 0 ? NX_E_CORRUPT : NX_OK;
}

/* ---- late lists ---- */

static struct late_list *late_at(struct head_shard *shard, uint32_t list) NX_REQUIRES(shard->lock)
{
    return &shard->lates[list - 1];
}

static uint32_t late_new(struct head_shard *shard) NX_REQUIRES(shard->lock)
{
    uint32_t list = shard->lates_free;
    if (list != 0) {
        shard->lates_free = late_at(shard, list)->count;
    } else {
        if (shard->lates_count == shard->lates_cap) {
            shard->lates_cap = shard->lates_cap == 0 ? 16 : shard->lates_cap * 2;
            shard->lates = nx_realloc_array(shard->lates, shard->lates_cap, sizeof(*shard->lates));
        }
        list = ++shard->lates_count;
    }
    *late_at(shard, list) = (struct late_list){0};
    return list;
}

void late_free(struct head_shard *shard, uint32_t *list)
{
    if (*list == 0)
        return;
    struct late_list *entry = late_at(shard, *list);
    shard->late_bytes -= entry->cap * sizeof(*entry->items);
    nx_free(entry->items);
    *entry = (struct late_list){.count = shard->lates_free};
    shard->lates_free = *list;
    *list = 0;
}

/* Position of the first sample at or after the time. */
static uint32_t late_position(const struct late_list *list, int64_t time_ms)
{
    uint32_t low = 0;
    uint32_t high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->items[middle].time_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void late_reserve(struct head_shard *shard, struct late_list *list, uint32_t more)
    NX_REQUIRES(shard->lock)
{
    uint32_t need = list->count + more;
    if (need <= list->cap)
        return;
    uint32_t cap = list->cap + list->cap / 2;
    cap = cap < need ? need : cap;
    cap = cap < 4 ? 4 : cap;
    list->items = nx_realloc_array(list->items, cap, sizeof(*list->items));
    shard->late_bytes += (cap - list->cap) * sizeof(*list->items);
    list->cap = cap;
}

static void late_insert(struct head_shard *shard, uint32_t list_id, struct late_sample sample)
    NX_REQUIRES(shard->lock)
{
    struct late_list *list = late_at(shard, list_id);
    late_reserve(shard, list, 1);
    uint32_t at = late_position(list, sample.time_ms);
    memmove(&list->items[at + 1], &list->items[at], (list->count - at) * sizeof(sample));
    list->items[at] = sample;
    list->count++;
}

/* Merges sorted `from` into sorted `to`, which has room, from the end. */
static void late_merge(struct late_sample *to, size_t to_count, const struct late_sample *from,
                       size_t from_count)
{
    size_t out = to_count + from_count;
    while (from_count > 0) {
        if (to_count > 0 && to[to_count - 1].time_ms > from[from_count - 1].time_ms)
            to[--out] = to[--to_count];
        else
            to[--out] = from[--from_count];
    }
}

void late_move(struct head_shard *shard, uint32_t *to, uint32_t *from)
{
    if (*from == 0)
        return;
    if (*to == 0) {
        *to = *from;
        *from = 0;
        return;
    }
    struct late_list *into = late_at(shard, *to);
    const struct late_list *other = late_at(shard, *from);
    late_reserve(shard, into, other->count);
    late_merge(into->items, into->count, other->items, other->count);
    into->count += other->count;
    late_free(shard, from);
}

void late_merge_into(struct nx_buf *times_ms, struct nx_buf *values, size_t start,
                     const struct late_sample *late, size_t count, int64_t min_ms, int64_t max_ms)
{
    while (count > 0 && late[0].time_ms < min_ms) {
        late++;
        count--;
    }
    while (count > 0 && late[count - 1].time_ms > max_ms)
        count--;
    nx_buf_extend(times_ms, count * sizeof(int64_t));
    nx_buf_extend(values, count * sizeof(uint64_t));
    int64_t *times = (int64_t *)(void *)times_ms->data;
    uint64_t *bits = (uint64_t *)(void *)values->data;
    size_t out = times_ms->len / sizeof(int64_t);
    size_t in_order = out - count;
    while (count > 0) {
        out--;
        if (in_order > start && times[in_order - 1] > late[count - 1].time_ms) {
            in_order--;
            times[out] = times[in_order];
            bits[out] = bits[in_order];
        } else {
            count--;
            times[out] = late[count].time_ms;
            bits[out] = late[count].bits;
        }
    }
}

/* ---- adding a late sample ---- */

enum lookup {
    LOOKUP_FOUND,
    LOOKUP_ABSENT,
    LOOKUP_OLDER, /* the time lies before everything that was looked at */
};

static enum lookup find_pending(const struct head_hot *hot, int64_t time_ms, uint64_t *out_bits)
{
    if (hot->pending == 0)
        return LOOKUP_OLDER;
    struct hot_columns columns;
    hot_unpack(hot, &columns);
    int64_t at = hot->last_ms;
    for (unsigned i = columns.count - 1;; i--) {
        if (at == time_ms) {
            *out_bits = columns.bits[i];
            return LOOKUP_FOUND;
        }
        if (at < time_ms)
            return LOOKUP_ABSENT;
        if (i == 0)
            return LOOKUP_OLDER;
        at = (int64_t)((uint64_t)at - columns.steps[i]);
    }
}

static enum lookup find_in_stream(struct head_shard *shard, uint32_t newest, int64_t time_ms,
                                  uint64_t *out_bits) NX_REQUIRES(shard->lock)
{
    if (newest == 0)
        return LOOKUP_OLDER;
    nx_buf_reset(&shard->bytes);
    stream_gather(&shard->store, newest, &shard->bytes);
    struct stream_reader reader;
    stream_reader_init(&reader, shard->bytes.data, shard->bytes.len);
    int64_t times[STREAM_BATCH];
    uint64_t bits[STREAM_BATCH];
    bool is_first = true;
    int count;
    while ((count = stream_decode(&reader, times, bits)) > 0) {
        if (is_first && times[0] > time_ms)
            return LOOKUP_OLDER;
        is_first = false;
        if (times[count - 1] < time_ms)
            continue;
        for (int i = 0; i < count; i++) {
            if (times[i] != time_ms)
                continue;
            *out_bits = bits[i];
            return LOOKUP_FOUND;
        }
        return LOOKUP_ABSENT;
    }
    NX_ASSERT(count == 0);
    return LOOKUP_ABSENT;
}

static bool find_late(struct head_shard *shard, uint32_t list_id, int64_t time_ms,
                      uint64_t *out_bits) NX_REQUIRES(shard->lock)
{
    if (list_id == 0)
        return false;
    const struct late_list *list = late_at(shard, list_id);
    uint32_t at = late_position(list, time_ms);
    if (at == list->count || list->items[at].time_ms != time_ms)
        return false;
    *out_bits = list->items[at].bits;
    return true;
}

/* Whether the series has a sample at this time: newest places first, the stream is decoded only for older times. */
static bool find_sample(struct head_shard *shard, const struct head_hot *hot,
                        const struct head_cold *cold, int64_t time_ms, uint64_t *out_bits)
    NX_REQUIRES(shard->lock)
{
    if (find_late(shard, cold->late, time_ms, out_bits) ||
        find_late(shard, cold->sealed_late, time_ms, out_bits))
        return true;
    enum lookup found = find_pending(hot, time_ms, out_bits);
    if (found == LOOKUP_OLDER)
        found = find_in_stream(shard, hot->stream, time_ms, out_bits);
    if (found == LOOKUP_OLDER)
        found = find_in_stream(shard, cold->sealed, time_ms, out_bits);
    return found == LOOKUP_FOUND;
}

bool series_has_float(struct head_shard *shard, uint32_t local, int64_t time_ms)
{
    const struct head_hot *hot = hot_at(shard, local);
    if ((hot->flags & HOT_HAS_LAST) && time_ms >= hot->last_ms)
        return time_ms == hot->last_ms;
    uint64_t ignored;
    return find_sample(shard, hot, cold_at(shard, local), time_ms, &ignored);
}

bool series_add_late(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                     int64_t time_ms, uint64_t bits, bool *out_is_new, uint64_t *out_stored_bits)
{
    *out_is_new = false;
    /* The last sample's value is known even after it was flushed. */
    if ((hot->flags & HOT_HAS_LAST) && time_ms == hot->last_ms) {
        *out_stored_bits = hot_last_bits(hot);
        return *out_stored_bits == bits;
    }
    struct head_cold *cold = cold_at(shard, local);
    if (find_sample(shard, hot, cold, time_ms, out_stored_bits))
        return *out_stored_bits == bits;
    if (cold->late == 0) {
        cold->late = late_new(shard);
        hot->flags |= HOT_LATE;
    }
    late_insert(shard, cold->late, (struct late_sample){.time_ms = time_ms, .bits = bits});
    *out_is_new = true;
    return true;
}
