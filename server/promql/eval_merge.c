/* SPDX-License-Identifier: Apache-2.0 */
/* eval_merge.c - keeping series, joining those with equal labels, and dropping the names that make them equal.
 *
 * Dropping names needs memory for every series only when two can become equal. They cannot when all have the same
 * __name__ and come in label order, and the first one's second label is beyond "__unit__": then every series is
 * {__name__="x", <something beyond>...}, so none has __type__ or __unit__ either, and the first label is all that goes.
 */
#include "narthex/base/assert.h"

#include "eval_internal.h"

#include <stdlib.h>

#define LABEL_NAME_TYPE "__type__"
#define LABEL_NAME_UNIT "__unit__"

bool label_is_reserved(struct nx_str name)
{
    return nx_str_eq(name, NX_STR(LABEL_NAME_METRIC)) || nx_str_eq(name, NX_STR(LABEL_NAME_TYPE)) ||
           nx_str_eq(name, NX_STR(LABEL_NAME_UNIT));
}

bool labels_have_reserved(struct labels labels)
{
    for (size_t i = 0; i < labels.count; i++)
        if (label_is_reserved(labels.items[i].name))
            return true;
    return false;
}

struct labels eval_labels_without_reserved(struct eval *eval, struct labels labels, bool *out_ok)
{
    *out_ok = true;
    if (!labels_have_reserved(labels))
        return labels;
    struct label *items = eval_alloc(eval, labels.count, sizeof(*items));
    if (items == NULL) {
        *out_ok = false;
        return labels;
    }
    size_t count = 0;
    for (size_t i = 0; i < labels.count; i++)
        if (!label_is_reserved(labels.items[i].name))
            items[count++] = labels.items[i];
    return (struct labels){.items = items, .count = count};
}

static int compare_names(const void *a, const void *b)
{
    return nx_str_cmp(*(const struct nx_str *)a, *(const struct nx_str *)b);
}

bool eval_names_list_init(struct eval *eval, struct eval_names_list *list,
                          const struct nx_str *names, size_t count, bool is_without)
{
    *list = (struct eval_names_list){.is_without = is_without};
    if (count == 0)
        return true;
    list->names = arena_copy(eval->arena, names, count * sizeof(*names));
    if (list->names == NULL) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    qsort(list->names, count, sizeof(*names), compare_names);
    for (size_t i = 0; i < count; i++)
        if (list->count == 0 || !nx_str_eq(list->names[list->count - 1], list->names[i]))
            list->names[list->count++] = list->names[i];
    return true;
}

bool eval_names_list_has(const struct eval_names_list *list, struct nx_str name)
{
    for (size_t i = 0; i < list->count; i++)
        if (nx_str_eq(list->names[i], name))
            return true;
    return false;
}

bool eval_names_list_keeps(const struct eval_names_list *list, struct nx_str name)
{
    if (!list->is_without)
        return eval_names_list_has(list, name);
    return !nx_str_eq(name, NX_STR(LABEL_NAME_METRIC)) && !eval_names_list_has(list, name);
}

static void append_label(struct nx_buf *key, const struct label *label)
{
    nx_buf_append_u32(key, (uint32_t)label->name.len);
    nx_buf_append_str(key, label->name);
    nx_buf_append_u32(key, (uint32_t)label->value.len);
    nx_buf_append_str(key, label->value);
}

struct nx_str eval_group_key(struct eval *eval, const struct eval_names_list *list,
                             struct labels labels)
{
    nx_buf_reset(&eval->key);
    for (size_t i = 0; i < labels.count; i++)
        if (eval_names_list_keeps(list, labels.items[i].name))
            append_label(&eval->key, &labels.items[i]);
    return nx_buf_str(&eval->key);
}

struct nx_str eval_labels_key(struct eval *eval, struct labels labels)
{
    nx_buf_reset(&eval->key);
    for (size_t i = 0; i < labels.count; i++)
        append_label(&eval->key, &labels.items[i]);
    return nx_buf_str(&eval->key);
}

