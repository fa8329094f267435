/* SPDX-License-Identifier: Apache-2.0 */
/* test_id_table.c - look-ups through growth, collisions and removal, against a plain list. */
#include "head_support.h"
#include "id_table.h"

static bool table_has(const struct id_table *table, uint32_t hash, uint32_t id)
{
    uint32_t at = hash;
    uint32_t found;
    while ((found = id_table_next(table, hash, &at)) != ID_TABLE_NONE) {
        if (found == id)
            return true;
    }
    return false;
}

static void test_id_table_empty_finds_nothing(void **state)
{
    (void)state;
    struct id_table table = {0};
    assert_false(table_has(&table, 0, 0));
    assert_false(id_table_remove(&table, 7, 1));
    assert_int_equal(id_table_bytes(&table), 0);
    id_table_deinit(&table);
    id_table_deinit(&table);
}

static void test_id_table_keeps_ids_of_one_hash_apart(void **state)
{
    (void)state;
    struct id_table table = {0};
    for (uint32_t id = 0; id < 100; id++)
        id_table_insert(&table, 42, id);
    for (uint32_t id = 0; id < 100; id += 2)
        assert_true(id_table_remove(&table, 42, id));
    for (uint32_t id = 0; id < 100; id++)
        assert_int_equal(table_has(&table, 42, id), id % 2);
    assert_int_equal(table.count, 50);
    assert_false(table_has(&table, 43, 1));
    id_table_deinit(&table);
}

/* Hashes are drawn from few, so that runs are long and wrap around the end of the table. */
static void run_random(uint64_t seed, uint32_t hash_step)
{
    enum { IDS = 4000 };
    struct rand_state rand;
    struct id_table table = {0};
    uint32_t hashes[IDS];
    bool is_in[IDS] = {0};
    uint32_t count = 0;
    rand_seed(&rand, seed);
    for (uint32_t id = 0; id < IDS; id++)
        hashes[id] = (uint32_t)rand_below(&rand, 3000) * hash_step - 1;
    for (int step = 0; step < 30000; step++) {
        uint32_t id = (uint32_t)rand_below(&rand, IDS);
        assert_int_equal(table_has(&table, hashes[id], id), is_in[id]);
        if (is_in[id]) {
            assert_true(id_table_remove(&table, hashes[id], id));
            count--;
        } else {
            id_table_insert(&table, hashes[id], id);
            count++;
        }
        is_in[id] = !is_in[id];
        assert_int_equal(table.count, count);
    }
    for (uint32_t id = 0; id < IDS; id++)
        assert_int_equal(table_has(&table, hashes[id], id), is_in[id]);
    id_table_deinit(&table);
}

static void test_id_table_equals_a_list_under_random_changes(void **state)
{
    (void)state;
    run_random(1, 1);
    run_random(2, 64);
    run_random(3, 0x9e3779b9u);
}

static void test_id_table_reserve_leaves_room(void **state)
{
    (void)state;
    struct id_table table = {0};
    id_table_reserve(&table, 200000);
    size_t bytes = id_table_bytes(&table);
    for (uint32_t id = 0; id < 200000; id++)
        id_table_insert(&table, id * 0x9e3779b9u, id);
    assert_int_equal(id_table_bytes(&table), bytes);
    assert_true(table_has(&table, 199999u * 0x9e3779b9u, 199999));
    id_table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_table_empty_finds_nothing),
        cmocka_unit_test(test_id_table_keeps_ids_of_one_hash_apart),
        cmocka_unit_test(test_id_table_equals_a_list_under_random_changes),
        cmocka_unit_test(test_id_table_reserve_leaves_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
