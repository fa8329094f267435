/* SPDX-License-Identifier: Apache-2.0 */
/* script_check.c - evaluates an expression of a test script in every way in which it must hold, and compares.
 *
 * An instant eval at T is run
 *   1. as it stands,
 *   2. with @ T on every selector, at several other times (unless a function in it depends on the time of evaluation),
 *   3. each of these again as the middle step of a range query, one minute apart (unless it speaks of the query's
 *      range).
 *
 * What is not evaluated yet (NX_E_UNSUPPORTED) never satisfies an expectation, not even one of failure.
 */
#include "narthex/base/float_text.h"
#include "narthex/base/regex.h"
#include "narthex/model/staleness.h"
#include "narthex/promql/eval.h"
#include "narthex/promql/functions.h"
#include "narthex/promql/parse.h"

#include "script_internal.h"

#include <math.h>

#define LOOKBACK_MS      (5 * 60 * 1000)
#define SUBQUERY_STEP_MS (60 * 1000)
#define SAMPLES_MAX      1000000
#define EPSILON          1e-6
#define MIN_NORMAL       0x1p-1022
#define MINUTE_MS        60000
#define ARENA_BYTES_MAX  ((size_t)1 << 30)

struct outcome {
    struct arena arena;
    struct value value;
    struct annotations annotations;
    struct nx_err err;
    struct nx_str failure; /* the error's whole text; empty: none */
    nx_code code;
};

/* How to run an expression. */
struct way {
    bool is_range;
    int64_t start_ms;
    int64_t end_ms;
    int64_t step_ms;
    bool is_pinned; /* @ pinned_ms on every selector that has none */
    int64_t pinned_ms;
};

/* Selectors inside a pinned subquery stay as they are. */
static void pin(struct ast_node *node, int64_t time_ms)
{
    switch (node->kind) {
    case AST_VECTOR_SELECTOR:
        if (node->u.selector.modifiers.at == AT_NONE) {
            node->u.selector.modifiers.at = AT_TIME;
            node->u.selector.modifiers.at_ms = time_ms;
        }
        return;
    case AST_MATRIX_SELECTOR:
        pin(node->u.matrix.selector, time_ms);
        return;
    case AST_SUBQUERY:
        if (node->u.subquery.modifiers.at == AT_NONE) {
            node->u.subquery.modifiers.at = AT_TIME;
            node->u.subquery.modifiers.at_ms = time_ms;
        }
        return;
    case AST_UNARY:
        pin(node->u.unary.expr, time_ms);
        return;
    case AST_BINARY:
        pin(node->u.binary.left, time_ms);
        pin(node->u.binary.right, time_ms);
        return;
    case AST_AGGREGATE:
        pin(node->u.aggregate.expr, time_ms);
        if (node->u.aggregate.param != NULL)
            pin(node->u.aggregate.param, time_ms);
        return;
    case AST_CALL:
        for (size_t i = 0; i < node->u.call.arg_count; i++)
            pin(node->u.call.args[i], time_ms);
        return;
    case AST_PAREN:
        pin(node->u.paren.expr, time_ms);
        return;
    case AST_NUMBER:
    case AST_STRING:
    case AST_DURATION:
    case AST_KIND_COUNT:
        return;
    }
}

static void outcome_deinit(struct outcome *outcome)
{
    arena_deinit(&outcome->arena);
}

static void run(struct nx_str expr, const struct way *way, struct memory_source *source,
                struct outcome *outcome)
{
    static const struct parse_options everything = {
        .allow_experimental_functions = true,
        .allow_extended_range_selectors = true,
        .allow_fill_modifiers = true,
    };
    *outcome = (struct outcome){0};
    arena_init(&outcome->arena, ARENA_BYTES_MAX);
    struct ast_node *root = NULL;
    struct series_warnings warnings;
    struct eval_stats stats = {0};
    outcome->code = promql_parse(expr, &everything, &outcome->arena, &root, &outcome->err);
    if (outcome->code == NX_OK)
        outcome->code =
            ast_resolve_durations(root, way->is_range ? way->step_ms : 0,
                                  way->is_range ? way->end_ms - way->start_ms : 0, &outcome->err);
    if (outcome->code == NX_OK) {
        struct eval_options options = {
            .start_ms = way->start_ms,
            .end_ms = way->end_ms,
            .step_ms = way->step_ms,
            .is_range = way->is_range,
            .lookback_ms = LOOKBACK_MS,
            .subquery_step_ms = SUBQUERY_STEP_MS,
            .samples_max = SAMPLES_MAX,
            .delayed_name_removal = true,
            .text = expr,
        };
        if (way->is_pinned)
            pin(root, way->pinned_ms);
        outcome->code =
            promql_eval(root, memory_source_handle(source), &options, &outcome->arena,
                        &outcome->value, &outcome->annotations, &warnings, &stats, &outcome->err);
    }
    ast_deinit(root);
    if (outcome->code != NX_OK)
        outcome->failure = stats.failure.len > 0 ? stats.failure : nx_str_from(outcome->err.msg);
}

