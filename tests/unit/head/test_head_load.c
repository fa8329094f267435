/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_load.c - a start from a block's series and the journal, and what damaged ones cannot do. */
#include "head_support.h"
#include "journal_support.h"

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

/* ---- threads ---- */

enum {
    MANY = 4000,
    ROUNDS = 40,
};

/* What a life of a store leaves: a block's series, definitions that displace some of them, samples in and out of order,
 * exemplars, samples of slots that nobody defined. */
static void load_many(struct head *head, const struct test_labels *labels, unsigned threads)
{
    struct nx_err err;
    struct rand_state rand;
    rand_seed(&rand, 77);
    assert_int_equal(head_load_threads(head, threads, &err), NX_OK);
    for (int i = 0; i < MANY; i += 2) {
        uint32_t slot = slot_in_shard_of(labels[i].labels, (uint32_t)i);
        assert_int_equal(head_load_series(head, slot, labels[i].labels, &err), NX_OK);
    }
    assert_int_equal(head_load_wait(head, &err), NX_OK);
    const struct journal_visitor *visitor = &head_journal_visitor;
    uint32_t slots[MANY];
    int64_t times_ms[MANY];
    uint64_t bits[MANY];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = round; i < MANY;
             i += ROUNDS) { /* odd ones are new, even ones may be elsewhere */
            uint32_t local = (uint32_t)(i % 8 == 0 ? i + MANY : i);
            uint32_t slot = slot_in_shard_of(labels[i].labels, local);
            assert_int_equal(visitor->define(head, slot, labels[i].labels, &err), NX_OK);
        }
        for (int i = 0; i < MANY; i++) {
            uint32_t local = (uint32_t)(i % 8 == 0 ? i + MANY : i);
            slots[i] = slot_in_shard_of(labels[i].labels, local);
            times_ms[i] = T0 + round * 15000 - (int64_t)rand_below(&rand, i % 5 == 0 ? 40000 : 100);
            bits[i] = rand_below(&rand, 3) == 0 ? rand_u64(&rand) : (uint64_t)i;
        }
        for (int begin = 0; begin < MANY;) {
            int count = 1 + (int)rand_below(&rand, MANY - begin);
            assert_int_equal(visitor->samples(head, slots + begin, times_ms + begin, bits + begin,
                                              (size_t)count, &err),
                             NX_OK);
            begin += count;
        }
        static const uint8_t broken[] = {0xff};
        struct nx_bytes payload = {.data = broken, .len = sizeof(broken)};
        assert_int_equal(
            visitor->blob(head, JOURNAL_BLOB_HISTOGRAM, slots[round], T0, payload, &err), NX_OK);
    }
    assert_int_equal(head_load_wait(head, &err), NX_OK);
    head_load_finish(head);
}

/* Everything that the head holds, in the order of its flush, as bytes. */
static void print_flush(struct head *head, struct nx_buf *out)
{
    struct head_flush *flush = NULL;
    struct head_flush_series series;
    struct nx_err err;
    assert_int_equal(head_flush_begin(head, &flush, &err), NX_OK);
    while (head_flush_next(flush, &series, &err) > 0) {
        labels_print(series.labels, out);
        nx_buf_printf(out, " %u %zu\n", series.slot, series.count);
        nx_buf_append(out, series.times_ms, series.count * sizeof(*series.times_ms));
        nx_buf_append(out, series.values, series.count * sizeof(*series.values));
    }
    head_flush_end(flush, true);
}

