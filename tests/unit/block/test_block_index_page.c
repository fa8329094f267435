/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_index_page.c - pages of index.mdb as bytes: texts, rows, series. */
#include "narthex/base/mem.h"

#include "block_index_page.h"
#include "tests/unit/block/block_support.h"

static void test_blob_pages_give_back_their_blobs(void **state)
{
    (void)state;
    struct rand_state rand;
    struct blob_page_builder builder = {0};
    rand_seed(&rand, 1);
    uint32_t first = 0;
    for (unsigned round = 0; round < 50; round++) {
        uint8_t seeds[2000];
        uint32_t count = 0;
        size_t sizes[2000];
        size_t max = round % 10 == 9 ? 200000 : 60; /* a single blob may be longer than any page */
        do {
            sizes[count] = (size_t)rand_below(&rand, max);
            seeds[count] = (uint8_t)rand_u64(&rand);
            if (!blob_page_builder_fits(&builder, sizes[count]))
                break;
            uint8_t *blob = nx_alloc(sizes[count]);
            memset(blob, seeds[count], sizes[count]);
            blob_page_builder_add(&builder, (struct nx_bytes){blob, sizes[count]});
            nx_free(blob);
            count++;
        } while (count < 1999);
        struct nx_bytes page = blob_page_builder_finish(&builder);
        struct index_page_head head;
        assert_int_equal(index_page_read(page, &head), NX_OK);
        assert_int_equal(head.first, first);
        assert_int_equal(head.count, count);
        first += count;
        for (uint32_t i = 0; i < count; i++) {
            struct nx_bytes blob = {0};
            assert_int_equal(blob_page_get(page, i, &blob), NX_OK);
            assert_int_equal(blob.len, sizes[i]);
            for (size_t j = 0; j < blob.len; j++)
                assert_int_equal(blob.data[j], seeds[i]);
        }
        struct nx_bytes none = {0};
        assert_int_equal(blob_page_get(page, count, &none), NX_E_CORRUPT);
        assert_int_equal(blob_page_get((struct nx_bytes){page.data, 9}, 0, &none), NX_E_CORRUPT);
    }
    blob_page_builder_deinit(&builder);
}

static void test_series_pages_give_back_their_series(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 2);
    for (unsigned round = 0; round < 60; round++) {
        struct series_page_builder builder = {.has_slots = round % 2 == 0, .first = 1000};
        struct series_cursor cursor = {0};
        enum { SERIES = 300, WIDE = 100 };
        static uint32_t rows[SERIES][WIDE];
        uint32_t counts[SERIES], slots[SERIES], added = 0;
        bool shapes[SERIES];
        for (uint32_t s = 0; s < SERIES; s++) {
            bool is_same = s > 0 && rand_below(&rand, 5) != 0;
            counts[s] = is_same ? counts[s - 1]
                                : 1 + (uint32_t)rand_below(&rand, round % 7 == 0 ? WIDE : 16);
            for (uint32_t i = 0; i < counts[s]; i++)
                rows[s][i] = is_same && rand_below(&rand, 3) != 0
                                 ? rows[s - 1][i]
                                 : i * 10000 + (uint32_t)rand_below(&rand, 10000);
            slots[s] =
                rand_below(&rand, 4) == 0 ? UINT32_MAX : (uint32_t)rand_below(&rand, UINT32_MAX);
            shapes[s] = is_same;
        }
        while (added < SERIES && series_page_builder_try_add(&builder, rows[added], counts[added],
                                                             shapes[added], slots[added]))
            added++;
        assert_true(added > 5);
        struct nx_bytes page = series_page_builder_finish(&builder);
        assert_true(page.len <= INDEX_PAGE_BYTES);
        assert_int_equal(series_cursor_begin(&cursor, page), NX_OK);
        for (uint32_t s = 0; s < added; s++) {
            assert_int_equal(series_cursor_next(&cursor, WIDE * 10000), NX_OK);
            assert_int_equal(cursor.rank, 1000 + s);
            assert_int_equal(cursor.count, counts[s]);
            assert_int_equal(cursor.slot, builder.has_slots ? slots[s] : UINT32_MAX);
            assert_memory_equal(cursor.pairs, rows[s], counts[s] * sizeof(uint32_t));
        }
        assert_int_equal(series_cursor_next(&cursor, WIDE * 10000), NX_E_NOT_FOUND);
        /* Below the bound, or not at all. */
        assert_int_equal(series_cursor_begin(&cursor, page), NX_OK);
        assert_int_equal(series_cursor_next(&cursor, rows[0][counts[0] - 1]), NX_E_CORRUPT);
        /* Cut anywhere, the end of the page is missed before the last series is given. */
        for (size_t len = 0; len < page.len; len += 5) {
            nx_code code = series_cursor_begin(&cursor, (struct nx_bytes){page.data, len});
            uint32_t got = 0;
            while (code == NX_OK && (code = series_cursor_next(&cursor, WIDE * 10000)) == NX_OK)
                got++;
            assert_int_equal(code, NX_E_CORRUPT);
            assert_true(got < added);
        }
        series_cursor_deinit(&cursor);
        series_page_builder_deinit(&builder);
    }
}

