/* SPDX-License-Identifier: Apache-2.0 */
/* eval_aggregate.c - sum, avg, count, min, max, group, stddev, stdvar, quantile, count_values: series fold into groups
 * as they come, so that memory is for the groups.
 *
 *   series ---> key of its group ---> number ---> accumulators, one of each a step
 *
 * quantile needs all values of a group, so it keeps its input. topk and its kin are in eval_topk.c.
 *
 * Source   aggregation in Prometheus' promql/engine.go; sums there are compensated, and avg turns incremental when the
 *          sum would overflow.
 */
#include "narthex/base/assert.h"
#include "narthex/base/float_text.h"

#include "eval_internal.h"

#include <math.h>
#include <stdlib.h>

struct group {
    struct labels labels;
    uint64_t *seen;        /* steps with a value */
    double *values;        /* sum, extreme, count, sum of squares: the result in the end */
    double *compensations; /* sum, avg */
    double *means;         /* avg once incremental, stddev, stdvar */
    double *counts;        /* avg, stddev, stdvar */
    uint64_t *incremental; /* avg */
    bool drop_name;
};

struct aggregate_stream {
    struct eval_stream stream;
    const struct ast_node *node;
    enum ast_aggregate op;
    struct eval_stream *child;
    struct eval_names_list grouping;
    struct key_table keys;
    struct group *groups;
    size_t group_count;
    size_t group_cap;
    const double *param;     /* quantile: a column */
    struct eval_list inputs; /* quantile */
    size_t *input_groups;
    size_t input_groups_cap;
    bool is_folded;
    size_t given;
};

static bool alloc_columns(struct aggregate_stream *aggregate, struct group *group)
{
    struct eval *eval = aggregate->stream.eval;
    size_t steps = aggregate->stream.grid->step_count;
    size_t words = eval_words(aggregate->stream.grid);
    bool is_avg = aggregate->op == AGGREGATE_AVG;
    bool is_spread = aggregate->op == AGGREGATE_STDDEV || aggregate->op == AGGREGATE_STDVAR;
    group->seen = eval_alloc(eval, words, sizeof(uint64_t));
    group->values = eval_alloc(eval, steps, sizeof(double));
    if (group->seen == NULL || group->values == NULL)
        return false;
    if (is_avg || aggregate->op == AGGREGATE_SUM) {
        group->compensations = eval_alloc(eval, steps, sizeof(double));
        if (group->compensations == NULL)
            return false;
    }
    if (is_avg) {
        group->incremental = eval_alloc(eval, words, sizeof(uint64_t));
        if (group->incremental == NULL)
            return false;
    }
    if (is_avg || is_spread) {
        group->means = eval_alloc(eval, steps, sizeof(double));
        group->counts = eval_alloc(eval, steps, sizeof(double));
        if (group->means == NULL || group->counts == NULL)
            return false;
    }
    return eval_hold(eval, steps);
}

/* Room for one more group. */
static bool reserve_group(struct aggregate_stream *aggregate)
{
    struct eval *eval = aggregate->stream.eval;
    if (aggregate->group_count < aggregate->group_cap)
        return true;
    size_t cap = aggregate->group_cap == 0 ? 16 : aggregate->group_cap * 2;
    struct group *groups =
        arena_grow(eval->arena, aggregate->groups, aggregate->group_cap * sizeof(*groups),
                   cap * sizeof(*groups));
    if (groups == NULL) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    aggregate->groups = groups;
    aggregate->group_cap = cap;
    return true;
}

/* The number of the series' group, KEY_TABLE_NONE: failed. */
static size_t find_group(struct aggregate_stream *aggregate, struct labels labels)
{
    struct eval *eval = aggregate->stream.eval;
    bool is_new;
    size_t number = key_table_put(&aggregate->keys,
                                  eval_group_key(eval, &aggregate->grouping, labels), &is_new);
    if (number == KEY_TABLE_NONE) {
        nx_ignore(eval_no_memory(eval));
        return KEY_TABLE_NONE;
    }
    if (!is_new)
        return number;
    if (!reserve_group(aggregate))
        return KEY_TABLE_NONE;
    struct group *group = &aggregate->groups[aggregate->group_count++];
    *group = (struct group){0};
    if (!eval_group_labels(eval, &aggregate->grouping, labels, &group->labels) ||
        !alloc_columns(aggregate, group))
        return KEY_TABLE_NONE;
    return number;
}

