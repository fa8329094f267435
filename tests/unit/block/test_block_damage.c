/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_damage.c - a block with a flipped bit, a cut file or a failing disk says so, and never lies. */
#include "narthex/base/io_faulty.h"
#include "narthex/base/mem.h"

#include "tests/unit/block/block_support.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct fixture {
    char *dir, *block_dir;
    struct model model;
    struct group_cache *cache;
    struct block_meta meta;
};

static void fixture_init(struct fixture *fixture, uint64_t seed)
{
    struct rand_state rand;
    const struct model_options options = {.series_max = 25,
                                          .samples_max = 700,
                                          .start_ms = 1700000000000,
                                          .step_ms = 15000,
                                          .is_shared_time = true,
                                          .has_odd_values = true,
                                          .has_histograms = true};
    rand_seed(&rand, seed);
    fixture->dir = temp_dir_new();
    fixture->block_dir = path_of(fixture->dir, TEST_ULID);
    model_init(&fixture->model, &rand, &options);
    model_write(&fixture->model, io_real(), fixture->block_dir, TEST_ULID, 0, 1, 1, &fixture->meta);
    fixture->cache = group_cache_new(1 << 20);
}

static void fixture_deinit(struct fixture *fixture)
{
    group_cache_free(fixture->cache);
    model_deinit(&fixture->model);
    nx_free(fixture->block_dir);
    temp_dir_free(fixture->dir);
}

/* False when they are refused. */
static bool read_histograms(struct block_reader *reader, uint32_t rank,
                            const struct model_series *series)
{
    struct nx_err err;
    struct arena arena;
    struct nx_buf out = {0};
    arena_init(&arena, 0);
    nx_code code = block_reader_histograms(reader, rank, INT64_MIN, INT64_MAX, &arena, &out, &err);
    if (code == NX_OK) {
        const struct histogram_sample *got =
            (const struct histogram_sample *)(const void *)out.data;
        assert_int_equal(out.len, series->histogram_count * sizeof(*got));
        for (size_t i = 0; i < series->histogram_count; i++) {
            assert_int_equal(got[i].time_ms, series->histograms[i].time_ms);
            assert_true(histogram_equal(got[i].histogram, series->histograms[i].histogram));
        }
    } else {
        assert_int_equal(code, NX_E_CORRUPT);
        assert_int_equal(out.len, 0);
    }
    nx_buf_deinit(&out);
    arena_deinit(&arena);
    return code == NX_OK;
}

/* Whatever is returned without an error is right. Returns whether anything was refused. */
static bool read_all(struct block *block, const struct model *model)
{
    struct block_reader *reader = NULL;
    struct nx_err err;
    struct nx_buf times = {0}, values = {0};
    bool is_refused = false;
    nx_code code = block_reader_new(block, &reader, &err);
    if (code != NX_OK) {
        assert_int_equal(code, NX_E_CORRUPT);
        assert_true(err.msg[0] != 0);
        return true;
    }
    for (uint32_t rank = 0; rank < model->count; rank++) {
        const struct model_series *series = &model->series[rank];
        nx_buf_reset(&times);
        nx_buf_reset(&values);
        code = block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err);
        if (code == NX_OK) {
            assert_int_equal(times.len, series->count * sizeof(int64_t));
            assert_memory_equal(times.data, series->times_ms, times.len);
            assert_memory_equal(values.data, series->values, values.len);
        } else {
            assert_int_equal(code, NX_E_CORRUPT);
            assert_int_equal(times.len + values.len, 0);
            is_refused = true;
        }
        is_refused |= !read_histograms(reader, rank, series);
    }
    block_reader_free(reader);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    return is_refused;
}

static uint64_t file_bytes_of(const struct fixture *f, const char *name)
{
    char *path = path_of(f->block_dir, name);
    uint64_t bytes = file_bytes(path);
    nx_free(path);
    return bytes;
}

