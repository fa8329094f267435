/* SPDX-License-Identifier: Apache-2.0 */
/* test_journal_copy.c - copies beside the committer replay to what was committed; checks name what is damaged. */
#include "narthex/base/io_copy.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/head/journal_copy.h"

#include "journal_support.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct told {
    unsigned count;
    char file[64], what[300];
};

static void tell(void *context, const char *file, const char *what)
{
    struct told *told = context;
    told->count++;
    snprintf(told->file, sizeof(told->file), "%s", file);
    snprintf(told->what, sizeof(told->what), "%s", what);
}

/* Commits `count` times into segments of the smallest size. */
static void commit_some(struct journal *journal, struct rand_state *rand, unsigned count,
                        struct journal_log *log)
{
    for (unsigned i = 0; i < count; i++) {
        struct journal_buffer buffer = {0};
        uint64_t commit;
        journal_test_fill_shard(rand, &buffer, 0, 1000, 3000, INT64_C(1700000000000) + i, log);
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_deinit(&buffer);
    }
}

static void make_target(struct scratch *target)
{
    struct nx_err err;
    scratch_make(target);
    assert_int_equal(io_real()->mkdir(io_real(), target->journal, &err), NX_OK);
}

static void assert_copy_is(const struct scratch *target, const struct journal_log *log)
{
    struct journal_log copied = {0};
    struct journal_replay_result result;
    struct journal *journal = journal_test_replay(target, io_real(), 0, &copied, &result);
    assert_int_equal(result.damaged_segments, 0);
    assert_false(result.has_torn_tail);
    assert_true(journal_log_equal(&copied, log));
    journal_test_close(journal);
    journal_log_deinit(&copied);
}

static void test_a_copy_replays_to_the_same(void **state)
{
    (void)state;
    struct scratch scratch, target;
    struct journal_log log = {0}, replayed = {0};
    struct journal_replay_result result;
    struct rand_state rand;
    struct nx_err err;
    bool is_whole = false;
    uint64_t bytes = 0;
    scratch_make(&scratch);
    rand_seed(&rand, 3);
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &replayed, &result);
    for (unsigned round = 0; round < 4; round++) {
        commit_some(journal, &rand, round * 40, &log);
        if (round == 2)
            journal_cut(journal);
        make_target(&target);
        assert_int_equal(journal_copy(journal, target.journal, &is_whole, &bytes, &err), NX_OK);
        assert_true(is_whole);
        assert_copy_is(&target, &log);
        scratch_remove(&target);
    }
    assert_true(bytes > 0);
    journal_test_close(journal);
    /* After a restart, with the last segment read and not written to. */
    journal_log_deinit(&replayed);
    journal = journal_test_replay(&scratch, io_real(), 0, &replayed, &result);
    make_target(&target);
    assert_int_equal(journal_copy(journal, target.journal, &is_whole, NULL, &err), NX_OK);
    assert_copy_is(&target, &log);
    scratch_remove(&target);
    journal_test_close(journal);
    journal_log_deinit(&log);
    journal_log_deinit(&replayed);
    scratch_remove(&scratch);
}

struct committing {
    struct journal *journal;
    _Atomic uint64_t last; /* commit that is durable */
    _Atomic bool is_stopping;
    unsigned commits_max;
};

static void run_commits(void *argument)
{
    struct committing *c = argument;
    struct rand_state rand;
    rand_seed(&rand, 9);
    for (unsigned i = 0; i < c->commits_max && !atomic_load(&c->is_stopping); i++) {
        struct journal_buffer buffer = {0};
        uint64_t commit;
        journal_test_fill_shard(&rand, &buffer, 0, 100, 1 + i % 700, INT64_C(1700000000000) + i,
                                NULL);
        if (journal_test_commit(c->journal, &buffer, &commit) == NX_OK)
            atomic_store(&c->last, commit);
        journal_buffer_deinit(&buffer);
    }
    atomic_store(&c->is_stopping, true);
}

