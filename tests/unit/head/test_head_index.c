/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_index.c - pairs live, die, are pinned and collected; their lists change form and stay right. */
#include "narthex/base/hash.h"

#include "head_index.h"
#include "head_support.h"

#include <stdio.h>
#include <string.h>

#define IDS_MAX TEST_LABELS_MAX

static void intern(struct head_index *index, const char *text, uint32_t *ids, size_t *out_count)
{
    struct test_labels labels;
    uint64_t hashes[IDS_MAX];
    test_labels_make(&labels, text);
    index_hash_labels(labels.labels, hashes);
    for (size_t i = 0; i < labels.labels.count; i++)
        ids[i] = PAIR_NONE;
    mutex_lock(&index->lock);
    index_intern(index, labels.labels, hashes, ids);
    mutex_unlock(&index->lock);
    *out_count = labels.labels.count;
}

static uint32_t find(struct head_index *index, const char *name, const char *value)
{
    mutex_lock(&index->lock);
    uint32_t id = index_find_pair(index, nx_str_from(name), nx_str_from(value));
    mutex_unlock(&index->lock);
    return id;
}

static void collect(struct head_index *index)
{
    mutex_lock(&index->lock);
    index_collect(index);
    mutex_unlock(&index->lock);
}

static void change(struct head_index *index, const uint32_t *ids, size_t count, uint32_t slot,
                   bool is_added)
{
    mutex_lock(&index->lock);
    if (is_added)
        index_add_slot(index, ids, count, slot);
    else
        index_remove_slot(index, ids, count, slot);
    mutex_unlock(&index->lock);
}

static void test_index_interns_each_pair_once(void **state)
{
    (void)state;
    struct head_index index;
    uint32_t a[IDS_MAX];
    uint32_t b[IDS_MAX];
    size_t count;
    index_init(&index);
    intern(&index, "x=1,y=2", a, &count);
    intern(&index, "x=2,y=2", b, &count);
    assert_int_equal(count, 2);
    assert_int_not_equal(a[0], b[0]);
    assert_int_equal(a[1], b[1]);
    assert_int_equal(find(&index, "x", "1"), a[0]);
    assert_int_equal(find(&index, "y", "1"), PAIR_NONE);
    assert_int_equal(find(&index, "z", "1"), PAIR_NONE);
    struct label label = index_label(&index, b[0]);
    assert_true(nx_str_eq(label.name, NX_STR("x")) && nx_str_eq(label.value, NX_STR("2")));
    index_deinit(&index);
}

/* A pair may hold what its neighbour's text ends with. */
static void test_index_keeps_name_and_value_apart(void **state)
{
    (void)state;
    struct head_index index;
    uint32_t a[IDS_MAX];
    uint32_t b[IDS_MAX];
    size_t count;
    index_init(&index);
    intern(&index, "ab=c", a, &count);
    intern(&index, "a=bc", b, &count);
    assert_int_not_equal(a[0], b[0]);
    index_deinit(&index);
}

static void test_index_dead_pairs_live_again_or_are_freed(void **state)
{
    (void)state;
    struct head_index index;
    uint32_t ids[IDS_MAX];
    uint32_t again[IDS_MAX];
    size_t count;
    index_init(&index);
    intern(&index, "x=1,y=2", ids, &count);
    change(&index, ids, count, 7, true);
    change(&index, ids, count, 7, false);
    intern(&index, "x=1", again, &count);
    assert_int_equal(again[0], ids[0]);
    change(&index, again, 1, 8, true);
    collect(&index);
    assert_int_equal(find(&index, "x", "1"), ids[0]);
    assert_int_equal(find(&index, "y", "2"), PAIR_NONE);
    mutex_lock(&index.lock);
    assert_int_equal(index_find_name(&index, NX_STR("y")), PAIR_NONE);
    mutex_unlock(&index.lock);
    change(&index, again, 1, 8, false);
    collect(&index);
    assert_int_equal(find(&index, "x", "1"), PAIR_NONE);
    index_deinit(&index);
}

/* While pinned, texts stay where they are and ids are not given to others. */
static void test_index_pin_keeps_dead_pairs(void **state)
{
    (void)state;
    struct head_index index;
    uint32_t ids[IDS_MAX];
    uint32_t others[IDS_MAX];
    size_t count;
    index_init(&index);
    intern(&index, "x=old-value,y=2", ids, &count);
    change(&index, ids, count, 7, true);
    mutex_lock(&index.lock);
    index_pin(&index);
    mutex_unlock(&index.lock);
    struct label before = index_label(&index, ids[0]);
    change(&index, ids, count, 7, false);
    collect(&index);
    intern(&index, "x=new-value,y=3", others, &count);
    assert_int_not_equal(others[0], ids[0]);
    assert_true(nx_str_eq(index_label(&index, ids[0]).value, NX_STR("old-value")));
    assert_ptr_equal(index_label(&index, ids[0]).value.data, before.value.data);
    mutex_lock(&index.lock);
    index_unpin(&index);
    mutex_unlock(&index.lock);
    change(&index, others, count, 7, true);
    collect(&index);
    assert_int_equal(find(&index, "x", "old-value"), PAIR_NONE);
    assert_int_equal(find(&index, "x", "new-value"), others[0]);
    index_deinit(&index);
}