static void flip_each(const struct fixture *f, const char *name, uint64_t step,
                      struct rand_state *rand)
{
    char *path = path_of(f->block_dir, name);
    uint64_t bytes = file_bytes(path);
    for (uint64_t at = 0; at < bytes; at += step) {
        struct block *block = NULL;
        struct nx_err err;
        uint64_t bit = at * 8 + rand_below(rand, 8);
        file_flip(path, bit);
        nx_code code = block_open(&block, io_real(), f->block_dir, f->cache, &err);
        if (code == NX_OK) {
            assert_true(read_all(block, &f->model));
            assert_int_equal(block_scrub(block, &err), NX_E_CORRUPT);
            block_unref(block);
        } else {
            assert_int_equal(code, NX_E_CORRUPT);
        }
        file_flip(path, bit);
    }
    nx_free(path);
}

static void test_any_flipped_byte_is_found(void **state)
{
    (void)state;
    struct fixture f;
    struct rand_state rand;
    rand_seed(&rand, 1);
    fixture_init(&f, 1);
    flip_each(&f, "block.meta", 1, &rand);
    flip_each(&f, "chunks.nxc", file_bytes_of(&f, "chunks.nxc") / 500 + 1, &rand);
    flip_each(&f, "index.mdb", 199, &rand);
    struct block *block = NULL;
    struct nx_err err;
    assert_int_equal(block_open(&block, io_real(), f.block_dir, f.cache, &err), NX_OK);
    assert_block_is_model(block, &f.model);
    assert_int_equal(block_scrub(block, &err), NX_OK);
    block_unref(block);
    fixture_deinit(&f);
}

/* The verdict on an index is final: it is not looked at again. */
static void test_a_bad_index_stays_bad(void **state)
{
    (void)state;
    struct fixture f;
    struct block *block = NULL;
    struct nx_err err;
    fixture_init(&f, 2);
    char *path = path_of(f.block_dir, "index.mdb");
    file_flip(path, 9999);
    assert_int_equal(block_open(&block, io_real(), f.block_dir, f.cache, &err), NX_OK);
    assert_int_equal(block_verify(block, &err), NX_E_CORRUPT);
    file_flip(path, 9999);
    assert_int_equal(block_verify(block, &err), NX_E_CORRUPT);
    assert_non_null(strstr(err.msg, "index.mdb"));
    block_unref(block);
    nx_free(path);
    fixture_deinit(&f);
}

static void test_cut_or_missing_files_are_found(void **state)
{
    (void)state;
    static const char *const names[] = {"block.meta", "index.mdb", "chunks.nxc"};
    for (unsigned i = 0; i < 3; i++) {
        struct fixture f;
        struct block *block = NULL;
        struct nx_err err;
        fixture_init(&f, 3);
        char *path = path_of(f.block_dir, names[i]);
        uint64_t bytes = file_bytes(path);
        assert_int_equal(truncate(path, (off_t)bytes - 1), 0);
        assert_int_equal(block_open(&block, io_real(), f.block_dir, f.cache, &err), NX_E_CORRUPT);
        assert_int_equal(truncate(path, (off_t)bytes + 1), 0);
        assert_int_equal(block_open(&block, io_real(), f.block_dir, f.cache, &err), NX_E_CORRUPT);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(block_open(&block, io_real(), f.block_dir, f.cache, &err), NX_E_CORRUPT);
        nx_free(path);
        fixture_deinit(&f);
    }
}

/* A file cut after it was opened: a short read, not a crash. */
static void test_chunks_cut_behind_our_back(void **state)
{
    (void)state;
    struct fixture f;
    struct block *block = NULL;
    struct nx_err err;
    fixture_init(&f, 4);
    char *path = path_of(f.block_dir, "chunks.nxc");
    assert_int_equal(block_open(&block, io_real(), f.block_dir, f.cache, &err), NX_OK);
    assert_int_equal(block_verify(block, &err), NX_OK);
    assert_int_equal(truncate(path, 40), 0);
    assert_true(read_all(block, &f.model));
    block_unref(block);
    nx_free(path);
    fixture_deinit(&f);
}

