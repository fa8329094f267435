/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_view.c - who is waited for, and who is told that it took too long. */
#include "narthex/base/clock.h"
#include "narthex/storage/head_view.h"

#include "storage_support.h"

#include <unistd.h>

static void test_head_views_drain_of_none_returns_at_once(void **state)
{
    (void)state;
    struct head_views views;
    head_views_init(&views);
    uint64_t begun_ns = clock_mono_ns(clock_real());
    head_views_drain(&views, UINT64_C(60000000000));
    assert_true(clock_mono_ns(clock_real()) - begun_ns < UINT64_C(30000000000));
    head_views_deinit(&views);
}

static void test_head_view_that_outlives_the_wait_is_expired_and_a_later_one_is_not(void **state)
{
    (void)state;
    struct head_views views;
    struct head_view old;
    struct head_view other;
    struct head_view later;
    head_views_init(&views);
    head_view_begin(&views, &old);
    head_view_begin(&views, &other);
    head_view_end(&views, &other);
    head_views_drain(&views, 20000000);
    assert_true(head_view_is_expired(&old));
    head_view_begin(&views, &later);
    assert_false(head_view_is_expired(&later));
    uint64_t begun_ns = clock_mono_ns(clock_real());
    head_view_end(&views, &later);
    head_views_drain(&views, UINT64_C(60000000000)); /* an expired view is not waited for again */
    assert_true(clock_mono_ns(clock_real()) - begun_ns < UINT64_C(30000000000));
    head_view_end(&views, &old);
    head_views_deinit(&views);
}

struct holder {
    struct head_views *views;
    struct head_view view;
    _Atomic bool has_ended;
};

static void hold(void *argument)
{
    struct holder *holder = argument;
    usleep(100000);
    atomic_store(&holder->has_ended, true);
    head_view_end(holder->views, &holder->view);
}

static void test_head_views_drain_waits_for_the_last_older_view(void **state)
{
    (void)state;
    struct head_views views;
    head_views_init(&views);
    struct holder holder = {.views = &views};
    struct nx_thread thread = {.is_running = false};
    struct nx_err err;
    head_view_begin(&views, &holder.view);
    assert_int_equal(thread_start(&thread, "holder", hold, &holder, &err), NX_OK);
    head_views_drain(&views, UINT64_C(60000000000));
    assert_true(atomic_load(&holder.has_ended));
    assert_false(head_view_is_expired(&holder.view));
    thread_join(&thread);
    head_views_deinit(&views);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_views_drain_of_none_returns_at_once),
        cmocka_unit_test(test_head_view_that_outlives_the_wait_is_expired_and_a_later_one_is_not),
        cmocka_unit_test(test_head_views_drain_waits_for_the_last_older_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
