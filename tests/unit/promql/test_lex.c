/* SPDX-License-Identifier: Apache-2.0 */
/* test_lex.c - tokens, their positions, what they mean, and what is no token. */
#include "narthex/promql/lex.h"

#include "parse_support.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* Descriptions of all tokens, separated by spaces; the lexer's complaint ends them. */
static void assert_tokens(const char *text, const char *expected)
{
    struct lexer lexer;
    struct nx_buf all = {0};
    lexer_init(&lexer, nx_str_from(text));
    for (;;) {
        struct token token = lexer_next(&lexer);
        if (all.len > 0)
            nx_buf_append_byte(&all, ' ');
        if (token.kind == TOKEN_ERROR)
            nx_buf_printf(&all, "%u: %s", token.pos.start, lexer.error);
        else if (token.kind != TOKEN_END)
            token_describe(lexer.text, token, &all);
        else if (all.len > 0)
            all.len--;
        if (token.kind == TOKEN_ERROR || token.kind == TOKEN_END)
            break;
    }
    nx_buf_append_byte(&all, '\0');
    assert_string_equal((const char *)all.data, expected);
    nx_buf_deinit(&all);
}

static void test_lex_punctuation_and_operators(void **state)
{
    (void)state;
    assert_tokens(", ( ) @ =", "\",\" \"(\" \")\" <op:@> \"=\"");
    assert_tokens("+ - * / % ^", "<op:+> <op:-> <op:*> <op:/> <op:%> <op:^>");
    assert_tokens("== != < <= > >= </ >/",
                  "<op:==> <op:!=> <op:<> <op:<=> <op:>> <op:>=> <op:</> <op:>/>");
    assert_tokens("and OR unless Atan2", "<op:and> <op:OR> <op:unless> <op:Atan2>");
}

static void test_lex_words(void **state)
{
    (void)state;
    assert_tokens("foo _a1 a:b :",
                  "identifier \"foo\" identifier \"_a1\" metric identifier \"a:b\" "
                  "metric identifier \":\"");
    assert_tokens("sum LIMITK by on bool", "<aggr:sum> <aggr:LIMITK> <by> <on> <bool>");
    assert_tokens("offset anchored smoothed ignoring without group_left group_right",
                  "<offset> <anchored> <smoothed> <ignoring> <without> <group_left> <group_right>");
    assert_tokens("start end step range max_of min_of",
                  "\"start\" \"end\" \"step\" \"range\" \"max_of\" \"min_of\"");
    assert_tokens("sum:rate5m", "metric identifier \"sum:rate5m\"");
}

static void test_lex_fill_is_a_word_only_before_a_parenthesis(void **state)
{
    (void)state;
    assert_tokens("fill fill_left{} fill_right", "identifier \"fill\" identifier \"fill_left\" "
                                                 "\"{\" \"}\" identifier \"fill_right\"");
    assert_tokens("fill(1) fill_left \t(", "<fill> \"(\" number \"1\" \")\" <fill_left> \"(\" "
                                           "20: unclosed left parenthesis");
}

static void test_lex_spaces_and_comments_are_skipped(void **state)
{
    (void)state;
    assert_tokens(" \t\r\n", "");
    assert_tokens("# nothing", "");
    assert_tokens("a # b\n c#d\r e", "identifier \"a\" identifier \"c\" identifier \"e\"");
    assert_tokens("{ # x\n a # }\n = 'b' }", "\"{\" identifier \"a\" \"=\" string \"'b'\" \"}\"");
}

static void test_lex_inside_braces_words_are_names(void **state)
{
    (void)state;
    assert_tokens("{sum=\"a\",by!='b',or=~`c`,NaN!~\"\"}",
                  "\"{\" identifier \"sum\" \"=\" string \"\\\"a\\\"\" \",\" identifier \"by\" "
                  "<op:!=> string \"'b'\" \",\" identifier \"or\" <op:=~> string \"`c`\" \",\" "
                  "identifier \"NaN\" <op:!~> string \"\\\"\\\"\" \"}\"");
}

