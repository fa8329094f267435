/* SPDX-License-Identifier: Apache-2.0 */
/* test_store.c - open, write, read, flush, merge, restart, against a slow twin. */
#include "narthex/base/mem.h"

#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_one(struct store *store, struct twin *twin, unsigned series, int64_t time_ms,
                      double value)
{
    struct test_request request = {.count = 1};
    request.series[0] = series;
    request.samples[0] = (struct sample){.time_ms = time_ms, .value = value};
    assert_int_equal(store_test_write(store, &request, twin), NX_OK);
}

static void test_store_written_sample_is_read_at_once_and_after_a_restart(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct twin twin = {0};
    struct store *store = store_test_open(&scratch, NULL);
    write_one(store, &twin, 1, TWIN_START_MS, 1.5);
    write_one(store, &twin, 2, TWIN_START_MS + 5, -0.0);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    struct store_open_result result;
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.blocks, 1);
    assert_int_equal(result.series_loaded, 2);
    assert_int_equal(result.journal_samples, 0); /* the close flushed */
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    write_one(store, &twin, 1, TWIN_START_MS + 10, 2.5);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_compare(store, &twin, TWIN_START_MS + 1, TWIN_START_MS + 9);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

static void test_store_refuses_what_it_says_it_refuses(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    scratch.options.retention_ms = 3600000;
    scratch.options.series_max = 2;
    struct store *store = store_test_open(&scratch, NULL);
    struct label items[5][3];
    char text[5][64];
    struct sample samples[5] = {
        {.time_ms = TWIN_START_MS, .value = 1},
        {.time_ms = TWIN_START_MS + 600001, .value = 1},  /* future */
        {.time_ms = TWIN_START_MS - 3600001, .value = 1}, /* too old */
        {.time_ms = TWIN_START_MS, .value = 2},           /* conflict */
        {.time_ms = TWIN_START_MS, .value = 1},           /* a third series */
    };
    static const unsigned series[5] = {0, 0, 1, 0, 2};
    static const enum append_result expected[5] = {APPEND_OK, APPEND_FUTURE, APPEND_TOO_OLD,
                                                   APPEND_CONFLICT, APPEND_SERIES_LIMIT};
    struct nx_err err;
    for (size_t i = 0; i < 5; i++) {
        if (i == 4) { /* the second series, so that the limit is reached */
            struct test_request request = {.count = 1, .series = {1}};
            request.samples[0] = samples[0];
            assert_int_equal(store_test_write(store, &request, NULL), NX_OK);
        }
        struct head_write write = {
            .ref = {.slot = HEAD_SLOT_NONE},
            .labels = twin_labels(series[i], items[i], text[i]),
            .samples = &samples[i],
            .sample_count = 1,
        };
        assert_int_equal(store_write(store, &write, 1, &err), NX_OK);
        assert_int_equal(write.refused[expected[i]], 1);
    }
    store_test_close(store);
    store_scratch_remove(&scratch);
}

static void test_store_second_process_is_told_who_holds_the_directory(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct store *store = store_test_open(&scratch, NULL);
    struct store *second = NULL;
    struct store_open_result result;
    struct nx_err err;
    assert_int_equal(store_open(&second, &scratch.options, &result, &err), NX_E_BUSY);
    char expected[64];
    snprintf(expected, sizeof(expected), "another narthex (pid %ld) holds", (long)getpid());
    assert_non_null(strstr(err.msg, expected));
    store_test_close(store);
    store = store_test_open(&scratch, NULL);
    store_test_close(store);
    store_scratch_remove(&scratch);
}