static bool copy_labels(struct eval *eval, struct labels labels, struct labels *out)
{
    *out = labels_copy(eval->arena, labels);
    if (out->count == labels.count)
        return true;
    nx_ignore(eval_no_memory(eval));
    return false;
}

bool eval_group_labels(struct eval *eval, const struct eval_names_list *list, struct labels labels,
                       struct labels *out)
{
    struct label *items = eval_alloc(eval, labels.count + 1, sizeof(*items));
    if (items == NULL)
        return false;
    size_t count = 0;
    for (size_t i = 0; i < labels.count; i++)
        if (eval_names_list_keeps(list, labels.items[i].name))
            items[count++] = labels.items[i];
    return copy_labels(eval, (struct labels){.items = items, .count = count}, out);
}

void eval_list_init(struct eval_list *list, struct eval *eval, const struct eval_grid *grid)
{
    *list = (struct eval_list){.eval = eval, .grid = grid};
    key_table_init(&list->keys, eval->arena, eval->key_seed);
}

nx_code eval_list_add(struct eval_list *list, const struct eval_series *series)
{
    struct eval *eval = list->eval;
    size_t words = eval_words(list->grid);
    if (list->count == list->cap) {
        size_t cap = list->cap == 0 ? 32 : list->cap * 2;
        list->items = arena_grow(eval->arena, list->items, list->cap * sizeof(*list->items),
                                 cap * sizeof(*list->items));
        if (list->items == NULL)
            return eval_no_memory(eval);
        list->cap = cap;
    }
    if (!eval_hold(eval, eval_bits_count(series->present, words)))
        return eval->err->code;
    struct eval_series *kept = &list->items[list->count];
    *kept = *series;
    if (!copy_labels(eval, series->labels, &kept->labels))
        return eval->err->code;
    kept->values = arena_copy(eval->arena, series->values, list->grid->step_count * sizeof(double));
    kept->present = arena_copy(eval->arena, series->present, words * sizeof(uint64_t));
    if (kept->values == NULL || kept->present == NULL)
        return eval_no_memory(eval);
    list->count++;
    return NX_OK;
}

nx_code eval_list_merge(struct eval_list *list, const struct eval_series *series, bool is_strict)
{
    struct eval *eval = list->eval;
    bool is_new;
    size_t at = key_table_put(&list->keys, eval_labels_key(eval, series->labels), &is_new);
    if (at == KEY_TABLE_NONE)
        return eval_no_memory(eval);
    if (is_new) {
        NX_DCHECK(at == list->count);
        return eval_list_add(list, series);
    }
    if (is_strict)
        return eval_same_labels(eval);
    struct eval_series *base = &list->items[at];
    size_t words = eval_words(list->grid);
    for (size_t w = 0; w < words; w++) {
        if ((base->present[w] & series->present[w]) != 0)
            return eval_same_labels(eval);
        base->present[w] |= series->present[w];
        for (uint64_t bits = series->present[w]; bits != 0; bits &= bits - 1) {
            size_t step = w * 64 + eval_lowest(bits);
            base->values[step] = series->values[step];
        }
    }
    return eval_hold(eval, eval_bits_count(series->present, words)) ? NX_OK : eval->err->code;
}

nx_code eval_list_collect(struct eval_list *list, struct eval_stream *stream)
{
    struct eval_series series;
    int got;
    while ((got = stream->next(stream, &series)) == 1) {
        nx_code code = eval_list_add(list, &series);
        if (code != NX_OK)
            return code;
    }
    return got < 0 ? list->eval->err->code : NX_OK;
}

struct array_stream {
    struct eval_stream stream;
    struct eval_series *items;
    size_t count;
    size_t given;
};

