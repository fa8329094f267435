/* SPDX-License-Identifier: Apache-2.0 */
/* test_merge.c - merging changes where samples are, never what they are. */
#include "narthex/base/mem.h"
#include "narthex/block/merge.h"

#include "merge_internal.h"
#include "tests/unit/block/twin_support.h"

#include <ftw.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define DAY_0 (20000 * DAY_MS)

/* Every merged block lies in one partition or day. */
static void assert_slots(struct block_list *list)
{
    struct block_snapshot snapshot;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        const struct block_meta *meta = block_meta(snapshot.blocks[i]);
        if (meta->level == 0)
            continue;
        int64_t size_ms = meta->level == 1 ? PARTITION_MS : DAY_MS;
        assert_int_equal(time_floor(meta->min_time_ms, size_ms),
                         time_floor(meta->max_time_ms, size_ms));
        assert_true(meta->source_count > 0);
    }
    block_snapshot_end(&snapshot);
}

/* Until there is nothing to do; adds up what was dropped. */
static unsigned merge_all(struct block_list *list, int64_t now_ms, bool force, uint64_t *duplicates)
{
    unsigned jobs = 0;
    for (;; jobs++) {
        bool has_worked = false;
        struct merge_result result;
        struct nx_err err;
        nx_code code = merge_run(list, now_ms, force, NULL, &has_worked, &result, &err);
        if (code != NX_OK)
            fail_msg("merge: %s", err.msg);
        if (!has_worked)
            return jobs;
        assert_true(result.outputs > 0 && result.sources > 0);
        assert_true(result.bytes_in > 0 && result.bytes_out > 0);
        *duplicates += result.duplicates;
        assert_true(jobs < 1000);
    }
}

static void test_merges_keep_every_sample(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        char *dir = temp_dir_new();
        struct twin twin;
        struct rand_state rand;
        struct nx_err err;
        uint64_t duplicates = 0;
        rand_seed(&rand, seed);
        twin_init(&twin, 20 + 30 * (size_t)(seed % 2));
        struct block_list *list = open_list(io_real(), dir, DAY_0);
        int64_t now_ms = DAY_0;
        unsigned jobs = 0;
        for (unsigned i = 0; i < 40; i++) {
            const struct twin_flush flush = {.min_ms = now_ms - 40 * 60 * 1000,
                                             .max_ms = now_ms,
                                             .samples_max = seed == 3 ? 900 : 60,
                                             .step_ms = seed == 4 ? 60000 : 2000,
                                             .late_days = seed == 2 ? 3 : 0};
            assert_int_equal(twin_flush(&twin, list, io_real(), &rand, &flush, &err), NX_OK);
            now_ms += 30 * 60 * 1000;
            if (i % 3 == 2)
                jobs += merge_all(list, now_ms, false, &duplicates);
            if (i % 10 == 9) {
                uint64_t samples = assert_list_is_twin(list, &twin);
                assert_int_equal(samples + duplicates, twin.written);
                assert_slots(list);
            }
        }
        jobs += merge_all(list, now_ms + 2 * DAY_MS, false, &duplicates);
        assert_true(jobs > 8);
        uint64_t samples = assert_list_is_twin(list, &twin);
        assert_int_equal(samples + duplicates, twin.written);
        assert_slots(list);
        block_list_close(list);
        list = open_list(io_real(), dir, now_ms);
        assert_int_equal(assert_list_is_twin(list, &twin), samples);
        struct block_list_stats stats;
        block_list_stats(list, &stats);
        assert_int_equal(stats.samples, samples);
        assert_int_equal(stats.quarantined, 0);
        block_list_close(list);
        twin_deinit(&twin);
        temp_dir_free(dir);
    }
}

/* 41 days touched by one job: more than are written at once. */
static void test_merge_of_very_late_data_takes_several_passes(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    struct twin twin;
    struct rand_state rand;
    struct nx_err err;
    uint64_t duplicates = 0;
    rand_seed(&rand, 7);
    twin_init(&twin, 40);
    struct block_list *list = open_list(io_real(), dir, DAY_0);
    for (unsigned i = 0; i < 4; i++) {
        const struct twin_flush flush = {.min_ms = DAY_0 - DAY_MS,
                                         .max_ms = DAY_0 - 1,
                                         .samples_max = 60,
                                         .step_ms = 600000,
                                         .late_days = 40};
        assert_int_equal(twin_flush(&twin, list, io_real(), &rand, &flush, &err), NX_OK);
    }
    bool has_worked = false;
    struct merge_result result;
    assert_int_equal(merge_run(list, DAY_0 + DAY_MS, false, NULL, &has_worked, &result, &err),
                     NX_OK);
    assert_true(has_worked);
    assert_true(result.outputs > 2 * MERGE_OUTPUTS_MAX);
    assert_true(result.duplicates > 0);
    duplicates += result.duplicates;
    assert_int_equal(assert_list_is_twin(list, &twin) + duplicates, twin.written);
    assert_slots(list);
    block_list_close(list);
    twin_deinit(&twin);
    temp_dir_free(dir);
}