static void test_copies_beside_commits_and_releases_are_whole_or_say_not(void **state)
{
    (void)state;
    struct scratch scratch, target;
    struct journal_log nothing = {0};
    struct journal_replay_result result;
    struct nx_thread thread;
    struct nx_err err;
    struct committing c = {.commits_max = 3000};
    unsigned whole = 0;
    uint64_t released = 0;
    scratch_make(&scratch);
    c.journal = journal_test_replay(&scratch, io_real(), 0, &nothing, &result);
    assert_int_equal(thread_start(&thread, "commits", run_commits, &c, &err), NX_OK);
    for (unsigned round = 0; round < 60 || !atomic_load(&c.is_stopping); round++) {
        uint64_t durable = atomic_load(&c.last);
        bool is_whole = false;
        make_target(&target);
        assert_int_equal(journal_copy(c.journal, target.journal, &is_whole, NULL, &err), NX_OK);
        if (round % 5 == 4 && durable > 200) {
            released = durable - 200;
            assert_int_equal(journal_release(c.journal, released, &err), NX_OK);
        }
        if (is_whole) {
            struct told told = {0};
            struct journal_check_result found;
            whole++;
            assert_int_equal(journal_check(target.journal, released, tell, &told, &found, &err),
                             NX_OK);
            if (told.count > 0)
                fail_msg("%s: %s", told.file, told.what);
            assert_true(found.replayed.last_commit >= durable);
        }
        scratch_remove(&target);
    }
    thread_join(&thread);
    assert_true(whole > 10);
    journal_test_close(c.journal);
    journal_log_deinit(&nothing);
    scratch_remove(&scratch);
}

static void flip(const char *dir, const char *name, uint64_t offset)
{
    char path[700];
    int fd;
    uint8_t byte = 0;
    size_t got;
    struct nx_err err;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(io_real()->open(io_real(), path, O_RDWR, 0, &fd, &err), NX_OK);
    assert_int_equal(io_real()->pread(io_real(), fd, &byte, 1, offset, &got, &err), NX_OK);
    byte ^= 1;
    assert_int_equal(io_real()->pwrite(io_real(), fd, &byte, 1, offset, &err), NX_OK);
    assert_int_equal(io_real()->close(io_real(), fd, &err), NX_OK);
}

static void test_a_check_names_damage_and_changes_nothing(void **state)
{
    (void)state;
    struct scratch scratch;
    struct journal_log log = {0}, replayed = {0};
    struct journal_replay_result result;
    struct journal_check_result found;
    struct rand_state rand;
    struct nx_err err;
    struct told told = {0};
    scratch_make(&scratch);
    rand_seed(&rand, 4);
    struct journal *journal = journal_test_replay(&scratch, io_real(), 0, &replayed, &result);
    commit_some(journal, &rand, 100, &log);
    journal_test_close(journal);
    size_t files = scratch_count(scratch.journal, ".nxj");
    assert_true(files > 1);
    assert_int_equal(journal_check(scratch.journal, 0, tell, &told, &found, &err), NX_OK);
    assert_int_equal(told.count, 0);
    assert_int_equal(found.files, files);
    assert_int_equal(found.replayed.samples, log.count);

    flip(scratch.journal, "00000001.nxj", 4096 + 200);
    assert_int_equal(journal_check(scratch.journal, 0, tell, &told, &found, &err), NX_OK);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.file, "00000001.nxj");
    assert_non_null(strstr(told.what, "byte"));

    /* Both headers of the newest: what it says is told too. */
    flip(scratch.journal, "00000002.nxj", 20);
    flip(scratch.journal, "00000002.nxj", 2048 + 20);
    told = (struct told){0};
    assert_int_equal(journal_check(scratch.journal, 0, tell, &told, &found, &err), NX_OK);
    assert_true(told.count >= 2);
    assert_int_equal(scratch_count(scratch.journal, ".nxj"), files);
    assert_int_equal(scratch_count(scratch.path, "quarantine"), 0);

    /* What is released does not matter. */
    told = (struct told){0};
    assert_int_equal(journal_check(scratch.journal, 100, tell, &told, &found, &err), NX_OK);
    assert_int_equal(found.replayed.samples, 0);
    assert_int_equal(journal_check("/nonexistent/journal", 0, tell, &told, &found, &err), NX_E_IO);
    journal_log_deinit(&log);
    journal_log_deinit(&replayed);
    scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_replays_to_the_same),
        cmocka_unit_test(test_copies_beside_commits_and_releases_are_whole_or_say_not),
        cmocka_unit_test(test_a_check_names_damage_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
