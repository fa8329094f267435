/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_failure.c - the disk refuses: what is answered meanwhile, what is kept, and how it comes back. */
#include "narthex/base/io_faulty.h"
#include "narthex/base/mem.h"

#include "storage_support.h"
#include "store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test_request request_at(unsigned series, int64_t time_ms, double value)
{
    struct test_request request = {.count = 1};
    request.series[0] = series;
    request.samples[0] = (struct sample){.time_ms = time_ms, .value = value};
    return request;
}

/* Until the store takes writes again; the request itself is sent again and again, as a sender does. */
static void write_until_taken(struct store *store, const struct test_request *request,
                              struct twin *twin)
{
    nx_code code = NX_E_IO;
    for (unsigned i = 0; i < 400 && code != NX_OK; i++) {
        code = store_test_write(store, request, twin);
        if (code != NX_OK)
            usleep(20000);
    }
    assert_int_equal(code, NX_OK);
}

static void check_journal_failure(bool is_sync, int sys)
{
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct gate_io gate;
    gate_io_init(&gate);
    scratch.io = &gate.io;
    struct twin twin = {0};
    struct store *store = store_test_open(&scratch, NULL);
    struct test_request request = request_at(1, TWIN_START_MS, 1);
    assert_int_equal(store_test_write(store, &request, &twin), NX_OK);

    atomic_store(is_sync ? &gate.fdatasync_sys : &gate.pwrite_sys, sys);
    request = request_at(1, TWIN_START_MS + 1, 2);
    nx_code expected = sys == ENOSPC ? NX_E_FULL : NX_E_IO;
    assert_int_equal(store_test_write(store, &request, &twin),
                     expected); /* in the head, not durable, not acknowledged */
    struct store_stats stats;
    store_stats(store, &stats);
    assert_false(stats.is_writable);
    struct test_request refused = request_at(2, TWIN_START_MS, 3);
    struct twin unchanged = {0};
    assert_int_equal(store_test_write(store, &refused, &unchanged), expected);
    assert_int_equal(unchanged.series[2].count, 0);         /* before anything was appended */
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX); /* reads go on */

    usleep(200000); /* some retries meanwhile */
    atomic_store(is_sync ? &gate.fdatasync_sys : &gate.pwrite_sys, 0);
    write_until_taken(store, &request, &twin);
    write_until_taken(store, &refused, &twin);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_stats(store, &stats);
    assert_true(stats.is_writable);

    /* what was acknowledged after the recovery is in the journal: a copy of the directory as it is now has it */
    struct store_scratch copied;
    store_scratch_make(&copied);
    char command[1400];
    snprintf(command, sizeof(command), "cp -r %s/. %s", scratch.path, copied.path);
    assert_int_equal(system(command), 0);
    store_test_close(store);
    copied.options.data_dir = copied.path;
    struct store_open_result result;
    store = store_test_open(&copied, &result);
    assert_int_equal(result.damaged_segments, 0);
    assert_int_equal(result.journal_samples, 3);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    store_scratch_remove(&copied);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

static void test_store_full_disk_refuses_writes_serves_reads_and_recovers(void **state)
{
    (void)state;
    check_journal_failure(false, ENOSPC);
}

static void test_store_failing_sync_refuses_writes_serves_reads_and_recovers(void **state)
{
    (void)state;
    check_journal_failure(true, EIO);
    check_journal_failure(false, EIO);
}

/* Every single call of a flush fails once, in turn: the flush fails or works, and either way nothing is lost. */
static void check_flush_failures(enum io_call call, int sys)
{
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    scratch.io = &faulty.io;
    struct twin twin = {0};
    struct rand_state rand;
    rand_seed(&rand, (uint64_t)call * 100 + (uint64_t)sys);
    struct nx_err err;
    unsigned failures = 0;
    struct store *store = store_test_open(&scratch, NULL);
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct test_request request;
        clock_manual_advance(&scratch.clock, 60000);
        test_request_fill(&request, &rand, clock_wall_ms(&scratch.clock.clock), 30);
        assert_int_equal(store_test_write(store, &request, &twin), NX_OK);
        io_faulty_clear(&faulty);
        io_faulty_add(&faulty,
                      (struct io_fault){.call = call, .nth = nth, .sys = sys, .torn_bytes = 100});
        nx_code code = store_flush(store, &err);
        bool has_failed = io_faulty_failed_calls(&faulty) > 0;
        io_faulty_clear(&faulty);
        failures += code != NX_OK;
        store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
        if (code != NX_OK && nth % 3 == 0) {
            store_test_close(store);
            store = store_test_open(&scratch, NULL);
            store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
        }
        if (code != NX_OK && nth % 3 == 1)
            assert_int_equal(store_flush(store, &err), NX_OK);
        if (!has_failed)
            break; /* the flush has no more calls of this kind */
    }
    assert_true(failures > 0);
    store_test_close(store);
    struct store_open_result result;
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.damaged_segments, 0);
    assert_int_equal(result.unknown_samples, 0);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

