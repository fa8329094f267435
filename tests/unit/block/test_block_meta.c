/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_meta.c - block.meta as bytes. */
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#include "block_format.h"
#include "block_meta.h"
#include "tests/unit/block/block_support.h"

static void make_file(struct block_meta_file *file)
{
    *file = (struct block_meta_file){.meta = {.ulid = TEST_ULID,
                                              .level = 2,
                                              .min_time_ms = -7,
                                              .max_time_ms = 1700000000000,
                                              .series_count = 3,
                                              .sample_count = 900,
                                              .chunk_count = 4,
                                              .histogram_count = 450,
                                              .exemplar_count = 12,
                                              .exemplar_min_ms = -3,
                                              .exemplar_max_ms = 1700000000001,
                                              .commit_min = 5,
                                              .commit_max = 6,
                                              .index_bytes = 3 * FILE_SUM_BYTES + 1,
                                              .chunks_bytes = FILE_SUM_BYTES,
                                              .source_count = 2}};
    file->index_sums = nx_calloc(4, sizeof(uint64_t));
    file->chunks_sums = nx_calloc(1, sizeof(uint64_t));
    file->sources = nx_calloc(2, sizeof(*file->sources));
    for (unsigned i = 0; i < 4; i++)
        file->index_sums[i] = 1000 + i;
    file->chunks_sums[0] = 7;
    memcpy(file->sources[0], "01HZZZZZZZZZZZZZZZZZZZZZZ1", ULID_TEXT_LEN);
    memcpy(file->sources[1], "01HZZZZZZZZZZZZZZZZZZZZZZ2", ULID_TEXT_LEN);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct block_meta_file file, out = {0};
    struct nx_buf bytes = {0};
    struct nx_err err;
    make_file(&file);
    block_meta_encode(&file, &bytes);
    assert_int_equal(bytes.len, BLOCK_META_FIXED_BYTES + 2 * ULID_TEXT_LEN + 5 * 8 + 8);
    assert_int_equal(block_meta_decode(nx_buf_bytes(&bytes), &out, &err), NX_OK);
    assert_string_equal(out.meta.ulid, TEST_ULID);
    assert_int_equal(out.meta.min_time_ms, -7);
    assert_int_equal(out.meta.max_time_ms, 1700000000000);
    assert_int_equal(out.meta.sample_count, 900);
    assert_int_equal(out.meta.histogram_count, 450);
    assert_int_equal(out.meta.exemplar_count, 12);
    assert_int_equal(out.meta.exemplar_min_ms, -3);
    assert_int_equal(out.meta.exemplar_max_ms, 1700000000001);
    assert_int_equal(out.meta.commit_max, 6);
    assert_memory_equal(out.index_sums, file.index_sums, 32);
    assert_int_equal(out.chunks_sums[0], 7);
    assert_string_equal(out.sources[1], "01HZZZZZZZZZZZZZZZZZZZZZZ2");
    block_meta_file_deinit(&out);
    block_meta_file_deinit(&out);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(block_meta_decode((struct nx_bytes){bytes.data, len}, &out, &err),
                         NX_E_CORRUPT);
    block_meta_file_deinit(&file);
    nx_buf_deinit(&bytes);
}

/* Rewrites the checksum after a change: bytes that someone wrote on purpose. */
static nx_code decode_changed(const struct nx_buf *good, size_t at, const void *value, size_t size)
{
    struct nx_buf bytes = {0};
    struct block_meta_file out = {0};
    struct nx_err err;
    nx_buf_append(&bytes, good->data, good->len);
    memcpy(bytes.data + at, value, size);
    store_u64(bytes.data + bytes.len - 8, nx_hash64(bytes.data, bytes.len - 8, 0));
    nx_code code = block_meta_decode(nx_buf_bytes(&bytes), &out, &err);
    if (code == NX_OK)
        block_meta_file_deinit(&out);
    nx_buf_deinit(&bytes);
    return code;
}

static void test_impossible_values_are_refused(void **state)
{
    (void)state;
    struct block_meta_file file;
    struct nx_buf bytes = {0};
    make_file(&file);
    block_meta_encode(&file, &bytes);
    uint32_t u32;
    uint64_t u64;
    assert_int_equal(decode_changed(&bytes, 0, "N", 1), NX_OK);
    assert_int_equal(decode_changed(&bytes, 0, "M", 1), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 8, &(uint32_t){1}, 4), NX_E_INVALID);
    assert_int_equal(decode_changed(&bytes, 8, &(uint32_t){2}, 4), NX_E_INVALID);
    assert_int_equal(decode_changed(&bytes, 8, &(uint32_t){4}, 4), NX_E_INVALID);
    assert_int_equal(decode_changed(&bytes, 12, &(uint32_t){3}, 4), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 16, "u", 1), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 42, "x", 1), NX_E_CORRUPT);
    u32 = UINT32_MAX;
    assert_int_equal(decode_changed(&bytes, 44, &u32, 4), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 44, &(uint32_t){3}, 4), NX_E_CORRUPT);
    u64 = (uint64_t)INT64_MAX;
    assert_int_equal(decode_changed(&bytes, 48, &u64, 8), NX_E_CORRUPT);
    u64 = 0;
    assert_int_equal(decode_changed(&bytes, 64, &u64, 8), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 72, &u64, 8), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 80, &u64, 8), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 96, &u64, 8), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 104, &u64, 8), NX_E_CORRUPT);
    u64 = UINT64_MAX;
    assert_int_equal(decode_changed(&bytes, 104, &u64, 8), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, 112, &u64, 8), NX_E_CORRUPT);
    u64 = 901; /* histograms: more than samples */
    assert_int_equal(decode_changed(&bytes, 120, &u64, 8), NX_E_CORRUPT);
    u64 = 0; /* exemplars: none, but with times; many more than the series can have */
    assert_int_equal(decode_changed(&bytes, 128, &u64, 8), NX_E_CORRUPT);
    u64 = 3 * BLOCK_SERIES_EXEMPLARS_MAX + 1;
    assert_int_equal(decode_changed(&bytes, 128, &u64, 8), NX_E_CORRUPT);
    u64 = (uint64_t)INT64_MIN;
    assert_int_equal(decode_changed(&bytes, 144, &u64, 8), NX_E_CORRUPT);
    assert_int_equal(decode_changed(&bytes, BLOCK_META_FIXED_BYTES, "!", 1), NX_E_CORRUPT);
    block_meta_file_deinit(&file);
    nx_buf_deinit(&bytes);
}

static void test_ulids(void **state)
{
    (void)state;
    assert_true(ulid_is_valid("01HZZZZZZZZZZZZZZZZZZZZZZZ"));
    assert_false(ulid_is_valid("01HZZZZZZZZZZZZZZZZZZZZZZ"));
    assert_false(ulid_is_valid("01HZZZZZZZZZZZZZZZZZZZZZZZZ"));
    assert_false(ulid_is_valid("01HZZZZZZZZZZZZZZZZZZZZZZI"));
    assert_false(ulid_is_valid("../../../../../etc/passwd"));
    assert_false(ulid_is_valid(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_impossible_values_are_refused),
        cmocka_unit_test(test_ulids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
