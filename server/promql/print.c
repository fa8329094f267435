/* SPDX-License-Identifier: Apache-2.0 */
/* print.c - the normal form of an expression.
 *
 * In     a parsed tree.   Out   one line of text.
 *
 * Parentheses are nodes, so precedence needs no thought here. Modifiers come in one order, whatever it was in the
 * text: @ before offset, anchored and smoothed before @ on a range and after it on an instant selector. A grouping by()
 * nothing disappears; matchers are sorted by their text; a duration is written in its largest units.
 * Stack: as in check.c.
 */
#include "narthex/promql/print.h"

#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"
#include "narthex/base/mem.h"
#include "narthex/promql/functions.h"
#include "narthex/promql/lex.h"

#include <stdlib.h>

static void print_float(double value, struct nx_buf *out)
{
    char text[FLOAT_TEXT_MAX];
    nx_buf_append(out, text, float_text_f(text, value));
}

/* Seconds that were written as a duration. */
static void print_seconds(double seconds, struct nx_buf *out)
{
    lex_duration_print((int64_t)(seconds * 1000 + (seconds < 0 ? -0.5 : 0.5)), out);
}

/* Names that the grammar of lists does not know without quotes. */
static bool print_needs_quotes(struct nx_str name)
{
    return !label_name_is_legacy(name) || nx_str_eq_nocase(name, NX_STR("without")) ||
           nx_str_eq_nocase(name, NX_STR("inf")) || nx_str_eq_nocase(name, NX_STR("nan"));
}

static void print_names(const struct nx_str *names, size_t count, struct nx_buf *out)
{
    nx_buf_append_byte(out, '(');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            nx_buf_append_cstr(out, ", ");
        if (print_needs_quotes(names[i]))
            labels_print_quoted(names[i], out);
        else
            nx_buf_append_str(out, names[i]);
    }
    nx_buf_append_byte(out, ')');
}

static void print_duration_expr(const struct ast_node *node, struct nx_buf *out)
{
    if (node->u.duration.is_parenthesised)
        nx_buf_append_byte(out, '(');
    switch (node->u.duration.what) {
    case DURATION_NUMBER:
        if (node->u.duration.is_duration)
            print_seconds(node->u.duration.seconds, out);
        else
            print_float(node->u.duration.seconds, out);
        break;
    case DURATION_NEGATE:
        nx_buf_append_byte(out, '-');
        print_duration_expr(node->u.duration.left, out);
        break;
    case DURATION_BINARY:
        print_duration_expr(node->u.duration.left, out);
        nx_buf_printf(out, " %s ", ast_op_text(node->u.duration.op));
        print_duration_expr(node->u.duration.right, out);
        break;
    case DURATION_STEP:
        nx_buf_append_cstr(out, "step()");
        break;
    case DURATION_RANGE:
        nx_buf_append_cstr(out, "range()");
        break;
    case DURATION_MIN:
    case DURATION_MAX:
        nx_buf_append_cstr(out, node->u.duration.what == DURATION_MIN ? "min_of(" : "max_of(");
        print_duration_expr(node->u.duration.left, out);
        nx_buf_append_cstr(out, ", ");
        print_duration_expr(node->u.duration.right, out);
        nx_buf_append_byte(out, ')');
        break;
    }
    if (node->u.duration.is_parenthesised)
        nx_buf_append_byte(out, ')');
}

static void print_duration(const struct ast_duration *duration, struct nx_buf *out)
{
    if (duration->expr != NULL)
        print_duration_expr(duration->expr, out);
    else
        lex_duration_print(duration->ms, out);
}

static void print_at(const struct ast_modifiers *modifiers, struct nx_buf *out)
{
    switch (modifiers->at) {
    case AT_NONE:
        break;
    case AT_TIME:
        nx_buf_printf(out, " @ %.3f", (double)modifiers->at_ms / 1000);
        break;
    case AT_START:
        nx_buf_append_cstr(out, " @ start()");
        break;
    case AT_END:
        nx_buf_append_cstr(out, " @ end()");
        break;
    }
}

static void print_offset(const struct ast_modifiers *modifiers, struct nx_buf *out)
{
    if (modifiers->offset.expr == NULL && modifiers->offset.ms == 0)
        return;
    nx_buf_append_cstr(out, " offset ");
    print_duration(&modifiers->offset, out);
}

