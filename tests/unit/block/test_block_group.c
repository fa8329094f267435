/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_group.c - groups: what goes in comes out; what was never written is refused. */
#include "narthex/base/mem.h"

#include "block_group.h"
#include "tests/unit/block/block_support.h"

static struct nx_bytes bytes_of(const char *text)
{
    return nx_bytes_from_str(nx_str_from(text));
}

static void test_envelope_round_trip_and_place(void **state)
{
    (void)state;
    struct nx_buf raw = {0}, stored = {0}, scratch = {0};
    struct rand_state rand;
    rand_seed(&rand, 1);
    for (unsigned kind = 0; kind < 2; kind++) {
        nx_buf_reset(&raw);
        for (unsigned i = 0; i < 5000; i++)
            nx_buf_append_byte(&raw, kind == 0 ? (uint8_t)(i / 100) : (uint8_t)rand_u64(&rand));
        nx_buf_reset(&stored);
        group_pack(GROUP_KIND_CHUNKS, 77, nx_buf_bytes(&raw), 1, 4096, &stored);
        assert_int_equal(stored.len < raw.len, kind == 0); /* the second does not pack */
        struct nx_bytes out = {0};
        assert_int_equal(
            group_unpack(nx_buf_bytes(&stored), 4096, GROUP_KIND_CHUNKS, 77, &scratch, &out),
            NX_OK);
        assert_int_equal(out.len, raw.len);
        assert_memory_equal(out.data, raw.data, raw.len);
        assert_int_equal(
            group_unpack(nx_buf_bytes(&stored), 4097, GROUP_KIND_CHUNKS, 77, &scratch, &out),
            NX_E_CORRUPT);
        assert_int_equal(
            group_unpack(nx_buf_bytes(&stored), 4096, GROUP_KIND_VECTORS, 77, &scratch, &out),
            NX_E_CORRUPT);
        assert_int_equal(
            group_unpack(nx_buf_bytes(&stored), 4096, GROUP_KIND_CHUNKS, 78, &scratch, &out),
            NX_E_CORRUPT);
        for (size_t i = 0; i < stored.len; i += i < 64 ? 1 : 37) {
            stored.data[i] ^= 4;
            assert_int_equal(
                group_unpack(nx_buf_bytes(&stored), 4096, GROUP_KIND_CHUNKS, 77, &scratch, &out),
                NX_E_CORRUPT);
            stored.data[i] ^= 4;
        }
        for (size_t len = 0; len < stored.len; len += 7)
            assert_int_equal(group_unpack((struct nx_bytes){stored.data, len}, 4096,
                                          GROUP_KIND_CHUNKS, 77, &scratch, &out),
                             NX_E_CORRUPT);
    }
    nx_buf_deinit(&raw);
    nx_buf_deinit(&stored);
    nx_buf_deinit(&scratch);
}

static void test_chunk_directory_round_trip(void **state)
{
    (void)state;
    struct group_builder builder = {0};
    struct chunk_group *group = NULL;
    size_t bytes = 0;
    int64_t base = 1700000000000;
    group_builder_add(&builder, 10, 500, base, base + 7200000, bytes_of("first"));
    group_builder_add(&builder, 10, 501, base + 7200000, base + 14400000, bytes_of("second"));
    group_builder_add(&builder, 12, 3, base - 1, base - 1, bytes_of("third"));
    assert_int_equal(group_builder_first_rank(&builder), 10);
    assert_int_equal(group_builder_last_rank(&builder), 12);
    struct nx_bytes raw = group_builder_finish(&builder);
    assert_int_equal(chunk_group_parse(raw, 10, 12, &group, &bytes), NX_OK);
    assert_int_equal(group->chunk_count, 3);
    assert_int_equal(group->chunks[1].vector, 501);
    assert_int_equal(group->chunks[2].vector, 3);
    assert_int_equal(chunk_group_find(group, 9), 0);
    assert_int_equal(chunk_group_find(group, 10), 0);
    assert_int_equal(chunk_group_find(group, 11), 2);
    assert_int_equal(chunk_group_find(group, 13), 3);
    assert_memory_equal(chunk_group_bytes(group, 1).data, "second", 6);
    assert_int_equal(chunk_group_bytes(group, 1).len, 6);
    assert_int_equal(chunk_group_bytes(group, 2).len, 5);
    assert_true(chunk_group_may_overlap(group, 0, base, base));
    assert_true(chunk_group_may_overlap(group, 0, base + 7200000, INT64_MAX));
    assert_false(chunk_group_may_overlap(group, 0, base + 7200000 + 200000, INT64_MAX));
    assert_false(chunk_group_may_overlap(group, 1, INT64_MIN, base + 7200000 - 70000));
    assert_true(chunk_group_is_inside(group, 0, base - 200000, base + 8000000));
    assert_false(chunk_group_is_inside(group, 0, base + 1, base + 8000000));
    nx_free(group);
    assert_int_equal(chunk_group_parse(raw, 9, 12, &group, &bytes), NX_E_CORRUPT);
    assert_int_equal(chunk_group_parse(raw, 10, 13, &group, &bytes), NX_E_CORRUPT);
    assert_int_equal(chunk_group_parse(raw, 10, 11, &group, &bytes), NX_E_CORRUPT);
    assert_int_equal(chunk_group_parse(raw, 12, 10, &group, &bytes), NX_E_CORRUPT);
    for (size_t len = 0; len < raw.len; len++)
        assert_int_equal(
            chunk_group_parse((struct nx_bytes){raw.data, len}, 10, 12, &group, &bytes),
            NX_E_CORRUPT);
    group_builder_deinit(&builder);
}