/* Every call of writing fails once: an error, and no directory left. */
static void test_failing_writes_leave_nothing(void **state)
{
    (void)state;
    static const enum io_call calls[] = {IO_CALL_OPEN,  IO_CALL_PWRITE, IO_CALL_FDATASYNC,
                                         IO_CALL_FSYNC, IO_CALL_MKDIR,  IO_CALL_CLOSE,
                                         IO_CALL_PREAD};
    struct fixture f;
    fixture_init(&f, 5);
    char *block_dir = path_of(f.dir, "other");
    unsigned failures = 0;
    for (unsigned c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        for (uint64_t nth = 1;; nth++) {
            struct io_faulty faulty;
            struct block_writer *writer = NULL;
            struct block_meta meta;
            struct nx_err err;
            io_faulty_init(&faulty, io_real());
            io_faulty_add(&faulty, (struct io_fault){
                                       .call = calls[c], .nth = nth, .sys = EIO, .torn_bytes = 10});
            const struct block_writer_options options = {
                .io = &faulty.io, .dir = block_dir, .ulid = TEST_ULID, .level = 1, .zstd_level = 1};
            nx_code code = block_writer_new(&writer, &options, &err);
            for (size_t i = 0; code == NX_OK && i < f.model.count; i++) {
                code = block_writer_add(writer, f.model.series[i].labels, BLOCK_SLOT_NONE,
                                        f.model.series[i].times_ms, f.model.series[i].values,
                                        f.model.series[i].count, &err);
                if (code == NX_OK)
                    code = block_writer_add_histograms(writer, f.model.series[i].histograms,
                                                       f.model.series[i].histogram_count, &err);
            }
            if (code == NX_OK)
                code = block_writer_finish(writer, &meta, &err);
            block_writer_free(writer);
            bool was_hit = io_faulty_failed_calls(&faulty) > 0;
            if (code == NX_OK) {
                assert_true(io_exists(block_dir));
                assert_int_equal(io_remove_tree(io_real(), block_dir, &err), NX_OK);
                if (!was_hit)
                    break;
            } else {
                assert_int_equal(code, NX_E_IO);
                assert_true(was_hit);
                assert_false(io_exists(block_dir));
                failures++;
            }
        }
    }
    assert_true(failures > 12);
    nx_free(block_dir);
    fixture_deinit(&f);
}

/* Reads that fail are errors of that call; the block works again afterwards. */
static void test_failing_reads_pass(void **state)
{
    (void)state;
    struct fixture f;
    struct io_faulty faulty;
    struct block *block = NULL;
    struct nx_err err;
    fixture_init(&f, 6);
    io_faulty_init(&faulty, io_real());
    assert_int_equal(block_open(&block, &faulty.io, f.block_dir, f.cache, &err), NX_OK);
    io_faulty_clear(&faulty);
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_PREAD, .nth = 1, .sys = EIO});
    assert_int_equal(block_verify(block, &err), NX_E_IO);
    assert_int_equal(block_verify(block, &err), NX_OK);
    struct block_reader *reader = NULL;
    struct nx_buf times = {0}, values = {0};
    assert_int_equal(block_reader_new(block, &reader, &err), NX_OK);
    io_faulty_clear(&faulty);
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_PREAD, .nth = 2, .sys = EIO});
    assert_int_equal(block_reader_samples(reader, 0, INT64_MIN, INT64_MAX, &times, &values, &err),
                     NX_E_IO);
    assert_int_equal(times.len + values.len, 0);
    assert_samples(reader, 0, &f.model.series[0], INT64_MIN, INT64_MAX);
    block_reader_free(reader);
    assert_block_is_model(block, &f.model);
    block_unref(block);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_flipped_byte_is_found),
        cmocka_unit_test(test_a_bad_index_stays_bad),
        cmocka_unit_test(test_cut_or_missing_files_are_found),
        cmocka_unit_test(test_chunks_cut_behind_our_back),
        cmocka_unit_test(test_failing_writes_leave_nothing),
        cmocka_unit_test(test_failing_reads_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
