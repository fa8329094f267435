/* SPDX-License-Identifier: Apache-2.0 */
/* test_committer.c - who is told what, and when: over a head and a journal whose disk fails on demand. */
#include "narthex/base/clock.h"
#include "narthex/base/thread.h"
#include "narthex/storage/committer.h"

#include "storage_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct world {
    struct store_scratch scratch;
    struct gate_io gate;
    struct head *head;
    struct journal *journal;
    struct committer *committer;
    struct nx_err err;
};

static void world_make(struct world *world)
{
    memset(world, 0, sizeof(*world));
    store_scratch_make(&world->scratch);
    gate_io_init(&world->gate);
    struct head_options head_options = {.series_max = 0};
    assert_int_equal(head_new(&world->head, &head_options, &world->err), NX_OK);
    static char dir[600];
    snprintf(dir, sizeof(dir), "%s/journal", world->scratch.path);
    struct journal_options options = {.io = &world->gate.io, .dir = dir};
    assert_int_equal(journal_open(&world->journal, &options, &world->err), NX_OK);
    struct journal_visitor visitor = head_journal_visitor;
    visitor.context = world->head;
    struct journal_replay_result result;
    assert_int_equal(journal_replay(world->journal, 0, &visitor, &result, &world->err), NX_OK);
    head_load_finish(world->head);
    assert_int_equal(committer_start(&world->committer, world->head, world->journal, &world->err),
                     NX_OK);
}

static void world_end(struct world *world)
{
    committer_stop(world->committer);
    assert_int_equal(journal_close(world->journal, &world->err), NX_OK);
    head_free(world->head);
    store_scratch_remove(&world->scratch);
}

struct ticket {
    _Atomic int code; /* -1: not told yet */
    _Atomic int times;
};

static void told(void *context, nx_code code)
{
    struct ticket *ticket = context;
    atomic_store(&ticket->code, (int)code);
    atomic_fetch_add(&ticket->times, 1);
}

static int wait_told(struct ticket *ticket)
{
    for (unsigned i = 0; i < 5000 && atomic_load(&ticket->times) == 0; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&ticket->times), 1);
    return atomic_load(&ticket->code);
}

static void append(struct world *world, int64_t time_ms)
{
    struct label items[3];
    char text[64];
    struct sample sample = {.time_ms = time_ms, .value = 1};
    struct head_write write = {.ref = {.slot = HEAD_SLOT_NONE},
                               .labels = twin_labels(1, items, text),
                               .samples = &sample,
                               .sample_count = 1};
    head_append(world->head, &write, 1, INT64_MIN, INT64_MAX);
}

static uint64_t committed(struct world *world)
{
    struct journal_stats stats;
    journal_stats(world->journal, &stats);
    return stats.samples_live;
}

static void test_committer_tells_after_the_commit(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    for (int i = 0; i < 50; i++) {
        struct ticket ticket = {.code = -1};
        append(&world, i);
        committer_wait(world.committer, told, &ticket);
        assert_int_equal(wait_told(&ticket), NX_OK);
        assert_int_equal(committed(&world), (uint64_t)i + 1);
    }
    world_end(&world);
}

static void test_committer_tells_a_waiter_that_added_nothing(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    struct ticket ticket = {.code = -1};
    committer_wait(world.committer, told, &ticket);
    assert_int_equal(wait_told(&ticket), NX_OK);
    world_end(&world);
}

/* The original's commit fails; a resend that adds nothing to the head must not be acknowledged before it is durable. */
static void test_committer_resend_waits_for_the_original(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    atomic_store(&world.gate.fdatasync_sys, EIO);
    struct ticket original = {.code = -1};
    append(&world, 1);
    committer_wait(world.committer, told, &original);
    assert_int_equal(wait_told(&original), NX_E_IO);
    assert_int_equal(committer_check(world.committer, 1, &world.err), NX_E_IO);
    for (unsigned i = 0; i < 3; i++) {
        struct ticket resend = {.code = -1};
        append(&world, 1); /* there already, with the same bits */
        committer_wait(world.committer, told, &resend);
        assert_int_equal(wait_told(&resend), NX_E_IO);
    }
    assert_int_equal(committed(&world), 0);
    atomic_store(&world.gate.fdatasync_sys, 0);
    for (unsigned i = 0; i < 3000 && committer_state(world.committer) != NX_OK; i++)
        usleep(1000);
    assert_int_equal(committer_check(world.committer, 1, &world.err),
                     NX_OK); /* by itself, without a waiter */
    assert_int_equal(committed(&world), 1);
    struct ticket resend = {.code = -1};
    append(&world, 1);
    committer_wait(world.committer, told, &resend);
    assert_int_equal(wait_told(&resend), NX_OK);
    world_end(&world);
}

static void test_committer_cut_takes_what_is_pending(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    append(&world, 1);
    uint64_t first = committer_cut(world.committer);
    assert_int_equal(first, 1);
    assert_int_equal(committed(&world), 1);
    append(&world, 2);
    append(&world, 3);
    assert_int_equal(committer_cut(world.committer), 2);
    struct journal_stats stats;
    journal_stats(world.journal, &stats);
    assert_int_equal(stats.segments_live, 2);
    assert_int_equal(committer_cut(world.committer), 2);
    world_end(&world);
}

static void test_committer_cut_does_not_wait_for_a_failing_disk(void **state)
{
    (void)state;
    struct world world;
    world_make(&world);
    append(&world, 1);
    assert_int_equal(committer_cut(world.committer), 1);
    atomic_store(&world.gate.pwrite_sys, ENOSPC);
    append(&world, 2);
    assert_int_equal(committer_cut(world.committer), 1);
    assert_int_equal(committer_state(world.committer), NX_E_FULL);
    assert_int_equal(committer_cut(world.committer), 1);
    atomic_store(&world.gate.pwrite_sys, 0);
    assert_int_equal(committer_cut(world.committer), 2);
    world_end(&world);
}

static void test_committer_stop_tells_everyone(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        struct world world;
        world_make(&world);
        if (round % 2 == 1)
            atomic_store(&world.gate.pwrite_sys, ENOSPC);
        struct ticket tickets[10];
        for (unsigned i = 0; i < 10; i++) {
            tickets[i] = (struct ticket){.code = -1};
            append(&world, i);
            committer_wait(world.committer, told, &tickets[i]);
        }
        committer_stop(world.committer);
        world.committer = NULL;
        for (unsigned i = 0; i < 10; i++) {
            assert_int_equal(tickets[i].times, 1);
            assert_int_equal(tickets[i].code, round % 2 == 1 ? NX_E_FULL : NX_OK);
        }
        world_end(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_committer_tells_after_the_commit),
        cmocka_unit_test(test_committer_tells_a_waiter_that_added_nothing),
        cmocka_unit_test(test_committer_resend_waits_for_the_original),
        cmocka_unit_test(test_committer_cut_takes_what_is_pending),
        cmocka_unit_test(test_committer_cut_does_not_wait_for_a_failing_disk),
        cmocka_unit_test(test_committer_stop_tells_everyone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
