/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_append.c - what an append accepts, refuses and reports, and what it leaves for the journal. */
#include "head_support.h"

#include <stdio.h>
#include <string.h>

#define T0 INT64_C(1700000000000)

static void test_append_new_series_is_defined_once_and_read_back(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up,job=a");
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    for (int i = 0; i < 20; i++) {
        struct head_write write =
            test_write(head, &ref, i == 0 ? labels.labels : (struct labels){0}, T0 + i * 1000, i);
        assert_int_equal(write.refused[APPEND_OK], 1);
    }
    size_t definitions;
    assert_int_equal(test_drop_pending(head, &definitions), 20);
    assert_int_equal(definitions, 1);
    struct test_columns columns = test_read(head, ref, T0 + 3000, T0 + 12000);
    assert_int_equal(columns.count, 10);
    for (size_t i = 0; i < columns.count; i++) {
        assert_true(columns.times_ms[i] == T0 + 3000 + (int64_t)i * 1000);
        assert_true(columns.bits[i] == float_bits((double)(i + 3)));
    }
    test_columns_deinit(&columns);
    head_free(head);
}

static void test_append_resend_is_accepted_and_not_stored_again(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up,job=a");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 30; i++) {
            struct head_write write = test_write_bits(head, NULL, labels.labels, T0 + i * 1000,
                                                      i % 7 == 0 ? STALE_NAN_BITS : float_bits(i));
            assert_int_equal(write.refused[APPEND_OK], 1);
        }
        assert_int_equal(test_drop_pending(head, NULL), round == 0 ? 30 : 0);
    }
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.unflushed_samples, 30);
    assert_int_equal(stats.late_samples, 0);
    head_free(head);
}

/* The same time with other bits, wherever the first is: pending, stream, late list, sealed, last of a flushed
 * series. */
static void test_append_conflict_is_found_everywhere(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    struct nx_err err;
    test_labels_make(&labels, "__name__=up,job=a");
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    for (int i = 0; i < 20; i++)
        test_write(head, &ref, labels.labels, T0 + i * 1000, i);
    test_write(head, &ref, labels.labels, T0 + 500, 77); /* late */
    struct head_flush *flush;
    assert_int_equal(head_flush_begin(head, &flush, &err), NX_OK);
    for (int i = 20; i < 40; i++)
        test_write(head, &ref, labels.labels, T0 + i * 1000, i);
    test_write(head, &ref, labels.labels, T0 + 1500, 78);
    test_drop_pending(head, NULL);
    static const struct {
        int64_t after_ms;
        double stored;
    } places[] = {{0, 0},      {19000, 19}, {500, 77},  {20000, 20},
                  {38000, 38}, {39000, 39}, {1500, 78}, {7000, 7}};
    for (size_t i = 0; i < NX_ARRAY_LEN(places); i++) {
        struct head_write write =
            test_write(head, &ref, labels.labels, T0 + places[i].after_ms, -1);
        assert_int_equal(write.refused[APPEND_CONFLICT], 1);
        assert_int_equal(write.refused[APPEND_OK], 0);
        assert_true(write.conflict_value == places[i].stored);
        assert_true(write.refused_first.time_ms == T0 + places[i].after_ms);
        assert_true(write.refused_first.value == -1);
        write = test_write(head, &ref, labels.labels, T0 + places[i].after_ms, places[i].stored);
        assert_int_equal(write.refused[APPEND_OK], 1);
    }
    assert_int_equal(test_drop_pending(head, NULL), 0);
    struct head_flush_series series;
    while (head_flush_next(flush, &series, &err) > 0)
        assert_int_equal(series.count, 21);
    head_flush_end(flush, true);
    test_flush(head, true, NULL);
    struct head_write write = test_write(head, &ref, labels.labels, T0 + 39000, -1);
    assert_int_equal(write.refused[APPEND_CONFLICT], 1);
    assert_true(write.conflict_value == 39);
    /* What has left the head is stored again; the merge counts it. */
    write = test_write(head, &ref, labels.labels, T0 + 7000, -1);
    assert_int_equal(write.refused[APPEND_OK], 1);
    head_free(head);
}

static void test_append_bounds_refuse_with_example(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up");
    struct sample samples[] = {{100, 1}, {50, 2}, {300, 3}, {150, 4}, {1000, 5}, {200, 6}};
    struct head_write write = {.ref = {.slot = HEAD_SLOT_NONE},
                               .labels = labels.labels,
                               .samples = samples,
                               .sample_count = NX_ARRAY_LEN(samples)};
    head_append(head, &write, 1, 100, 300);
    assert_int_equal(write.refused[APPEND_OK], 4);
    assert_int_equal(write.refused[APPEND_TOO_OLD], 1);
    assert_int_equal(write.refused[APPEND_FUTURE], 1);
    assert_true(write.refused_first.time_ms == 50 && write.refused_first.value == 2);
    struct test_columns columns = test_read(head, write.ref, INT64_MIN, INT64_MAX);
    assert_int_equal(columns.count, 4);
    assert_true(columns.times_ms[0] == 100 && columns.times_ms[3] == 300);
    test_columns_deinit(&columns);
    head_free(head);
}

