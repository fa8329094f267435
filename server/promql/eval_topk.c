/* SPDX-License-Identifier: Apache-2.0 */
/* eval_topk.c - topk, bottomk, limitk, limit_ratio: whole series pass, chosen step by step.
 *
 * Each group has one heap a step, of at most k entries with the worst on top; an entry is a value and the number of its
 * series. Only series that entered a heap are kept, by their labels. The heap moves as Go's container/heap does, so
 * that of equal values the same one stays.
 *
 * Source   aggregationK in Prometheus' promql/engine.go.
 */
#include "narthex/base/assert.h"
#include "narthex/base/hash.h"

#include "eval_internal.h"
#include "eval_order.h"

#include <math.h>

/* The largest float64 below 2^63. */
#define K_MAX 9223372036854774784.0
#define K_MIN (-9223372036854775808.0)

struct entry {
    double value;
    uint32_t series;
};

struct heap {
    struct entry *entries;
    uint32_t count;
    uint32_t cap;
};

struct kept_series {
    struct labels labels;
    bool drop_name;
    double *values; /* made at the end, for series that are in a heap then */
    uint64_t *present;
};

struct topk_stream {
    struct eval_stream stream;
    const struct ast_node *node;
    enum ast_aggregate op;
    struct eval_stream *child;
    struct eval_names_list grouping;
    struct key_table keys;
    struct heap **heaps; /* by group: one heap a step */
    size_t group_count;
    size_t group_cap;
    struct kept_series *kept;
    size_t kept_count;
    size_t kept_cap;
    const double *param;
    bool is_empty; /* the parameter lets nothing pass */
    bool is_chosen;
    struct eval_series *items; /* the outcome */
    size_t item_count;
    size_t given;
};

/* topk: smaller first; NaN before all. */
static bool is_less(double a, double b)
{
    return isnan(a) || a < b;
}

/* bottomk: larger first; NaN before all. */
static bool is_more(double a, double b)
{
    return isnan(a) || a > b;
}

static bool comes_first(enum ast_aggregate op, double a, double b)
{
    return op == AGGREGATE_BOTTOMK ? is_more(a, b) : is_less(a, b);
}

static void swap_entries(struct entry *a, struct entry *b)
{
    struct entry kept = *a;
    *a = *b;
    *b = kept;
}

static void heap_up(struct heap *heap, enum ast_aggregate op, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (!comes_first(op, heap->entries[at].value, heap->entries[parent].value))
            return;
        swap_entries(&heap->entries[at], &heap->entries[parent]);
        at = parent;
    }
}

static void heap_down(struct heap *heap, enum ast_aggregate op)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= heap->count)
            return;
        if (child + 1 < heap->count &&
            comes_first(op, heap->entries[child + 1].value, heap->entries[child].value))
            child++;
        if (!comes_first(op, heap->entries[child].value, heap->entries[at].value))
            return;
        swap_entries(&heap->entries[at], &heap->entries[child]);
        at = child;
    }
}

static bool heap_append(struct topk_stream *topk, struct heap *heap, struct entry entry)
{
    struct eval *eval = topk->stream.eval;
    if (heap->count == heap->cap) {
        uint32_t cap = heap->cap == 0 ? 4 : heap->cap * 2;
        struct entry *entries = arena_grow(eval->arena, heap->entries, heap->cap * sizeof(*entries),
                                           cap * sizeof(*entries));
        if (entries == NULL) {
            nx_ignore(eval_no_memory(eval));
            return false;
        }
        heap->entries = entries;
        heap->cap = cap;
    }
    heap->entries[heap->count++] = entry;
    return eval_hold(eval, 1);
}

