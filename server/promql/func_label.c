/* SPDX-License-Identifier: Apache-2.0 */
/* func_label.c - label_replace and label_join: labels change, values do not, and series that become equal are joined.
 *
 * Source   Prometheus' promql/functions.go; the replacement text is that of Go's regexp.Expand.
 */
#include "narthex/base/regex.h"

#include "eval_functions.h"

/* Chosen: groups beyond are empty, as groups that do not exist are. */
#define GROUPS_MAX 32

struct label_stream {
    struct eval_stream stream;
    struct eval_stream *child;
    struct nx_str target;
    /* The target's new value for these labels, into `value`; false: the labels stay. */
    bool (*replace)(struct label_stream *label, struct labels labels);
    struct nx_buf value;
    struct regex *regex; /* label_replace */
    struct nx_str source;
    struct nx_str replacement;
    struct nx_str separator; /* label_join */
    const struct ast_node *call;
    struct eval_list list;
    bool is_read;
    size_t given;
};

static void label_free(void *what)
{
    struct label_stream *label = what;
    regex_free(label->regex);
    label->regex = NULL;
    nx_buf_deinit(&label->value);
}

static int read_labels(struct label_stream *label)
{
    struct eval *eval = label->stream.eval;
    struct eval_series series;
    int got;
    while ((got = label->child->next(label->child, &series)) == 1) {
        if (label->replace(label, series.labels)) {
            struct labels_builder builder;
            labels_builder_begin(&builder, eval->arena, series.labels);
            labels_builder_set(&builder, label->target, nx_buf_str(&label->value));
            if (labels_builder_finish(&builder, &series.labels) != NX_OK) {
                nx_ignore(eval_no_memory(eval));
                return -1;
            }
            if (nx_str_eq(label->target, NX_STR(LABEL_NAME_METRIC)))
                series.drop_name = false;
        }
        if (eval_list_merge(&label->list, &series, false) != NX_OK)
            return -1;
    }
    return got;
}

static int label_next(struct eval_stream *stream, struct eval_series *out)
{
    struct label_stream *label = (struct label_stream *)stream;
    if (!label->is_read && read_labels(label) < 0)
        return -1;
    label->is_read = true;
    if (label->given == label->list.count)
        return 0;
    *out = label->list.items[label->given++];
    return 1;
}

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Reads what follows a $: {name} or name, name of letters, digits and _. False: the $ stands for itself. */
static bool read_reference(struct nx_str *rest, struct nx_str *out_name)
{
    struct nx_str text = *rest;
    bool in_braces = text.len > 0 && text.data[0] == '{';
    size_t start = in_braces ? 1 : 0;
    size_t end = start;
    while (end < text.len && is_word(text.data[end]))
        end++;
    if (end == start || (in_braces && (end == text.len || text.data[end] != '}')))
        return false;
    *out_name = (struct nx_str){.data = text.data + start, .len = end - start};
    size_t used = in_braces ? end + 1 : end;
    rest->data += used;
    rest->len -= used;
    return true;
}

/* A number without leading zeros is a group's; anything else a group's name. */
static struct nx_str find_group(const struct regex *regex, struct nx_str name,
                                const struct nx_str *groups, int group_count)
{
    uint64_t number;
    bool has_leading_zero = name.len > 1 && name.data[0] == '0';
    if (!has_leading_zero && nx_str_to_u64(name, &number))
        return number < (uint64_t)group_count ? groups[number] : (struct nx_str){0};
    for (int i = 1; i < group_count; i++)
        if (nx_str_eq(regex_group_name(regex, i), name) && groups[i].data != NULL)
            return groups[i];
    return (struct nx_str){0};
}

