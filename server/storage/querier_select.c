/* SPDX-License-Identifier: Apache-2.0
 *
 * querier_select.c - a k-way merge in label order over the head and every block that overlaps the range.
 *
 * In       matchers, a range.
 * Out      a series_set: each series once, its columns gathered from all inputs that hold it.
 * Fails    NX_E_LIMIT (the query's memory), NX_E_CANCELLED, NX_E_TIMEOUT (the set outlived a flush by minutes). What
 *          a disk refuses or what does not verify is left out, with a warning.
 *
 * Inputs are few (a block a day, some more for today), so the smallest labels are found by one pass that compares
 * each input once and collects those that are equal. Columns of inputs mostly follow each other in time and are
 * appended; only where they overlap are they merged, the earlier input winning equal times.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include "querier_internal.h"

#include <string.h>

/* One source of series in label order: a block with its ranks, or (block NULL) the head with its series. */
struct input {
    struct block *block; /* referenced by the set's snapshot */
    struct block_reader *reader;
    const struct tombstones *tombstones; /* the snapshot's; NULL: nothing is deleted */
    const uint32_t *ranks;
    const struct head_series *series;
    size_t count;
    size_t next;          /* index of the current series */
    struct labels labels; /* of the current series; valid until the input advances */
};

struct columns {
    struct nx_buf times_ms;
    struct nx_buf values;
};

struct querier_set {
    struct series_set set; /* first: the set is this */
    struct querier *querier;
    struct series_hints hints;
    struct series_warnings *warnings;
    int64_t min_ms, max_ms;
    struct block_snapshot snapshot;
    struct input *inputs; /* in order of precedence */
    size_t input_count;
    size_t *equal; /* inputs that hold the series at hand */
    size_t equal_count;
    struct columns gathered, piece, merged; /* reused from series to series */
    /* struct histogram_sample; what they point to is in the arena, which begins anew with each series */
    struct nx_buf gathered_histograms, piece_histograms, merged_histograms;
    struct arena histogram_arena;
    struct nx_buf deleted; /* struct time_range of one input's series */
    struct head_view view; /* keeps in the head what the snapshot's blocks lack */
    struct nx_buf label_items,
        label_text; /* labels of the series at hand: reading samples moves a reader on */
    struct labels labels;
    size_t emitted;
};

static size_t column_count(const struct columns *columns)
{
    return columns->times_ms.len / sizeof(int64_t);
}

static const int64_t *column_times(const struct columns *columns)
{
    return (const int64_t *)(const void *)columns->times_ms.data;
}

static const double *column_values(const struct columns *columns)
{
    return (const double *)(const void *)columns->values.data;
}

static void columns_reset(struct columns *columns)
{
    nx_buf_reset(&columns->times_ms);
    nx_buf_reset(&columns->values);
}

static void columns_deinit(struct columns *columns)
{
    nx_buf_deinit(&columns->times_ms);
    nx_buf_deinit(&columns->values);
}

static void columns_push(struct columns *columns, const struct columns *from, size_t begin,
                         size_t count)
{
    nx_buf_append(&columns->times_ms, column_times(from) + begin, count * sizeof(int64_t));
    nx_buf_append(&columns->values, column_values(from) + begin, count * sizeof(double));
}

/* `later` into `set->gathered`: appended when it follows, else merged; of equal times the gathered one stays. */
static void gather(struct querier_set *set, const struct columns *later)
{
    size_t a = 0, b = 0, a_count = column_count(&set->gathered), b_count = column_count(later);
    if (b_count == 0)
        return;
    const int64_t *a_times = column_times(&set->gathered), *b_times = column_times(later);
    if (a_count == 0 || a_times[a_count - 1] < b_times[0]) {
        columns_push(&set->gathered, later, 0, b_count);
        return;
    }
    columns_reset(&set->merged);
    while (a < a_count && b < b_count) {
        size_t begin = a;
        while (a < a_count && a_times[a] < b_times[b])
            a++;
        columns_push(&set->merged, &set->gathered, begin, a - begin);
        if (a == a_count)
            break;
        if (a_times[a] == b_times[b])
            b++;
        begin = b;
        while (b < b_count && b_times[b] < a_times[a])
            b++;
        columns_push(&set->merged, later, begin, b - begin);
    }
    columns_push(&set->merged, &set->gathered, a, a_count - a);
    columns_push(&set->merged, later, b, b_count - b);
    struct columns swap = set->gathered;
    set->gathered = set->merged;
    set->merged = swap;
}

