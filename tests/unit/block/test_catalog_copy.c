/* SPDX-License-Identifier: Apache-2.0 */
/* test_catalog_copy.c - copies of the catalog, and looking at it without touching it. */
#include "narthex/base/mem.h"
#include "narthex/block/catalog.h"

#include "tests/unit/block/block_support.h"

#include <stdio.h>
#include <string.h>

#define ROWS 300u

static void ulid_of(unsigned i, char out[ULID_TEXT_LEN + 1])
{
    snprintf(out, ULID_TEXT_LEN + 1, "01HZZZZZZZZZZZZZZZZZZZ%04u", i);
}

static struct block_meta meta_of(unsigned i)
{
    struct block_meta meta = {.level = i % 3,
                              .min_time_ms = i,
                              .max_time_ms = i + 10,
                              .series_count = 1,
                              .sample_count = i + 1,
                              .chunk_count = 1,
                              .commit_min = i,
                              .commit_max = i,
                              .index_bytes = 100,
                              .chunks_bytes = 100};
    ulid_of(i, meta.ulid);
    return meta;
}

static void fill(struct catalog *catalog)
{
    struct nx_err err;
    for (unsigned i = 0; i < ROWS; i++) {
        struct block_meta meta = meta_of(i);
        assert_int_equal(catalog_publish(catalog, &meta, 1, NULL, 0, &err), NX_OK);
    }
    for (unsigned i = 0; i < 40; i++) {
        char key[32];
        uint8_t value[100];
        snprintf(key, sizeof(key), "value-%u", i);
        memset(value, (int)i, sizeof(value));
        assert_int_equal(catalog_put(catalog, key, (struct nx_bytes){value, i}, &err), NX_OK);
    }
}

static nx_code see_row(void *context, const char *ulid, enum catalog_state state,
                       const struct block_meta *meta, struct nx_err *err)
{
    unsigned *count = context;
    char expected[ULID_TEXT_LEN + 1];
    (void)err;
    ulid_of(*count, expected);
    assert_string_equal(ulid, expected);
    assert_int_equal(state, CATALOG_LIVE);
    assert_int_equal(meta->sample_count, *count + 1);
    ++*count;
    return NX_OK;
}

static nx_code see_value(void *context, const char *key, struct nx_bytes value, struct nx_err *err)
{
    unsigned *seen = context;
    (void)err;
    if (strncmp(key, "value-", 6) != 0)
        return NX_OK;
    uint64_t number = 99;
    assert_true(nx_str_to_u64(nx_str_from(key + 6), &number));
    assert_int_equal(value.len, number);
    for (size_t i = 0; i < value.len; i++)
        assert_int_equal(value.data[i], number);
    ++*seen;
    return NX_OK;
}

static void assert_filled(struct catalog *catalog)
{
    struct nx_err err;
    unsigned rows = 0, values = 0;
    assert_int_equal(catalog_each(catalog, see_row, &rows, &err), NX_OK);
    assert_int_equal(rows, ROWS);
    assert_int_equal(catalog_each_value(catalog, see_value, &values, &err), NX_OK);
    assert_int_equal(values, 40);
}

static void test_a_copy_is_a_catalog_with_the_same_rows(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    char *path = path_of(dir, "catalog.mdb"), *copy_path = path_of(dir, "copy.mdb");
    struct catalog *catalog = NULL, *copy = NULL;
    struct nx_err err;
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    fill(catalog);
    assert_int_equal(catalog_copy(catalog, copy_path, &err), NX_OK);
    assert_int_not_equal(catalog_copy(catalog, copy_path, &err), NX_OK); /* it exists */
    assert_true(file_bytes(copy_path) < file_bytes(path));
    /* What comes later is not in it. */
    char later[ULID_TEXT_LEN + 1];
    ulid_of(ROWS, later);
    assert_int_equal(catalog_begin(catalog, later, &err), NX_OK);
    assert_int_equal(catalog_open_read_only(&copy, copy_path, false, &err), NX_OK);
    assert_filled(copy);
    catalog_close(copy);
    assert_int_equal(catalog_open(&copy, copy_path, &err), NX_OK);
    assert_filled(copy);
    struct block_meta meta = meta_of(ROWS);
    assert_int_equal(catalog_publish(copy, &meta, 1, NULL, 0, &err), NX_OK);
    catalog_close(copy);
    assert_int_equal(catalog_open(&copy, copy_path, &err), NX_OK);
    catalog_close(copy);
    catalog_close(catalog);
    nx_free(path);
    nx_free(copy_path);
    temp_dir_free(dir);
}

static void test_a_new_catalog_is_copied_too(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    char *path = path_of(dir, "catalog.mdb"), *copy_path = path_of(dir, "copy.mdb");
    struct catalog *catalog = NULL, *copy = NULL;
    struct nx_err err;
    unsigned rows = 0;
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    assert_int_equal(catalog_copy(catalog, copy_path, &err), NX_OK);
    assert_int_equal(catalog_open(&copy, copy_path, &err), NX_OK);
    assert_int_equal(catalog_each(copy, see_row, &rows, &err), NX_OK);
    assert_int_equal(rows, 0);
    catalog_close(copy);
    catalog_close(catalog);
    nx_free(path);
    nx_free(copy_path);
    temp_dir_free(dir);
}

static void test_a_read_only_open_changes_and_makes_nothing(void **state)
{
    (void)state;
    char *dir = temp_dir_new();
    char *path = path_of(dir, "catalog.mdb"), *lock_path = path_of(dir, "catalog.mdb-lock");
    struct catalog *catalog = NULL;
    struct nx_err err;
    for (unsigned shared = 0; shared < 2; shared++) {
        assert_int_equal(catalog_open_read_only(&catalog, path, shared == 1, &err), NX_E_NOT_FOUND);
        assert_false(io_exists(path) || io_exists(lock_path));
    }
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    fill(catalog);
    catalog_close(catalog);
    for (unsigned shared = 0; shared < 2; shared++) {
        assert_int_equal(io_real()->unlink(io_real(), lock_path, &err),
                         shared == 0 ? NX_OK : NX_E_IO);
        assert_int_equal(catalog_open_read_only(&catalog, path, shared == 1, &err), NX_OK);
        assert_filled(catalog);
        assert_int_not_equal(catalog_put(catalog, "a", (struct nx_bytes){NULL, 0}, &err), NX_OK);
        assert_false(io_exists(lock_path));
        catalog_close(catalog);
    }
    file_flip(path, 4096 * 8 * 2 + 3);
    nx_code code = catalog_open_read_only(&catalog, path, false, &err);
    assert_true(code == NX_OK || code == NX_E_CORRUPT);
    if (code == NX_OK)
        catalog_close(catalog);
    nx_free(path);
    nx_free(lock_path);
    temp_dir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_is_a_catalog_with_the_same_rows),
        cmocka_unit_test(test_a_new_catalog_is_copied_too),
        cmocka_unit_test(test_a_read_only_open_changes_and_makes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
