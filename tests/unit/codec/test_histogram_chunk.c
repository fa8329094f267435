/* SPDX-License-Identifier: Apache-2.0 */
/* test_histogram_chunk.c - histograms through columns and back, their sizes, where chunks are cut, what is refused. */
#include "narthex/base/mem.h"
#include "narthex/codec/histogram_chunk.h"
#include "narthex/codec/varint.h"

#include "codec_support.h"
#include "histogram_support.h"

#include <string.h>

#define SAMPLES_MAX 600u

/* Encodes, decodes from memory that ends with the chunk, and decodes some shorter pieces. Returns the length. */
static size_t check(const struct histogram *const *samples, size_t count)
{
    struct nx_buf buf = {0};
    struct arena arena;
    arena_init(&arena, 0);
    nx_buf_append_byte(&buf, 0x55);
    histogram_chunk_encode(samples, count, &buf);
    size_t len = buf.len - 1;
    uint8_t *exact = nx_alloc(len);
    memcpy(exact, buf.data + 1, len);
    assert_true(chunk_is_histogram((struct nx_bytes){exact, len}));
    struct histogram *back = nx_alloc(count * sizeof(*back));
    assert_int_equal(histogram_chunk_decode((struct nx_bytes){exact, len}, count, &arena, back),
                     NX_OK);
    for (size_t i = 0; i < count; i++) {
        assert_true(histogram_equal(&back[i], samples[i]));
        assert_true(histogram_is_well_formed(&back[i]));
    }
    for (size_t cut = 0; cut < len; cut += 1 + len / 16)
        assert_int_equal(histogram_chunk_decode((struct nx_bytes){exact, cut}, count, &arena, back),
                         NX_E_CORRUPT);
    nx_buf_append_byte(&buf, 0);
    assert_int_equal(
        histogram_chunk_decode((struct nx_bytes){buf.data + 1, len + 1}, count, &arena, back),
        NX_E_CORRUPT);
    nx_free(back);
    nx_free(exact);
    nx_buf_deinit(&buf);
    arena_deinit(&arena);
    return len;
}

static void test_histogram_chunk_round_trips(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 307);
    const struct histogram *samples[200];
    for (int trial = 0; trial < 300; trial++) {
        struct arena arena;
        arena_init(&arena, 0);
        size_t count = 1 + rand_below(&rand, 200);
        for (size_t i = 0; i < count; i++)
            samples[i] = i == 0 ? histogram_any(&rand, &arena)
                                : histogram_any_next(&rand, &arena, samples[i - 1]);
        for (size_t at = 0, taken; at < count; at += taken) {
            taken = histogram_chunk_fit(samples + at, count - at);
            assert_in_range(taken, 1, count - at);
            check(samples + at, taken);
        }
        check(samples, 1);
        arena_deinit(&arena);
    }
}

/* A counter of `buckets` buckets, each of which grows by 1 with that chance in a thousand. */
static void make_counter(struct rand_state *rand, struct arena *arena, uint32_t buckets,
                         unsigned permille, size_t count, const struct histogram **out)
{
    struct histogram_span *span = arena_alloc(arena, sizeof(*span));
    *span = (struct histogram_span){.offset = -10, .length = buckets};
    struct histogram first = {.schema = 3, .zero_threshold = 0x1p-128};
    uint64_t *counts = arena_calloc(arena, buckets, sizeof(*counts));
    first.sides[HISTOGRAM_POSITIVE] = (struct histogram_side){
        .spans = span, .buckets = counts, .span_count = 1, .bucket_count = buckets};
    for (size_t b = 0; b < buckets; b++)
        counts[b] = 1000 + rand_below(rand, 100);
    for (size_t i = 0; i < count; i++) {
        for (size_t b = 0; b < buckets; b++)
            counts[b] += rand_below(rand, 1000) < permille;
        first.count = histogram_total(&first);
        first.sum = (double)first.count;
        out[i] = histogram_copy(arena, &first);
    }
}

static void test_histogram_chunk_sizes(void **state)
{
    (void)state;
    struct rand_state rand;
    struct arena arena;
    rand_seed(&rand, 311);
    arena_init(&arena, 0);
    const struct histogram *samples[480];
    make_counter(&rand, &arena, 50, 0, 480, samples);
    assert_in_range(check(samples, 480), 1, 100); /* constant: one row, once */
    make_counter(&rand, &arena, 50, 100, 480, samples);
    /* 0.47 bits a bucket at best, 1.1 without entropy coding, and the sum. */
    assert_in_range(check(samples, 480), 1, 480 * (50 * 12 / 80 + 3) + 50 * 20);
    arena_deinit(&arena);
}