static int array_next(struct eval_stream *stream, struct eval_series *out)
{
    struct array_stream *array = (struct array_stream *)stream;
    size_t words = eval_words(stream->grid);
    while (array->given < array->count) {
        struct eval_series *series = &array->items[array->given++];
        if (!eval_bits_any(series->present, words))
            continue;
        *out = *series;
        return 1;
    }
    return 0;
}

nx_code eval_array_open(struct eval *eval, const struct eval_grid *grid, enum eval_names names,
                        struct eval_series *items, size_t count, struct eval_stream **out)
{
    struct array_stream *array = eval_alloc(eval, 1, sizeof(*array));
    if (array == NULL)
        return eval->err->code;
    *array = (struct array_stream){
        .stream = {.next = array_next, .eval = eval, .grid = grid, .names = names},
        .items = items,
        .count = count,
    };
    *out = &array->stream;
    return NX_OK;
}

struct drop_stream {
    struct eval_stream stream;
    struct eval_stream *child;
    bool is_strict;
    enum {
        DROP_UNDECIDED,
        DROP_PASSING, /* the first label goes, no two series can become equal */
        DROP_JOINED,  /* all series were taken and joined */
    } state;
    struct eval_list list;
    size_t given;
};

static bool may_pass(const struct drop_stream *drop, struct labels first)
{
    return drop->child->names == EVAL_NAMES_PINNED && first.count >= 2 &&
           nx_str_eq(first.items[0].name, NX_STR(LABEL_NAME_METRIC)) &&
           nx_str_cmp(first.items[1].name, NX_STR(LABEL_NAME_UNIT)) > 0;
}

static void drop_first_label(struct eval_series *series)
{
    NX_DCHECK(nx_str_eq(series->labels.items[0].name, NX_STR(LABEL_NAME_METRIC)));
    series->labels.items++;
    series->labels.count--;
}

/* Takes `series` and all that follow. */
static int drop_join(struct drop_stream *drop, struct eval_series *series)
{
    struct eval *eval = drop->stream.eval;
    int got = 1;
    eval_list_init(&drop->list, eval, drop->stream.grid);
    while (got == 1) {
        bool ok;
        series->labels = eval_labels_without_reserved(eval, series->labels, &ok);
        if (!ok || eval_list_merge(&drop->list, series, drop->is_strict) != NX_OK)
            return -1;
        got = drop->child->next(drop->child, series);
    }
    return got;
}

static int drop_next(struct eval_stream *stream, struct eval_series *out)
{
    struct drop_stream *drop = (struct drop_stream *)stream;
    if (drop->state != DROP_JOINED) {
        int got = drop->child->next(drop->child, out);
        if (got != 1)
            return got;
        if (drop->state == DROP_UNDECIDED)
            drop->state = may_pass(drop, out->labels) ? DROP_PASSING : DROP_JOINED;
        if (drop->state == DROP_PASSING) {
            drop_first_label(out);
            return 1;
        }
        if (drop_join(drop, out) < 0)
            return -1;
    }
    if (drop->given == drop->list.count)
        return 0;
    *out = drop->list.items[drop->given++];
    return 1;
}

static void flag_drop(struct eval_stream *map, const void *context, struct eval_series *series)
{
    (void)map;
    (void)context;
    series->drop_name = true;
}

nx_code eval_drop_open(struct eval *eval, struct eval_stream *child, bool is_strict,
                       struct eval_stream **out)
{
    if (eval->options->delayed_name_removal)
        return eval_map_open(eval, child, flag_drop, NULL, out);
    if (child->names == EVAL_NAMES_NONE) {
        *out = child;
        return NX_OK;
    }
    struct drop_stream *drop = eval_alloc(eval, 1, sizeof(*drop));
    if (drop == NULL)
        return eval->err->code;
    *drop = (struct drop_stream){
        .stream = {.next = drop_next, .eval = eval, .grid = child->grid, .names = EVAL_NAMES_NONE},
        .child = child,
        .is_strict = is_strict,
    };
    *out = &drop->stream;
    return NX_OK;
}