static bool expect_matches(const struct script_expect *expect, struct nx_str message)
{
    if (expect->has_text)
        return nx_str_eq(expect->text, message);
    return expect->regex == NULL || regex_matches(expect->regex, message);
}

static const struct script_expect *find_expect(const struct script_eval *eval,
                                               enum script_expect_kind kind)
{
    for (size_t i = 0; i < eval->expect_count; i++)
        if (eval->expects[i].kind == kind)
            return &eval->expects[i];
    return NULL;
}

/* All messages of a kind are expected, and every expectation of it is met. */
static bool check_annotations(const struct script_eval *eval, const struct annotations *annotations,
                              enum annotation_kind kind, struct nx_buf *why)
{
    bool is_warning = kind == ANNOTATION_WARNING;
    enum script_expect_kind wanted = is_warning ? SCRIPT_EXPECT_WARN : SCRIPT_EXPECT_INFO;
    enum script_expect_kind unwanted = is_warning ? SCRIPT_EXPECT_NO_WARN : SCRIPT_EXPECT_NO_INFO;
    bool allows_none = find_expect(eval, unwanted) != NULL;
    if (!allows_none && find_expect(eval, wanted) == NULL)
        return true;
    for (size_t i = 0; i < annotations->count; i++) {
        if (annotations->items[i].kind != kind)
            continue;
        bool is_expected = false;
        for (size_t e = 0; e < eval->expect_count; e++)
            is_expected |= eval->expects[e].kind == wanted &&
                           expect_matches(&eval->expects[e], annotations->items[i].text);
        if (is_expected)
            continue;
        nx_buf_printf(why, "unexpected annotation: %.*s", NX_STR_ARGS(annotations->items[i].text));
        return false;
    }
    for (size_t e = 0; e < eval->expect_count; e++) {
        if (eval->expects[e].kind != wanted)
            continue;
        bool is_met = false;
        for (size_t i = 0; i < annotations->count; i++)
            is_met |= annotations->items[i].kind == kind &&
                      expect_matches(&eval->expects[e], annotations->items[i].text);
        if (is_met)
            continue;
        nx_buf_printf(why, "expected %s did not come: %.*s", is_warning ? "warning" : "info",
                      NX_STR_ARGS(eval->expects[e].text));
        return false;
    }
    return true;
}

static bool is_almost_equal(double a, double b)
{
    if (is_stale_nan(a) || is_stale_nan(b))
        return is_stale_nan(a) && is_stale_nan(b);
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    double size = fabs(a) + fabs(b);
    double difference = fabs(a - b);
    if (a == 0 || b == 0 || size < MIN_NORMAL)
        return difference < EPSILON * MIN_NORMAL;
    return difference / fmin(size, 0x1.fffffffffffffp1023) < EPSILON;
}

static void write_labels(struct labels labels, struct nx_buf *why)
{
    labels_print(labels, why);
}

static void write_float(double value, struct nx_buf *why)
{
    char text[FLOAT_TEXT_MAX];
    nx_buf_append(why, text, float_text_g(text, value));
}

static bool differs(struct labels labels, int64_t time_ms, double expected, double got,
                    struct nx_buf *why)
{
    nx_buf_append_cstr(why, "expected ");
    write_float(expected, why);
    nx_buf_append_cstr(why, " for ");
    write_labels(labels, why);
    nx_buf_printf(why, " at %lld ms but got ", (long long)time_ms);
    write_float(got, why);
    return false;
}