static void test_lex_numbers_and_durations(void **state)
{
    (void)state;
    assert_tokens("1 1. .5 1.5e3 1E-7 0x1F 1_000 Inf nan",
                  "number \"1\" number \"1.\" number \".5\" number \"1.5e3\" number \"1E-7\" "
                  "number \"0x1F\" number \"1_000\" number \"Inf\" number \"nan\"");
    assert_tokens("5m 1h30m 2y1w 10ms", "duration \"5m\" duration \"1h30m\" duration \"2y1w\" "
                                        "duration \"10ms\"");
    assert_tokens("1..2", "0: bad number or duration syntax: \"1..\"");
    assert_tokens("2.5.", "0: bad number or duration syntax: \"2.5.\"");
    assert_tokens("0deadbeef", "0: bad number or duration syntax: \"0de\"");
    assert_tokens("1e", "0: bad number or duration syntax: \"1e\"");
    assert_tokens("1e2e3", "0: bad number or duration syntax: \"1e2e\"");
    assert_tokens("a 1_", "identifier \"a\" 2: bad number or duration syntax: \"1_\"");
    assert_tokens("1__0", "0: bad number or duration syntax: \"1__\"");
    assert_tokens("0x1.5", "0: bad number or duration syntax: \"0x1.\"");
    assert_tokens("5mm", "0: bad number or duration syntax: \"5mm\"");
    assert_tokens("5mx", "0: bad number or duration syntax: \"5mx\"");
    assert_tokens(".", "0: unexpected character: '.'");
}

static void test_lex_strings(void **state)
{
    (void)state;
    assert_tokens("\"a'b\" 'c\"d' `e\\n`",
                  "string \"\\\"a'b\\\"\" string \"'c\\\"d'\" string \"`e\\\\n`\"");
    assert_tokens("\"0123456789abc\"", "string \"\\\"012345678\"...");
    assert_tokens("\"abc", "0: unterminated quoted string");
    assert_tokens("\"a\nb\"", "0: unterminated quoted string");
    assert_tokens("`a\nb", "0: unterminated raw string");
    assert_tokens("`a\nb`", "string \"`a\\nb`\"");
    assert_tokens("\"\\c\"", "0: unknown escape sequence U+0063 'c'");
    assert_tokens("\"\\'\"", "0: unknown escape sequence U+0027 '\\''");
    assert_tokens("\"\\x.\"", "0: illegal character U+002E '.' in escape sequence");
    assert_tokens("\"\\xa", "0: escape sequence not terminated");
    assert_tokens("\"\\", "0: escape sequence not terminated");
    assert_tokens("\"\\400\"", "0: escape sequence is an invalid Unicode code point");
    assert_tokens("\"\\uD800\"", "0: escape sequence is an invalid Unicode code point");
    assert_tokens("\"\\U00110000\"", "0: escape sequence is an invalid Unicode code point");
    assert_tokens("a \"\xff\"", "identifier \"a\" 2: invalid UTF-8 rune");
    assert_tokens("\"\xed\xa0\x80\"", "0: invalid UTF-8 rune");
    assert_tokens("\"\xe2\x82\"", "0: invalid UTF-8 rune");
    assert_tokens("\"\xf0\x9f\x98\x80\"", "string \"\\\"\xf0\x9f\x98\x80\\\"\"");
}

static void test_lex_brackets(void **state)
{
    (void)state;
    assert_tokens("a[5m]", "identifier \"a\" \"[\" duration \"5m\" \"]\"");
    assert_tokens("a[ 5m : 1s ]", "identifier \"a\" \"[\" duration \"5m\" \":\" duration \"1s\" "
                                  "\"]\"");
    assert_tokens("a[STEP()+min_of(1,2)]",
                  "identifier \"a\" \"[\" \"STEP\" \"(\" \")\" <op:+> \"min_of\" \"(\" number "
                  "\"1\" \",\" number \"2\" \")\" \"]\"");
    assert_tokens("a[", "identifier \"a\" \"[\" 2: unexpected end of input in duration expression");
    assert_tokens("a[5m", "identifier \"a\" \"[\" duration \"5m\" 4: unclosed left bracket");
    assert_tokens("(a[5m", "\"(\" identifier \"a\" \"[\" duration \"5m\" "
                           "5: unclosed left parenthesis");
    assert_tokens("a[5m x]", "identifier \"a\" \"[\" duration \"5m\" "
                             "5: unexpected character: 'x', expected ':'");
    assert_tokens("a[x]", "identifier \"a\" \"[\" "
                          "2: unexpected character in duration expression: 'x'");
    assert_tokens("a['x']", "identifier \"a\" \"[\" "
                            "2: unexpected character in duration expression: '\\''");
    assert_tokens("a[5m[", "identifier \"a\" \"[\" duration \"5m\" 4: unexpected left bracket '['");
    assert_tokens("a]", "identifier \"a\" 1: unexpected right bracket ']'");
    assert_tokens("a[:5m]", "identifier \"a\" \"[\" "
                            "3: unexpected colon before duration in duration expression");
    assert_tokens("a[5m:1m:1m]", "identifier \"a\" \"[\" duration \"5m\" \":\" duration \"1m\" "
                                 "7: unexpected colon ':'");
}

