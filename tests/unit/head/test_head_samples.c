/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_samples.c - samples on their way from the hot line to chunks: every rhythm of times, against an array. */
#include "head_internal.h"
#include "head_support.h"

#include <stdio.h>

#define T0          INT64_C(1700000000000)
#define SAMPLES_MAX 3000

/* What was written and not flushed, ascending. */
struct twin {
    int64_t times_ms[SAMPLES_MAX];
    uint64_t bits[SAMPLES_MAX];
    size_t count;
};

static void check_twin(struct head *head, struct series_ref ref, const struct twin *twin)
{
    struct test_columns columns = test_read(head, ref, INT64_MIN, INT64_MAX);
    assert_int_equal(columns.count, twin->count);
    for (size_t i = 0; i < twin->count; i++) {
        assert_true(columns.times_ms[i] == twin->times_ms[i]);
        assert_true(columns.bits[i] == twin->bits[i]);
    }
    test_columns_deinit(&columns);
}

static void twin_insert(struct twin *twin, int64_t time_ms, uint64_t bits)
{
    assert_true(twin->count < SAMPLES_MAX);
    size_t at = twin->count++;
    while (at > 0 && twin->times_ms[at - 1] > time_ms) {
        twin->times_ms[at] = twin->times_ms[at - 1];
        twin->bits[at] = twin->bits[at - 1];
        at--;
    }
    twin->times_ms[at] = time_ms;
    twin->bits[at] = bits;
}

enum rhythm {
    RHYTHM_STEADY,
    RHYTHM_JITTER,
    RHYTHM_EDGES, /* around what one byte of deviation holds */
    RHYTHM_OWN_CLOCK,
    RHYTHM_GAPS,
    RHYTHM_HUGE, /* around what 32 bits of step hold */
    RHYTHM_MIXED,
    RHYTHM_COUNT,
};

static int64_t next_step(struct rand_state *rand, enum rhythm rhythm)
{
    static const int64_t edges[] = {15000,       15127,       15128,       14872, 14871, 1,
                                    0x100000000, 0x0ffffffff, 0x100000001, 255,   256,   60000};
    switch (rhythm) {
    case RHYTHM_STEADY:
        return 15000;
    case RHYTHM_JITTER:
        return 15000 - 4 + (int64_t)rand_below(rand, 9);
    case RHYTHM_EDGES:
        return edges[rand_below(rand, 5)];
    case RHYTHM_OWN_CLOCK:
        return 6000 + (int64_t)rand_below(rand, 18000);
    case RHYTHM_GAPS:
        return rand_below(rand, 6) == 0 ? 15000 * (int64_t)(1 + rand_below(rand, 500)) : 15000;
    case RHYTHM_HUGE:
        return edges[5 + rand_below(rand, 5)];
    case RHYTHM_MIXED:
        return rand_below(rand, 3) != 0 ? 15000 : edges[rand_below(rand, NX_ARRAY_LEN(edges))];
    case RHYTHM_COUNT:
        break;
    }
    return 0;
}