/* Expected points of a series, item i at start + i * step, against those that came. */
static bool compare_points(const struct script_series *expected, const struct value_series *got,
                           int64_t start_ms, int64_t step_ms, struct nx_buf *why)
{
    size_t at = 0;
    for (size_t i = 0; i < expected->count; i++) {
        const struct script_value *item = &expected->values[i];
        int64_t time_ms = start_ms + (int64_t)i * step_ms;
        if (item->kind == SCRIPT_VALUE_ABSENT)
            continue;
        if (item->kind == SCRIPT_VALUE_HISTOGRAM) {
            nx_buf_append_cstr(why, "a native histogram is expected, which cannot be read yet");
            return false;
        }
        if (at == got->count || got->times_ms[at] != time_ms) {
            nx_buf_append_cstr(why, "expected ");
            write_float(item->value, why);
            nx_buf_append_cstr(why, " for ");
            write_labels(expected->labels, why);
            nx_buf_printf(why, " at %lld ms but there is no point", (long long)time_ms);
            return false;
        }
        if (!is_almost_equal(item->value, got->values[at]))
            return differs(expected->labels, time_ms, item->value, got->values[at], why);
        at++;
    }
    if (at == got->count)
        return true;
    nx_buf_append_cstr(why, "unexpected point ");
    write_float(got->values[at], why);
    nx_buf_append_cstr(why, " for ");
    write_labels(expected->labels, why);
    nx_buf_printf(why, " at %lld ms", (long long)got->times_ms[at]);
    return false;
}

static const struct script_series *find_expected(const struct script_eval *eval,
                                                 struct labels labels, size_t *out_position)
{
    for (size_t i = 0; i < eval->series_count; i++) {
        if (labels_equal(eval->series[i].labels, labels)) {
            *out_position = i;
            return &eval->series[i];
        }
    }
    return NULL;
}

static bool fail_with_labels(struct nx_buf *why, const char *text, struct labels labels)
{
    nx_buf_append_cstr(why, text);
    write_labels(labels, why);
    return false;
}

/* Every series of the result against its expectation, and every expectation against the result. */
static bool compare_series(const struct script_eval *eval, const struct value *value,
                           int64_t start_ms, int64_t step_ms, bool is_ordered, struct nx_buf *why)
{
    for (size_t i = 0; i < value->series_count; i++) {
        const struct value_series *got = &value->series[i];
        size_t position;
        const struct script_series *expected = find_expected(eval, got->labels, &position);
        if (expected == NULL)
            return fail_with_labels(why, "unexpected series ", got->labels);
        if (is_ordered && position != i)
            return fail_with_labels(why, "series at the wrong position: ", got->labels);
        if (!compare_points(expected, got, start_ms, step_ms, why))
            return false;
        for (size_t k = 0; k < i; k++)
            if (labels_equal(value->series[k].labels, got->labels))
                return fail_with_labels(why, "series given twice: ", got->labels);
    }
    for (size_t i = 0; i < eval->series_count; i++) {
        bool is_there = false;
        for (size_t k = 0; k < value->series_count; k++)
            is_there |= labels_equal(value->series[k].labels, eval->series[i].labels);
        if (!is_there)
            return fail_with_labels(why, "expected series is missing: ", eval->series[i].labels);
    }
    return true;
}

static bool is_label_ordered(const struct value *value, struct nx_buf *why)
{
    for (size_t i = 1; i < value->series_count; i++)
        if (labels_compare(value->series[i - 1].labels, value->series[i].labels) >= 0)
            return fail_with_labels(why, "matrix is not in label order at ",
                                    value->series[i].labels);
    return true;
}

static bool compare_value(const struct script_eval *eval, const struct value *value,
                          struct nx_buf *why)
{
    switch (value->type) {
    case VALUE_TYPE_SCALAR:
        if (!eval->has_scalar) {
            nx_buf_append_cstr(why, "unexpected scalar");
            return false;
        }
        return is_almost_equal(eval->scalar, value->scalar)
                   ? true
                   : differs((struct labels){0}, value->time_ms, eval->scalar, value->scalar, why);
    case VALUE_TYPE_STRING:
        if (eval->has_string && nx_str_eq(eval->string, value->string))
            return true;
        nx_buf_printf(why, "unexpected string \"%.*s\"", NX_STR_ARGS(value->string));
        return false;
    case VALUE_TYPE_VECTOR:
        if (eval->has_scalar || eval->has_string || eval->has_matrix) {
            nx_buf_append_cstr(why, "unexpected instant vector");
            return false;
        }
        return compare_series(eval, value, eval->start_ms, 1,
                              find_expect(eval, SCRIPT_EXPECT_ORDERED) != NULL, why);
    case VALUE_TYPE_MATRIX:
        if (!is_label_ordered(value, why))
            return false;
        if (eval->has_matrix)
            return compare_series(eval, value, eval->matrix_start_ms, eval->matrix_step_ms, false,
                                  why);
        if (eval->is_range)
            return compare_series(eval, value, eval->start_ms, eval->step_ms, false, why);
        nx_buf_append_cstr(why, "unexpected range vector");
        return false;
    case VALUE_TYPE_NONE:
        break;
    }
    nx_buf_append_cstr(why, "result without a type");
    return false;
}