/* The fold functions take 64 steps at a time: `fresh` are those that the group sees first, `again` the others. */

/* eval_kahan_add for 64 steps, without branches, so that it becomes vector code. */
static void fold_sum_64(const double *restrict x, double *restrict sums,
                        double *restrict compensations)
{
    for (size_t i = 0; i < 64; i++) {
        double total = sums[i] + x[i];
        double if_larger = (sums[i] - total) + x[i];
        double if_smaller = (x[i] - total) + sums[i];
        double more = __builtin_fabs(sums[i]) >= __builtin_fabs(x[i]) ? if_larger : if_smaller;
        double compensation = compensations[i] + more;
        compensations[i] = __builtin_fabs(total) == INFINITY ? 0 : compensation;
        sums[i] = total;
    }
}

static void fold_sum(struct group *group, const double *x, size_t base, uint64_t fresh,
                     uint64_t again)
{
    for (uint64_t bits = fresh; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        group->values[i] = x[i];
    }
    if (again == UINT64_MAX) {
        fold_sum_64(x + base, group->values + base, group->compensations + base);
        return;
    }
    for (uint64_t bits = again; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        eval_kahan_add(x[i], &group->values[i], &group->compensations[i]);
    }
}

static void fold_avg_step(struct group *group, size_t i, double x)
{
    double count = ++group->counts[i];
    if (!eval_bit(group->incremental, i)) {
        double sum = group->values[i];
        double compensation = group->compensations[i];
        eval_kahan_add(x, &sum, &compensation);
        if (!isinf(sum)) {
            group->values[i] = sum;
            group->compensations[i] = compensation;
            return;
        }
        eval_bit_set(group->incremental, i);
        group->means[i] = group->values[i] / (count - 1);
        group->compensations[i] /= count - 1;
    }
    double weight = (count - 1) / count;
    group->means[i] *= weight;
    group->compensations[i] *= weight;
    eval_kahan_add(x / count, &group->means[i], &group->compensations[i]);
}

static void fold_avg(struct group *group, const double *x, size_t base, uint64_t fresh,
                     uint64_t again)
{
    for (uint64_t bits = fresh; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        group->values[i] = x[i];
        group->means[i] = x[i];
        group->counts[i] = 1;
    }
    for (uint64_t bits = again; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        fold_avg_step(group, i, x[i]);
    }
}

static void fold_spread(struct group *group, const double *x, size_t base, uint64_t fresh,
                        uint64_t again)
{
    for (uint64_t bits = fresh; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        group->values[i] = isfinite(x[i]) ? 0 : NAN;
        group->means[i] = x[i];
        group->counts[i] = 1;
    }
    for (uint64_t bits = again; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        double delta = x[i] - group->means[i];
        group->counts[i]++;
        group->means[i] += delta / group->counts[i];
        group->values[i] += delta * (x[i] - group->means[i]);
    }
}

static void fold_count(struct group *group, size_t base, uint64_t fresh, uint64_t again)
{
    for (uint64_t bits = fresh; bits != 0; bits &= bits - 1)
        group->values[base + eval_lowest(bits)] = 1;
    for (uint64_t bits = again; bits != 0; bits &= bits - 1)
        group->values[base + eval_lowest(bits)]++;
}

static void fold_extreme(struct group *group, const double *x, size_t base, uint64_t fresh,
                         uint64_t again, bool is_max)
{
    for (uint64_t bits = fresh; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        group->values[i] = x[i];
    }
    for (uint64_t bits = again; bits != 0; bits &= bits - 1) {
        size_t i = base + eval_lowest(bits);
        double so_far = group->values[i];
        if ((is_max ? so_far < x[i] : so_far > x[i]) || isnan(so_far))
            group->values[i] = x[i];
    }
}

