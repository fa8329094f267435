/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_read.c - what was written comes back: series, slots, samples, in any order and range. */
#include "narthex/base/mem.h"

#include "tests/unit/block/block_support.h"

#include <stdio.h>

struct fixture {
    char *dir, *block_dir;
    struct model model;
    struct group_cache *cache;
    struct block_meta meta;
    struct block *block;
};

static void fixture_init(struct fixture *fixture, uint64_t seed,
                         const struct model_options *options, uint32_t level)
{
    struct rand_state rand;
    struct nx_err err;
    rand_seed(&rand, seed);
    fixture->dir = temp_dir_new();
    fixture->block_dir = path_of(fixture->dir, TEST_ULID);
    model_init(&fixture->model, &rand, options);
    model_write(&fixture->model, io_real(), fixture->block_dir, TEST_ULID, level, 3, 9,
                &fixture->meta);
    fixture->cache = group_cache_new(1 << 20);
    nx_code code = block_open(&fixture->block, io_real(), fixture->block_dir, fixture->cache, &err);
    if (code != NX_OK)
        fail_msg("open: %s", err.msg);
}

static void fixture_deinit(struct fixture *fixture)
{
    block_unref(fixture->block);
    group_cache_free(fixture->cache);
    model_deinit(&fixture->model);
    nx_free(fixture->block_dir);
    temp_dir_free(fixture->dir);
}

static const struct model_options small = {.series_max = 40,
                                           .samples_max = 30,
                                           .start_ms = 1700000000000,
                                           .step_ms = 15000,
                                           .is_shared_time = true};

static void test_block_round_trip_of_random_series(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct fixture f;
        const struct model_options options = {.series_max = (size_t)1 << (seed % 12),
                                              .samples_max = seed % 3 == 0 ? 3000 : 200,
                                              .start_ms = seed % 4 == 0 ? -1000000 : 1700000000000,
                                              .step_ms = seed % 5 == 0 ? 1 : 15000,
                                              .is_shared_time = seed % 2 == 0,
                                              .has_odd_values = true,
                                              .has_histograms = seed % 4 != 1 && seed < 10};
        print_message("seed %d\n", (int)seed);
        fixture_init(&f, seed, &options, seed % 2 == 0 ? 0 : 1);
        assert_block_is_model(f.block, &f.model);
        struct nx_err err;
        nx_code code = block_scrub(f.block, &err);
        if (code != NX_OK)
            fail_msg("scrub: %s", err.msg);
        fixture_deinit(&f);
    }
}

static void test_block_meta_tells_what_was_written(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 5, &small, 0);
    const struct block_meta *meta = block_meta(f.block);
    int64_t min_ms, max_ms;
    uint64_t samples = 0;
    model_range(&f.model, &min_ms, &max_ms);
    for (size_t i = 0; i < f.model.count; i++)
        samples += f.model.series[i].count;
    assert_string_equal(meta->ulid, TEST_ULID);
    assert_int_equal(meta->level, 0);
    assert_int_equal(meta->min_time_ms, min_ms);
    assert_int_equal(meta->max_time_ms, max_ms);
    assert_int_equal(meta->series_count, f.model.count);
    assert_int_equal(meta->sample_count, samples);
    assert_int_equal(meta->chunk_count, f.model.count);
    assert_int_equal(meta->commit_min, 3);
    assert_int_equal(meta->commit_max, 9);
    assert_string_equal(block_dir(f.block), f.block_dir);
    fixture_deinit(&f);
}

/* Of a sample of the series. */
static int64_t any_time(struct rand_state *rand, const struct model_series *series)
{
    size_t at = (size_t)rand_below(rand, series->count + series->histogram_count);
    return at < series->count ? series->times_ms[at]
                              : series->histograms[at - series->count].time_ms;
}