static void test_append_out_of_bounds_makes_no_series(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up");
    struct sample samples[] = {{1, 1}, {900, 2}};
    struct head_write write = {.ref = {.slot = HEAD_SLOT_NONE},
                               .labels = labels.labels,
                               .samples = samples,
                               .sample_count = 2};
    head_append(head, &write, 1, 100, 300);
    assert_int_equal(write.refused[APPEND_TOO_OLD], 1);
    assert_int_equal(write.refused[APPEND_FUTURE], 1);
    assert_int_equal(write.ref.slot, HEAD_SLOT_NONE);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.series, 0);
    head_free(head);
}

static void test_append_series_limit_refuses_new_and_keeps_known(void **state)
{
    (void)state;
    struct head *head = test_head_new(10);
    struct test_labels labels[12];
    for (int i = 0; i < 12; i++) {
        char text[64];
        snprintf(text, sizeof(text), "__name__=m,i=%d", i);
        test_labels_make(&labels[i], text);
        struct head_write write = test_write(head, NULL, labels[i].labels, T0, 1);
        assert_int_equal(write.refused[APPEND_SERIES_LIMIT], i < 10 ? 0 : 1);
        assert_int_equal(write.refused[APPEND_OK], i < 10 ? 1 : 0);
    }
    struct head_write write = test_write(head, NULL, labels[3].labels, T0 + 1, 2);
    assert_int_equal(write.refused[APPEND_OK], 1);
    /* Series that leave make room. */
    for (int i = 0; i < 3; i++)
        test_flush(head, true, NULL);
    write = test_write(head, NULL, labels[11].labels, T0 + 2, 2);
    assert_int_equal(write.refused[APPEND_OK], 1);
    head_free(head);
}

static void test_append_stale_ref_takes_nothing(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up");
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    test_write(head, &ref, labels.labels, T0, 1);
    struct series_ref old = ref;
    for (int i = 0; i < 3; i++)
        test_flush(head, true, NULL);
    struct head_write write = test_write(head, &ref, labels.labels, T0 + 1, 1);
    assert_int_equal(write.refused[APPEND_STALE_REF], 1);
    ref.slot = HEAD_SLOT_NONE;
    write = test_write(head, &ref, labels.labels, T0 + 1, 1);
    assert_int_equal(write.refused[APPEND_OK], 1);
    assert_int_equal(ref.slot, old.slot);
    assert_true(ref.generation > old.generation);
    write = test_write(head, &old, labels.labels, T0 + 2, 1);
    assert_int_equal(write.refused[APPEND_STALE_REF], 1);
    struct series_ref nowhere = {.slot = 0x7fffff0, .generation = 1};
    write = test_write(head, &nowhere, labels.labels, T0 + 2, 1);
    assert_int_equal(write.refused[APPEND_STALE_REF], 1);
    head_free(head);
}

static void test_append_late_samples_come_back_in_order(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up");
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    for (int i = 1000; i-- > 0;)
        test_write(head, &ref, labels.labels, T0 + i * 10, i);
    struct test_columns columns = test_read(head, ref, INT64_MIN, INT64_MAX);
    assert_int_equal(columns.count, 1000);
    for (size_t i = 0; i < columns.count; i++)
        assert_true(columns.times_ms[i] == T0 + (int64_t)i * 10 &&
                    columns.bits[i] == float_bits((double)i));
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.late_samples, 999);
    test_columns_deinit(&columns);
    head_free(head);
}

/* Any time that fits is taken, however far apart. */
static void test_append_extreme_times(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN,  INT64_MIN + 1, -1,       0, 1,
                                    UINT32_MAX, INT64_MAX - 1, INT64_MAX};
    struct test_labels labels;
    test_labels_make(&labels, "__name__=up");
    for (int is_backwards = 0; is_backwards < 2; is_backwards++) {
        struct head *head = test_head_new(0);
        struct series_ref ref = {.slot = HEAD_SLOT_NONE};
        size_t n = NX_ARRAY_LEN(times);
        for (size_t i = 0; i < n; i++) {
            size_t k = is_backwards ? n - 1 - i : i;
            struct head_write write = test_write(head, &ref, labels.labels, times[k], (double)k);
            assert_int_equal(write.refused[APPEND_OK], 1);
        }
        struct test_columns columns = test_read(head, ref, INT64_MIN, INT64_MAX);
        assert_int_equal(columns.count, n);
        for (size_t i = 0; i < n; i++)
            assert_true(columns.times_ms[i] == times[i] &&
                        columns.bits[i] == float_bits((double)i));
        test_columns_deinit(&columns);
        assert_int_equal(test_flush(head, true, NULL), n);
        head_free(head);
    }
}

