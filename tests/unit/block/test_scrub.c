/* SPDX-License-Identifier: Apache-2.0 */
/* test_scrub.c - at its pace, oldest first, once a day, over restarts; what is damaged is found. */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"
#include "narthex/block/merge.h"
#include "narthex/block/scrub.h"

#include "block_internal.h"
#include "tests/unit/block/twin_support.h"

#include <stdio.h>
#include <string.h>

#define DAY_0  (20000 * DAY_MS)
#define BLOCKS 3u

struct fixture {
    char *dir;
    struct twin twin;
    struct rand_state rand;
    struct clock_manual clock;
    struct block_list *list;
    struct scrub *scrub;
    uint64_t bytes; /* of all blocks' indexes and chunks */
};

static void fixture_init(struct fixture *f)
{
    struct nx_err err;
    *f = (struct fixture){.dir = temp_dir_new()};
    rand_seed(&f->rand, 5);
    twin_init(&f->twin, 12);
    clock_manual_init(&f->clock, DAY_0);
    const struct block_list_options options = {
        .io = io_real(), .clock = &f->clock.clock, .data_dir = f->dir, .cache_bytes = 1 << 20};
    assert_int_equal(block_list_open(&f->list, &options, &err), NX_OK);
    for (unsigned i = 0; i < BLOCKS; i++) {
        const struct twin_flush flush = {
            .min_ms = DAY_0 - DAY_MS, .max_ms = DAY_0, .samples_max = 30, .step_ms = 30000};
        assert_int_equal(twin_flush(&f->twin, f->list, io_real(), &f->rand, &flush, &err), NX_OK);
        clock_manual_advance(&f->clock, 1000); /* each is a second older than the next */
    }
    struct block_snapshot snapshot;
    block_list_snapshot(f->list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++)
        f->bytes += block_meta(snapshot.blocks[i])->index_bytes +
                    block_meta(snapshot.blocks[i])->chunks_bytes;
    block_snapshot_end(&snapshot);
}

static void scrub_open(struct fixture *f, uint64_t bytes_per_s)
{
    const struct scrub_options options = {
        .list = f->list, .clock = &f->clock.clock, .bytes_per_s = bytes_per_s};
    scrub_free(f->scrub);
    f->scrub = scrub_new(&options);
}

static void fixture_deinit(struct fixture *f)
{
    scrub_free(f->scrub);
    block_list_close(f->list);
    twin_deinit(&f->twin);
    temp_dir_free(f->dir);
}

static struct scrub_result run(struct fixture *f)
{
    struct scrub_result result;
    struct nx_err err;
    if (scrub_run(f->scrub, NULL, &result, &err) != NX_OK)
        fail_msg("%s", err.msg);
    return result;
}

/* Runs four times a second for a time; the sums. */
static struct scrub_result run_for(struct fixture *f, int64_t ms)
{
    struct scrub_result sum = {0};
    for (int64_t at = 0; at < ms; at += 250) {
        clock_manual_advance(&f->clock, 250);
        struct scrub_result result = run(f);
        sum.bytes += result.bytes;
        sum.blocks += result.blocks;
        if (result.damages > 0) {
            sum.is_index = result.is_index;
            memcpy(sum.ulid, result.ulid, sizeof(sum.ulid));
            memcpy(sum.damage, result.damage, sizeof(sum.damage));
        }
        sum.damages += result.damages;
    }
    return sum;
}

static void test_each_block_is_read_once_a_day(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    scrub_open(&f, 64 << 20);
    struct scrub_result result = run_for(&f, 5000);
    assert_int_equal(result.bytes, 0); /* new blocks are not read again at once */
    clock_manual_advance(&f.clock, DAY_MS);
    result = run_for(&f, 5000);
    assert_int_equal(result.blocks, BLOCKS);
    assert_int_equal(result.bytes, f.bytes);
    assert_int_equal(result.damages, 0);
    result = run_for(&f, 5000);
    assert_int_equal(result.bytes, 0);
    clock_manual_advance(&f.clock, DAY_MS);
    result = run_for(&f, 5000);
    assert_int_equal(result.blocks, BLOCKS);
    fixture_deinit(&f);
}

static void test_the_pace_is_kept(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    clock_manual_advance(&f.clock, 2 * DAY_MS);
    uint64_t rate = f.bytes / 20;
    scrub_open(&f, rate);
    uint64_t bytes = 0;
    for (unsigned s = 1; s <= 30; s++) {
        bytes += run_for(&f, 1000).bytes;
        assert_true(bytes <= rate * s + 1);
    }
    assert_int_equal(bytes, f.bytes);
    fixture_deinit(&f);
}