static void one_history(enum rhythm rhythm, uint64_t seed)
{
    struct head *head = test_head_new(0);
    struct twin *twin = nx_calloc(1, sizeof(*twin));
    struct test_labels labels;
    struct rand_state rand;
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    int64_t now_ms = T0;
    uint64_t value = 0;
    rand_seed(&rand, seed);
    test_labels_make(&labels, "__name__=up,job=a");
    for (unsigned step = 0; step < 400; step++) {
        if (rand_below(&rand, 50) == 0)
            rhythm = (enum rhythm)rand_below(&rand, RHYTHM_COUNT);
        value += rand_below(&rand, 4);
        struct head_write write =
            test_write_bits(head, &ref, labels.labels, now_ms, float_bits((double)value));
        assert_int_equal(write.refused[APPEND_OK], 1);
        twin_insert(twin, now_ms, float_bits((double)value));
        if (rand_below(&rand, 12) == 0) {
            /* Late: beside a sample that may be pending, in the stream or sealed, or the same again. */
            size_t back = rand_below(&rand, twin->count < 20 ? twin->count : 20);
            size_t at = twin->count - 1 - back;
            int64_t late_ms = twin->times_ms[at] - 1;
            bool is_there = at > 0 && twin->times_ms[at - 1] == late_ms;
            write = test_write_bits(head, &ref, labels.labels, twin->times_ms[at], twin->bits[at]);
            assert_int_equal(write.refused[APPEND_OK], 1);
            write =
                test_write_bits(head, &ref, labels.labels, twin->times_ms[at], twin->bits[at] ^ 1);
            assert_int_equal(write.refused[APPEND_CONFLICT], 1);
            if (!is_there) {
                write = test_write_bits(head, &ref, labels.labels, late_ms, seed + step);
                assert_int_equal(write.refused[APPEND_OK], 1);
                twin_insert(twin, late_ms, seed + step);
            }
        }
        if (rand_below(&rand, 90) == 0) {
            bool is_published = rand_below(&rand, 2) == 0;
            assert_int_equal(test_flush(head, is_published, NULL), twin->count);
            twin->count = is_published ? 0 : twin->count;
        }
        check_twin(head, ref, twin);
        now_ms += next_step(&rand, rhythm);
        test_drop_pending(head, NULL);
    }
    nx_free(twin);
    head_free(head);
}

static void test_samples_of_every_rhythm_come_back(void **state)
{
    (void)state;
    for (unsigned rhythm = 0; rhythm < RHYTHM_COUNT; rhythm++) {
        for (uint64_t seed = 0; seed < 6; seed++)
            one_history((enum rhythm)rhythm, seed * 100 + rhythm);
    }
}

static uint64_t chunk_bytes_in_use(const struct head *head)
{
    uint64_t bytes = 0;
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        const struct stream_arena *arena = &head->shards[s].arena_open;
        if (arena->count > 0)
            bytes += (uint64_t)(arena->count - 1) * STREAM_BLOCK_BYTES + arena->fill;
    }
    return bytes;
}

/* Chunk memory a series of `samples` samples each, after one flush of as many. */
static double chunk_bytes(enum rhythm rhythm, unsigned samples)
{
    enum { SERIES = 2000 };
    struct head *head = test_head_new(0);
    struct rand_state rand;
    struct series_ref *refs = nx_alloc(SERIES * sizeof(*refs));
    int64_t now_ms = T0;
    rand_seed(&rand, 1);
    for (unsigned i = 0; i < SERIES; i++)
        refs[i].slot = HEAD_SLOT_NONE;
    for (unsigned round = 0; round < 2 * samples; round++) {
        for (unsigned i = 0; i < SERIES; i++) {
            struct test_labels labels = {.labels = {0}};
            char text[40];
            snprintf(text, sizeof(text), "__name__=up,job=j%u", i);
            if (round == 0)
                test_labels_make(&labels, text);
            test_write(head, &refs[i], labels.labels, now_ms, i % 3);
        }
        now_ms += next_step(&rand, rhythm);
        if (round + 1 == samples)
            test_flush(head, true, NULL);
        test_drop_pending(head, NULL);
    }
    uint64_t bytes = chunk_bytes_in_use(head);
    nx_free(refs);
    head_free(head);
    return (double)bytes / SERIES;
}

static void test_samples_of_constant_series_take_little(void **state)
{
    (void)state;
    double steady = chunk_bytes(RHYTHM_STEADY, 60);
    double jitter = chunk_bytes(RHYTHM_JITTER, 60);
    print_message("60 samples: steady %.1f, jitter %.1f bytes\n", steady, jitter);
    assert_true(steady < 64);
    assert_true(jitter < 140);
}

