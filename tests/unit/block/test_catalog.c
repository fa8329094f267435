/* SPDX-License-Identifier: Apache-2.0 */
/* test_catalog.c - rows survive reopening, and damage of any byte is found or does not matter. */
#include "narthex/base/mem.h"
#include "narthex/block/catalog.h"

#include "tests/unit/block/block_support.h"

#include <stdio.h>
#include <stdlib.h>

static struct block_meta make_meta(const char *ulid, uint64_t n)
{
    struct block_meta meta = {.level = (uint32_t)(n % 3),
                              .min_time_ms = -5 + (int64_t)n,
                              .max_time_ms = 1000 + (int64_t)n,
                              .series_count = 1 + n,
                              .sample_count = 100 + n,
                              .chunk_count = 2 + n,
                              .commit_min = n,
                              .commit_max = n + 1,
                              .index_bytes = 4096,
                              .chunks_bytes = 77,
                              .source_count = (uint32_t)(n % 5)};
    memcpy(meta.ulid, ulid, ULID_TEXT_LEN + 1);
    return meta;
}

/* What catalog_each tells, as one line per row. */
static nx_code print_row(void *context, const char *ulid, enum catalog_state state,
                         const struct block_meta *meta, struct nx_err *err)
{
    (void)err;
    nx_buf_printf(context, "%s %d", ulid, (int)state);
    if (meta != NULL)
        nx_buf_printf(context, " %u %lld %lld %llu %llu %llu %llu %llu", meta->level,
                      (long long)meta->min_time_ms, (long long)meta->max_time_ms,
                      (unsigned long long)meta->series_count,
                      (unsigned long long)meta->sample_count, (unsigned long long)meta->chunk_count,
                      (unsigned long long)meta->commit_min, (unsigned long long)meta->chunks_bytes);
    nx_buf_append_byte(context, '\n');
    return NX_OK;
}

static nx_code dump(const char *path, struct nx_buf *out, struct nx_err *err)
{
    struct catalog *catalog = NULL;
    nx_code code = catalog_open(&catalog, path, err);
    if (code != NX_OK)
        return code;
    code = catalog_each(catalog, print_row, out, err);
    if (code == NX_OK)
        code = catalog_get(catalog, "instance", out, err);
    catalog_close(catalog);
    return code;
}

static void fill(const char *path, unsigned blocks)
{
    struct catalog *catalog = NULL;
    struct nx_err err;
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    assert_int_equal(catalog_put(catalog, "instance", nx_bytes_from_str(NX_STR("abc\0def")), &err),
                     NX_OK);
    char previous[ULID_TEXT_LEN + 1] = "";
    for (unsigned i = 0; i < blocks; i++) {
        char ulid[ULID_TEXT_LEN + 1];
        snprintf(ulid, sizeof(ulid), "01HZZZZZZZZZZZZZZZZZZZZZ%02u", i % 100);
        assert_int_equal(catalog_begin(catalog, ulid, &err), NX_OK);
        struct block_meta meta = make_meta(ulid, i);
        const char *retired[] = {previous};
        if (i % 7 != 3)
            assert_int_equal(catalog_publish(catalog, &meta, 1, retired, i % 4 == 1 && i > 1, &err),
                             NX_OK);
        if (i % 8 == 5)
            assert_int_equal(catalog_forget(catalog, previous, &err), NX_OK);
        memcpy(previous, ulid, sizeof(previous));
    }
    catalog_close(catalog);
}

static void test_catalog_rows_survive_reopening(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb");
    struct nx_err err;
    struct catalog *catalog = NULL;
    struct nx_buf text = {0};
    const struct block_meta meta = make_meta("01HZZZZZZZZZZZZZZZZZZZZZZ1", 4);
    const char *const retired[] = {"01HZZZZZZZZZZZZZZZZZZZZZZ2"};
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    assert_int_equal(catalog_begin(catalog, "01HZZZZZZZZZZZZZZZZZZZZZZ1", &err), NX_OK);
    assert_int_equal(catalog_begin(catalog, "01HZZZZZZZZZZZZZZZZZZZZZZ3", &err), NX_OK);
    assert_int_equal(catalog_publish(catalog, &meta, 1, retired, 1, &err), NX_OK);
    assert_int_equal(catalog_forget(catalog, "01HZZZZZZZZZZZZZZZZZZZZZZ9", &err), NX_OK);
    assert_int_equal(catalog_put(catalog, "instance", nx_bytes_from_str(NX_STR("first")), &err),
                     NX_OK);
    assert_int_equal(catalog_put(catalog, "instance", nx_bytes_from_str(NX_STR("second")), &err),
                     NX_OK);
    assert_int_equal(catalog_get(catalog, "nothing", &text, &err), NX_E_NOT_FOUND);
    catalog_close(catalog);
    assert_int_equal(dump(path, &text, &err), NX_OK);
    nx_buf_append_byte(&text, 0);
    assert_string_equal((const char *)text.data,
                        "01HZZZZZZZZZZZZZZZZZZZZZZ1 2 1 -1 1004 5 104 6 4 77\n"
                        "01HZZZZZZZZZZZZZZZZZZZZZZ2 3\n"
                        "01HZZZZZZZZZZZZZZZZZZZZZZ3 1\n"
                        "second");
    nx_buf_deinit(&text);
    nx_free(path);
    temp_dir_free(dir);
}

/* Without a sync: this is done thousands of times. */
static void write_copy(const char *path, struct nx_bytes bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    fclose(file);
}

/* The one bit that looks like a commit cut off by a crash: bit 1 of a meta page's transaction number. */
static bool is_undecidable(uint64_t bit)
{
    return bit % (4096 * 8) == (16 + 128) * 8 + 1 && bit < 2 * 4096 * 8;
}

