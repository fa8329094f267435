/* SPDX-License-Identifier: Apache-2.0 */
/* eval_match.c - arithmetic and comparison of two vectors: who meets whom, step by step.
 *
 *   many side        signature        one side
 *   a{x=1,y=1} --\
 *   a{x=1,y=2} ---+---> {x=1} <------- b{x=1}
 *   a{x=2,y=1} -------> {x=2}
 *
 * Both sides are kept. The "one" side is the right one, or the left with group_right; with one-to-one matching the many
 * side must not be many either. Where the outcome is an error, it is the one that evaluation step by step meets first:
 * errors are noted with their step and the earliest is reported (rule 2 before rule 3).
 *
 * 1. A step counts only when both sides have any series there (a missing side means no result and no error).
 * 2. At such a step, two series of one signature on the "one" side are an error, matched or not.
 * 3. A second match of a signature (one-to-one), or of a signature with equal result labels (grouping), is an error,
 *    also when the comparison would drop it.
 *
 * With fill values a missing partner counts as a series with the matching labels only; then rule 1 needs one side.
 *
 * Source   VectorBinop and resultMetric in Prometheus' promql/engine.go.
 */
#include "narthex/base/assert.h"

#include "eval_internal.h"

/* Errors of one step, in the order in which Prometheus would meet them. */
enum match_failure {
    MATCH_FAILURE_DUPLICATE,
    MATCH_FAILURE_MULTIPLE,
    MATCH_FAILURE_RESULT,
    MATCH_FAILURE_NONE,
};

/* What the series of one signature are. */
struct signature {
    size_t
        one_first;  /* index + 1 of its first series on the one side, linked by one_next; 0: none */
    uint64_t *seen; /* steps with a series on the one side; only when there are several */
    uint64_t *matched; /* steps with a match, one-to-one only */
};

/* One output series. */
struct output {
    size_t signature;  /* that matched last */
    uint64_t *matched; /* steps matched, kept or not */
};

struct match {
    struct eval_stream stream;
    const struct ast_node *node;
    const struct ast_matching *matching;
    struct eval_stream *left;
    struct eval_stream *right;
    struct eval_names_list names;
    struct eval_list many;
    struct eval_list one;
    struct key_table keys;
    struct signature *signatures;
    size_t *many_signature; /* by series */
    size_t *one_signature;
    size_t *one_next;
    uint64_t *active; /* steps where rule 1 holds */
    struct eval_list outputs;
    struct output *output_notes;
    size_t output_cap;
    bool is_swapped;         /* group_right: the one side is the left */
    const double *fill_many; /* value for a missing series of the side, or NULL */
    const double *fill_one;
    enum match_failure failure;
    size_t failure_step;
    struct labels failure_labels[2]; /* the two series that clash */
    bool is_done;
    size_t given;
};

/* Keeps the earliest failure. */
static void note_failure(struct match *match, enum match_failure failure, size_t step)
{
    if (match->failure == MATCH_FAILURE_NONE || step < match->failure_step ||
        (step == match->failure_step && failure < match->failure)) {
        match->failure = failure;
        match->failure_step = step;
    }
}

static size_t first_step(const uint64_t *a, const uint64_t *b, size_t words)
{
    for (size_t w = 0; w < words; w++)
        if ((a[w] & b[w]) != 0)
            return w * 64 + eval_lowest(a[w] & b[w]);
    return SIZE_MAX;
}

static bool find_signatures(struct match *match, const struct eval_list *list, size_t *numbers)
{
    struct eval *eval = match->stream.eval;
    for (size_t i = 0; i < list->count; i++) {
        bool is_new;
        numbers[i] = key_table_put(
            &match->keys, eval_group_key(eval, &match->names, list->items[i].labels), &is_new);
        if (numbers[i] == KEY_TABLE_NONE) {
            nx_ignore(eval_no_memory(eval));
            return false;
        }
    }
    return true;
}

static bool index_sides(struct match *match)
{
    struct eval *eval = match->stream.eval;
    match->many_signature = eval_alloc(eval, match->many.count, sizeof(size_t));
    match->one_signature = eval_alloc(eval, match->one.count, sizeof(size_t));
    match->one_next = eval_alloc(eval, match->one.count, sizeof(size_t));
    if (match->many_signature == NULL || match->one_signature == NULL || match->one_next == NULL)
        return false;
    if (!find_signatures(match, &match->many, match->many_signature) ||
        !find_signatures(match, &match->one, match->one_signature))
        return false;
    match->signatures = eval_alloc(eval, match->keys.count, sizeof(*match->signatures));
    if (match->signatures == NULL)
        return false;
    for (size_t i = match->one.count; i-- > 0;) {
        struct signature *signature = &match->signatures[match->one_signature[i]];
        match->one_next[i] = signature->one_first;
        signature->one_first = i + 1;
    }
    return true;
}

