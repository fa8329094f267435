/* SPDX-License-Identifier: Apache-2.0 */
/* test_merge_plan.c - what is merged when, as a table. */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/block/merge.h"

#include "tests/unit/block/block_support.h"

#include <stdio.h>

#define DAY(n)     ((n)*DAY_MS)
#define HOUR(n)    ((n)*INT64_C(3600000))
#define MIN(n)     ((n)*INT64_C(60000))
#define BLOCKS_MAX 40

struct plan_block {
    uint32_t level;
    int64_t min_ms, max_ms;
    uint64_t commit, bytes;
};

struct plan_case {
    const char *name;
    int64_t now_ms;
    bool force;
    struct plan_block blocks[BLOCKS_MAX]; /* ended by one without bytes */
    const char *expected;                 /* indexes of the sources; "" for nothing */
};

static const struct plan_case cases[] = {
    {"nothing there", DAY(100), false, {{0}}, ""},
    {"the only flush stays", DAY(100), false, {{0, DAY(1), DAY(1) + 5, 1, 10}}, ""},
    {"a flush of an ended partition, and not the newest",
     DAY(100) + HOUR(3),
     false,
     {{0, DAY(100), DAY(100) + MIN(15), 1, 10},
      {0, DAY(100) + HOUR(2), DAY(100) + HOUR(2) + MIN(15), 2, 10}},
     "0"},
    {"not within the grace time",
     DAY(100) + HOUR(2) + MIN(29),
     false,
     {{0, DAY(100), DAY(100) + MIN(15), 1, 10},
      {0, DAY(100) + HOUR(2), DAY(100) + HOUR(2) + MIN(15), 2, 10}},
     ""},
    {"at its end",
     DAY(100) + HOUR(2) + MIN(30),
     false,
     {{0, DAY(100), DAY(100) + MIN(15), 1, 10},
      {0, DAY(100) + HOUR(2), DAY(100) + HOUR(2) + MIN(15), 2, 10}},
     "0"},
    {"one that spans the border comes along, one of the open partition does not",
     DAY(100) + HOUR(3),
     false,
     {{0, DAY(100), DAY(100) + MIN(15), 1, 10},
      {0, DAY(100) + HOUR(2) - MIN(5), DAY(100) + HOUR(2) + MIN(10), 2, 10},
      {0, DAY(100) + HOUR(2) + MIN(10), DAY(100) + HOUR(2) + MIN(25), 3, 10},
      {0, DAY(100) + HOUR(2) + MIN(25), DAY(100) + HOUR(2) + MIN(40), 4, 10}},
     "0 1"},
    {"only a spanning one is no reason",
     DAY(100) + HOUR(3),
     false,
     {{0, DAY(100) + HOUR(2) - MIN(5), DAY(100) + HOUR(2) + MIN(10), 2, 10},
      {0, DAY(100) + HOUR(2) + MIN(10), DAY(100) + HOUR(2) + MIN(25), 3, 10}},
     ""},
    {"late data in a young flush takes what is before it too",
     DAY(100) + HOUR(3),
     false,
     {{0, DAY(100), DAY(100) + MIN(15), 1, 10},
      {0, DAY(100) + HOUR(2) + MIN(10), DAY(100) + HOUR(2) + MIN(25), 2, 10},
      {0, DAY(90), DAY(100) + HOUR(2) + MIN(30), 3, 10},
      {0, DAY(100) + HOUR(2) + MIN(30), DAY(100) + HOUR(2) + MIN(45), 4, 10}},
     "0 1 2"},
    {"a small tail of the partition comes along, a whole one does not",
     DAY(100) + HOUR(5),
     false,
     {{1, DAY(100), DAY(100) + HOUR(2) - 1, 1, 1000},
      {1, DAY(100) + HOUR(2), DAY(100) + HOUR(2) + MIN(5), 1, 20},
      {0, DAY(100) + HOUR(2) - MIN(1), DAY(100) + HOUR(4) - 1, 3, 400},
      {0, DAY(100) + HOUR(4), DAY(100) + HOUR(4) + MIN(15), 4, 10}},
     "1 2"},
    {"pieces of an ended partition",
     DAY(100) + HOUR(5),
     false,
     {{1, DAY(100), DAY(100) + HOUR(1), 1, 100}, {1, DAY(100) + MIN(5), DAY(100) + HOUR(1), 2, 90}},
     "0 1"},
    {"a crumb is left for the day",
     DAY(100) + HOUR(5),
     false,
     {{1, DAY(100), DAY(100) + HOUR(1), 1, 100}, {1, DAY(100) + MIN(5), DAY(100) + HOUR(1), 2, 9}},
     ""},
    {"a crumb is worth it by force",
     DAY(100) + HOUR(5),
     true,
     {{1, DAY(100), DAY(100) + HOUR(1), 1, 100}, {1, DAY(100) + MIN(5), DAY(100) + HOUR(1), 2, 9}},
     "0 1"},
    {"pieces of the open partition",
     DAY(100) + MIN(90),
     false,
     {{1, DAY(100), DAY(100) + HOUR(1), 1, 100}, {1, DAY(100) + MIN(5), DAY(100) + HOUR(1), 2, 90}},
     ""},
    {"partitions of today stay",
     DAY(100) + HOUR(23),
     false,
     {{1, DAY(100), DAY(100) + HOUR(2) - 1, 1, 100},
      {1, DAY(100) + HOUR(2), DAY(100) + HOUR(4) - 1, 2, 100}},
     ""},
    {"a past day",
     DAY(101) + MIN(30),
     false,
     {{1, DAY(100), DAY(100) + HOUR(2) - 1, 1, 100},
      {1, DAY(100) + HOUR(2), DAY(100) + HOUR(4) - 1, 2, 100}},
     "0 1"},
    {"a past day within the grace time",
     DAY(101) + MIN(29),
     false,
     {{1, DAY(100), DAY(100) + HOUR(2) - 1, 1, 100},
      {1, DAY(100) + HOUR(2), DAY(100) + HOUR(4) - 1, 2, 100}},
     ""},
    {"even one partition of a past day",
     DAY(101) + MIN(30),
     false,
     {{1, DAY(100), DAY(100) + HOUR(2) - 1, 1, 100}},
     "0"},
    {"a day is final", DAY(101) + MIN(30), false, {{2, DAY(100), DAY(101) - 1, 1, 100}}, ""},
    {"a partition joins its day",
     DAY(103),
     false,
     {{2, DAY(99), DAY(100) - 1, 1, 100},
      {2, DAY(100), DAY(101) - 1, 1, 100},
      {1, DAY(100) + HOUR(2), DAY(100) + HOUR(3), 2, 1}},
     "1 2"},
    {"late crumbs do not rewrite a day",
     DAY(103),
     false,
     {{2, DAY(100), DAY(101) - 1, 1, 1000},
      {2, DAY(100) + 5, DAY(101) - 1, 2, 3},
      {2, DAY(100) + 5, DAY(101) - 1, 3, 3}},
     ""},
    {"a quarter does",
     DAY(103),
     false,
     {{2, DAY(100), DAY(101) - 1, 1, 1000},
      {2, DAY(100) + 5, DAY(101) - 1, 2, 200},
      {2, DAY(100) + 5, DAY(101) - 1, 3, 50}},
     "0 1 2"},
    {"many crumbs are merged among themselves",
     DAY(103),
     false,
     {{2, DAY(100), DAY(101) - 1, 1, 1000},
      {2, DAY(100), DAY(100) + 9, 2, 3},
      {2, DAY(100), DAY(100) + 9, 3, 3},
      {2, DAY(100), DAY(100) + 9, 4, 3},
      {2, DAY(100), DAY(100) + 9, 5, 3},
      {2, DAY(100), DAY(100) + 9, 6, 3},
      {2, DAY(100), DAY(100) + 9, 7, 3},
      {2, DAY(100), DAY(100) + 9, 8, 3}},
     "1 2 3 4 5 6 7"},
    {"force takes all flushes but the newest",
     DAY(100) + MIN(20),
     true,
     {{0, DAY(100), DAY(100) + MIN(5), 1, 10},
      {0, DAY(100), DAY(100) + MIN(10), 2, 10},
      {0, DAY(100), DAY(100) + MIN(15), 3, 10}},
     "0 1"},
    {"force does not end the day",
     DAY(100) + HOUR(5),
     true,
     {{1, DAY(100), DAY(100) + HOUR(2) - 1, 1, 100},
      {1, DAY(100) + HOUR(2), DAY(100) + HOUR(4) - 1, 2, 100}},
     ""},
    {"days before the epoch",
     DAY(-3),
     false,
     {{1, DAY(-5) + 1, DAY(-5) + HOUR(2) - 1, 1, 10}, {1, DAY(-6), DAY(-6) + 1, 2, 10}},
     "0"},
    {"a flood of flushes does not wait",
     DAY(100) + MIN(40),
     false,
     {{0, DAY(100), DAY(100) + 1, 1, 9},  {0, DAY(100), DAY(100) + 1, 2, 9},
      {0, DAY(100), DAY(100) + 1, 3, 9},  {0, DAY(100), DAY(100) + 1, 4, 9},
      {0, DAY(100), DAY(100) + 1, 5, 9},  {0, DAY(100), DAY(100) + 1, 6, 9},
      {0, DAY(100), DAY(100) + 1, 7, 9},  {0, DAY(100), DAY(100) + 1, 8, 9},
      {0, DAY(100), DAY(100) + 1, 9, 9},  {0, DAY(100), DAY(100) + 1, 10, 9},
      {0, DAY(100), DAY(100) + 1, 11, 9}, {0, DAY(100), DAY(100) + 1, 12, 9},
      {0, DAY(100), DAY(100) + 1, 13, 9}, {0, DAY(100), DAY(100) + 1, 14, 9},
      {0, DAY(100), DAY(100) + 1, 15, 9}, {0, DAY(100), DAY(100) + 1, 16, 9},
      {0, DAY(100), DAY(100) + 1, 17, 9}, {0, DAY(100), DAY(100) + 1, 18, 9},
      {0, DAY(100), DAY(100) + 1, 19, 9}, {0, DAY(100), DAY(100) + 1, 20, 9},
      {0, DAY(100), DAY(100) + 1, 21, 9}, {0, DAY(100), DAY(100) + 1, 22, 9},
      {0, DAY(100), DAY(100) + 1, 23, 9}, {0, DAY(100), DAY(100) + 1, 24, 9},
      {0, DAY(100), DAY(100) + 1, 25, 9}},
     "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23"},
    {"times at the ends of int64",
     INT64_MAX - DAY(2),
     true,
     {{1, INT64_MIN, INT64_MIN + 1, 1, 10}, {0, INT64_MIN, INT64_MAX, 2, 10}, {0, 0, 1, 3, 10}},
     "1"},
};