static void test_block_ranges_cut_exactly(void **state)
{
    (void)state;
    struct fixture f;
    struct rand_state rand;
    rand_seed(&rand, 99);
    const struct model_options options = {.series_max = 30,
                                          .samples_max = 2500,
                                          .start_ms = 1700000000000,
                                          .step_ms = 15000,
                                          .is_shared_time = true,
                                          .has_histograms = true};
    fixture_init(&f, 17, &options, 1);
    struct block_reader *reader = NULL;
    struct nx_err err;
    assert_int_equal(block_reader_new(f.block, &reader, &err), NX_OK);
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t rank = (uint32_t)rand_below(&rand, f.model.count);
        const struct model_series *series = &f.model.series[rank];
        int64_t a = any_time(&rand, series) + (int64_t)rand_below(&rand, 3) - 1;
        int64_t b = any_time(&rand, series) + (int64_t)rand_below(&rand, 3) - 1;
        assert_samples(reader, rank, series, a < b ? a : b, a < b ? b : a);
    }
    assert_samples(reader, 0, &f.model.series[0], INT64_MAX, INT64_MAX);
    assert_samples(reader, 0, &f.model.series[0], INT64_MIN, INT64_MIN);
    block_reader_free(reader);
    fixture_deinit(&f);
}

static void test_block_labels_in_any_order(void **state)
{
    (void)state;
    struct fixture f;
    struct rand_state rand;
    rand_seed(&rand, 4);
    const struct model_options options = {.series_max = 3000,
                                          .samples_max = 2,
                                          .start_ms = 1700000000000,
                                          .step_ms = 15000,
                                          .is_shared_time = true};
    fixture_init(&f, 21, &options, 0);
    struct block_reader *reader = NULL;
    struct nx_err err;
    assert_int_equal(block_reader_new(f.block, &reader, &err), NX_OK);
    for (unsigned i = 0; i < 5000; i++) {
        uint32_t rank = (uint32_t)rand_below(&rand, f.model.count);
        struct labels labels;
        uint32_t slot = 0;
        assert_int_equal(
            block_reader_labels(reader, rank, &labels, i % 2 == 0 ? &slot : NULL, &err), NX_OK);
        assert_true(labels_equal(labels, f.model.series[rank].labels));
        if (i % 2 == 0)
            assert_int_equal(slot, f.model.series[rank].slot);
    }
    struct labels labels;
    assert_int_not_equal(block_reader_labels(reader, (uint32_t)f.model.count, &labels, NULL, &err),
                         NX_OK);
    struct nx_buf times = {0}, values = {0};
    assert_int_equal(block_reader_samples(reader, UINT32_MAX, 0, 1, &times, &values, &err),
                     NX_E_INVALID);
    block_reader_free(reader);
    fixture_deinit(&f);
}

/* One series whose chunks span several groups, between two small ones. */
static void test_block_long_series_spans_groups(void **state)
{
    (void)state;
    struct fixture f;
    const struct model_options options = {
        .series_max = 3, .samples_max = 200000, .start_ms = 1700000000000, .step_ms = 1000};
    fixture_init(&f, 8, &options, 2);
    assert_block_is_model(f.block, &f.model);
    struct block_reader *reader = NULL;
    struct nx_err err;
    assert_int_equal(block_reader_new(f.block, &reader, &err), NX_OK);
    for (uint32_t rank = (uint32_t)f.model.count; rank-- > 0;) {
        const struct model_series *series = &f.model.series[rank];
        int64_t middle = series->times_ms[series->count / 2];
        assert_samples(reader, rank, series, middle, middle + 10000);
    }
    block_reader_free(reader);
    fixture_deinit(&f);
}