/* Any one bit: refused, or what the rows say is unchanged. */
static void test_catalog_flipped_bits_never_give_other_rows(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb"),
         *copy = path_of(dir, "copy.mdb");
    char *lock = path_of(dir, "copy.mdb-lock");
    struct nx_err err;
    struct nx_buf bytes = {0}, good = {0}, text = {0};
    struct rand_state rand;
    fill(path, 60);
    assert_int_equal(dump(path, &good, &err), NX_OK);
    assert_int_equal(io_read_file(io_real(), path, 1 << 30, &bytes, &err), NX_OK);
    rand_seed(&rand, 11);
    unsigned refused = 0;
    for (unsigned i = 0; i < 1200; i++) {
        /* A bit of every byte of the meta pages' used part, then any. */
        uint64_t bit = i < 2 * 152 ? ((i / 152) * 4096 + i % 152) * 8 + rand_below(&rand, 8)
                                   : rand_below(&rand, bytes.len * 8);
        if (is_undecidable(bit))
            continue;
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_copy(copy, nx_buf_bytes(&bytes));
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        nx_buf_reset(&text);
        nx_code code = dump(copy, &text, &err);
        if (code == NX_OK) {
            if (text.len != good.len || memcmp(text.data, good.data, good.len) != 0)
                fail_msg("bit %llu changed the rows", (unsigned long long)bit);
        } else if (code == NX_E_CORRUPT || code == NX_E_INVALID) {
            refused++;
        } else {
            fail_msg("bit %llu: %s", (unsigned long long)bit, err.msg);
        }
        assert_int_equal(io_remove_tree(io_real(), lock, &err), NX_OK);
    }
    assert_true(refused > 100);
    nx_buf_deinit(&bytes);
    nx_buf_deinit(&good);
    nx_buf_deinit(&text);
    nx_free(path);
    nx_free(copy);
    nx_free(lock);
    temp_dir_free(dir);
}

static void test_catalog_cut_short_is_refused(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb"),
         *copy = path_of(dir, "copy.mdb");
    struct nx_err err;
    struct nx_buf bytes = {0};
    fill(path, 20);
    assert_int_equal(io_read_file(io_real(), path, 1 << 30, &bytes, &err), NX_OK);
    for (size_t keep = 1; keep < bytes.len; keep += 1111) {
        struct catalog *catalog = NULL;
        write_copy(copy, (struct nx_bytes){bytes.data, keep});
        assert_int_equal(catalog_open(&catalog, copy, &err), NX_E_CORRUPT);
    }
    nx_buf_deinit(&bytes);
    nx_free(path);
    nx_free(copy);
    temp_dir_free(dir);
}

static void test_catalog_grows_beyond_its_first_map(void **state)
{
    (void)state;
    char *dir = temp_dir_new(), *path = path_of(dir, "catalog.mdb");
    struct nx_err err;
    struct catalog *catalog = NULL;
    size_t bytes = 3 << 20;
    uint8_t *value = nx_calloc(1, bytes);
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    for (unsigned i = 0; i < 12; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%u", i);
        value[0] = (uint8_t)i;
        assert_int_equal(catalog_put(catalog, key, (struct nx_bytes){value, bytes}, &err), NX_OK);
    }
    catalog_close(catalog);
    struct nx_buf out = {0};
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    assert_int_equal(catalog_get(catalog, "key-7", &out, &err), NX_OK);
    assert_int_equal(out.len, bytes);
    assert_int_equal(out.data[0], 7);
    catalog_close(catalog);
    nx_buf_deinit(&out);
    nx_free(value);
    nx_free(path);
    temp_dir_free(dir);
}

#define GOLDEN_PATH   NX_TEST_GOLDEN_DIR "/catalog_v1.mdb"
#define GOLDEN_BLOCKS 9

/* NARTHEX_GOLDEN_WRITE=1 writes the file anew: only together with a new format version. */
static void test_golden_catalog_of_format_1(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    char *made = path_of(dir, "made.mdb");
    char *copy = path_of(dir, "copy.mdb");
    struct nx_buf bytes = {0}, rows = {0}, golden = {0};
    struct nx_err err;
    fill(made, GOLDEN_BLOCKS);
    if (getenv("NARTHEX_GOLDEN_WRITE") != NULL) {
        assert_int_equal(io_read_file(io_real(), made, 1 << 22, &bytes, &err), NX_OK);
        assert_int_equal(io_write_file(io_real(), GOLDEN_PATH, nx_buf_bytes(&bytes), &err), NX_OK);
        nx_buf_reset(&bytes);
    }
    /* A copy: an open catalog may be written to. */
    assert_int_equal(io_read_file(io_real(), GOLDEN_PATH, 1 << 22, &bytes, &err), NX_OK);
    assert_int_equal(io_write_file(io_real(), copy, nx_buf_bytes(&bytes), &err), NX_OK);
    assert_int_equal(dump(made, &rows, &err), NX_OK);
    assert_int_equal(dump(copy, &golden, &err), NX_OK);
    assert_true(nx_str_eq(nx_buf_str(&rows), nx_buf_str(&golden)));
    nx_buf_deinit(&bytes);
    nx_buf_deinit(&rows);
    nx_buf_deinit(&golden);
    nx_free(made);
    nx_free(copy);
    temp_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_catalog_of_format_1),
        cmocka_unit_test(test_catalog_rows_survive_reopening),
        cmocka_unit_test(test_catalog_flipped_bits_never_give_other_rows),
        cmocka_unit_test(test_catalog_cut_short_is_refused),
        cmocka_unit_test(test_catalog_grows_beyond_its_first_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