/* ---- histograms ---- */

static size_t histogram_count(const struct nx_buf *histograms)
{
    return histograms->len / sizeof(struct histogram_sample);
}

static const struct histogram_sample *histogram_items(const struct nx_buf *histograms)
{
    return (const struct histogram_sample *)(const void *)histograms->data;
}

/* `piece_histograms` into `gathered_histograms`; of equal times the gathered one stays. */
static void gather_histograms(struct querier_set *set)
{
    size_t a = 0, a_count = histogram_count(&set->gathered_histograms);
    size_t b = 0, b_count = histogram_count(&set->piece_histograms);
    const struct histogram_sample *old = histogram_items(&set->gathered_histograms);
    const struct histogram_sample *young = histogram_items(&set->piece_histograms);
    nx_buf_reset(&set->merged_histograms);
    while (a < a_count || b < b_count) {
        bool is_old = b == b_count || (a < a_count && old[a].time_ms <= young[b].time_ms);
        if (is_old && b < b_count && old[a].time_ms == young[b].time_ms)
            b++;
        nx_buf_append(&set->merged_histograms, is_old ? &old[a++] : &young[b++], sizeof(*old));
    }
    struct nx_buf swap = set->gathered_histograms;
    set->gathered_histograms = set->merged_histograms;
    set->merged_histograms = swap;
}

/* A float and a histogram of one time: what was gathered before stays. */
static void drop_taken(struct querier_set *set)
{
    const struct histogram_sample *old = histogram_items(&set->gathered_histograms);
    size_t old_count = histogram_count(&set->gathered_histograms);
    int64_t *times = (int64_t *)(void *)set->piece.times_ms.data;
    double *values = (double *)(void *)set->piece.values.data;
    size_t count = column_count(&set->piece), kept = 0;
    for (size_t i = 0, at = 0; i < count; i++) {
        while (at < old_count && old[at].time_ms < times[i])
            at++;
        if (at < old_count && old[at].time_ms == times[i])
            continue;
        times[kept] = times[i];
        values[kept++] = values[i];
    }
    set->piece.times_ms.len = kept * sizeof(*times);
    set->piece.values.len = kept * sizeof(*values);

    struct histogram_sample *young = (struct histogram_sample *)(void *)set->piece_histograms.data;
    const int64_t *old_times = column_times(&set->gathered);
    size_t old_floats = column_count(&set->gathered);
    count = histogram_count(&set->piece_histograms);
    kept = 0;
    for (size_t i = 0, at = 0; i < count; i++) {
        while (at < old_floats && old_times[at] < young[i].time_ms)
            at++;
        if (at == old_floats || old_times[at] != young[i].time_ms)
            young[kept++] = young[i];
    }
    set->piece_histograms.len = kept * sizeof(*young);
}

static bool is_damage(nx_code code)
{
    return code == NX_E_CORRUPT || code == NX_E_IO;
}

/* Copies labels that their reader is about to overwrite. */
static void keep_labels(struct querier_set *set, struct labels labels)
{
    size_t text = 0;
    for (size_t i = 0; i < labels.count; i++)
        text += labels.items[i].name.len + labels.items[i].value.len;
    nx_buf_reset(&set->label_items);
    nx_buf_reset(&set->label_text);
    uint8_t *memory = nx_buf_extend(&set->label_items, labels.count * sizeof(struct label));
    struct label *items = (struct label *)(void *)memory;
    char *next = (char *)nx_buf_extend(&set->label_text, text);
    for (size_t i = 0; i < labels.count; i++) {
        const struct nx_str *from[2] = {&labels.items[i].name, &labels.items[i].value};
        struct nx_str *to[2] = {&items[i].name, &items[i].value};
        for (unsigned k = 0; k < 2; k++) {
            if (from[k]->len > 0)
                memcpy(next, from[k]->data, from[k]->len);
            *to[k] = (struct nx_str){.data = next, .len = from[k]->len};
            next += from[k]->len;
        }
    }
    set->labels = (struct labels){.items = items, .count = labels.count};
}

