/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_promql_parse.c - any bytes as a query: refused with a message, or parsed, printed and parsed to the same again.
 *
 * The first byte picks the options. Run with -dict=tests/fuzz/promql_parse.dict.
 */
#include "narthex/base/arena.h"
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/promql/lex.h"
#include "narthex/promql/parse.h"
#include "narthex/promql/print.h"

#include <stddef.h>
#include <stdint.h>

#define BUDGET_BYTES (64u << 20)

static const struct parse_options everything = {
    .allow_experimental_functions = true,
    .allow_extended_range_selectors = true,
    .allow_fill_modifiers = true,
};

static void check_positions(void *context, struct ast_node *node)
{
    const struct nx_str *text = context;
    NX_ASSERT(node->pos.start < node->pos.end && node->pos.end <= text->len);
    NX_ASSERT(node->height >= 1 && node->height <= AST_HEIGHT_MAX);
    NX_ASSERT(node->nesting >= 1 && node->nesting <= PARSE_DEPTH_MAX);
}

static void fuzz_print(const struct ast_node *root, struct nx_buf *printed)
{
    struct arena arena;
    struct nx_err err;
    struct ast_node *again;
    struct nx_buf second = {0};

    promql_print(root, printed);
    if (printed->len > PARSE_TEXT_BYTES_MAX)
        return;
    arena_init(&arena, BUDGET_BYTES);
    nx_code code = promql_parse(nx_buf_str(printed), &everything, &arena, &again, &err);
    NX_ASSERT(code == NX_OK);
    promql_print(again, &second);
    NX_ASSERT(nx_str_eq(nx_buf_str(printed), nx_buf_str(&second)));
    NX_ASSERT(again->height == root->height && again->type == root->type);
    ast_deinit(again);
    arena_deinit(&arena);
    nx_buf_deinit(&second);
}

static void fuzz_expression(struct nx_str text, uint8_t flags)
{
    struct parse_options options = {
        .allow_experimental_functions = (flags & 1) == 0,
        .allow_extended_range_selectors = (flags & 2) == 0,
        .allow_fill_modifiers = (flags & 4) == 0,
    };
    struct arena arena;
    struct nx_err err;
    struct ast_node *root = NULL;
    arena_init(&arena, (flags & 8) != 0 ? BUDGET_BYTES >> 11 : BUDGET_BYTES);
    nx_code code = promql_parse(text, &options, &arena, &root, &err);
    if (code == NX_OK) {
        struct nx_buf printed = {0};
        ast_walk(root, check_positions, &text);
        fuzz_print(root, &printed);
        nx_ignore(ast_resolve_durations(root, 15000, 3600000, &err));
        ast_deinit(root);
        nx_buf_deinit(&printed);
    } else {
        NX_ASSERT(root == NULL && (code == NX_E_INVALID || code == NX_E_LIMIT));
        NX_ASSERT(err.msg[0] != '\0');
    }
    arena_deinit(&arena);
}

static void fuzz_selector(struct nx_str text)
{
    struct arena arena;
    struct nx_err err;
    struct matcher *matchers;
    struct labels labels;
    size_t count;
    arena_init(&arena, BUDGET_BYTES);
    if (promql_parse_selector(text, &arena, &matchers, &count, &err) == NX_OK)
        for (size_t i = 0; i < count; i++)
            matcher_deinit(&matchers[i]);
    if (promql_parse_labels(text, &arena, &labels, &err) == NX_OK) {
        struct nx_buf printed = {0};
        struct labels again;
        labels_print(labels, &printed);
        NX_ASSERT(promql_parse_labels(nx_buf_str(&printed), &arena, &again, &err) == NX_OK);
        NX_ASSERT(labels_equal(labels, again));
        nx_buf_deinit(&printed);
    }
    arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct nx_str text = {.data = (const char *)data + 1, .len = size - 1};
    fuzz_expression(text, data[0]);
    fuzz_selector(text);
    return 0;
}
