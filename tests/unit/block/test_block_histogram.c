/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_histogram.c - the largest histograms in a block, budgets, and series of both kinds. */
#include "narthex/base/mem.h"

#include "block_internal.h"
#include "tests/unit/block/block_support.h"

#include <string.h>

static const struct label name[] = {{NX_STR("__name__"), NX_STR("latency")}};

static struct block_writer *writer_new(const char *dir)
{
    struct block_writer *writer = NULL;
    struct nx_err err;
    const struct block_writer_options options = {
        .io = io_real(), .dir = dir, .ulid = TEST_ULID, .level = 1, .zstd_level = 1};
    assert_int_equal(block_writer_new(&writer, &options, &err), NX_OK);
    return writer;
}

/* All buckets that there may be, no two alike: chunks of them are cut by bytes before they are by cells. */
static const struct histogram *make_largest(struct rand_state *rand, struct arena *arena)
{
    struct histogram *histogram = arena_calloc(arena, 1, sizeof(*histogram));
    struct histogram_span *span = arena_calloc(arena, 1, sizeof(*span));
    *span = (struct histogram_span){.offset = 0, .length = HISTOGRAM_BUCKETS_MAX};
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        uint64_t *counts = arena_alloc(arena, HISTOGRAM_BUCKETS_MAX * sizeof(*counts));
        for (size_t b = 0; b < HISTOGRAM_BUCKETS_MAX; b++)
            counts[b] = rand_u64(rand);
        histogram->sides[sign] = (struct histogram_side){.spans = span,
                                                         .buckets = counts,
                                                         .span_count = 1,
                                                         .bucket_count = HISTOGRAM_BUCKETS_MAX};
    }
    return histogram;
}

static void test_block_cuts_chunks_of_the_largest_histograms(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *block_dir = path_of(dir, TEST_ULID);
    struct rand_state rand;
    struct arena arena, small;
    struct block_meta meta;
    struct block *block = NULL;
    struct nx_err err;
    struct histogram_sample samples[7];
    rand_seed(&rand, 3);
    arena_init(&arena, 0);
    arena_init(&small, 1 << 20);
    struct block_writer *writer = writer_new(block_dir);
    for (size_t i = 0; i < 7; i++)
        samples[i] = (struct histogram_sample){.time_ms = (int64_t)i,
                                               .histogram = make_largest(&rand, &arena)};
    assert_int_equal(
        block_writer_add(writer, (struct labels){name, 1}, BLOCK_SLOT_NONE, NULL, NULL, 0, &err),
        NX_OK);
    assert_int_equal(block_writer_add_histograms(writer, samples, 7, &err), NX_OK);
    assert_int_equal(block_writer_finish(writer, &meta, &err), NX_OK);
    assert_int_equal(meta.sample_count, 7);
    assert_int_equal(meta.histogram_count, 7);
    assert_int_equal(meta.chunk_count, 7);
    block_writer_free(writer);

    struct group_cache *cache = group_cache_new(1 << 20);
    struct block_reader *reader = NULL;
    struct nx_buf out = {0};
    assert_int_equal(block_open(&block, io_real(), block_dir, cache, &err), NX_OK);
    assert_int_equal(block_scrub(block, &err), NX_OK);
    assert_int_equal(block_reader_new(block, &reader, &err), NX_OK);
    assert_int_equal(block_reader_histograms(reader, 0, 2, 4, &arena, &out, &err), NX_OK);
    assert_int_equal(out.len, 3 * sizeof(struct histogram_sample));
    const struct histogram_sample *got = (const struct histogram_sample *)(const void *)out.data;
    for (size_t i = 0; i < 3; i++)
        assert_true(histogram_equal(got[i].histogram, samples[2 + i].histogram));
    assert_int_equal(block_reader_histograms(reader, 0, INT64_MIN, INT64_MAX, &small, &out, &err),
                     NX_E_LIMIT);
    assert_int_equal(out.len, 3 * sizeof(struct histogram_sample)); /* as before */
    nx_buf_deinit(&out);
    block_reader_free(reader);
    block_unref(block);
    group_cache_free(cache);
    arena_deinit(&arena);
    arena_deinit(&small);
    nx_free(block_dir);
    temp_dir_free(dir);
}

/* Floats between the chunks of histograms, as they come from a merge. */
static void test_block_keeps_kinds_apart_in_any_order_of_chunks(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *block_dir = path_of(dir, TEST_ULID);
    struct block_meta meta;
    struct block *block = NULL;
    struct nx_err err;
    struct block_writer *writer = writer_new(block_dir);
    const struct histogram empty = {.sum = 1};
    assert_int_equal(block_writer_begin_series(writer, (struct labels){name, 1}, 1, &err), NX_OK);
    for (int64_t i = 0; i < 10; i++) {
        const struct histogram *histogram = &empty;
        int64_t float_ms = 200000 * i + 100000, histogram_ms = 200000 * i;
        double value = (double)i;
        assert_int_equal(block_writer_put_samples(writer, &float_ms, &value, 1, &err), NX_OK);
        assert_int_equal(block_writer_put_histograms(writer, &histogram_ms, &histogram, 1, &err),
                         NX_OK);
    }
    assert_int_equal(block_writer_finish(writer, &meta, &err), NX_OK);
    block_writer_free(writer);
    assert_int_equal(meta.chunk_count, 20);

    struct group_cache *cache = group_cache_new(1 << 20);
    struct block_reader *reader = NULL;
    struct nx_buf times = {0}, values = {0}, histograms = {0}, chunks = {0};
    struct arena arena;
    arena_init(&arena, 0);
    assert_int_equal(block_open(&block, io_real(), block_dir, cache, &err), NX_OK);
    assert_int_equal(block_scrub(block, &err), NX_OK);
    assert_int_equal(block_reader_new(block, &reader, &err), NX_OK);
    assert_int_equal(block_reader_samples(reader, 0, INT64_MIN, INT64_MAX, &times, &values, &err),
                     NX_OK);
    assert_int_equal(times.len, 10 * sizeof(int64_t));
    assert_int_equal(block_reader_histograms(reader, 0, 1, 600000, &arena, &histograms, &err),
                     NX_OK);
    assert_int_equal(histograms.len, 3 * sizeof(struct histogram_sample));
    assert_int_equal(block_reader_chunks(reader, 0, &chunks, &err), NX_OK);
    assert_int_equal(chunks.len, 20 * sizeof(struct block_chunk));
    bool overlaps = false;
    assert_int_equal(block_reader_overlaps(reader, 0, 200000, 200000, &overlaps, &err), NX_OK);
    assert_true(overlaps);
    assert_int_equal(block_reader_overlaps(reader, 0, 200001, 299999, &overlaps, &err), NX_OK);
    assert_false(overlaps);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    nx_buf_deinit(&histograms);
    nx_buf_deinit(&chunks);
    arena_deinit(&arena);
    block_reader_free(reader);
    block_unref(block);
    group_cache_free(cache);
    nx_free(block_dir);
    temp_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_cuts_chunks_of_the_largest_histograms),
        cmocka_unit_test(test_block_keeps_kinds_apart_in_any_order_of_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
