/* SPDX-License-Identifier: Apache-2.0 */
/* test_inspect.c - a good block has nothing to tell and adds up; whatever is changed in it is found. */
#include "narthex/base/mem.h"
#include "narthex/block/inspect.h"

#include "block_internal.h"
#include "tests/unit/block/block_support.h"

#include <stdio.h>
#include <string.h>

struct fixture {
    char *dir, *block_dir;
    struct model model;
    struct block_meta meta;
};

static void fixture_init(struct fixture *fixture, uint64_t seed)
{
    struct rand_state rand;
    const struct model_options options = {.series_max = 60,
                                          .samples_max = 900,
                                          .start_ms = 1700000000000,
                                          .step_ms = 15000,
                                          .is_shared_time = seed % 2 == 0,
                                          .has_odd_values = true};
    rand_seed(&rand, seed);
    fixture->dir = temp_dir_new();
    fixture->block_dir = path_of(fixture->dir, TEST_ULID);
    model_init(&fixture->model, &rand, &options);
    model_write(&fixture->model, io_real(), fixture->block_dir, TEST_ULID, 0, 1, 1, &fixture->meta);
}

static void fixture_deinit(struct fixture *fixture)
{
    model_deinit(&fixture->model);
    nx_free(fixture->block_dir);
    temp_dir_free(fixture->dir);
}

struct told {
    unsigned count;
    char file[40], what[300];
};

static void tell(void *context, const char *file, const char *what)
{
    struct told *told = context;
    if (told->count++ == 0) {
        snprintf(told->file, sizeof(told->file), "%s", file);
        snprintf(told->what, sizeof(told->what), "%s", what);
    }
}

static void test_a_good_block_has_nothing_to_tell(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 12; seed++) {
        struct fixture f;
        struct block_inspection found;
        struct told told = {0};
        fixture_init(&f, seed);
        block_inspect(io_real(), f.block_dir, tell, &told, &found);
        if (told.count > 0)
            fail_msg("%s: %s", told.file, told.what);
        assert_true(found.has_meta);
        assert_int_equal(found.series, f.meta.series_count);
        assert_int_equal(found.samples, f.meta.sample_count);
        assert_int_equal(found.chunks, f.meta.chunk_count);
        assert_int_equal(found.damages + found.hurt_series, 0);
        fixture_deinit(&f);
    }
}

static void test_every_flipped_bit_is_found_in_its_file(void **state)
{
    (void)state;
    static const char *const names[] = {"block.meta", "index.mdb", "chunks.nxc"};
    struct fixture f;
    struct rand_state rand;
    fixture_init(&f, 2);
    rand_seed(&rand, 77);
    for (unsigned i = 0; i < 240; i++) {
        const char *name = names[i % NX_ARRAY_LEN(names)];
        char *path = path_of(f.block_dir, name);
        uint64_t bit = rand_below(&rand, file_bytes(path) * 8);
        struct block_inspection found;
        struct told told = {0};
        file_flip(path, bit);
        block_inspect(io_real(), f.block_dir, tell, &told, &found);
        assert_true(told.count > 0);
        assert_int_equal(found.damages, told.count);
        assert_string_equal(told.file, name);
        assert_true(told.what[0] != 0);
        file_flip(path, bit);
        nx_free(path);
    }
    fixture_deinit(&f);
}

static void rewrite_meta(const struct fixture *f, void (*change)(struct block_meta *meta))
{
    char *path = path_of(f->block_dir, "block.meta");
    struct nx_buf bytes = {0};
    struct block_meta_file file;
    struct nx_err err;
    assert_int_equal(io_read_file(io_real(), path, 1 << 20, &bytes, &err), NX_OK);
    assert_int_equal(block_meta_decode(nx_buf_bytes(&bytes), &file, &err), NX_OK);
    change(&file.meta);
    nx_buf_reset(&bytes);
    block_meta_encode(&file, &bytes);
    assert_int_equal(io_write_file(io_real(), path, nx_buf_bytes(&bytes), &err), NX_OK);
    block_meta_file_deinit(&file);
    nx_buf_deinit(&bytes);
    nx_free(path);
}