/* Chunks that are whole are copied; the day's blocks must hold the same bytes' values. */
static void test_merge_copies_long_chunks(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    struct twin twin;
    struct nx_err err;
    twin_init(&twin, 3);
    struct block_list *list = open_list(io_real(), dir, DAY_0);
    for (unsigned part = 0; part < 13; part++) {
        char ulid[ULID_TEXT_LEN + 1];
        struct nx_buf block_dir = {0};
        struct block_writer *writer = NULL;
        struct block_meta meta;
        assert_int_equal(block_list_begin(list, ulid, &block_dir, &err), NX_OK);
        const struct block_writer_options options = {.io = io_real(),
                                                     .dir = (const char *)block_dir.data,
                                                     .ulid = ulid,
                                                     .level = part < 12 ? 1 : 0,
                                                     .commit_min = part,
                                                     .commit_max = part,
                                                     .zstd_level = 1};
        assert_int_equal(block_writer_new(&writer, &options, &err), NX_OK);
        for (size_t s = 0; s < 3; s++) {
            int64_t times[480];
            double values[480];
            for (unsigned i = 0; i < 480; i++) {
                times[i] = DAY_0 + part * PARTITION_MS + i * 15000 + (int64_t)s;
                values[i] = s == 0 ? 1 : (double)(i * part) * 0.1;
                twin_add(&twin.series[s], times[i], values[i]);
            }
            assert_int_equal(
                block_writer_add(writer, twin.series[s].labels, 5, times, values, 480, &err),
                NX_OK);
        }
        assert_int_equal(block_writer_finish(writer, &meta, &err), NX_OK);
        block_writer_free(writer);
        assert_int_equal(block_list_publish(list, &meta, 1, NULL, 0, &err), NX_OK);
        nx_buf_deinit(&block_dir);
    }
    uint64_t duplicates = 0;
    assert_int_equal(merge_all(list, DAY_0 + 2 * DAY_MS, false, &duplicates), 1);
    assert_int_equal(duplicates, 0);
    assert_list_is_twin(list, &twin);
    struct block_snapshot snapshot;
    block_list_snapshot(list, DAY_0, DAY_0 + DAY_MS - 1, &snapshot);
    assert_int_equal(snapshot.count, 1);
    assert_int_equal(block_meta(snapshot.blocks[0])->level, 2);
    assert_int_equal(block_meta(snapshot.blocks[0])->chunk_count, 3 * 12);
    assert_int_equal(block_meta(snapshot.blocks[0])->commit_min, 0);
    assert_int_equal(block_meta(snapshot.blocks[0])->commit_max, 11);
    block_snapshot_end(&snapshot);
    block_list_close(list);
    twin_deinit(&twin);
    temp_dir_free(dir);
}

static void fill(struct twin *twin, struct block_list *list, uint64_t seed, unsigned flushes)
{
    struct rand_state rand;
    struct nx_err err;
    rand_seed(&rand, seed);
    for (unsigned i = 0; i < flushes; i++) {
        const struct twin_flush flush = {.min_ms = DAY_0 + i * 1800000,
                                         .max_ms = DAY_0 + i * 1800000 + 2000000,
                                         .samples_max = 40,
                                         .step_ms = 30000};
        assert_int_equal(twin_flush(twin, list, io_real(), &rand, &flush, &err), NX_OK);
    }
}

static void test_merge_stops_when_told(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    struct twin twin;
    struct nx_err err;
    twin_init(&twin, 10);
    struct block_list *list = open_list(io_real(), dir, DAY_0);
    fill(&twin, list, 1, 5);
    _Atomic bool is_stopping = true;
    bool has_worked = false;
    struct merge_result result;
    assert_int_equal(
        merge_run(list, DAY_0 + DAY_MS, true, &is_stopping, &has_worked, &result, &err),
        NX_E_CANCELLED);
    assert_false(has_worked);
    assert_list_is_twin(list, &twin);
    atomic_store(&is_stopping, false);
    assert_int_equal(
        merge_run(list, DAY_0 + DAY_MS, true, &is_stopping, &has_worked, &result, &err), NX_OK);
    assert_true(has_worked);
    assert_list_is_twin(list, &twin);
    block_list_close(list);
    twin_deinit(&twin);
    temp_dir_free(dir);
}

/* A damaged group: the merge fails once, then the others are merged without that block, which stays. */
static void test_merge_leaves_a_damaged_block_out(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    struct twin twin;
    struct nx_err err;
    twin_init(&twin, 10);
    struct block_list *list = open_list(io_real(), dir, DAY_0);
    fill(&twin, list, 2, 6);
    struct block_snapshot snapshot;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    char *path = path_of(block_dir(snapshot.blocks[1]), "chunks.nxc");
    file_flip(path, 100 * 8);
    nx_free(path);
    block_snapshot_end(&snapshot);
    bool has_worked = false;
    struct merge_result result;
    assert_int_equal(merge_run(list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err),
                     NX_E_CORRUPT);
    assert_int_equal(merge_run(list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err),
                     NX_OK);
    assert_true(has_worked);
    assert_int_equal(result.sources, 4);
    struct block_list_stats stats;
    block_list_stats(list, &stats);
    assert_int_equal(stats.quarantined, 0);
    block_list_close(list);
    twin_deinit(&twin);
    temp_dir_free(dir);
}