/* A bucket appears every ten samples: each is a column that begins late, and the others go on. */
static void test_histogram_chunk_goes_on_when_buckets_appear(void **state)
{
    (void)state;
    struct rand_state rand;
    struct arena arena;
    rand_seed(&rand, 313);
    arena_init(&arena, 0);
    const struct histogram *samples[200];
    const struct histogram *steady[200];
    make_counter(&rand, &arena, 60, 100, 200, steady);
    for (size_t i = 0; i < 200; i++) {
        struct histogram *sample = histogram_copy(&arena, steady[i]);
        struct histogram_span *span = arena_alloc(&arena, sizeof(*span));
        uint32_t length = (uint32_t)(40 + i / 10);
        *span = (struct histogram_span){.offset = -10, .length = length};
        sample->sides[HISTOGRAM_POSITIVE].spans = span;
        sample->sides[HISTOGRAM_POSITIVE].bucket_count = length;
        sample->count = histogram_total(sample);
        samples[i] = sample;
    }
    size_t with_steady = check(steady, 200);
    assert_in_range(check(samples, 200), 1, with_steady + 20 * 8 + 200);
    arena_deinit(&arena);
}

static void test_histogram_chunk_is_cut_by_cells(void **state)
{
    (void)state;
    struct rand_state rand;
    struct arena arena;
    rand_seed(&rand, 317);
    arena_init(&arena, 0);
    const struct histogram *samples[SAMPLES_MAX];
    make_counter(&rand, &arena, 20, 100, SAMPLES_MAX, samples);
    assert_int_equal(histogram_chunk_fit(samples, 1), 1);
    assert_int_equal(histogram_chunk_fit(samples, 480), 480);
    assert_int_equal(histogram_chunk_fit(samples, 600), 600); /* no crumbs */
    make_counter(&rand, &arena, 1000, 100, 100, samples);
    assert_int_equal(histogram_chunk_fit(samples, 100), HISTOGRAM_CHUNK_CELLS_CUT / 1002);
    /* The largest that there is: 2 signs, all buckets, no two alike. */
    struct histogram *largest = arena_calloc(&arena, 1, sizeof(*largest));
    struct histogram_span *spans = arena_alloc(&arena, HISTOGRAM_SPANS_MAX * sizeof(*spans));
    uint64_t *counts = arena_alloc(&arena, HISTOGRAM_BUCKETS_MAX * sizeof(*counts));
    for (size_t s = 0; s < HISTOGRAM_SPANS_MAX; s++)
        spans[s] = (struct histogram_span){.offset = s == 0 ? INT32_MIN : (int32_t)(1 << 19),
                                           .length = HISTOGRAM_BUCKETS_MAX / HISTOGRAM_SPANS_MAX};
    for (size_t b = 0; b < HISTOGRAM_BUCKETS_MAX; b++)
        counts[b] = rand_u64(&rand);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        largest->sides[sign] = (struct histogram_side){.spans = spans,
                                                       .buckets = counts,
                                                       .span_count = HISTOGRAM_SPANS_MAX,
                                                       .bucket_count = HISTOGRAM_BUCKETS_MAX};
    assert_true(histogram_is_well_formed(largest));
    for (size_t i = 0; i < 5; i++)
        samples[i] = largest;
    assert_int_equal(histogram_chunk_fit(samples, 5),
                     HISTOGRAM_CHUNK_CELLS_CUT / (2 * HISTOGRAM_BUCKETS_MAX + 2));
    assert_in_range(check(samples, 1), 1, HISTOGRAM_CHUNK_ONE_BYTES_MAX);
    largest->is_float = true;
    assert_in_range(check(samples, 1), 1, HISTOGRAM_CHUNK_ONE_BYTES_MAX);
    arena_deinit(&arena);
}

static nx_code decode(const uint8_t *bytes, size_t len, size_t count, size_t budget)
{
    struct arena arena;
    arena_init(&arena, budget);
    struct histogram *out = nx_alloc(count * sizeof(*out));
    nx_code code = histogram_chunk_decode((struct nx_bytes){bytes, len}, count, &arena, out);
    for (size_t i = 0; code == NX_OK && i < count; i++)
        assert_true(histogram_is_well_formed(&out[i]));
    nx_free(out);
    arena_deinit(&arena);
    return code;
}