static void test_merge_plan_table(void **state)
{
    (void)state;
    for (size_t c = 0; c < NX_ARRAY_LEN(cases); c++) {
        struct block_meta metas[BLOCKS_MAX] = {0};
        struct merge_job job = {0};
        char text[256] = "";
        size_t count = 0;
        for (; count < BLOCKS_MAX && cases[c].blocks[count].bytes != 0; count++) {
            const struct plan_block *block = &cases[c].blocks[count];
            metas[count] = (struct block_meta){.level = block->level,
                                               .min_time_ms = block->min_ms,
                                               .max_time_ms = block->max_ms,
                                               .commit_min = block->commit,
                                               .commit_max = block->commit,
                                               .index_bytes = 0,
                                               .chunks_bytes = block->bytes};
        }
        bool is_planned =
            merge_plan(metas, count, cases[c].now_ms, MERGE_GATHER_MS, cases[c].force, &job);
        for (size_t i = 0; i < job.source_count; i++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u", i > 0 ? " " : "",
                     job.source_index[i]);
        if (strcmp(text, cases[c].expected) != 0 || is_planned != (cases[c].expected[0] != 0))
            fail_msg("%s: planned \"%s\", expected \"%s\"", cases[c].name, text, cases[c].expected);
    }
}

static void test_merge_plan_takes_at_most_its_sources(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static struct block_meta metas[COUNT];
    struct merge_job job = {0};
    for (unsigned i = 0; i < COUNT; i++)
        metas[i] = (struct block_meta){.level = i < 50 ? 1 : 0,
                                       .min_time_ms = DAY(5),
                                       .max_time_ms = DAY(5) + 100,
                                       .commit_min = i,
                                       .commit_max = i,
                                       .chunks_bytes = i < 50 ? 1 : 1000};
    assert_true(merge_plan(metas, COUNT, DAY(9), MERGE_GATHER_MS, false, &job));
    assert_int_equal(job.source_count, MERGE_SOURCES_MAX);
    for (size_t i = 1; i < job.source_count; i++)
        assert_true(job.source_index[i - 1] < job.source_index[i]);
    /* The oldest flushes, without a gap. */
    for (uint32_t i = 0; i < 48; i++)
        assert_int_equal(job.source_index[16 + i], 50 + i);
    assert_int_equal(job.day_before_ms, DAY(8));
}