static void one_sample_more(struct block_meta *meta)
{
    meta->sample_count++;
}

static void a_later_end(struct block_meta *meta)
{
    meta->max_time_ms++;
}

static void a_byte_more(struct block_meta *meta)
{
    meta->chunks_bytes++;
}

static void test_a_meta_that_tells_other_numbers_is_found(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct block_meta *meta);
        const char *file, *text;
    } rows[] = {{one_sample_more, "block.meta", "samples"},
                {a_later_end, "block.meta", "times"},
                {a_byte_more, ".", "bytes instead of"}};
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct block_inspection found;
        struct told told = {0};
        fixture_init(&f, 3);
        rewrite_meta(&f, rows[i].change);
        block_inspect(io_real(), f.block_dir, tell, &told, &found);
        assert_int_equal(told.count, 1);
        assert_string_equal(told.file, rows[i].file);
        assert_non_null(strstr(told.what, rows[i].text));
        fixture_deinit(&f);
    }
}

static void test_a_damaged_group_is_told_once_and_its_series_counted(void **state)
{
    (void)state;
    struct fixture f;
    struct block_inspection found;
    struct told told = {0};
    fixture_init(&f, 4);
    char *path = path_of(f.block_dir, "chunks.nxc");
    file_flip(path, 40 * 8); /* in the body of the first group */
    block_inspect(io_real(), f.block_dir, tell, &told, &found);
    assert_int_equal(told.count, 2); /* the MiB and the group */
    assert_true(found.hurt_series > 1);
    assert_int_equal(found.series, f.meta.series_count);
    nx_free(path);
    fixture_deinit(&f);
}

static void test_what_is_missing_is_told(void **state)
{
    (void)state;
    static const char *const names[] = {"block.meta", "index.mdb", "chunks.nxc"};
    for (size_t i = 0; i < NX_ARRAY_LEN(names); i++) {
        struct fixture f;
        struct block_inspection found;
        struct told told = {0};
        struct nx_err err;
        fixture_init(&f, 5);
        char *path = path_of(f.block_dir, names[i]);
        assert_int_equal(io_real()->unlink(io_real(), path, &err), NX_OK);
        block_inspect(io_real(), f.block_dir, tell, &told, &found);
        assert_int_equal(told.count, 1);
        assert_non_null(strstr(told.what, "missing"));
        nx_free(path);
        fixture_deinit(&f);
    }
    struct block_inspection found;
    struct told told = {0};
    block_inspect(io_real(), "/nonexistent/block", tell, &told, &found);
    assert_int_equal(told.count, 1);
}

/* ---- usage ---- */

static void check_usage(const struct fixture *f, const struct block_usage *usage)
{
    uint64_t chunks = 0, samples = 0, stored = usage->directory_bytes + usage->vector_bytes;
    uint64_t series = 0, lengths = 0, by_metric = 0, tables = 0;
    for (unsigned i = 0; i < USAGE_CODEC_COUNT; i++) {
        chunks += usage->codecs[i].chunks;
        samples += usage->codecs[i].samples;
        stored += usage->codecs[i].stored_bytes;
    }
    for (size_t i = 0; i < usage->metric_count; i++) {
        series += usage->metrics[i].series;
        by_metric += usage->metrics[i].samples;
    }
    for (unsigned i = 0; i < USAGE_LENGTHS; i++)
        lengths += usage->lengths[i];
    for (unsigned i = 0; i < USAGE_TABLE_COUNT; i++)
        tables += usage->table_bytes[i];
    assert_int_equal(chunks, f->meta.chunk_count);
    assert_int_equal(samples, f->meta.sample_count);
    assert_int_equal(by_metric, f->meta.sample_count);
    assert_int_equal(series, f->meta.series_count);
    assert_int_equal(lengths, f->meta.series_count);
    assert_true(tables > 0 && tables <= f->meta.index_bytes);
    /* Shares are rounded. */
    assert_true(stored + chunks >= f->meta.chunks_bytes && stored <= f->meta.chunks_bytes + chunks);
}

