/* SPDX-License-Identifier: Apache-2.0 */
/* script.c - reads a test script and runs its commands in order.
 *
 *   # comment, counts as a blank line             a blank line ends a block
 *   clear                                         drop all data
 *   load 5m                                       the i-th item of each series is at i * 5 m
 *     metric{a="b"} 1 2+1x3 _ stale
 *   load_with_nhcb 5m                             and native histograms from *_bucket series
 *   eval instant at 50m expr                      expectations, then the result
 *     expect fail|warn|info|no_warn|no_info|ordered [msg: text | regex: pattern]
 *     expect string "text"
 *     expect range vector from 0 to 5m step 1m
 *     metric{a="b"} 3                             or a bare number for a scalar
 *   eval range from 0 to 5m step 1m expr
 *     metric{a="b"} 1 2 3
 * Older: eval_fail, eval_warn, eval_info, eval_ordered; expected_fail_message text, expected_fail_regexp pattern.
 *
 * The settings are those that Prometheus runs its own scripts with. What cannot be read yet (native histograms, start
 * timestamps) is loaded as a mark that makes every query fail that would see it: nothing is skipped.
 */
#include "narthex/base/io.h"
#include "narthex/base/regex.h"
#include "narthex/promql/parse.h"

#include "script_internal.h"

struct script {
    struct nx_str rest;
    unsigned line; /* of the line read last, from 1 */
    const char *path;
    struct nx_str name; /* the path, for messages */
    struct arena arena; /* of a command */
    struct memory_source *source;
    script_report_fn report;
    void *context;
    struct script_result *result;
    struct nx_err *err;
};

static nx_code script_fail(struct script *script, const char *what, struct nx_str text)
{
    return nx_err_set(script->err, NX_E_INVALID, "%.*s:%u: %s: %.*s", NX_STR_ARGS(script->name),
                      script->line, what, NX_STR_ARGS(text));
}

/* The next line, trimmed; comments are empty. False at the end. */
static bool next_line(struct script *script, struct nx_str *out)
{
    if (script->rest.len == 0)
        return false;
    struct nx_str line;
    struct nx_str rest = {0};
    if (!nx_str_split(script->rest, '\n', &line, &rest))
        rest = (struct nx_str){0};
    script->rest = rest;
    script->line++;
    *out = nx_str_trim(line);
    if (out->len > 0 && out->data[0] == '#')
        *out = (struct nx_str){0};
    return true;
}

/* The next line of a block; false at its end. */
static bool next_block_line(struct script *script, struct nx_str *out)
{
    return next_line(script, out) && out->len > 0;
}

/* Cuts a word off the front. */
static struct nx_str next_word(struct nx_str *text)
{
    *text = nx_str_trim(*text);
    size_t end = 0;
    while (end < text->len && text->data[end] != ' ' && text->data[end] != '\t')
        end++;
    struct nx_str word = {.data = text->data, .len = end};
    text->data += end;
    text->len -= end;
    *text = nx_str_trim(*text);
    return word;
}

static bool next_word_is(struct nx_str *text, const char *wanted)
{
    return nx_str_eq(next_word(text), nx_str_from(wanted));
}

/* The array of a command with room for a zeroed element behind its `count`; NULL when it is too large. */
static void *grow_by_one(struct script *script, void *items, size_t count, size_t bytes)
{
    char *grown = arena_grow(&script->arena, items, count * bytes, (count + 1) * bytes);
    if (grown != NULL)
        memset(grown + count * bytes, 0, bytes);
    return grown;
}

struct load {
    struct script_series *series;
    size_t count;
};

/* The later of two lines with the same labels stands. */
static void drop_earlier(struct load *load)
{
    struct script_series *last = &load->series[load->count - 1];
    for (size_t i = 0; i + 1 < load->count; i++) {
        if (labels_equal(load->series[i].labels, last->labels)) {
            load->series[i] = *last;
            load->count--;
            return;
        }
    }
}