/* Prometheus' hash of a label set, as a part of the whole: names and values with their lengths before them. */
static double hash_ratio(struct eval *eval, struct labels labels)
{
    nx_buf_reset(&eval->key);
    for (size_t i = 0; i < labels.count; i++) {
        for (int part = 0; part < 2; part++) {
            struct nx_str text = part == 0 ? labels.items[i].name : labels.items[i].value;
            if (text.len >= 255) {
                nx_buf_append_byte(&eval->key, 255);
                nx_buf_append_byte(&eval->key, (uint8_t)text.len);
                nx_buf_append_byte(&eval->key, (uint8_t)(text.len >> 8));
                nx_buf_append_byte(&eval->key, (uint8_t)(text.len >> 16));
            } else {
                nx_buf_append_byte(&eval->key, (uint8_t)text.len);
            }
            nx_buf_append_str(&eval->key, text);
        }
    }
    return (double)nx_hash_xxh64(eval->key.data, eval->key.len) / (double)UINT64_MAX;
}

static bool ratio_passes(double limit, double offset)
{
    if (limit > 1)
        limit = 1;
    if (limit < -1)
        limit = -1;
    return limit >= 0 ? offset < limit : offset >= 1 + limit;
}

/* Whether a heap takes the value at this step, and does it. */
static bool offer(struct topk_stream *topk, struct heap *heap, size_t step, struct entry entry,
                  double offset, bool *out_taken)
{
    double param = topk->param[step];
    *out_taken = false;
    if (topk->op == AGGREGATE_LIMIT_RATIO) {
        *out_taken = ratio_passes(param, offset);
        return !*out_taken || heap_append(topk, heap, entry);
    }
    int64_t k = (int64_t)param;
    if (k < 1)
        return true;
    if (heap->count < k) {
        *out_taken = true;
        if (!heap_append(topk, heap, entry))
            return false;
        if (topk->op != AGGREGATE_LIMITK)
            heap_up(heap, topk->op, heap->count - 1);
        return true;
    }
    if (topk->op == AGGREGATE_LIMITK)
        return true;
    double worst = heap->entries[0].value;
    bool is_better = topk->op == AGGREGATE_TOPK ? worst < entry.value : worst > entry.value;
    if (!is_better && !(isnan(worst) && !isnan(entry.value)))
        return true;
    *out_taken = true;
    heap->entries[0] = entry;
    heap_down(heap, topk->op);
    return true;
}

/* The heaps of the series' group. */
static struct heap *find_heaps(struct topk_stream *topk, struct labels labels)
{
    struct eval *eval = topk->stream.eval;
    bool is_new;
    size_t number =
        key_table_put(&topk->keys, eval_group_key(eval, &topk->grouping, labels), &is_new);
    if (number == KEY_TABLE_NONE) {
        nx_ignore(eval_no_memory(eval));
        return NULL;
    }
    if (!is_new)
        return topk->heaps[number];
    if (number == topk->group_cap) {
        size_t cap = topk->group_cap == 0 ? 16 : topk->group_cap * 2;
        topk->heaps = arena_grow(eval->arena, topk->heaps, topk->group_cap * sizeof(*topk->heaps),
                                 cap * sizeof(*topk->heaps));
        if (topk->heaps == NULL) {
            nx_ignore(eval_no_memory(eval));
            return NULL;
        }
        topk->group_cap = cap;
    }
    topk->heaps[number] = eval_alloc(eval, topk->stream.grid->step_count, sizeof(struct heap));
    topk->group_count = number + 1;
    return topk->heaps[number];
}

/* Makes room for the series that would be kept next. */
static bool reserve_kept(struct topk_stream *topk)
{
    struct eval *eval = topk->stream.eval;
    if (topk->kept_count < topk->kept_cap)
        return true;
    size_t cap = topk->kept_cap == 0 ? 64 : topk->kept_cap * 2;
    topk->kept = arena_grow(eval->arena, topk->kept, topk->kept_cap * sizeof(*topk->kept),
                            cap * sizeof(*topk->kept));
    if (topk->kept == NULL || cap > UINT32_MAX) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    topk->kept_cap = cap;
    return true;
}

