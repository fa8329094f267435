/* SPDX-License-Identifier: Apache-2.0 */
/* test_metadata_table.c - families, limits, bytes, and the way through the catalog. */
#include "narthex/base/mem.h"
#include "narthex/storage/metadata_table.h"

#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct metric_metadata make(const char *family, enum metric_type type, const char *help)
{
    return (struct metric_metadata){.family = nx_str_from(family),
                                    .type = type,
                                    .help = nx_str_from(help),
                                    .unit = NX_STR("bytes")};
}

static size_t list(struct metadata_table *table, struct arena *arena, struct nx_str family,
                   size_t limit, struct metric_metadata **out)
{
    size_t count;
    struct nx_err err;
    assert_int_equal(metadata_table_list(table, family, limit, arena, out, &count, &err), NX_OK);
    return count;
}

static void test_metadata_table_keeps_the_newest(void **state)
{
    (void)state;
    struct metadata_table *table = metadata_table_new();
    struct metric_metadata b = make("b", METRIC_TYPE_GAUGE, "old");
    struct metric_metadata a = make("a", METRIC_TYPE_COUNTER, "");
    assert_int_equal(metadata_table_put(table, &b), METADATA_CHANGED);
    assert_int_equal(metadata_table_put(table, &b), METADATA_SAME);
    b = make("b", METRIC_TYPE_GAUGE, "new");
    assert_int_equal(metadata_table_put(table, &b), METADATA_CHANGED);
    assert_int_equal(metadata_table_put(table, &a), METADATA_CHANGED);
    struct arena arena;
    struct metric_metadata *found;
    arena_init(&arena, 0);
    assert_int_equal(list(table, &arena, NX_STR(""), 0, &found), 2);
    assert_true(nx_str_eq(found[0].family, NX_STR("a")) && found[0].type == METRIC_TYPE_COUNTER);
    assert_true(nx_str_eq(found[1].help, NX_STR("new")));
    assert_int_equal(list(table, &arena, NX_STR(""), 1, &found), 1);
    assert_int_equal(list(table, &arena, NX_STR("b"), 0, &found), 1);
    assert_int_equal(list(table, &arena, NX_STR("c"), 0, &found), 0);
    arena_deinit(&arena);
    metadata_table_free(table);
}

static void test_metadata_table_has_limits(void **state)
{
    (void)state;
    struct metadata_table *table = metadata_table_new();
    struct metric_metadata metadata = make("", METRIC_TYPE_GAUGE, "");
    assert_int_equal(metadata_table_put(table, &metadata), METADATA_REFUSED);
    char *text = nx_calloc(METADATA_TEXT_BYTES_MAX + 2, 1);
    memset(text, 'x', METADATA_TEXT_BYTES_MAX + 1);
    metadata = make("m", METRIC_TYPE_GAUGE, text);
    assert_int_equal(metadata_table_put(table, &metadata), METADATA_REFUSED);
    text[METADATA_TEXT_BYTES_MAX] = '\0';
    metadata = make("m", METRIC_TYPE_GAUGE, text);
    assert_int_equal(metadata_table_put(table, &metadata), METADATA_CHANGED);
    unsigned taken = 1;
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "m%u", i);
        metadata = make(name, METRIC_TYPE_GAUGE, text);
        enum metadata_result result = metadata_table_put(table, &metadata);
        taken += result == METADATA_CHANGED;
    }
    assert_in_range(taken, METADATA_BYTES_MAX / (METADATA_TEXT_BYTES_MAX + 64),
                    METADATA_BYTES_MAX / METADATA_TEXT_BYTES_MAX);
    metadata = make("m", METRIC_TYPE_GAUGE, "short"); /* frees room */
    assert_int_equal(metadata_table_put(table, &metadata), METADATA_CHANGED);
    nx_free(text);
    metadata_table_free(table);
}

static void test_metadata_bytes_are_checked(void **state)
{
    (void)state;
    struct nx_buf bytes = {0};
    struct metric_metadata metadata = make("name", METRIC_TYPE_SUMMARY, "help"), back;
    metadata_put(&metadata, &bytes);
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&bytes));
    assert_true(metadata_get(&reader, &back));
    assert_true(nx_str_eq(back.family, metadata.family) && back.type == METRIC_TYPE_SUMMARY);
    for (size_t cut = 0; cut < bytes.len; cut++) {
        reader = byte_reader_of((struct nx_bytes){.data = bytes.data, .len = cut});
        assert_false(metadata_get(&reader, &back));
    }
    bytes.data[0] = METRIC_TYPE_COUNT;
    reader = byte_reader_of(nx_buf_bytes(&bytes));
    assert_false(metadata_get(&reader, &back));
    nx_buf_deinit(&bytes);
}

static void test_metadata_table_lives_in_the_catalog(void **state)
{
    (void)state;
    char dir[] = "/tmp/narthex-metadata-XXXXXX";
    char path[64];
    struct nx_err err;
    struct catalog *catalog = NULL;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/catalog.mdb", dir);
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    struct metadata_table *table = metadata_table_new();
    for (unsigned i = 0; i < 500; i++) {
        char name[32];
        snprintf(name, sizeof(name), "family_%u", i);
        struct metric_metadata metadata = make(name, METRIC_TYPE_COUNTER, "some help");
        assert_int_equal(metadata_table_put(table, &metadata), METADATA_CHANGED);
    }
    assert_int_equal(metadata_table_save(table, catalog, &err), NX_OK);
    metadata_table_free(table);
    catalog_close(catalog);
    assert_int_equal(catalog_open(&catalog, path, &err), NX_OK);
    table = metadata_table_new();
    assert_int_equal(metadata_table_load(table, catalog, &err), NX_OK);
    struct arena arena;
    struct metric_metadata *found;
    arena_init(&arena, 0);
    assert_int_equal(list(table, &arena, NX_STR(""), 0, &found), 500);
    arena_deinit(&arena);
    /* A value that does not decode is told, and the others are there. */
    assert_int_equal(
        catalog_put(catalog, "metadata/00", (struct nx_bytes){(const uint8_t *)"\1\377", 2}, &err),
        NX_OK);
    metadata_table_free(table);
    table = metadata_table_new();
    assert_int_equal(metadata_table_load(table, catalog, &err), NX_E_CORRUPT);
    arena_init(&arena, 0);
    assert_in_range(list(table, &arena, NX_STR(""), 0, &found), 450, 499);
    arena_deinit(&arena);
    metadata_table_free(table);
    catalog_close(catalog);
    assert_int_equal(io_remove_tree(io_real(), dir, &err), NX_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata_table_keeps_the_newest),
        cmocka_unit_test(test_metadata_table_has_limits),
        cmocka_unit_test(test_metadata_bytes_are_checked),
        cmocka_unit_test(test_metadata_table_lives_in_the_catalog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
