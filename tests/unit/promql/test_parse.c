/* SPDX-License-Identifier: Apache-2.0 */
/* test_parse.c - the grammar: what binds how, where things are, what is refused and where. */
#include "narthex/model/labels.h"
#include "narthex/promql/functions.h"

#include "parse_support.h"

#include <stdio.h>
#include <string.h>

static void test_parse_precedence(void **state)
{
    (void)state;
    assert_shape("a + b * c", "(+ a (* b c))");
    assert_shape("a * b + c", "(+ (* a b) c)");
    assert_shape("a - b - c", "(- (- a b) c)");
    assert_shape("a / b * c % d atan2 e", "(atan2 (% (* (/ a b) c) d) e)");
    assert_shape("a ^ b ^ c", "(^ a (^ b c))");
    assert_shape("a ^ b * c", "(* (^ a b) c)");
    assert_shape("a or b and c", "(or a (and b c))");
    assert_shape("a and b unless c or d", "(or (unless (and a b) c) d)");
    assert_shape("a == b + c > d", "(> (== a (+ b c)) d)");
    assert_shape("a </ 1 + 2 or b >/ 3", "(or (</ a (+ 1 2)) (>/ b 3))");
    assert_shape("(a + b) * c", "(* (paren (+ a b)) c)");
}

static void test_parse_signs(void **state)
{
    (void)state;
    assert_shape("-1", "-1");
    assert_shape("+1", "1");
    assert_shape("--1", "1");
    assert_shape("-1 ^ 2", "(neg (^ 1 2))");
    assert_shape("2 ^ -1", "(^ 2 -1)");
    assert_shape("2 ^ -3 * 4", "(* (^ 2 -3) 4)");
    assert_shape("-a * b", "(* (neg a) b)");
    assert_shape("-a ^ b", "(neg (^ a b))");
    assert_shape("a * -b ^ c", "(* a (neg (^ b c)))");
    assert_shape("1 - -1", "(- 1 -1)");
    assert_shape("+-+a", "(pos (neg (pos a)))");
    assert_shape("-(1)", "(neg (paren 1))");
    assert_shape("-a offset 1m ^ 2", "(neg (^ a offset 1m 2))");
}

static void test_parse_words_as_metrics(void **state)
{
    (void)state;
    static const char *const words[] = {
        "sum",      "count_values", "by",   "without",   "offset", "and",    "or",
        "unless",   "start",        "end",  "step",      "range",  "min_of", "max_of",
        "anchored", "smoothed",     "fill", "fill_left", "limitk"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char text[100];
        assert_prints(words[i], words[i]);
        (void)snprintf(text, sizeof(text), "%s{%s=\"%s\"}[5m] offset 1m", words[i], words[i],
                       words[i]);
        assert_prints(text, text);
        (void)snprintf(text, sizeof(text), "sum by (sum, %s) (%s)",
                       strcmp(words[i], "without") == 0 ? "\"without\"" : words[i], words[i]);
        assert_prints(text, text);
    }
    assert_prints("or or or", "or or or");
    assert_prints("SUM(Sum)", "sum(Sum)");
}

static void test_parse_number_is_seconds_and_duration_is_a_number(void **state)
{
    (void)state;
    struct parsed parsed = parsed_begin("a[300:60] offset 1.5 @ 1m");
    assert_non_null(parsed.root);
    assert_int_equal(parsed.root->u.subquery.range.ms, 300000);
    assert_int_equal(parsed.root->u.subquery.step.ms, 60000);
    assert_int_equal(parsed.root->u.subquery.modifiers.offset.ms, 1500);
    assert_int_equal(parsed.root->u.subquery.modifiers.at_ms, 60000);
    parsed_end(&parsed);

    parsed = parsed_begin("1h30m");
    assert_non_null(parsed.root);
    assert_int_equal(parsed.root->kind, AST_NUMBER);
    assert_true(parsed.root->u.number.value == 5400);
    parsed_end(&parsed);
}