static void test_merge_quarantines_a_block_with_a_bad_index(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    struct twin twin;
    struct nx_err err;
    twin_init(&twin, 10);
    struct block_list *list = open_list(io_real(), dir, DAY_0);
    fill(&twin, list, 3, 6);
    struct block_snapshot snapshot;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    char *path = path_of(block_dir(snapshot.blocks[1]), "index.mdb");
    file_flip(path, 5000 * 8);
    nx_free(path);
    block_snapshot_end(&snapshot);
    bool has_worked = false;
    struct merge_result result;
    assert_int_equal(merge_run(list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err),
                     NX_E_CORRUPT);
    struct block_list_stats stats;
    block_list_stats(list, &stats);
    assert_int_equal(stats.quarantined, 1);
    assert_int_equal(stats.blocks, 5);
    assert_non_null(strstr(stats.damage, "index.mdb"));
    assert_int_equal(merge_run(list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err),
                     NX_OK);
    assert_true(has_worked);
    block_list_close(list);
    twin_deinit(&twin);
    temp_dir_free(dir);
}

/* ---- what a merge takes on disk, and its pace ---- */

static uint64_t tree_bytes_found;

static int tree_add(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)path;
    (void)where;
    if (type == FTW_F)
        tree_bytes_found += (uint64_t)status->st_size;
    return 0;
}

/* Of all blocks, finished, in writing or retired. */
static uint64_t blocks_bytes(const char *dir)
{
    static const char *const names[] = {"blocks", "tmp"};
    tree_bytes_found = 0;
    for (size_t i = 0; i < NX_ARRAY_LEN(names); i++) {
        char *path = path_of(dir, names[i]);
        assert_int_equal(nftw(path, tree_add, 8, FTW_PHYS), 0);
        nx_free(path);
    }
    return tree_bytes_found;
}

/* Looks at the directory's size at every step of a merge, and at every piece that it writes. */
struct disk_watch {
    struct io io; /* first */
    const char *dir;
    uint64_t largest, looks, paced_bytes;
};

static void watch_look(struct disk_watch *watch)
{
    uint64_t bytes = blocks_bytes(watch->dir);
    watch->largest = bytes > watch->largest ? bytes : watch->largest;
    watch->looks++;
}

static void watch_crash_point(const struct io *io, const char *name)
{
    (void)name;
    watch_look((struct disk_watch *)(uintptr_t)io);
}

static void watch_wrote(void *context, uint64_t bytes)
{
    struct disk_watch *watch = context;
    watch->paced_bytes += bytes;
    watch_look(watch);
}

static void test_a_merge_takes_one_output_more(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    struct disk_watch watch = {.io = *io_real(), .dir = dir};
    watch.io.crash_point = watch_crash_point;
    const struct block_pace pace = {&watch, watch_wrote};
    struct twin twin;
    struct nx_err err;
    twin_init(&twin, 40);
    struct block_list *list = open_list(&watch.io, dir, DAY_0);
    fill(&twin, list, 4, 20);
    block_list_set_pace(list, &pace);
    bool has_worked = true;
    unsigned merges = 0;
    while (has_worked) {
        struct merge_result result = {0};
        uint64_t before = blocks_bytes(dir);
        watch.largest = watch.looks = watch.paced_bytes = 0;
        assert_int_equal(
            merge_run(list, DAY_0 + 2 * DAY_MS, true, NULL, &has_worked, &result, &err), NX_OK);
        if (!has_worked)
            break;
        merges++;
        uint64_t metas = result.outputs * UINT64_C(4096);
        assert_true(watch.looks > 5);
        assert_in_range(watch.largest, before + 1, before + result.bytes_out + metas);
        assert_in_range(watch.paced_bytes, 1, result.bytes_out);
        /* The sources went when it was done. */
        assert_in_range(blocks_bytes(dir), 1, before + result.bytes_out + metas - result.bytes_in);
    }
    assert_true(merges > 0);
    assert_list_is_twin(list, &twin);
    block_list_close(list);
    twin_deinit(&twin);
    temp_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_keep_every_sample),
        cmocka_unit_test(test_merge_of_very_late_data_takes_several_passes),
        cmocka_unit_test(test_merge_copies_long_chunks),
        cmocka_unit_test(test_merge_stops_when_told),
        cmocka_unit_test(test_merge_leaves_a_damaged_block_out),
        cmocka_unit_test(test_merge_quarantines_a_block_with_a_bad_index),
        cmocka_unit_test(test_a_merge_takes_one_output_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