/* ---- blocks that are merged among themselves, not with their day each time ---- */

/* A block made at that time; the rest of a ulid is of no interest here. */
static struct block_meta made_at(int64_t made_ms, uint32_t level, int64_t min_ms, int64_t max_ms,
                                 uint64_t bytes)
{
    struct block_meta meta = {
        .level = level, .min_time_ms = min_ms, .max_time_ms = max_ms, .chunks_bytes = bytes};
    ulid_new(meta.ulid, made_ms);
    return meta;
}

static void test_a_backfill_gathers(void **state)
{
    (void)state;
    struct merge_job job;
    int64_t now_ms = DAY(100) + HOUR(5);
    struct block_meta metas[MERGE_FLUSHES_MAX + 1];
    for (unsigned i = 0; i <= MERGE_FLUSHES_MAX; i++) {
        metas[i] = made_at(now_ms, 0, DAY(90), DAY(90) + HOUR(1), 10);
        metas[i].commit_min = metas[i].commit_max = i + 1;
        assert_int_equal(merge_plan(metas, i + 1, now_ms, MERGE_GATHER_MS, false, &job),
                         i == MERGE_FLUSHES_MAX);
    }
    /* Nothing more comes. */
    assert_false(merge_plan(metas, 3, now_ms + MERGE_GATHER_MS - 1, MERGE_GATHER_MS, false, &job));
    assert_true(merge_plan(metas, 3, now_ms + MERGE_GATHER_MS, MERGE_GATHER_MS, false, &job));
    assert_int_equal(job.source_count, 2);
    /* Pieces of a day, too. */
    struct block_meta pieces[] = {made_at(now_ms - HOUR(2), 2, DAY(90), DAY(90) + HOUR(9), 100),
                                  made_at(now_ms, 2, DAY(90), DAY(90) + HOUR(9), 90)};
    assert_false(
        merge_plan(pieces, 2, now_ms + MERGE_GATHER_MS / 2 - 1, MERGE_GATHER_MS, false, &job));
    assert_true(merge_plan(pieces, 2, now_ms + MERGE_GATHER_MS / 2, MERGE_GATHER_MS, false, &job));
    /* A clock that was set back does not keep them apart. */
    assert_true(merge_plan(pieces, 2, now_ms - 1, MERGE_GATHER_MS, false, &job));
}

