/* SPDX-License-Identifier: Apache-2.0 */
/* test_admission.c - new series are refused for memory and for their rate; known ones and loaded ones are not. */
#include "narthex/base/mem_budget.h"
#include "narthex/base/metrics.h"

#include "storage_support.h"

#include <stdio.h>
#include <string.h>

#define MIB UINT64_C(1048576)

static void fill(struct test_request *request, unsigned first, unsigned count, int64_t time_ms)
{
    request->count = count;
    for (unsigned i = 0; i < count; i++) {
        request->series[i] = first + i;
        request->samples[i] = (struct sample){.time_ms = time_ms, .value = 1};
    }
}

static uint64_t series_of(struct store *store)
{
    struct store_stats stats;
    store_stats(store, &stats);
    return stats.head.series;
}

static void write_all(struct store *store, unsigned first, unsigned count, int64_t time_ms,
                      struct twin *twin)
{
    struct test_request request;
    fill(&request, first, count, time_ms);
    assert_int_equal(store_test_write(store, &request, twin), NX_OK);
}

static void test_new_series_are_taken_at_their_rate_and_those_of_a_start_do_not_count(void **state)
{
    (void)state;
    struct store_scratch scratch;
    struct store_open_result result;
    struct twin twin = {0};
    store_scratch_make(&scratch);
    scratch.options.new_series_per_minute = 20;
    struct store *store = store_test_open(&scratch, &result);
    int64_t now_ms = clock_wall_ms(&scratch.clock.clock);
    write_all(store, 0, 15, now_ms, &twin);
    write_all(store, 0, 30, now_ms + 1, &twin);
    assert_int_equal(series_of(store), 20);
    write_all(store, 0, 15, now_ms + 2, &twin); /* known ones */
    clock_manual_advance(&scratch.clock, 30000);
    write_all(store, 0, 64, now_ms + 3, &twin);
    assert_int_equal(series_of(store), 30);
    store_test_close(store);
    store = store_test_open(&scratch, &result);
    assert_int_equal(series_of(store), 30);
    write_all(store, 0, 64, now_ms + 4, &twin);
    assert_int_equal(series_of(store), 50);
    store_test_compare(store, &twin, now_ms, now_ms + 100);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

static uint64_t fake_memory(void *context)
{
    return *(uint64_t *)context;
}

static void test_known_series_flow_while_memory_is_short(void **state)
{
    (void)state;
    struct store_scratch scratch;
    struct store_open_result result;
    struct twin twin = {0};
    struct mem_budget budget;
    uint64_t memory = 10 * MIB;
    mem_budget_init(&budget, 100 * MIB, (struct mem_measure){fake_memory, &memory});
    store_scratch_make(&scratch);
    scratch.options.budget = &budget;
    struct store *store = store_test_open(&scratch, &result);
    int64_t now_ms = clock_wall_ms(&scratch.clock.clock);
    write_all(store, 0, 10, now_ms, &twin);
    memory = 80 * MIB;
    assert_int_equal(mem_budget_tick(&budget), MEM_STATE_NO_SERIES);
    write_all(store, 0, 20, now_ms + 1, &twin);
    assert_int_equal(series_of(store), 10);
    memory = 96 * MIB;
    assert_int_equal(mem_budget_tick(&budget), MEM_STATE_NO_WRITES);
    struct test_request request;
    fill(&request, 0, 10, now_ms + 2);
    assert_int_equal(store_test_write(store, &request, &twin), NX_E_BUSY);
    memory = 10 * MIB;
    assert_int_equal(mem_budget_tick(&budget), MEM_STATE_NORMAL);
    write_all(store, 0, 20, now_ms + 3, &twin);
    assert_int_equal(series_of(store), 20);
    store_test_compare(store, &twin, now_ms, now_ms + 100);
    store_test_close(store);
    twin_deinit(&twin);
    store_scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_series_are_taken_at_their_rate_and_those_of_a_start_do_not_count),
        cmocka_unit_test(test_known_series_flow_while_memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
