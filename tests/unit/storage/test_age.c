/* SPDX-License-Identifier: Apache-2.0 */
/* test_age.c - series leave a head without samples, their slots are used again, and starts find everything. */
#include "storage_support.h"
#include "store_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)

struct world {
    struct store_scratch scratch;
    struct store *store;
    struct twin twin;
    int64_t now_ms;
    struct nx_err err;
};

static void world_make(struct world *world)
{
    *world = (struct world){.now_ms = TWIN_START_MS};
    store_scratch_make(&world->scratch);
    world->store = store_test_open(&world->scratch, NULL);
}

static void world_end(struct world *world)
{
    store_test_close(world->store);
    twin_deinit(&world->twin);
    store_scratch_remove(&world->scratch);
}

/* A sample each of series [first, end), a minute after the last. */
static void write_series(struct world *world, unsigned first, unsigned end)
{
    struct test_request request = {.count = 0};
    world->now_ms += MINUTE_MS;
    clock_manual_advance(&world->scratch.clock, (uint64_t)MINUTE_MS);
    for (unsigned s = first; s < end; s++) {
        request.series[request.count] = s;
        request.samples[request.count++] =
            (struct sample){.time_ms = world->now_ms, .value = (double)s + 0.5};
    }
    assert_int_equal(store_test_write(world->store, &request, &world->twin), NX_OK);
}

static void flush(struct world *world)
{
    assert_int_equal(store_flush(world->store, &world->err), NX_OK);
}

static void age(struct world *world)
{
    bool has_aged = false;
    assert_int_equal(store_age(world->store, &has_aged, &world->err), NX_OK);
    assert_true(has_aged);
}

static uint64_t series_count(struct world *world)
{
    struct store_stats stats;
    store_stats(world->store, &stats);
    return stats.head.series;
}

static void compare(struct world *world)
{
    store_test_compare(world->store, &world->twin, INT64_MIN, INT64_MAX);
}

/* As a kill leaves it: a start from a copy of the files as they are. */
static void restart_from_copy(struct world *world)
{
    struct store_scratch copied;
    store_scratch_make(&copied);
    char command[1400];
    snprintf(command, sizeof(command), "cp -r %s/. %s", world->scratch.path, copied.path);
    assert_int_equal(system(command), 0);
    store_test_close(world->store);
    store_scratch_remove(&world->scratch);
    world->scratch = copied;
    world->scratch.options.data_dir = world->scratch.path;
    world->scratch.options.clock = &world->scratch.clock.clock;
    clock_manual_advance(&world->scratch.clock, world->now_ms - TWIN_START_MS);
    struct store_open_result result;
    world->store = store_test_open(&world->scratch, &result);
    assert_int_equal(result.unknown_samples, 0);
    assert_int_equal(result.damaged_segments, 0);
    assert_int_equal(result.quarantined_blocks, 0);
    assert_int_equal(result.missing_commits, 0);
    compare(world);
}

static void test_series_leave_without_a_block(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    write_series(&world, 0, 40);
    bool has_aged = true;
    assert_int_equal(store_age(world.store, &has_aged, &world.err), NX_OK);
    assert_false(has_aged); /* a flush's work */
    flush(&world);
    age(&world);
    assert_int_equal(series_count(&world), 40); /* they had samples in the last interval but one */
    age(&world);
    assert_int_equal(series_count(&world), 0);
    compare(&world);
    assert_int_equal(store_age(world.store, &has_aged, &world.err), NX_OK);
    assert_false(has_aged);
    write_series(&world, 0, 10);
    assert_int_equal(series_count(&world), 10);
    compare(&world);
    world_end(&world);
}

static void test_a_series_with_samples_stays(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    write_series(&world, 0, 40);
    flush(&world);
    age(&world);
    write_series(&world, 0, 5);
    flush(&world); /* and what had none for two intervals leaves with it */
    assert_int_equal(series_count(&world), 5);
    age(&world);
    assert_int_equal(series_count(&world), 5);
    compare(&world);
    world_end(&world);
}