static void test_block_times_at_the_ends_of_int64(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *block_dir = path_of(dir, TEST_ULID);
    struct label labels[] = {{NX_STR("__name__"), NX_STR("up")}};
    int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    double values[] = {1, 2, 3, 4, 5, 6, 7};
    struct model_series series = {.labels = {labels, 1},
                                  .slot = BLOCK_SLOT_NONE,
                                  .times_ms = times,
                                  .values = values,
                                  .count = 7};
    struct model model = {.series = &series, .count = 1};
    struct block_meta meta;
    model_write(&model, io_real(), block_dir, TEST_ULID, 1, 0, 0, &meta);
    struct group_cache *cache = group_cache_new(1 << 20);
    struct block *block = NULL;
    struct nx_err err;
    assert_int_equal(block_open(&block, io_real(), block_dir, cache, &err), NX_OK);
    assert_block_is_model(block, &model);
    struct block_reader *reader = NULL;
    assert_int_equal(block_reader_new(block, &reader, &err), NX_OK);
    assert_samples(reader, 0, &series, 0, INT64_MAX);
    assert_samples(reader, 0, &series, INT64_MIN, -1);
    assert_samples(reader, 0, &series, 5, INT64_MAX - 2);
    block_reader_free(reader);
    block_unref(block);
    group_cache_free(cache);
    nx_free(block_dir);
    temp_dir_free(dir);
}

/* Appending behind what the caller has there already. */
static void test_block_samples_are_appended(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 30, &small, 1);
    struct block_reader *reader = NULL;
    struct nx_err err;
    struct nx_buf times = {0}, values = {0};
    assert_int_equal(block_reader_new(f.block, &reader, &err), NX_OK);
    size_t total = 0;
    for (uint32_t rank = 0; rank < 3; rank++) {
        assert_int_equal(
            block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err), NX_OK);
        assert_memory_equal(times.data + total * 8, f.model.series[rank].times_ms,
                            f.model.series[rank].count * 8);
        assert_memory_equal(values.data + total * 8, f.model.series[rank].values,
                            f.model.series[rank].count * 8);
        total += f.model.series[rank].count;
        assert_int_equal(times.len, total * 8);
        assert_int_equal(values.len, total * 8);
    }
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    block_reader_free(reader);
    fixture_deinit(&f);
}

struct each_context {
    const struct model *model;
    uint32_t next;
    uint32_t stop_at;
};

static nx_code each_series(void *context, uint32_t rank, uint32_t slot, struct labels labels,
                           struct nx_err *err)
{
    struct each_context *each = context;
    assert_int_equal(rank, each->next++);
    assert_int_equal(slot, each->model->series[rank].slot);
    assert_true(labels_equal(labels, each->model->series[rank].labels));
    return rank == each->stop_at ? nx_err_set(err, NX_E_CANCELLED, "enough") : NX_OK;
}

static void test_block_each_series_in_order_until_told_to_stop(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 31, &small, 0);
    struct nx_err err;
    struct each_context all = {&f.model, 0, UINT32_MAX};
    assert_int_equal(block_each_series(f.block, each_series, &all, &err), NX_OK);
    assert_int_equal(all.next, f.model.count);
    struct each_context some = {&f.model, 0, 4};
    assert_int_equal(block_each_series(f.block, each_series, &some, &err), NX_E_CANCELLED);
    assert_int_equal(some.next, 5);
    fixture_deinit(&f);
}

/* A cache of nothing: groups are read again and again, and freed while others are in use. */
static void test_block_works_with_a_cache_of_no_bytes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 33, &small, 0);
    struct group_cache *none = group_cache_new(0);
    struct block *block = NULL;
    struct nx_err err;
    assert_int_equal(block_open(&block, io_real(), f.block_dir, none, &err), NX_OK);
    assert_block_is_model(block, &f.model);
    block_unref(block);
    assert_int_equal(group_cache_bytes(none), 0);
    group_cache_free(none);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_round_trip_of_random_series),
        cmocka_unit_test(test_block_meta_tells_what_was_written),
        cmocka_unit_test(test_block_ranges_cut_exactly),
        cmocka_unit_test(test_block_labels_in_any_order),
        cmocka_unit_test(test_block_long_series_spans_groups),
        cmocka_unit_test(test_block_times_at_the_ends_of_int64),
        cmocka_unit_test(test_block_samples_are_appended),
        cmocka_unit_test(test_block_each_series_in_order_until_told_to_stop),
        cmocka_unit_test(test_block_works_with_a_cache_of_no_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