static void test_vectors_round_trip(void **state)
{
    (void)state;
    struct vector_builder builder = {.first = 40};
    struct vector_group *group = NULL;
    size_t bytes = 0;
    int64_t times[3][5] = {{-5, 0, 5, 10, 15},
                           {1700000000000, 1700000015000, 1700000030001, 1700000045000, INT64_MAX},
                           {INT64_MIN, -1, 0, 1, 2}};
    for (unsigned i = 0; i < 3; i++)
        vector_builder_add(&builder, times[i], i + 3);
    assert_false(vector_builder_is_full(&builder));
    struct nx_bytes raw = vector_builder_finish(&builder);
    assert_int_equal(builder.first, 43);
    assert_int_equal(vector_group_parse(raw, 40, 3, &group, &bytes), NX_OK);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t count = 0;
        const int64_t *got = vector_group_times(group, 40 + i, &count);
        assert_int_equal(count, i + 3);
        assert_memory_equal(got, times[i], count * sizeof(*got));
    }
    nx_free(group);
    assert_int_equal(vector_group_parse(raw, 40, 2, &group, &bytes), NX_E_CORRUPT);
    for (size_t len = 0; len < raw.len; len++)
        assert_int_equal(
            vector_group_parse((struct nx_bytes){raw.data, len}, 40, 3, &group, &bytes),
            NX_E_CORRUPT);
    vector_builder_deinit(&builder);
}

/* Any bytes: an answer, no crash, and what is accepted keeps its own bounds. */
static void test_random_bytes_are_survived(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 3);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t data[64];
        size_t len = (size_t)rand_below(&rand, sizeof(data)), bytes = 0;
        for (size_t i = 0; i < len; i++)
            data[i] = rand_below(&rand, 3) == 0 ? (uint8_t)rand_u64(&rand)
                                                : (uint8_t)rand_below(&rand, 4);
        struct chunk_group *group = NULL;
        uint32_t first = (uint32_t)rand_below(&rand, 3);
        if (chunk_group_parse((struct nx_bytes){data, len}, first,
                              first + (uint32_t)rand_below(&rand, 3), &group, &bytes) == NX_OK) {
            for (uint32_t i = 0; i < group->chunk_count; i++)
                assert_true(chunk_group_bytes(group, i).len > 0);
            nx_free(group);
        }
        struct vector_group *vectors = NULL;
        if (vector_group_parse((struct nx_bytes){data, len}, 0, 1 + (uint32_t)rand_below(&rand, 3),
                               &vectors, &bytes) == NX_OK) {
            uint32_t count = 0;
            assert_non_null(vector_group_times(vectors, 0, &count));
            assert_true(count > 0);
            nx_free(vectors);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelope_round_trip_and_place),
        cmocka_unit_test(test_chunk_directory_round_trip),
        cmocka_unit_test(test_vectors_round_trip),
        cmocka_unit_test(test_random_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