/* With any number of threads the head is the one that a single thread makes. */
static void test_load_by_threads_makes_the_same_head(void **state)
{
    (void)state;
    struct test_labels *labels = nx_calloc(MANY, sizeof(*labels));
    for (int i = 0; i < MANY; i++)
        make(&labels[i], i);
    struct nx_buf expected = {0};
    struct head_stats expected_stats;
    static const unsigned threads[] = {0, 1, 2, 3, 16};
    for (size_t k = 0; k < NX_ARRAY_LEN(threads); k++) {
        struct head *head = test_head_new(0);
        load_many(head, labels, threads[k]);
        struct head_stats stats;
        head_stats(head, &stats);
        struct nx_buf got = {0};
        print_flush(head, &got);
        struct series_ref ref = {.slot = HEAD_SLOT_NONE}; /* a new series: the first free slot */
        struct test_labels extra;
        make(&extra, MANY + 1);
        test_write(head, &ref, extra.labels, T0 + 10000000, 1);
        nx_buf_append(&got, &ref, sizeof(ref));
        if (k == 0) {
            expected = got;
            expected_stats = stats;
            assert_int_equal(stats.unknown_samples > ROUNDS, true);
            assert_int_equal(stats.series, MANY);
        } else {
            assert_int_equal(stats.series, expected_stats.series);
            assert_int_equal(stats.unflushed_samples, expected_stats.unflushed_samples);
            assert_int_equal(stats.late_samples, expected_stats.late_samples);
            assert_int_equal(stats.unknown_samples, expected_stats.unknown_samples);
            assert_int_equal(stats.series_removed, expected_stats.series_removed);
            assert_int_equal(stats.min_time_ms, expected_stats.min_time_ms);
            assert_int_equal(stats.bytes_index, expected_stats.bytes_index);
            assert_true(nx_str_eq(nx_buf_str(&got), nx_buf_str(&expected)));
            nx_buf_deinit(&got);
        }
        head_free(head);
    }
    nx_buf_deinit(&expected);
    nx_free(labels);
}

/* ---- a damaged journal ---- */

enum {
    FILED = 300,
    FILED_COMMITS = 12,
};

/* A segment of definitions and samples, every fifth of them late. */
static void write_journal(const struct scratch *scratch, const struct test_labels *labels)
{
    struct journal *journal = journal_test_open(scratch, io_real(), JOURNAL_SEGMENT_MIN);
    struct journal_replay_result result;
    struct journal_visitor none = head_journal_visitor; /* nothing is there to visit */
    struct nx_err err;
    assert_int_equal(journal_replay(journal, 0, &none, &result, &err), NX_OK);
    struct journal_buffer buffer = {0};
    for (int round = 0; round < FILED_COMMITS; round++) {
        journal_buffer_reserve(&buffer, FILED);
        for (int i = 0; i < FILED; i++) {
            uint32_t slot = slot_in_shard_of(labels[i].labels, (uint32_t)i);
            if (i % FILED_COMMITS == round)
                journal_buffer_define(&buffer, slot, labels[i].labels);
            if (i % FILED_COMMITS <= round)
                journal_buffer_push(&buffer, slot, T0 + round * 15000 - (i % 5 == 0 ? 40000 : 0),
                                    float_bits(round * 0.25 * i));
        }
        uint64_t commit;
        assert_int_equal(journal_test_commit(journal, &buffer, &commit), NX_OK);
        journal_buffer_reset(&buffer);
    }
    journal_buffer_deinit(&buffer);
    journal_test_close(journal);
}

/* All that a start makes of the journal: the head, the numbers, the damage. threads 0: one thread does everything. */
static void print_start(const struct scratch *scratch, unsigned threads, struct nx_buf *out)
{
    struct head *head = test_head_new(0);
    struct nx_err err;
    struct journal_replay_result result;
    struct journal_visitor visitor = head_journal_visitor;
    visitor.context = head;
    assert_int_equal(head_load_threads(head, threads, &err), NX_OK);
    journal_test_is_ahead = threads > 0;
    struct journal *journal = journal_test_open(scratch, io_real(), JOURNAL_SEGMENT_MIN);
    journal_test_is_ahead = false;
    assert_int_equal(journal_replay(journal, 0, &visitor, &result, &err), NX_OK);
    assert_int_equal(head_load_wait(head, &err), NX_OK);
    head_load_finish(head);
    struct head_stats stats;
    head_stats(head, &stats);
    nx_buf_printf(out, "%d %d %d %d %d %u '%s' %d %d %d\n", (int)result.commits,
                  (int)result.samples, (int)result.definitions, (int)result.last_commit,
                  (int)result.has_torn_tail, result.damaged_segments, result.damage,
                  (int)stats.series, (int)stats.unknown_samples, (int)stats.late_samples);
    print_flush(head, out);
    journal_test_close(journal);
    head_free(head);
}