/* True: the failure is as expected. */
static bool check_failure(const struct script_eval *eval, const struct outcome *outcome,
                          struct nx_buf *why)
{
    const struct script_expect *expect = find_expect(eval, SCRIPT_EXPECT_FAIL);
    if (outcome->code == NX_E_UNSUPPORTED || expect == NULL) {
        nx_buf_printf(why, "evaluation failed: %.*s", NX_STR_ARGS(outcome->failure));
        return false;
    }
    if (expect_matches(expect, outcome->failure))
        return true;
    nx_buf_printf(why, "expected error \"%.*s\" but got \"%.*s\"", NX_STR_ARGS(expect->text),
                  NX_STR_ARGS(outcome->failure));
    return false;
}

/* The times of an instant result are forced to the eval's, so that pinned runs compare alike. */
static void retime(struct value *value, int64_t time_ms)
{
    if (value->type != VALUE_TYPE_VECTOR)
        return;
    for (size_t i = 0; i < value->series_count; i++)
        value->series[i].times_ms[0] = time_ms;
}

/* Keeps the middle step of three, as an instant result. */
static void take_middle(struct outcome *outcome, int64_t middle_ms, bool is_scalar, int64_t eval_ms)
{
    struct value *value = &outcome->value;
    size_t kept = 0;
    for (size_t i = 0; i < value->series_count; i++) {
        struct value_series series = value->series[i];
        for (size_t p = 0; p < series.count; p++) {
            if (series.times_ms[p] != middle_ms)
                continue;
            series.times_ms[0] = eval_ms;
            series.values[0] = series.values[p];
            series.count = 1;
            value->series[kept++] = series;
            break;
        }
    }
    value->series_count = kept;
    value->type = is_scalar ? VALUE_TYPE_SCALAR : VALUE_TYPE_VECTOR;
    if (is_scalar && kept == 1)
        value->scalar = value->series[0].values[0];
}

static void note_way(struct nx_buf *why, const char *text, int64_t time_ms, bool is_pinned)
{
    struct nx_buf reason = *why;
    *why = (struct nx_buf){0};
    nx_buf_printf(why, "%s at %lld ms%s: ", text, (long long)time_ms,
                  is_pinned ? " with @ on every selector" : "");
    nx_buf_append(why, reason.data, reason.len);
    nx_buf_deinit(&reason);
}

/* Step 3: the same in the middle of a range query. */
static bool check_in_range(const struct script_eval *eval, struct memory_source *source,
                           const struct way *instant, bool is_scalar, struct nx_buf *why)
{
    struct way way = *instant;
    way.is_range = true;
    way.start_ms = instant->start_ms - MINUTE_MS;
    way.end_ms = instant->start_ms + MINUTE_MS;
    way.step_ms = MINUTE_MS;
    struct outcome outcome;
    run(eval->expr, &way, source, &outcome);
    bool ok;
    if (outcome.code != NX_OK) {
        nx_buf_printf(why, "evaluation failed: %.*s", NX_STR_ARGS(outcome.failure));
        ok = false;
    } else {
        struct script_eval unordered = *eval;
        unordered.expect_count = 0;
        take_middle(&outcome, instant->start_ms, is_scalar, eval->start_ms);
        ok = compare_value(&unordered, &outcome.value, why);
    }
    if (!ok)
        note_way(why, "as the middle of a range query", instant->start_ms, way.is_pinned);
    outcome_deinit(&outcome);
    return ok;
}

/* What decides how often an instant eval can be repeated. */
struct traits {
    bool is_at_unsafe; /* its value depends on the time of evaluation */
    bool is_of_query;  /* its value depends on the query's start, end or step */
};

static void note_modifiers(struct traits *traits, const struct ast_modifiers *modifiers)
{
    traits->is_of_query |=
        modifiers->at == AT_START || modifiers->at == AT_END || modifiers->offset.expr != NULL;
}