static nx_code check_memory(const struct querier_set *set, struct nx_err *err)
{
    const struct arena *arena = set->hints.arena;
    if (arena->budget_bytes == 0)
        return NX_OK;
    size_t used = arena_usage(arena) + set->gathered.times_ms.cap + set->gathered.values.cap +
                  set->piece.times_ms.cap + set->piece.values.cap + set->merged.times_ms.cap +
                  set->merged.values.cap + arena_usage(&set->histogram_arena) +
                  set->gathered_histograms.cap + set->piece_histograms.cap +
                  set->merged_histograms.cap;
    if (used <= arena->budget_bytes)
        return NX_OK;
    return nx_err_set(err, NX_E_LIMIT,
                      "the samples of one series need more than the %zu bytes that a query may use",
                      arena->budget_bytes);
}

/* Loads the labels of the input's current series. A block that fails here is dropped: *input ends. */
static nx_code load_labels(struct querier_set *set, struct input *input, struct nx_err *err)
{
    if (input->next == input->count)
        return NX_OK;
    if (input->block == NULL) {
        input->labels = input->series[input->next].labels;
        return NX_OK;
    }
    nx_code code =
        block_reader_labels(input->reader, input->ranks[input->next], &input->labels, NULL, err);
    if (!is_damage(code))
        return code;
    querier_drop_block(set->querier, input->block, set->warnings, set->hints.arena, err);
    input->next = input->count;
    return NX_OK;
}

/* Fills set->equal with the inputs that hold the smallest labels; 0 when all have ended. */
static void find_smallest(struct querier_set *set)
{
    set->equal_count = 0;
    for (size_t i = 0; i < set->input_count; i++) {
        const struct input *input = &set->inputs[i];
        if (input->next == input->count)
            continue;
        int order = set->equal_count == 0
                        ? -1
                        : labels_compare(input->labels, set->inputs[set->equal[0]].labels);
        if (order < 0)
            set->equal_count = 0;
        if (order <= 0)
            set->equal[set->equal_count++] = i;
    }
}

static nx_code advance_equal(struct querier_set *set, struct nx_err *err)
{
    for (size_t i = 0; i < set->equal_count; i++) {
        struct input *input = &set->inputs[set->equal[i]];
        input->next++;
        nx_code code = load_labels(set, input, err);
        if (code != NX_OK)
            return code;
    }
    set->equal_count = 0;
    return NX_OK;
}

static nx_code read_head(struct querier_set *set, const struct head_series *series,
                         struct nx_err *err)
{
    struct head *head = set->querier->head;
    nx_code code = head_read(head, series->ref, set->min_ms, set->max_ms, &set->piece.times_ms,
                             &set->piece.values, err);
    if (code == NX_OK && series->has_side)
        code = head_read_histograms(head, series->ref, set->min_ms, set->max_ms,
                                    &set->histogram_arena, &set->piece_histograms, err);
    if (code == NX_OK &&
        head_view_is_expired(&set->view)) /* asked after the read: it may lack something */
        return nx_err_set(err, NX_E_TIMEOUT,
                          "the query ran on while what it reads was moved to disk");
    return code;
}

/* Takes out of the pieces what is deleted of the input's series at hand. */
static void mask_piece(struct querier_set *set, const struct input *input)
{
    uint32_t rank = input->ranks[input->next];
    if (!tombstones_has(input->tombstones, rank))
        return;
    nx_buf_reset(&set->deleted);
    tombstones_ranges(input->tombstones, rank, &set->deleted);
    const struct time_range *ranges = (const struct time_range *)(const void *)set->deleted.data;
    size_t range_count = set->deleted.len / sizeof(*ranges);
    size_t left =
        time_ranges_filter(ranges, range_count, (int64_t *)(void *)set->piece.times_ms.data,
                           (double *)(void *)set->piece.values.data, column_count(&set->piece));
    set->piece.times_ms.len = left * sizeof(int64_t);
    set->piece.values.len = left * sizeof(double);
    struct histogram_sample *histograms =
        (struct histogram_sample *)(void *)set->piece_histograms.data;
    size_t kept = time_ranges_filter_histograms(ranges, range_count, histograms,
                                                histogram_count(&set->piece_histograms));
    set->piece_histograms.len = kept * sizeof(*histograms);
}

