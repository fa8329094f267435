/* SPDX-License-Identifier: Apache-2.0 */
/* test_histogram_code.c - histograms there and back, whole and as differences, what they take, what is refused. */
#include "narthex/base/mem.h"
#include "narthex/codec/histogram_code.h"

#include "codec_support.h"
#include "histogram_support.h"

#include <math.h>
#include <string.h>

/* Puts, gets from memory that ends with the bytes, and gets every shorter piece. Returns the length. */
static size_t check(const struct histogram *histogram, const struct histogram *before,
                    struct arena *arena)
{
    struct nx_buf buf = {0};
    struct histogram back = {0};
    histogram_put(histogram, before, &buf);
    size_t len = buf.len;
    uint8_t *exact = nx_alloc(len);
    memcpy(exact, buf.data, len);
    struct byte_reader reader = byte_reader_of((struct nx_bytes){exact, len});
    assert_int_equal(histogram_get(&reader, before, arena, &back), NX_OK);
    assert_int_equal(byte_reader_left(&reader), 0);
    assert_true(histogram_equal(&back, histogram));
    assert_true(histogram_is_well_formed(&back));
    for (size_t cut = 0; cut < len; cut += 1 + cut / 8) {
        reader = byte_reader_of((struct nx_bytes){exact, cut});
        assert_int_equal(histogram_get(&reader, before, arena, &back), NX_E_CORRUPT);
        assert_true(reader.is_bad);
    }
    nx_free(exact);
    nx_buf_deinit(&buf);
    return len;
}

static void test_histogram_code_round_trips(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 211);
    for (int trial = 0; trial < 300; trial++) {
        struct arena arena;
        arena_init(&arena, 0);
        const struct histogram *before = NULL;
        for (int i = 0; i < 20; i++) {
            const struct histogram *next = before == NULL
                                               ? histogram_any(&rand, &arena)
                                               : histogram_any_next(&rand, &arena, before);
            check(next, NULL, &arena);
            if (before != NULL)
                check(next, before, &arena);
            before = next;
        }
        arena_deinit(&arena);
    }
}

/* 30 buckets of a counter, of which `changed` grow. */
static void test_histogram_code_sizes(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct histogram_span span = {.offset = -5, .length = 30};
    uint64_t buckets[2][30];
    struct histogram samples[2];
    for (size_t i = 0; i < 30; i++) {
        buckets[0][i] = 1000 + 10 * i;
        buckets[1][i] = buckets[0][i] + (i % 3 == 0 ? 2 : 0);
    }
    for (size_t i = 0; i < 2; i++) {
        samples[i] = (struct histogram){.schema = 3, .zero_threshold = 0x1p-128, .sum = 4711.5};
        samples[i].sides[HISTOGRAM_POSITIVE] = (struct histogram_side){
            .spans = &span, .buckets = buckets[i], .span_count = 1, .bucket_count = 30};
        samples[i].count = histogram_total(&samples[i]);
    }
    assert_in_range(check(&samples[0], NULL, &arena), 40, 50);
    assert_int_equal(check(&samples[0], &samples[0], &arena), 2); /* head, sum */
    assert_int_equal(check(&samples[1], &samples[0], &arena), 2 + 4 + 10);
    struct histogram stale = {.sum = float_from_bits(STALE_NAN_BITS)};
    assert_true(histogram_is_stale(&stale));
    assert_int_equal(check(&stale, &samples[0], &arena), 1 + 4 + 9); /* head, layout, sum */
    arena_deinit(&arena);
}

static nx_code get_bytes(const uint8_t *bytes, size_t len, const struct histogram *before)
{
    struct arena arena;
    struct histogram out;
    arena_init(&arena, 0);
    struct byte_reader reader = byte_reader_of((struct nx_bytes){bytes, len});
    nx_code code = histogram_get(&reader, before, &arena, &out);
    if (code == NX_OK)
        assert_true(histogram_is_well_formed(&out));
    assert_int_equal(reader.is_bad, code == NX_E_CORRUPT);
    arena_deinit(&arena);
    return code;
}

