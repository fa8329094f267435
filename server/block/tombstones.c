/* SPDX-License-Identifier: Apache-2.0 */
/* tombstones.c - entries of (ranks, range), their packed form, and the arithmetic of ranges.
 *
 *   items   [ranks | min, max] ...      as they came, joined where that is exact:
 *             same range                -> one entry with both sets
 *             inside the other          -> the other
 *             same set, ranges touch    -> one entry with the longer range
 *   any     the union of all sets: most series are in none, and cost one look
 *   packed  made at once, since the catalog wants it and its size is what counts against the limit
 */
#include "narthex/block/tombstones.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/codec/postings.h"

#include "block_format.h"

#include <stdatomic.h>
#include <stdlib.h>

#define TOMBSTONES_HEAD_BYTES 5u  /* flags u8, number of entries u32 */
#define TOMBSTONE_HEAD_BYTES  20u /* first ms i64, last ms i64, bytes of the ranks u32 */

enum {
    TOMBSTONES_SETTLED = 1,
    TOMBSTONES_FLAGS_ALL = TOMBSTONES_SETTLED,
};

struct tombstone {
    struct time_range range;
    struct postings *ranks;
};

struct tombstones {
    _Atomic uint32_t refs; /* [A] relaxed up, acq_rel down */
    uint32_t series_count; /* [I] and all below */
    uint8_t flags;
    struct tombstone *items;
    size_t count;
    struct postings *any;
    struct nx_buf packed;
};

/* ---- ranges ---- */

/* The first range that ends at or after the time. */
static size_t range_at(const struct time_range *ranges, size_t count, int64_t time_ms)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges[middle].max_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool time_ranges_overlap(const struct time_range *ranges, size_t count, int64_t min_ms,
                         int64_t max_ms)
{
    size_t at = range_at(ranges, count, min_ms);
    return at < count && ranges[at].min_ms <= max_ms;
}

bool time_ranges_cover(const struct time_range *ranges, size_t count, int64_t min_ms,
                       int64_t max_ms)
{
    size_t at = range_at(ranges, count, min_ms);
    return at < count && ranges[at].min_ms <= min_ms && ranges[at].max_ms >= max_ms;
}

size_t time_ranges_filter(const struct time_range *ranges, size_t count, int64_t *times_ms,
                          void *cells, size_t sample_count)
{
    uint8_t *bytes = cells;
    if (sample_count == 0)
        return 0;
    size_t at = range_at(ranges, count, times_ms[0]), kept = 0;
    for (size_t i = 0; i < sample_count; i++) {
        while (at < count && ranges[at].max_ms < times_ms[i])
            at++;
        if (at < count && ranges[at].min_ms <= times_ms[i])
            continue;
        times_ms[kept] = times_ms[i];
        memmove(bytes + kept * sizeof(double), bytes + i * sizeof(double), sizeof(double));
        kept++;
    }
    return kept;
}

size_t time_ranges_filter_histograms(const struct time_range *ranges, size_t count,
                                     struct histogram_sample *samples, size_t sample_count)
{
    size_t kept = 0;
    for (size_t i = 0; i < sample_count; i++)
        if (!time_ranges_cover(ranges, count, samples[i].time_ms, samples[i].time_ms))
            samples[kept++] = samples[i];
    return kept;
}

size_t time_ranges_filter_exemplars(const struct time_range *ranges, size_t count,
                                    struct exemplar *exemplars, size_t exemplar_count)
{
    size_t kept = 0;
    for (size_t i = 0; i < exemplar_count; i++)
        if (!time_ranges_cover(ranges, count, exemplars[i].time_ms, exemplars[i].time_ms))
            exemplars[kept++] = exemplars[i];
    return kept;
}

static int range_compare(const void *left, const void *right)
{
    const struct time_range *a = left, *b = right;
    if (a->min_ms != b->min_ms)
        return a->min_ms < b->min_ms ? -1 : 1;
    return (a->max_ms > b->max_ms) - (a->max_ms < b->max_ms);
}