static void print_extended(const struct ast_node *selector, struct nx_buf *out)
{
    if (selector->u.selector.is_anchored)
        nx_buf_append_cstr(out, " anchored");
    else if (selector->u.selector.is_smoothed)
        nx_buf_append_cstr(out, " smoothed");
}

static int print_compare(const void *a, const void *b)
{
    const struct nx_str *left = a;
    const struct nx_str *right = b;
    return nx_str_cmp(*left, *right);
}

/* Name and braces; the matcher that the name stands for is left out. */
static void print_selector_core(const struct ast_node *node, struct nx_buf *out)
{
    struct nx_str name = node->u.selector.name;
    struct nx_buf texts = {0};
    size_t count = 0;
    size_t *ends = nx_realloc_array(NULL, node->u.selector.matcher_count + 1, sizeof(*ends));

    for (size_t i = 0; i < node->u.selector.matcher_count; i++) {
        const struct matcher *matcher = &node->u.selector.matchers[i];
        if (name.len > 0 && matcher->type == MATCHER_EQUAL && nx_str_eq(matcher->value, name) &&
            nx_str_eq(matcher->name, NX_STR(LABEL_NAME_METRIC)))
            continue;
        matcher_print(matcher, &texts);
        ends[count++] = texts.len;
    }
    nx_buf_append_str(out, name);
    if (count > 0) {
        struct nx_str *sorted = nx_realloc_array(NULL, count, sizeof(*sorted));
        for (size_t i = 0; i < count; i++) {
            size_t start = i == 0 ? 0 : ends[i - 1];
            sorted[i] =
                (struct nx_str){.data = (const char *)texts.data + start, .len = ends[i] - start};
        }
        qsort(sorted, count, sizeof(*sorted), print_compare);
        for (size_t i = 0; i < count; i++) {
            nx_buf_append_byte(out, i == 0 ? '{' : ',');
            nx_buf_append_str(out, sorted[i]);
        }
        nx_buf_append_byte(out, '}');
        nx_free(sorted);
    } else if (name.len == 0) {
        nx_buf_append_cstr(out, "{}");
    }
    nx_free(ends);
    nx_buf_deinit(&texts);
}

static void print_matrix(const struct ast_node *node, struct nx_buf *out)
{
    const struct ast_node *selector = node->u.matrix.selector;
    print_selector_core(selector, out);
    nx_buf_append_byte(out, '[');
    print_duration(&node->u.matrix.range, out);
    nx_buf_append_byte(out, ']');
    print_extended(selector, out);
    print_at(&selector->u.selector.modifiers, out);
    print_offset(&selector->u.selector.modifiers, out);
}

static void print_subquery(const struct ast_node *node, struct nx_buf *out)
{
    const struct ast_duration *step = &node->u.subquery.step;
    promql_print(node->u.subquery.expr, out);
    nx_buf_append_byte(out, '[');
    print_duration(&node->u.subquery.range, out);
    nx_buf_append_byte(out, ':');
    if (step->expr != NULL || step->ms != 0)
        print_duration(step, out);
    nx_buf_append_byte(out, ']');
    print_at(&node->u.subquery.modifiers, out);
    print_offset(&node->u.subquery.modifiers, out);
}

static void print_fill(const char *name, double value, struct nx_buf *out)
{
    char text[FLOAT_TEXT_MAX];
    size_t len = float_text_g(text, value);
    nx_buf_printf(out, " %s (%.*s)", name, (int)len, text);
}

void promql_print_matching(const struct ast_matching *matching, struct nx_buf *out)
{
    bool has_group = matching->card == MATCH_MANY_TO_ONE || matching->card == MATCH_ONE_TO_MANY;
    if (matching->label_count > 0 || matching->is_on || has_group) {
        nx_buf_append_cstr(out, matching->is_on ? " on " : " ignoring ");
        print_names(matching->labels, matching->label_count, out);
    }
    if (has_group) {
        nx_buf_append_cstr(out,
                           matching->card == MATCH_MANY_TO_ONE ? " group_left " : " group_right ");
        print_names(matching->include, matching->include_count, out);
    }
    bool is_same = memcmp(&matching->fill_left, &matching->fill_right, sizeof(double)) == 0;
    if (matching->has_fill_left && matching->has_fill_right && is_same) {
        print_fill("fill", matching->fill_left, out);
        return;
    }
    if (matching->has_fill_left)
        print_fill("fill_left", matching->fill_left, out);
    if (matching->has_fill_right)
        print_fill("fill_right", matching->fill_right, out);
}