/* Bytes flipped anywhere, several at once, or the end cut off: the number of threads changes nothing. */
static void test_start_from_a_damaged_journal_is_the_same_by_threads(void **state)
{
    (void)state;
    struct test_labels *labels = nx_calloc(FILED, sizeof(*labels));
    for (int i = 0; i < FILED; i++)
        make(&labels[i], i);
    struct scratch scratch;
    scratch_make(&scratch);
    write_journal(&scratch, labels);
    char path[700];
    snprintf(path, sizeof(path), "%s/00000001.nxj", scratch.journal);
    struct nx_buf image = {0};
    struct nx_buf expected = {0};
    struct nx_buf got = {0};
    struct nx_err err;
    assert_int_equal(io_read_file(io_real(), path, JOURNAL_SEGMENT_MIN, &image, &err), NX_OK);
    struct rand_state rand;
    rand_seed(&rand, 5);
    unsigned damaged = 0;
    unsigned torn = 0;
    for (unsigned round = 0; round < 60; round++) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        size_t bytes = round % 4 == 3 ? rand_below(&rand, image.len) : image.len;
        struct nx_buf copy = {0};
        nx_buf_append(&copy, image.data, image.len);
        for (unsigned flips = round % 4; flips > 0; flips--)
            copy.data[JOURNAL_PAGE_BYTES + rand_below(&rand, image.len - JOURNAL_PAGE_BYTES)] ^= 4;
        assert_int_equal(fwrite(copy.data, 1, bytes, file), bytes);
        assert_int_equal(fclose(file), 0);
        nx_buf_deinit(&copy);
        static const unsigned threads[] = {0, 1, 2, 16};
        for (size_t k = 0; k < NX_ARRAY_LEN(threads); k++) {
            struct nx_buf *out = k == 0 ? &expected : &got;
            nx_buf_reset(out);
            assert_int_equal(io_remove_tree(io_real(), scratch.quarantine, &err), NX_OK);
            print_start(&scratch, threads[k], out);
            assert_true(nx_str_eq(nx_buf_str(out), nx_buf_str(&expected)));
        }
        damaged += memmem(expected.data, expected.len, "''", 2) == NULL;
        torn += bytes < image.len;
    }
    assert_true(damaged > 10 && torn > 10);
    nx_buf_deinit(&image);
    nx_buf_deinit(&expected);
    nx_buf_deinit(&got);
    nx_free(labels);
    scratch_remove(&scratch);
}

/* What one call would refuse is told by the wait, and the head can be freed at any time. */
static void test_load_by_threads_tells_what_is_wrong(void **state)
{
    (void)state;
    struct test_labels a;
    make(&a, 1);
    struct nx_err err;
    for (unsigned round = 0; round < 3; round++) {
        struct head *head = test_head_new(0);
        assert_int_equal(head_load_threads(head, 3, &err), NX_OK);
        uint32_t slot = slot_in_shard_of(a.labels, 7);
        assert_int_equal(head_load_series(head, slot, a.labels, &err), NX_OK);
        if (round == 0) {
            assert_int_equal(head_load_series(head, slot, a.labels, &err), NX_OK);
            assert_int_equal(head_load_wait(head, &err), NX_E_CORRUPT);
            assert_non_null(strstr(err.msg, "there twice"));
            assert_int_equal(head_load_wait(head, &err), NX_E_CORRUPT);
        }
        if (round == 1) {
            replay_one(head, slot, T0, 1);
            struct test_labels b;
            int other = 2;
            do
                make(&b, other++);
            while (slot_in_shard_of(b.labels, 7) != slot);
            nx_ignore(head_journal_visitor.define(head, slot, b.labels, &err));
            assert_int_equal(head_load_wait(head, &err), NX_E_CORRUPT);
            assert_non_null(strstr(err.msg, "defined twice"));
        }
        head_free(head);
    }
}

