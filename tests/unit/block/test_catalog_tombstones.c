/* SPDX-License-Identifier: Apache-2.0 */
/* test_catalog_tombstones.c - the table that the first delete makes: its rows come, change and go with their blocks. */
#include "narthex/base/mem.h"
#include "narthex/block/catalog.h"

#include "tests/unit/block/block_support.h"

#include <stdio.h>
#include <stdlib.h>

#define ULID_A      "01HZZZZZZZZZZZZZZZZZZZZZZA"
#define ULID_B      "01HZZZZZZZZZZZZZZZZZZZZZZB"
#define GOLDEN_PATH NX_TEST_GOLDEN_DIR "/catalog_v2.mdb"

static struct block_meta make_meta(const char *ulid)
{
    struct block_meta meta = {.min_time_ms = -5,
                              .max_time_ms = 1000,
                              .series_count = 10,
                              .sample_count = 100,
                              .chunk_count = 10,
                              .commit_min = 1,
                              .commit_max = 2,
                              .index_bytes = 4096,
                              .chunks_bytes = 77};
    memcpy(meta.ulid, ulid, ULID_TEXT_LEN + 1);
    return meta;
}

static nx_code print_row(void *context, const char *ulid, struct nx_bytes packed,
                         struct nx_err *err)
{
    uint64_t sum = 0;
    (void)err;
    for (size_t i = 0; i < packed.len; i++)
        sum += packed.data[i];
    nx_buf_printf(context, "%s %zu %llu\n", ulid, packed.len, (unsigned long long)sum);
    return NX_OK;
}

static nx_code dump(const char *path, struct nx_buf *out, struct nx_err *err)
{
    struct catalog *catalog = NULL;
    nx_code code = catalog_open(&catalog, path, err);
    if (code != NX_OK)
        return code;
    code = catalog_each_tombstones(catalog, print_row, out, err);
    if (code == NX_OK && catalog_get(catalog, "commit", out, err) == NX_E_NOT_FOUND)
        nx_buf_append_cstr(out, "none");
    catalog_close(catalog);
    return code;
}

static void assert_rows(const char *path, const char *expected)
{
    struct nx_buf text = {0};
    struct nx_err err;
    nx_code code = dump(path, &text, &err);
    if (code != NX_OK)
        fail_msg("%s", err.msg);
    nx_buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data, expected);
    nx_buf_deinit(&text);
}

static void apply(const char *path, const struct catalog_change *change)
{
    struct catalog *catalog = NULL;
    struct nx_err err;
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    nx_code code = catalog_apply(catalog, change, &err);
    if (code != NX_OK)
        fail_msg("%s", err.msg);
    catalog_close(catalog);
}

/* Two blocks, both with tombstones; those of B are of several pages. */
static void fill(const char *path)
{
    const struct block_meta metas[] = {make_meta(ULID_A), make_meta(ULID_B)};
    static uint8_t large[20000];
    memset(large, 1, sizeof(large));
    const struct catalog_tombstones rows[] = {
        {ULID_A, nx_bytes_from_str(NX_STR("abc"))},
        {ULID_B, {large, sizeof(large)}},
    };
    const struct catalog_change blocks = {.live = metas, .live_count = 2};
    const struct catalog_change tombstones = {.tombstones = rows,
                                              .tombstone_count = 2,
                                              .key = "commit",
                                              .value = nx_bytes_from_str(NX_STR("seven"))};
    apply(path, &blocks);
    assert_rows(path, "none");
    apply(path, &tombstones);
}

static void test_tombstones_come_and_go_with_their_blocks(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb");
    struct catalog *catalog = NULL;
    struct nx_err err;
    fill(path);
    assert_rows(path, ULID_A " 3 294\n" ULID_B " 20000 20000\nseven");
    const struct catalog_tombstones other = {ULID_A, nx_bytes_from_str(NX_STR("bc"))};
    apply(path, &(struct catalog_change){.tombstones = &other, .tombstone_count = 1});
    assert_rows(path, ULID_A " 2 197\n" ULID_B " 20000 20000\nseven");
    /* What retires loses them in the same transaction, even those that it gets in it. */
    const char *const retired[] = {ULID_A};
    apply(path,
          &(struct catalog_change){
              .retired = retired, .retired_count = 1, .tombstones = &other, .tombstone_count = 1});
    assert_rows(path, ULID_B " 20000 20000\nseven");
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    assert_int_equal(catalog_forget(catalog, ULID_B, &err), NX_OK);
    catalog_close(catalog);
    assert_rows(path, "seven");
    const struct catalog_tombstones none = {ULID_A, {NULL, 0}};
    apply(path, &(struct catalog_change){.tombstones = &none, .tombstone_count = 1});
    assert_rows(path, "seven");
    nx_free(path);
    temp_dir_free(dir);
}