static void test_lex_strange_characters(void **state)
{
    (void)state;
    assert_tokens("a ; b", "identifier \"a\" 2: unexpected character: ';'");
    assert_tokens("}", "0: unexpected character: '}'");
    assert_tokens("a$", "identifier \"a\" 1: unexpected character: '$'");
    assert_tokens("\xc3\xa4", "0: unexpected character: '\xc3\xa4'");
    assert_tokens("\xff", "0: unexpected character: '\xef\xbf\xbd'");
    assert_tokens("\x01", "0: unexpected character: '\\x01'");
    assert_tokens("a !~ b", "identifier \"a\" 2: unexpected character after '!': '~'");
    assert_tokens("a =~ b", "identifier \"a\" 2: unexpected character after '=': '~'");
    assert_tokens("!", "0: unexpected character after '!': '\xef\xbf\xbd'");
    assert_tokens("(1))", "\"(\" number \"1\" \")\" 4: unexpected right parenthesis ')'");
    assert_tokens("((1)", "\"(\" \"(\" number \"1\" \")\" 4: unclosed left parenthesis");
    assert_tokens("{", "\"{\" 1: unexpected end of input inside braces");
    assert_tokens("{a:b}", "\"{\" identifier \"a\" 2: unexpected character inside braces: ':'");
    assert_tokens("{a!b}", "\"{\" identifier \"a\" "
                           "2: unexpected character after '!' inside braces: 'b'");
    assert_tokens("{{", "\"{\" 1: unexpected left brace '{'");
}

static void test_lex_error_repeats(void **state)
{
    (void)state;
    struct lexer lexer;
    lexer_init(&lexer, NX_STR("$ a"));
    assert_int_equal(lexer_next(&lexer).kind, TOKEN_ERROR);
    assert_int_equal(lexer_next(&lexer).kind, TOKEN_ERROR);
    lexer_init(&lexer, NX_STR("a"));
    assert_int_equal(lexer_next(&lexer).kind, TOKEN_IDENTIFIER);
    assert_int_equal(lexer_next(&lexer).kind, TOKEN_END);
    assert_int_equal(lexer_next(&lexer).kind, TOKEN_END);
}

static void assert_number(const char *text, double expected)
{
    double value = -12345;
    struct nx_err err;
    if (lex_number(nx_str_from(text), &value, &err) != NX_OK)
        fail_msg("%s: %s", text, err.msg);
    if (isnan(expected))
        assert_true(isnan(value));
    else if (value != expected)
        fail_msg("%s is %g, not %g", text, value, expected);
}

static void test_lex_number_values(void **state)
{
    (void)state;
    assert_number("1", 1);
    assert_number(".5", .5);
    assert_number("5.", 5);
    assert_number("1e-3", 1e-3);
    assert_number("0x1F", 31);
    assert_number("0X_ff", 255);
    assert_number("017", 15);
    assert_number("08", 8); /* no octal number, so decimal */
    assert_number("0755.", 755);
    assert_number("1_000", 1000);
    assert_number("1_000.000_1", 1000.0001);
    assert_number("0", 0);
    assert_number("9223372036854775807", 9223372036854775807.0);
    assert_number("9223372036854775808", 9223372036854775808.0);
    assert_number("1.7976931348623157e308", DBL_MAX);
    assert_number("iNf", INFINITY);
    assert_number("NaN", NAN);
}

static void assert_number_refused(const char *text, const char *message)
{
    double value;
    struct nx_err err;
    assert_int_equal(lex_number(nx_str_from(text), &value, &err), NX_E_INVALID);
    assert_string_equal(err.msg, message);
}

static void test_lex_number_faults(void **state)
{
    (void)state;
    assert_number_refused("1e400", "error parsing number: strconv.ParseFloat: parsing \"1e400\": "
                                   "value out of range");
    assert_number_refused("0xfffffffffffffffff",
                          "error parsing number: strconv.ParseFloat: parsing "
                          "\"0xfffffffffffffffff\": invalid syntax");
    assert_number_refused("1_", "error parsing number: strconv.ParseFloat: parsing \"1_\": "
                                "invalid syntax");
    assert_number_refused("0x", "error parsing number: strconv.ParseFloat: parsing \"0x\": "
                                "invalid syntax");
    char digits[2000];
    memset(digits, '1', sizeof(digits));
    digits[sizeof(digits) - 1] = '\0';
    assert_number_refused(digits, "error parsing number: longer than 1024 characters");
}

