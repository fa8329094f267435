/* SPDX-License-Identifier: Apache-2.0
 *
 * test_raw_cache.c - what was inserted is found or was replaced, never mixed up; the table stays bounded.
 */
#include "narthex/base/rand.h"
#include "narthex/ingest/raw_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct nx_hash128 key_of(uint64_t i)
{
    return nx_hash128(&i, sizeof(i));
}

static void insert(struct raw_cache *cache, uint64_t i, uint32_t generation, uint64_t entries_max)
{
    struct nx_hash128 key = key_of(i);
    struct series_ref ref = {.slot = (uint32_t)i, .generation = generation};
    raw_cache_insert(cache, &key, &ref, 1, entries_max);
}

static bool find(struct raw_cache *cache, uint64_t i, struct series_ref *out_ref)
{
    struct nx_hash128 key = key_of(i);
    return raw_cache_find(cache, &key, 1, out_ref) == 1;
}

static void test_raw_cache_finds_what_was_inserted_while_it_may_grow(void **state)
{
    (void)state;
    struct raw_cache cache;
    raw_cache_init(&cache);
    for (uint64_t i = 0; i < 100000; i++)
        insert(&cache, i, 7, 200000);
    unsigned missing = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        struct series_ref ref;
        if (!find(&cache, i, &ref)) {
            missing++;
            assert_int_equal(ref.slot, HEAD_SLOT_NONE);
            continue;
        }
        assert_int_equal(ref.slot, i);
        assert_int_equal(ref.generation, 7);
    }
    print_message("%u of 100000 missing\n", missing);
    assert_true(missing < 50); /* a full window replaces: rare below three quarters of the table */
    assert_true(raw_cache_bytes(&cache) <= UINT64_C(100000) * 41);
    raw_cache_deinit(&cache);
}

static void test_raw_cache_takes_the_newest_ref_of_a_key(void **state)
{
    (void)state;
    struct raw_cache cache;
    struct series_ref ref;
    raw_cache_init(&cache);
    insert(&cache, 1, 1, 1000);
    insert(&cache, 1, 2, 1000);
    assert_true(find(&cache, 1, &ref));
    assert_int_equal(ref.generation, 2);
    raw_cache_clear(&cache);
    assert_false(find(&cache, 1, &ref));
    raw_cache_deinit(&cache);
}

static void test_raw_cache_stays_bounded_and_keeps_what_is_hit(void **state)
{
    (void)state;
    struct raw_cache cache;
    struct series_ref ref;
    raw_cache_init(&cache);
    uint64_t turn = 0;
    for (uint64_t i = 0; i < 1000000; i++) {
        insert(&cache, i, 0, 20000);
        if (i >= 1000 && i % 4 == 0) /* a thousand keys are asked for again and again */
            find(&cache, turn++ % 1000, &ref);
    }
    unsigned kept = 0;
    for (uint64_t hot = 0; hot < 1000; hot++)
        kept += find(&cache, hot, &ref);
    print_message("%u of 1000 kept\n", kept);
    assert_true(kept > 800); /* of a million that passed the rest of the table */
    assert_true(raw_cache_bytes(&cache) <= (uint64_t)65536 * 24);
    raw_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_cache_finds_what_was_inserted_while_it_may_grow),
        cmocka_unit_test(test_raw_cache_takes_the_newest_ref_of_a_key),
        cmocka_unit_test(test_raw_cache_stays_bounded_and_keeps_what_is_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
