/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_list.c - blocks come, go and are set aside; the directory is right at every instant. */
#include "narthex/base/io_faulty.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/block/merge.h"

#include "tests/unit/block/twin_support.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAY_0 (20000 * DAY_MS)

static void flush_some(struct twin *twin, struct block_list *list, struct rand_state *rand,
                       unsigned count)
{
    struct nx_err err;
    for (unsigned i = 0; i < count; i++) {
        const struct twin_flush flush = {.min_ms = DAY_0 + i * 1800000,
                                         .max_ms = DAY_0 + i * 1800000 + 2000000,
                                         .samples_max = 30,
                                         .step_ms = 30000};
        nx_code code = twin_flush(twin, list, io_real(), rand, &flush, &err);
        if (code != NX_OK)
            fail_msg("flush: %s", err.msg);
    }
}

static nx_code count_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)name, (void)is_directory, (void)err;
    ++*(unsigned *)context;
    return NX_OK;
}

static unsigned entries(const char *data_dir, const char *name)
{
    unsigned count = 0;
    struct nx_err err;
    char *path = path_of(data_dir, name);
    assert_int_equal(io_each_entry(io_real(), path, count_entry, &count, &err), NX_OK);
    nx_free(path);
    return count;
}

struct fixture {
    char *dir;
    struct twin twin;
    struct rand_state rand;
    struct block_list *list;
};

static void fixture_init(struct fixture *f, uint64_t seed, unsigned flushes)
{
    f->dir = temp_dir_new();
    rand_seed(&f->rand, seed);
    twin_init(&f->twin, 12);
    f->list = open_list(io_real(), f->dir, DAY_0);
    flush_some(&f->twin, f->list, &f->rand, flushes);
}

static void fixture_deinit(struct fixture *f)
{
    block_list_close(f->list);
    twin_deinit(&f->twin);
    temp_dir_free(f->dir);
}

static void test_published_blocks_survive_reopening(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 5);
    assert_int_equal(assert_list_is_twin(f.list, &f.twin), f.twin.written);
    block_list_close(f.list);
    f.list = open_list(io_real(), f.dir, DAY_0);
    assert_int_equal(assert_list_is_twin(f.list, &f.twin), f.twin.written);
    assert_int_equal(entries(f.dir, "blocks"), 5);
    assert_int_equal(entries(f.dir, "tmp"), 0);
    assert_int_equal(entries(f.dir, "quarantine"), 0);
    struct block *newest = block_list_newest_flush(f.list);
    assert_int_equal(block_meta(newest)->commit_max, 5);
    block_unref(newest);
    fixture_deinit(&f);
}

static void test_snapshots_are_by_range_and_in_order_of_precedence(void **state)
{
    (void)state;
    struct fixture f;
    struct block_snapshot all, some;
    fixture_init(&f, 2, 6);
    block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &all);
    assert_int_equal(all.count, 6);
    for (size_t i = 1; i < all.count; i++)
        assert_true(block_meta(all.blocks[i - 1])->commit_min <
                    block_meta(all.blocks[i])->commit_min);
    const struct block_meta *third = block_meta(all.blocks[2]);
    block_list_snapshot(f.list, third->max_time_ms, third->max_time_ms, &some);
    for (size_t i = 0; i < all.count; i++) {
        const struct block_meta *meta = block_meta(all.blocks[i]);
        bool overlaps =
            meta->min_time_ms <= third->max_time_ms && meta->max_time_ms >= third->max_time_ms;
        bool is_there = false;
        for (size_t j = 0; j < some.count; j++)
            is_there |= some.blocks[j] == all.blocks[i];
        assert_int_equal(is_there, overlaps);
    }
    block_snapshot_end(&some);
    block_snapshot_end(&some);
    block_list_snapshot(f.list, 0, 1, &some);
    assert_int_equal(some.count, 0);
    block_snapshot_end(&some);
    block_snapshot_end(&all);
    fixture_deinit(&f);
}

