/* SPDX-License-Identifier: Apache-2.0 */
/* test_snapshot.c - snapshots beside everything else, on a failing disk, and opened again. */
#include "narthex/base/assert.h"
#include "narthex/base/io_copy.h"
#include "narthex/base/io_faulty.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/storage/snapshot.h"

#include "storage_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SNAPSHOT_PATH_BYTES 2000

static void snapshot_path(char out[SNAPSHOT_PATH_BYTES], const struct store_scratch *scratch,
                          const char *name)
{
    snprintf(out, SNAPSHOT_PATH_BYTES, "%s/snapshots/%s", scratch->path, name);
}

/* Opens it as tools do and compares; then nothing in it has changed. */
static void assert_snapshot_is(const struct store_scratch *scratch, const char *name,
                               const struct twin *twin)
{
    char path[SNAPSHOT_PATH_BYTES];
    struct nx_err err;
    struct store *store = NULL;
    struct store_open_result result;
    struct store_options options = scratch->options;
    snapshot_path(path, scratch, name);
    options.data_dir = path;
    options.io = io_read_only();
    options.is_read_only = true;
    if (store_open(&store, &options, &result, &err) != NX_OK)
        fail_msg("%s", err.msg);
    assert_int_equal(result.damaged_segments + result.quarantined_blocks, 0);
    assert_int_equal(result.unknown_samples, 0);
    store_test_compare(store, twin, INT64_MIN, INT64_MAX);
    assert_int_equal(store_close(store, &err), NX_OK);
}

static nx_code count_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)name, (void)is_directory, (void)err;
    ++*(unsigned *)context;
    return NX_OK;
}

static unsigned entries(const struct store_scratch *scratch, const char *name)
{
    char path[SNAPSHOT_PATH_BYTES];
    unsigned count = 0;
    struct nx_err err;
    snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
    if (io_exists(path))
        assert_int_equal(io_each_entry(io_real(), path, count_entry, &count, &err), NX_OK);
    return count;
}

static void write_some(struct store *store, struct twin *twin, struct rand_state *rand,
                       struct store_scratch *scratch)
{
    struct test_request request;
    clock_manual_advance(&scratch->clock, 60000);
    test_request_fill(&request, rand, clock_wall_ms(&scratch->clock.clock), 40);
    assert_int_equal(store_test_write(store, &request, twin), NX_OK);
}

