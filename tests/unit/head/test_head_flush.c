/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_flush.c - order, definitions, what leaves and what stays over flushes that succeed and fail. */
#include "head_support.h"

#include <stdio.h>
#include <string.h>

#define T0 INT64_C(1700000000000)

static void make(struct test_labels *labels, int i)
{
    char text[100];
    snprintf(text, sizeof(text), "__name__=metric_%d,job=j%d,pod=p-%d", i % 17, i % 5, i);
    test_labels_make(labels, text);
}

static size_t definitions_pending(struct head *head)
{
    size_t definitions;
    test_drop_pending(head, &definitions);
    return definitions;
}

/* New series of several flushes, few and many at a time, end up in one order. */
static void test_flush_hands_out_label_order_as_series_come(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    int known = 0;
    static const int batches[] = {3, 1000, 1, 40, 3000, 2, 200};
    for (size_t b = 0; b < NX_ARRAY_LEN(batches); b++) {
        int next = known + batches[b];
        for (int i = 0; i < next; i++) {
            struct test_labels labels;
            make(&labels, (i * 7919) % 100003);
            test_write(head, NULL, labels.labels, T0 + (int64_t)b * 1000, i);
        }
        known = next;
        struct head_flush *flush;
        struct head_flush_series series;
        struct nx_err err;
        struct arena arena;
        struct labels before = {0};
        arena_init(&arena, 0);
        assert_int_equal(head_flush_begin(head, &flush, &err), NX_OK);
        int count = 0;
        while (head_flush_next(flush, &series, &err) > 0) {
            assert_int_equal(series.count, 1);
            assert_true(count == 0 || labels_compare(before, series.labels) < 0);
            before = labels_copy(&arena, series.labels);
            count++;
        }
        assert_int_equal(count, known);
        head_flush_end(flush, true);
        arena_deinit(&arena);
    }
    head_free(head);
}

static void test_flush_undefines_only_series_without_data(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels a;
    struct test_labels b;
    make(&a, 1);
    make(&b, 2);
    test_write(head, NULL, a.labels, T0, 1);
    test_write(head, NULL, b.labels, T0, 1);
    assert_int_equal(definitions_pending(head), 2);
    test_flush(head, true, NULL);
    test_write(head, NULL, a.labels, T0 + 1, 1);
    assert_int_equal(definitions_pending(head), 0); /* the block has it */
    test_flush(head, true, NULL);                   /* only a */
    test_write(head, NULL, a.labels, T0 + 2, 1);
    test_write(head, NULL, b.labels, T0 + 2, 1);
    assert_int_equal(definitions_pending(head), 1);
    head_free(head);
}

static void test_flush_by_ref_defines_again_without_labels(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels a;
    make(&a, 1);
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    test_write(head, &ref, a.labels, T0, 1);
    test_flush(head, true, NULL);
    test_flush(head, true, NULL);
    test_drop_pending(head, NULL);
    test_write(head, &ref, (struct labels){0}, T0 + 1, 1);
    assert_int_equal(definitions_pending(head), 1);
    head_free(head);
}

static void test_flush_given_up_is_taken_by_the_next(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels a;
    struct test_labels b;
    make(&a, 1);
    make(&b, 2);
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    for (int i = 0; i < 30; i++)
        test_write(head, &ref, a.labels, T0 + i * 1000, i);
    test_write(head, NULL, b.labels, T0, 5);
    test_write(head, &ref, a.labels, T0 + 10, 6); /* late */
    for (int round = 0; round < 3; round++) {
        assert_int_equal(test_flush(head, false, NULL), 32 + round * 2);
        test_write(head, &ref, a.labels, T0 + 50000 + round * 1000, round);
        test_write(head, &ref, a.labels, T0 + 50 + round, round);
        struct test_columns columns = test_read(head, ref, INT64_MIN, INT64_MAX);
        assert_int_equal(columns.count, 33 + round * 2);
        test_columns_deinit(&columns);
    }
    size_t series;
    assert_int_equal(test_flush(head, true, &series), 38);
    assert_int_equal(series, 2);
    assert_int_equal(test_flush(head, true, &series), 0);
    assert_int_equal(series, 0);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.unflushed_samples, 0);
    assert_true(stats.min_time_ms == INT64_MAX && stats.max_time_ms == INT64_MIN);
    head_free(head);
}

static void test_flush_series_leaves_after_two_without_samples(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct head_stats stats;
    struct test_labels a;
    make(&a, 1);
    test_write(head, NULL, a.labels, T0, 1);
    test_flush(head, true, NULL); /* with its sample */
    test_flush(head, true, NULL); /* the one before had it */
    head_stats(head, &stats);
    assert_int_equal(stats.series, 1);
    test_flush(head, false, NULL); /* not published: does not count */
    head_stats(head, &stats);
    assert_int_equal(stats.series, 1);
    test_flush(head, true, NULL);
    head_stats(head, &stats);
    assert_int_equal(stats.series, 0);
    assert_int_equal(stats.series_removed, 1);
    head_free(head);
}