static void test_a_retired_block_serves_its_last_reader(void **state)
{
    (void)state;
    struct fixture f;
    struct block_snapshot snapshot;
    struct nx_err err;
    fixture_init(&f, 3, 4);
    block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &snapshot);
    unsigned removed = 0;
    assert_int_equal(retention_run(f.list, DAY_0 + 5 * DAY_MS, DAY_MS, &removed, &err), NX_OK);
    assert_int_equal(removed, 3); /* the newest flush stays */
    assert_int_equal(entries(f.dir, "blocks"), 4);
    struct block_reader *reader = NULL;
    struct nx_buf times = {0}, values = {0};
    assert_int_equal(block_reader_new(snapshot.blocks[0], &reader, &err), NX_OK);
    assert_int_equal(block_reader_samples(reader, 0, INT64_MIN, INT64_MAX, &times, &values, &err),
                     NX_OK);
    assert_true(times.len > 0);
    block_reader_free(reader);
    struct block_list_stats stats;
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.waiting, 3);
    block_snapshot_end(&snapshot);
    assert_int_equal(block_list_sweep(f.list), 0);
    assert_int_equal(entries(f.dir, "blocks"), 1);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    fixture_deinit(&f);
}

static void test_retention_by_age_and_by_bytes(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    struct block_list_stats stats;
    unsigned removed = 77;
    fixture_init(&f, 4, 6);
    struct block_snapshot snapshot;
    block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &snapshot);
    int64_t third_ms = block_meta(snapshot.blocks[2])->max_time_ms;
    block_snapshot_end(&snapshot);
    assert_int_equal(retention_run(f.list, third_ms, 0, &removed, &err), NX_OK);
    assert_int_equal(removed, 2);
    assert_int_equal(retention_run(f.list, third_ms, 0, &removed, &err), NX_OK);
    assert_int_equal(removed, 0);
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.blocks, 4);
    assert_int_equal(retention_run_bytes(f.list, stats.bytes, &removed, &err), NX_OK);
    assert_int_equal(removed, 0);
    assert_int_equal(retention_run_bytes(f.list, stats.bytes - 1, &removed, &err), NX_OK);
    assert_int_equal(removed, 1);
    assert_int_equal(retention_run_bytes(f.list, 0, &removed, &err), NX_OK);
    assert_int_equal(removed, 2);
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.blocks, 1);
    fixture_deinit(&f);
}

/* ---- start ---- */

static void test_start_removes_what_was_being_built(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    fixture_init(&f, 5, 2);
    char ulid[ULID_TEXT_LEN + 1];
    struct nx_buf dir = {0};
    struct block_meta meta;
    struct model model;
    const struct model_options options = {
        .series_max = 3, .samples_max = 3, .start_ms = DAY_0, .step_ms = 1000};
    model_init(&model, &f.rand, &options);
    /* One in tmp/, one that got as far as blocks/, one that never had a directory, and a stray file. */
    assert_int_equal(block_list_begin(f.list, ulid, &dir, &err), NX_OK);
    model_write(&model, io_real(), (const char *)dir.data, ulid, 0, 9, 9, &meta);
    assert_int_equal(block_list_begin(f.list, ulid, &dir, &err), NX_OK);
    char *blocks = path_of(f.dir, "blocks"), *moved = path_of(blocks, ulid),
         *stray = path_of(f.dir, "tmp/stray");
    model_write(&model, io_real(), moved, ulid, 0, 9, 9, &meta);
    assert_int_equal(block_list_begin(f.list, ulid, &dir, &err), NX_OK);
    assert_int_equal(io_write_file(io_real(), stray, nx_bytes_from_str(NX_STR("x")), &err), NX_OK);
    block_list_close(f.list);
    f.list = open_list(io_real(), f.dir, DAY_0);
    assert_list_is_twin(f.list, &f.twin);
    assert_int_equal(entries(f.dir, "blocks"), 2);
    assert_int_equal(entries(f.dir, "tmp"), 0);
    assert_int_equal(entries(f.dir, "quarantine"), 0);
    nx_free(blocks);
    nx_free(moved);
    nx_free(stray);
    nx_buf_deinit(&dir);
    model_deinit(&model);
    fixture_deinit(&f);
}

static void test_start_sets_unknown_directories_aside(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    struct block_list_stats stats;
    fixture_init(&f, 6, 2);
    block_list_close(f.list);
    char *stranger = path_of(f.dir, "blocks/lost+found");
    char *reason = path_of(f.dir, "quarantine/lost+found.reason");
    char *kept = path_of(f.dir, "quarantine/lost+found");
    assert_int_equal(io_real()->mkdir(io_real(), stranger, &err), NX_OK);
    f.list = open_list(io_real(), f.dir, DAY_0);
    assert_list_is_twin(f.list, &f.twin);
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.quarantined, 1);
    assert_non_null(strstr(stats.damage, "lost+found"));
    assert_true(io_exists(kept));
    assert_true(io_exists(reason));
    assert_false(io_exists(stranger));
    nx_free(stranger);
    nx_free(reason);
    nx_free(kept);
    fixture_deinit(&f);
}

