/* SPDX-License-Identifier: Apache-2.0 */
/* test_group_cache.c - bounded, shared, and never frees what is in use. */
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include "tests/unit/block/block_support.h"

#define ENTRY_BYTES 1000u

static uint8_t *make_data(uint64_t block_id, uint64_t offset)
{
    uint8_t *data = nx_alloc(ENTRY_BYTES);
    memset(data, (int)(block_id * 31 + offset), ENTRY_BYTES);
    return data;
}

static bool is_data(struct nx_bytes data, uint64_t block_id, uint64_t offset)
{
    for (size_t i = 0; i < data.len; i++)
        if (data.data[i] != (uint8_t)(block_id * 31 + offset))
            return false;
    return data.len == ENTRY_BYTES;
}

static void test_what_was_put_is_got(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(1 << 20);
    assert_null(group_cache_get(cache, 1, 0));
    for (uint64_t i = 0; i < 200; i++) {
        struct group_cache_entry *put =
            group_cache_put(cache, i % 3, i, make_data(i % 3, i), ENTRY_BYTES);
        struct group_cache_entry *got = group_cache_get(cache, i % 3, i);
        assert_ptr_equal(put, got);
        assert_true(is_data(group_cache_data(got), i % 3, i));
        group_cache_release(cache, put);
        group_cache_release(cache, got);
    }
    assert_true(group_cache_bytes(cache) >= 200 * ENTRY_BYTES);
    group_cache_free(cache);
}

static void test_the_second_to_put_gets_the_first(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(1 << 20);
    struct group_cache_entry *first = group_cache_put(cache, 1, 5, make_data(1, 5), ENTRY_BYTES);
    struct group_cache_entry *second = group_cache_put(cache, 1, 5, make_data(1, 5), ENTRY_BYTES);
    assert_ptr_equal(first, second);
    group_cache_release(cache, first);
    group_cache_release(cache, second);
    group_cache_free(cache);
}

static void test_the_bound_holds_and_what_is_in_use_stays(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(50 * ENTRY_BYTES);
    struct group_cache_entry *held = group_cache_put(cache, 9, 9, make_data(9, 9), ENTRY_BYTES);
    for (uint64_t i = 0; i < 5000; i++)
        group_cache_release(cache, group_cache_put(cache, 1, i, make_data(1, i), ENTRY_BYTES));
    assert_true(group_cache_bytes(cache) <= 50 * ENTRY_BYTES);
    assert_true(group_cache_bytes(cache) >= 30 * ENTRY_BYTES);
    struct group_cache_entry *again = group_cache_get(cache, 9, 9);
    assert_ptr_equal(again, held);
    assert_true(is_data(group_cache_data(held), 9, 9));
    group_cache_release(cache, again);
    group_cache_release(cache, held);
    group_cache_free(cache);
}

static void test_a_smaller_bound_holds_at_once(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(500 * ENTRY_BYTES);
    for (uint64_t i = 0; i < 300; i++)
        group_cache_release(cache, group_cache_put(cache, 1, i, make_data(1, i), ENTRY_BYTES));
    assert_true(group_cache_bytes(cache) >= 300 * ENTRY_BYTES);
    group_cache_set_max(cache, 20 * ENTRY_BYTES);
    assert_true(group_cache_bytes(cache) <= 20 * ENTRY_BYTES);
    group_cache_set_max(cache, 500 * ENTRY_BYTES);
    for (uint64_t i = 0; i < 300; i++)
        group_cache_release(cache, group_cache_put(cache, 2, i, make_data(2, i), ENTRY_BYTES));
    assert_true(group_cache_bytes(cache) >= 300 * ENTRY_BYTES);
    group_cache_set_max(cache, 0);
    assert_int_equal(group_cache_bytes(cache), 0);
    group_cache_free(cache);
}

/* What is asked for often survives a walk over everything else. */
static void test_the_recent_survive(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(50 * ENTRY_BYTES);
    group_cache_release(cache, group_cache_put(cache, 2, 1, make_data(2, 1), ENTRY_BYTES));
    for (uint64_t i = 0; i < 1000; i++) {
        group_cache_release(cache, group_cache_put(cache, 1, i, make_data(1, i), ENTRY_BYTES));
        struct group_cache_entry *hot = group_cache_get(cache, 2, 1);
        assert_non_null(hot);
        group_cache_release(cache, hot);
    }
    group_cache_free(cache);
}

static void test_dropping_a_block(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(1 << 20);
    struct group_cache_entry *held = group_cache_put(cache, 1, 0, make_data(1, 0), ENTRY_BYTES);
    for (uint64_t i = 1; i < 100; i++)
        group_cache_release(
            cache, group_cache_put(cache, 1 + i % 2, i, make_data(1 + i % 2, i), ENTRY_BYTES));
    group_cache_drop_block(cache, 1);
    for (uint64_t i = 0; i < 100; i++) {
        struct group_cache_entry *entry = group_cache_get(cache, 1 + i % 2, i);
        assert_int_equal(entry != NULL, i % 2 == 1);
        if (entry != NULL)
            group_cache_release(cache, entry);
    }
    assert_true(is_data(group_cache_data(held), 1, 0));
    group_cache_release(cache, held);
    group_cache_drop_block(cache, 2);
    assert_int_equal(group_cache_bytes(cache), 0);
    group_cache_drop_block(cache, 3);
    group_cache_free(cache);
}

struct worker {
    struct group_cache *cache;
    uint64_t seed;
    bool is_good;
};

static void work(void *argument)
{
    struct worker *worker = argument;
    struct rand_state rand;
    rand_seed(&rand, worker->seed);
    worker->is_good = true;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t block_id = rand_below(&rand, 3), offset = rand_below(&rand, 100);
        if (rand_below(&rand, 2000) == 0)
            group_cache_drop_block(worker->cache, block_id);
        struct group_cache_entry *entry = group_cache_get(worker->cache, block_id, offset);
        if (entry == NULL)
            entry = group_cache_put(worker->cache, block_id, offset, make_data(block_id, offset),
                                    ENTRY_BYTES);
        worker->is_good &= is_data(group_cache_data(entry), block_id, offset);
        group_cache_release(worker->cache, entry);
    }
}

static void test_many_threads_share_it(void **state)
{
    (void)state;
    struct group_cache *cache = group_cache_new(100 * ENTRY_BYTES);
    struct worker workers[4];
    struct nx_thread threads[4];
    struct nx_err err;
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){cache, i + 1, false};
        assert_int_equal(thread_start(&threads[i], "cache", work, &workers[i], &err), NX_OK);
    }
    for (unsigned i = 0; i < 4; i++) {
        thread_join(&threads[i]);
        assert_true(workers[i].is_good);
    }
    group_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_got),
        cmocka_unit_test(test_the_second_to_put_gets_the_first),
        cmocka_unit_test(test_the_bound_holds_and_what_is_in_use_stays),
        cmocka_unit_test(test_a_smaller_bound_holds_at_once),
        cmocka_unit_test(test_the_recent_survive),
        cmocka_unit_test(test_dropping_a_block),
        cmocka_unit_test(test_many_threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
