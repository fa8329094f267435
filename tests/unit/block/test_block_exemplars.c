/* SPDX-License-Identifier: Apache-2.0 */
/* test_block_exemplars.c - the exemplars of a series as an entry of the index, and back. */
#include "narthex/base/mem.h"

#include "block_exemplars.h"
#include "tests/unit/block/block_support.h"

struct made {
    struct arena arena;
    struct exemplar *exemplars;
    size_t count;
};

/* Traces, ascending by time. */
static void make(struct made *made, size_t count, uint64_t seed)
{
    struct rand_state rand;
    rand_seed(&rand, seed);
    arena_init(&made->arena, 0);
    made->count = count;
    made->exemplars = arena_calloc(&made->arena, count + 1, sizeof(*made->exemplars));
    for (size_t i = 0; i < count; i++) {
        struct label *labels = arena_calloc(&made->arena, 2, sizeof(*labels));
        labels[0] =
            (struct label){NX_STR("span_id"), arena_printf(&made->arena, "%016llx",
                                                           (unsigned long long)rand_u64(&rand))};
        labels[1] =
            (struct label){NX_STR("trace_id"), arena_printf(&made->arena, "%016llx%016llx",
                                                            (unsigned long long)rand_u64(&rand),
                                                            (unsigned long long)rand_u64(&rand))};
        made->exemplars[i] = (struct exemplar){.labels = {labels, i % 7 == 0   ? 0
                                                                  : i % 5 == 0 ? 1
                                                                               : 2},
                                               .value = rand_unit(&rand),
                                               .time_ms = 1700000000000 + (int64_t)i * 15000};
    }
}

static nx_code unpack(const struct nx_buf *entry, int64_t min_ms, int64_t max_ms,
                      const struct made *made, size_t first, size_t end)
{
    struct arena arena;
    struct nx_buf out = {0};
    arena_init(&arena, 0);
    nx_code code = exemplars_unpack(nx_buf_bytes(entry), min_ms, max_ms, &arena, &out);
    if (code == NX_OK) {
        const struct exemplar *got = (const struct exemplar *)(const void *)out.data;
        assert_int_equal(out.len, (end - first) * sizeof(*got));
        for (size_t i = first; i < end; i++)
            assert_true(exemplar_equal(&got[i - first], &made->exemplars[i]));
    } else {
        assert_int_equal(out.len, 0);
    }
    nx_buf_deinit(&out);
    arena_deinit(&arena);
    return code;
}

static void test_exemplars_round_trip_in_ranges(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, 50, 2000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct made made;
        struct nx_buf entry = {0};
        uint32_t rank = 0;
        make(&made, counts[c], 5 + c);
        assert_int_equal(exemplars_pack(77, made.exemplars, made.count, &entry), made.count);
        assert_int_equal(exemplars_rank(nx_buf_bytes(&entry), &rank), NX_OK);
        assert_int_equal(rank, 77);
        assert_int_equal(unpack(&entry, INT64_MIN, INT64_MAX, &made, 0, made.count), NX_OK);
        assert_int_equal(unpack(&entry, made.exemplars[made.count / 2].time_ms, INT64_MAX, &made,
                                made.count / 2, made.count),
                         NX_OK);
        assert_int_equal(unpack(&entry, INT64_MIN, made.exemplars[0].time_ms, &made, 0, 1), NX_OK);
        assert_int_equal(unpack(&entry, 0, 1, &made, 0, 0), NX_OK);
        /* Random hexadecimal digits are half a byte each. */
        if (made.count >= 50)
            assert_true(entry.len < made.count * 45);
        nx_buf_deinit(&entry);
        arena_deinit(&made.arena);
    }
}