static bool ranges_touch(struct time_range a, struct time_range b)
{
    bool a_ends_before = a.max_ms < b.min_ms && a.max_ms + 1 < b.min_ms;
    bool b_ends_before = b.max_ms < a.min_ms && b.max_ms + 1 < a.min_ms;
    return !a_ends_before && !b_ends_before;
}

static struct time_range ranges_join(struct time_range a, struct time_range b)
{
    return (struct time_range){a.min_ms < b.min_ms ? a.min_ms : b.min_ms,
                               a.max_ms > b.max_ms ? a.max_ms : b.max_ms};
}

static bool range_is_inside(struct time_range inner, struct time_range outer)
{
    return inner.min_ms >= outer.min_ms && inner.max_ms <= outer.max_ms;
}

/* ---- sets ---- */

static struct postings *set_copy(const struct postings *set)
{
    struct postings *copy = postings_new();
    postings_or(copy, set);
    return copy;
}

static bool set_is_inside(const struct postings *inner, const struct postings *outer)
{
    if (postings_count(inner) > postings_count(outer))
        return false;
    struct postings *rest = set_copy(inner);
    postings_and_not(rest, outer);
    bool is_inside = postings_count(rest) == 0;
    postings_free(rest);
    return is_inside;
}

static void set_append(const struct postings *set, struct nx_buf *out)
{
    size_t count = (size_t)postings_count(set);
    uint32_t *ids = nx_alloc((count + 1) * sizeof(*ids));
    postings_to_array(set, ids);
    nx_buf_append(out, ids, count * sizeof(*ids));
    nx_free(ids);
}

/* ---- life ---- */

static struct tombstones *tombstones_new(uint32_t series_count, size_t count_max)
{
    struct tombstones *made = nx_calloc(1, sizeof(*made));
    atomic_init(&made->refs, 1);
    made->series_count = series_count;
    made->items = nx_calloc(count_max, sizeof(*made->items));
    return made;
}

static void push(struct tombstones *made, struct time_range range, struct postings *take_ranks)
{
    made->items[made->count++] = (struct tombstone){range, take_ranks};
}

static void pack(struct tombstones *made)
{
    struct nx_buf ids = {0};
    nx_buf_append_byte(&made->packed, made->flags);
    nx_buf_append_u32(&made->packed, (uint32_t)made->count);
    for (size_t i = 0; i < made->count; i++) {
        const struct tombstone *item = &made->items[i];
        nx_buf_reset(&ids);
        set_append(item->ranks, &ids);
        nx_buf_append_u64(&made->packed, (uint64_t)item->range.min_ms);
        nx_buf_append_u64(&made->packed, (uint64_t)item->range.max_ms);
        size_t length_at = made->packed.len;
        nx_buf_append_u32(&made->packed, 0);
        postings_encode((const uint32_t *)(const void *)ids.data, ids.len / sizeof(uint32_t),
                        &made->packed);
        store_u32(made->packed.data + length_at,
                  (uint32_t)(made->packed.len - length_at - sizeof(uint32_t)));
    }
    nx_buf_deinit(&ids);
}

/* What is derived from the items. */
static void finish(struct tombstones *made)
{
    made->any = postings_new();
    for (size_t i = 0; i < made->count; i++)
        postings_or(made->any, made->items[i].ranks);
    pack(made);
}

struct tombstones *tombstones_ref(struct tombstones *tombstones)
{
    if (tombstones != NULL)
        atomic_fetch_add_explicit(&tombstones->refs, 1, memory_order_relaxed);
    return tombstones;
}