static void test_store_flush_that_fails_at_any_call_loses_nothing(void **state)
{
    (void)state;
    check_flush_failures(IO_CALL_PWRITE, ENOSPC);
    check_flush_failures(IO_CALL_PWRITE, EIO);
    check_flush_failures(IO_CALL_FSYNC, EIO);
    check_flush_failures(IO_CALL_RENAME, EIO);
    check_flush_failures(IO_CALL_OPEN, ENOSPC);
    check_flush_failures(IO_CALL_MKDIR, ENOSPC);
}

/* A close that cannot flush says so; the journal has everything. */
static void test_store_close_without_flush_is_told_and_the_journal_has_it(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    scratch.io = &faulty.io;
    struct twin twin = {0};
    struct rand_state rand;
    rand_seed(&rand, 5);
    struct test_request request;
    test_request_fill(&request, &rand, TWIN_START_MS, 30);
    struct store *store = store_test_open(&scratch, NULL);
    assert_int_equal(store_test_write(store, &request, &twin), NX_OK);
    io_faulty_add(&faulty,
                  (struct io_fault){.call = IO_CALL_MKDIR, .is_lasting = true, .sys = ENOSPC});
    struct nx_err err;
    assert_int_equal(store_close(store, &err), NX_E_FULL);
    scratch.io = io_real();
    struct store_open_result result;
    store = store_test_open(&scratch, &result);
    assert_true(result.journal_samples > 0);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

/* What the catalog noted and the journal has not any more is told, once. */
static void run_lost_end(const char *command_of_file)
{
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    scratch.io = &faulty.io;
    struct store *store = store_test_open(&scratch, NULL);
    struct test_request request = request_at(1, TWIN_START_MS, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(store_test_write(store, &request, NULL), NX_OK);
        request.samples[0].time_ms += 1000;
    }
    io_faulty_add(&faulty,
                  (struct io_fault){.call = IO_CALL_MKDIR, .is_lasting = true, .sys = ENOSPC});
    struct nx_err err;
    assert_int_equal(store_close(store, &err),
                     NX_E_FULL); /* a close that cannot flush notes, too */
    scratch.io = io_real();
    char command[1400];
    snprintf(command, sizeof(command), "for f in %s/journal/*.nxj; do %s; done", scratch.path,
             command_of_file);
    assert_int_equal(system(command), 0);
    struct store_open_result result;
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.missing_commits, 3);
    assert_non_null(strstr(result.damage, "commits 1 to 3"));
    assert_int_equal(store_note_commit(store, &err), NX_OK);
    store_test_close(store);
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.missing_commits, 0);
    store_test_close(store);
    store_scratch_remove(&scratch);
}

static void test_store_start_tells_of_a_journal_that_lost_its_end(void **state)
{
    (void)state;
    run_lost_end("rm $f");
    run_lost_end(": > $f");
    run_lost_end("truncate -s 4096 $f");
}

/* A damaged newest block goes aside; the start goes on with the one before it and tells. */
static void test_store_start_sets_a_damaged_newest_block_aside(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct twin twin = {0};
    struct nx_err err;
    struct store *store = store_test_open(&scratch, NULL);
    struct test_request request = request_at(1, TWIN_START_MS, 1);
    assert_int_equal(store_test_write(store, &request, &twin), NX_OK);
    assert_int_equal(store_flush(store, &err), NX_OK);
    clock_manual_advance(&scratch.clock, 1000);
    request = request_at(2, TWIN_START_MS + 1000, 1);
    assert_int_equal(store_test_write(store, &request, NULL),
                     NX_OK); /* not in the twin: it will be lost */
    store_test_close(store);
    char command[1400];
    snprintf(
        command, sizeof(command),
        "f=$(ls -d %s/blocks/* | tail -1)/index.mdb; printf 'XXXX' | dd of=$f bs=1 seek=5000 conv=notrunc 2>/dev/null",
        scratch.path);
    assert_int_equal(system(command), 0);
    struct store_open_result result;
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.quarantined_blocks, 1);
    assert_int_equal(result.series_loaded, 1);
    assert_true(result.damage[0] != '\0');
    /* Beside its range nothing is warned of. */
    store_test_compare(store, &twin, INT64_MIN, TWIN_START_MS + 999);
    snprintf(command, sizeof(command), "rm -r %s/quarantine/*", scratch.path);
    assert_int_equal(system(command), 0);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    request = request_at(2, TWIN_START_MS + 1000, 1); /* the sender may send it again */
    assert_int_equal(store_test_write(store, &request, &twin), NX_OK);
    store_test_close(store);
    store = store_test_open(&scratch, &result);
    assert_int_equal(result.quarantined_blocks, 0);
    store_test_compare(store, &twin, INT64_MIN, INT64_MAX);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_full_disk_refuses_writes_serves_reads_and_recovers),
        cmocka_unit_test(test_store_failing_sync_refuses_writes_serves_reads_and_recovers),
        cmocka_unit_test(test_store_flush_that_fails_at_any_call_loses_nothing),
        cmocka_unit_test(test_store_close_without_flush_is_told_and_the_journal_has_it),
        cmocka_unit_test(test_store_start_tells_of_a_journal_that_lost_its_end),
        cmocka_unit_test(test_store_start_sets_a_damaged_newest_block_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