static void test_samples_spare_blocks_are_given_back_when_asked(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct head_stats stats;
    struct sample *samples = nx_alloc(SAMPLES_MAX * sizeof(*samples));
    for (int k = 0; k < SAMPLES_MAX; k++)
        samples[k] = (struct sample){.time_ms = T0 + k, .value = k * 0.1234567};
    for (unsigned i = 0; i < 800; i++) {
        struct test_labels labels;
        char text[40];
        snprintf(text, sizeof(text), "__name__=up,job=j%u", i);
        test_labels_make(&labels, text);
        struct head_write write = {.ref = {.slot = HEAD_SLOT_NONE},
                                   .labels = labels.labels,
                                   .samples = samples,
                                   .sample_count = SAMPLES_MAX};
        head_append(head, &write, 1, INT64_MIN, INT64_MAX);
    }
    nx_free(samples);
    test_drop_pending(head, NULL);
    assert_int_equal(head_release_spare(head, UINT64_MAX), 0); /* all of it is in use */
    head_stats(head, &stats);
    uint64_t in_use = stats.bytes_chunks;
    test_flush(head, true, NULL);
    head_stats(head, &stats);
    uint64_t before = stats.bytes_chunks; /* most went by itself */
    assert_true(before >= 2 * STREAM_BLOCK_BYTES && before <= in_use / 8);
    uint64_t some = head_release_spare(head, STREAM_BLOCK_BYTES + 1);
    assert_int_equal(some, 2 * STREAM_BLOCK_BYTES);
    head_stats(head, &stats);
    assert_int_equal(stats.bytes_chunks, before - some);
    assert_int_equal(head_release_spare(head, UINT64_MAX), before - some);
    head_stats(head, &stats);
    assert_int_equal(stats.bytes_chunks, 0);
    /* And taken again. */
    struct test_labels labels;
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    test_labels_make(&labels, "__name__=up,job=j7");
    for (int k = 0; k < 40; k++)
        test_write(head, &ref, labels.labels, T0 + SAMPLES_MAX + k, k);
    struct test_columns columns = test_read(head, ref, INT64_MIN, INT64_MAX);
    assert_int_equal(columns.count, 40);
    test_columns_deinit(&columns);
    head_stats(head, &stats);
    assert_int_equal(stats.bytes_chunks, STREAM_BLOCK_BYTES);
    head_free(head);
}

/* Each kind grows with what it counts, and with nothing else. */
static void test_samples_memory_is_told_by_kind(void **state)
{
    (void)state;
    struct head *head = test_head_new(0);
    struct head_stats empty;
    struct head_stats one;
    struct head_stats late;
    struct test_labels labels;
    struct series_ref ref = {.slot = HEAD_SLOT_NONE};
    head_stats(head, &empty);
    assert_int_equal(empty.bytes_late + empty.bytes_chunks + empty.bytes_pending, 0);
    test_labels_make(&labels, "__name__=up,job=a");
    test_write(head, &ref, labels.labels, T0, 1);
    head_stats(head, &one);
    assert_true(one.bytes_series >= sizeof(struct head_hot) + sizeof(struct head_cold));
    assert_true(one.bytes_labels > 0 && one.bytes_index > empty.bytes_index);
    assert_true(one.bytes_pending > 0);
    assert_int_equal(one.bytes_chunks, 0); /* it waits in the hot line */
    test_write(head, &ref, labels.labels, T0 - 5, 1);
    head_stats(head, &late);
    assert_true(late.bytes_late >= sizeof(struct late_sample));
    assert_int_equal(late.bytes_series, one.bytes_series);
    assert_int_equal(late.bytes_labels, one.bytes_labels);
    assert_int_equal(late.bytes_index, one.bytes_index);
    for (int round = 0; round < 3; round++) {
        test_drop_pending(head, NULL);
        test_flush(head, true, NULL);
    }
    head_stats(head, &late);
    assert_int_equal(late.series, 0);
    assert_true(late.bytes_late < 16 * sizeof(struct late_list) + 1);
    head_free(head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_of_every_rhythm_come_back),
        cmocka_unit_test(test_samples_of_constant_series_take_little),
        cmocka_unit_test(test_samples_spare_blocks_are_given_back_when_asked),
        cmocka_unit_test(test_samples_memory_is_told_by_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