static void test_many_young_pieces_are_merged(void **state)
{
    (void)state;
    struct merge_job job;
    int64_t now_ms = DAY(100) + HOUR(5);
    struct block_meta metas[MERGE_PIECES_MAX];
    for (unsigned i = 0; i < MERGE_PIECES_MAX; i++)
        metas[i] = made_at(now_ms, 2, DAY(90), DAY(90) + HOUR(9), 10);
    assert_true(merge_plan(metas, MERGE_PIECES_MAX, now_ms, MERGE_GATHER_MS, false, &job));
    assert_int_equal(job.source_count, MERGE_PIECES_MAX);
    metas[0].chunks_bytes = 10 * MERGE_PIECES_MAX;
    assert_true(merge_plan(metas, MERGE_PIECES_MAX, now_ms, MERGE_GATHER_MS, false, &job));
    assert_int_equal(job.source_count, MERGE_PIECES_MAX - 1);
    assert_int_equal(job.source_index[0], 1);
}

/* ---- what is written over a week: merges without blocks ----
 *
 * A sample counts as one byte, at every level. */

#define SIM_BLOCKS_MAX 512
#define SIM_SLOTS      16 /* days touched by one flush or merge */

/* Samples of one partition within a block. */
struct sim_part {
    int64_t start_ms, min_ms, max_ms;
    uint64_t bytes;
};
struct sim_block {
    struct block_meta meta;
    struct sim_part parts[SIM_SLOTS * 12];
    size_t part_count;
};
struct sim {
    struct sim_block blocks[SIM_BLOCKS_MAX];
    size_t count, count_max;
    uint64_t commit, bytes_in, bytes_written;
};