static bool offer_series(struct topk_stream *topk, const struct eval_series *series)
{
    struct eval *eval = topk->stream.eval;
    size_t words = eval_words(topk->stream.grid);
    struct heap *heaps = find_heaps(topk, series->labels);
    if (heaps == NULL || !reserve_kept(topk))
        return false;
    double offset = topk->op == AGGREGATE_LIMIT_RATIO ? hash_ratio(eval, series->labels) : 0;
    bool is_kept = false;
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = series->present[w]; bits != 0; bits &= bits - 1) {
            size_t step = w * 64 + eval_lowest(bits);
            struct entry entry = {series->values[step], (uint32_t)topk->kept_count};
            bool taken;
            if (!offer(topk, &heaps[step], step, entry, offset, &taken))
                return false;
            is_kept |= taken;
        }
    }
    if (!is_kept)
        return true;
    struct labels labels = labels_copy(eval->arena, series->labels);
    if (labels.count != series->labels.count) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    topk->kept[topk->kept_count++] =
        (struct kept_series){.labels = labels, .drop_name = series->drop_name};
    return true;
}

static bool put_value(struct topk_stream *topk, size_t step, const struct entry *entry)
{
    struct eval *eval = topk->stream.eval;
    struct kept_series *kept = &topk->kept[entry->series];
    if (kept->values == NULL) {
        kept->values = eval_alloc(eval, topk->stream.grid->step_count, sizeof(double));
        kept->present = eval_alloc(eval, eval_words(topk->stream.grid), sizeof(uint64_t));
        if (kept->values == NULL || kept->present == NULL)
            return false;
        topk->item_count++;
    }
    kept->values[step] = entry->value;
    eval_bit_set(kept->present, step);
    return true;
}

static struct eval_series kept_item(const struct kept_series *kept)
{
    return (struct eval_series){
        .labels = kept->labels,
        .values = kept->values,
        .present = kept->present,
        .drop_name = kept->drop_name,
    };
}

/* The final order of a heap: the best first. */
static bool entry_precedes(const void *context, size_t a, size_t b)
{
    const struct topk_stream *topk = context;
    const struct heap *heap = &topk->heaps[topk->given][0];
    return comes_first(topk->op, heap->entries[b].value, heap->entries[a].value);
}

/* One step: group by group, each from its best to its worst. */
static bool collect_ordered(struct topk_stream *topk)
{
    struct eval *eval = topk->stream.eval;
    bool is_sorted = topk->op == AGGREGATE_TOPK || topk->op == AGGREGATE_BOTTOMK;
    size_t total = 0;
    for (size_t g = 0; g < topk->group_count; g++)
        total += topk->heaps[g][0].count;
    topk->items = eval_alloc(eval, total, sizeof(*topk->items));
    size_t *order = eval_alloc(eval, 2 * total, sizeof(size_t));
    if (topk->items == NULL || order == NULL)
        return false;
    size_t at = 0;
    for (size_t g = 0; g < topk->group_count; g++) {
        const struct heap *heap = &topk->heaps[g][0];
        for (size_t i = 0; i < heap->count; i++)
            order[i] = i;
        topk->given = g; /* for entry_precedes */
        if (is_sorted)
            eval_order_sort(order, heap->count, order + total, entry_precedes, topk);
        for (size_t i = 0; i < heap->count; i++) {
            const struct entry *entry = &heap->entries[order[i]];
            if (!put_value(topk, 0, entry))
                return false;
            topk->items[at++] = kept_item(&topk->kept[entry->series]);
        }
    }
    topk->given = 0;
    topk->item_count = at;
    return true;
}

/* Several steps: the series in the order in which they came. */
static bool collect_columns(struct topk_stream *topk)
{
    for (size_t g = 0; g < topk->group_count; g++)
        for (size_t step = 0; step < topk->stream.grid->step_count; step++)
            for (size_t i = 0; i < topk->heaps[g][step].count; i++)
                if (!put_value(topk, step, &topk->heaps[g][step].entries[i]))
                    return false;
    topk->items = eval_alloc(topk->stream.eval, topk->item_count, sizeof(*topk->items));
    if (topk->items == NULL)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < topk->kept_count; i++)
        if (topk->kept[i].values != NULL)
            topk->items[at++] = kept_item(&topk->kept[i]);
    return true;
}

