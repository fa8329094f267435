/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal_append.c - commits, segments, cuts, releases and spares, and what the disk refuses. */
#include "narthex/base/io_faulty.h"
#include "narthex/base/mem.h"

#include "journal_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void fill_blobs(struct rand_state *rand, struct journal_buffer *buffer, uint32_t slot,
                       struct journal_log *log)
{
    static uint8_t bytes[JOURNAL_BLOB_BYTES_MAX];
    for (uint64_t left = rand_below(rand, 12); left > 0; left--) {
        enum journal_blob_kind kind =
            (enum journal_blob_kind)(JOURNAL_BLOB_HISTOGRAM + rand_below(rand, JOURNAL_BLOB_KINDS));
        size_t bound = rand_below(rand, 2000) == 0 ? sizeof(bytes) + 1 : 200;
        struct nx_bytes payload = {.data = bytes, .len = (size_t)rand_below(rand, bound)};
        bytes[rand_below(rand, 200)] = (uint8_t)rand_u64(rand);
        int64_t time_ms = (int64_t)rand_u64(rand) >> rand_below(rand, 64);
        journal_buffer_push_blob(buffer, kind, slot, time_ms, payload);
        journal_log_blob(log, kind, slot, time_ms, payload);
    }
}

/* Sixteen buffers as the head has, filled and committed round after round, reopened now and then. */
static void test_journal_random_commits_come_back_in_order(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct rand_state rand;
    rand_seed(&rand, 11);
    struct journal_log sent = {0};
    struct journal_buffer storage[16] = {0};
    struct journal_buffer *buffers[16];
    for (size_t i = 0; i < 16; i++)
        buffers[i] = &storage[i];
    uint64_t last_commit = 0;
    for (unsigned life = 0; life < 6; life++) {
        struct journal_log got = {0};
        struct journal_replay_result result;
        struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
        journal_log_sort(&sent);
        journal_log_sort(&got);
        assert_true(journal_log_equal(&sent, &got));
        assert_int_equal(result.last_commit, last_commit);
        assert_int_equal(result.damaged_segments, 0);
        assert_false(result.has_torn_tail);
        journal_log_deinit(&got);
        for (unsigned commit = 0; commit < 60; commit++) {
            /* the log has definitions and samples apart, so the order between them does not matter */
            for (size_t i = 0; i < 16; i++) {
                if (rand_below(&rand, 3) == 0)
                    continue;
                char pod[24];
                snprintf(pod, sizeof(pod), "pod-%u", (unsigned)rand_below(&rand, 100000));
                struct label items[] = {{.name = NX_STR("__name__"), .value = NX_STR("up")},
                                        {.name = NX_STR("pod"), .value = nx_str_from(pod)}};
                struct labels labels = {.items = items, .count = 2};
                uint32_t slot = (uint32_t)rand_below(&rand, 100) * 16 + (uint32_t)i;
                journal_buffer_define(&storage[i], slot, labels);
                journal_log_define(&sent, slot, labels);
                fill_blobs(&rand, &storage[i], slot, &sent);
                size_t count = (size_t)rand_below(&rand, commit % 20 == 0 ? 20000 : 300);
                journal_test_fill_shard(&rand, &storage[i], (unsigned)i, 3000, count,
                                        (int64_t)commit * 15000, &sent);
            }
            struct nx_err err;
            uint64_t number = 0;
            assert_int_equal(journal_commit(journal, buffers, 16, &number, &err), NX_OK);
            assert_true(number > last_commit);
            last_commit = number;
            for (size_t i = 0; i < 16; i++)
                journal_buffer_reset(&storage[i]);
        }
        struct journal_stats stats;
        journal_stats(journal, &stats);
        assert_int_equal(stats.samples_live, sent.count);
        assert_int_equal(stats.last_commit, last_commit);
        journal_test_close(journal);
    }
    assert_true(scratch_count(scratch.journal, ".nxj") > 6); /* more than one segment a life */
    for (size_t i = 0; i < 16; i++)
        journal_buffer_deinit(&storage[i]);
    journal_log_deinit(&sent);
    scratch_remove(&scratch);
}

