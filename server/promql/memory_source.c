/* SPDX-License-Identifier: Apache-2.0 */
/* memory_source.c - series in an array that is kept in label order; a select copies the positions of what matches. */
#include "narthex/promql/memory_source.h"

#include "narthex/base/mem.h"

#include <stdlib.h>
#include <string.h>

struct unreadable {
    int64_t time_ms;
    const char *what;
};

struct memory_series {
    struct labels labels;
    struct label *block; /* the pairs and, behind them, their text */
    int64_t *times_ms;
    double *values;
    size_t count;
    size_t cap;
    struct unreadable *unreadable;
    size_t unreadable_count;
};

struct memory_source {
    struct series_source source;   /* first */
    struct memory_series **series; /* in label order */
    size_t count;
    size_t cap;
};

static void free_series(struct memory_series *series)
{
    nx_free(series->block);
    nx_free(series->times_ms);
    nx_free(series->values);
    nx_free(series->unreadable);
    nx_free(series);
}

void memory_source_clear(struct memory_source *source)
{
    for (size_t i = 0; i < source->count; i++)
        free_series(source->series[i]);
    source->count = 0;
}

void memory_source_free(struct memory_source *source)
{
    if (source == NULL)
        return;
    memory_source_clear(source);
    nx_free(source->series);
    nx_free(source);
}

struct series_source *memory_source_handle(struct memory_source *source)
{
    return &source->source;
}

size_t memory_source_series_count(const struct memory_source *source)
{
    return source->count;
}

/* One block: the pairs, then their text. */
static struct label *copy_block(struct labels labels)
{
    size_t bytes = labels.count * sizeof(struct label);
    for (size_t i = 0; i < labels.count; i++)
        bytes += labels.items[i].name.len + labels.items[i].value.len;
    struct label *items = nx_alloc(bytes);
    char *text = (char *)(items + labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        const struct label *from = &labels.items[i];
        memcpy(text, from->name.data, from->name.len);
        items[i].name = (struct nx_str){.data = text, .len = from->name.len};
        text += from->name.len;
        memcpy(text, from->value.data, from->value.len);
        items[i].value = (struct nx_str){.data = text, .len = from->value.len};
        text += from->value.len;
    }
    return items;
}