/* {__name__="x_bucket", le="1", a="b"} -> {__name__="x", a="b"}; false for anything else. */
static bool histogram_labels(struct script *script, struct labels labels, struct labels *out)
{
    struct nx_str name = labels_get(labels, NX_STR(LABEL_NAME_METRIC));
    if (!nx_str_ends_with(name, NX_STR("_bucket")) ||
        !labels_has(labels, NX_STR(LABEL_NAME_BUCKET)))
        return false;
    name.len -= strlen("_bucket");
    struct labels_builder builder;
    labels_builder_begin(&builder, &script->arena, labels);
    labels_builder_drop(&builder, NX_STR(LABEL_NAME_BUCKET));
    labels_builder_set(&builder, NX_STR(LABEL_NAME_METRIC), name);
    return labels_builder_finish(&builder, out) == NX_OK;
}

static void store_series(struct script *script, const struct script_series *series, int64_t step_ms,
                         bool with_histograms)
{
    struct labels histogram;
    bool is_bucket = with_histograms && histogram_labels(script, series->labels, &histogram);
    for (size_t i = 0; i < series->count; i++) {
        int64_t time_ms = (int64_t)i * step_ms;
        const struct script_value *value = &series->values[i];
        if (value->kind == SCRIPT_VALUE_ABSENT)
            continue;
        if (value->kind == SCRIPT_VALUE_HISTOGRAM)
            memory_source_add_unreadable(script->source, series->labels, time_ms,
                                         "a native histogram");
        else if (series->has_start_times)
            memory_source_add_unreadable(script->source, series->labels, time_ms,
                                         "a start timestamp");
        else
            memory_source_add(script->source, series->labels, time_ms, value->value);
        if (is_bucket)
            memory_source_add_unreadable(script->source, histogram, time_ms, "a native histogram");
    }
}

static nx_code run_load(struct script *script, struct nx_str args, bool with_histograms)
{
    int64_t step_ms;
    if (!script_read_duration(args, &step_ms) || step_ms <= 0)
        return script_fail(script, "bad step", args);
    struct load load = {0};
    struct nx_str line;
    bool has_start_times = false;
    while (next_block_line(script, &line)) {
        load.series = grow_by_one(script, load.series, load.count, sizeof(*load.series));
        if (load.series == NULL)
            return script_fail(script, "load is too large", args);
        struct script_series *series = &load.series[load.count++];
        bool is_start_times;
        nx_code code =
            script_read_series(line, &script->arena, series, &is_start_times, script->err);
        if (code != NX_OK)
            return nx_err_wrap(script->err, "%.*s:%u", NX_STR_ARGS(script->name), script->line);
        if (is_start_times) {
            has_start_times = true;
            load.count--;
            continue;
        }
        series->has_start_times = has_start_times;
        has_start_times = false;
        drop_earlier(&load);
    }
    for (size_t i = 0; i < load.count; i++)
        store_series(script, &load.series[i], step_ms, with_histograms);
    return NX_OK;
}

static nx_code add_expect(struct script *script, struct script_eval *eval,
                          enum script_expect_kind kind, struct script_expect **out)
{
    eval->expects = grow_by_one(script, eval->expects, eval->expect_count, sizeof(*eval->expects));
    if (eval->expects == NULL)
        return script_fail(script, "too many expectations", eval->expr);
    struct script_expect *expect = &eval->expects[eval->expect_count++];
    expect->kind = kind;
    if (out != NULL)
        *out = expect;
    return NX_OK;
}

/* A pattern is found anywhere in a message; ours match whole texts. */
static nx_code compile_pattern(struct script *script, struct script_expect *expect,
                               struct nx_str pattern)
{
    struct nx_str whole =
        arena_printf(&script->arena, "(?s:.*)(?:%.*s)(?s:.*)", NX_STR_ARGS(pattern));
    expect->text = pattern;
    if (regex_compile(&expect->regex, whole, script->err) != NX_OK)
        return script_fail(script, "bad pattern", pattern);
    return NX_OK;
}

static bool find_expect_kind(struct nx_str word, enum script_expect_kind *out)
{
    static const struct {
        const char *word;
        enum script_expect_kind kind;
    } kinds[] = {
        {"fail", SCRIPT_EXPECT_FAIL},       {"warn", SCRIPT_EXPECT_WARN},
        {"info", SCRIPT_EXPECT_INFO},       {"no_warn", SCRIPT_EXPECT_NO_WARN},
        {"no_info", SCRIPT_EXPECT_NO_INFO}, {"ordered", SCRIPT_EXPECT_ORDERED},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (nx_str_eq(word, nx_str_from(kinds[i].word))) {
            *out = kinds[i].kind;
            return true;
        }
    }
    return false;
}

