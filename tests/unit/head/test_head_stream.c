/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_stream.c - batches there and back bit by bit, and what they cost. */
#include "head_stream.h"
#include "head_support.h"

#include <math.h>
#include <string.h>

#define SAMPLES_MAX 4096

struct stream_test {
    uint8_t bytes[SAMPLES_MAX * 24 + STREAM_PAD];
    size_t length;
    size_t samples;
    int64_t times_ms[SAMPLES_MAX];
    uint64_t bits[SAMPLES_MAX];
};

/* Encodes all samples in batches of `batch`, as a series would; absolute at the start and where a step is too long. */
static void encode_all(struct stream_test *test, unsigned batch_max)
{
    uint32_t step_expected = 0;
    uint64_t bits_before = 0;
    test->length = 0;
    for (size_t i = 0; i < test->samples;) {
        uint32_t steps[STREAM_BATCH] = {0};
        unsigned count = 0;
        bool is_absolute = false;
        while (count < batch_max && i + count < test->samples) {
            size_t at = i + count;
            uint64_t step = at == 0
                                ? UINT64_MAX
                                : (uint64_t)test->times_ms[at] - (uint64_t)test->times_ms[at - 1];
            if (step > UINT32_MAX && count > 0)
                break;
            is_absolute |= step > UINT32_MAX;
            steps[count++] = (uint32_t)step;
        }
        struct stream_batch batch = {.is_absolute = is_absolute,
                                     .first_ms = test->times_ms[i],
                                     .steps = steps,
                                     .bits = test->bits + i,
                                     .count = count,
                                     .step = step_expected,
                                     .bits_before = bits_before};
        uint8_t out[STREAM_BATCH_BYTES_MAX];
        size_t length = stream_encode(out, &batch, &step_expected);
        assert_true(length + 8 <= STREAM_BATCH_BYTES_MAX);
        memcpy(test->bytes + test->length, out, length);
        test->length += length;
        bits_before = test->bits[i + count - 1];
        i += count;
    }
    memset(test->bytes + test->length, 0xee, STREAM_PAD);
}

static void check_round_trip(struct stream_test *test, unsigned batch_max)
{
    encode_all(test, batch_max);
    struct stream_reader reader;
    stream_reader_init(&reader, test->bytes, test->length);
    int64_t times_ms[STREAM_BATCH];
    uint64_t bits[STREAM_BATCH];
    size_t at = 0;
    int count;
    while ((count = stream_decode(&reader, times_ms, bits)) > 0) {
        for (int i = 0; i < count; i++, at++) {
            assert_true(at < test->samples);
            assert_true(times_ms[i] == test->times_ms[at]);
            assert_true(bits[i] == test->bits[at]);
        }
    }
    assert_int_equal(count, 0);
    assert_int_equal(at, test->samples);
}

static void test_stream_constant_series_costs_a_byte_a_batch(void **state)
{
    (void)state;
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    test->samples = 60;
    for (size_t i = 0; i < test->samples; i++) {
        test->times_ms[i] = 1700000000000 + (int64_t)i * 15000;
        test->bits[i] = float_bits(1);
    }
    check_round_trip(test, STREAM_BATCH);
    assert_in_range(test->length, 1, 24);
    nx_free(test);
}

static void test_stream_steady_counter_costs_little(void **state)
{
    (void)state;
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    struct rand_state rand;
    rand_seed(&rand, 3);
    test->samples = 480;
    double value = 123456;
    for (size_t i = 0; i < test->samples; i++) {
        value += (double)rand_below(&rand, 16);
        test->times_ms[i] = 1700000000000 + (int64_t)i * 15000;
        test->bits[i] = float_bits(value);
    }
    check_round_trip(test, STREAM_BATCH);
    assert_true(test->length < 480); /* below a byte a sample */
    nx_free(test);
}

/* What a few ms of jitter cost: their own bits, and no more. */
static void test_stream_jitter_costs_its_bits(void **state)
{
    (void)state;
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    struct rand_state rand;
    rand_seed(&rand, 5);
    test->samples = 480;
    for (size_t i = 0; i < test->samples; i++) {
        test->times_ms[i] = 1700000000000 + (int64_t)i * 15000 + (int64_t)rand_below(&rand, 5);
        test->bits[i] = float_bits(7);
    }
    check_round_trip(test, STREAM_BATCH);
    assert_true(test->length <= 480 / 8 * 6); /* control, form, at most four bits a sample */
    nx_free(test);
}

static void test_stream_steps_at_their_limits_round_trip(void **state)
{
    (void)state;
    static const uint64_t steps[] = {1,         2, 15, 16, 17, 63, 64, 65, 15000, UINT32_MAX - 1,
                                     UINT32_MAX};
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    struct rand_state rand;
    rand_seed(&rand, 6);
    for (unsigned round = 0; round < 400; round++) {
        size_t from = rand_below(&rand, NX_ARRAY_LEN(steps));
        size_t kinds = 1 + rand_below(&rand, NX_ARRAY_LEN(steps) - from);
        uint64_t time = round % 2 == 0 ? 0 : UINT64_C(1) << 63; /* INT64_MIN */
        test->samples = 1 + rand_below(&rand, 60);
        for (size_t i = 0; i < test->samples; i++) {
            test->times_ms[i] = (int64_t)time;
            test->bits[i] = float_bits((double)(i % 5));
            time += steps[from + rand_below(&rand, kinds)];
        }
        check_round_trip(test, 1 + (unsigned)rand_below(&rand, STREAM_BATCH));
    }
    nx_free(test);
}