/* The first series that is not before `labels`. */
static size_t find_position(const struct memory_source *source, struct labels labels)
{
    size_t low = 0;
    size_t high = source->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (labels_compare(source->series[middle]->labels, labels) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct memory_series *find_or_add(struct memory_source *source, struct labels labels)
{
    size_t at = find_position(source, labels);
    if (at < source->count && labels_equal(source->series[at]->labels, labels))
        return source->series[at];
    if (source->count == source->cap) {
        source->cap = source->cap == 0 ? 64 : source->cap * 2;
        source->series =
            nx_realloc_array(source->series, source->cap, sizeof(struct memory_series *));
    }
    memmove(source->series + at + 1, source->series + at,
            (source->count - at) * sizeof(struct memory_series *));
    struct memory_series *series = nx_calloc(1, sizeof(*series));
    series->block = copy_block(labels);
    series->labels = (struct labels){.items = series->block, .count = labels.count};
    source->series[at] = series;
    source->count++;
    return series;
}

/* The first sample that is not before `time_ms`. */
static size_t find_time(const struct memory_series *series, int64_t time_ms)
{
    if (series->count > 0 && series->times_ms[series->count - 1] < time_ms)
        return series->count;
    size_t low = 0;
    size_t high = series->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (series->times_ms[middle] < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void memory_source_add(struct memory_source *source, struct labels labels, int64_t time_ms,
                       double value)
{
    struct memory_series *series = find_or_add(source, labels);
    size_t at = find_time(series, time_ms);
    if (at < series->count && series->times_ms[at] == time_ms) {
        series->values[at] = value;
        return;
    }
    if (series->count == series->cap) {
        series->cap = series->cap == 0 ? 16 : series->cap * 2;
        series->times_ms = nx_realloc_array(series->times_ms, series->cap, sizeof(int64_t));
        series->values = nx_realloc_array(series->values, series->cap, sizeof(double));
    }
    size_t later = series->count - at;
    memmove(series->times_ms + at + 1, series->times_ms + at, later * sizeof(int64_t));
    memmove(series->values + at + 1, series->values + at, later * sizeof(double));
    series->times_ms[at] = time_ms;
    series->values[at] = value;
    series->count++;
}

void memory_source_add_unreadable(struct memory_source *source, struct labels labels,
                                  int64_t time_ms, const char *what)
{
    struct memory_series *series = find_or_add(source, labels);
    series->unreadable = nx_realloc_array(series->unreadable, series->unreadable_count + 1,
                                          sizeof(*series->unreadable));
    series->unreadable[series->unreadable_count++] = (struct unreadable){time_ms, what};
}

struct memory_set {
    struct series_set set; /* first */
    const struct memory_source *source;
    size_t *positions;
    size_t count;
    size_t given;
    int64_t min_ms;
    int64_t max_ms;
};

static bool has_sample(const struct memory_series *series, int64_t min_ms, int64_t max_ms)
{
    size_t first = find_time(series, min_ms);
    return first < series->count && series->times_ms[first] <= max_ms;
}

static int set_next(struct series_set *set, struct series_columns *out, struct nx_err *err)
{
    struct memory_set *memory = (struct memory_set *)set;
    (void)err;
    if (memory->given == memory->count)
        return 0;
    const struct memory_series *series = memory->source->series[memory->positions[memory->given++]];
    size_t first = find_time(series, memory->min_ms);
    size_t end = first;
    while (end < series->count && series->times_ms[end] <= memory->max_ms)
        end++;
    *out = (struct series_columns){
        .labels = series->labels,
        .times_ms = series->times_ms + first,
        .values = series->values + first,
        .count = end - first,
    };
    return 1;
}

static void set_free(struct series_set *set)
{
    struct memory_set *memory = (struct memory_set *)set;
    nx_free(memory->positions);
    nx_free(memory);
}

static const struct series_set_ops set_ops = {.next = set_next, .free = set_free};

static const char *find_unreadable(const struct memory_series *series, int64_t min_ms,
                                   int64_t max_ms)
{
    for (size_t i = 0; i < series->unreadable_count; i++)
        if (series->unreadable[i].time_ms >= min_ms && series->unreadable[i].time_ms <= max_ms)
            return series->unreadable[i].what;
    return NULL;
}

/* Positions of all series that match and have a sample in the range, into a new array. */
static nx_code match_series(const struct memory_source *source, const struct matcher *matchers,
                            size_t matcher_count, int64_t min_ms, int64_t max_ms,
                            size_t **out_positions, size_t *out_count, struct nx_err *err)
{
    size_t *positions = nx_alloc((source->count + 1) * sizeof(size_t));
    size_t count = 0;
    for (size_t i = 0; i < source->count; i++) {
        const struct memory_series *series = source->series[i];
        if (!matchers_match(matchers, matcher_count, series->labels))
            continue;
        const char *what = find_unreadable(series, min_ms, max_ms);
        if (what != NULL) {
            nx_free(positions);
            return nx_err_set(err, NX_E_UNSUPPORTED, "%s cannot be read yet", what);
        }
        if (has_sample(series, min_ms, max_ms))
            positions[count++] = i;
    }
    *out_positions = positions;
    *out_count = count;
    return NX_OK;
}

static nx_code source_select(struct series_source *handle, const struct matcher *matchers,
                             size_t matcher_count, int64_t min_ms, int64_t max_ms,
                             const struct series_hints *hints, struct series_set **out_set,
                             struct series_warnings *warnings, struct nx_err *err)
{
    (void)warnings;
    struct memory_set *memory = nx_calloc(1, sizeof(*memory));
    memory->set.ops = &set_ops;
    memory->source = (const struct memory_source *)handle;
    memory->min_ms = min_ms;
    memory->max_ms = max_ms;
    nx_code code = match_series(memory->source, matchers, matcher_count, min_ms, max_ms,
                                &memory->positions, &memory->count, err);
    if (code != NX_OK) {
        nx_free(memory);
        return code;
    }
    if (hints->series_limit != 0 && memory->count > hints->series_limit) {
        memory->count = hints->series_limit;
        memory->set.is_truncated = true;
    }
    *out_set = &memory->set;
    return NX_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return nx_str_cmp(*(const struct nx_str *)a, *(const struct nx_str *)b);
}

/* Sorts, keeps one of each, cuts at `limit` and copies the text. */
static nx_code finish_texts(struct nx_str *texts, size_t count, size_t limit, struct arena *arena,
                            size_t *out_count, bool *out_truncated, struct nx_err *err)
{
    size_t kept = 0;
    if (count > 0)
        qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !nx_str_eq(texts[kept - 1], texts[i]))
            texts[kept++] = texts[i];
    *out_truncated = limit != 0 && kept > limit;
    if (*out_truncated)
        kept = limit;
    for (size_t i = 0; i < kept; i++)
        texts[i] = arena_strdup(arena, texts[i]);
    *out_count = kept;
    if (arena_is_exhausted(arena))
        return nx_err_set(err, NX_E_LIMIT, "no memory left for label texts");
    return NX_OK;
}

/* Gathers every name (`name` NULL), or the values of one. */
static nx_code gather_texts(struct series_source *handle, const struct nx_str *name,
                            const struct matcher *matchers, size_t matcher_count, int64_t min_ms,
                            int64_t max_ms, size_t limit, struct arena *arena, struct nx_str **out,
                            size_t *out_count, bool *out_truncated, struct nx_err *err)
{
    const struct memory_source *source = (const struct memory_source *)handle;
    size_t *positions;
    size_t series_count;
    nx_code code = match_series(source, matchers, matcher_count, min_ms, max_ms, &positions,
                                &series_count, err);
    if (code != NX_OK)
        return code;
    size_t text_count = 0;
    for (size_t i = 0; i < series_count; i++)
        text_count += source->series[positions[i]]->labels.count;
    struct nx_str *texts = arena_alloc(arena, text_count * sizeof(*texts));
    size_t count = 0;
    for (size_t i = 0; texts != NULL && i < series_count; i++) {
        struct labels labels = source->series[positions[i]]->labels;
        for (size_t k = 0; k < labels.count; k++)
            if (name == NULL)
                texts[count++] = labels.items[k].name;
            else if (nx_str_eq(labels.items[k].name, *name))
                texts[count++] = labels.items[k].value;
    }
    nx_free(positions);
    *out = texts;
    return finish_texts(texts, count, limit, arena, out_count, out_truncated, err);
}

static nx_code source_label_names(struct series_source *handle, const struct matcher *matchers,
                                  size_t matcher_count, int64_t min_ms, int64_t max_ms,
                                  size_t limit, struct arena *arena, struct nx_str **out,
                                  size_t *out_count, bool *out_truncated,
                                  struct series_warnings *warnings, struct nx_err *err)
{
    (void)warnings;
    return gather_texts(handle, NULL, matchers, matcher_count, min_ms, max_ms, limit, arena, out,
                        out_count, out_truncated, err);
}

static nx_code source_label_values(struct series_source *handle, struct nx_str name,
                                   const struct matcher *matchers, size_t matcher_count,
                                   int64_t min_ms, int64_t max_ms, size_t limit,
                                   struct arena *arena, struct nx_str **out, size_t *out_count,
                                   bool *out_truncated, struct series_warnings *warnings,
                                   struct nx_err *err)
{
    (void)warnings;
    return gather_texts(handle, &name, matchers, matcher_count, min_ms, max_ms, limit, arena, out,
                        out_count, out_truncated, err);
}

static const struct series_source_ops source_ops = {
    .select = source_select,
    .label_names = source_label_names,
    .label_values = source_label_values,
};

struct memory_source *memory_source_new(void)
{
    struct memory_source *source = nx_calloc(1, sizeof(*source));
    source->source.ops = &source_ops;
    return source;
}