/* from A to B step C */
static bool read_range(struct nx_str *text, int64_t *start_ms, int64_t *end_ms, int64_t *step_ms)
{
    return next_word_is(text, "from") && script_read_duration(next_word(text), start_ms) &&
           next_word_is(text, "to") && script_read_duration(next_word(text), end_ms) &&
           next_word_is(text, "step") && script_read_duration(next_word(text), step_ms) &&
           *step_ms > 0;
}

/* A quoted string, by the parser of expressions. */
static bool read_string(struct script *script, struct nx_str text, struct nx_str *out)
{
    struct parse_options options = {0};
    struct ast_node *node = NULL;
    struct nx_err err;
    bool ok = promql_parse(text, &options, &script->arena, &node, &err) == NX_OK &&
              node->kind == AST_STRING;
    if (ok)
        *out = node->u.string.value;
    ast_deinit(node);
    return ok;
}

static nx_code read_expect(struct script *script, struct script_eval *eval, struct nx_str args)
{
    struct nx_str whole = args;
    struct nx_str word = next_word(&args);
    if (nx_str_eq(word, NX_STR("string"))) {
        eval->has_string = read_string(script, args, &eval->string);
        return eval->has_string ? NX_OK : script_fail(script, "bad string", args);
    }
    if (nx_str_eq(word, NX_STR("range"))) {
        eval->has_matrix =
            next_word_is(&args, "vector") &&
            read_range(&args, &eval->matrix_start_ms, &eval->matrix_end_ms, &eval->matrix_step_ms);
        return eval->has_matrix ? NX_OK : script_fail(script, "bad range vector", whole);
    }
    enum script_expect_kind kind;
    struct script_expect *expect = NULL;
    if (!find_expect_kind(word, &kind))
        return script_fail(script, "unknown expectation", whole);
    nx_code code = add_expect(script, eval, kind, &expect);
    if (code != NX_OK || args.len == 0)
        return code;
    struct nx_str text;
    struct nx_str how;
    if (!nx_str_split(args, ':', &how, &text))
        return script_fail(script, "expected msg: or regex:", whole);
    text = nx_str_trim(text);
    if (nx_str_eq(how, NX_STR("regex")))
        return compile_pattern(script, expect, text);
    if (!nx_str_eq(how, NX_STR("msg")))
        return script_fail(script, "expected msg: or regex:", whole);
    expect->text = text;
    expect->has_text = true;
    return NX_OK;
}

/* expected_fail_message and expected_fail_regexp qualify the failure that eval_fail expects. */
static nx_code read_old_expect(struct script *script, struct script_eval *eval, struct nx_str args,
                               bool is_pattern)
{
    for (size_t i = 0; i < eval->expect_count; i++) {
        struct script_expect *expect = &eval->expects[i];
        if (expect->kind != SCRIPT_EXPECT_FAIL)
            continue;
        if (is_pattern)
            return compile_pattern(script, expect, args);
        expect->text = args;
        expect->has_text = true;
        return NX_OK;
    }
    return script_fail(script, "message without an expected failure", args);
}

static nx_code read_result_line(struct script *script, struct script_eval *eval, struct nx_str line)
{
    if (script_read_number(line, &eval->scalar)) {
        eval->has_scalar = true;
        return NX_OK;
    }
    eval->series = grow_by_one(script, eval->series, eval->series_count, sizeof(*eval->series));
    if (eval->series == NULL)
        return script_fail(script, "result is too large", line);
    struct script_series *series = &eval->series[eval->series_count++];
    bool is_start_times;
    nx_code code = script_read_series(line, &script->arena, series, &is_start_times, script->err);
    if (code != NX_OK)
        return nx_err_wrap(script->err, "%.*s:%u", NX_STR_ARGS(script->name), script->line);
    if (is_start_times)
        return script_fail(script, "start timestamps in a result", line);
    if (!eval->is_range && !eval->has_matrix && series->count != 1)
        return script_fail(script, "expected one value a series", line);
    return NX_OK;
}

