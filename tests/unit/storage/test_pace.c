/* SPDX-License-Identifier: Apache-2.0 */
/* test_pace.c - merges pause while commits are slow, and only then. */
#include "narthex/base/clock.h"

#include "storage_support.h"
#include "store_internal.h"

#include <time.h>

#define MS UINT64_C(1000000)

static void test_pauses(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct committer_pace pace;
        uint64_t took_ns, least_ns, most_ns;
    } cases[] = {
        {"nobody writes", {0, 0, 2 * MS}, 10 * MS, 0, 0},
        {"no commit yet", {0, 0, 0}, 10 * MS, 0, 0},
        {"as quick as ever", {9, 2 * MS, 2 * MS}, 10 * MS, 0, 0},
        {"twice the usual", {9, 4 * MS, 2 * MS}, 10 * MS, 10 * MS, 10 * MS},
        {"three times", {9, 6 * MS, 2 * MS}, 10 * MS, 20 * MS, 20 * MS},
        {"far slower is no more", {9, 600 * MS, 2 * MS}, 10 * MS, 20 * MS, 20 * MS},
        {"a little", {9, 2 * MS + 200000, 2 * MS}, 10 * MS, MS - 10, MS + 10},
        {"never for long", {9, 600 * MS, 2 * MS}, UINT64_MAX, 200 * MS, 200 * MS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t pause_ns = pace_pause_ns(&cases[i].pace, cases[i].took_ns);
        if (pause_ns < cases[i].least_ns || pause_ns > cases[i].most_ns)
            fail_msg("%s: %u us", cases[i].name, (unsigned)(pause_ns / 1000));
    }
}

static void test_a_committer_tells_its_pace(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct store_open_result result;
    struct store *store = store_test_open(&scratch, &result);
    struct committer_pace pace;
    committer_take_pace(store->committer, &pace);
    assert_int_equal(pace.commits, 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(store_test_wait(store), NX_OK);
    /* The waiter is told before the time is taken: one more commit, and five are there. */
    assert_int_equal(store_test_wait(store), NX_OK);
    committer_take_pace(store->committer, &pace);
    assert_in_range(pace.commits, 5, 6);
    assert_true(pace.usual_ns > 0 && pace.slowest_ns >= pace.usual_ns / 2);
    store_test_close(store);
    store_scratch_remove(&scratch);
}

/* In the place of the C library's: counts on the thread that asks for it, and does not sleep there. */
static _Thread_local bool is_counting;
static _Thread_local unsigned sleeps;

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    if (!is_counting)
        return clock_nanosleep(CLOCK_MONOTONIC, 0, wanted, left) == 0 ? 0 : -1;
    sleeps++;
    return 0;
}

/* Sleeps of a merge that writes a piece after every commit, after `commits` of them or at the first sleep. */
static unsigned sleeps_among(struct store *store, unsigned commits)
{
    sleeps = 0;
    mutex_lock(&store->merging);
    pace_begin(store);
    for (unsigned i = 0; i < commits && sleeps == 0; i++) {
        assert_int_equal(store_test_wait(store), NX_OK);
        store->pace_since_ns = 0; /* as if it had worked since the machine was started */
        is_counting = true;
        store->pace.wrote(store->pace.context, 1);
        is_counting = false;
    }
    mutex_unlock(&store->merging);
    return sleeps;
}

/* However slow commits are, a store that stops does not pause; the same commits make another one pause. */
static void test_a_stop_ends_a_pause(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct store_open_result result;
    struct store *store = store_test_open(&scratch, &result);
    atomic_store(&store->merge_stop, true);
    assert_int_equal(sleeps_among(store, 300), 0);
    atomic_store(&store->merge_stop, false);
    assert_true(sleeps_among(store, 3000) > 0);
    store_test_close(store);
    store_scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_a_committer_tells_its_pace),
        cmocka_unit_test(test_a_stop_ends_a_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
