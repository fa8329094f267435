/* SPDX-License-Identifier: Apache-2.0 */
/* annotations.c - warnings and infos of an evaluation: Prometheus' texts, each once.
 *
 * Few distinct ones exist even in odd queries, so a linear search keeps them unique; ANNOTATIONS_MAX bounds it.
 */
#include "narthex/base/float_text.h"
#include "narthex/promql/parse.h"

#include "eval_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* Chosen: an answer shows ten of a kind and a count; a name per series must not become a quadratic search. */
#define ANNOTATIONS_MAX 1024

static bool is_known(const struct annotations *annotations, struct nx_str text)
{
    for (size_t i = 0; i < annotations->count; i++)
        if (nx_str_eq(annotations->items[i].text, text))
            return true;
    return false;
}

static void add_text(struct eval *eval, enum annotation_kind kind, struct nx_str text)
{
    struct annotations *annotations = eval->annotations;
    if (annotations->count == ANNOTATIONS_MAX || is_known(annotations, text))
        return;
    if (annotations->count == annotations->cap) {
        size_t cap = annotations->cap == 0 ? 8 : annotations->cap * 2;
        struct annotation *items =
            arena_grow(eval->arena, annotations->items, annotations->cap * sizeof(*items),
                       cap * sizeof(*items));
        if (items == NULL)
            return; /* the arena says so to whoever asks it next */
        annotations->items = items;
        annotations->cap = cap;
    }
    struct nx_str kept = arena_strdup(eval->arena, text);
    if (kept.data != NULL)
        annotations->items[annotations->count++] = (struct annotation){kind, kept};
}

void eval_annotate(struct eval *eval, enum annotation_kind kind, const struct ast_node *node,
                   const char *format, ...)
{
    char small[512];
    va_list args;
    nx_buf_reset(&eval->text);
    nx_buf_append_cstr(&eval->text,
                       kind == ANNOTATION_WARNING ? "PromQL warning: " : "PromQL info: ");
    va_start(args, format);
    int length = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (length > 0 && (size_t)length < sizeof(small)) {
        nx_buf_append(&eval->text, small, (size_t)length);
    } else if (length > 0) {
        nx_buf_reserve(&eval->text, (size_t)length + 1);
        va_start(args, format);
        vsnprintf((char *)eval->text.data + eval->text.len, (size_t)length + 1, format, args);
        va_end(args);
        eval->text.len += (size_t)length;
    }
    if (eval->options->text.len > 0) {
        unsigned line;
        unsigned column;
        promql_position(eval->options->text, node->pos.start, &line, &column);
        nx_buf_printf(&eval->text, " (%u:%u)", line, column);
    }
    add_text(eval, kind, nx_buf_str(&eval->text));
}

struct nx_str eval_quoted(struct eval *eval, int which, struct nx_str text)
{
    struct nx_buf *quoted = &eval->quotes[which];
    nx_buf_reset(quoted);
    labels_print_quoted(text, quoted);
    return nx_buf_str(quoted);
}

const char *eval_float_text(double value, char out[32])
{
    char text[FLOAT_TEXT_MAX];
    size_t length = float_text_g(text, value);
    if (length > 31)
        length = 31;
    memcpy(out, text, length);
    out[length] = '\0';
    return out;
}