static void test_store_wants_a_directory_that_it_can_write(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    char path[600];
    snprintf(path, sizeof(path), "%s/file", scratch.path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    struct store *store = NULL;
    struct store_open_result result;
    struct nx_err err;
    struct store_options options = scratch.options;
    options.io = io_real();
    options.data_dir = path;
    assert_int_equal(store_open(&store, &options, &result, &err), NX_E_INVALID);
    assert_non_null(strstr(err.msg, "not a directory"));
    snprintf(path, sizeof(path), "%s/missing/deeper", scratch.path);
    assert_int_equal(store_open(&store, &options, &result, &err), NX_E_IO);
    /* a fresh file system's lost+found is no stranger */
    snprintf(path, sizeof(path), "%s/lost+found", scratch.path);
    assert_int_equal(mkdir(path, 0700), 0);
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.quarantined_blocks, 0);
    store_test_close(store);
    assert_int_equal(access(path, F_OK), 0);
    store_scratch_remove(&scratch);
}

/* Everything in any order, with and without restarts, compared after each step. */
static void run_random_life(uint64_t seed)
{
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct rand_state rand;
    rand_seed(&rand, seed);
    struct twin twin = {0};
    struct nx_err err = {0};
    struct store *store = store_test_open(&scratch, NULL);
    for (unsigned step = 0; step < 120; step++) {
        uint64_t what = rand_below(&rand, 20);
        if (what < 13) {
            clock_manual_advance(&scratch.clock, (int64_t)rand_below(&rand, 300000));
            struct test_request request;
            test_request_fill(&request, &rand, clock_wall_ms(&scratch.clock.clock), 1 + step / 2);
            assert_int_equal(store_test_write(store, &request, &twin), NX_OK);
        } else if (what < 16) {
            nx_code code = store_flush(store, &err);
            if (code != NX_OK)
                print_error("seed %u step %u flush: %s\n", (unsigned)seed, step, err.msg);
            assert_int_equal(code, NX_OK);
        } else if (what < 18) {
            nx_code code = store_merge(store, what == 16, &err);
            if (code != NX_OK)
                print_error("seed %u step %u merge: %s\n", (unsigned)seed, step, err.msg);
            assert_int_equal(code, NX_OK);
        } else if (what == 18) {
            store_test_close(store);
            store = store_test_open(&scratch, NULL);
        } else {
            clock_manual_advance(&scratch.clock, (int64_t)rand_below(&rand, 3 * 3600000));
        }
        int64_t now_ms = clock_wall_ms(&scratch.clock.clock);
        int64_t min_ms = now_ms - (int64_t)rand_below(&rand, 8 * 3600000);
        store_test_compare(store, &twin, min_ms, min_ms + (int64_t)rand_below(&rand, 4 * 3600000));
        if (step % 10 == 0)
            store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    }
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    store = store_test_open(&scratch, NULL);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

/* Conflicts with data that has left the head are stored twice and the earlier one wins: the twin keeps the first as
 * well. */
static void test_store_random_lives_agree_with_the_twin(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        run_random_life(seed);
}

static void test_store_flush_of_nothing_makes_no_block(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct store *store = store_test_open(&scratch, NULL);
    struct nx_err err;
    struct store_stats stats;
    assert_int_equal(store_flush(store, &err), NX_OK);
    store_stats(store, &stats);
    assert_int_equal(stats.blocks, 0);
    assert_true(stats.is_writable);
    struct twin twin = {0};
    write_one(store, &twin, 1, TWIN_START_MS, 1);
    assert_int_equal(store_flush(store, &err), NX_OK);
    assert_int_equal(store_flush(store, &err), NX_OK);
    store_stats(store, &stats);
    assert_int_equal(stats.blocks, 1);
    assert_int_equal(stats.block_samples, 1);
    assert_int_equal(stats.journal.samples_live, 0);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

/* Flushes go on, the newest one is kept as it defines the journal's slots, and a series that paused is known again. */
static void test_store_series_that_pauses_over_flushes_comes_back(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct twin twin = {0};
    struct nx_err err;
    struct store *store = store_test_open(&scratch, NULL);
    for (unsigned round = 0; round < 24; round++) {
        int64_t now_ms = clock_wall_ms(&scratch.clock.clock);
        for (unsigned i = 0; i < 12; i++) {
            if (round % (i + 1) == 0) /* series i writes every i + 1 rounds */
                write_one(store, &twin, i, now_ms, round);
        }
        assert_int_equal(store_flush(store, &err), NX_OK);
        clock_manual_advance(&scratch.clock, 900000);
        if (round % 5 == 4) {
            store_test_close(store);
            store = store_test_open(&scratch, NULL);
        }
        if (round % 7 == 6)
            assert_int_equal(store_merge(store, false, &err), NX_OK);
        store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    }
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

static void test_store_retention_drops_old_blocks_and_keeps_the_newest(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    scratch.options.retention_ms = 6 * 3600000;
    struct twin twin = {0};
    struct nx_err err;
    struct store_stats stats;
    struct store *store = store_test_open(&scratch, NULL);
    for (unsigned i = 0; i < 10; i++) {
        write_one(store, &twin, 1, clock_wall_ms(&scratch.clock.clock), i);
        assert_int_equal(store_flush(store, &err), NX_OK);
        clock_manual_advance(&scratch.clock, 3600000);
    }
    assert_int_equal(store_retain(store, &err), NX_OK);
    store_stats(store, &stats);
    assert_int_equal(stats.blocks, 6);
    int64_t kept_ms = clock_wall_ms(&scratch.clock.clock) - 6 * 3600000;
    store_test_compare(store, &twin, kept_ms, INT64_MAX);
    clock_manual_advance(&scratch.clock, 100 * 3600000);
    assert_int_equal(store_retain(store, &err), NX_OK);
    store_stats(store, &stats);
    assert_int_equal(stats.blocks, 1); /* the journal's slots are its */
    twin_deinit(&twin);
    write_one(store, &twin, 1, clock_wall_ms(&scratch.clock.clock), 77);
    store_test_close(store);
    store = store_test_open(&scratch, NULL);
    store_test_compare(store, &twin, clock_wall_ms(&scratch.clock.clock) - 3600000, INT64_MAX);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

/* The thread does by itself what the tests above ask for. */
static void test_store_maintenance_flushes_by_time_and_by_size(void **state)
{
    (void)state;
    for (unsigned by_size = 0; by_size < 2; by_size++) {
        struct store_scratch scratch;
        store_scratch_make(&scratch);
        scratch.options.is_maintained = true;
        if (by_size == 1)
            scratch.options.flush_samples_min = 150;
        struct twin twin = {0};
        struct store *store = store_test_open(&scratch, NULL);
        for (unsigned i = 0; i < 200; i++)
            write_one(store, &twin, 1, TWIN_START_MS + i, i);
        struct store_stats stats = {0};
        if (by_size == 0)
            clock_manual_advance(&scratch.clock, scratch.options.flush_interval_ms);
        for (unsigned i = 0; i < 200 && stats.blocks == 0; i++) {
            usleep(50000);
            store_stats(store, &stats);
        }
        assert_true(stats.blocks > 0);
        store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
        store_test_close(store);
        twin_deinit(&twin);
        store_scratch_remove(&scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_written_sample_is_read_at_once_and_after_a_restart),
        cmocka_unit_test(test_store_refuses_what_it_says_it_refuses),
        cmocka_unit_test(test_store_second_process_is_told_who_holds_the_directory),
        cmocka_unit_test(test_store_wants_a_directory_that_it_can_write),
        cmocka_unit_test(test_store_flush_of_nothing_makes_no_block),
        cmocka_unit_test(test_store_series_that_pauses_over_flushes_comes_back),
        cmocka_unit_test(test_store_retention_drops_old_blocks_and_keeps_the_newest),
        cmocka_unit_test(test_store_maintenance_flushes_by_time_and_by_size),
        cmocka_unit_test(test_store_random_lives_agree_with_the_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