static void test_histogram_code_refuses_what_is_not_well_formed(void **state)
{
    (void)state;
    /* head, schema 0, threshold 0, no spans, no spans, sum */
    const uint8_t empty[] = {0, 0, 0, 0, 0, 0};
    const uint8_t schema[] = {0, 18, 0, 0, 0, 0}; /* 9 */
    const uint8_t reserved[] = {0x80, 0, 0, 0, 0, 0};
    const uint8_t changed[] = {0x40, 0, 0, 0, 0, 0}; /* whole, and buckets that changed */
    const uint8_t alone[] = {0x08, 0};
    const uint8_t backwards[] = {0, 0, 0, 2, 0, 1, 1, 1, 0, 0, 2, 2};
    const uint8_t forwards[] = {0, 0, 0, 2, 0, 1, 2, 1, 0, 0, 2, 2};
    const uint8_t spans[] = {0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0};
    const uint8_t length[] = {0, 0, 0, 1, 0, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0};
    const uint8_t negative[] = {0, 105, 0, 0, 0, 1, 0, 1, 0, 2}; /* custom, negative bucket */
    const uint8_t custom[] = {0, 105, 0, 0, 1, 0, 1, 0, 0, 2};
    const uint8_t beyond[] = {0, 105, 0, 0, 1, 2, 1, 0, 0, 2}; /* bucket 1 of 1 */
    assert_int_equal(get_bytes(empty, sizeof(empty), NULL), NX_OK);
    assert_int_equal(get_bytes(forwards, sizeof(forwards), NULL), NX_OK);
    assert_int_equal(get_bytes(custom, sizeof(custom), NULL), NX_OK);
    assert_int_equal(get_bytes(schema, sizeof(schema), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(reserved, sizeof(reserved), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(changed, sizeof(changed), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(alone, sizeof(alone), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(backwards, sizeof(backwards), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(spans, sizeof(spans), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(length, sizeof(length), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(negative, sizeof(negative), NULL), NX_E_CORRUPT);
    assert_int_equal(get_bytes(beyond, sizeof(beyond), NULL), NX_E_CORRUPT);
}

static void test_histogram_code_survives_changed_bytes(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 223);
    struct arena arena;
    arena_init(&arena, 0);
    for (int trial = 0; trial < 3000; trial++) {
        struct arena_mark mark = arena_mark(&arena);
        const struct histogram *before = histogram_any(&rand, &arena);
        const struct histogram *next = histogram_any_next(&rand, &arena, before);
        struct nx_buf buf = {0};
        histogram_put(next, rand_below(&rand, 2) == 0 ? before : NULL, &buf);
        for (uint64_t hits = 1 + rand_below(&rand, 3); hits > 0; hits--)
            buf.data[rand_below(&rand, buf.len)] = (uint8_t)rand_u64(&rand);
        get_bytes(buf.data, buf.len, before);
        get_bytes(buf.data, buf.len, NULL);
        nx_buf_deinit(&buf);
        arena_rewind(&arena, mark);
    }
    arena_deinit(&arena);
}

static void test_histogram_code_says_when_memory_is_spent(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 227);
    struct arena made;
    struct arena small;
    arena_init(&made, 0);
    arena_init(&small, 1);
    struct histogram out;
    const struct histogram *histogram = histogram_any(&rand, &made);
    while (histogram->sides[HISTOGRAM_POSITIVE].bucket_count == 0)
        histogram = histogram_any(&rand, &made);
    struct nx_buf buf = {0};
    histogram_put(histogram, NULL, &buf);
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&buf));
    assert_int_equal(histogram_get(&reader, NULL, &small, &out), NX_E_LIMIT);
    nx_buf_deinit(&buf);
    arena_deinit(&small);
    arena_deinit(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_code_round_trips),
        cmocka_unit_test(test_histogram_code_sizes),
        cmocka_unit_test(test_histogram_code_refuses_what_is_not_well_formed),
        cmocka_unit_test(test_histogram_code_survives_changed_bytes),
        cmocka_unit_test(test_histogram_code_says_when_memory_is_spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