void tombstones_unref(struct tombstones *tombstones)
{
    if (tombstones == NULL ||
        atomic_fetch_sub_explicit(&tombstones->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < tombstones->count; i++)
        postings_free(tombstones->items[i].ranks);
    postings_free(tombstones->any);
    nx_buf_deinit(&tombstones->packed);
    nx_free(tombstones->items);
    nx_free(tombstones);
}

/* ---- adding ---- */

/* Whether `item` says all that (range, ranks) says. */
static bool item_has(const struct tombstone *item, struct time_range range,
                     const struct postings *ranks)
{
    return range_is_inside(range, item->range) && set_is_inside(ranks, item->ranks);
}

static bool is_known(const struct tombstones *old, struct time_range range,
                     const struct postings *ranks)
{
    for (size_t i = 0; old != NULL && i < old->count; i++)
        if (item_has(&old->items[i], range, ranks))
            return true;
    return false;
}

/* Joins an old item into the new one; false: it stays beside it. */
static bool absorb(const struct tombstone *item, struct time_range *range, struct postings *ranks)
{
    if (item->range.min_ms == range->min_ms && item->range.max_ms == range->max_ms) {
        postings_or(ranks, item->ranks);
        return true;
    }
    const struct tombstone new_item = {*range, ranks};
    if (item_has(&new_item, item->range, item->ranks))
        return true;
    if (!ranges_touch(item->range, *range) ||
        postings_count(item->ranks) != postings_count(ranks) || !set_is_inside(item->ranks, ranks))
        return false;
    *range = ranges_join(item->range, *range);
    return true;
}

nx_code tombstones_add(struct tombstones *old, uint32_t series_count, const uint32_t *ranks,
                       size_t count, int64_t min_ms, int64_t max_ms, struct tombstones **out,
                       struct nx_err *err)
{
    NX_ASSERT(count > 0 && min_ms <= max_ms && ranks[count - 1] < series_count);
    struct time_range range = {min_ms, max_ms};
    struct postings *set = postings_from_array(ranks, count);
    if (is_known(old, range, set)) {
        postings_free(set);
        *out = tombstones_ref(old);
        return NX_OK;
    }
    size_t old_count = old == NULL ? 0 : old->count;
    struct tombstones *made = tombstones_new(series_count, old_count + 1);
    for (size_t i = 0; i < old_count; i++)
        if (!absorb(&old->items[i], &range, set))
            push(made, old->items[i].range, set_copy(old->items[i].ranks));
    push(made, range, set);
    if (made->count > TOMBSTONES_MAX) {
        tombstones_unref(made);
        return nx_err_set(err, NX_E_LIMIT,
                          "more than %u deletes wait for one block: clean_tombstones applies them",
                          TOMBSTONES_MAX);
    }
    finish(made);
    *out = made;
    return NX_OK;
}

struct tombstones *tombstones_settled(const struct tombstones *tombstones)
{
    struct tombstones *made = tombstones_new(tombstones->series_count, tombstones->count);
    made->flags = TOMBSTONES_SETTLED;
    for (size_t i = 0; i < tombstones->count; i++)
        push(made, tombstones->items[i].range, set_copy(tombstones->items[i].ranks));
    finish(made);
    return made;
}

nx_code tombstones_join(struct tombstones *a, struct tombstones *b, struct tombstones **out,
                        struct nx_err *err)
{
    struct nx_buf ranks = {0};
    struct tombstones *joined = tombstones_ref(a != NULL ? a : b);
    nx_code code = NX_OK;
    for (size_t i = 0; code == NX_OK && a != NULL && b != NULL && i < b->count; i++) {
        const struct tombstone *item = &b->items[i];
        struct tombstones *next = NULL;
        nx_buf_reset(&ranks);
        set_append(item->ranks, &ranks);
        code = tombstones_add(joined, b->series_count, (const uint32_t *)(const void *)ranks.data,
                              ranks.len / sizeof(uint32_t), item->range.min_ms, item->range.max_ms,
                              &next, err);
        if (code != NX_OK)
            break;
        tombstones_unref(joined);
        joined = next;
    }
    nx_buf_deinit(&ranks);
    if (code != NX_OK)
        tombstones_unref(joined);
    else
        *out = joined;
    return code;
}

/* ---- asking ---- */

bool tombstones_is_settled(const struct tombstones *tombstones)
{
    return (tombstones->flags & TOMBSTONES_SETTLED) != 0;
}

size_t tombstones_count(const struct tombstones *tombstones)
{
    return tombstones == NULL ? 0 : tombstones->count;
}

bool tombstones_has(const struct tombstones *tombstones, uint32_t rank)
{
    return tombstones != NULL && postings_has(tombstones->any, rank);
}

void tombstones_ranges(const struct tombstones *tombstones, uint32_t rank, struct nx_buf *out)
{
    size_t begin = out->len;
    for (size_t i = 0; i < tombstones->count; i++)
        if (postings_has(tombstones->items[i].ranks, rank))
            nx_buf_append(out, &tombstones->items[i].range, sizeof(struct time_range));
    size_t count = (out->len - begin) / sizeof(struct time_range), joined = 0;
    if (count < 2)
        return;
    struct time_range *ranges = (struct time_range *)(void *)(out->data + begin);
    qsort(ranges, count, sizeof(*ranges), range_compare);
    for (size_t i = 1; i < count; i++) {
        if (ranges_touch(ranges[joined], ranges[i]))
            ranges[joined] = ranges_join(ranges[joined], ranges[i]);
        else
            ranges[++joined] = ranges[i];
    }
    out->len = begin + (joined + 1) * sizeof(*ranges);
}

void tombstones_ranks(const struct tombstones *tombstones, struct nx_buf *out)
{
    set_append(tombstones->any, out);
}

bool tombstones_cover_all(const struct tombstones *tombstones, int64_t min_ms, int64_t max_ms)
{
    const struct time_range range = {min_ms, max_ms};
    for (size_t i = 0; tombstones != NULL && i < tombstones->count; i++)
        if (range_is_inside(range, tombstones->items[i].range) &&
            postings_count(tombstones->items[i].ranks) == tombstones->series_count)
            return true;
    return false;
}

/* ---- packed ---- */

struct nx_bytes tombstones_packed(const struct tombstones *tombstones)
{
    return nx_buf_bytes(&tombstones->packed);
}

/* One entry at *inout; false when it is none. */
static bool item_unpack(struct nx_bytes bytes, size_t *inout_at, struct tombstones *made)
{
    size_t at = *inout_at;
    if (bytes.len - at < TOMBSTONE_HEAD_BYTES)
        return false;
    const uint8_t *head = bytes.data + at;
    struct time_range range = {(int64_t)load_u64(head), (int64_t)load_u64(head + 8)};
    size_t length = load_u32(head + 16);
    at += TOMBSTONE_HEAD_BYTES;
    if (range.min_ms > range.max_ms || length > bytes.len - at)
        return false;
    struct postings *ranks = postings_new();
    push(made, range, ranks);
    const struct nx_bytes packed = {bytes.data + at, length};
    if (postings_decode_into(packed, made->series_count, ranks) != NX_OK ||
        postings_count(ranks) == 0)
        return false;
    *inout_at = at + length;
    return true;
}

nx_code tombstones_unpack(struct nx_bytes bytes, uint32_t series_count, struct tombstones **out,
                          struct nx_err *err)
{
    if (bytes.len < TOMBSTONES_HEAD_BYTES || (bytes.data[0] & ~TOMBSTONES_FLAGS_ALL) != 0)
        return nx_err_set(err, NX_E_CORRUPT, "tombstones: no head");
    uint32_t count = load_u32(bytes.data + 1);
    if (count == 0 || count > TOMBSTONES_MAX)
        return nx_err_set(err, NX_E_CORRUPT, "tombstones: %u entries", count);
    struct tombstones *made = tombstones_new(series_count, count);
    made->flags = bytes.data[0];
    size_t at = TOMBSTONES_HEAD_BYTES;
    bool is_good = true;
    while (is_good && made->count < count)
        is_good = item_unpack(bytes, &at, made);
    if (!is_good || at != bytes.len) {
        tombstones_unref(made);
        return nx_err_set(err, NX_E_CORRUPT, "tombstones: an entry is damaged");
    }
    finish(made);
    *out = made;
    return NX_OK;
}