/* The largest side entries, more than one commit holds, and a commit of nothing else. */
static void test_journal_large_side_entries_are_split(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log sent = {0};
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    struct rand_state rand;
    rand_seed(&rand, 5);
    struct nx_buf bytes = {0};
    for (size_t i = 0; i < JOURNAL_BLOB_BYTES_MAX / 8; i++) {
        uint64_t word = rand_u64(&rand);
        nx_buf_append(&bytes, &word, sizeof(word));
    }
    struct journal_buffer buffer = {0};
    for (uint32_t i = 0; i < 20; i++) {
        struct nx_bytes payload = nx_buf_bytes(&bytes);
        payload.len -= i;
        journal_buffer_push_blob(&buffer, JOURNAL_BLOB_HISTOGRAM, i, i, payload);
        journal_log_blob(&sent, JOURNAL_BLOB_HISTOGRAM, i, i, payload);
    }
    uint64_t commit;
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_true(commit > 1);
    journal_buffer_deinit(&buffer);
    journal_test_close(journal);
    journal_log_deinit(&got);
    journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    assert_int_equal(result.blobs, 20);
    assert_int_equal(result.samples, 0);
    journal_test_close(journal);
    nx_buf_deinit(&bytes);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

static void test_journal_commit_of_nothing_writes_nothing(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 41, &got, &result);
    struct journal_buffer buffer = {0};
    uint64_t commit = 0;
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_int_equal(commit, 41);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_PWRITE), 0);
    journal_test_close(journal);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* One write and one sync a commit once the file is there: the header goes with the first. */
static void test_journal_commit_is_one_write_and_one_sync(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 0, &got, &result);
    struct rand_state rand;
    rand_seed(&rand, 5);
    struct journal_buffer buffer = {0};
    for (unsigned i = 1; i <= 20; i++) {
        journal_test_fill(&rand, &buffer, 100, 50, i, NULL);
        uint64_t commit = 0;
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        assert_int_equal(commit, i);
        assert_int_equal(io_faulty_calls(&faulty, IO_CALL_PWRITE), i);
        assert_int_equal(io_faulty_calls(&faulty, IO_CALL_FDATASYNC), i);
        journal_buffer_reset(&buffer);
    }
    journal_buffer_deinit(&buffer);
    journal_test_close(journal);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* More than a segment holds, in one call. */
