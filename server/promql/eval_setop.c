/* SPDX-License-Identifier: Apache-2.0 */
/* eval_setop.c - and, unless, or: which steps of which signatures the other side has.
 *
 * and, unless: the right side is read first, and only its presence is kept, a bitmap a signature; then the left side
 * streams through. or: both sides are kept, since a series of the right may continue one of the left.
 */
#include "eval_internal.h"

struct setop_stream {
    struct eval_stream stream;
    const struct ast_node *node;
    struct eval_stream *left;
    struct eval_stream *right;
    struct eval_names_list matching;
    struct key_table signatures;
    uint64_t **present; /* by signature */
    size_t cap;
    bool has_right; /* the right side was read */
};

/* The bitmap of the series' signature. */
static uint64_t *signature_bits(struct setop_stream *setop, struct labels labels)
{
    struct eval *eval = setop->stream.eval;
    bool is_new;
    size_t number =
        key_table_put(&setop->signatures, eval_group_key(eval, &setop->matching, labels), &is_new);
    if (number == KEY_TABLE_NONE) {
        nx_ignore(eval_no_memory(eval));
        return NULL;
    }
    if (!is_new)
        return setop->present[number];
    if (number == setop->cap) {
        size_t cap = setop->cap == 0 ? 32 : setop->cap * 2;
        setop->present =
            arena_grow(eval->arena, setop->present, setop->cap * sizeof(*setop->present),
                       cap * sizeof(*setop->present));
        if (setop->present == NULL) {
            nx_ignore(eval_no_memory(eval));
            return NULL;
        }
        setop->cap = cap;
    }
    setop->present[number] = eval_alloc(eval, eval_words(setop->stream.grid), sizeof(uint64_t));
    return setop->present[number];
}

/* Marks the steps that `side` has. */
static int note_presence(struct setop_stream *setop, const struct eval_series *series)
{
    size_t words = eval_words(setop->stream.grid);
    uint64_t *bits = signature_bits(setop, series->labels);
    if (bits == NULL)
        return -1;
    for (size_t w = 0; w < words; w++)
        bits[w] |= series->present[w];
    return 0;
}

static int read_right(struct setop_stream *setop)
{
    struct eval_series series;
    int got;
    while ((got = setop->right->next(setop->right, &series)) == 1)
        if (note_presence(setop, &series) < 0)
            return -1;
    setop->has_right = true;
    return got;
}

static int filter_next(struct eval_stream *stream, struct eval_series *out)
{
    struct setop_stream *setop = (struct setop_stream *)stream;
    size_t words = eval_words(stream->grid);
    bool is_and = setop->node->u.binary.op == OP_AND;
    if (!setop->has_right && read_right(setop) < 0)
        return -1;
    for (;;) {
        int got = setop->left->next(setop->left, out);
        if (got != 1)
            return got;
        size_t number = key_table_find(&setop->signatures,
                                       eval_group_key(stream->eval, &setop->matching, out->labels));
        if (number == KEY_TABLE_NONE && is_and)
            continue;
        if (number != KEY_TABLE_NONE)
            for (size_t w = 0; w < words; w++)
                out->present[w] &= is_and ? setop->present[number][w] : ~setop->present[number][w];
        if (eval_bits_any(out->present, words))
            return 1;
    }
}

struct or_stream {
    struct setop_stream setop; /* present: what the left side has */
    struct eval_list list;
    bool is_read;
    size_t given;
};

static int read_both(struct or_stream *both)
{
    struct setop_stream *setop = &both->setop;
    size_t words = eval_words(setop->stream.grid);
    struct eval_series series;
    int got;
    while ((got = setop->left->next(setop->left, &series)) == 1)
        if (note_presence(setop, &series) < 0 ||
            eval_list_merge(&both->list, &series, false) != NX_OK)
            return -1;
    if (got < 0)
        return -1;
    while ((got = setop->right->next(setop->right, &series)) == 1) {
        size_t number =
            key_table_find(&setop->signatures,
                           eval_group_key(setop->stream.eval, &setop->matching, series.labels));
        if (number != KEY_TABLE_NONE)
            for (size_t w = 0; w < words; w++)
                series.present[w] &= ~setop->present[number][w];
        if (eval_bits_any(series.present, words) &&
            eval_list_merge(&both->list, &series, false) != NX_OK)
            return -1;
    }
    return got;
}

static int or_next(struct eval_stream *stream, struct eval_series *out)
{
    struct or_stream *both = (struct or_stream *)stream;
    if (!both->is_read && read_both(both) < 0)
        return -1;
    both->is_read = true;
    if (both->given == both->list.count)
        return 0;
    *out = both->list.items[both->given++];
    return 1;
}

nx_code eval_setop_open(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_stream **out)
{
    struct or_stream *both = eval_alloc(eval, 1, sizeof(*both));
    if (both == NULL)
        return eval->err->code;
    struct setop_stream *setop = &both->setop;
    const struct ast_matching *matching = node->u.binary.matching;
    setop->node = node;
    key_table_init(&setop->signatures, eval->arena, eval->key_seed);
    if (!eval_names_list_init(eval, &setop->matching, matching->labels, matching->label_count,
                              !matching->is_on))
        return eval->err->code;
    nx_code code = eval_open(eval, node->u.binary.left, grid, &setop->left);
    if (code == NX_OK)
        code = eval_open(eval, node->u.binary.right, grid, &setop->right);
    if (code != NX_OK)
        return code;
    setop->stream = (struct eval_stream){
        .next = filter_next,
        .eval = eval,
        .grid = grid,
        .names = setop->left->names,
    };
    if (node->u.binary.op == OP_OR) {
        bool has_none =
            setop->left->names == EVAL_NAMES_NONE && setop->right->names == EVAL_NAMES_NONE;
        setop->stream.next = or_next;
        setop->stream.names = has_none ? EVAL_NAMES_NONE : EVAL_NAMES_ANY;
        eval_list_init(&both->list, eval, grid);
    }
    *out = &setop->stream;
    return NX_OK;
}