static void test_histogram_chunk_refuses_more_than_it_may_hold(void **state)
{
    (void)state;
    /* n samples of b buckets that never change. */
    struct nx_buf buf = {0};
    const struct {
        size_t samples, buckets;
        nx_code code;
    } cases[] = {{4096, 100, NX_OK},
                 {4096, 300, NX_E_CORRUPT},
                 {128, 8000, NX_OK},
                 {160, 8000, NX_E_CORRUPT}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        nx_buf_reset(&buf);
        nx_buf_append_byte(&buf, CHUNK_CODEC_HISTOGRAM);
        varint_append(&buf, cases[i].samples << 2);     /* hints */
        nx_buf_append(&buf, "\x02\x01\x00", 3);         /* sums: const 0 */
        varint_append(&buf, cases[i].samples << 1);     /* a section of integers */
        nx_buf_append(&buf, "\x00\x00", 2);             /* schema, threshold */
        varint_append(&buf, cases[i].samples);          /* a run */
        nx_buf_append(&buf, "\x01\x00", 2);             /* a span at 0 */
        varint_append(&buf, cases[i].buckets);          /* its length */
        nx_buf_append(&buf, "\x00\x03\x00\x00", 4);     /* no negative ones; a row of zeros */
        size_t bitmap = (cases[i].buckets + 2 + 7) / 8; /* nothing changes */
        memset(nx_buf_extend(&buf, bitmap), 0, bitmap);
        assert_int_equal(decode(buf.data, buf.len, cases[i].samples, 0), cases[i].code);
        if (cases[i].code == NX_OK)
            assert_int_equal(decode(buf.data, buf.len, cases[i].samples, 1 << 20), NX_E_LIMIT);
    }
    nx_buf_deinit(&buf);
}

static void test_histogram_chunk_survives_changed_bytes(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 331);
    const struct histogram *samples[40];
    for (int trial = 0; trial < 400; trial++) {
        struct arena arena;
        arena_init(&arena, 0);
        size_t count = 1 + rand_below(&rand, 40);
        for (size_t i = 0; i < count; i++)
            samples[i] = i == 0 ? histogram_any(&rand, &arena)
                                : histogram_any_next(&rand, &arena, samples[i - 1]);
        struct nx_buf buf = {0};
        histogram_chunk_encode(samples, count, &buf);
        for (int change = 0; change < 8; change++) {
            uint8_t *byte = &buf.data[rand_below(&rand, buf.len)];
            uint8_t was = *byte;
            *byte = (uint8_t)rand_u64(&rand);
            decode(buf.data, buf.len, count, 0);
            decode(buf.data, buf.len, count + 1, 0);
            *byte = was;
        }
        nx_buf_deinit(&buf);
        arena_deinit(&arena);
    }
}

/* `NX_TEST_GOLDEN_WRITE=1 test_histogram_chunk` makes the file: chunks behind their count and length (two u32). */
static void test_histogram_chunk_golden_file_is_what_we_write_and_read(void **state)
{
    (void)state;
    struct rand_state rand;
    struct arena arena;
    struct nx_buf made = {0};
    rand_seed(&rand, 337);
    arena_init(&arena, 0);
    const struct histogram *samples[120];
    for (int family = 0; family < 6; family++) {
        size_t count = 120;
        if (family < 2)
            make_counter(&rand, &arena, 30, family == 0 ? 0 : 100, count, samples);
        else
            for (size_t i = 0; i < count; i++)
                samples[i] = i == 0 ? histogram_any(&rand, &arena)
                                    : histogram_any_next(&rand, &arena, samples[i - 1]);
        struct nx_buf chunk = {0};
        histogram_chunk_encode(samples, count, &chunk);
        nx_buf_append_u32(&made, (uint32_t)count);
        nx_buf_append_u32(&made, (uint32_t)chunk.len);
        nx_buf_append(&made, chunk.data, chunk.len);
        nx_buf_deinit(&chunk);
        check(samples, count);
    }
    check_golden("histogram_chunk_v2.bin", nx_buf_bytes(&made));
    nx_buf_deinit(&made);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_chunk_round_trips),
        cmocka_unit_test(test_histogram_chunk_sizes),
        cmocka_unit_test(test_histogram_chunk_goes_on_when_buckets_appear),
        cmocka_unit_test(test_histogram_chunk_is_cut_by_cells),
        cmocka_unit_test(test_histogram_chunk_refuses_more_than_it_may_hold),
        cmocka_unit_test(test_histogram_chunk_survives_changed_bytes),
        cmocka_unit_test(test_histogram_chunk_golden_file_is_what_we_write_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