/* Rule 1: the steps where anything can happen. */
static bool find_active_steps(struct match *match)
{
    size_t words = eval_words(match->stream.grid);
    match->active = eval_alloc(match->stream.eval, words, sizeof(uint64_t));
    uint64_t *many = eval_alloc(match->stream.eval, words, sizeof(uint64_t));
    if (match->active == NULL || many == NULL)
        return false;
    for (size_t i = 0; i < match->many.count; i++)
        for (size_t w = 0; w < words; w++)
            many[w] |= match->many.items[i].present[w];
    for (size_t i = 0; i < match->one.count; i++)
        for (size_t w = 0; w < words; w++)
            match->active[w] |= match->one.items[i].present[w];
    bool fills = match->fill_many != NULL || match->fill_one != NULL;
    for (size_t w = 0; w < words; w++)
        match->active[w] = fills ? match->active[w] | many[w] : match->active[w] & many[w];
    return true;
}

/* The series before `second` of its signature that is there at `step`. */
static struct labels find_first(const struct match *match, size_t second, size_t step)
{
    size_t a = match->signatures[match->one_signature[second]].one_first - 1;
    while (a != second && !eval_bit(match->one.items[a].present, step))
        a = match->one_next[a] - 1;
    return match->one.items[a].labels;
}

/* Rule 2: finds the pair of series at the earliest step; of a step, the pair whose second series comes first. */
static bool check_one_side(struct match *match)
{
    size_t words = eval_words(match->stream.grid);
    size_t second = SIZE_MAX;
    for (size_t b = 0; b < match->one.count; b++) {
        struct signature *signature = &match->signatures[match->one_signature[b]];
        const struct eval_series *series = &match->one.items[b];
        if (match->one_next[signature->one_first - 1] == 0)
            continue;
        if (signature->seen == NULL)
            signature->seen = eval_alloc(match->stream.eval, words, sizeof(uint64_t));
        if (signature->seen == NULL)
            return false;
        for (size_t w = 0; w < words; w++) {
            uint64_t both = signature->seen[w] & series->present[w] & match->active[w];
            signature->seen[w] |= series->present[w];
            if (both == 0)
                continue;
            size_t step = w * 64 + eval_lowest(both);
            if (second == SIZE_MAX || step < match->failure_step) {
                note_failure(match, MATCH_FAILURE_DUPLICATE, step);
                second = b;
            }
        }
    }
    if (second == SIZE_MAX)
        return true;
    match->failure_labels[0] = find_first(match, second, match->failure_step);
    match->failure_labels[1] = match->one.items[second].labels;
    return true;
}

/* Labels of a result; `one` has no part in them but for group_x(labels). */
static bool result_labels(struct match *match, struct labels many, struct labels one,
                          struct labels *out)
{
    struct eval *eval = match->stream.eval;
    const struct ast_matching *matching = match->matching;
    bool drops = eval_op_changes_schema(match->node->u.binary.op);
    bool drops_late = match->node->u.binary.returns_bool && !eval->options->delayed_name_removal;
    struct labels_builder builder;
    labels_builder_begin(&builder, eval->arena, many);
    for (size_t i = 0; drops && i < many.count; i++)
        if (label_is_reserved(many.items[i].name))
            labels_builder_drop(&builder, many.items[i].name);
    if (matching->card == MATCH_ONE_TO_ONE) {
        if (matching->is_on)
            labels_builder_keep(&builder, matching->labels, matching->label_count);
        else
            labels_builder_drop_all(&builder, matching->labels, matching->label_count);
    }
    for (size_t i = 0; i < matching->include_count; i++)
        labels_builder_set(&builder, matching->include[i], labels_get(one, matching->include[i]));
    if (labels_builder_finish(&builder, out) != NX_OK) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    if (!drops_late)
        return true;
    bool ok;
    *out = eval_labels_without_reserved(eval, *out, &ok);
    return ok;
}