static void test_journal_giant_commit_is_split(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log sent = {0};
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    struct rand_state rand;
    rand_seed(&rand, 6);
    struct journal_buffer buffer = {0};
    journal_buffer_reserve(&buffer, 600000);
    for (uint32_t i = 0; i < 600000; i++) {
        uint64_t bits = rand_u64(&rand);
        journal_buffer_push(&buffer, i % 50000, i, bits);
        journal_log_add(&sent, i % 50000, i, bits);
    }
    uint64_t commit = 0;
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_true(commit > 3);
    journal_test_close(journal);
    journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_int_equal(result.last_commit, commit);
    assert_true(journal_log_equal(&sent, &got));
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* A definition that no segment holds fails, and does not stand in the way of what comes after it. */
static void test_journal_definition_larger_than_a_segment_is_refused(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    size_t bytes = 2u << 20;
    char *value = nx_alloc(bytes);
    struct rand_state rand;
    rand_seed(&rand, 8);
    for (size_t i = 0; i < bytes; i++)
        value[i] = (char)(rand_u64(&rand) | 1);
    struct label item = {.name = NX_STR("a"), .value = {.data = value, .len = bytes}};
    struct journal_buffer buffer = {0};
    journal_buffer_define(&buffer, 1, (struct labels){.items = &item, .count = 1});
    uint64_t commit = 0;
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_E_LIMIT);
    journal_buffer_reset(&buffer);
    journal_test_fill(&rand, &buffer, 100, 50, 1, NULL);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_int_equal(commit, 1);
    journal_buffer_deinit(&buffer);
    nx_free(value);
    journal_test_close(journal);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* Cut, commit, release, over and over: files are recycled, and what was released is not handed over again. */
static void test_journal_released_segments_are_recycled(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct rand_state rand;
    rand_seed(&rand, 12);
    struct journal_log got = {0};
    struct journal_log sent = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    struct journal_buffer buffer = {0};
    uint64_t commit = 0;
    uint64_t cut = 0;
    for (unsigned flush = 0; flush < 12; flush++) {
        for (unsigned i = 0; i < 5; i++) {
            if (i == 3) {
                cut = journal_cut(journal);
                assert_int_equal(cut, commit);
                sent.count = 0;
            }
            journal_test_fill(&rand, &buffer, 1000, 4000, flush * 1000 + i, &sent);
            assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
            journal_buffer_reset(&buffer);
        }
        struct nx_err err;
        assert_int_equal(journal_release(journal, cut, &err), NX_OK);
        struct journal_stats stats;
        journal_stats(journal, &stats);
        assert_int_equal(stats.samples_live, sent.count);
        assert_int_equal(stats.segments_live, 1);
        assert_true(scratch_count(scratch.journal, ".nxj") <= 4);

        got.count = 0;
        journal_test_close(journal);
        journal = journal_test_replay(&scratch, io_real(), cut, &got, &result);
        assert_int_equal(result.last_commit, commit);
        assert_int_equal(result.damaged_segments, 0);
        assert_true(journal_log_equal(&sent, &got));
    }
    /* all released: nothing comes back, numbers go on */
    cut = journal_cut(journal);
    struct nx_err err;
    assert_int_equal(journal_release(journal, cut, &err), NX_OK);
    journal_test_close(journal);
    got.count = 0;
    journal = journal_test_replay(&scratch, io_real(), cut, &got, &result);
    assert_int_equal(got.count, 0);
    journal_test_fill(&rand, &buffer, 1000, 10, 1, NULL);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_int_equal(commit, cut + 1);
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

static void test_journal_prepares_one_whole_spare(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    bool worked = true;
    struct nx_err err;
    unsigned steps = 0;
    while (worked) {
        assert_int_equal(journal_prepare_spare(journal, &worked, &err), NX_OK);
        steps++;
    }
    assert_int_equal(steps, 2);
    struct journal_stats stats;
    journal_stats(journal, &stats);
    assert_int_equal(stats.segments_spare, 1);
    char path[700];
    snprintf(path, sizeof(path), "%s/00000001.nxj", scratch.journal);
    uint64_t bytes = 0;
    assert_int_equal(io_file_size(io_real(), path, &bytes, &err), NX_OK);
    assert_int_equal(bytes, JOURNAL_SEGMENT_MIN);
    struct rand_state rand;
    rand_seed(&rand, 9);
    struct journal_buffer buffer = {0};
    journal_test_fill(&rand, &buffer, 1000, 10, 1, NULL);
    uint64_t commit = 0;
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), 1);
    journal_test_close(journal);

    journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_int_equal(got.count, 10);
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* ---- failures ---- */

/* Whatever call of a commit fails with whatever errno: the caller keeps its buffers, calls again, and nothing is
 * lost, doubled or out of order after a restart. */
static void check_failing_call(enum io_call call, int sys, size_t torn_bytes, bool with_spare)
{
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_log sent = {0};
    struct journal_replay_result result;
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 0, &got, &result);
    struct nx_err err;
    bool worked = with_spare;
    while (worked)
        assert_int_equal(journal_prepare_spare(journal, &worked, &err), NX_OK);
    struct rand_state rand;
    rand_seed(&rand, 21);
    struct journal_buffer buffer = {0};
    uint64_t commit = 0;
    unsigned failures = 0;
    for (unsigned i = 1; i <= 12; i++) {
        journal_test_fill(&rand, &buffer, 1000, 400, i, &sent);
        if (i % 3 == 1) {
            io_faulty_clear(&faulty);
            io_faulty_add(
                &faulty,
                (struct io_fault){.call = call, .nth = 1, .sys = sys, .torn_bytes = torn_bytes});
        }
        nx_code code = journal_test_commit(journal, &buffer, &commit);
        if (code != NX_OK) {
            failures++;
            assert_int_equal(code, sys == ENOSPC ? NX_E_FULL : NX_E_IO);
            assert_int_equal(commit, i - 1);
            assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        }
        assert_int_equal(commit, i);
        journal_buffer_reset(&buffer);
    }
    assert_true(failures > 0);
    journal_test_close(journal);
    journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    assert_int_equal(result.last_commit, 12);
    assert_int_equal(result.damaged_segments, 0);
    assert_false(result.has_torn_tail);
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

static void test_journal_failed_commit_goes_to_another_segment(void **state)
{
    (void)state;
    for (unsigned spare = 0; spare < 2; spare++) {
        check_failing_call(IO_CALL_FDATASYNC, EIO, 0, spare == 1);
        check_failing_call(IO_CALL_PWRITE, EIO, 0, spare == 1);
        check_failing_call(IO_CALL_PWRITE, EIO, 5000, spare == 1);
        check_failing_call(IO_CALL_PWRITE, ENOSPC, 4096, spare == 1);
    }
    check_failing_call(IO_CALL_FSYNC, EIO, 0, false);
    check_failing_call(IO_CALL_OPEN, EIO, 0, false);
    check_failing_call(IO_CALL_OPEN, ENOSPC, 0, true);
}

/* After a failed sync the file is never written again. */
static void test_journal_segment_that_failed_to_sync_is_left(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 0, &got, &result);
    struct rand_state rand;
    rand_seed(&rand, 22);
    struct journal_buffer buffer = {0};
    uint64_t commit = 0;
    journal_test_fill(&rand, &buffer, 1000, 400, 1, NULL);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), 1);
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_FDATASYNC, .nth = 2, .sys = EIO});
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_E_IO);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), 2);
    struct journal_stats stats;
    journal_stats(journal, &stats);
    assert_int_equal(stats.segments_live, 2);
    assert_int_equal(stats.samples_live, 800);
    journal_buffer_deinit(&buffer);
    journal_test_close(journal);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

