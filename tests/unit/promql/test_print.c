/* SPDX-License-Identifier: Apache-2.0 */
/* test_print.c - the normal form of expressions, and that it parses to itself. */
#include "parse_support.h"

#include <stdio.h>

static void test_print_aggregations(void **state)
{
    (void)state;
    assert_prints("sum by() (a{job=\"s\"})", "sum(a{job=\"s\"})");
    assert_prints("sum by(code) (a)", "sum by (code) (a)");
    assert_prints("sum(a)by(code,x)", "sum by (code, x) (a)");
    assert_prints("sum without() (a)", "sum without () (a)");
    assert_prints("sum without(instance) (a)", "sum without (instance) (a)");
    assert_prints("topk(5,a)", "topk(5, a)");
    assert_prints("count_values('value',a)", "count_values(\"value\", a)");
    assert_prints("sum by (\"foo.bar\", 'baz') (a)", "sum by (\"foo.bar\", baz) (a)");
    assert_prints("sum by (\"without\", \"NaN\") (a)", "sum by (\"without\", \"NaN\") (a)");
}

static void test_print_operators(void **state)
{
    (void)state;
    assert_prints("a-on()c", "a - on () c");
    assert_prints("a - on(b) group_left(x, y) c", "a - on (b) group_left (x, y) c");
    assert_prints("a - on(b) group_left c", "a - on (b) group_left () c");
    assert_prints("a - ignoring() group_right c", "a - ignoring () group_right () c");
    assert_prints("a - ignoring(b) c", "a - ignoring (b) c");
    assert_prints("a - ignoring() c", "a - c");
    assert_prints("up > bool 0", "up > bool 0");
    assert_prints("a AND b Or c uNless d", "a and b or c unless d");
    assert_prints("a</1>/2", "a </ 1 >/ 2");
    assert_prints("a + fill(1.50) b", "a + fill (1.5) b");
    assert_prints("a + on(x) fill_left(1) b", "a + on (x) fill_left (1) b");
    assert_prints("a + fill_right(NaN) b", "a + fill_right (NaN) b");
    assert_prints("a + fill_right(2) fill_left(-Inf) b", "a + fill_left (-Inf) fill_right (2) b");
    assert_prints("a + fill_left(5m) fill_right(3e100) b",
                  "a + fill_left (300) fill_right (3e+100) b");
    assert_prints("-a+ +b", "-a + +b");
    assert_prints("( ( a ) )", "((a))");
}

static void test_print_selectors(void **state)
{
    (void)state;
    assert_prints("a{}", "a");
    assert_prints("a{z='1',b!=\"2\",c=~`3`,d!~\"4\",}", "a{b!=\"2\",c=~\"3\",d!~\"4\",z=\"1\"}");
    assert_prints("{__name__=\"a\"}", "{__name__=\"a\"}");
    assert_prints("{\"a\"}", "{__name__=\"a\"}");
    assert_prints("{\"a b\",\"c.d\"=\"e\"}", "{\"c.d\"=\"e\",__name__=\"a b\"}");
    assert_prints("a{b=\"\\\"\\n\\u00e4\\xff\"}", "a{b=\"\\\"\\n\u00e4\\xff\"}");
    assert_prints("A:b{c=\"d\"}", "A:b{c=\"d\"}");
}

static void test_print_modifiers_in_one_order(void **state)
{
    (void)state;
    assert_prints("a offset 1m @ 10", "a @ 10.000 offset 1m");
    assert_prints("a offset -7m", "a offset -7m");
    assert_prints("a offset 0", "a");
    assert_prints("a offset 1.5", "a offset 1s500ms");
    assert_prints("a offset 1m smoothed @ start()", "a @ start() smoothed offset 1m");
    assert_prints("a{c=\"d\"}[5m] offset 1m", "a{c=\"d\"}[5m] offset 1m");
    assert_prints("a anchored[1800]", "a[30m] anchored");
    assert_prints("a[1m] offset 1h smoothed @ end()", "a[1m] smoothed @ end() offset 1h");
    assert_prints("a[1h:5m] offset 1m @ .5", "a[1h:5m] @ 0.500 offset 1m");
    assert_prints("a[90m:]", "a[1h30m:]");
    assert_prints("a @ -1e3", "a @ -1000.000");
    assert_prints("a[0.5]", "a[500ms]");
}

static void test_print_literals(void **state)
{
    (void)state;
    assert_prints("1e3", "1000");
    assert_prints("0x1F", "31");
    assert_prints("1e-7", "0.0000001");
    assert_prints("1e21", "1000000000000000000000");
    assert_prints("inf", "+Inf");
    assert_prints("-Inf", "-Inf");
    assert_prints("nan", "NaN");
    assert_prints("-0", "-0");
    assert_prints("90m", "1h30m");
    assert_prints("-5m", "-5m");
    assert_prints("'a\"b'", "\"a\\\"b\"");
    assert_prints("`a\\n`", "\"a\\\\n\"");
    assert_prints("\"\\a\\b\\f\\n\\r\\t\\v\\\\\\x7f\\xff\\U0001F600\"",
                  "\"\\a\\b\\f\\n\\r\\t\\v\\\\\\x7f\\xff\U0001F600\"");
}

static void test_print_keeps_long_chains_flat(void **state)
{
    (void)state;
    char text[400] = "a0";
    for (int i = 1; i < 40; i++) {
        char term[24];
        (void)snprintf(term, sizeof(term), " - a%d", i);
        strncat(text, term, sizeof(text) - strlen(text) - 1);
    }
    assert_prints(text, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_aggregations),
        cmocka_unit_test(test_print_operators),
        cmocka_unit_test(test_print_selectors),
        cmocka_unit_test(test_print_modifiers_in_one_order),
        cmocka_unit_test(test_print_literals),
        cmocka_unit_test(test_print_keeps_long_chains_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
