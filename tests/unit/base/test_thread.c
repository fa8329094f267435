/* SPDX-License-Identifier: Apache-2.0 */
/* test_thread.c - threads, conditions, and the order of locks. */
#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/thread.h"

#include "base_support.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

struct shared {
    struct nx_mutex lock;
    struct nx_cond changed;
    uint64_t count;
    bool is_ready;
    char name[16];
    bool blocks_term;
};

static void shared_init(struct shared *shared)
{
    *shared = (struct shared){0};
    mutex_init(&shared->lock, LOCK_RANK_STORE);
    cond_init(&shared->changed);
}

static void shared_deinit(struct shared *shared)
{
    cond_deinit(&shared->changed);
    mutex_deinit(&shared->lock);
}

static void count_up(void *argument)
{
    struct shared *shared = argument;
    for (int i = 0; i < 20000; i++) {
        mutex_lock(&shared->lock);
        shared->count++;
        mutex_unlock(&shared->lock);
    }
}

static void test_thread_mutex_excludes(void **state)
{
    (void)state;
    struct shared shared;
    shared_init(&shared);
    struct nx_thread threads[4] = {0};
    struct nx_err err = {0};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thread_start(&threads[i], "count", count_up, &shared, &err), NX_OK);
    for (size_t i = 0; i < 4; i++)
        thread_join(&threads[i]);
    assert_int_equal(shared.count, 80000);
    thread_join(&threads[0]); /* joined already: nothing happens */
    shared_deinit(&shared);
}

static void describe_self(void *argument)
{
    struct shared *shared = argument;
    pthread_getname_np(pthread_self(), shared->name, sizeof(shared->name));
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    shared->blocks_term = sigismember(&blocked, SIGTERM) == 1;
}

static void test_thread_has_its_name_and_no_signals(void **state)
{
    (void)state;
    struct shared shared;
    shared_init(&shared);
    struct nx_thread thread = {0};
    struct nx_err err = {0};
    sigset_t before;
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start(&thread, "a-name-beyond-fifteen", describe_self, &shared, &err),
                     NX_OK);
    thread_join(&thread);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
    assert_string_equal(shared.name, "a-name-beyond-f");
    assert_true(shared.blocks_term);
    shared_deinit(&shared);
}

static void make_ready(void *argument)
{
    struct shared *shared = argument;
    mutex_lock(&shared->lock);
    shared->is_ready = true;
    cond_broadcast(&shared->changed);
    mutex_unlock(&shared->lock);
}

static void test_thread_condition_wakes_or_times_out(void **state)
{
    (void)state;
    struct shared shared;
    shared_init(&shared);
    struct nx_err err = {0};
    mutex_lock(&shared.lock);
    uint64_t before = clock_mono_ns(clock_real());
    assert_false(cond_wait_for(&shared.changed, &shared.lock, 20000000));
    assert_true(clock_mono_ns(clock_real()) - before >= 20000000);
    struct nx_thread thread = {0};
    assert_int_equal(thread_start(&thread, "ready", make_ready, &shared, &err), NX_OK);
    while (!shared.is_ready)
        assert_true(cond_wait_for(&shared.changed, &shared.lock, UINT64_C(60000000000)));
    mutex_unlock(&shared.lock);
    thread_join(&thread);
    shared_deinit(&shared);
}

static void test_thread_timeout_may_be_endless(void **state)
{
    (void)state;
    struct shared shared;
    shared_init(&shared);
    struct nx_err err = {0};
    struct nx_thread thread = {0};
    mutex_lock(&shared.lock);
    assert_int_equal(thread_start(&thread, "ready", make_ready, &shared, &err), NX_OK);
    while (!shared.is_ready)
        assert_true(cond_wait_for(&shared.changed, &shared.lock, UINT64_MAX));
    mutex_unlock(&shared.lock);
    thread_join(&thread);
    shared_deinit(&shared);
}

struct two_locks {
    struct nx_mutex first;
    struct nx_mutex second;
    struct nx_rwlock third;
};

static void two_locks_init(struct two_locks *locks)
{
    mutex_init(&locks->first, LOCK_RANK_STORE);
    mutex_init(&locks->second, LOCK_RANK_HEAD_SHARD);
    rwlock_init(&locks->third, LOCK_RANK_GROUP_CACHE);
}

static void two_locks_deinit(struct two_locks *locks)
{
    mutex_deinit(&locks->first);
    mutex_deinit(&locks->second);
    rwlock_deinit(&locks->third);
}

static void test_thread_locks_in_order_and_released_in_any(void **state)
{
    (void)state;
    struct two_locks locks;
    two_locks_init(&locks);
    for (int i = 0; i < 3; i++) {
        mutex_lock(&locks.first);
        mutex_lock(&locks.second);
        rwlock_read_lock(&locks.third);
        mutex_unlock(&locks.first);
        rwlock_read_unlock(&locks.third);
        rwlock_write_lock(&locks.third);
        mutex_unlock(&locks.second);
        rwlock_write_unlock(&locks.third);
    }
    two_locks_deinit(&locks);
}

static void lock_backwards(void *argument)
{
    struct two_locks *locks = argument;
    mutex_lock(&locks->second);
    mutex_lock(&locks->first);
}

static void lock_same_rank(void *argument)
{
    (void)argument;
    struct nx_mutex a;
    struct nx_mutex b;
    mutex_init(&a, LOCK_RANK_JOURNAL);
    mutex_init(&b, LOCK_RANK_JOURNAL);
    mutex_lock(&a);
    mutex_lock(&b);
}

static void unlock_what_is_not_held(void *argument)
{
    struct two_locks *locks = argument;
    mutex_lock(&locks->first);
    mutex_unlock(&locks->second);
}

static void test_thread_wrong_order_of_locks_aborts(void **state)
{
    (void)state;
#if NX_DCHECK_ENABLED
    struct two_locks locks;
    two_locks_init(&locks);
    void (*const bodies[])(void *) = {lock_backwards, lock_same_rank, unlock_what_is_not_held};
    for (size_t i = 0; i < NX_ARRAY_LEN(bodies); i++) {
        int status = test_in_child(bodies[i], &locks, NULL);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
    two_locks_deinit(&locks);
#else
    (void)lock_backwards;
    (void)lock_same_rank;
    (void)unlock_what_is_not_held;
    skip();
#endif
}

static void test_thread_cpu_count_is_at_least_one(void **state)
{
    (void)state;
    assert_in_range(thread_cpu_count(), 1, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_mutex_excludes),
        cmocka_unit_test(test_thread_has_its_name_and_no_signals),
        cmocka_unit_test(test_thread_condition_wakes_or_times_out),
        cmocka_unit_test(test_thread_timeout_may_be_endless),
        cmocka_unit_test(test_thread_locks_in_order_and_released_in_any),
        cmocka_unit_test(test_thread_wrong_order_of_locks_aborts),
        cmocka_unit_test(test_thread_cpu_count_is_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
