/* SPDX-License-Identifier: Apache-2.0 */
/* test_config_parse.c - durations and sizes. */
#include "narthex/base/config.h"
#include "narthex/base/rand.h"

#include "base_support.h"

static void assert_duration(const char *text, int64_t expected_ms)
{
    int64_t ms = -1;
    struct nx_err err = {0};
    if (config_parse_duration_ms(nx_str_from(text), &ms, &err) != NX_OK)
        fail_msg("%s: %s", text, err.msg);
    assert_int_equal(ms, expected_ms);
}

static void test_config_parse_durations(void **state)
{
    (void)state;
    assert_duration("0", 0);
    assert_duration("0s", 0);
    assert_duration("5m", 300000);
    assert_duration("90d", INT64_C(90) * 86400000);
    assert_duration("1h30m", 5400000);
    assert_duration("500ms", 500);
    assert_duration("1y2w3d4h5m6s7ms",
                    ((((365 + 14 + 3) * INT64_C(24) + 4) * 60 + 5) * 60 + 6) * 1000 + 7);
    assert_duration("1w0d", INT64_C(7) * 86400000);
    assert_duration("0000000000000000000000000000000001s", 1000);
    assert_duration("292y", INT64_C(292) * 365 * 86400000);
}

static void test_config_parse_durations_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "1",
                                      "m",
                                      "1.5h",
                                      "-5m",
                                      "5 m",
                                      " 5m",
                                      "5m ",
                                      "5M",
                                      "1m1h",
                                      "1s1s",
                                      "1ms1s",
                                      "5min",
                                      "5mm",
                                      "00",
                                      "+5m",
                                      "1h5",
                                      "\xc2\xb5s",
                                      "999999999999999999999y",
                                      "293y",
                                      "9223372036855ms"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms = -7;
        struct nx_err err = {0};
        if (config_parse_duration_ms(nx_str_from(bad[i]), &ms, &err) != NX_E_INVALID)
            fail_msg("%s was read", bad[i]);
        assert_int_equal(ms, -7);
        assert_true(err.msg[0] != '\0');
    }
}

static void assert_printed(int64_t ms, const char *expected)
{
    struct nx_buf out = {0};
    config_print_duration(ms, &out);
    test_assert_str(nx_buf_str(&out), expected);
    nx_buf_deinit(&out);
}

static void test_config_print_durations_as_prometheus(void **state)
{
    (void)state;
    assert_printed(0, "0s");
    assert_printed(1, "1ms");
    assert_printed(300000, "5m");
    assert_printed(5400000, "1h30m");
    assert_printed(INT64_C(7) * 86400000, "1w");
    assert_printed(INT64_C(14) * 86400000, "2w");
    assert_printed(INT64_C(15) * 86400000, "15d");
    assert_printed(INT64_C(365) * 86400000, "1y");
    assert_printed(INT64_C(366) * 86400000, "366d");
    assert_printed(INT64_C(7) * 86400000 + 1, "7d1ms");
    assert_printed(-60000, "-1m");
    struct nx_buf out = {0};
    config_print_duration(INT64_MIN, &out);
    assert_int_equal(out.data[0], '-');
    nx_buf_deinit(&out);
}

static void test_config_printed_durations_read_back(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 41);
    struct nx_buf out = {0};
    for (int i = 0; i < 20000; i++) {
        int64_t ms = (int64_t)rand_below(&rand, UINT64_C(1) << (1 + rand_below(&rand, 42)));
        nx_buf_reset(&out);
        config_print_duration(ms, &out);
        int64_t back = -1;
        struct nx_err err = {0};
        assert_int_equal(config_parse_duration_ms(nx_buf_str(&out), &back, &err), NX_OK);
        assert_int_equal(back, ms);
    }
    nx_buf_deinit(&out);
}

static void test_config_parse_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {
        {"0", 0},
        {"123", 123},
        {"5B", 5},
        {"1KB", 1024},
        {"1KiB", 1024},
        {"512MB", INT64_C(512) << 20},
        {"2GiB", INT64_C(2) << 30},
        {"3TB", INT64_C(3) << 40},
        {"4PB", INT64_C(4) << 50},
        {"7EB", INT64_C(7) << 60},
        {"9223372036854775807", INT64_MAX},
    };
    struct nx_err err = {0};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t bytes = -1;
        assert_int_equal(config_parse_bytes(nx_str_from(good[i].text), &bytes, &err), NX_OK);
        assert_int_equal(bytes, good[i].bytes);
    }
    static const char *const bad[] = {"",      "B",   "KB",  "1 KB", "-1",
                                      "1.5GB", "1Ki", "1k",  "1kb",  "1XB",
                                      "1KBB",  "8EB", "1Bi", "1iB",  "9223372036854775808"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t bytes = -7;
        if (config_parse_bytes(nx_str_from(bad[i]), &bytes, &err) != NX_E_INVALID)
            fail_msg("%s was read", bad[i]);
        assert_int_equal(bytes, -7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_parse_durations),
        cmocka_unit_test(test_config_parse_durations_that_are_none),
        cmocka_unit_test(test_config_print_durations_as_prometheus),
        cmocka_unit_test(test_config_printed_durations_read_back),
        cmocka_unit_test(test_config_parse_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