static void check_labels(const struct fixture *f, const struct block_usage *usage, size_t limit)
{
    for (size_t i = 0; i < usage->label_count; i++) {
        uint64_t series = 0;
        for (size_t j = 0; j < f->model.count; j++)
            series += labels_has(f->model.series[j].labels, usage->labels[i].name);
        assert_int_equal(usage->labels[i].series, series);
    }
    assert_true(usage->pair_count <= limit);
    for (size_t i = 0; i < usage->pair_count; i++) {
        uint64_t series = 0;
        for (size_t j = 0; j < f->model.count; j++)
            series += nx_str_eq(labels_get(f->model.series[j].labels, usage->pairs[i].name),
                                usage->pairs[i].value);
        assert_int_equal(usage->pairs[i].series, series);
        assert_true(i == 0 || usage->pairs[i - 1].series >= usage->pairs[i].series);
    }
}

static void test_usage_adds_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 8; seed++) {
        struct fixture f;
        struct block *block = NULL;
        struct block_usage usage;
        struct nx_err err;
        struct group_cache *cache = group_cache_new(1 << 20);
        fixture_init(&f, seed);
        assert_int_equal(block_open(&block, io_real(), f.block_dir, cache, &err), NX_OK);
        assert_int_equal(block_usage_measure(block, seed, &usage, &err), NX_OK);
        check_usage(&f, &usage);
        check_labels(&f, &usage, seed);
        block_usage_deinit(&usage);
        block_usage_deinit(&usage);
        block_unref(block);
        group_cache_free(cache);
        fixture_deinit(&f);
    }
}

static void test_usage_of_a_damaged_block_fails(void **state)
{
    (void)state;
    struct fixture f;
    struct block *block = NULL;
    struct block_usage usage;
    struct nx_err err;
    struct group_cache *cache = group_cache_new(1 << 20);
    fixture_init(&f, 6);
    char *path = path_of(f.block_dir, "chunks.nxc");
    file_flip(path, 60 * 8);
    assert_int_equal(block_open(&block, io_real(), f.block_dir, cache, &err), NX_OK);
    assert_int_equal(block_usage_measure(block, 3, &usage, &err), NX_E_CORRUPT);
    block_unref(block);
    nx_free(path);
    group_cache_free(cache);
    fixture_deinit(&f);
}

static void test_the_golden_block_with_all_kinds_of_samples_verifies(void **state)
{
    (void)state;
    struct block_inspection found;
    struct told told = {0};
    block_inspect(io_real(), NX_TEST_GOLDEN_DIR "/block_v3", tell, &told, &found);
    if (told.count > 0)
        fail_msg("%s: %s", told.file, told.what);
    assert_true(found.histograms > 0 && found.exemplars > 0 && found.samples > found.histograms);
    struct block *block = NULL;
    struct block_usage usage;
    struct nx_err err;
    struct group_cache *cache = group_cache_new(1 << 20);
    assert_int_equal(block_open(&block, io_real(), NX_TEST_GOLDEN_DIR "/block_v3", cache, &err),
                     NX_OK);
    assert_int_equal(block_usage_measure(block, 3, &usage, &err), NX_OK);
    bool has_histograms = false;
    for (unsigned i = 0; i < USAGE_CODEC_COUNT; i++)
        has_histograms |= usage.codecs[i].samples == found.histograms &&
                          strcmp(usage_codec_name(i), "histogram") == 0;
    assert_true(has_histograms);
    block_usage_deinit(&usage);
    block_unref(block);
    group_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_block_has_nothing_to_tell),
        cmocka_unit_test(test_every_flipped_bit_is_found_in_its_file),
        cmocka_unit_test(test_a_meta_that_tells_other_numbers_is_found),
        cmocka_unit_test(test_a_damaged_group_is_told_once_and_its_series_counted),
        cmocka_unit_test(test_what_is_missing_is_told),
        cmocka_unit_test(test_usage_adds_up),
        cmocka_unit_test(test_the_golden_block_with_all_kinds_of_samples_verifies),
        cmocka_unit_test(test_usage_of_a_damaged_block_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