static void fold_group(struct group *group, size_t base, uint64_t fresh)
{
    for (uint64_t bits = fresh; bits != 0; bits &= bits - 1)
        group->values[base + eval_lowest(bits)] = 1;
}

static void fold_word(enum ast_aggregate op, struct group *group, const double *x, size_t base,
                      uint64_t fresh, uint64_t again)
{
    switch (op) {
    case AGGREGATE_SUM:
        fold_sum(group, x, base, fresh, again);
        break;
    case AGGREGATE_AVG:
        fold_avg(group, x, base, fresh, again);
        break;
    case AGGREGATE_COUNT:
        fold_count(group, base, fresh, again);
        break;
    case AGGREGATE_MIN:
    case AGGREGATE_MAX:
        fold_extreme(group, x, base, fresh, again, op == AGGREGATE_MAX);
        break;
    case AGGREGATE_GROUP:
        fold_group(group, base, fresh);
        break;
    case AGGREGATE_STDDEV:
    case AGGREGATE_STDVAR:
        fold_spread(group, x, base, fresh, again);
        break;
    case AGGREGATE_QUANTILE:
    case AGGREGATE_TOPK:
    case AGGREGATE_BOTTOMK:
    case AGGREGATE_COUNT_VALUES:
    case AGGREGATE_LIMITK:
    case AGGREGATE_LIMIT_RATIO:
    case AGGREGATE_COUNT_OF:
        break;
    }
}

/* quantile: keeps the series, and whose it is. */
static bool keep_input(struct aggregate_stream *aggregate, const struct eval_series *series,
                       size_t number)
{
    struct eval *eval = aggregate->stream.eval;
    size_t at = aggregate->inputs.count;
    if (at == aggregate->input_groups_cap) {
        size_t cap = at == 0 ? 64 : at * 2;
        size_t *groups = arena_grow(eval->arena, aggregate->input_groups, at * sizeof(*groups),
                                    cap * sizeof(*groups));
        if (groups == NULL) {
            nx_ignore(eval_no_memory(eval));
            return false;
        }
        aggregate->input_groups = groups;
        aggregate->input_groups_cap = cap;
    }
    aggregate->input_groups[at] = number;
    struct eval_series bare = *series;
    bare.labels = (struct labels){0};
    return eval_list_add(&aggregate->inputs, &bare) == NX_OK;
}

static bool fold_series(struct aggregate_stream *aggregate, const struct eval_series *series)
{
    size_t words = eval_words(aggregate->stream.grid);
    size_t number = find_group(aggregate, series->labels);
    if (number == KEY_TABLE_NONE)
        return false;
    struct group *group = &aggregate->groups[number];
    group->drop_name |= series->drop_name;
    for (size_t w = 0; w < words; w++) {
        uint64_t bits = series->present[w];
        uint64_t seen = group->seen[w];
        fold_word(aggregate->op, group, series->values, w * 64, bits & ~seen, bits & seen);
        group->seen[w] = seen | bits;
    }
    if (aggregate->op == AGGREGATE_QUANTILE)
        return keep_input(aggregate, series, number);
    return true;
}

/* Turns accumulators into results, in place. */
static void finish_group(enum ast_aggregate op, struct group *group, size_t words)
{
    for (size_t w = 0; w < words; w++) {
        for (uint64_t bits = group->seen[w]; bits != 0; bits &= bits - 1) {
            size_t i = w * 64 + eval_lowest(bits);
            if (op == AGGREGATE_SUM)
                group->values[i] += group->compensations[i];
            else if (op == AGGREGATE_AVG && eval_bit(group->incremental, i))
                group->values[i] = group->means[i] + group->compensations[i];
            else if (op == AGGREGATE_AVG)
                group->values[i] = group->values[i] / group->counts[i] +
                                   group->compensations[i] / group->counts[i];
            else if (op == AGGREGATE_STDVAR)
                group->values[i] /= group->counts[i];
            else if (op == AGGREGATE_STDDEV)
                group->values[i] = sqrt(group->values[i] / group->counts[i]);
        }
    }
}