static void note_traits(void *context, struct ast_node *node)
{
    static const char *const of_query[] = {"start", "end", "step", "range"};
    static const char *const unsafe[] = {
        "days_in_month", "day_of_month", "day_of_week",    "day_of_year", "hour",      "minute",
        "month",         "year",         "predict_linear", "time",        "timestamp",
    };
    struct traits *traits = context;
    if (node->kind == AST_VECTOR_SELECTOR)
        note_modifiers(traits, &node->u.selector.modifiers);
    if (node->kind == AST_MATRIX_SELECTOR)
        traits->is_of_query |= node->u.matrix.range.expr != NULL;
    if (node->kind == AST_SUBQUERY) {
        note_modifiers(traits, &node->u.subquery.modifiers);
        traits->is_of_query |=
            node->u.subquery.range.expr != NULL || node->u.subquery.step.expr != NULL;
    }
    if (node->kind != AST_CALL)
        return;
    for (size_t i = 0; i < sizeof(of_query) / sizeof(of_query[0]); i++)
        traits->is_of_query |= strcmp(node->u.call.function->name, of_query[i]) == 0;
    for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
        traits->is_at_unsafe |= strcmp(node->u.call.function->name, unsafe[i]) == 0;
}

static struct traits find_traits(struct nx_str expr, enum value_type *out_type)
{
    static const struct parse_options everything = {true, true, true};
    struct traits traits = {0};
    struct arena arena;
    struct ast_node *root = NULL;
    struct nx_err err;
    arena_init(&arena, ARENA_BYTES_MAX);
    *out_type = VALUE_TYPE_NONE;
    if (promql_parse(expr, &everything, &arena, &root, &err) == NX_OK) {
        *out_type = root->type;
        ast_walk(root, note_traits, &traits);
    }
    ast_deinit(root);
    arena_deinit(&arena);
    return traits;
}

static bool check_way(const struct script_eval *eval, struct memory_source *source,
                      const struct way *way, bool in_range_too, struct nx_buf *why)
{
    struct outcome outcome;
    run(eval->expr, way, source, &outcome);
    bool ok;
    bool is_scalar = outcome.value.type == VALUE_TYPE_SCALAR;
    if (outcome.code != NX_OK) {
        ok = check_failure(eval, &outcome, why);
        in_range_too = false;
    } else if (find_expect(eval, SCRIPT_EXPECT_FAIL) != NULL) {
        nx_buf_append_cstr(why, "expected a failure, but there is a result");
        ok = false;
    } else {
        if (!way->is_range)
            retime(&outcome.value, eval->start_ms);
        ok = check_annotations(eval, &outcome.annotations, ANNOTATION_WARNING, why) &&
             check_annotations(eval, &outcome.annotations, ANNOTATION_INFO, why) &&
             compare_value(eval, &outcome.value, why);
    }
    outcome_deinit(&outcome);
    if (!ok && way->is_pinned)
        note_way(why, "evaluated", way->start_ms, true);
    return ok && (!in_range_too || check_in_range(eval, source, way, is_scalar, why));
}

static bool check_instant(const struct script_eval *eval, struct memory_source *source,
                          struct nx_buf *why)
{
    enum value_type type;
    struct traits traits = find_traits(eval->expr, &type);
    bool in_range_too =
        !traits.is_of_query && (type == VALUE_TYPE_VECTOR || type == VALUE_TYPE_SCALAR);
    struct way way = {.start_ms = eval->start_ms, .end_ms = eval->start_ms};
    if (!check_way(eval, source, &way, in_range_too, why))
        return false;
    if (traits.is_at_unsafe || type == VALUE_TYPE_NONE)
        return true;
    int64_t at_ms = eval->start_ms;
    const int64_t others[] = {-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms};
    const int64_t around_zero[] = {-1000, 0, 1000};
    const int64_t *times = at_ms == 0 ? around_zero : others;
    size_t count = at_ms == 0 ? 3 : 5;
    for (size_t i = 0; i < count; i++) {
        way = (struct way){
            .start_ms = times[i],
            .end_ms = times[i],
            .is_pinned = true,
            .pinned_ms = at_ms,
        };
        if (traits.is_of_query && times[i] != at_ms)
            continue;
        if (!check_way(eval, source, &way, in_range_too, why))
            return false;
    }
    return true;
}

bool script_check(const struct script_eval *eval, struct memory_source *source, struct nx_buf *why)
{
    if (!eval->is_range)
        return check_instant(eval, source, why);
    struct way way = {
        .is_range = true,
        .start_ms = eval->start_ms,
        .end_ms = eval->end_ms,
        .step_ms = eval->step_ms,
    };
    return check_way(eval, source, &way, false, why);
}
