/* SPDX-License-Identifier: Apache-2.0 */
/* merge_plan.c - which blocks to merge next, from their metas and the time alone. The rules are in merge.h. */
#include "narthex/block/merge.h"

#include "merge_internal.h"

/* Level-1 blocks that come along with flushes are at most this part of them: the tail of a flush that spanned two
 * partitions, not a whole partition. */
#define MERGE_SMALL_PART 4u
/* Leaves room for them. */
#define MERGE_FLUSHES_TAKEN_MAX (MERGE_SOURCES_MAX - 16u)

int64_t time_floor(int64_t time_ms, int64_t size_ms)
{
    int64_t over = time_ms % size_ms;
    if (over < 0)
        over += size_ms;
    int64_t floor;
    return __builtin_sub_overflow(time_ms, over, &floor) ? INT64_MIN : floor;
}

static uint64_t meta_bytes(const struct block_meta *meta)
{
    return meta->index_bytes + meta->chunks_bytes;
}

/* Made long ago: nothing more is likely to come that should be merged with it. */
static bool is_quiet(const struct block_meta *meta, int64_t now_ms, int64_t gather_ms)
{
    int64_t made_ms = ulid_time_ms(meta->ulid);
    return made_ms > now_ms || now_ms - made_ms >= gather_ms;
}

static void job_add(struct merge_job *job, size_t index)
{
    if (job->source_count < MERGE_SOURCES_MAX)
        job->source_index[job->source_count++] = (uint32_t)index;
}

/* Insertion keeps the order of precedence, which is that of the indexes. */
static void job_sort(struct merge_job *job)
{
    for (size_t i = 1; i < job->source_count; i++) {
        uint32_t index = job->source_index[i];
        size_t at = i;
        for (; at > 0 && job->source_index[at - 1] > index; at--)
            job->source_index[at] = job->source_index[at - 1];
        job->source_index[at] = index;
    }
}

static size_t newest_flush(const struct block_meta *metas, size_t count)
{
    size_t newest = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        if (metas[i].level == 0 &&
            (newest == SIZE_MAX || metas[i].commit_max >= metas[newest].commit_max))
            newest = i;
    return newest;
}

/* ---- flushes ---- */

static bool plan_flushes(const struct block_meta *metas, size_t count, int64_t now_ms,
                         int64_t gather_ms, int64_t open_ms, bool force, struct merge_job *job)
{
    size_t newest = newest_flush(metas, count);
    size_t flushes = 0, wanted = 0;
    bool is_due = force;
    for (size_t i = 0; i < count; i++) {
        if (metas[i].level != 0 || i == newest)
            continue;
        flushes++;
        if (metas[i].min_time_ms < open_ms || force)
            wanted = flushes;
        is_due |= metas[i].max_time_ms < open_ms && is_quiet(&metas[i], now_ms, gather_ms);
    }
    if (flushes >= MERGE_FLUSHES_MAX) {
        is_due = true;
        wanted = flushes;
    }
    if (!is_due || wanted == 0)
        return false;
    if (wanted > MERGE_FLUSHES_TAKEN_MAX)
        wanted = MERGE_FLUSHES_TAKEN_MAX;
    int64_t min_ms = INT64_MAX, max_ms = INT64_MIN;
    uint64_t bytes = 0;
    for (size_t i = 0; i < count && job->source_count < wanted; i++) {
        if (metas[i].level != 0 || i == newest)
            continue;
        job_add(job, i);
        bytes += meta_bytes(&metas[i]);
        min_ms = metas[i].min_time_ms < min_ms ? metas[i].min_time_ms : min_ms;
        max_ms = metas[i].max_time_ms > max_ms ? metas[i].max_time_ms : max_ms;
    }
    int64_t first_ms = time_floor(min_ms, PARTITION_MS), last_ms = time_floor(max_ms, PARTITION_MS);
    for (size_t i = 0; i < count; i++) {
        int64_t partition = time_floor(metas[i].min_time_ms, PARTITION_MS);
        if (metas[i].level == 1 && partition >= first_ms && partition <= last_ms &&
            meta_bytes(&metas[i]) <= bytes / MERGE_SMALL_PART)
            job_add(job, i);
    }
    job_sort(job);
    return true;
}

/* ---- partitions and days ---- */

struct slot_sum {
    size_t count;
    uint64_t bytes, largest;
    bool has_level_1, is_quiet;
};