static void test_start_sets_damaged_blocks_aside_and_serves_the_rest(void **state)
{
    (void)state;
    static const char *const names[] = {"block.meta", "index.mdb", "chunks.nxc"};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture f;
        struct block_list_stats stats;
        struct block_snapshot snapshot;
        fixture_init(&f, 7, 3);
        block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &snapshot);
        char *path = path_of(block_dir(snapshot.blocks[1]), names[i]);
        block_snapshot_end(&snapshot);
        block_list_close(f.list);
        if (i == 0)
            file_flip(path, 555);
        else
            assert_int_equal(truncate(path, 100), 0);
        f.list = open_list(io_real(), f.dir, DAY_0);
        block_list_stats(f.list, &stats);
        assert_int_equal(stats.blocks, 2);
        assert_int_equal(stats.quarantined, 1);
        assert_int_equal(entries(f.dir, "blocks"), 2);
        assert_int_equal(entries(f.dir, "quarantine"), 2);
        /* Once: the next start knows nothing of it. */
        block_list_close(f.list);
        f.list = open_list(io_real(), f.dir, DAY_0);
        block_list_stats(f.list, &stats);
        assert_int_equal(stats.quarantined, 0);
        assert_int_equal(stats.blocks, 2);
        nx_free(path);
        fixture_deinit(&f);
    }
}

static void test_a_live_block_whose_directory_is_gone(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    struct block_list_stats stats;
    struct block_snapshot snapshot;
    fixture_init(&f, 8, 3);
    block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &snapshot);
    char *path = nx_strdup(block_dir(snapshot.blocks[0]));
    block_snapshot_end(&snapshot);
    block_list_close(f.list);
    assert_int_equal(io_remove_tree(io_real(), path, &err), NX_OK);
    f.list = open_list(io_real(), f.dir, DAY_0);
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.blocks, 2);
    assert_int_equal(stats.quarantined, 1);
    nx_free(path);
    fixture_deinit(&f);
}

static void test_quarantine_while_in_use(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    struct block_snapshot snapshot;
    struct block_list_stats stats;
    fixture_init(&f, 9, 3);
    block_list_snapshot(f.list, INT64_MIN, INT64_MAX, &snapshot);
    struct block_reader *reader = NULL;
    assert_int_equal(block_reader_new(snapshot.blocks[1], &reader, &err), NX_OK);
    assert_int_equal(block_list_quarantine(f.list, snapshot.blocks[1], "because", &err), NX_OK);
    assert_int_equal(block_list_quarantine(f.list, snapshot.blocks[1], "because", &err), NX_OK);
    struct labels labels;
    assert_int_equal(block_reader_labels(reader, 0, &labels, NULL, &err), NX_OK);
    block_reader_free(reader);
    block_snapshot_end(&snapshot);
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.quarantined, 1);
    assert_int_equal(stats.blocks, 2);
    assert_int_equal(entries(f.dir, "quarantine"), 2);
    block_list_close(f.list);
    f.list = open_list(io_real(), f.dir, DAY_0);
    block_list_stats(f.list, &stats);
    assert_int_equal(stats.blocks, 2);
    fixture_deinit(&f);
}

/* ---- threads ---- */

struct query_thread {
    struct block_list *list;
    uint64_t samples_min; /* of every snapshot */
    _Atomic bool *is_done;
    unsigned rounds;
    bool is_good;
};

static uint64_t read_snapshot(struct block_list *list, bool *is_good)
{
    struct block_snapshot snapshot;
    struct nx_buf times = {0}, values = {0};
    uint64_t samples = 0;
    block_list_snapshot(list, INT64_MIN, INT64_MAX, &snapshot);
    for (size_t i = 0; i < snapshot.count; i++) {
        struct block_reader *reader = NULL;
        struct nx_err err;
        *is_good &= block_reader_new(snapshot.blocks[i], &reader, &err) == NX_OK;
        for (uint32_t rank = 0;
             reader != NULL && rank < block_meta(snapshot.blocks[i])->series_count; rank++) {
            struct labels labels;
            nx_buf_reset(&times);
            nx_buf_reset(&values);
            *is_good &= block_reader_labels(reader, rank, &labels, NULL, &err) == NX_OK;
            *is_good &= block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values,
                                             &err) == NX_OK;
            samples += times.len / sizeof(int64_t);
        }
        block_reader_free(reader);
    }
    block_snapshot_end(&snapshot);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    return samples;
}