/* Reads the series at hand from one input into the pieces. A damaged group leaves them empty, with a warning. */
static nx_code read_piece(struct querier_set *set, const struct input *input, struct nx_err *err)
{
    columns_reset(&set->piece);
    nx_buf_reset(&set->piece_histograms);
    if (input->block == NULL)
        return read_head(set, &input->series[input->next], err);
    uint32_t rank = input->ranks[input->next];
    nx_code code = block_reader_samples(input->reader, rank, set->min_ms, set->max_ms,
                                        &set->piece.times_ms, &set->piece.values, err);
    if (code == NX_OK && block_meta(input->block)->histogram_count > 0)
        code = block_reader_histograms(input->reader, rank, set->min_ms, set->max_ms,
                                       &set->histogram_arena, &set->piece_histograms, err);
    if (code == NX_OK)
        mask_piece(set, input);
    if (!is_damage(code))
        return code;
    querier_warn(set->warnings, set->hints.arena,
                 "block %s: a damaged group of chunks is left out: %s",
                 block_meta(input->block)->ulid, err->msg);
    columns_reset(&set->piece);
    nx_buf_reset(&set->piece_histograms);
    return NX_OK;
}

static nx_code gather_equal(struct querier_set *set, struct nx_err *err)
{
    columns_reset(&set->gathered);
    nx_buf_reset(&set->gathered_histograms);
    arena_reset(&set->histogram_arena);
    for (size_t i = 0; i < set->equal_count; i++) {
        nx_code code = read_piece(set, &set->inputs[set->equal[i]], err);
        if (code != NX_OK)
            return code;
        if (set->gathered_histograms.len + set->piece_histograms.len > 0) {
            drop_taken(set);
            gather_histograms(set);
        }
        gather(set, &set->piece);
    }
    return check_memory(set, err);
}

/* For hints that want labels only: whether the series at hand has anything in the range. */
static nx_code any_overlaps(struct querier_set *set, bool *out_overlaps, struct nx_err *err)
{
    *out_overlaps = false;
    for (size_t i = 0; i < set->equal_count && !*out_overlaps; i++) {
        const struct input *input = &set->inputs[set->equal[i]];
        if (input->block == NULL || tombstones_has(input->tombstones, input->ranks[input->next])) {
            nx_code code = read_piece(set, input, err);
            if (code != NX_OK)
                return code;
            *out_overlaps = column_count(&set->piece) + histogram_count(&set->piece_histograms) > 0;
            continue;
        }
        nx_code code = block_reader_overlaps(input->reader, input->ranks[input->next], set->min_ms,
                                             set->max_ms, out_overlaps, err);
        if (is_damage(code))
            querier_warn(set->warnings, set->hints.arena,
                         "block %s: a part of it cannot be read: %s",
                         block_meta(input->block)->ulid, err->msg);
        else if (code != NX_OK)
            return code;
    }
    return NX_OK;
}

static int querier_set_next(struct series_set *base, struct series_columns *out, struct nx_err *err)
{
    struct querier_set *set = (struct querier_set *)base;
    for (;;) {
        if (set->hints.is_cancelled != NULL &&
            atomic_load_explicit(set->hints.is_cancelled, memory_order_relaxed)) {
            nx_err_set(err, NX_E_CANCELLED, "query was canceled in query execution");
            return -1;
        }
        if (advance_equal(set, err) != NX_OK)
            return -1;
        find_smallest(set);
        if (set->equal_count == 0)
            return 0;
        keep_labels(set, set->inputs[set->equal[0]].labels);
        bool has_samples;
        if (set->hints.labels_only) {
            if (any_overlaps(set, &has_samples, err) != NX_OK)
                return -1;
            columns_reset(&set->gathered);
            nx_buf_reset(&set->gathered_histograms);
            arena_reset(&set->histogram_arena);
        } else {
            if (gather_equal(set, err) != NX_OK)
                return -1;
            has_samples =
                column_count(&set->gathered) + histogram_count(&set->gathered_histograms) > 0;
        }
        if (!has_samples)
            continue;
        if (set->hints.series_limit > 0 && set->emitted == set->hints.series_limit) {
            set->set.is_truncated = true;
            return 0;
        }
        set->emitted++;
        *out =
            (struct series_columns){.labels = set->labels,
                                    .times_ms = column_times(&set->gathered),
                                    .values = column_values(&set->gathered),
                                    .count = column_count(&set->gathered),
                                    .histograms = histogram_items(&set->gathered_histograms),
                                    .histogram_count = histogram_count(&set->gathered_histograms)};
        return 1;
    }
}