/* Blocks of levels min_level..2 whose data lies in the slot of size_ms that begins at start_ms. */
static bool is_in_slot(const struct block_meta *meta, uint32_t min_level, uint32_t max_level,
                       int64_t start_ms, int64_t size_ms)
{
    return meta->level >= min_level && meta->level <= max_level &&
           time_floor(meta->min_time_ms, size_ms) == start_ms &&
           time_floor(meta->max_time_ms, size_ms) == start_ms;
}

static struct slot_sum sum_slot(const struct block_meta *metas, size_t count, uint32_t min_level,
                                uint32_t max_level, int64_t start_ms, int64_t size_ms,
                                int64_t now_ms, int64_t gather_ms)
{
    struct slot_sum sum = {.is_quiet = true};
    for (size_t i = 0; i < count; i++) {
        if (!is_in_slot(&metas[i], min_level, max_level, start_ms, size_ms))
            continue;
        uint64_t bytes = meta_bytes(&metas[i]);
        sum.count++;
        sum.bytes += bytes;
        sum.largest = bytes > sum.largest ? bytes : sum.largest;
        sum.has_level_1 |= metas[i].level == 1;
        sum.is_quiet &= is_quiet(&metas[i], now_ms, gather_ms / 2);
    }
    return sum;
}

static bool is_worth_it(const struct slot_sum *sum)
{
    return sum->count >= 2 && (sum->bytes - sum->largest >= sum->largest / MERGE_SMALL_PART);
}

/* All of the slot when `with_largest`; else all but the largest, which is by far the most of it. */
static void take_slot(const struct block_meta *metas, size_t count, uint32_t min_level,
                      uint32_t max_level, int64_t start_ms, int64_t size_ms, bool with_largest,
                      uint64_t largest, struct merge_job *job)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_in_slot(&metas[i], min_level, max_level, start_ms, size_ms))
            continue;
        if (!with_largest && meta_bytes(&metas[i]) == largest) {
            with_largest = true;
            continue;
        }
        job_add(job, i);
    }
}

struct slot_plan {
    uint32_t min_level, max_level;
    int64_t size_ms, now_ms, gather_ms;
    bool force;
};

/* One partition or day of which the block at `index` is a part. */
static bool plan_slot(const struct block_meta *metas, size_t count, size_t index,
                      const struct slot_plan *plan, struct merge_job *job)
{
    uint32_t min_level = plan->min_level, max_level = plan->max_level;
    int64_t size_ms = plan->size_ms, start_ms = time_floor(metas[index].min_time_ms, size_ms);
    if (!is_in_slot(&metas[index], min_level, max_level, start_ms, size_ms))
        return false;
    struct slot_sum sum = sum_slot(metas, count, min_level, max_level, start_ms, size_ms,
                                   plan->now_ms, plan->gather_ms);
    bool is_new_day = max_level == 2 && sum.has_level_1;
    bool is_settled = sum.is_quiet && is_worth_it(&sum);
    if (is_new_day || is_settled || (plan->force && sum.count >= 2)) {
        take_slot(metas, count, min_level, max_level, start_ms, size_ms, true, sum.largest, job);
        return true;
    }
    if (sum.count < MERGE_PIECES_MAX)
        return false;
    bool with_largest = sum.bytes - sum.largest > sum.largest;
    take_slot(metas, count, min_level, max_level, start_ms, size_ms, with_largest, sum.largest,
              job);
    return true;
}

bool merge_plan(const struct block_meta *metas, size_t count, int64_t now_ms, int64_t gather_ms,
                bool force, struct merge_job *out_job)
{
    int64_t settled_ms = force ? now_ms : now_ms - MERGE_GRACE_MS;
    int64_t open_ms = force ? INT64_MAX : time_floor(settled_ms, PARTITION_MS);
    struct merge_job job = {.day_before_ms = time_floor(settled_ms, DAY_MS)};
    bool is_found = plan_flushes(metas, count, now_ms, gather_ms, open_ms, force, &job);
    const struct slot_plan partition = {1, 1, PARTITION_MS, now_ms, gather_ms, force};
    const struct slot_plan day = {1, 2, DAY_MS, now_ms, gather_ms, force};
    for (size_t i = 0; !is_found && i < count; i++) {
        if (metas[i].level != 1)
            continue;
        /* A past day takes its partitions as they are. */
        if (metas[i].max_time_ms < open_ms && metas[i].min_time_ms >= job.day_before_ms)
            is_found = plan_slot(metas, count, i, &partition, &job);
    }
    for (size_t i = 0; !is_found && i < count; i++)
        if (metas[i].level >= 1 && metas[i].max_time_ms < job.day_before_ms)
            is_found = plan_slot(metas, count, i, &day, &job);
    if (is_found)
        *out_job = job;
    return is_found;
}