static void test_stream_decimals_are_integers_inside(void **state)
{
    (void)state;
    static const double scales[] = {10, 100, 1000, 1e6, 1e9};
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    struct rand_state rand;
    rand_seed(&rand, 4);
    for (size_t k = 0; k < NX_ARRAY_LEN(scales); k++) {
        test->samples = 64;
        for (size_t i = 0; i < test->samples; i++) {
            test->times_ms[i] = (int64_t)i * 1000;
            test->bits[i] = float_bits((double)(5000 + rand_below(&rand, 200)) / scales[k]);
        }
        check_round_trip(test, STREAM_BATCH);
        assert_true(test->length < 160); /* XOR would need 400 */
    }
    nx_free(test);
}

static void test_stream_keeps_every_odd_value(void **state)
{
    (void)state;
    static const uint64_t odd[] = {0,
                                   UINT64_C(0x8000000000000000),
                                   STALE_NAN_BITS,
                                   ORDINARY_NAN_BITS,
                                   UINT64_C(0xfff8000000000000),
                                   UINT64_C(0x7ff4dead0000beef),
                                   UINT64_C(0x7ff0000000000000),
                                   UINT64_C(0xfff0000000000000),
                                   1,
                                   UINT64_C(0x000fffffffffffff),
                                   UINT64_C(0x7fefffffffffffff),
                                   UINT64_C(0x3ff0000000000001),
                                   UINT64_C(0x4340000000000000),
                                   UINT64_C(0xffffffffffffffff)};
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    struct rand_state rand;
    rand_seed(&rand, 9);
    for (unsigned round = 0; round < 200; round++) {
        test->samples = 64;
        for (size_t i = 0; i < test->samples; i++) {
            test->times_ms[i] = (int64_t)i * 15000;
            test->bits[i] = rand_below(&rand, 3) == 0 ? odd[rand_below(&rand, NX_ARRAY_LEN(odd))]
                                                      : float_bits((double)rand_below(&rand, 9));
        }
        check_round_trip(test, 1 + round % STREAM_BATCH);
    }
    nx_free(test);
}

static void test_stream_scaled_limits_round_trip(void **state)
{
    (void)state;
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    test->samples = 0;
    for (int exponent = 48; exponent <= 54; exponent++) {
        for (int around = -3; around <= 3; around++) {
            for (int sign = -1; sign <= 1; sign += 2) {
                test->times_ms[test->samples] = (int64_t)test->samples * 7;
                test->bits[test->samples++] = float_bits(sign * (ldexp(1, exponent) + around));
            }
        }
    }
    for (unsigned batch = 1; batch <= STREAM_BATCH; batch++)
        check_round_trip(test, batch);
    nx_free(test);
}

static void test_stream_any_times_and_bits_round_trip(void **state)
{
    (void)state;
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    struct rand_state rand;
    rand_seed(&rand, 11);
    for (unsigned round = 0; round < 300; round++) {
        uint64_t time = rand_u64(&rand) >> rand_below(&rand, 60);
        test->samples = 1 + rand_below(&rand, 200);
        for (size_t i = 0; i < test->samples; i++) {
            time +=
                1 + (rand_u64(&rand) >> (rand_below(&rand, 20) == 0 ? rand_below(&rand, 40) : 48));
            test->times_ms[i] = (int64_t)time;
            test->bits[i] = rand_u64(&rand) >> rand_below(&rand, 64) << rand_below(&rand, 64);
        }
        check_round_trip(test, 1 + (unsigned)rand_below(&rand, STREAM_BATCH));
    }
    nx_free(test);
}

/* A stream cut anywhere decodes to a beginning of it, or is refused; nothing is read behind the pad. */
static void test_stream_cut_short_is_refused(void **state)
{
    (void)state;
    struct stream_test *test = nx_calloc(1, sizeof(*test));
    test->samples = 24;
    for (size_t i = 0; i < test->samples; i++) {
        test->times_ms[i] = 1700000000000 + (int64_t)(i * i * 1000);
        test->bits[i] = float_bits(sqrt((double)i));
    }
    encode_all(test, STREAM_BATCH);
    size_t whole = 0;
    size_t refused = 0;
    for (size_t cut = 0; cut < test->length; cut++) {
        uint8_t *copy = nx_alloc(cut + STREAM_PAD);
        memcpy(copy, test->bytes, cut);
        memset(copy + cut, 0xff, STREAM_PAD);
        struct stream_reader reader;
        stream_reader_init(&reader, copy, cut);
        int64_t times_ms[STREAM_BATCH];
        uint64_t bits[STREAM_BATCH];
        int count;
        while ((count = stream_decode(&reader, times_ms, bits)) > 0)
            continue;
        whole += count == 0;
        refused += count < 0;
        nx_free(copy);
    }
    assert_int_equal(whole, 3); /* before each of three batches */
    assert_int_equal(refused, test->length - 3);
    nx_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_constant_series_costs_a_byte_a_batch),
        cmocka_unit_test(test_stream_steady_counter_costs_little),
        cmocka_unit_test(test_stream_jitter_costs_its_bits),
        cmocka_unit_test(test_stream_steps_at_their_limits_round_trip),
        cmocka_unit_test(test_stream_decimals_are_integers_inside),
        cmocka_unit_test(test_stream_keeps_every_odd_value),
        cmocka_unit_test(test_stream_scaled_limits_round_trip),
        cmocka_unit_test(test_stream_any_times_and_bits_round_trip),
        cmocka_unit_test(test_stream_cut_short_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