static void test_flush_without_leaving_keeps_series_however_often(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct head_stats stats;
    struct test_labels a;
    make(&a, 1);
    test_write(head, NULL, a.labels, T0, 1);
    head_set_leaving(head, false);
    for (unsigned i = 0; i < 6; i++)
        test_flush(head, true, NULL);
    head_stats(head, &stats);
    assert_int_equal(stats.series, 1);
    head_set_leaving(head, true);
    test_flush(head, true, NULL); /* the one before counts as having had it */
    head_stats(head, &stats);
    assert_int_equal(stats.series, 1);
    test_flush(head, true, NULL);
    head_stats(head, &stats);
    assert_int_equal(stats.series, 0);
    head_free(head);
}

/* A sample that comes while the flush runs keeps its series. */
static void test_flush_sample_meanwhile_keeps_the_series(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels a;
    struct nx_err err;
    make(&a, 1);
    test_write(head, NULL, a.labels, T0, 1);
    test_flush(head, true, NULL);
    test_flush(head, true, NULL);
    struct head_flush *flush;
    struct head_flush_series series;
    assert_int_equal(head_flush_begin(head, &flush, &err), NX_OK);
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    test_write(head, &ref, a.labels, T0 + 1, 1);
    assert_int_equal(head_flush_next(flush, &series, &err), 0);
    head_flush_end(flush, true);
    struct test_columns columns = test_read(head, ref, INT64_MIN, INT64_MAX);
    assert_int_equal(columns.count, 1);
    test_columns_deinit(&columns);
    assert_int_equal(test_flush(head, true, NULL), 1);
    head_free(head);
}

/* Pairs of series that left are forgotten; those of others stay, and come back by the same text. */
static void test_flush_forgets_pairs_of_series_that_left(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct head_stats stats;
    uint64_t bytes_index = 0;
    for (int life = 0; life < 30; life++) {
        for (int i = 0; i < 500; i++) {
            struct test_labels labels;
            make(&labels, life * 500 + i);
            test_write(head, NULL, labels.labels, T0 + life * 1000, i);
        }
        test_flush(head, true, NULL);
        test_drop_pending(head, NULL);
        head_stats(head, &stats);
        assert_true(stats.series <= 1500);
        if (life == 5)
            bytes_index = stats.bytes_index;
    }
    assert_true(stats.bytes_index <= bytes_index + 70000);
    struct arena arena;
    struct nx_str *values;
    struct nx_err err;
    size_t count;
    arena_init(&arena, 0);
    assert_int_equal(head_label_values(head, NX_STR("pod"), &arena, &values, &count, &err), NX_OK);
    assert_int_equal(count, stats.series);
    assert_int_equal(head_label_values(head, NX_STR("job"), &arena, &values, &count, &err), NX_OK);
    assert_int_equal(count, 5);
    for (int i = 0; i < 3; i++)
        test_flush(head, true, NULL);
    assert_int_equal(head_label_names(head, &arena, &values, &count, &err), NX_OK);
    assert_int_equal(count, 0);
    arena_deinit(&arena);
    head_free(head);
}

/* Memory of sealed chunks is given back or reused: it does not grow from flush to flush. */
static void test_flush_chunk_memory_does_not_grow(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct head_stats stats;
    struct rand_state rand;
    uint64_t after_second = 0;
    rand_seed(&rand, 1);
    for (int flush = 0; flush < 12; flush++) {
        for (int k = 0; k < 40; k++) {
            for (int i = 0; i < 200; i++) {
                struct test_labels labels;
                make(&labels, i);
                test_write(head, NULL, labels.labels, T0 + (flush * 40 + k) * 1000,
                           rand_unit(&rand));
            }
        }
        test_drop_pending(head, NULL);
        test_flush(head, true, NULL);
        head_stats(head, &stats);
        if (flush == 1)
            after_second = stats.bytes_chunks;
    }
    assert_int_equal(stats.bytes_chunks, after_second);
    head_free(head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flush_hands_out_label_order_as_series_come),
        cmocka_unit_test(test_flush_undefines_only_series_without_data),
        cmocka_unit_test(test_flush_by_ref_defines_again_without_labels),
        cmocka_unit_test(test_flush_given_up_is_taken_by_the_next),
        cmocka_unit_test(test_flush_series_leaves_after_two_without_samples),
        cmocka_unit_test(test_flush_without_leaving_keeps_series_however_often),
        cmocka_unit_test(test_flush_sample_meanwhile_keeps_the_series),
        cmocka_unit_test(test_flush_forgets_pairs_of_series_that_left),
        cmocka_unit_test(test_flush_chunk_memory_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