static void test_parse_modifiers(void **state)
{
    (void)state;
    struct parsed parsed = parsed_begin("a[5m] offset -1h @ end()");
    assert_non_null(parsed.root);
    const struct ast_modifiers *modifiers = &parsed.root->u.matrix.selector->u.selector.modifiers;
    assert_int_equal(parsed.root->kind, AST_MATRIX_SELECTOR);
    assert_int_equal(parsed.root->u.matrix.range.ms, 300000);
    assert_int_equal(modifiers->offset.ms, -3600000);
    assert_int_equal(modifiers->at, AT_END);
    parsed_end(&parsed);

    parsed = parsed_begin("a @ -3.3335 offset 1m");
    assert_non_null(parsed.root);
    assert_int_equal(parsed.root->u.selector.modifiers.at, AT_TIME);
    assert_int_equal(parsed.root->u.selector.modifiers.at_ms, -3334);
    parsed_end(&parsed);

    parsed = parsed_begin("a[5m] anchored offset 1m");
    assert_non_null(parsed.root);
    assert_true(parsed.root->u.matrix.selector->u.selector.is_anchored);
    parsed_end(&parsed);
}

static void test_parse_offset_ends_before_operators(void **state)
{
    (void)state;
    assert_shape("a offset 2 ^ 2", "(^ a offset 2s 2)");
    assert_shape("a offset -2 ^ 2", "(^ a offset -2s 2)");
    assert_shape("a offset - -2 ^ 2", "(^ a offset 2s 2)");
    assert_shape("a offset 100 + 2", "(+ a offset 1m40s 2)");
    assert_shape("a offset (100 + 2)", "a offset (100 + 2)");
    assert_shape("a offset (1m) + 2", "(+ a offset (1m) 2)");
    assert_shape("a offset -(1m - 2) + 2", "(+ a offset -(1m - 2) 2)");
    assert_shape("a offset -step()*2", "(* a offset -step() 2)");
    assert_shape("a offset +min_of(step(), 1s)^0", "(^ a offset min_of(step(), 1s) 0)");
}

static void test_parse_duration_expressions(void **state)
{
    (void)state;
    assert_prints("a[1h/2]", "a[1h / 2]");
    assert_prints("a[-5m+35m]", "a[-5m + 35m]");
    assert_prints("a[-2^2]", "a[-2 ^ 2]");
    assert_prints("a[2m*(10+5)]", "a[2m * (10 + 5)]");
    assert_prints("a[(5s)]", "a[(5s)]");
    assert_prints("a[STEP()]", "a[step()]");
    assert_prints("a[range():step()]", "a[range():step()]");
    assert_prints("a[max_of(min_of(step()+1,1h),1ms):20*500ms]",
                  "a[max_of(min_of(step() + 1, 1h), 1ms):20 * 500ms]");
    assert_prints("a offset +(5)", "a offset (5)");
}

static void test_parse_matching(void **state)
{
    (void)state;
    struct parsed parsed =
        parsed_begin("a == bool on(x, \"y.z\") group_left(v,) fill_left(1) fill_right(-Inf) b");
    assert_non_null(parsed.root);
    const struct ast_matching *matching = parsed.root->u.binary.matching;
    assert_true(parsed.root->u.binary.returns_bool);
    assert_non_null(matching);
    assert_true(matching->is_on);
    assert_int_equal(matching->card, MATCH_MANY_TO_ONE);
    assert_int_equal(matching->label_count, 2);
    assert_true(nx_str_eq(matching->labels[1], NX_STR("y.z")));
    assert_int_equal(matching->include_count, 1);
    assert_true(matching->has_fill_left && matching->has_fill_right);
    assert_true(matching->fill_left == 1);
    assert_true(matching->fill_right < 0);
    parsed_end(&parsed);

    parsed = parsed_begin("a and b");
    assert_int_equal(parsed.root->u.binary.matching->card, MATCH_MANY_TO_MANY);
    parsed_end(&parsed);

    parsed = parsed_begin("a + 1");
    assert_null(parsed.root->u.binary.matching);
    parsed_end(&parsed);
}

static void assert_pos(const struct ast_node *node, unsigned start, unsigned end)
{
    assert_int_equal(node->pos.start, start);
    assert_int_equal(node->pos.end, end);
}

static void test_parse_positions(void **state)
{
    (void)state;
    /*                                       1111111111222222222233333333334444 */
    /*                             01234567890123456789012345678901234567890123 */
    struct parsed parsed = parsed_begin(" sum by (x) (rate(a{b=\"c\"}[5m] offset 1m)) + -(2)");
    const struct ast_node *root = parsed.root;
    assert_non_null(root);
    assert_pos(root, 1, 49);
    assert_int_equal(root->u.binary.op_pos.start, 43);
    assert_pos(root->u.binary.left, 1, 42);
    assert_pos(root->u.binary.left->u.aggregate.expr, 13, 41);
    const struct ast_node *matrix = root->u.binary.left->u.aggregate.expr->u.call.args[0];
    assert_pos(matrix, 18, 40);
    assert_pos(matrix->u.matrix.selector, 18, 26);
    assert_pos(root->u.binary.right, 45, 49);
    assert_pos(root->u.binary.right->u.unary.expr, 46, 49);
    parsed_end(&parsed);
}

