/* SPDX-License-Identifier: Apache-2.0 */
/* test_float_text.c - text of floats: as Go writes it, and back to the same bits. */
#include "narthex/base/float_text.h"
#include "narthex/base/io.h"
#include "narthex/base/rand.h"

#include "base_support.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef size_t (*text_fn)(char out[FLOAT_TEXT_MAX], double value);

static const text_fn forms[] = {float_text_f, float_text_e, float_text_g, float_text_json};

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static uint64_t parse_hex(struct nx_str text)
{
    uint64_t value = 0;
    assert_int_equal(text.len, 16);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

static void test_float_text_equals_the_golden_file(void **state)
{
    (void)state;
    struct nx_buf file = {0};
    struct nx_err err = {0};
    assert_int_equal(
        io_read_file(io_real(), NX_TEST_GOLDEN_DIR "/float_text.txt", 1 << 20, &file, &err), NX_OK);
    struct nx_str rest = nx_buf_str(&file);
    struct nx_str line;
    size_t checked = 0;
    while (nx_str_split(rest, '\n', &line, &rest)) {
        if (nx_str_starts_with(line, NX_STR("#")))
            continue;
        struct nx_str word;
        nx_str_split(line, ' ', &word, &line);
        double value = from_bits(parse_hex(word));
        for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
            char text[FLOAT_TEXT_MAX];
            nx_str_split(line, ' ', &word, &line);
            struct nx_str got = {.data = text, .len = forms[i](text, value)};
            if (!nx_str_eq(got, word))
                fail_msg("form %zu: %.*s, expected %.*s", i, NX_STR_ARGS(got), NX_STR_ARGS(word));
            checked++;
        }
    }
    assert_true(checked > 1000);
    nx_buf_deinit(&file);
}

static void check_round_trip(double value)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        char text[FLOAT_TEXT_MAX];
        size_t len = forms[i](text, value);
        double back = 0;
        assert_true(len < FLOAT_TEXT_MAX);
        assert_true(float_text_parse((struct nx_str){.data = text, .len = len}, &back));
        if (to_bits(back) != to_bits(value) && !(isnan(value) && isnan(back)))
            fail_msg("%016" PRIx64 " as %.*s came back as %016" PRIx64, to_bits(value), (int)len,
                     text, to_bits(back));
    }
}

static void test_float_text_round_trips_random_bits(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 21);
    for (int i = 0; i < 50000; i++)
        check_round_trip(from_bits(rand_u64(&rand)));
}

static void test_float_text_round_trips_decimals_and_integers(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 22);
    for (int i = 0; i < 50000; i++) {
        double number = (double)rand_below(&rand, UINT64_C(1) << (1 + rand_below(&rand, 63)));
        check_round_trip(number);
        check_round_trip(-number / pow(10, (double)rand_below(&rand, 12)));
    }
}

/* No text of fewer significant digits may read back to the same value: printf's %.*e is the judge. */
static void test_float_text_is_the_shortest(void **state)
{
    (void)state;
    struct rand_state rand;
    rand_seed(&rand, 23);
    for (int i = 0; i < 20000; i++) {
        double value = i % 2 == 0 ? from_bits(rand_u64(&rand) >> 1)
                                  : (double)rand_below(&rand, 1000000000) / 1000;
        if (!isfinite(value) || value == 0)
            continue;
        char text[FLOAT_TEXT_MAX];
        size_t len = float_text_e(text, value);
        const char *exponent = memchr(text, 'e', len);
        int digits = (int)(exponent - text) - (exponent - text > 1);
        if (digits == 1)
            continue;
        char shorter[64];
        snprintf(shorter, sizeof(shorter), "%.*e", digits - 2, value);
        assert_true(strtod(shorter, NULL) != value);
    }
}

static void test_float_text_longest_form_fits(void **state)
{
    (void)state;
    char text[FLOAT_TEXT_MAX];
    assert_int_equal(float_text_f(text, -1.7976931348623157e308), 310);
    assert_int_equal(float_text_f(text, -5e-324), 327);
    size_t longest = 0;
    for (uint64_t mantissa = 0; mantissa < 2000; mantissa++) {
        size_t len = float_text_f(text, -from_bits(UINT64_C(0x0010000000000000) + mantissa));
        longest = len > longest ? len : longest;
    }
    assert_true(longest > 320 && longest < FLOAT_TEXT_MAX);
}

static void assert_parses(const char *text, double expected)
{
    double value = 0;
    if (!float_text_parse(nx_str_from(text), &value))
        fail_msg("%s was refused", text);
    if (to_bits(value) != to_bits(expected))
        fail_msg("%s gave %.17g", text, value);
}

static void test_float_text_parse_accepts_go_s_decimal_forms(void **state)
{
    (void)state;
    assert_parses("1", 1);
    assert_parses("+1", 1);
    assert_parses("-0", -0.0);
    assert_parses(".5", .5);
    assert_parses("5.", 5);
    assert_parses("1e3", 1e3);
    assert_parses("1E+3", 1e3);
    assert_parses("-1.5e-3", -1.5e-3);
    assert_parses("00000000000000000000000001", 1);
    assert_parses("inf", INFINITY);
    assert_parses("+Inf", INFINITY);
    assert_parses("-INFINITY", -INFINITY);
    assert_parses("NaN", from_bits(UINT64_C(0x7ff8000000000001)));
    assert_parses("nan", from_bits(UINT64_C(0x7ff8000000000001)));
}

static void test_float_text_parse_refuses_what_is_no_number(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      " 1",    "1 ",           ".",   "-",    "+",    "e5",   "1e",      "1e+",
        "1.2.3", "--1",   "0x1p3",        "1_0", "+NaN", "-nan", "infi", "infinit", "nano",
        "1e5.",  "1e5e5", "\xe2\x88\x9e", "1,5",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        double value = 42;
        if (float_text_parse(nx_str_from(bad[i]), &value))
            fail_msg("%s was read as %.17g", bad[i], value);
        assert_true(value == 42);
    }
    double value;
    assert_false(float_text_parse((struct nx_str){0}, &value));
    assert_false(float_text_parse((struct nx_str){.data = "1\0", .len = 2}, &value));
}

static void test_float_text_parse_rounds_at_the_edges(void **state)
{
    (void)state;
    assert_parses("1.7976931348623158e308", 1.7976931348623157e308);
    assert_parses("1.7976931348623159e308", INFINITY);
    assert_parses("-1e400", -INFINITY);
    assert_parses("1e99999999999999999999999", INFINITY);
    assert_parses("1e-99999999999999999999999", 0);
    assert_parses("-1e-400", -0.0);
    assert_parses("0e99999999999999999999999", 0);
    assert_parses("2.4703282292062327e-324", 0);
    assert_parses("2.4703282292062328e-324", 5e-324);
    assert_parses("9007199254740993", 9007199254740992.0);
    assert_parses("9007199254740993.0000000000000000000000000000001", 9007199254740994.0);
    assert_parses("0.000000000000000000000000000000000000000000000000000000000000001e63", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_text_equals_the_golden_file),
        cmocka_unit_test(test_float_text_round_trips_random_bits),
        cmocka_unit_test(test_float_text_round_trips_decimals_and_integers),
        cmocka_unit_test(test_float_text_is_the_shortest),
        cmocka_unit_test(test_float_text_longest_form_fits),
        cmocka_unit_test(test_float_text_parse_accepts_go_s_decimal_forms),
        cmocka_unit_test(test_float_text_parse_refuses_what_is_no_number),
        cmocka_unit_test(test_float_text_parse_rounds_at_the_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