/* The output series with these labels. `reusable`: a column that may become its own, or NULL. */
static struct eval_series *find_output(struct match *match, struct labels labels, double *reusable,
                                       bool drop_name, size_t *out_number)
{
    struct eval *eval = match->stream.eval;
    struct eval_list *outputs = &match->outputs;
    size_t words = eval_words(match->stream.grid);
    bool is_new;
    size_t number = key_table_put(&outputs->keys, eval_labels_key(eval, labels), &is_new);
    if (number == KEY_TABLE_NONE) {
        nx_ignore(eval_no_memory(eval));
        return NULL;
    }
    *out_number = number;
    if (!is_new)
        return &outputs->items[number];
    if (number == match->output_cap) {
        size_t cap = match->output_cap == 0 ? 64 : match->output_cap * 2;
        outputs->items =
            arena_grow(eval->arena, outputs->items, match->output_cap * sizeof(*outputs->items),
                       cap * sizeof(*outputs->items));
        match->output_notes = arena_grow(eval->arena, match->output_notes,
                                         match->output_cap * sizeof(*match->output_notes),
                                         cap * sizeof(*match->output_notes));
        if (outputs->items == NULL || match->output_notes == NULL) {
            nx_ignore(eval_no_memory(eval));
            return NULL;
        }
        match->output_cap = cap;
    }
    struct eval_series *series = &outputs->items[number];
    *series = (struct eval_series){
        .labels = labels,
        .values = reusable != NULL
                      ? reusable
                      : eval_alloc(eval, match->stream.grid->step_count, sizeof(double)),
        .present = eval_alloc(eval, words, sizeof(uint64_t)),
        .drop_name = drop_name,
    };
    match->output_notes[number] = (struct output){
        .signature = SIZE_MAX,
        .matched = eval_alloc(eval, words, sizeof(uint64_t)),
    };
    outputs->count++;
    if (series->values == NULL || series->present == NULL ||
        match->output_notes[number].matched == NULL)
        return NULL;
    return series;
}

/* Rule 3. `mask` are the steps of the match. */
static bool check_second_match(struct match *match, size_t number, size_t output,
                               const uint64_t *mask)
{
    size_t words = eval_words(match->stream.grid);
    struct signature *signature = &match->signatures[number];
    struct output *note = &match->output_notes[output];
    if (match->matching->card == MATCH_ONE_TO_ONE) {
        if (signature->matched == NULL)
            signature->matched = eval_alloc(match->stream.eval, words, sizeof(uint64_t));
        if (signature->matched == NULL)
            return false;
        size_t step = first_step(signature->matched, mask, words);
        if (step != SIZE_MAX)
            note_failure(match, MATCH_FAILURE_MULTIPLE, step);
        for (size_t w = 0; w < words; w++)
            signature->matched[w] |= mask[w];
    } else if (note->signature == number) {
        size_t step = first_step(note->matched, mask, words);
        if (step != SIZE_MAX)
            note_failure(match, MATCH_FAILURE_MULTIPLE, step);
    }
    for (size_t w = 0; w < words; w++)
        note->matched[w] = note->signature == number ? note->matched[w] | mask[w] : mask[w];
    note->signature = number;
    return true;
}

/* One operand of a pair: a series' column, or a fill value. */
struct operand {
    const double *values; /* NULL: the fill value */
    double fill;
};

static double operand_at(const struct operand *operand, size_t step)
{
    return operand->values != NULL ? operand->values[step] : operand->fill;
}

/* Computes the steps of `mask` into `output`. */
static void compute(struct match *match, const struct operand *many, const struct operand *one,
                    const uint64_t *mask, struct eval_series *output)
{
    const struct ast_node *node = match->node;
    size_t words = eval_words(match->stream.grid);
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = mask[w]; bits != 0; bits &= bits - 1) {
            size_t step = w * 64 + eval_lowest(bits);
            double left = operand_at(match->is_swapped ? one : many, step);
            double right = operand_at(match->is_swapped ? many : one, step);
            bool keep;
            double value = eval_float_op(node->u.binary.op, left, right, &keep);
            if (node->u.binary.returns_bool)
                value = keep ? 1 : 0;
            else if (!keep)
                continue;
            if (eval_bit(output->present, step))
                note_failure(match, MATCH_FAILURE_RESULT, step);
            output->values[step] = value;
            eval_bit_set(output->present, step);
        }
    }
}