static void test_rows_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct index_group_row group = {.offset = UINT64_MAX - 1,
                                    .stored_bytes = 2,
                                    .first_rank = 3,
                                    .last_rank = 4,
                                    .min_ms = INT64_MIN,
                                    .max_ms = INT64_MAX};
    struct index_group_row group_out;
    index_group_row_store(&group, bytes);
    index_group_row_load(bytes, &group_out);
    assert_int_equal(group_out.offset, group.offset);
    assert_int_equal(group_out.stored_bytes, 2);
    assert_int_equal(group_out.first_rank, 3);
    assert_int_equal(group_out.last_rank, 4);
    assert_true(group_out.min_ms == INT64_MIN && group_out.max_ms == INT64_MAX);
    struct index_vector_row vectors = {
        .offset = 9, .stored_bytes = 8, .first_vector = 7, .vector_count = 6};
    struct index_vector_row vectors_out;
    index_vector_row_store(&vectors, bytes);
    index_vector_row_load(bytes, &vectors_out);
    assert_int_equal(vectors_out.offset, 9);
    assert_int_equal(vectors_out.stored_bytes, 8);
    assert_int_equal(vectors_out.first_vector, 7);
    assert_int_equal(vectors_out.vector_count, 6);
}

static void test_random_bytes_are_survived(void **state)
{
    (void)state;
    struct rand_state rand;
    struct series_cursor cursor = {0};
    rand_seed(&rand, 9);
    for (unsigned round = 0; round < 30000; round++) {
        uint8_t data[48];
        size_t len = (size_t)rand_below(&rand, sizeof(data));
        for (size_t i = 0; i < len; i++)
            data[i] = rand_below(&rand, 2) == 0 ? (uint8_t)rand_u64(&rand)
                                                : (uint8_t)rand_below(&rand, 9);
        if (len >= 8) {
            store_u16(data + 4, (uint16_t)rand_below(&rand, 8));
            store_u16(data + 6, (uint16_t)rand_below(&rand, 2));
        }
        struct nx_bytes page = {data, len}, blob;
        for (uint32_t i = 0; i < 8; i++)
            if (blob_page_get(page, i, &blob) == NX_OK)
                assert_true(blob.data >= data && blob.data + blob.len <= data + len);
        if (series_cursor_begin(&cursor, page) != NX_OK)
            continue;
        while (series_cursor_next(&cursor, 1000) == NX_OK)
            for (uint32_t i = 1; i < cursor.count; i++)
                assert_true(cursor.pairs[i - 1] < cursor.pairs[i] && cursor.pairs[i] < 1000);
    }
    series_cursor_deinit(&cursor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blob_pages_give_back_their_blobs),
        cmocka_unit_test(test_series_pages_give_back_their_series),
        cmocka_unit_test(test_rows_round_trip),
        cmocka_unit_test(test_random_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
