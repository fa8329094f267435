/* SPDX-License-Identifier: Apache-2.0 */
/* test_timevec.c - times there and back, their size, and vectors that do not ascend. */
#include "narthex/base/mem.h"
#include "narthex/codec/int_pack.h"
#include "narthex/codec/timevec.h"

#include "codec_support.h"

#include <string.h>

static size_t check(const int64_t *times, size_t count)
{
    struct nx_buf buf = {0};
    nx_buf_append_byte(&buf, 0x55);
    timevec_encode(times, count, &buf);
    struct nx_bytes bytes = {buf.data + 1, buf.len - 1};
    int64_t *back = nx_alloc(count * sizeof(*back));
    assert_int_equal(timevec_decode(bytes, count, back), NX_OK);
    assert_memory_equal(back, times, count * sizeof(*times));
    for (size_t cut = 0; cut < bytes.len; cut += 1 + cut / 16)
        assert_int_equal(timevec_decode((struct nx_bytes){bytes.data, cut}, count, back),
                         NX_E_CORRUPT);
    nx_buf_append_byte(&buf, 0);
    assert_int_equal(timevec_decode((struct nx_bytes){buf.data + 1, buf.len - 1}, count, back),
                     NX_E_CORRUPT);
    nx_free(back);
    nx_buf_deinit(&buf);
    return bytes.len;
}

static void test_timevec_round_trips(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 103);
    int64_t times[1000];
    for (int trial = 0; trial < 1000; trial++) {
        size_t count = 1 + rand_below(&rand, 1000);
        int64_t time = (int64_t)(rand_u64(&rand) >> 20) - (INT64_C(1) << 42);
        uint64_t step = 1 + (rand_u64(&rand) >> (20 + rand_below(&rand, 43)));
        uint64_t jitter = 1 + rand_below(&rand, step);
        for (size_t i = 0; i < count; i++) {
            times[i] = time;
            time += (int64_t)(step - jitter / 2 + rand_below(&rand, jitter));
        }
        check(times, count);
    }
}

static void test_timevec_sizes(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 107);
    int64_t times[480];
    for (size_t i = 0; i < 480; i++)
        times[i] = 1700000000123 + (int64_t)i * 15000;
    assert_in_range(check(times, 480), 1, 12);
    times[200] += 3; /* one late scrape */
    assert_in_range(check(times, 480), 1, 56);
    for (size_t i = 0; i < 480; i++)
        times[i] = 1700000000123 + (int64_t)i * 15000 + (int64_t)rand_below(&rand, 8);
    assert_in_range(check(times, 480), 1, 4 * 480 / 8 + 40); /* jitter of 8 ms: 4 bits at most */
}

static void test_timevec_extremes(void **state)
{
    (void)state;
    const int64_t ends[] = {INT64_MIN, 0, INT64_MAX};
    check(ends, 3);
    check(ends, 1);
    check(ends + 2, 1);
}

static void test_timevec_refuses_what_does_not_ascend(void **state)
{
    (void)state;
    int64_t out[4];
    const uint64_t equal[] = {5, 5};
    const uint64_t falling[] = {1, 7, 6, 9};
    const uint64_t linear[] = {9, 8, 7, 6};
    struct nx_buf buf = {0};
    int_pack_put(equal, 2, &buf);
    assert_int_equal(timevec_decode(nx_buf_bytes(&buf), 2, out), NX_E_CORRUPT);
    nx_buf_reset(&buf);
    int_pack_put(falling, 4, &buf);
    assert_int_equal(timevec_decode(nx_buf_bytes(&buf), 4, out), NX_E_CORRUPT);
    nx_buf_reset(&buf);
    int_pack_put(linear, 4, &buf);
    assert_int_equal(timevec_decode(nx_buf_bytes(&buf), 4, out), NX_E_CORRUPT);
    assert_int_equal(timevec_decode(nx_buf_bytes(&buf), 0, out), NX_E_CORRUPT);
    assert_int_equal(timevec_decode((struct nx_bytes){0}, 1, out), NX_E_CORRUPT);
    nx_buf_deinit(&buf);
}

/* `NX_TEST_GOLDEN_WRITE=1 test_timevec` makes the file: four vectors, each behind its count and length (two u32). */
static void test_timevec_golden_file_is_what_we_write_and_read(void **state)
{
    (void)state;
    struct nx_buf made = {0};
    int64_t times[4][240];
    int64_t back[240];
    struct rand_state rand;
    rand_seed(&rand, 167);
    for (size_t i = 0; i < 240; i++) {
        int64_t grid = 1700000000000 + 15000 * (int64_t)i;
        times[0][i] = grid;
        times[1][i] = grid + (int64_t)rand_below(&rand, 6);
        times[2][i] = grid + (i < 100 ? 0 : 60000);
        times[3][i] = i == 0 ? -5 : times[3][i - 1] + 1 + (int64_t)rand_below(&rand, 100000);
    }
    for (size_t v = 0; v < 4; v++) {
        struct nx_buf vector = {0};
        timevec_encode(times[v], 240, &vector);
        nx_buf_append_u32(&made, 240);
        nx_buf_append_u32(&made, (uint32_t)vector.len);
        nx_buf_append(&made, vector.data, vector.len);
        assert_int_equal(timevec_decode(nx_buf_bytes(&vector), 240, back), NX_OK);
        assert_memory_equal(back, times[v], sizeof(back));
        nx_buf_deinit(&vector);
    }
    check_golden("timevec_v2.bin", nx_buf_bytes(&made));
    nx_buf_deinit(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timevec_round_trips),
        cmocka_unit_test(test_timevec_sizes),
        cmocka_unit_test(test_timevec_extremes),
        cmocka_unit_test(test_timevec_refuses_what_does_not_ascend),
        cmocka_unit_test(test_timevec_golden_file_is_what_we_write_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