/* No block left on the volume: commits go on in the spare, which needs none. */
static void test_journal_spare_carries_on_when_the_volume_is_full(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_log sent = {0};
    struct journal_replay_result result;
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 0, &got, &result);
    struct rand_state rand;
    rand_seed(&rand, 23);
    struct journal_buffer buffer = {0};
    uint64_t commit = 0;
    journal_test_fill(&rand, &buffer, 1000, 400, 1, &sent);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK); /* in a growing file */
    bool worked = true;
    struct nx_err err;
    while (worked)
        assert_int_equal(journal_prepare_spare(journal, &worked, &err), NX_OK);
    journal_buffer_reset(&buffer);
    journal_test_fill(&rand, &buffer, 1000, 400, 2, &sent);
    io_faulty_clear(&faulty);
    io_faulty_add(&faulty, (struct io_fault){
                               .call = IO_CALL_PWRITE, .nth = 1, .sys = ENOSPC, .torn_bytes = 100});
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_E_FULL);
    io_faulty_clear(&faulty);
    assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
    char path[700];
    snprintf(path, sizeof(path), "%s/00000002.nxj", scratch.journal);
    uint64_t bytes = 0;
    assert_int_equal(io_file_size(io_real(), path, &bytes, &err), NX_OK);
    assert_int_equal(bytes, JOURNAL_SEGMENT_MIN); /* not grown */
    journal_test_close(journal);
    journal = journal_test_replay(&scratch, io_real(), 0, &got, &result);
    assert_true(journal_log_equal(&sent, &got));
    journal_test_close(journal);
    journal_buffer_deinit(&buffer);
    journal_log_deinit(&sent);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

static void test_journal_spare_that_does_not_fit_is_told_and_tried_again(void **state)
{
    (void)state;
    struct scratch scratch;
    scratch_make(&scratch);
    struct journal_log got = {0};
    struct journal_replay_result result;
    struct io_faulty faulty;
    io_faulty_init(&faulty, io_real());
    struct journal *journal = journal_test_replay(&scratch, &faulty.io, 0, &got, &result);
    struct nx_err err;
    bool worked;
    for (unsigned i = 0; i < 3; i++) {
        io_faulty_clear(&faulty);
        io_faulty_add(&faulty,
                      (struct io_fault){.call = i == 0 ? IO_CALL_PWRITE : IO_CALL_FDATASYNC,
                                        .nth = 1,
                                        .sys = i == 0 ? ENOSPC : EIO});
        assert_int_equal(journal_prepare_spare(journal, &worked, &err),
                         i == 0 ? NX_E_FULL : NX_E_IO);
        assert_false(worked);
        assert_int_equal(scratch_count(scratch.journal, ".nxj"), 0);
    }
    io_faulty_clear(&faulty);
    assert_int_equal(journal_prepare_spare(journal, &worked, &err), NX_OK);
    assert_true(worked);
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), 1);
    journal_test_close(journal);
    journal_log_deinit(&got);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_random_commits_come_back_in_order),
        cmocka_unit_test(test_journal_large_side_entries_are_split),
        cmocka_unit_test(test_journal_commit_of_nothing_writes_nothing),
        cmocka_unit_test(test_journal_commit_is_one_write_and_one_sync),
        cmocka_unit_test(test_journal_giant_commit_is_split),
        cmocka_unit_test(test_journal_definition_larger_than_a_segment_is_refused),
        cmocka_unit_test(test_journal_released_segments_are_recycled),
        cmocka_unit_test(test_journal_prepares_one_whole_spare),
        cmocka_unit_test(test_journal_failed_commit_goes_to_another_segment),
        cmocka_unit_test(test_journal_segment_that_failed_to_sync_is_left),
        cmocka_unit_test(test_journal_spare_carries_on_when_the_volume_is_full),
        cmocka_unit_test(test_journal_spare_that_does_not_fit_is_told_and_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