/* A request larger than a piece, its series in all shards, some of them twice. */
static void test_append_large_request_reaches_every_shard(void **state)
{
    (void)state;
    enum { WRITES = 5000 };
    struct head *head = test_head_new(0);
    struct test_labels *labels = nx_calloc(WRITES, sizeof(*labels));
    struct head_write *writes = nx_calloc(WRITES, sizeof(*writes));
    struct sample *samples = nx_calloc(WRITES, sizeof(*samples));
    bool has_shard[HEAD_SHARD_COUNT] = {0};
    for (int i = 0; i < WRITES; i++) {
        char text[64];
        snprintf(text, sizeof(text), "__name__=m,i=%d", i % 3000);
        test_labels_make(&labels[i], text);
        samples[i] = (struct sample){.time_ms = T0 + i, .value = i};
        writes[i] = (struct head_write){.ref = {.slot = HEAD_SLOT_NONE},
                                        .labels = labels[i].labels,
                                        .samples = &samples[i],
                                        .sample_count = 1};
    }
    head_append(head, writes, WRITES, INT64_MIN, INT64_MAX);
    for (int i = 0; i < WRITES; i++) {
        assert_int_equal(writes[i].refused[APPEND_OK], 1);
        has_shard[series_ref_shard(writes[i].ref)] = true;
        if (i >= 3000)
            assert_int_equal(writes[i].ref.slot, writes[i - 3000].ref.slot);
    }
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
        assert_true(has_shard[s]);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.series, 3000);
    size_t definitions;
    assert_int_equal(test_drop_pending(head, &definitions), WRITES);
    assert_int_equal(definitions, 3000);
    nx_free(labels);
    nx_free(writes);
    nx_free(samples);
    head_free(head);
}

/* Labels of hundreds of pairs and values of many KiB leave the pools' classes. */
static void test_append_huge_label_sets(void **state)
{
    (void)state;
    enum { PAIRS = 600, BYTES = 20000 };
    struct head *head = test_head_new(0);
    struct label *items = nx_calloc(PAIRS, sizeof(*items));
    char(*names)[16] = nx_calloc(PAIRS, sizeof(*names));
    char *value = nx_alloc(BYTES);
    memset(value, 'v', BYTES);
    for (int i = 0; i < PAIRS; i++) {
        int length = snprintf(names[i], sizeof(names[i]), "name_%05d", i);
        items[i].name = (struct nx_str){.data = names[i], .len = (size_t)length};
        items[i].value = (struct nx_str){.data = value, .len = (size_t)(BYTES - i)};
    }
    struct labels labels = {.items = items, .count = PAIRS};
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    assert_int_equal(test_write(head, &ref, labels, T0, 1).refused[APPEND_OK], 1);
    struct series_ref again = {.slot = HEAD_SLOT_NONE};
    test_write(head, &again, labels, T0 + 1, 1);
    assert_int_equal(again.slot, ref.slot);
    test_drop_pending(head, NULL);
    struct head_flush *flush;
    struct head_flush_series series;
    struct nx_err err;
    assert_int_equal(head_flush_begin(head, &flush, &err), NX_OK);
    assert_int_equal(head_flush_next(flush, &series, &err), 1);
    assert_true(labels_equal(series.labels, labels));
    assert_int_equal(head_flush_next(flush, &series, &err), 0);
    head_flush_end(flush, true);
    test_flush(head, true, NULL);
    test_flush(head, true, NULL);
    struct head_stats stats;
    head_stats(head, &stats);
    assert_int_equal(stats.series, 0);
    test_write(head, &again, labels, T0 + 1, 1);
    head_free(head);
    nx_free(items);
    nx_free(names);
    nx_free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_new_series_is_defined_once_and_read_back),
        cmocka_unit_test(test_append_resend_is_accepted_and_not_stored_again),
        cmocka_unit_test(test_append_conflict_is_found_everywhere),
        cmocka_unit_test(test_append_bounds_refuse_with_example),
        cmocka_unit_test(test_append_out_of_bounds_makes_no_series),
        cmocka_unit_test(test_append_series_limit_refuses_new_and_keeps_known),
        cmocka_unit_test(test_append_stale_ref_takes_nothing),
        cmocka_unit_test(test_append_late_samples_come_back_in_order),
        cmocka_unit_test(test_append_extreme_times),
        cmocka_unit_test(test_append_large_request_reaches_every_shard),
        cmocka_unit_test(test_append_huge_label_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