static void test_progress_survives_a_restart_and_the_oldest_is_first(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    clock_manual_advance(&f.clock, 2 * DAY_MS);
    scrub_open(&f, f.bytes / 20);
    uint64_t bytes = 0;
    unsigned blocks = 0;
    while (blocks == 0) {
        struct scrub_result result = run_for(&f, 250);
        bytes += result.bytes;
        blocks += result.blocks;
    }
    assert_int_equal(blocks, 1);
    struct block_snapshot snapshot;
    block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &snapshot);
    const struct block_meta *oldest = block_meta(snapshot.blocks[0]);
    assert_int_equal(bytes, oldest->index_bytes + oldest->chunks_bytes);
    block_snapshot_end(&snapshot);
    scrub_open(&f, 64 << 20); /* a new one, with what the catalog has */
    struct scrub_result result = run_for(&f, 5000);
    assert_int_equal(result.blocks, BLOCKS - 1);
    assert_int_equal(result.bytes, f.bytes - bytes);
    fixture_deinit(&f);
}

static void test_a_value_of_another_shape_is_forgotten(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    fixture_init(&f);
    clock_manual_advance(&f.clock, 2 * DAY_MS);
    static const uint8_t odd[100] = {1, 0, 0, 0, 9, 9, 9};
    for (size_t bytes = 0; bytes <= sizeof(odd); bytes += 7)
        assert_int_equal(
            catalog_put(block_list_catalog(f.list), "scrub", (struct nx_bytes){odd, bytes}, &err),
            NX_OK);
    scrub_open(&f, 64 << 20);
    assert_int_equal(run_for(&f, 5000).blocks, BLOCKS);
    fixture_deinit(&f);
}

static struct block *block_at(struct fixture *f, size_t i)
{
    struct block_snapshot snapshot;
    block_list_snapshot(f->list, INT64_MIN, INT64_MAX, &snapshot);
    struct block *block = block_ref(snapshot.blocks[i]);
    block_snapshot_end(&snapshot);
    return block;
}

static void test_a_damaged_group_marks_the_block(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    clock_manual_advance(&f.clock, 2 * DAY_MS);
    struct block *block = block_at(&f, 1);
    char *path = path_of(block_dir(block), "chunks.nxc");
    file_flip(path, 40 * 8);
    scrub_open(&f, 64 << 20);
    uint64_t before = metrics_get(METRIC_SCRUB_DAMAGES);
    struct scrub_result result = run_for(&f, 5000);
    assert_int_equal(result.damages, 1);
    assert_false(result.is_index);
    assert_string_equal(result.ulid, block_meta(block)->ulid);
    assert_non_null(strstr(result.damage, "group at offset 0"));
    assert_true(atomic_load(&block->is_damaged));
    assert_int_equal(result.blocks, BLOCKS);
    assert_int_equal(metrics_get(METRIC_SCRUB_DAMAGES), before + 1);
    struct block_list_stats stats;
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.blocks, BLOCKS); /* it serves the rest */
    nx_free(path);
    block_unref(block);
    fixture_deinit(&f);
}

static void test_a_damaged_index_sets_the_block_aside(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    clock_manual_advance(&f.clock, 2 * DAY_MS);
    struct block *block = block_at(&f, 0);
    char *path = path_of(block_dir(block), "index.mdb");
    file_flip(path, 9000 * 8);
    scrub_open(&f, 64 << 20);
    struct scrub_result result = run_for(&f, 5000);
    assert_int_equal(result.damages, 1);
    assert_true(result.is_index);
    assert_int_equal(result.blocks, BLOCKS - 1);
    struct block_list_stats stats;
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.blocks, BLOCKS - 1);
    assert_int_equal(stats.quarantined, 1);
    nx_free(path);
    block_unref(block);
    fixture_deinit(&f);
}

static void test_blocks_that_go_meanwhile_are_passed_over(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    unsigned removed;
    fixture_init(&f);
    clock_manual_advance(&f.clock, 2 * DAY_MS);
    scrub_open(&f, f.bytes / 20);
    run_for(&f, 2000); /* in the middle of one */
    assert_int_equal(retention_run(f.list, DAY_0 + 100 * DAY_MS, DAY_MS, &removed, &err), NX_OK);
    assert_int_equal(removed, BLOCKS - 1); /* the newest flush stays */
    struct scrub_result result = run_for(&f, 30000);
    assert_int_equal(result.blocks, 1);
    assert_int_equal(result.damages, 0);
    assert_int_equal(block_list_sweep(f.list), 0); /* no reference is left behind */
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_block_is_read_once_a_day),
        cmocka_unit_test(test_the_pace_is_kept),
        cmocka_unit_test(test_progress_survives_a_restart_and_the_oldest_is_first),
        cmocka_unit_test(test_a_value_of_another_shape_is_forgotten),
        cmocka_unit_test(test_a_damaged_group_marks_the_block),
        cmocka_unit_test(test_a_damaged_index_sets_the_block_aside),
        cmocka_unit_test(test_blocks_that_go_meanwhile_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