static void querier_set_free(struct series_set *base)
{
    struct querier_set *set = (struct querier_set *)base;
    for (size_t i = 0; i < set->input_count; i++)
        block_reader_free(set->inputs[i].reader);
    block_snapshot_end(&set->snapshot);
    head_view_end(set->querier->views, &set->view);
    nx_buf_deinit(&set->label_items);
    nx_buf_deinit(&set->label_text);
    nx_buf_deinit(&set->deleted);
    columns_deinit(&set->gathered);
    columns_deinit(&set->piece);
    columns_deinit(&set->merged);
    nx_buf_deinit(&set->gathered_histograms);
    nx_buf_deinit(&set->piece_histograms);
    nx_buf_deinit(&set->merged_histograms);
    arena_deinit(&set->histogram_arena);
    nx_free(set->inputs);
    nx_free(set->equal);
    nx_free(set);
}

static const struct series_set_ops querier_set_ops = {.next = querier_set_next,
                                                      .free = querier_set_free};

/* Adds one block as an input, unless nothing in it matches or it is damaged. */
static nx_code open_block(struct querier_set *set, size_t at, const struct matcher *matchers,
                          size_t matcher_count, struct nx_err *err)
{
    struct block *block = set->snapshot.blocks[at];
    struct input *input = &set->inputs[set->input_count];
    uint32_t *ranks;
    nx_code code =
        block_select(block, matchers, matcher_count, set->hints.arena, &ranks, &input->count, err);
    if (code == NX_OK && input->count == 0)
        return NX_OK;
    if (code == NX_OK)
        code = block_reader_new(block, &input->reader, err);
    if (is_damage(code)) {
        querier_drop_block(set->querier, block, set->warnings, set->hints.arena, err);
        *input = (struct input){0};
        return NX_OK;
    }
    if (code != NX_OK)
        return code;
    input->block = block;
    input->tombstones = set->snapshot.tombstones[at];
    input->ranks = ranks;
    set->input_count++;
    return load_labels(set, input, err);
}

nx_code querier_select(struct series_source *source, const struct matcher *matchers,
                       size_t matcher_count, int64_t min_ms, int64_t max_ms,
                       const struct series_hints *hints, struct series_set **out_set,
                       struct series_warnings *warnings, struct nx_err *err)
{
    struct querier *querier = (struct querier *)source;
    struct querier_set *set = nx_calloc(1, sizeof(*set));
    struct head_series *head_series;
    size_t head_count;
    set->set.ops = &querier_set_ops;
    set->querier = querier;
    set->hints = *hints;
    set->warnings = warnings;
    set->min_ms = min_ms;
    set->max_ms = max_ms;
    arena_init(&set->histogram_arena, hints->arena->budget_bytes);
    head_view_begin(querier->views, &set->view);

    nx_code code = head_select(querier->head, matchers, matcher_count, min_ms, max_ms, hints->arena,
                               &head_series, &head_count, err);
    if (code != NX_OK)
        goto fail;
    block_list_snapshot(querier->blocks, min_ms, max_ms, &set->snapshot);
    querier_warn_absent(querier, &set->snapshot, min_ms, max_ms, warnings, hints->arena);
    set->inputs = nx_calloc(set->snapshot.count + 1, sizeof(*set->inputs));
    set->equal = nx_calloc(set->snapshot.count + 1, sizeof(*set->equal));
    for (size_t i = 0; i < set->snapshot.count; i++) {
        code = open_block(set, i, matchers, matcher_count, err);
        if (code != NX_OK)
            goto fail;
    }
    if (head_count > 0) {
        struct input *input = &set->inputs[set->input_count++];
        *input = (struct input){.series = head_series, .count = head_count};
        code = load_labels(set, input, err);
        if (code != NX_OK)
            goto fail;
    }
    *out_set = &set->set;
    return NX_OK;

fail:
    querier_set_free(&set->set);
    return code;
}