static void check_list(struct head_index *index, uint32_t id, const bool *is_in, size_t slots)
{
    struct postings *set = postings_new();
    size_t want = 0;
    mutex_lock(&index->lock);
    index_union_pair(index, id, set);
    uint32_t count = index_pair_at(index, id)->count;
    mutex_unlock(&index->lock);
    for (size_t slot = 0; slot < slots; slot++) {
        want += is_in[slot];
        assert_int_equal(postings_has(set, (uint32_t)slot), is_in[slot]);
    }
    assert_int_equal(postings_count(set), want);
    assert_int_equal(count, want);
    postings_free(set);
}

static void test_index_lists_grow_and_shrink_through_every_form(void **state)
{
    (void)state;
    enum { SLOTS = 300 };
    struct head_index index;
    struct rand_state rand;
    uint32_t ids[IDS_MAX];
    bool is_in[SLOTS] = {0};
    size_t count;
    rand_seed(&rand, 3);
    index_init(&index);
    for (int wave = 0; wave < 6; wave++) {
        intern(&index, "x=1", ids, &count);
        /* Mostly adding, then mostly removing until nothing is left. */
        for (int step = 0; step < 2000; step++) {
            uint32_t slot = (uint32_t)rand_below(&rand, SLOTS);
            bool adds = step < 600 ? rand_below(&rand, 4) != 0 : false;
            if (is_in[slot] == adds)
                continue;
            change(&index, ids, 1, slot, adds);
            is_in[slot] = adds;
            if (step % 16 == 0)
                check_list(&index, ids[0], is_in, SLOTS);
        }
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            if (is_in[slot])
                change(&index, ids, 1, slot, false);
            is_in[slot] = false;
        }
        check_list(&index, ids[0], is_in, SLOTS);
        if (wave % 2 == 0)
            collect(&index);
    }
    index_deinit(&index);
}

static void test_index_fills_lists_at_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 64, 65, 500};
    for (size_t k = 0; k < NX_ARRAY_LEN(sizes); k++) {
        struct head_index index;
        uint32_t ids[IDS_MAX];
        uint32_t slots[500];
        bool is_in[2000] = {0};
        size_t count;
        index_init(&index);
        intern(&index, "x=1", ids, &count);
        mutex_lock(&index.lock);
        for (size_t i = 0; i < sizes[k]; i++) {
            slots[i] = (uint32_t)i * 3;
            is_in[slots[i]] = true;
        }
        index_fill_pair(&index, ids[0], slots, (uint32_t)sizes[k]);
        index_fill_all(&index, slots, sizes[k]);
        mutex_unlock(&index.lock);
        check_list(&index, ids[0], is_in, 2000);
        is_in[1999] = true;
        change(&index, ids, 1, 1999, true);
        check_list(&index, ids[0], is_in, 2000);
        index_deinit(&index);
    }
}

static void test_index_bytes_are_those_of_the_pairs(void **state)
{
    (void)state;
    struct head_index index;
    uint32_t ids[IDS_MAX];
    size_t count;
    index_init(&index);
    for (int i = 0; i < 20000; i++) {
        char text[64];
        snprintf(text, sizeof(text), "x=value-%d,y=%d,z=c", i, i % 100);
        intern(&index, text, ids, &count);
        change(&index, ids, count, (uint32_t)i, true);
    }
    mutex_lock(&index.lock);
    uint64_t bytes = index_bytes(&index);
    mutex_unlock(&index.lock);
    assert_in_range(bytes, 20000 * 32, 20000 * 120);
    index_deinit(&index);
}

static int setup(void **state)
{
    (void)state;
    hash_secret_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_interns_each_pair_once),
        cmocka_unit_test(test_index_keeps_name_and_value_apart),
        cmocka_unit_test(test_index_dead_pairs_live_again_or_are_freed),
        cmocka_unit_test(test_index_pin_keeps_dead_pairs),
        cmocka_unit_test(test_index_lists_grow_and_shrink_through_every_form),
        cmocka_unit_test(test_index_fills_lists_at_once),
        cmocka_unit_test(test_index_bytes_are_those_of_the_pairs),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