static int compare_values(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void swap_values(double *a, double *b)
{
    double kept = *a;
    *a = *b;
    *b = kept;
}

/* Moves values so that values[wanted] is what it would be if all were sorted, and none before it is larger, none after
 * it smaller. No NaN among them. Splits around the middle of three; after too many bad splits it sorts. */
static void select_value(double *values, size_t count, size_t wanted)
{
    size_t low = 0;
    size_t high = count - 1;
    for (int splits = 0; high - low > 8 && splits < 64; splits++) {
        size_t middle = low + (high - low) / 2;
        if (values[middle] < values[low])
            swap_values(&values[middle], &values[low]);
        if (values[high] < values[low])
            swap_values(&values[high], &values[low]);
        if (values[high] < values[middle])
            swap_values(&values[high], &values[middle]);
        double pivot = values[middle];
        size_t left = low;
        size_t right = high;
        while (left <= right) {
            while (values[left] < pivot)
                left++;
            while (pivot < values[right])
                right--;
            if (left > right)
                break;
            swap_values(&values[left++], &values[right--]);
        }
        if (wanted <= right)
            high = right;
        else if (wanted >= left)
            low = left;
        else
            return;
    }
    qsort(values + low, high - low + 1, sizeof(*values), compare_values);
}

/* Brings NaNs, which sort first, to the front; their number. */
static size_t front_nans(double *values, size_t count)
{
    size_t nans = 0;
    for (size_t i = 0; i < count; i++)
        if (isnan(values[i]))
            swap_values(&values[i], &values[nans++]);
    return nans;
}

double eval_quantile(double q, double *values, size_t count)
{
    if (count == 0 || isnan(q))
        return NAN;
    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    double n = (double)count;
    double rank = q * (n - 1);
    double lower = fmax(0, floor(rank));
    double upper = fmin(n - 1, lower + 1);
    double weight = rank - floor(rank);
    size_t at = (size_t)lower;
    size_t nans = front_nans(values, count);
    if (at >= nans)
        select_value(values + nans, count - nans, at - nans);
    double low = values[at];
    double high = low;
    if (upper > lower) {
        high = values[at + 1];
        for (size_t i = at + 2; i < count && at + 1 >= nans; i++)
            high = values[i] < high ? values[i] : high;
    }
    return low * (1 - weight) + high * weight;
}

/* Step by step over the kept series, sorted by group: `order` lists them so. */
static bool finish_quantiles(struct aggregate_stream *aggregate)
{
    struct eval *eval = aggregate->stream.eval;
    size_t count = aggregate->inputs.count;
    size_t *starts = eval_alloc(eval, aggregate->group_count + 2, sizeof(size_t));
    size_t *order = eval_alloc(eval, count, sizeof(size_t));
    double *values = eval_alloc(eval, count, sizeof(double));
    if (starts == NULL || order == NULL || values == NULL)
        return false;
    /* A counting sort: starts[g + 1] is where group g begins, and where it ends once its series are placed. */
    for (size_t i = 0; i < count; i++)
        starts[aggregate->input_groups[i] + 2]++;
    for (size_t g = 2; g < aggregate->group_count + 2; g++)
        starts[g] += starts[g - 1];
    for (size_t i = 0; i < count; i++)
        order[starts[aggregate->input_groups[i] + 1]++] = i;
    for (size_t g = 0; g < aggregate->group_count; g++) {
        struct group *group = &aggregate->groups[g];
        uint64_t work = aggregate->stream.grid->step_count * (starts[g + 1] - starts[g]);
        if (!eval_poll(eval, work))
            return false;
        for (size_t step = 0; step < aggregate->stream.grid->step_count; step++) {
            size_t held = 0;
            for (size_t i = starts[g]; i < starts[g + 1]; i++) {
                const struct eval_series *input = &aggregate->inputs.items[order[i]];
                if (eval_bit(input->present, step))
                    values[held++] = input->values[step];
            }
            if (held > 0)
                group->values[step] = eval_quantile(aggregate->param[step], values, held);
        }
    }
    return true;
}

static void check_quantiles(struct aggregate_stream *aggregate)
{
    double lowest = INFINITY;
    double highest = -INFINITY;
    bool has_nan = false;
    char text[32];
    for (size_t i = 0; i < aggregate->stream.grid->step_count; i++) {
        double q = aggregate->param[i];
        has_nan |= isnan(q);
        lowest = q < lowest ? q : lowest;
        highest = q > highest ? q : highest;
    }
    const struct ast_node *param = ast_unwrap_parens(aggregate->node->u.aggregate.param);
    static const char format[] = "quantile value should be between 0 and 1, got %s";
    if (has_nan)
        eval_annotate(aggregate->stream.eval, ANNOTATION_WARNING, param, format, "NaN");
    if (highest > 1)
        eval_annotate(aggregate->stream.eval, ANNOTATION_WARNING, param, format,
                      eval_float_text(highest, text));
    if (lowest < 0)
        eval_annotate(aggregate->stream.eval, ANNOTATION_WARNING, param, format,
                      eval_float_text(lowest, text));
}

/* count_values: the value's text becomes a label, and every (group, value) counts on its own. */
static bool count_value(struct aggregate_stream *aggregate, const struct eval_series *series,
                        size_t step)
{
    struct eval *eval = aggregate->stream.eval;
    char text[FLOAT_TEXT_MAX];
    size_t length = float_text_f(text, series->values[step]);
    struct labels_builder builder;
    struct labels labels;
    struct arena_mark mark = arena_mark(eval->arena);
    labels_builder_begin(&builder, eval->arena, series->labels);
    labels_builder_set(&builder, eval_string(aggregate->node->u.aggregate.param),
                       (struct nx_str){.data = text, .len = length});
    if (labels_builder_finish(&builder, &labels) != NX_OK) {
        nx_ignore(eval_no_memory(eval));
        return false;
    }
    size_t known =
        key_table_find(&aggregate->keys, eval_group_key(eval, &aggregate->grouping, labels));
    if (known != KEY_TABLE_NONE)
        arena_rewind(eval->arena, mark); /* the common case leaves nothing behind */
    else
        known = find_group(aggregate, labels);
    if (known == KEY_TABLE_NONE)
        return false;
    struct group *group = &aggregate->groups[known];
    group->values[step] = eval_bit(group->seen, step) ? group->values[step] + 1 : 1;
    eval_bit_set(group->seen, step);
    return true;
}

static bool count_series(struct aggregate_stream *aggregate, const struct eval_series *series)
{
    size_t words = eval_words(aggregate->stream.grid);
    for (size_t w = 0; w < words; w++)
        for (uint64_t bits = series->present[w]; bits != 0; bits &= bits - 1)
            if (!count_value(aggregate, series, w * 64 + eval_lowest(bits)))
                return false;
    return true;
}

static bool fold_all(struct aggregate_stream *aggregate)
{
    struct eval_series series;
    int got;
    while ((got = aggregate->child->next(aggregate->child, &series)) == 1) {
        bool ok = aggregate->op == AGGREGATE_COUNT_VALUES ? count_series(aggregate, &series)
                                                          : fold_series(aggregate, &series);
        if (!ok)
            return false;
    }
    if (got < 0)
        return false;
    size_t words = eval_words(aggregate->stream.grid);
    if (aggregate->op == AGGREGATE_QUANTILE)
        return finish_quantiles(aggregate);
    for (size_t g = 0; g < aggregate->group_count; g++)
        finish_group(aggregate->op, &aggregate->groups[g], words);
    return true;
}

static int aggregate_next(struct eval_stream *stream, struct eval_series *out)
{
    struct aggregate_stream *aggregate = (struct aggregate_stream *)stream;
    if (!aggregate->is_folded && !fold_all(aggregate))
        return -1;
    aggregate->is_folded = true;
    if (aggregate->given == aggregate->group_count)
        return 0;
    struct group *group = &aggregate->groups[aggregate->given++];
    *out = (struct eval_series){
        .labels = group->labels,
        .values = group->values,
        .present = group->seen,
        .drop_name = group->drop_name,
    };
    return 1;
}

/* count_values: checks the label's name, and makes it part of by(). */
static nx_code prepare_count_values(struct aggregate_stream *aggregate)
{
    struct eval *eval = aggregate->stream.eval;
    const struct ast_node *node = aggregate->node;
    struct nx_str name = eval_string(node->u.aggregate.param);
    if (name.len == 0 || !nx_utf8_is_valid(name)) {
        struct nx_str quoted = eval_quoted(eval, 0, name);
        return eval_fail(eval, NX_E_EXECUTION, "invalid label name %.*s", NX_STR_ARGS(quoted));
    }
    if (node->u.aggregate.is_without)
        return NX_OK;
    size_t count = node->u.aggregate.grouping_count;
    struct nx_str *names = eval_alloc(eval, count + 1, sizeof(*names));
    if (names == NULL)
        return eval->err->code;
    if (count > 0)
        memcpy(names, node->u.aggregate.grouping, count * sizeof(*names));
    names[count] = name;
    return eval_names_list_init(eval, &aggregate->grouping, names, count + 1, false)
               ? NX_OK
               : eval->err->code;
}

static enum eval_names grouping_names(const struct eval_names_list *grouping)
{
    if (grouping->is_without)
        return EVAL_NAMES_ANY; /* __type__ and __unit__ may be left */
    for (size_t i = 0; i < grouping->count; i++)
        if (label_is_reserved(grouping->names[i]))
            return EVAL_NAMES_ANY;
    return EVAL_NAMES_NONE;
}

nx_code eval_aggregate_open(struct eval *eval, const struct ast_node *node,
                            const struct eval_grid *grid, struct eval_stream **out)
{
    enum ast_aggregate op = node->u.aggregate.op;
    if (op == AGGREGATE_TOPK || op == AGGREGATE_BOTTOMK || op == AGGREGATE_LIMITK ||
        op == AGGREGATE_LIMIT_RATIO)
        return eval_topk_open(eval, node, grid, out);
    struct aggregate_stream *aggregate = eval_alloc(eval, 1, sizeof(*aggregate));
    if (aggregate == NULL)
        return eval->err->code;
    aggregate->stream = (struct eval_stream){.next = aggregate_next, .eval = eval, .grid = grid};
    aggregate->node = node;
    aggregate->op = op;
    key_table_init(&aggregate->keys, eval->arena, eval->key_seed);
    eval_list_init(&aggregate->inputs, eval, grid);
    if (!eval_names_list_init(eval, &aggregate->grouping, node->u.aggregate.grouping,
                              node->u.aggregate.grouping_count, node->u.aggregate.is_without))
        return eval->err->code;
    nx_code code = NX_OK;
    if (op == AGGREGATE_COUNT_VALUES)
        code = prepare_count_values(aggregate);
    if (code == NX_OK && op == AGGREGATE_QUANTILE) {
        aggregate->param = eval_scalar_column(eval, node->u.aggregate.param, grid);
        code = aggregate->param == NULL ? eval->err->code : NX_OK;
        if (code == NX_OK)
            check_quantiles(aggregate);
    }
    if (code == NX_OK)
        code = eval_open(eval, node->u.aggregate.expr, grid, &aggregate->child);
    if (code != NX_OK)
        return code;
    aggregate->stream.names = grouping_names(&aggregate->grouping);
    *out = &aggregate->stream;
    return NX_OK;
}
