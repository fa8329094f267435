/* SPDX-License-Identifier: Apache-2.0 */
/* eval_support.c - see eval_support.h. */
#include "eval_support.h"

#include "narthex/base/float_text.h"
#include "narthex/promql/parse.h"

#include "script_internal.h"

#include <stdio.h>
#include <string.h>

void world_init(struct eval_world *world, const char *series)
{
    *world = (struct eval_world){
        .source = memory_source_new(),
        .options = {.lookback_ms = 300000, .subquery_step_ms = 60000},
    };
    struct arena arena;
    struct nx_str rest = nx_str_from(series);
    arena_init(&arena, 0);
    while (rest.len > 0) {
        struct nx_str line;
        struct nx_str behind = {0};
        if (!nx_str_split(rest, '\n', &line, &behind))
            behind = (struct nx_str){0};
        rest = behind;
        struct script_series parsed;
        bool is_start_times;
        struct nx_err err;
        nx_code code =
            script_read_series(nx_str_trim(line), &arena, &parsed, &is_start_times, &err);
        if (code != NX_OK)
            print_message("%s\n", err.msg);
        assert_int_equal(code, NX_OK);
        for (size_t i = 0; i < parsed.count; i++)
            if (parsed.values[i].kind == SCRIPT_VALUE_FLOAT)
                memory_source_add(world->source, parsed.labels, (int64_t)i * 60000,
                                  parsed.values[i].value);
    }
    arena_deinit(&arena);
    arena_init(&world->arena, 0);
}

void world_deinit(struct eval_world *world)
{
    arena_deinit(&world->arena);
    memory_source_free(world->source);
}

static nx_code world_run(struct eval_world *world, const char *expr)
{
    static const struct parse_options everything = {true, true, true};
    struct ast_node *root = NULL;
    arena_deinit(&world->arena);
    arena_init(&world->arena, 0);
    world->options.text = nx_str_from(expr);
    world->stats = (struct eval_stats){0};
    world->code = promql_parse(world->options.text, &everything, &world->arena, &root, &world->err);
    if (world->code == NX_OK)
        world->code =
            ast_resolve_durations(root, world->options.step_ms,
                                  world->options.end_ms - world->options.start_ms, &world->err);
    world->arena.budget_bytes = world->arena_budget;
    if (world->code == NX_OK)
        world->code = promql_eval(root, memory_source_handle(world->source), &world->options,
                                  &world->arena, &world->value, &world->annotations,
                                  &world->warnings, &world->stats, &world->err);
    ast_deinit(root);
    return world->code;
}

nx_code world_instant(struct eval_world *world, const char *expr, int64_t at_s)
{
    world->options.is_range = false;
    world->options.start_ms = world->options.end_ms = at_s * 1000;
    world->options.step_ms = 0;
    return world_run(world, expr);
}

nx_code world_range(struct eval_world *world, const char *expr, int64_t start_s, int64_t end_s,
                    int64_t step_s)
{
    world->options.is_range = true;
    world->options.start_ms = start_s * 1000;
    world->options.end_ms = end_s * 1000;
    world->options.step_ms = step_s * 1000;
    return world_run(world, expr);
}

static void put_float(struct nx_buf *text, double value)
{
    char digits[FLOAT_TEXT_MAX];
    nx_buf_append(text, digits, float_text_g(digits, value));
}

/* As scripts write them: the name before the braces. */
static void put_labels(struct nx_buf *text, struct labels labels)
{
    struct nx_str name = labels_get(labels, NX_STR(LABEL_NAME_METRIC));
    struct label items[32];
    size_t count = 0;
    for (size_t i = 0; i < labels.count && count < 32; i++)
        if (!nx_str_eq(labels.items[i].name, NX_STR(LABEL_NAME_METRIC)))
            items[count++] = labels.items[i];
    nx_buf_append_str(text, name);
    if (count > 0 || name.len == 0)
        labels_print((struct labels){.items = items, .count = count}, text);
}

const char *world_text(const struct eval_world *world)
{
    static char out[4096];
    struct nx_buf text = {0};
    const struct value *value = &world->value;
    if (world->code != NX_OK)
        nx_buf_append_cstr(&text, world->err.msg);
    else if (value->type == VALUE_TYPE_SCALAR)
        put_float(&text, value->scalar);
    else if (value->type == VALUE_TYPE_STRING)
        nx_buf_append_str(&text, value->string);
    for (size_t i = 0; world->code == NX_OK && i < value->series_count; i++) {
        const struct value_series *series = &value->series[i];
        if (i > 0)
            nx_buf_append_cstr(&text, "; ");
        put_labels(&text, series->labels);
        for (size_t p = 0; p < series->count; p++) {
            nx_buf_append_byte(&text, ' ');
            put_float(&text, series->values[p]);
            nx_buf_printf(&text, "@%lld", (long long)(series->times_ms[p] / 1000));
        }
    }
    size_t length = text.len < sizeof(out) ? text.len : sizeof(out) - 1;
    memcpy(out, text.data == NULL ? (const uint8_t *)"" : text.data, length);
    out[length] = '\0';
    nx_buf_deinit(&text);
    return out;
}