static void assert_duration(const char *text, int64_t expected)
{
    int64_t ms = -1;
    struct nx_err err;
    assert_int_equal(lex_duration(nx_str_from(text), &ms, &err), NX_OK);
    assert_int_equal(ms, expected);
}

static void assert_duration_refused(const char *text, const char *message)
{
    int64_t ms;
    struct nx_err err;
    assert_int_equal(lex_duration(nx_str_from(text), &ms, &err), NX_E_INVALID);
    assert_string_equal(err.msg, message);
}

static void test_lex_duration_values(void **state)
{
    (void)state;
    assert_duration("5m", 300000);
    assert_duration("1h30m", 5400000);
    assert_duration("1y2w3d4h5m6s7ms",
                    31536000000 + 1209600000 + 259200000 + 14400000 + 300000 + 6000 + 7);
    assert_duration("0s", 0);
    assert_duration("292y", 292LL * 31536000000);
    assert_duration_refused("", "not a valid duration string: \"\"");
    assert_duration_refused("5", "not a valid duration string: \"5\"");
    assert_duration_refused("1.5h", "not a valid duration string: \"1.5h\"");
    assert_duration_refused("1m1h", "not a valid duration string: \"1m1h\"");
    assert_duration_refused("1m1m", "not a valid duration string: \"1m1m\"");
    assert_duration_refused("5hs", "not a valid duration string: \"5hs\"");
    assert_duration_refused("300y", "duration out of range");
    assert_duration_refused("292y200d", "duration out of range");
    assert_duration_refused("99999999999999999999999ms", "duration out of range");
}

static void assert_duration_prints(int64_t ms, const char *expected)
{
    struct nx_buf buf = {0};
    lex_duration_print(ms, &buf);
    nx_buf_append_byte(&buf, '\0');
    assert_string_equal((const char *)buf.data, expected);
    nx_buf_deinit(&buf);
}

static void test_lex_duration_text(void **state)
{
    (void)state;
    assert_duration_prints(0, "0s");
    assert_duration_prints(300000, "5m");
    assert_duration_prints(-5400000, "-1h30m");
    assert_duration_prints(7LL * 86400000, "1w");
    assert_duration_prints(8LL * 86400000, "8d");
    assert_duration_prints(365LL * 86400000, "1y");
    assert_duration_prints(366LL * 86400000, "366d");
    assert_duration_prints(14LL * 86400000 + 1, "14d1ms");
    assert_duration_prints(1500, "1s500ms");
}

static void assert_unquotes(const char *quoted, const char *expected, size_t expected_len)
{
    char out[100];
    size_t len = lex_unquote(nx_str_from(quoted), out);
    assert_int_equal(len, expected_len);
    assert_memory_equal(out, expected, len);
}

static void test_lex_unquote(void **state)
{
    (void)state;
    assert_unquotes("\"\"", "", 0);
    assert_unquotes("\"a'b\\\"c\"", "a'b\"c", 5);
    assert_unquotes("'a\"b\\'c'", "a\"b'c", 5);
    assert_unquotes("`a\\n\"`", "a\\n\"", 4);
    assert_unquotes("\"\\a\\b\\f\\n\\r\\t\\v\\\\\"", "\a\b\f\n\r\t\v\\", 8);
    assert_unquotes("\"\\xFF\\377\\000\"", "\xff\xff\0", 3);
    assert_unquotes("\"\\u1234\\U00010111\\u00e4\\u0041\"",
                    "\u1234\U00010111\u00e4"
                    "A",
                    10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lex_punctuation_and_operators),
        cmocka_unit_test(test_lex_words),
        cmocka_unit_test(test_lex_fill_is_a_word_only_before_a_parenthesis),
        cmocka_unit_test(test_lex_spaces_and_comments_are_skipped),
        cmocka_unit_test(test_lex_inside_braces_words_are_names),
        cmocka_unit_test(test_lex_numbers_and_durations),
        cmocka_unit_test(test_lex_strings),
        cmocka_unit_test(test_lex_brackets),
        cmocka_unit_test(test_lex_strange_characters),
        cmocka_unit_test(test_lex_error_repeats),
        cmocka_unit_test(test_lex_number_values),
        cmocka_unit_test(test_lex_number_faults),
        cmocka_unit_test(test_lex_duration_values),
        cmocka_unit_test(test_lex_duration_text),
        cmocka_unit_test(test_lex_unquote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
