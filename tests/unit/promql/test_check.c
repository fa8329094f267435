/* SPDX-License-Identifier: Apache-2.0 */
/* test_check.c - types of operands and arguments, and which of several faults is named. */
#include "parse_support.h"

#include <stdio.h>

struct refusal {
    const char *text;
    const char *message;
};

static void assert_all_refused(const struct refusal *refusals, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_refused(refusals[i].text, refusals[i].message);
}
#define ASSERT_ALL_REFUSED(table) assert_all_refused((table), sizeof(table) / sizeof((table)[0]))

static void test_check_operators(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"},
        {"a + (1  >= 2)", "1:9: parse error: comparisons between scalars must use BOOL modifier"},
        {"a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"},
        {"a and bool b",
         "1:3: parse error: bool modifier can only be used on comparison operators"},
        {"a </ bool b", "1:3: parse error: bool modifier can only be used on comparison operators"},
        {"1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar "
                    "expression"},
        {"a or 1", "1:1: parse error: set operator \"or\" not allowed in binary scalar "
                   "expression"},
        {"1 unless a", "1:1: parse error: set operator \"unless\" not allowed in binary scalar "
                       "expression"},
        {"a + 'x'", "1:5: parse error: binary expression must contain only scalar and instant "
                    "vector types"},
        {"'x' + a", "1:1: parse error: binary expression must contain only scalar and instant "
                    "vector types"},
        {"a[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant "
                      "vector types"},
        {"a == on(x) 1", "1:1: parse error: vector matching only allowed between instant vectors"},
        {"a + fill(1) 1", "1:1: parse error: filling in missing series only allowed between "
                          "instant vectors"},
        {"a and fill(1) b", "1:1: parse error: filling in missing series not allowed for set "
                            "operators"},
        {"a and on(x) group_left b", "1:1: parse error: no grouping allowed for \"and\" operation"},
        {"a or on(x) group_right(y) b",
         "1:1: parse error: no grouping allowed for \"or\" operation"},
        {"a + on(x) group_left(y,x) b",
         "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once"},
    };
    ASSERT_ALL_REFUSED(refusals);
    assert_prints("a + ignoring(x) group_left(x) b", "a + ignoring (x) group_left (x) b");
    assert_prints("1 == bool 1", "1 == bool 1");
    assert_prints("a == 1", "a == 1");
    assert_prints("a == on() 1", "a == 1");
    assert_prints("1 </ 2", "1 </ 2");
}