static void print_operator(const struct ast_node *node, struct nx_buf *out)
{
    nx_buf_printf(out, " %s", ast_op_text(node->u.binary.op));
    if (node->u.binary.returns_bool)
        nx_buf_append_cstr(out, " bool");
    if (node->u.binary.matching != NULL)
        promql_print_matching(node->u.binary.matching, out);
    nx_buf_append_byte(out, ' ');
    promql_print(node->u.binary.right, out);
}

/* The leftmost operand, then the operators from the bottom of the chain to its top. */
static void print_binary(const struct ast_node *node, struct nx_buf *out)
{
    size_t count = 0;
    for (const struct ast_node *at = node; at->kind == AST_BINARY; at = at->u.binary.left)
        count++;
    const struct ast_node *few[16];
    const struct ast_node **chain =
        count <= NX_ARRAY_LEN(few) ? few : nx_realloc_array(NULL, count, sizeof(*chain));
    for (size_t i = 0; i < count; i++, node = node->u.binary.left)
        chain[i] = node;
    promql_print(node, out);
    for (size_t i = count; i > 0; i--)
        print_operator(chain[i - 1], out);
    if (chain != few)
        nx_free(chain);
}

static void print_aggregate(const struct ast_node *node, struct nx_buf *out)
{
    nx_buf_append_cstr(out, ast_aggregate_text(node->u.aggregate.op));
    if (node->u.aggregate.is_without || node->u.aggregate.grouping_count > 0) {
        nx_buf_append_cstr(out, node->u.aggregate.is_without ? " without " : " by ");
        print_names(node->u.aggregate.grouping, node->u.aggregate.grouping_count, out);
        nx_buf_append_byte(out, ' ');
    }
    nx_buf_append_byte(out, '(');
    if (node->u.aggregate.param != NULL) {
        promql_print(node->u.aggregate.param, out);
        nx_buf_append_cstr(out, ", ");
    }
    promql_print(node->u.aggregate.expr, out);
    nx_buf_append_byte(out, ')');
}

static void print_call(const struct ast_node *node, struct nx_buf *out)
{
    nx_buf_printf(out, "%s(", node->u.call.function->name);
    for (size_t i = 0; i < node->u.call.arg_count; i++) {
        if (i > 0)
            nx_buf_append_cstr(out, ", ");
        promql_print(node->u.call.args[i], out);
    }
    nx_buf_append_byte(out, ')');
}

void promql_print(const struct ast_node *node, struct nx_buf *out)
{
    switch (node->kind) {
    case AST_NUMBER:
        if (node->u.number.is_duration)
            print_seconds(node->u.number.value, out);
        else
            print_float(node->u.number.value, out);
        return;
    case AST_STRING:
        labels_print_quoted(node->u.string.value, out);
        return;
    case AST_VECTOR_SELECTOR:
        print_selector_core(node, out);
        print_at(&node->u.selector.modifiers, out);
        print_extended(node, out);
        print_offset(&node->u.selector.modifiers, out);
        return;
    case AST_MATRIX_SELECTOR:
        print_matrix(node, out);
        return;
    case AST_SUBQUERY:
        print_subquery(node, out);
        return;
    case AST_UNARY:
        nx_buf_append_byte(out, node->u.unary.is_negative ? '-' : '+');
        promql_print(node->u.unary.expr, out);
        return;
    case AST_BINARY:
        print_binary(node, out);
        return;
    case AST_AGGREGATE:
        print_aggregate(node, out);
        return;
    case AST_CALL:
        print_call(node, out);
        return;
    case AST_PAREN:
        nx_buf_append_byte(out, '(');
        promql_print(node->u.paren.expr, out);
        nx_buf_append_byte(out, ')');
        return;
    case AST_DURATION:
        print_duration_expr(node, out);
        return;
    case AST_KIND_COUNT:
        break;
    }
    NX_ASSERT(false && "a node has a kind");
}
