/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_load.c - a start from a block's series and the journal, and what damaged ones cannot do. */
#include "head_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 INT64_C(1700000000000)

static void make(struct test_labels *labels, int i)
{
    char text[100];
    snprintf(text, sizeof(text), "__name__=metric_%d,job=j%d,pod=p-%d", i % 17, i % 5, i);
    test_labels_make(labels, text);
}

static uint32_t slot_in_shard_of(struct labels labels, uint32_t local)
{
    return local * HEAD_SHARD_COUNT + (uint32_t)(labels_hash(labels) % HEAD_SHARD_COUNT);
}

static void replay_one(struct head *head, uint32_t slot, int64_t time_ms, double value)
{
    struct nx_err err;
    uint64_t bits = float_bits(value);
    assert_int_equal(head_journal_visitor.samples(head, &slot, &time_ms, &bits, 1, &err), NX_OK);
}

static size_t select_all(struct head *head, struct arena *arena, struct head_series **out)
{
    struct nx_err err;
    size_t count;
    assert_int_equal(head_select(head, NULL, 0, INT64_MIN, INT64_MAX, arena, out, &count, &err),
                     NX_OK);
    return count;
}

static int compare_labels(const void *left, const void *right)
{
    return labels_compare((*(struct test_labels *const *)left)->labels,
                          (*(struct test_labels *const *)right)->labels);
}

/* Loaded in label order or not: slots stay, selects and the next flush are in order, lists of slots are right. */
static void run_load(bool is_ordered)
{
    enum { SERIES = 3000 };
    struct head *head = test_head_new(0);
    struct nx_err err;
    struct test_labels *labels = nx_calloc(SERIES, sizeof(*labels));
    struct test_labels **copies = nx_calloc(SERIES, sizeof(*copies)); /* views do not move */
    for (int i = 0; i < SERIES; i++) {
        make(&labels[i], i);
        copies[i] = &labels[i];
    }
    if (is_ordered)
        qsort(copies, SERIES, sizeof(*copies), compare_labels);
    for (int i = 0; i < SERIES; i++) {
        uint32_t slot = slot_in_shard_of(copies[i]->labels, (uint32_t)i);
        assert_int_equal(head_load_series(head, slot, copies[i]->labels, &err), NX_OK);
    }
    for (int i = 0; i < SERIES; i += 3)
        replay_one(head, slot_in_shard_of(copies[i]->labels, (uint32_t)i), T0 + i, i);
    head_load_finish(head);
    struct arena arena;
    arena_init(&arena, 0);
    struct head_series *found;
    assert_int_equal(select_all(head, &arena, &found), SERIES / 3);
    for (size_t i = 1; i < SERIES / 3; i++)
        assert_true(labels_compare(found[i - 1].labels, found[i].labels) < 0);
    struct matcher matcher;
    assert_int_equal(matcher_init(&matcher, MATCHER_EQUAL, NX_STR("job"), NX_STR("j2"), &err),
                     NX_OK);
    size_t count;
    assert_int_equal(
        head_select(head, &matcher, 1, INT64_MIN, INT64_MAX, &arena, &found, &count, &err), NX_OK);
    size_t want = 0;
    for (int i = 0; i < SERIES; i += 3)
        want += matchers_match(&matcher, 1, copies[i]->labels);
    assert_int_equal(count, want);
    /* All are defined by the block that they came from; the slots in between are free and used first. */
    for (int i = 0; i < SERIES; i++) {
        struct series_ref ref = {.slot = HEAD_SLOT_NONE};
        test_write(head, &ref, copies[i]->labels, T0 + 100000, 1);
        assert_int_equal(ref.slot, slot_in_shard_of(copies[i]->labels, (uint32_t)i));
    }
    size_t definitions;
    test_drop_pending(head, &definitions);
    assert_int_equal(definitions, 0);
    struct test_labels extra;
    make(&extra, 1000000);
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    test_write(head, &ref, extra.labels, T0, 1);
    assert_true(ref.slot / HEAD_SHARD_COUNT < SERIES);
    test_drop_pending(head, &definitions);
    assert_int_equal(definitions, 1);
    size_t series;
    assert_int_equal(test_flush(head, true, &series), SERIES + SERIES / 3 + 1);
    assert_int_equal(series, SERIES + 1);
    matcher_deinit(&matcher);
    arena_deinit(&arena);
    head_free(head);
    nx_free(labels);
    nx_free(copies);
}

static void test_load_in_label_order(void **state)
{
    (void)state;
    run_load(true);
}

static void test_load_in_any_order(void **state)
{
    (void)state;
    run_load(false);
}