/* The newest block names the old series of slots that the journal defines anew. */
static void test_a_restart_after_slots_were_used_again(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    write_series(&world, 0, 40);
    flush(&world);
    age(&world);
    age(&world);
    write_series(&world, 30, 60); /* in slots of others, ten of them series of the block */
    restart_from_copy(&world);
    write_series(&world, 0, 64);
    compare(&world);
    restart_from_copy(&world);
    flush(&world);
    compare(&world);
    restart_from_copy(&world);
    world_end(&world);
}

/* Samples that were written between a flush's cut and its sweep are in its block, and in the journal behind the cut. A
 * replay that began there would give them to the old series of a slot, which could then not be displaced. */
static void flush_with_writes(struct world *world)
{
    struct store *store = world->store;
    mutex_lock(&store->maintain);
    uint64_t cut = committer_cut(store->committer);
    mutex_unlock(&store->maintain);
    assert_true(cut > 0);
    write_series(world, 0, 40);
    /* the block of this flush says that it holds commits up to the cut before those */
    struct head_flush *sealed = NULL;
    assert_int_equal(head_flush_begin(store->head, &sealed, &world->err), NX_OK);
    struct nx_buf dir = {0};
    char ulid[ULID_TEXT_LEN + 1];
    assert_int_equal(block_list_begin(store->blocks, ulid, &dir, &world->err), NX_OK);
    nx_buf_append_byte(&dir, 0);
    const struct block_writer_options options = {
        .io = store->options.io,
        .dir = (const char *)dir.data,
        .ulid = ulid,
        .commit_min = 1,
        .commit_max = cut,
        .zstd_level = 1,
    };
    struct block_writer *writer = NULL;
    struct block_meta meta;
    struct head_flush_series series;
    assert_int_equal(block_writer_new(&writer, &options, &world->err), NX_OK);
    while (head_flush_next(sealed, &series, &world->err) == 1)
        assert_int_equal(block_writer_add(writer, series.labels, series.slot, series.times_ms,
                                          series.values, series.count, &world->err),
                         NX_OK);
    assert_int_equal(block_writer_finish(writer, &meta, &world->err), NX_OK);
    block_writer_free(writer);
    assert_int_equal(block_list_publish(store->blocks, &meta, 1, NULL, 0, &world->err), NX_OK);
    mutex_lock(&store->maintain);
    store->flushed_commit = cut;
    mutex_unlock(&store->maintain);
    assert_int_equal(journal_release(store->journal, cut, &world->err), NX_OK);
    head_flush_end(sealed, true);
    nx_buf_deinit(&dir);
}

static void test_a_restart_when_the_journal_repeats_what_the_block_has(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    write_series(&world, 0, 40);
    flush_with_writes(&world);
    restart_from_copy(&world); /* what is there twice comes once */
    flush(&world);
    write_series(&world, 0, 40);
    flush_with_writes(&world);
    age(&world);
    age(&world);
    assert_int_equal(series_count(&world), 0);
    write_series(&world, 30, 60);
    restart_from_copy(&world);
    write_series(&world, 0, 64);
    restart_from_copy(&world);
    world_end(&world);
}

/* Any order of all of it, against the twin. */
static void test_any_order_of_writes_flushes_ages_and_restarts(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world world;
        struct rand_state rand;
        rand_seed(&rand, seed);
        world_make(&world);
        for (unsigned step = 0; step < 120; step++) {
            unsigned first = (unsigned)rand_below(&rand, TWIN_SERIES_MAX);
            unsigned many = (unsigned)rand_below(&rand, TWIN_SERIES_MAX - first) + 1;
            bool has_aged;
            switch (rand_below(&rand, 8)) {
            case 0:
            case 1:
                write_series(&world, first, first + many);
                break;
            case 2:
            case 3:
                flush(&world);
                break;
            case 4:
                if (rand_below(&rand, 3) == 0)
                    restart_from_copy(&world);
                break;
            default:
                assert_int_equal(store_age(world.store, &has_aged, &world.err), NX_OK);
                break;
            }
        }
        compare(&world);
        restart_from_copy(&world);
        world_end(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_leave_without_a_block),
        cmocka_unit_test(test_a_series_with_samples_stays),
        cmocka_unit_test(test_a_restart_after_slots_were_used_again),
        cmocka_unit_test(test_a_restart_when_the_journal_repeats_what_the_block_has),
        cmocka_unit_test(test_any_order_of_writes_flushes_ages_and_restarts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