static void test_each_snapshot_is_the_store_of_its_instant(void **state)
{
    (void)state;
    struct store_scratch scratch;
    struct twin twin = {0};
    struct rand_state rand;
    struct nx_err err;
    char name[SNAPSHOT_NAME_BYTES], blocks_only[SNAPSHOT_NAME_BYTES];
    store_scratch_make(&scratch);
    rand_seed(&rand, 8);
    struct store *store = store_test_open(&scratch, NULL);
    assert_int_equal(store_snapshot(store, false, name, &err), NX_OK);
    assert_snapshot_is(&scratch, name, &twin);
    for (unsigned i = 0; i < 12; i++) {
        write_some(store, &twin, &rand, &scratch);
        if (i % 4 == 2)
            assert_int_equal(store_flush(store, &err), NX_OK);
        if (i % 6 == 5)
            assert_int_equal(store_merge(store, true, &err), NX_OK);
        assert_int_equal(store_snapshot(store, false, name, &err), NX_OK);
        assert_int_equal(strlen(name), 33);
        assert_snapshot_is(&scratch, name, &twin);
    }
    assert_int_equal(store_flush(store, &err), NX_OK);
    assert_int_equal(store_snapshot(store, true, blocks_only, &err), NX_OK);
    assert_snapshot_is(&scratch, blocks_only, &twin);
    assert_int_equal(entries(&scratch, "tmp"), 0);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

static void test_a_disk_that_fails_anywhere_leaves_no_snapshot(void **state)
{
    (void)state;
    static const enum io_call calls[] = {IO_CALL_LINK, IO_CALL_MKDIR, IO_CALL_RENAME,
                                         IO_CALL_FSYNC};
    struct store_scratch scratch;
    struct twin twin = {0};
    struct rand_state rand;
    struct nx_err err;
    struct io_faulty faulty;
    char name[SNAPSHOT_NAME_BYTES];
    store_scratch_make(&scratch);
    rand_seed(&rand, 9);
    io_faulty_init(&faulty, io_real());
    scratch.io = &faulty.io;
    struct store *store = store_test_open(&scratch, NULL);
    write_some(store, &twin, &rand, &scratch);
    assert_int_equal(store_flush(store, &err), NX_OK);
    write_some(store, &twin, &rand, &scratch);
    unsigned failed = 0;
    for (size_t i = 0; i < NX_ARRAY_LEN(calls); i++) {
        for (uint64_t nth = 1; nth < 12; nth++) {
            io_faulty_clear(&faulty);
            io_faulty_add(&faulty, (struct io_fault){.call = calls[i],
                                                     .nth = nth,
                                                     .sys = nth % 2 == 0 ? EIO : ENOSPC});
            unsigned before = entries(&scratch, "snapshots");
            nx_code code = store_snapshot(store, false, name, &err);
            bool has_failed = io_faulty_failed_calls(&faulty) > 0;
            io_faulty_clear(&faulty);
            failed += code != NX_OK;
            assert_int_equal(entries(&scratch, "tmp"), 0);
            if (!has_failed)
                assert_int_equal(code, NX_OK);
            if (code == NX_OK)
                assert_snapshot_is(&scratch, name, &twin);
            else
                assert_true(entries(&scratch, "snapshots") <= before + 1);
        }
    }
    assert_true(failed > 10);
    assert_int_equal(store_snapshot(store, false, name, &err), NX_OK);
    assert_snapshot_is(&scratch, name, &twin);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

/* ---- beside writers, flushes and merges ---- */

#define BUSY_SERIES 16u

struct busy {
    struct store *store;
    _Atomic bool is_stopping;
    _Atomic uint64_t acknowledged; /* steps */
    _Atomic uint64_t failures;
};

static void run_writer(void *argument)
{
    struct busy *busy = argument;
    for (uint64_t step = 0; !atomic_load(&busy->is_stopping); step++) {
        struct test_request request = {.count = BUSY_SERIES};
        for (unsigned i = 0; i < BUSY_SERIES; i++) {
            request.series[i] = i;
            request.samples[i] = (struct sample){.time_ms = TWIN_START_MS + (int64_t)step,
                                                 .value = (double)(i * 1000000 + step)};
        }
        if (store_test_write(busy->store, &request, NULL) != NX_OK)
            atomic_fetch_add(&busy->failures, 1);
        atomic_store(&busy->acknowledged, step + 1);
    }
}

static void run_flushes(void *argument)
{
    struct busy *busy = argument;
    struct nx_err err;
    for (unsigned i = 0; !atomic_load(&busy->is_stopping); i++) {
        nx_code code =
            i % 3 == 2 ? store_merge(busy->store, true, &err) : store_flush(busy->store, &err);
        if (code != NX_OK)
            atomic_fetch_add(&busy->failures, 1);
        usleep(20000);
    }
}

static void assert_has_steps(const struct store_scratch *scratch, const char *name, uint64_t steps)
{
    struct twin twin = {0};
    char path[SNAPSHOT_PATH_BYTES];
    struct nx_err err;
    struct store *store = NULL;
    struct store_open_result result;
    struct store_options options = scratch->options;
    for (unsigned i = 0; i < BUSY_SERIES; i++)
        for (uint64_t step = 0; step < steps; step++)
            twin_add(&twin, i, TWIN_START_MS + (int64_t)step, (double)(i * 1000000 + step));
    snapshot_path(path, scratch, name);
    options.data_dir = path;
    options.io = io_read_only();
    options.is_read_only = true;
    if (store_open(&store, &options, &result, &err) != NX_OK)
        fail_msg("%s", err.msg);
    if (result.damage[0] != '\0')
        fail_msg("%s: %s", name, result.damage);
    if (steps > 0)
        store_test_compare(store, &twin, TWIN_START_MS, TWIN_START_MS + (int64_t)steps - 1);
    assert_int_equal(store_close(store, &err), NX_OK);
    twin_deinit(&twin);
}

static void test_snapshots_beside_writes_flushes_and_merges_have_all_acknowledged(void **state)
{
    (void)state;
    struct store_scratch scratch;
    struct nx_err err;
    struct nx_thread writer, flusher;
    char names[24][SNAPSHOT_NAME_BYTES];
    uint64_t steps[24];
    unsigned made = 0;
    store_scratch_make(&scratch);
    scratch.options.journal_segment_bytes = 1 << 20;
    struct busy busy = {.store = store_test_open(&scratch, NULL)};
    assert_int_equal(thread_start(&writer, "writer", run_writer, &busy, &err), NX_OK);
    assert_int_equal(thread_start(&flusher, "flusher", run_flushes, &busy, &err), NX_OK);
    for (unsigned i = 0; i < NX_ARRAY_LEN(steps); i++) {
        usleep(60000);
        steps[made] = atomic_load(&busy.acknowledged);
        nx_code code = store_snapshot(busy.store, false, names[made], &err);
        if (code == NX_OK)
            made++;
        else
            assert_int_equal(code, NX_E_BUSY);
    }
    atomic_store(&busy.is_stopping, true);
    thread_join(&writer);
    thread_join(&flusher);
    assert_int_equal(atomic_load(&busy.failures), 0);
    assert_true(made > NX_ARRAY_LEN(steps) / 2);
    for (unsigned i = 0; i < made; i++)
        assert_has_steps(&scratch, names[i], steps[i]);
    store_test_close(busy.store);
    store_scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_snapshot_is_the_store_of_its_instant),
        cmocka_unit_test(test_a_disk_that_fails_anywhere_leaves_no_snapshot),
        cmocka_unit_test(test_snapshots_beside_writes_flushes_and_merges_have_all_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