static void test_load_refuses_what_cannot_be(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct nx_err err;
    struct test_labels a;
    struct test_labels b;
    make(&a, 1);
    int other = 2;
    do
        make(&b, other++);
    while (labels_hash(b.labels) % HEAD_SHARD_COUNT != labels_hash(a.labels) % HEAD_SHARD_COUNT);
    uint32_t slot = slot_in_shard_of(a.labels, 7);
    assert_int_equal(head_load_series(head, slot ^ 1, a.labels, &err), NX_E_CORRUPT);
    assert_int_equal(head_load_series(head, slot | 0xf0000000u, a.labels, &err), NX_E_CORRUPT);
    assert_int_equal(head_load_series(head, slot, a.labels, &err), NX_OK);
    assert_int_equal(head_load_series(head, slot, a.labels, &err), NX_E_CORRUPT);
    assert_int_equal(head_load_series(head, slot, b.labels, &err), NX_E_CORRUPT);
    assert_int_equal(head_load_series(head, slot + HEAD_SHARD_COUNT, a.labels, &err), NX_E_CORRUPT);
    head_load_finish(head);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.series, 1);
    head_free(head);
}

static void test_replay_unknown_slots_are_counted(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    replay_one(head, 5, T0, 1);
    replay_one(head, UINT32_MAX, T0, 1);
    replay_one(head, 0x7ffffff0, T0, 1);
    head_load_finish(head);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.unknown_samples, 3);
    assert_int_equal(stats.unflushed_samples, 0);
    head_free(head);
}

static void test_replay_twice_changes_nothing(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct nx_err err;
    struct test_labels a;
    make(&a, 1);
    uint32_t slot = slot_in_shard_of(a.labels, 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(head_journal_visitor.define(head, slot, a.labels, &err), NX_OK);
        for (int i = 0; i < 50; i++)
            replay_one(head, slot, T0 + i * 1000, i);
        replay_one(head, slot, T0 + 500, 9);
    }
    head_load_finish(head);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.series, 1);
    assert_int_equal(stats.unflushed_samples, 51);
    struct test_columns columns =
        test_read(head, (struct series_ref){.slot = slot, .generation = 1}, INT64_MIN, INT64_MAX);
    assert_int_equal(columns.count, 51);
    test_columns_deinit(&columns);
    head_free(head);
}

/* A definition wins over a loaded series without samples, and is refused where samples would change their series. */
static void test_replay_definition_of_a_taken_slot(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct nx_err err;
    struct test_labels a;
    struct test_labels b;
    make(&a, 1);
    int other = 2;
    do
        make(&b, other++);
    while (labels_hash(b.labels) % HEAD_SHARD_COUNT != labels_hash(a.labels) % HEAD_SHARD_COUNT);
    uint32_t slot = slot_in_shard_of(a.labels, 3);
    assert_int_equal(head_load_series(head, slot, a.labels, &err), NX_OK);
    assert_int_equal(head_journal_visitor.define(head, slot, b.labels, &err), NX_OK);
    replay_one(head, slot, T0, 1);
    assert_int_equal(head_journal_visitor.define(head, slot, a.labels, &err), NX_E_CORRUPT);
    assert_int_equal(head_journal_visitor.define(head, slot + HEAD_SHARD_COUNT, b.labels, &err),
                     NX_E_CORRUPT);
    assert_int_equal(head_journal_visitor.define(head, slot + HEAD_SHARD_COUNT, a.labels, &err),
                     NX_OK);
    head_load_finish(head);
    struct arena arena;
    struct head_series *found;
    arena_init(&arena, 0);
    assert_int_equal(select_all(head, &arena, &found), 1);
    assert_true(labels_equal(found[0].labels, b.labels));
    size_t series;
    assert_int_equal(test_flush(head, true, &series), 1);
    arena_deinit(&arena);
    head_free(head);
}

static void test_load_nothing_then_work(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    head_load_finish(head);
    struct test_labels a;
    make(&a, 1);
    assert_int_equal(test_write(head, NULL, a.labels, T0, 1).refused[APPEND_OK], 1);
    assert_int_equal(test_flush(head, true, NULL), 1);
    head_free(head);
}

/* The limit is for new series; what was acknowledged is loaded in any case. */
static void test_load_ignores_the_series_limit(void **state)
{
    (void)state;
    struct head *head = test_head_new(2);
    struct nx_err err;
    for (int i = 0; i < 5; i++) {
        struct test_labels labels;
        make(&labels, i);
        uint32_t slot = slot_in_shard_of(labels.labels, (uint32_t)i);
        assert_int_equal(head_journal_visitor.define(head, slot, labels.labels, &err), NX_OK);
    }
    head_load_finish(head);
    struct test_labels labels;
    make(&labels, 9);
    assert_int_equal(test_write(head, NULL, labels.labels, T0, 1).refused[APPEND_SERIES_LIMIT], 1);
    make(&labels, 4);
    assert_int_equal(test_write(head, NULL, labels.labels, T0, 1).refused[APPEND_OK], 1);
    head_free(head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_in_label_order),
        cmocka_unit_test(test_load_in_any_order),
        cmocka_unit_test(test_load_refuses_what_cannot_be),
        cmocka_unit_test(test_replay_unknown_slots_are_counted),
        cmocka_unit_test(test_replay_twice_changes_nothing),
        cmocka_unit_test(test_replay_definition_of_a_taken_slot),
        cmocka_unit_test(test_load_nothing_then_work),
        cmocka_unit_test(test_load_ignores_the_series_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
