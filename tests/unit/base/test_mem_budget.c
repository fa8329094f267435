/* SPDX-License-Identifier: Apache-2.0 */
/* test_mem_budget.c - the states follow usage with some inertia, and each refusal follows its state. */
#include "narthex/base/mem_budget.h"
#include "narthex/base/metrics.h"

#include "base_support.h"

#include <string.h>

#define MIB UINT64_C(1048576)

struct fake {
    struct mem_budget budget;
    uint64_t measured;
};

static uint64_t measure(void *context)
{
    const struct fake *fake = context;
    return fake->measured;
}

static void fake_init(struct fake *fake, uint64_t limit_bytes)
{
    fake->measured = 0;
    mem_budget_init(&fake->budget, limit_bytes, (struct mem_measure){measure, fake});
}

static enum mem_state tick_at(struct fake *fake, uint64_t measured)
{
    fake->measured = measured;
    enum mem_state state = mem_budget_tick(&fake->budget);
    assert_int_equal(state, mem_budget_state(&fake->budget));
    return state;
}

static void test_mem_budget_states_rise_in_order_and_fall_with_inertia(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 100 * MIB);
    assert_int_equal(tick_at(&fake, 64 * MIB), MEM_STATE_NORMAL);
    assert_int_equal(tick_at(&fake, 65 * MIB), MEM_STATE_SHRINK);
    assert_int_equal(tick_at(&fake, 63 * MIB), MEM_STATE_SHRINK);
    assert_int_equal(tick_at(&fake, 61 * MIB), MEM_STATE_NORMAL);
    assert_int_equal(tick_at(&fake, 70 * MIB), MEM_STATE_FLUSH);
    assert_int_equal(tick_at(&fake, 75 * MIB), MEM_STATE_NO_SERIES);
    assert_int_equal(tick_at(&fake, 73 * MIB), MEM_STATE_NO_SERIES);
    assert_int_equal(tick_at(&fake, 71 * MIB), MEM_STATE_FLUSH);
    assert_int_equal(tick_at(&fake, 85 * MIB), MEM_STATE_NO_QUERIES);
    assert_int_equal(tick_at(&fake, 120 * MIB), MEM_STATE_NO_WRITES);
    assert_int_equal(tick_at(&fake, 93 * MIB), MEM_STATE_NO_WRITES);
    assert_int_equal(tick_at(&fake, 83 * MIB), MEM_STATE_NO_QUERIES);
    assert_int_equal(tick_at(&fake, 0), MEM_STATE_NORMAL);
    assert_string_equal(mem_state_name(MEM_STATE_NO_SERIES), "no_series");
}

static void test_mem_budget_takes_the_larger_of_told_and_measured_and_adds_the_reserve(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 100 * MIB);
    mem_budget_note(&fake.budget, MEM_KIND_HEAD, 40 * MIB);
    mem_budget_note(&fake.budget, MEM_KIND_BODIES, 20 * MIB);
    tick_at(&fake, 10 * MIB);
    assert_int_equal(fake.budget.usage_bytes, 60 * MIB);
    tick_at(&fake, 61 * MIB);
    assert_int_equal(fake.budget.usage_bytes, 61 * MIB);
    mem_budget_note(&fake.budget, MEM_KIND_RESERVE, 14 * MIB);
    assert_int_equal(tick_at(&fake, 61 * MIB), MEM_STATE_NO_SERIES);
    assert_int_equal(tick_at(&fake, 94 * MIB),
                     MEM_STATE_NO_QUERIES); /* the reserve puts no write off */
    assert_int_equal(tick_at(&fake, 95 * MIB), MEM_STATE_NO_WRITES);
    mem_budget_note(&fake.budget, MEM_KIND_HEAD, 0);
    assert_int_equal(tick_at(&fake, 0), MEM_STATE_NORMAL);
    assert_int_equal(fake.budget.usage_bytes, 34 * MIB);
}