static void query_run(void *argument)
{
    struct query_thread *query = argument;
    query->is_good = true;
    do {
        query->is_good &= read_snapshot(query->list, &query->is_good) >= query->samples_min;
        query->rounds++;
    } while (!atomic_load(query->is_done));
}

static void test_queries_run_while_blocks_are_merged(void **state)
{
    (void)state;
    struct fixture f;
    struct nx_err err;
    fixture_init(&f, 70, 20);
    _Atomic bool is_done = false;
    struct query_thread queries[3];
    struct nx_thread threads[3];
    for (unsigned i = 0; i < 3; i++) {
        queries[i] = (struct query_thread){f.list, twin_samples(&f.twin), &is_done, 0, false};
        assert_int_equal(thread_start(&threads[i], "query", query_run, &queries[i], &err), NX_OK);
    }
    for (bool has_worked = true; has_worked;) {
        struct merge_result result;
        nx_code code =
            merge_run(f.list, DAY_0 + 3 * DAY_MS, false, NULL, &has_worked, &result, &err);
        if (code != NX_OK)
            fail_msg("merge: %s", err.msg);
    }
    atomic_store(&is_done, true);
    for (unsigned i = 0; i < 3; i++) {
        thread_join(&threads[i]);
        assert_true(queries[i].is_good);
        assert_true(queries[i].rounds > 0);
    }
    assert_int_equal(block_list_sweep(f.list), 0);
    assert_list_is_twin(f.list, &f.twin);
    fixture_deinit(&f);
}

/* ---- failures ---- */

/* The machine stops at each named step of a flush and of a merge: after a restart nothing published is missing. */
static void test_stopping_at_every_crash_point(void **state)
{
    (void)state;
    static const char *const points[] = {"flush_encoded", "flush_indexed",   "flush_sealed",
                                         "publish_begun", "publish_renamed", "publish_committed"};
    for (unsigned p = 0; p < 6; p++) {
        for (unsigned is_merge = 0; is_merge < 2; is_merge++) {
            struct fixture f;
            struct nx_err err;
            struct io_faulty faulty;
            fixture_init(&f, 10 + p, 6);
            block_list_close(f.list);
            io_faulty_init(&faulty, io_real());
            f.list = open_list(&faulty.io, f.dir, DAY_0);
            io_faulty_stop_at(&faulty, points[p]);
            const struct twin_flush flush = {
                .min_ms = DAY_0, .max_ms = DAY_0 + 3600000, .samples_max = 30, .step_ms = 1000};
            bool has_worked = false;
            struct merge_result result;
            nx_code code =
                is_merge ? merge_run(f.list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err)
                         : twin_flush(&f.twin, f.list, &faulty.io, &f.rand, &flush, &err);
            assert_true(io_faulty_is_stopped(&faulty));
            /* The catalog's commit is LMDB's own: from publish_renamed on it is done, whatever becomes of the rest. */
            assert_int_equal(code == NX_OK, p >= 4);
            block_list_close(f.list);
            f.list = open_list(io_real(), f.dir, DAY_0);
            assert_list_is_twin(f.list, &f.twin);
            assert_int_equal(entries(f.dir, "tmp"), 0);
            assert_int_equal(entries(f.dir, "quarantine"), 0);
            struct block_list_stats stats;
            block_list_stats(f.list, &stats);
            assert_int_equal(entries(f.dir, "blocks"), stats.blocks);
            fixture_deinit(&f);
        }
    }
}

static const char *exit_point; /* of the child process */

static void exit_at_point(const struct io *io, const char *name)
{
    (void)io;
    if (strcmp(name, exit_point) == 0)
        _exit(137);
}