static void sim_add(struct sim_block *block, int64_t min_ms, int64_t max_ms, uint64_t bytes)
{
    int64_t start_ms = min_ms - min_ms % PARTITION_MS;
    size_t i = 0;
    while (i < block->part_count && block->parts[i].start_ms != start_ms)
        i++;
    assert_true(i < NX_ARRAY_LEN(block->parts));
    struct sim_part *part = &block->parts[i];
    if (i == block->part_count) {
        block->part_count++;
        *part = (struct sim_part){start_ms, min_ms, max_ms, 0};
    }
    part->bytes += bytes;
    part->min_ms = min_ms < part->min_ms ? min_ms : part->min_ms;
    part->max_ms = max_ms > part->max_ms ? max_ms : part->max_ms;
}

/* By commit, as a list of blocks is. */
static void sim_publish(struct sim *sim, struct sim_block *block)
{
    assert_true(sim->count < SIM_BLOCKS_MAX);
    block->meta.min_time_ms = INT64_MAX;
    block->meta.max_time_ms = INT64_MIN;
    for (size_t i = 0; i < block->part_count; i++) {
        const struct sim_part *part = &block->parts[i];
        block->meta.chunks_bytes += part->bytes;
        if (part->min_ms < block->meta.min_time_ms)
            block->meta.min_time_ms = part->min_ms;
        if (part->max_ms > block->meta.max_time_ms)
            block->meta.max_time_ms = part->max_ms;
    }
    sim->bytes_written += block->meta.chunks_bytes;
    size_t at = sim->count++;
    for (; at > 0 && sim->blocks[at - 1].meta.commit_min > block->meta.commit_min; at--)
        sim->blocks[at] = sim->blocks[at - 1];
    sim->blocks[at] = *block;
}

static void sim_merge(struct sim *sim, const struct merge_job *job, int64_t now_ms)
{
    static struct sim_block outputs[SIM_SLOTS * 12];
    size_t output_count = 0;
    for (size_t s = job->source_count; s-- > 0;) {
        struct sim_block *source = &sim->blocks[job->source_index[s]];
        for (size_t p = 0; p < source->part_count; p++) {
            const struct sim_part *part = &source->parts[p];
            bool is_day = part->start_ms < job->day_before_ms;
            int64_t start_ms = part->start_ms - part->start_ms % (is_day ? DAY_MS : PARTITION_MS);
            size_t o = 0;
            while (o < output_count && outputs[o].meta.exemplar_min_ms != start_ms)
                o++;
            assert_true(o < NX_ARRAY_LEN(outputs));
            if (o == output_count) {
                outputs[output_count++] =
                    (struct sim_block){.meta = {.level = is_day ? 2 : 1,
                                                .exemplar_min_ms = start_ms, /* here: the slot */
                                                .commit_min = source->meta.commit_min}};
                ulid_new(outputs[o].meta.ulid, now_ms);
            }
            if (source->meta.commit_min < outputs[o].meta.commit_min)
                outputs[o].meta.commit_min = source->meta.commit_min;
            sim_add(&outputs[o], part->min_ms, part->max_ms, part->bytes);
        }
        memmove(source, source + 1, (sim->count - job->source_index[s] - 1) * sizeof(*source));
        sim->count--;
    }
    for (size_t o = 0; o < output_count; o++)
        sim_publish(sim, &outputs[o]);
}

/* A flush of samples of [min_ms, max_ms), and a part in ten of `late_bytes` older by that. */
static void sim_flush(struct sim *sim, int64_t now_ms, int64_t min_ms, uint64_t bytes,
                      int64_t late_ms)
{
    static struct sim_block block;
    sim->commit++;
    block = (struct sim_block){.meta = {.commit_min = sim->commit, .commit_max = sim->commit}};
    ulid_new(block.meta.ulid, now_ms);
    for (int64_t at = 0; at < MIN(15); at += MIN(5)) { /* partitions begin at such a time */
        uint64_t late = late_ms > 0 ? bytes / 30 : 0;
        sim_add(&block, min_ms + at, min_ms + at + MIN(5) - 1, bytes / 3 - late);
        if (late > 0)
            sim_add(&block, min_ms + at - late_ms, min_ms + at + MIN(5) - 1 - late_ms, late);
    }
    sim_publish(sim, &block);
    sim->bytes_in += block.meta.chunks_bytes;
}