static void test_mem_budget_admits_series_up_to_the_line_between_two_ticks(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 100 * MIB);
    tick_at(&fake, 74 * MIB);
    uint64_t before = metrics_get(METRIC_MEMORY_REFUSED);
    unsigned admitted = 0;
    for (unsigned i = 0; i < 2000; i++)
        admitted += mem_budget_admit_series(&fake.budget, 1024);
    assert_int_equal(admitted, 1024);
    assert_int_equal(metrics_get(METRIC_MEMORY_REFUSED) - before, 2000 - 1024);
    tick_at(&fake, 74 * MIB);
    assert_true(mem_budget_admit_series(&fake.budget, 1024));
    tick_at(&fake, 75 * MIB);
    assert_false(mem_budget_admit_series(&fake.budget, 1));
    tick_at(&fake, 71 * MIB);
    assert_true(mem_budget_admit_series(&fake.budget, 1024));
}

static void test_mem_budget_refuses_queries_and_writes_with_the_reason(void **state)
{
    (void)state;
    struct fake fake;
    struct nx_err err;
    fake_init(&fake, 100 * MIB);
    tick_at(&fake, 84 * MIB);
    assert_int_equal(mem_budget_check_query(&fake.budget, &err), NX_OK);
    tick_at(&fake, 85 * MIB);
    assert_int_equal(mem_budget_check_query(&fake.budget, &err), NX_E_BUSY);
    assert_non_null(strstr(err.msg, "--storage.memory-limit=104857600"));
    assert_int_equal(mem_budget_check_write(&fake.budget, &err), NX_OK);
    tick_at(&fake, 95 * MIB);
    assert_int_equal(mem_budget_check_write(&fake.budget, &err), NX_E_BUSY);
    assert_non_null(strstr(err.msg, "memory is short"));
    assert_int_equal(mem_budget_check_query(NULL, &err), NX_OK);
    assert_int_equal(mem_budget_check_write(NULL, &err), NX_OK);
}

static void test_mem_budget_queries_share_a_quarter_and_no_more_than_is_left(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake, 100 * MIB);
    tick_at(&fake, 10 * MIB);
    assert_int_equal(fake.budget.queries.max_bytes, 25 * MIB);
    tick_at(&fake, 85 * MIB);
    assert_int_equal(fake.budget.queries.max_bytes, 5 * MIB);
    tick_at(&fake, 200 * MIB);
    assert_int_equal(fake.budget.queries.max_bytes, 0);

    struct arena arena;
    tick_at(&fake, 10 * MIB);
    arena_init(&arena, 0);
    arena.pool = &fake.budget.queries;
    assert_non_null(arena_alloc(&arena, 20 * MIB));
    assert_true(fake.budget.queries.used_bytes >= 20 * MIB);
    assert_false(arena_is_starved(&arena));
    assert_null(arena_alloc(&arena, 6 * MIB));
    assert_true(arena_is_exhausted(&arena) && arena_is_starved(&arena));
    tick_at(&fake, 10 * MIB);
    assert_true(fake.budget.usage_bytes >= 20 * MIB);
    arena_deinit(&arena);
    assert_int_equal(fake.budget.queries.used_bytes, 0);
    assert_false(arena_is_starved(&arena));
}

static void test_mem_share_is_kept_between_its_bounds(void **state)
{
    (void)state;
    assert_int_equal(mem_share(1000, 10, 1, 500), 100);
    assert_int_equal(mem_share(1000, 10, 200, 500), 200);
    assert_int_equal(mem_share(10000, 10, 1, 500), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem_budget_states_rise_in_order_and_fall_with_inertia),
        cmocka_unit_test(
            test_mem_budget_takes_the_larger_of_told_and_measured_and_adds_the_reserve),
        cmocka_unit_test(test_mem_budget_admits_series_up_to_the_line_between_two_ticks),
        cmocka_unit_test(test_mem_budget_refuses_queries_and_writes_with_the_reason),
        cmocka_unit_test(test_mem_budget_queries_share_a_quarter_and_no_more_than_is_left),
        cmocka_unit_test(test_mem_share_is_kept_between_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
