/* SPDX-License-Identifier: Apache-2.0 */
/* test_worker_pool.c - work is done once, in bounds, and to the end. */
#include "narthex/base/thread.h"

#include "base_support.h"

#include <stdatomic.h>

struct gate {
    struct nx_mutex lock;
    struct nx_cond opened;
    bool is_open;
    bool is_reached;
    _Atomic int done;
};

static void gate_init(struct gate *gate)
{
    *gate = (struct gate){0};
    mutex_init(&gate->lock, LOCK_RANK_LOG);
    cond_init(&gate->opened);
}

static void gate_deinit(struct gate *gate)
{
    cond_deinit(&gate->opened);
    mutex_deinit(&gate->lock);
}

static void wait_at_gate(void *argument)
{
    struct gate *gate = argument;
    mutex_lock(&gate->lock);
    gate->is_reached = true;
    cond_broadcast(&gate->opened);
    while (!gate->is_open)
        cond_wait(&gate->opened, &gate->lock);
    mutex_unlock(&gate->lock);
    atomic_fetch_add(&gate->done, 1);
}

static void gate_open(struct gate *gate)
{
    mutex_lock(&gate->lock);
    gate->is_open = true;
    cond_broadcast(&gate->opened);
    mutex_unlock(&gate->lock);
}

static void gate_wait_reached(struct gate *gate)
{
    mutex_lock(&gate->lock);
    while (!gate->is_reached)
        cond_wait(&gate->opened, &gate->lock);
    mutex_unlock(&gate->lock);
}

static void count_one(void *argument)
{
    atomic_fetch_add((_Atomic int *)argument, 1);
}

static void test_worker_pool_does_all_work_before_it_ends(void **state)
{
    (void)state;
    struct worker_pool *pool = NULL;
    struct nx_err err = {0};
    _Atomic int done = 0;
    assert_int_equal(worker_pool_new(&pool, "test", 3, 1000, &err), NX_OK);
    int taken = 0;
    for (int i = 0; i < 1000; i++)
        taken += worker_pool_try_submit(pool, count_one, &done);
    worker_pool_free(pool);
    assert_int_equal(taken, 1000);
    assert_int_equal(atomic_load(&done), 1000);
    worker_pool_free(NULL);
}

static void test_worker_pool_refuses_beyond_its_queue(void **state)
{
    (void)state;
    struct worker_pool *pool = NULL;
    struct nx_err err = {0};
    struct gate gate;
    gate_init(&gate);
    _Atomic int done = 0;
    assert_int_equal(worker_pool_new(&pool, "test", 1, 4, &err), NX_OK);
    assert_true(worker_pool_try_submit(pool, wait_at_gate, &gate));
    gate_wait_reached(&gate);
    for (int i = 0; i < 4; i++)
        assert_true(worker_pool_try_submit(pool, count_one, &done));
    assert_int_equal(worker_pool_queued(pool), 4);
    assert_false(worker_pool_try_submit(pool, count_one, &done));
    gate_open(&gate);
    worker_pool_free(pool);
    assert_int_equal(atomic_load(&done), 4);
    assert_int_equal(atomic_load(&gate.done), 1);
    gate_deinit(&gate);
}

static void test_worker_pool_workers_work_at_the_same_time(void **state)
{
    (void)state;
    struct worker_pool *pool = NULL;
    struct nx_err err = {0};
    struct gate gate;
    gate_init(&gate);
    _Atomic int done = 0;
    assert_int_equal(worker_pool_new(&pool, "test", 2, 4, &err), NX_OK);
    assert_true(worker_pool_try_submit(pool, wait_at_gate, &gate));
    gate_wait_reached(&gate);
    /* One worker stands at the gate: the other does this. */
    assert_true(worker_pool_try_submit(pool, count_one, &done));
    while (atomic_load(&done) == 0)
        sched_yield();
    gate_open(&gate);
    worker_pool_free(pool);
    gate_deinit(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_pool_does_all_work_before_it_ends),
        cmocka_unit_test(test_worker_pool_refuses_beyond_its_queue),
        cmocka_unit_test(test_worker_pool_workers_work_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
