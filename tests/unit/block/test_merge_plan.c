/* SPDX-License-Identifier: Apache-2.0 */
/* test_merge_plan.c - what is merged when, as a table. */
#include "narthex/base/assert.h"
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
        bool is_planned = merge_plan(metas, count, cases[c].now_ms, cases[c].force, &job);
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
    assert_true(merge_plan(metas, COUNT, DAY(9), false, &job));
    assert_int_equal(job.source_count, MERGE_SOURCES_MAX);
    for (size_t i = 1; i < job.source_count; i++)
        assert_true(job.source_index[i - 1] < job.source_index[i]);
    /* The oldest flushes, without a gap. */
    for (uint32_t i = 0; i < 48; i++)
        assert_int_equal(job.source_index[16 + i], 50 + i);
    assert_int_equal(job.day_before_ms, DAY(8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_plan_table),
        cmocka_unit_test(test_merge_plan_takes_at_most_its_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