/* A pair that meets at the steps of `mask`. Either side may be NULL: filled, with the labels of the group. */
static bool match_pair(struct match *match, size_t number, struct eval_series *many,
                       const struct eval_series *one, struct labels group, const uint64_t *mask,
                       bool may_reuse)
{
    if (!eval_bits_any(mask, eval_words(match->stream.grid)))
        return true;
    struct labels labels;
    if (!result_labels(match, many != NULL ? many->labels : group,
                       one != NULL ? one->labels : group, &labels))
        return false;
    bool drop_name = match->node->u.binary.returns_bool || (many != NULL && many->drop_name);
    size_t number_out;
    struct eval_series *output =
        find_output(match, labels, may_reuse ? many->values : NULL, drop_name, &number_out);
    if (output == NULL || !check_second_match(match, number, number_out, mask))
        return false;
    struct operand many_operand = {many != NULL ? many->values : NULL,
                                   match->fill_many != NULL ? *match->fill_many : 0};
    struct operand one_operand = {one != NULL ? one->values : NULL,
                                  match->fill_one != NULL ? *match->fill_one : 0};
    compute(match, &many_operand, &one_operand, mask, output);
    return true;
}

/* Every series of the many side with those of its signature, then (filled) with none. */
static bool match_many_side(struct match *match)
{
    struct eval *eval = match->stream.eval;
    size_t words = eval_words(match->stream.grid);
    uint64_t *mask = eval_alloc(eval, words, sizeof(uint64_t));
    uint64_t *left_over = eval_alloc(eval, words, sizeof(uint64_t));
    if (mask == NULL || left_over == NULL)
        return false;
    for (size_t i = 0; i < match->many.count; i++) {
        struct eval_series *many = &match->many.items[i];
        size_t number = match->many_signature[i];
        size_t first = match->signatures[number].one_first;
        bool may_reuse = first != 0 && match->one_next[first - 1] == 0 && match->fill_one == NULL;
        memcpy(left_over, many->present, words * sizeof(uint64_t));
        for (size_t j = first; j != 0; j = match->one_next[j - 1]) {
            const struct eval_series *one = &match->one.items[j - 1];
            if (!eval_poll(eval, 64 * words))
                return false;
            for (size_t w = 0; w < words; w++) {
                mask[w] = many->present[w] & one->present[w] & match->active[w];
                left_over[w] &= ~mask[w];
            }
            if (!match_pair(match, number, many, one, (struct labels){0}, mask, may_reuse))
                return false;
        }
        if (match->fill_one == NULL)
            continue;
        struct labels group;
        if (!eval_group_labels(eval, &match->names, many->labels, &group) ||
            !match_pair(match, number, many, NULL, group, left_over, false))
            return false;
    }
    return true;
}

/* Series of the one side that met nobody, with the fill value of the many side. */
static bool match_lonely_ones(struct match *match)
{
    struct eval *eval = match->stream.eval;
    size_t words = eval_words(match->stream.grid);
    uint64_t *met = eval_alloc(eval, match->keys.count * words, sizeof(uint64_t));
    uint64_t *mask = eval_alloc(eval, words, sizeof(uint64_t));
    if (met == NULL || mask == NULL)
        return false;
    for (size_t i = 0; i < match->many.count; i++)
        for (size_t w = 0; w < words; w++)
            met[match->many_signature[i] * words + w] |= match->many.items[i].present[w];
    for (size_t j = 0; j < match->one.count; j++) {
        struct eval_series *one = &match->one.items[j];
        size_t number = match->one_signature[j];
        for (size_t w = 0; w < words; w++)
            mask[w] = one->present[w] & ~met[number * words + w];
        struct labels group;
        if (!eval_group_labels(eval, &match->names, one->labels, &group) ||
            !match_pair(match, number, NULL, one, group, mask, false))
            return false;
    }
    return true;
}

static void fail_duplicate(struct match *match)
{
    struct eval *eval = match->stream.eval;
    struct labels *two = match->failure_labels;
    struct labels group = {0};
    if (labels_compare(two[0], two[1]) > 0) {
        struct labels swap = two[0];
        two[0] = two[1];
        two[1] = swap;
    }
    if (!eval_group_labels(eval, &match->names, two[0], &group))
        return;
    struct nx_buf text = {0};
    nx_buf_append_cstr(&text, "found duplicate series for the match group ");
    labels_print(group, &text);
    nx_buf_printf(&text, " on the %s hand-side of the operation: [",
                  match->is_swapped ? "left" : "right");
    labels_print(two[0], &text);
    nx_buf_append_cstr(&text, ", ");
    labels_print(two[1], &text);
    nx_buf_append_cstr(&text, "];many-to-many matching not allowed: matching labels must be "
                              "unique on one side");
    nx_ignore(eval_fail_text(eval, NX_E_EXECUTION, nx_buf_str(&text)));
    nx_buf_deinit(&text);
}