static nx_code read_body(struct script *script, struct script_eval *eval)
{
    struct nx_str line;
    while (next_block_line(script, &line)) {
        struct nx_str rest = line;
        struct nx_str word = next_word(&rest);
        nx_code code;
        if (nx_str_eq(word, NX_STR("expect")))
            code = read_expect(script, eval, rest);
        else if (nx_str_eq(word, NX_STR("expected_fail_message")))
            code = read_old_expect(script, eval, rest, false);
        else if (nx_str_eq(word, NX_STR("expected_fail_regexp")))
            code = read_old_expect(script, eval, rest, true);
        else
            code = read_result_line(script, eval, line);
        if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

/* `mode` is what follows "eval": "", "_fail", ... */
static nx_code read_eval(struct script *script, struct nx_str mode, struct nx_str args,
                         struct script_eval *eval)
{
    struct nx_str whole = args;
    struct nx_str word = next_word(&args);
    eval->line = script->line;
    eval->is_range = nx_str_eq(word, NX_STR("range"));
    if (eval->is_range) {
        if (!read_range(&args, &eval->start_ms, &eval->end_ms, &eval->step_ms))
            return script_fail(script, "bad range", whole);
    } else if (!nx_str_eq(word, NX_STR("instant")) || !next_word_is(&args, "at") ||
               !script_read_duration(next_word(&args), &eval->start_ms)) {
        return script_fail(script, "bad eval", whole);
    }
    eval->expr = args;
    if (mode.len > 0) {
        enum script_expect_kind kind;
        struct nx_str kind_word = {.data = mode.data + 1, .len = mode.len - 1};
        if (!find_expect_kind(kind_word, &kind))
            return script_fail(script, "unknown kind of eval", mode);
        nx_code code = add_expect(script, eval, kind, NULL);
        if (code != NX_OK)
            return code;
    }
    return read_body(script, eval);
}

static void free_regexes(struct script_eval *eval)
{
    for (size_t i = 0; i < eval->expect_count; i++)
        regex_free(eval->expects[i].regex);
}

static nx_code run_eval(struct script *script, struct nx_str mode, struct nx_str args)
{
    struct script_eval eval = {0};
    nx_code code = read_eval(script, mode, args, &eval);
    if (code == NX_OK) {
        struct nx_buf why = {0};
        if (script_check(&eval, script->source, &why)) {
            script->result->passed++;
        } else {
            script->result->failed++;
            if (script->report != NULL)
                script->report(script->context, script->path, eval.line, nx_buf_str(&why));
        }
        nx_buf_deinit(&why);
    }
    free_regexes(&eval);
    return code;
}

static nx_code run_command(struct script *script, struct nx_str line)
{
    struct nx_str args = line;
    struct nx_str word = next_word(&args);
    if (nx_str_eq(word, NX_STR("clear"))) {
        memory_source_clear(script->source);
        return NX_OK;
    }
    if (nx_str_eq(word, NX_STR("load")))
        return run_load(script, args, false);
    if (nx_str_eq(word, NX_STR("load_with_nhcb")))
        return run_load(script, args, true);
    if (nx_str_starts_with(word, NX_STR("eval"))) {
        struct nx_str mode = {.data = word.data + 4, .len = word.len - 4};
        return run_eval(script, mode, args);
    }
    return script_fail(script, "unknown command", line);
}

nx_code script_run_text(const char *name, struct nx_str text, script_report_fn report,
                        void *context, struct script_result *out_result, struct nx_err *err)
{
    struct script_result result = {0};
    struct script script = {
        .rest = text,
        .path = name,
        .name = nx_str_from(name),
        .source = memory_source_new(),
        .report = report,
        .context = context,
        .result = &result,
        .err = err,
    };
    arena_init(&script.arena, 0);
    nx_code code = NX_OK;
    struct nx_str line;
    while (code == NX_OK && next_line(&script, &line)) {
        if (line.len == 0)
            continue;
        code = run_command(&script, line);
        arena_reset(&script.arena);
    }
    arena_deinit(&script.arena);
    memory_source_free(script.source);
    *out_result = result;
    return code;
}

nx_code script_run(const char *path, script_report_fn report, void *context,
                   struct script_result *out_result, struct nx_err *err)
{
    struct nx_buf text = {0};
    nx_code code = io_read_file(io_real(), path, SCRIPT_BYTES_MAX, &text, err);
    if (code == NX_OK)
        code = script_run_text(path, nx_buf_str(&text), report, context, out_result, err);
    nx_buf_deinit(&text);
    return code;
}