/* The same with a process that dies, LMDB's state included. */
static void test_dying_at_every_crash_point_of_a_merge(void **state)
{
    (void)state;
    static const char *const points[] = {"flush_encoded", "flush_indexed",   "flush_sealed",
                                         "publish_begun", "publish_renamed", "publish_committed"};
    for (unsigned p = 0; p < 6; p++) {
        struct fixture f;
        fixture_init(&f, 50 + p, 6);
        block_list_close(f.list);
        f.list = NULL;
        fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct io io = *io_real();
            struct nx_err err;
            bool has_worked = false;
            struct merge_result result;
            io.crash_point = exit_at_point;
            exit_point = points[p];
            struct block_list *list = open_list(&io, f.dir, DAY_0);
            nx_ignore(merge_run(list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err));
            _exit(1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WEXITSTATUS(status), 137);
        f.list = open_list(io_real(), f.dir, DAY_0);
        assert_list_is_twin(f.list, &f.twin);
        assert_int_equal(entries(f.dir, "tmp"), 0);
        assert_int_equal(entries(f.dir, "quarantine"), 0);
        struct block_list_stats stats;
        block_list_stats(f.list, &stats);
        assert_int_equal(entries(f.dir, "blocks"), stats.blocks);
        assert_int_equal(stats.blocks == 6, p < 5);
        fixture_deinit(&f);
    }
}

/* Each call fails once, for good or for a moment: the list goes on to serve, and so does the next start. */
static void test_failing_calls_during_flush_and_merge(void **state)
{
    (void)state;
    static const enum io_call calls[] = {IO_CALL_OPEN,  IO_CALL_PWRITE, IO_CALL_FDATASYNC,
                                         IO_CALL_FSYNC, IO_CALL_RENAME, IO_CALL_UNLINK,
                                         IO_CALL_RMDIR, IO_CALL_PREAD,  IO_CALL_MKDIR};
    unsigned failures = 0;
    for (unsigned c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        for (uint64_t nth = 1; nth < 60; nth += c < 2 || calls[c] == IO_CALL_PREAD ? 5 : 1) {
            struct fixture f;
            struct nx_err err;
            struct io_faulty faulty;
            fixture_init(&f, nth, 3);
            block_list_close(f.list);
            io_faulty_init(&faulty, io_real());
            f.list = open_list(&faulty.io, f.dir, DAY_0);
            io_faulty_clear(&faulty);
            io_faulty_add(&faulty, (struct io_fault){.call = calls[c],
                                                     .nth = nth,
                                                     .sys = nth % 2 == 0 ? ENOSPC : EIO,
                                                     .is_lasting = nth % 3 == 0,
                                                     .torn_bytes = 7});
            const struct twin_flush flush = {
                .min_ms = DAY_0, .max_ms = DAY_0 + 3600000, .samples_max = 30, .step_ms = 1000};
            bool has_worked = false;
            struct merge_result result;
            failures += twin_flush(&f.twin, f.list, &faulty.io, &f.rand, &flush, &err) != NX_OK;
            failures +=
                merge_run(f.list, DAY_0 + DAY_MS, true, NULL, &has_worked, &result, &err) != NX_OK;
            bool was_hit = io_faulty_failed_calls(&faulty) > 0;
            io_faulty_clear(&faulty);
            assert_list_is_twin(f.list, &f.twin);
            block_list_close(f.list);
            f.list = open_list(io_real(), f.dir, DAY_0);
            assert_list_is_twin(f.list, &f.twin);
            assert_int_equal(entries(f.dir, "quarantine"), 0);
            fixture_deinit(&f);
            if (!was_hit)
                break;
        }
    }
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_blocks_survive_reopening),
        cmocka_unit_test(test_snapshots_are_by_range_and_in_order_of_precedence),
        cmocka_unit_test(test_a_retired_block_serves_its_last_reader),
        cmocka_unit_test(test_retention_by_age_and_by_bytes),
        cmocka_unit_test(test_start_removes_what_was_being_built),
        cmocka_unit_test(test_start_sets_unknown_directories_aside),
        cmocka_unit_test(test_start_sets_damaged_blocks_aside_and_serves_the_rest),
        cmocka_unit_test(test_a_live_block_whose_directory_is_gone),
        cmocka_unit_test(test_quarantine_while_in_use),
        cmocka_unit_test(test_queries_run_while_blocks_are_merged),
        cmocka_unit_test(test_stopping_at_every_crash_point),
        cmocka_unit_test(test_dying_at_every_crash_point_of_a_merge),
        cmocka_unit_test(test_failing_calls_during_flush_and_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