static bool replace_by_regex(struct label_stream *label, struct labels labels)
{
    struct nx_str groups[GROUPS_MAX] = {{0}};
    struct nx_str value = labels_get(labels, label->source);
    int group_count = regex_group_count(label->regex) + 1;
    if (group_count > GROUPS_MAX)
        group_count = GROUPS_MAX;
    if (value.data == NULL)
        value = NX_STR("");
    if (!regex_match_groups(label->regex, value, groups, group_count))
        return false;
    nx_buf_reset(&label->value);
    struct nx_str rest = label->replacement;
    while (rest.len > 0) {
        char c = rest.data[0];
        rest.data++;
        rest.len--;
        if (c != '$') {
            nx_buf_append_byte(&label->value, (uint8_t)c);
            continue;
        }
        struct nx_str name;
        if (rest.len > 0 && rest.data[0] == '$') {
            nx_buf_append_byte(&label->value, '$');
            rest.data++;
            rest.len--;
        } else if (read_reference(&rest, &name)) {
            nx_buf_append_str(&label->value, find_group(label->regex, name, groups, group_count));
        } else {
            nx_buf_append_byte(&label->value, '$');
        }
    }
    return true;
}

static bool replace_by_join(struct label_stream *label, struct labels labels)
{
    nx_buf_reset(&label->value);
    for (size_t i = 3; i < label->call->u.call.arg_count; i++) {
        if (i > 3)
            nx_buf_append_str(&label->value, label->separator);
        struct nx_str source = eval_string(label->call->u.call.args[i]);
        nx_buf_append_str(&label->value, labels_get(labels, source));
    }
    return true;
}

static bool is_label_name(struct nx_str name)
{
    return name.len > 0 && nx_utf8_is_valid(name);
}

/* What both functions share: the target is checked last, as Prometheus does. */
static nx_code open_label(struct eval *eval, const struct ast_node *call,
                          const struct eval_grid *grid, struct label_stream *label,
                          struct eval_stream **out)
{
    label->call = call;
    label->target = eval_string(call->u.call.args[1]);
    if (!is_label_name(label->target))
        return eval_fail(eval, NX_E_EXECUTION, "invalid destination label name in %s(): %.*s",
                         call->u.call.function->name, NX_STR_ARGS(label->target));
    nx_code code = eval_open(eval, call->u.call.args[0], grid, &label->child);
    if (code != NX_OK)
        return code;
    bool sets_name = label_is_reserved(label->target);
    label->stream = (struct eval_stream){
        .next = label_next,
        .eval = eval,
        .grid = grid,
        .names =
            label->child->names == EVAL_NAMES_NONE && !sets_name ? EVAL_NAMES_NONE : EVAL_NAMES_ANY,
    };
    eval_list_init(&label->list, eval, grid);
    *out = &label->stream;
    return NX_OK;
}

static nx_code open_label_replace(struct eval *eval, const struct ast_node *call,
                                  const struct eval_grid *grid, struct eval_stream **out)
{
    struct label_stream *label = eval_alloc(eval, 1, sizeof(*label));
    if (label == NULL)
        return eval->err->code;
    struct nx_str pattern = eval_string(call->u.call.args[4]);
    struct nx_err reason = {0};
    if (regex_compile(&label->regex, pattern, &reason) != NX_OK)
        return eval_fail(eval, NX_E_EXECUTION,
                         "invalid regular expression in label_replace(): %.*s",
                         NX_STR_ARGS(pattern));
    if (!eval_on_end(eval, label_free, label))
        return eval->err->code;
    label->replacement = eval_string(call->u.call.args[2]);
    label->source = eval_string(call->u.call.args[3]);
    label->replace = replace_by_regex;
    return open_label(eval, call, grid, label, out);
}

static nx_code open_label_join(struct eval *eval, const struct ast_node *call,
                               const struct eval_grid *grid, struct eval_stream **out)
{
    struct label_stream *label = eval_alloc(eval, 1, sizeof(*label));
    if (label == NULL || !eval_on_end(eval, label_free, label))
        return eval->err->code;
    for (size_t i = 3; i < call->u.call.arg_count; i++) {
        struct nx_str source = eval_string(call->u.call.args[i]);
        if (!is_label_name(source))
            return eval_fail(eval, NX_E_EXECUTION,
                             "invalid source label name in label_join(): %.*s",
                             NX_STR_ARGS(source));
    }
    label->separator = eval_string(call->u.call.args[2]);
    label->replace = replace_by_join;
    return open_label(eval, call, grid, label, out);
}

const struct eval_function eval_label_replace = {.open = open_label_replace};
const struct eval_function eval_label_join = {.open = open_label_join};