static void sim_settle(struct sim *sim, int64_t now_ms)
{
    static struct block_meta metas[SIM_BLOCKS_MAX];
    struct merge_job job;
    if (sim->count > sim->count_max)
        sim->count_max = sim->count;
    for (unsigned jobs = 0;; jobs++) {
        assert_true(jobs < 100);
        for (size_t i = 0; i < sim->count; i++)
            metas[i] = sim->blocks[i].meta;
        if (!merge_plan(metas, sim->count, now_ms, MERGE_GATHER_MS, false, &job))
            return;
        sim_merge(sim, &job, now_ms);
    }
}

#define SIM_FLUSH_BYTES 90000u

/* Seven days of a flush each 15 minutes. How often a byte was written, in hundredths. */
static uint64_t sim_week(struct sim *sim, int64_t late_ms)
{
    *sim = (struct sim){0};
    for (int64_t now_ms = DAY(100) + MIN(15); now_ms <= DAY(107) + HOUR(1); now_ms += MIN(15)) {
        sim_flush(sim, now_ms, now_ms - MIN(15), SIM_FLUSH_BYTES, late_ms);
        sim_settle(sim, now_ms);
    }
    return sim->bytes_written * 100 / sim->bytes_in;
}

static void test_a_week_is_written_three_times(void **state)
{
    (void)state;
    struct sim *sim = nx_calloc(1, sizeof(*sim));
    uint64_t steady = sim_week(sim, 0);
    print_message("steady: %.2f times, %zu blocks at most\n", (double)steady / 100, sim->count_max);
    assert_in_range(steady, 290, 325);
    assert_in_range(sim->count_max, 1, 7 + 23);
    uint64_t late = sim_week(sim, HOUR(3));
    print_message("a tenth 3 h late: %.2f times, %zu blocks\n", (double)late / 100, sim->count_max);
    assert_in_range(late, 290, 400);
    late = sim_week(sim, HOUR(30));
    print_message("a tenth 30 h late: %.2f times, %zu blocks\n", (double)late / 100,
                  sim->count_max);
    assert_in_range(late, 290, 450);
    nx_free(sim);
}

/* Half a day that is over, a quarter of an hour in a flush, one flush a second or a minute. */
static void test_a_backfill_is_written_few_times(void **state)
{
    (void)state;
    struct sim *sim = nx_calloc(1, sizeof(*sim));
    static const int64_t paces_ms[] = {1000, 60000, 15 * 60000};
    for (size_t p = 0; p < NX_ARRAY_LEN(paces_ms); p++) {
        *sim = (struct sim){0};
        int64_t now_ms = DAY(101) + HOUR(14);
        for (unsigned i = 0; i < 48; i++, now_ms += paces_ms[p]) {
            sim_flush(sim, now_ms, DAY(100) + i * MIN(15), SIM_FLUSH_BYTES, 0);
            sim_settle(sim, now_ms);
        }
        for (unsigned i = 0; i < 48; i++, now_ms += MIN(15))
            sim_settle(sim, now_ms);
        uint64_t times = sim->bytes_written * 100 / sim->bytes_in;
        print_message(
            "backfill, a flush each %d s: %.2f times, %zu blocks at most, %zu in the end\n",
            (int)(paces_ms[p] / 1000), (double)times / 100, sim->count_max, sim->count);
        /* One that takes as long as its samples did is merged as they come. */
        assert_in_range(times, 200, paces_ms[p] < MIN(15) ? 300 : 450);
        assert_in_range(sim->count_max, 1, 32);
        assert_in_range(sim->count, 1, 3);
    }
    nx_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_plan_table),
        cmocka_unit_test(test_merge_plan_takes_at_most_its_sources),
        cmocka_unit_test(test_a_backfill_gathers),
        cmocka_unit_test(test_many_young_pieces_are_merged),
        cmocka_unit_test(test_a_week_is_written_three_times),
        cmocka_unit_test(test_a_backfill_is_written_few_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