static bool report_failure(struct match *match)
{
    struct eval *eval = match->stream.eval;
    switch (match->failure) {
    case MATCH_FAILURE_NONE:
        return true;
    case MATCH_FAILURE_DUPLICATE:
        fail_duplicate(match);
        return false;
    case MATCH_FAILURE_MULTIPLE:
        nx_ignore(eval_fail(eval, NX_E_EXECUTION,
                            match->matching->card == MATCH_ONE_TO_ONE
                                ? "multiple matches for labels: many-to-one matching must be "
                                  "explicit (group_left/group_right)"
                                : "multiple matches for labels: grouping labels must ensure "
                                  "unique matches"));
        return false;
    case MATCH_FAILURE_RESULT:
        nx_ignore(eval_same_labels(eval));
        return false;
    }
    return false;
}

static bool is_trim(enum ast_op op)
{
    return op == OP_TRIM_UPPER || op == OP_TRIM_LOWER;
}

static bool run_match(struct match *match)
{
    struct eval *eval = match->stream.eval;
    struct eval_list *left = match->is_swapped ? &match->one : &match->many;
    struct eval_list *right = match->is_swapped ? &match->many : &match->one;
    if (eval_list_collect(left, match->left) != NX_OK ||
        eval_list_collect(right, match->right) != NX_OK)
        return false;
    if (!index_sides(match) || !find_active_steps(match))
        return false;
    if (!check_one_side(match))
        return false;
    if (match->failure == MATCH_FAILURE_DUPLICATE)
        return report_failure(match);
    if (!match_many_side(match))
        return false;
    if (match->fill_many != NULL && !match_lonely_ones(match))
        return false;
    if (!report_failure(match))
        return false;
    if (is_trim(match->node->u.binary.op) && match->outputs.count > 0)
        eval_float_trim_info(eval, match->node);
    uint64_t points = 0;
    for (size_t i = 0; i < match->outputs.count; i++)
        points += eval_bits_count(match->outputs.items[i].present, eval_words(match->stream.grid));
    return eval_hold(eval, points);
}

static int match_next(struct eval_stream *stream, struct eval_series *out)
{
    struct match *match = (struct match *)stream;
    size_t words = eval_words(stream->grid);
    if (!match->is_done && !run_match(match))
        return -1;
    match->is_done = true;
    while (match->given < match->outputs.count) {
        struct eval_series *series = &match->outputs.items[match->given++];
        if (!eval_bits_any(series->present, words))
            continue;
        *out = *series;
        return 1;
    }
    return 0;
}

static bool includes_reserved(const struct ast_matching *matching)
{
    for (size_t i = 0; i < matching->include_count; i++)
        if (label_is_reserved(matching->include[i]))
            return true;
    return false;
}

nx_code eval_match_open(struct eval *eval, const struct ast_node *node,
                        const struct eval_grid *grid, struct eval_stream **out)
{
    struct match *match = eval_alloc(eval, 1, sizeof(*match));
    if (match == NULL)
        return eval->err->code;
    const struct ast_matching *matching = node->u.binary.matching;
    bool drops = eval_op_changes_schema(node->u.binary.op) ||
                 (node->u.binary.returns_bool && !eval->options->delayed_name_removal);
    match->node = node;
    match->matching = matching;
    match->is_swapped = matching->card == MATCH_ONE_TO_MANY;
    match->failure = MATCH_FAILURE_NONE;
    /* Prometheus swaps the sides for group_right, but not the fill values: so neither do we. */
    match->fill_many = matching->has_fill_left ? &matching->fill_left : NULL;
    match->fill_one = matching->has_fill_right ? &matching->fill_right : NULL;
    key_table_init(&match->keys, eval->arena, eval->key_seed);
    eval_list_init(&match->many, eval, grid);
    eval_list_init(&match->one, eval, grid);
    eval_list_init(&match->outputs, eval, grid);
    if (!eval_names_list_init(eval, &match->names, matching->labels, matching->label_count,
                              !matching->is_on))
        return eval->err->code;
    nx_code code = eval_open(eval, node->u.binary.left, grid, &match->left);
    if (code == NX_OK)
        code = eval_open(eval, node->u.binary.right, grid, &match->right);
    if (code != NX_OK)
        return code;
    match->stream = (struct eval_stream){
        .next = match_next,
        .eval = eval,
        .grid = grid,
        .names = drops && !includes_reserved(matching) ? EVAL_NAMES_NONE : EVAL_NAMES_ANY,
    };
    *out = &match->stream;
    return NX_OK;
}