/* More than the map holds at first: the transaction that makes the table is made again. */
static void test_tombstones_larger_than_the_map(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb");
    size_t bytes = (size_t)40 << 20;
    uint8_t *packed = nx_calloc(bytes, 1);
    const struct catalog_tombstones rows[] = {{ULID_A, {packed, bytes}}, {ULID_B, {packed, 7}}};
    packed[0] = 9;
    apply(path, &(struct catalog_change){.tombstones = rows, .tombstone_count = 2});
    assert_rows(path, ULID_A " 41943040 9\n" ULID_B " 7 9\nnone");
    nx_free(packed);
    nx_free(path);
    temp_dir_free(dir);
}

static void test_flipped_bits_never_give_other_tombstones(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb"),
         *copy = path_of(dir, "copy.mdb"), *lock = path_of(dir, "copy.mdb-lock");
    struct nx_buf bytes = {0}, good = {0}, text = {0};
    struct rand_state rand;
    struct nx_err err;
    unsigned refused = 0;
    fill(path);
    assert_int_equal(dump(path, &good, &err), NX_OK);
    assert_int_equal(io_read_file(io_real(), path, 1 << 30, &bytes, &err), NX_OK);
    rand_seed(&rand, 5);
    for (unsigned i = 0; i < 600; i++) {
        /* Not the meta pages: one bit of theirs looks like a commit that was cut off. */
        uint64_t bit = 2 * 4096 * 8 + rand_below(&rand, (bytes.len - 2 * 4096) * 8);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(io_write_file(io_real(), copy, nx_buf_bytes(&bytes), &err), NX_OK);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        nx_buf_reset(&text);
        nx_code code = dump(copy, &text, &err);
        if (code == NX_OK)
            assert_true(text.len == good.len && memcmp(text.data, good.data, good.len) == 0);
        else
            assert_true(code == NX_E_CORRUPT || code == NX_E_INVALID);
        refused += code != NX_OK;
        assert_int_equal(io_remove_tree(io_real(), lock, &err), NX_OK);
    }
    assert_true(refused > 20);
    nx_buf_deinit(&bytes);
    nx_buf_deinit(&good);
    nx_buf_deinit(&text);
    nx_free(path);
    nx_free(copy);
    nx_free(lock);
    temp_dir_free(dir);
}

/* NARTHEX_GOLDEN_WRITE=1 writes the file anew: only together with a new format version. */
static void test_golden_catalog_of_format_2(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb");
    struct nx_buf bytes = {0};
    struct nx_err err;
    if (getenv("NARTHEX_GOLDEN_WRITE") != NULL) {
        fill(path);
        assert_int_equal(io_read_file(io_real(), path, 1 << 22, &bytes, &err), NX_OK);
        assert_int_equal(io_write_file(io_real(), GOLDEN_PATH, nx_buf_bytes(&bytes), &err), NX_OK);
        assert_int_equal(io_remove_tree(io_real(), path, &err), NX_OK);
        nx_buf_reset(&bytes);
    }
    /* A copy: an open catalog may be written to. */
    assert_int_equal(io_read_file(io_real(), GOLDEN_PATH, 1 << 22, &bytes, &err), NX_OK);
    assert_int_equal(io_write_file(io_real(), path, nx_buf_bytes(&bytes), &err), NX_OK);
    assert_rows(path, ULID_A " 3 294\n" ULID_B " 20000 20000\nseven");
    nx_buf_deinit(&bytes);
    nx_free(path);
    temp_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tombstones_come_and_go_with_their_blocks),
        cmocka_unit_test(test_tombstones_larger_than_the_map),
        cmocka_unit_test(test_flipped_bits_never_give_other_tombstones),
        cmocka_unit_test(test_golden_catalog_of_format_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