static void test_check_unary_and_subquery(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"-'x'", "1:1: parse error: unary expression only allowed on expressions of type scalar or "
                 "instant vector, got \"string\""},
        {"1 + -a[5m]", "1:5: parse error: unary expression only allowed on expressions of type "
                       "scalar or instant vector, got \"range vector\""},
        {"1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar "
                   "instead"},
        {"a[5m:][5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix "
                        "instead"},
        {"(a[5m])[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix "
                         "instead"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_check_aggregations(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got "
                   "scalar"},
        {"sum(a[5m])", "1:5: parse error: expected type instant vector in aggregation expression, "
                       "got range vector"},
        {"topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got "
                       "instant vector"},
        {"topk('x', b)", "1:6: parse error: expected type scalar in aggregation parameter, got "
                         "string"},
        {"count_values(5, a)", "1:14: parse error: expected type string in aggregation parameter, "
                               "got scalar"},
        /* The vector comes before the parameter. */
        {"topk(a, 1)", "1:9: parse error: expected type instant vector in aggregation expression, "
                       "got scalar"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_check_calls(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"},
        {"1 + floor(a, b)", "1:5: parse error: expected 1 argument(s) in call to \"floor\", got 2"},
        {"floor(1)", "1:7: parse error: expected type instant vector in call to function "
                     "\"floor\", got scalar"},
        {"rate(a)", "1:6: parse error: expected type range vector in call to function \"rate\", "
                    "got instant vector"},
        {"hour(a, a, a)",
         "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", got 3"},
        {"time(a)", "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1"},
        {"round()", "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got "
                    "0"},
        {"round(a, 1, 2)",
         "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3"},
        {"label_join(a, 'b')", "1:1: parse error: expected at least 3 argument(s) in call to "
                               "\"label_join\", got 2"},
        {"label_join(a, 'b', ',', 'c', d)", "1:30: parse error: expected type string in call to "
                                            "function \"label_join\", got instant vector"},
        {"label_replace(a, 'b', 'c', 'd')",
         "1:1: parse error: expected 5 argument(s) in call to \"label_replace\", got 4"},
        {"histogram_quantiles(a, 'q', 1,2,3,4,5,6,7,8,9,10,11)",
         "1:1: parse error: expected at most 12 argument(s) in call to \"histogram_quantiles\", "
         "got 13"},
        {"histogram_quantile(a, b)", "1:20: parse error: expected type scalar in call to function "
                                     "\"histogram_quantile\", got instant vector"},
        /* The number of arguments comes before what is in them. */
        {"floor(rate(a), b)", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got "
                              "2"},
        {"floor(rate(a))", "1:12: parse error: expected type range vector in call to function "
                           "\"rate\", got instant vector"},
    };
    ASSERT_ALL_REFUSED(refusals);
    assert_prints("hour()", "hour()");
    assert_prints("label_join(a, 'b', ',')", "label_join(a, \"b\", \",\")");
    assert_prints("label_join(a, 'b', ',', 'c', 'd', 'e')",
                  "label_join(a, \"b\", \",\", \"c\", \"d\", \"e\")");
}

static void test_check_selectors(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
        {"1 + {a=\"\",b=~\".*\",c!=\"x\"}",
         "1:5: parse error: vector selector must contain at least one non-empty matcher"},
        {"rate({}[5m])",
         "1:6: parse error: vector selector must contain at least one non-empty matcher"},
        {"a{__name__=\"b\"}",
         "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""},
        {"a{\"b\"}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""},
        {"a{__name__!~\"b\"}",
         "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""},
    };
    ASSERT_ALL_REFUSED(refusals);
    assert_prints("{a!=\"\"}", "{a!=\"\"}");
    assert_prints("{\"a\",__name__!=\"b\"}", "{__name__!=\"b\",__name__=\"a\"}");
}

static void test_check_info(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"info(a, b)",
         "1:9: parse error: expected label selectors only, got vector selector instead"},
        {"info(a, b{c=\"d\"})",
         "1:9: parse error: expected label selectors only, got vector selector instead"},
        {"info(a, ({c=\"d\"}))", "1:9: parse error: expected label selectors only"},
        {"1 + info(a, 1)", "1:5: parse error: expected type instant vector in call to function "
                           "\"info\", got scalar"},
        {"info(1, {})", "1:6: parse error: expected type instant vector in call to function "
                        "\"info\", got scalar"},
    };
    ASSERT_ALL_REFUSED(refusals);
    assert_prints("info(a)", "info(a)");
    assert_prints("info(a, {})", "info(a, {})");
    assert_prints("info(a, {b=~\".*\",__name__=\"c\"})", "info(a, {__name__=\"c\",b=~\".*\"})");
}

static void test_check_first_fault_is_named(void **state)
{
    (void)state;
    assert_refused("rate(a) + rate(b)", "1:6: parse error: expected type range vector in call to "
                                        "function \"rate\", got instant vector");
    assert_refused("(1 == 1) + rate(b)",
                   "1:4: parse error: comparisons between scalars must use BOOL modifier");
    assert_refused("1 + bool rate(b)", "1:15: parse error: expected type range vector in call to "
                                       "function \"rate\", got instant vector");
    /* A fault of the grammar comes before any of types, wherever it is. */
    assert_refused("rate(a) + b c", "1:13: parse error: unexpected identifier \"c\"");
}

static void test_check_long_chain(void **state)
{
    (void)state;
    struct nx_buf text = {0};
    nx_buf_append_cstr(&text, "rate(a)");
    for (int i = 0; i < 9000; i++)
        nx_buf_append_cstr(&text, "+ rate(b[1m])");
    nx_buf_append_byte(&text, '\0');
    assert_refused((const char *)text.data, "1:6: parse error: expected type range vector in call "
                                            "to function \"rate\", got instant vector");
    nx_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_operators),
        cmocka_unit_test(test_check_unary_and_subquery),
        cmocka_unit_test(test_check_aggregations),
        cmocka_unit_test(test_check_calls),
        cmocka_unit_test(test_check_selectors),
        cmocka_unit_test(test_check_info),
        cmocka_unit_test(test_check_first_fault_is_named),
        cmocka_unit_test(test_check_long_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