/* By numbers of pairs as by labels. */
static void test_load_by_pairs_is_loading_by_labels(void **state)
{
    (void)state;
    enum { PAIRS = 3 };
    static const char *const pairs[][2] = {
        {"__name__", "a"}, {"__name__", "b"}, {"job", "x"}, {"job", "y"}, {"pod", "p"}};
    struct nx_err err;
    for (unsigned threads = 0; threads < 3; threads += 2) {
        struct head *head = test_head_new(0);
        assert_int_equal(head_load_threads(head, threads, &err), NX_OK);
        for (size_t i = 0; i < NX_ARRAY_LEN(pairs); i++) {
            struct label pair = {.name = nx_str_from(pairs[i][0]),
                                 .value = nx_str_from(pairs[i][1])};
            head_load_pair(head, pair);
        }
        static const uint32_t series[][PAIRS] = {{0, 2, 4}, {0, 3, 4}, {1, 2, 4}, {1, 3, 4}};
        uint32_t slots[4];
        for (uint32_t i = 0; i < 4; i++) {
            struct label items[PAIRS];
            for (size_t k = 0; k < PAIRS; k++)
                items[k] = (struct label){.name = nx_str_from(pairs[series[i][k]][0]),
                                          .value = nx_str_from(pairs[series[i][k]][1])};
            slots[i] = slot_in_shard_of((struct labels){.items = items, .count = PAIRS}, i);
            if (i == 0) /* the first one's shard is looked at */
                assert_int_equal(head_load_series_pairs(head, slots[i] ^ 1, series[i], PAIRS, &err),
                                 NX_E_CORRUPT);
            assert_int_equal(head_load_series_pairs(head, slots[i], series[i], PAIRS, &err), NX_OK);
        }
        static const uint32_t unknown[] = {1, 5};
        static const uint32_t descending[] = {2, 1};
        assert_int_equal(head_load_series_pairs(head, 400, unknown, 2, &err), NX_E_CORRUPT);
        assert_int_equal(head_load_series_pairs(head, 400, descending, 2, &err), NX_E_CORRUPT);
        assert_int_equal(head_load_wait(head, &err), NX_OK);
        for (uint32_t i = 0; i < 4; i++)
            replay_one(head, slots[i], T0, i);
        assert_int_equal(head_load_wait(head, &err), NX_OK);
        head_load_finish(head);
        struct arena arena;
        arena_init(&arena, 0);
        struct head_series *found;
        assert_int_equal(select_all(head, &arena, &found), 4);
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(found[i].ref.slot, slots[i]);
        struct matcher matcher;
        size_t count;
        assert_int_equal(matcher_init(&matcher, MATCHER_EQUAL, NX_STR("job"), NX_STR("y"), &err),
                         NX_OK);
        assert_int_equal(
            head_select(head, &matcher, 1, INT64_MIN, INT64_MAX, &arena, &found, &count, &err),
            NX_OK);
        assert_int_equal(count, 2);
        matcher_deinit(&matcher);
        arena_deinit(&arena);
        head_free(head);
    }
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
        cmocka_unit_test(test_load_by_threads_makes_the_same_head),
        cmocka_unit_test(test_start_from_a_damaged_journal_is_the_same_by_threads),
        cmocka_unit_test(test_load_by_threads_tells_what_is_wrong),
        cmocka_unit_test(test_load_by_pairs_is_loading_by_labels),
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