static void test_parse_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum value_type type;
    } cases[] = {
        {"1 + 2", VALUE_TYPE_SCALAR},      {"a + 1", VALUE_TYPE_VECTOR},
        {"1 < bool 2", VALUE_TYPE_SCALAR}, {"-(a)", VALUE_TYPE_VECTOR},
        {"a[1m]", VALUE_TYPE_MATRIX},      {"a[1m:]", VALUE_TYPE_MATRIX},
        {"'x'", VALUE_TYPE_STRING},        {"('x')", VALUE_TYPE_STRING},
        {"time()", VALUE_TYPE_SCALAR},     {"sum(a)", VALUE_TYPE_VECTOR},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed parsed = parsed_begin(cases[i].text);
        assert_non_null(parsed.root);
        assert_int_equal(parsed.root->type, cases[i].type);
        parsed_end(&parsed);
    }
}

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

static void test_parse_refuses_unexpected_tokens(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"", "unknown position: parse error: no expression found in input"},
        {"  # only a comment", "1:1: parse error: no expression found in input"},
        {"1+", "1:3: parse error: unexpected end of input"},
        {"1 /", "1:4: parse error: unexpected end of input"},
        {"*1", "1:1: parse error: unexpected <op:*>"},
        {"@@", "1:1: parse error: unexpected <op:@>"},
        {"-=", "1:2: parse error: unexpected \"=\""},
        {"++-++-+-+-<", "1:11: parse error: unexpected <op:<>"},
        {"e-+=/(0)", "1:4: parse error: unexpected \"=\""},
        {"a b", "1:3: parse error: unexpected identifier \"b\""},
        {"a\n  b", "2:3: parse error: unexpected identifier \"b\""},
        {"a 12345678901234", "1:3: parse error: unexpected number \"1234567890\"..."},
        {"a 'x'", "1:3: parse error: unexpected string \"'x'\""},
        {"a 5m", "1:3: parse error: unexpected duration \"5m\""},
        {"a:b c:d", "1:5: parse error: unexpected metric identifier \"c:d\""},
        {"()", "1:2: parse error: unexpected \")\""},
        {"(a b)", "1:4: parse error: unexpected identifier \"b\""},
        {"a:b(c)", "1:4: parse error: unexpected \"(\""},
        {"bool", "1:1: parse error: unexpected <bool>"},
        {"on(a)", "1:1: parse error: unexpected <on>"},
        {"group_left", "1:1: parse error: unexpected <group_left>"},
        {"1 atan2", "1:8: parse error: unexpected end of input"},
        {"atan2", "1:1: parse error: unexpected <op:atan2>"},
        {"a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"},
        {"a + group_left(b) c", "1:5: parse error: unexpected <group_left>"},
        {"a + bool", "1:9: parse error: unexpected end of input"},
        {"a, b", "1:2: parse error: unexpected \",\""},
        {"rate(a[5m] b)", "1:12: parse error: unexpected identifier \"b\""},
        {"rate(,)", "1:6: parse error: unexpected \",\""},
        {"a + fill(b) c", "1:10: parse error: unexpected identifier \"b\" in fill modifier, "
                          "expected number"},
        {"a + fill() c", "1:10: parse error: unexpected \")\" in fill modifier, expected number"},
        {"a + fill(1", "1:11: parse error: unclosed left parenthesis"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_parse_names_the_aggregation(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"sum(a b)", "1:7: parse error: unexpected identifier \"b\" in aggregation"},
        {"sum(rate(a b))", "1:12: parse error: unexpected identifier \"b\" in aggregation"},
        {"sum by (x) a", "1:12: parse error: unexpected identifier \"a\" in aggregation"},
        {"count(count{job=\"x\"} by{job=\"x\"} (r))",
         "1:22: parse error: unexpected <by> in aggregation"},
        {"sum(a) b", "1:8: parse error: unexpected identifier \"b\""},
        {"sum some_metric by (test)", "1:5: parse error: unexpected identifier \"some_metric\""},
        {"MIN keep_common (some_metric)",
         "1:5: parse error: unexpected identifier \"keep_common\""},
        {"MIN (some_metric) keep_common",
         "1:19: parse error: unexpected identifier \"keep_common\""},
        {"sum (a) without (t) by (t)", "1:21: parse error: unexpected <by>"},
        {"sum without (t) (a) by (t)", "1:21: parse error: unexpected <by>"},
        {"rate(a[5m]) by (x)", "1:13: parse error: unexpected <by>"},
        {"(sum(a) b)", "1:9: parse error: unexpected identifier \"b\""},
        {"sum(", "1:5: parse error: unclosed left parenthesis"},
        {"sum () by (test)", "1:1: parse error: no arguments for aggregate expression provided"},
        {"topk(a)", "1:1: parse error: wrong number of arguments for aggregate expression "
                    "provided, expected 2, got 1"},
        {"1 + sum(a, b)", "1:5: parse error: wrong number of arguments for aggregate expression "
                          "provided, expected 1, got 2"},
        {"topk(a,)", "1:7: parse error: trailing commas not allowed in function call args"},
        {"topk(a, ,b)", "1:7: parse error: trailing commas not allowed in function call args"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_parse_refuses_bad_lists(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"sum without(==)(a)",
         "1:13: parse error: unexpected <op:==> in grouping opts, expected label"},
        {"sum without(,)(a)",
         "1:13: parse error: unexpected \",\" in grouping opts, expected label"},
        {"sum without(foo,,)(a)",
         "1:17: parse error: unexpected \",\" in grouping opts, expected label"},
        {"sum by (without) (a)",
         "1:9: parse error: unexpected <without> in grouping opts, expected label"},
        {"sum by (1) (a)", "1:9: parse error: unexpected number \"1\" in grouping opts, "
                           "expected label"},
        {"sum (a) by test",
         "1:12: parse error: unexpected identifier \"test\" in grouping opts, expected \"(\""},
        {"sum by{x} (a)", "1:7: parse error: unexpected \"{\" in grouping opts, expected \"(\""},
        {"sum by (a b) (c)",
         "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\""},
        {"sum by (\"\") (a)", "1:9: parse error: invalid label name for grouping: \"\""},
        {"sum by (\"\\xff\") (a)", "1:9: parse error: invalid label name for grouping: \"\\xff\""},
        {"a + on b", "1:8: parse error: unexpected identifier \"b\" in grouping opts, "
                     "expected \"(\""},
        {"a{b}", "1:4: parse error: unexpected \"}\" in label matching, expected label matching "
                 "operator"},
        {"a{b=c}", "1:5: parse error: unexpected identifier \"c\" in label matching, "
                   "expected string"},
        {"a{,}", "1:3: parse error: unexpected \",\" in label matching, expected identifier or "
                 "\"}\""},
        {"a{b=\"c\" d=\"e\"}",
         "1:9: parse error: unexpected identifier \"d\" in label matching, expected \",\" or \"}\""},
        {"a{\"b\"=,}", "1:7: parse error: unexpected \",\" in label matching, expected string"},
        {"a{b=~\"(\"}", "1:3: parse error: error parsing regexp: missing closing ): `(`"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_parse_refuses_bad_modifiers(void **state)
{
    (void)state;
    static const char offset_target[] =
        "offset modifier must be preceded by an instant vector selector or range vector selector "
        "or a subquery";
    static const char at_target[] =
        "@ modifier must be preceded by an instant vector selector or range vector selector or a "
        "subquery";
    char message[300];
    (void)snprintf(message, sizeof(message), "1:1: parse error: %s", offset_target);
    assert_refused("1 offset 1d", message);
    assert_refused("sum(a) offset 1d", message);
    assert_refused("(a) offset 1d", message);
    (void)snprintf(message, sizeof(message), "1:1: parse error: %s", at_target);
    assert_refused("rate(a[5m]) @ 1234", message);
    static const struct refusal refusals[] = {
        {"a offset 1s offset 2s", "1:1: parse error: offset may not be set multiple times"},
        {"a offset step() offset 2s", "1:1: parse error: offset may not be set multiple times"},
        {"a @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"},
        {"a @ start() @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"},
        {"a offset", "1:9: parse error: unexpected end of input in offset, expected number, "
                     "duration, step(), or range()"},
        {"a offset b", "1:10: parse error: unexpected identifier \"b\" in offset, expected number, "
                       "duration, step(), or range()"},
        {"a @ b", "1:5: parse error: unexpected identifier \"b\" in @, expected timestamp"},
        {"a @ start", "1:10: parse error: unexpected end of input in @, expected timestamp"},
        {"a @ step()", "1:5: parse error: unexpected \"step\" in @, expected timestamp"},
        {"a @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"},
        {"a @ -inf", "1:1: parse error: timestamp out of bounds for @ modifier: -Inf"},
        {"a @ NaN", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"},
        {"a @ 9223372036854775808",
         "1:1: parse error: timestamp out of bounds for @ modifier: 9223372036854775808.000000"},
        {"a offset 9.5e10", "1:10: parse error: duration out of range"},
        {"a offset Inf", "1:10: parse error: duration out of range"},
        {"a offset (4d/0)", "1:13: parse error: division by zero"},
        {"a offset 1.5h", "1:10: parse error: not a valid duration string: \"1.5h\""},
        {"a anchored smoothed",
         "1:1: parse error: anchored and smoothed modifiers cannot be used together"},
        {"a[5m] smoothed anchored",
         "1:1: parse error: anchored and smoothed modifiers cannot be used together"},
        {"a[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"},
        {"sum(a) smoothed", "1:1: parse error: smoothed modifier not implemented"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_parse_refuses_bad_ranges(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"1[5m]", "1:2: parse error: ranges only allowed for vector selectors"},
        {"(a + b)[5m]", "1:8: parse error: ranges only allowed for vector selectors"},
        {"a[5m][5m]", "1:6: parse error: ranges only allowed for vector selectors"},
        {"a offset 1m[5m]", "1:12: parse error: no offset modifiers allowed before range"},
        {"a offset step()[5m]", "1:16: parse error: no offset modifiers allowed before range"},
        {"a @ end()[5m]", "1:10: parse error: no @ modifiers allowed before range"},
        {"a[]", "1:3: parse error: unexpected \"]\" in subquery or range selector, expected "
                "number, duration, step(), or range()"},
        {"a[step]", "1:7: parse error: unexpected \"]\" in subquery or range selector, expected "
                    "number, duration, step(), or range()"},
        {"a[5m+]", "1:6: parse error: unexpected \"]\" in subquery or range selector, expected "
                   "number, duration, step(), or range()"},
        {"a[5m 6m]", "1:6: parse error: unexpected duration \"6m\" in subquery or range, expected "
                     "\":\" or \"]\""},
        {"a[5m:+]", "1:7: parse error: unexpected \"]\" in subquery selector, expected number, "
                    "duration, step(), range(), or \"]\""},
        {"a[5m:1m 1m]", "1:9: parse error: unexpected duration \"1m\" in subquery selector, "
                        "expected \"]\""},
        {"a[0]", "1:3: parse error: duration must be greater than 0"},
        {"a[-5m]", "1:3: parse error: duration must be greater than 0"},
        {"a[0.0001]", "1:3: parse error: duration must be greater than 0"},
        {"a[5m:0s]", "1:6: parse error: duration must be greater than 0"},
        {"a[9.5e10]", "1:3: parse error: duration out of range"},
        {"a[5s/0d]", "1:5: parse error: division by zero"},
        {"a[step()%0]", "1:9: parse error: modulo by zero"},
        {"a[1m1h]", "1:3: parse error: not a valid duration string: \"1m1h\""},
        {"a[5m", "1:5: parse error: unclosed left bracket"},
        {"a[5s x 5s]", "1:6: parse error: unexpected character: 'x', expected ':'"},
    };
    ASSERT_ALL_REFUSED(refusals);
}

static void test_parse_refuses_what_is_not_enabled(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {
        {"1 + mad_over_time(a[5m])", "1:5: parse error: function \"mad_over_time\" is not enabled"},
        {"start()", "1:1: parse error: function \"start\" is not enabled"},
        {"info(a)", "1:1: parse error: function \"info\" is not enabled"},
        {"limitk(1, a)", "1:1: parse error: limitk() is experimental and must be enabled with "
                         "--enable-feature=promql-experimental-functions"},
        {"LIMIT_RATIO(1, a)",
         "1:1: parse error: limit_ratio() is experimental and must be enabled with "
         "--enable-feature=promql-experimental-functions"},
        {"1 * (a + fill(0) b)",
         "1:6: parse error: binop fill modifiers are experimental and not enabled"},
        {"a[5m] anchored", "1:1: parse error: anchored modifier is experimental and not enabled"},
        {"a smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"},
        {"nope(a)", "1:1: parse error: unknown function with name \"nope\""},
        {"a > b()", "1:5: parse error: unknown function with name \"b\""},
    };
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
        assert_refused_with(refusals[i].text, &parse_stable, refusals[i].message);
    assert_prints("start() + step() - max_of(1, 2)", "start() + step() - max_of(1, 2)");
}

static void test_parse_long_chain_is_fine(void **state)
{
    (void)state;
    enum { TERMS = 10000 };
    struct nx_buf text = {0};
    char problem[200];
    nx_buf_append_cstr(&text, "a");
    for (int i = 1; i < TERMS; i++)
        nx_buf_append_cstr(&text, " + a");
    struct parsed parsed = parsed_begin_with(nx_buf_str(&text), &parse_everything);
    assert_non_null(parsed.root);
    assert_int_equal(parsed.root->height, TERMS);
    assert_int_equal(parsed.root->nesting, 2);
    struct nx_buf printed = {0};
    promql_print(parsed.root, &printed);
    assert_true(nx_str_eq(nx_buf_str(&printed), nx_buf_str(&text)));
    parsed_end(&parsed);
    assert_null(round_trip_problem(nx_buf_str(&text), problem, sizeof(problem)));
    nx_buf_deinit(&printed);
    nx_buf_deinit(&text);
}

/* `before` repeated, an a, `after` repeated. */
static struct parsed parse_repeated(const char *before, const char *after, int times)
{
    struct nx_buf text = {0};
    for (int i = 0; i < times; i++)
        nx_buf_append_cstr(&text, before);
    nx_buf_append_cstr(&text, "a");
    for (int i = 0; i < times; i++)
        nx_buf_append_cstr(&text, after);
    struct parsed parsed = parsed_begin_with(nx_buf_str(&text), &parse_everything);
    nx_buf_deinit(&text);
    return parsed;
}

static void test_parse_depth_is_bounded(void **state)
{
    (void)state;
    static const char *const nests[][2] = {
        {"(", ")"}, {"-", ""},     {"sum(", ")"}, {"a ^ ", ""},
        {"a[", ""}, {"", "[5m:]"}, {"abs(", ")"}, {"a or (", ")"},
    };
    struct parsed parsed = parse_repeated("(", ")", PARSE_DEPTH_MAX - 1);
    assert_non_null(parsed.root);
    parsed_end(&parsed);
    for (size_t i = 0; i < sizeof(nests) / sizeof(nests[0]); i++) {
        parsed = parse_repeated(nests[i][0], nests[i][1], 100000);
        assert_null(parsed.root);
        assert_true(parsed.code == NX_E_LIMIT || parsed.code == NX_E_INVALID);
        parsed_end(&parsed);
    }
    parsed = parse_repeated("(", ")", PARSE_DEPTH_MAX);
    assert_int_equal(parsed.code, NX_E_LIMIT);
    assert_string_equal(parsed.err.msg, "query is nested deeper than 400 levels");
    parsed_end(&parsed);
    parsed = parse_repeated("", " + a", AST_HEIGHT_MAX);
    assert_int_equal(parsed.code, NX_E_LIMIT);
    parsed_end(&parsed);
    parsed = parse_repeated("", "[1m:]", PARSE_DEPTH_MAX);
    assert_int_equal(parsed.code, NX_E_LIMIT);
    parsed_end(&parsed);
}

static void test_parse_length_is_bounded(void **state)
{
    (void)state;
    struct nx_buf text = {0};
    memset(nx_buf_extend(&text, PARSE_TEXT_BYTES_MAX + 1), ' ', PARSE_TEXT_BYTES_MAX + 1);
    text.data[0] = 'a';
    struct parsed parsed = parsed_begin_with(nx_buf_str(&text), &parse_everything);
    assert_int_equal(parsed.code, NX_E_LIMIT);
    parsed_end(&parsed);
    text.len--;
    parsed = parsed_begin_with(nx_buf_str(&text), &parse_everything);
    assert_non_null(parsed.root);
    parsed_end(&parsed);
    nx_buf_deinit(&text);
}

/* a{b=~"c",b=~"c"...} or sum by (b,b...) (a): `times` parts. */
static struct parsed parse_list(const char *begin, const char *part, const char *end, int times)
{
    struct nx_buf text = {0};
    nx_buf_append_cstr(&text, begin);
    for (int i = 0; i < times; i++)
        nx_buf_append_cstr(&text, part);
    nx_buf_append_cstr(&text, end);
    struct parsed parsed = parsed_begin_with(nx_buf_str(&text), &parse_everything);
    nx_buf_deinit(&text);
    return parsed;
}

static void test_parse_lists_are_bounded(void **state)
{
    (void)state;
    struct parsed parsed = parse_list("a{", "b=~\"c\",", "}", PARSE_REGEXES_MAX);
    assert_non_null(parsed.root);
    parsed_end(&parsed);
    parsed = parse_list("a{", "b=~\"c\",", "}", PARSE_REGEXES_MAX + 1);
    assert_int_equal(parsed.code, NX_E_LIMIT);
    assert_string_equal(parsed.err.msg, "query has more than 1000 regular expressions");
    parsed_end(&parsed);
    parsed = parse_list("sum by (", "b,", ") (a)", PARSE_NAMES_MAX);
    assert_non_null(parsed.root);
    parsed_end(&parsed);
    parsed = parse_list("sum by (", "b,", ") (a)", PARSE_NAMES_MAX + 1);
    assert_int_equal(parsed.code, NX_E_LIMIT);
    assert_string_equal(parsed.err.msg, "query has more than 1000 names in one list");
    parsed_end(&parsed);
    parsed = parse_list("abs(", "b,", "b)", 100000);
    assert_int_equal(parsed.code, NX_E_INVALID);
    parsed_end(&parsed);
}

static void test_parse_memory_is_bounded(void **state)
{
    (void)state;
    static const char text[] = "sum by (a, b) (rate(x{c=~\"d.*\",e!=\"f\"}[5m:1m])) + 'y' == z";
    struct nx_buf longer = {0};
    for (int i = 0; i < 2000; i++)
        nx_buf_append_cstr(&longer, "rate(x{c=~\"d.*\",e!=\"f\"}[5m]) + ");
    nx_buf_append_cstr(&longer, "y");
    for (size_t budget = 1; budget < (1u << 20); budget = budget * 5 / 4 + 1) {
        struct arena arena;
        struct ast_node *root = NULL;
        struct nx_err err;
        arena_init(&arena, budget);
        nx_code code = promql_parse(nx_str_from(text), &parse_everything, &arena, &root, &err);
        assert_true(code == NX_E_LIMIT || code == NX_E_INVALID);
        code = promql_parse(nx_buf_str(&longer), &parse_everything, &arena, &root, &err);
        assert_int_equal(code, NX_E_LIMIT);
        assert_null(root);
        arena_deinit(&arena);
    }
    nx_buf_deinit(&longer);
}

static void test_parse_position_counts_lines_and_columns(void **state)
{
    (void)state;
    unsigned line;
    unsigned column;
    promql_position(NX_STR("ab\ncd"), 0, &line, &column);
    assert_true(line == 1 && column == 1);
    promql_position(NX_STR("ab\ncd"), 2, &line, &column);
    assert_true(line == 1 && column == 3);
    promql_position(NX_STR("ab\ncd"), 4, &line, &column);
    assert_true(line == 2 && column == 2);
    promql_position(NX_STR("ab\ncd"), 1000, &line, &column);
    assert_true(line == 2 && column == 3);
}

static void assert_selector_refused(const char *text, const char *message)
{
    struct arena arena;
    struct matcher *matchers = NULL;
    size_t count;
    struct nx_err err;
    arena_init(&arena, 0);
    nx_code code = promql_parse_selector(nx_str_from(text), &arena, &matchers, &count, &err);
    assert_int_equal(code, NX_E_INVALID);
    assert_null(matchers);
    assert_string_equal(err.msg, message);
    arena_deinit(&arena);
}

static void test_parse_selector_alone(void **state)
{
    (void)state;
    struct arena arena;
    struct matcher *matchers = NULL;
    size_t count = 0;
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(
        promql_parse_selector(NX_STR("up{job=~\"a.*\", x!=\"\"}"), &arena, &matchers, &count, &err),
        NX_OK);
    assert_int_equal(count, 3);
    assert_int_equal(matchers[0].type, MATCHER_REGEX);
    assert_true(matcher_matches(&matchers[0], NX_STR("abc")));
    assert_true(nx_str_eq(matchers[2].name, NX_STR(LABEL_NAME_METRIC)));
    assert_true(nx_str_eq(matchers[2].value, NX_STR("up")));
    for (size_t i = 0; i < count; i++)
        matcher_deinit(&matchers[i]);
    arena_deinit(&arena);

    assert_selector_refused("{a=~\".*\"}", "match[] must contain at least one non-empty matcher");
    assert_selector_refused("{}", "match[] must contain at least one non-empty matcher");
    assert_selector_refused("a[5m]", "1:2: parse error: unexpected \"[\"");
    assert_selector_refused("a + b", "1:3: parse error: unexpected <op:+>");
    assert_selector_refused("", "unknown position: parse error: unexpected end of input");
    assert_selector_refused("1", "1:1: parse error: unexpected number \"1\"");
    assert_selector_refused("{a=~\"b\",c=~\"[\"}",
                            "1:9: parse error: error parsing regexp: missing closing ]: `[`");
}

static void assert_labels(const char *text, const char *printed)
{
    struct arena arena;
    struct labels labels = {0};
    struct nx_err err;
    struct nx_buf out = {0};
    arena_init(&arena, 0);
    if (promql_parse_labels(nx_str_from(text), &arena, &labels, &err) != NX_OK)
        fail_msg("%s: %s", text, err.msg);
    labels_print(labels, &out);
    nx_buf_append_byte(&out, '\0');
    assert_string_equal((const char *)out.data, printed);
    nx_buf_deinit(&out);
    arena_deinit(&arena);
}

static void assert_labels_refused(const char *text, const char *message)
{
    struct arena arena;
    struct labels labels = {0};
    struct nx_err err;
    arena_init(&arena, 0);
    assert_int_equal(promql_parse_labels(nx_str_from(text), &arena, &labels, &err), NX_E_INVALID);
    assert_string_equal(err.msg, message);
    arena_deinit(&arena);
}

static void test_parse_labels_alone(void **state)
{
    (void)state;
    assert_labels("{}", "{}");
    assert_labels("", "{}");
    assert_labels("up", "{__name__=\"up\"}");
    assert_labels("up{b=\"2\",a=\"1\",}", "{__name__=\"up\", a=\"1\", b=\"2\"}");
    assert_labels("{\"my.metric\", \"x.y\"='z', e=\"\"}",
                  "{__name__=\"my.metric\", \"x.y\"=\"z\"}");
    assert_labels("sum{by=\"\\u00e4\"}", "{__name__=\"sum\", by=\"\u00e4\"}");
    assert_labels_refused("{a=~\"b\"}",
                          "1:3: parse error: unexpected <op:=~> in label set, expected \"=\"");
    assert_labels_refused("{a=b}",
                          "1:4: parse error: unexpected identifier \"b\" in label set, expected "
                          "string");
    assert_labels_refused("{\"x\" y}",
                          "1:6: parse error: unexpected identifier \"y\" in label set, expected "
                          "\",\" or \"}\"");
    assert_labels_refused("{,}", "1:2: parse error: unexpected \",\" in label set, expected "
                                 "identifier or \"}\"");
    assert_labels_refused("a{b=\"1\",b=\"2\"}", "1:1: parse error: label \"b\" is set twice");
    assert_labels_refused("a{} 1", "1:5: parse error: unexpected number \"1\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_precedence),
        cmocka_unit_test(test_parse_signs),
        cmocka_unit_test(test_parse_words_as_metrics),
        cmocka_unit_test(test_parse_number_is_seconds_and_duration_is_a_number),
        cmocka_unit_test(test_parse_modifiers),
        cmocka_unit_test(test_parse_offset_ends_before_operators),
        cmocka_unit_test(test_parse_duration_expressions),
        cmocka_unit_test(test_parse_matching),
        cmocka_unit_test(test_parse_positions),
        cmocka_unit_test(test_parse_types),
        cmocka_unit_test(test_parse_refuses_unexpected_tokens),
        cmocka_unit_test(test_parse_names_the_aggregation),
        cmocka_unit_test(test_parse_refuses_bad_lists),
        cmocka_unit_test(test_parse_refuses_bad_modifiers),
        cmocka_unit_test(test_parse_refuses_bad_ranges),
        cmocka_unit_test(test_parse_refuses_what_is_not_enabled),
        cmocka_unit_test(test_parse_long_chain_is_fine),
        cmocka_unit_test(test_parse_depth_is_bounded),
        cmocka_unit_test(test_parse_length_is_bounded),
        cmocka_unit_test(test_parse_lists_are_bounded),
        cmocka_unit_test(test_parse_memory_is_bounded),
        cmocka_unit_test(test_parse_position_counts_lines_and_columns),
        cmocka_unit_test(test_parse_selector_alone),
        cmocka_unit_test(test_parse_labels_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