static void test_exemplars_beyond_the_limit_are_the_oldest(void **state)
{
    (void)state;
    struct made made;
    struct nx_buf entry = {0};
    make(&made, BLOCK_SERIES_EXEMPLARS_MAX + 10, 3);
    assert_int_equal(exemplars_pack(0, made.exemplars, made.count, &entry),
                     BLOCK_SERIES_EXEMPLARS_MAX);
    assert_int_equal(unpack(&entry, INT64_MIN, INT64_MAX, &made, 10, made.count), NX_OK);
    /* The longest that there are: as many as the bytes allow. */
    char text[EXEMPLAR_TEXT_BYTES_MAX];
    for (size_t i = 0; i < sizeof(text); i += 4)
        memcpy(text + i, "\xf0\x9f\x94\xa5", 4);
    struct label label = {NX_STR("a"), {text, sizeof(text) - 4}};
    for (size_t i = 0; i < made.count; i++)
        made.exemplars[i].labels = (struct labels){&label, 1};
    nx_buf_reset(&entry);
    size_t kept = exemplars_pack(0, made.exemplars, made.count, &entry);
    assert_in_range(kept, EXEMPLARS_RAW_BYTES_MAX / 600, EXEMPLARS_RAW_BYTES_MAX / 500);
    assert_int_equal(unpack(&entry, INT64_MIN, INT64_MAX, &made, made.count - kept, made.count),
                     NX_OK);
    nx_buf_deinit(&entry);
    arena_deinit(&made.arena);
}

static void test_exemplars_are_sorted_and_kept_once(void **state)
{
    (void)state;
    struct made made;
    make(&made, 40, 9);
    struct exemplar shuffled[80];
    for (size_t i = 0; i < 80; i++)
        shuffled[i] = made.exemplars[i * 27 % 40];
    assert_int_equal(exemplars_sort(shuffled, 80), 40);
    for (size_t i = 0; i < 40; i++)
        assert_true(exemplar_equal(&shuffled[i], &made.exemplars[i]));
    assert_int_equal(exemplars_sort(shuffled, 0), 0);
    arena_deinit(&made.arena);
}

static void test_exemplars_refuse_changed_entries(void **state)
{
    (void)state;
    struct made made;
    struct rand_state rand;
    rand_seed(&rand, 13);
    for (size_t count = 1; count < 40; count += 6) {
        struct nx_buf entry = {0};
        make(&made, count, count);
        exemplars_pack(1, made.exemplars, count, &entry);
        size_t len = entry.len;
        for (entry.len = 0; entry.len < len; entry.len++)
            assert_int_equal(unpack(&entry, INT64_MIN, INT64_MAX, &made, 0, 0), NX_E_CORRUPT);
        /* Whatever is read of other bytes is well-formed, or refused: unpack checks what it appends. */
        for (unsigned i = 0; i < 300; i++) {
            struct arena arena;
            struct nx_buf out = {0};
            struct nx_err err;
            uint8_t *byte = &entry.data[4 + rand_below(&rand, len - 4)];
            uint8_t was = *byte;
            *byte = (uint8_t)rand_u64(&rand);
            arena_init(&arena, 0);
            nx_code code =
                exemplars_unpack(nx_buf_bytes(&entry), INT64_MIN, INT64_MAX, &arena, &out);
            const struct exemplar *got = (const struct exemplar *)(const void *)out.data;
            for (size_t e = 0; code == NX_OK && e < out.len / sizeof(*got); e++) {
                assert_int_equal(exemplar_check(&got[e], &err), NX_OK);
                assert_true(e == 0 || exemplar_compare(&got[e - 1], &got[e]) < 0);
            }
            *byte = was;
            nx_buf_deinit(&out);
            arena_deinit(&arena);
        }
        nx_buf_deinit(&entry);
        arena_deinit(&made.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exemplars_round_trip_in_ranges),
        cmocka_unit_test(test_exemplars_beyond_the_limit_are_the_oldest),
        cmocka_unit_test(test_exemplars_are_sorted_and_kept_once),
        cmocka_unit_test(test_exemplars_refuse_changed_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