static bool choose(struct topk_stream *topk)
{
    struct eval_series series;
    int got;
    while ((got = topk->child->next(topk->child, &series)) == 1)
        if (!topk->is_empty && !offer_series(topk, &series))
            return false;
    if (got < 0)
        return false;
    return topk->stream.grid->step_count == 1 ? collect_ordered(topk) : collect_columns(topk);
}

static int topk_next(struct eval_stream *stream, struct eval_series *out)
{
    struct topk_stream *topk = (struct topk_stream *)stream;
    if (!topk->is_chosen && !choose(topk))
        return -1;
    topk->is_chosen = true;
    if (topk->given == topk->item_count)
        return 0;
    *out = topk->items[topk->given++];
    return 1;
}

static nx_code check_param(struct topk_stream *topk)
{
    struct eval *eval = topk->stream.eval;
    bool is_ratio = topk->op == AGGREGATE_LIMIT_RATIO;
    double lowest = INFINITY;
    double highest = -INFINITY;
    char text[32];
    for (size_t i = 0; i < topk->stream.grid->step_count; i++) {
        double param = topk->param[i];
        if (isnan(param))
            return eval_fail(eval, NX_E_EXECUTION, "%s value is NaN",
                             is_ratio ? "Ratio" : "Parameter");
        lowest = param < lowest ? param : lowest;
        highest = param > highest ? param : highest;
    }
    if (is_ratio) {
        const struct ast_node *param = ast_unwrap_parens(topk->node->u.aggregate.param);
        static const char format[] =
            "ratio value should be between -1 and 1, got %s, capping to %d";
        topk->is_empty = lowest == 0 && highest == 0;
        if (highest > 1)
            eval_annotate(eval, ANNOTATION_WARNING, param, format, eval_float_text(highest, text),
                          1);
        if (lowest < -1)
            eval_annotate(eval, ANNOTATION_WARNING, param, format, eval_float_text(lowest, text),
                          -1);
        return NX_OK;
    }
    topk->is_empty = highest < 1;
    if (topk->is_empty)
        return NX_OK;
    if (lowest <= K_MIN)
        return eval_fail(eval, NX_E_EXECUTION, "Scalar value %s underflows int64",
                         eval_float_text(lowest, text));
    if (highest >= K_MAX)
        return eval_fail(eval, NX_E_EXECUTION, "Scalar value %s overflows int64",
                         eval_float_text(highest, text));
    return NX_OK;
}

nx_code eval_topk_open(struct eval *eval, const struct ast_node *node, const struct eval_grid *grid,
                       struct eval_stream **out)
{
    struct topk_stream *topk = eval_alloc(eval, 1, sizeof(*topk));
    if (topk == NULL)
        return eval->err->code;
    topk->stream = (struct eval_stream){.next = topk_next, .eval = eval, .grid = grid};
    topk->node = node;
    topk->op = node->u.aggregate.op;
    key_table_init(&topk->keys, eval->arena, eval->key_seed);
    if (!eval_names_list_init(eval, &topk->grouping, node->u.aggregate.grouping,
                              node->u.aggregate.grouping_count, node->u.aggregate.is_without))
        return eval->err->code;
    topk->param = eval_scalar_column(eval, node->u.aggregate.param, grid);
    if (topk->param == NULL)
        return eval->err->code;
    nx_code code = check_param(topk);
    if (code == NX_OK)
        code = eval_open(eval, node->u.aggregate.expr, grid, &topk->child);
    if (code != NX_OK)
        return code;
    topk->stream.names = topk->child->names == EVAL_NAMES_NONE ? EVAL_NAMES_NONE : EVAL_NAMES_ANY;
    *out = &topk->stream;
    return NX_OK;
}
