/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_side.c - native histograms and exemplars in the head, against a plain table of what was written. */
#include "narthex/base/io.h"
#include "narthex/head/journal.h"

#include "../codec/histogram_support.h"
#include "head_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 INT64_C(1700000000000)
enum { SERIES = 5, TIMES = 40, STEPS = 3000 };

/* What the table holds for a series and time. */
struct cell {
    bool has_float;
    uint64_t bits;
    const struct histogram *histogram;
    unsigned exemplars; /* bit e: exemplar e of this time */
};

struct model {
    struct head *head;
    struct arena arena; /* histograms of the whole run */
    struct test_labels labels[SERIES];
    struct cell cells[SERIES][TIMES];
    int last_float[SERIES]; /* newest float ever, -1: none */
    uint64_t last_bits[SERIES];
    bool exists[SERIES];
};

static struct exemplar exemplar_of(struct label *label, int time, unsigned e)
{
    static const char *const traces[3] = {"a1", "b2", "c3"};
    *label = (struct label){.name = NX_STR("trace_id"), .value = nx_str_from(traces[e])};
    return (struct exemplar){
        .labels = {.items = label, .count = 1}, .value = e + 0.5, .time_ms = T0 + time};
}

static struct head_write append(struct model *model, int s, struct head_write write)
{
    write.ref.slot = HEAD_SLOT_NONE;
    write.labels = model->labels[s].labels;
    head_append(model->head, &write, 1, INT64_MIN, INT64_MAX);
    return write;
}

static void step_float(struct model *model, int s, int t, uint64_t bits)
{
    struct cell *cell = &model->cells[s][t];
    struct sample sample = {.time_ms = T0 + t, .value = float_from_bits(bits)};
    struct head_write write =
        append(model, s, (struct head_write){.samples = &sample, .sample_count = 1});
    model->exists[s] = true;
    bool is_conflict = cell->histogram != NULL || (cell->has_float && cell->bits != bits) ||
                       (model->last_float[s] == t && model->last_bits[s] != bits);
    assert_int_equal(write.refused[APPEND_CONFLICT], is_conflict);
    assert_int_equal(write.refused[APPEND_OK], !is_conflict);
    assert_int_equal(write.has_histogram_conflict, cell->histogram != NULL);
    if (is_conflict || model->last_float[s] == t) /* the last one is known after it was flushed */
        return;
    cell->has_float = true;
    cell->bits = bits;
    if (t > model->last_float[s]) {
        model->last_float[s] = t;
        model->last_bits[s] = bits;
    }
}

static void step_histogram(struct model *model, int s, int t, const struct histogram *histogram)
{
    struct cell *cell = &model->cells[s][t];
    struct histogram_sample sample = {.time_ms = T0 + t, .histogram = histogram};
    struct head_write write =
        append(model, s, (struct head_write){.histograms = &sample, .histogram_count = 1});
    model->exists[s] = true;
    bool has_float = cell->has_float || model->last_float[s] == t;
    bool is_conflict =
        has_float || (cell->histogram != NULL && !histogram_equal(cell->histogram, histogram));
    assert_int_equal(write.refused[APPEND_CONFLICT], is_conflict);
    assert_int_equal(write.refused[APPEND_OK], !is_conflict);
    if (!is_conflict)
        cell->histogram = histogram;
}

static void step_exemplar(struct model *model, int s, int t, unsigned e)
{
    struct label label;
    struct exemplar exemplar = exemplar_of(&label, t, e);
    struct head_write write =
        append(model, s, (struct head_write){.exemplars = &exemplar, .exemplar_count = 1});
    assert_int_equal(write.exemplars_refused, !model->exists[s]);
    if (model->exists[s])
        model->cells[s][t].exemplars |= 1u << e;
}

/* ---- compare ---- */

static void check_columns(const struct model *model, int s, int from, int to,
                          const int64_t *times_ms, const uint64_t *bits, size_t count,
                          const struct histogram_sample *histograms, size_t histogram_count,
                          const struct exemplar *exemplars, size_t exemplar_count)
{
    size_t f = 0, h = 0, e = 0;
    for (int t = from; t <= to; t++) {
        const struct cell *cell = &model->cells[s][t];
        if (cell->has_float) {
            assert_true(f < count);
            assert_int_equal(times_ms[f], T0 + t);
            assert_true(bits[f++] == cell->bits);
        }
        if (cell->histogram != NULL) {
            assert_true(h < histogram_count);
            assert_int_equal(histograms[h].time_ms, T0 + t);
            assert_true(histogram_equal(histograms[h++].histogram, cell->histogram));
        }
        unsigned seen = 0;
        for (; e < exemplar_count && exemplars[e].time_ms == T0 + t; e++) {
            for (unsigned k = 0; k < 3; k++) {
                struct label label;
                struct exemplar want = exemplar_of(&label, t, k);
                if (exemplar_equal(&want, &exemplars[e]))
                    seen ^= 1u << k;
            }
        }
        assert_int_equal(seen, cell->exemplars);
    }
    assert_int_equal(f, count);
    assert_int_equal(h, histogram_count);
    assert_int_equal(e, exemplar_count);
}

static void check_read(struct model *model, struct head *head, struct rand_state *rand)
{
    struct arena arena;
    struct nx_err err;
    struct head_series *found;
    size_t count;
    arena_init(&arena, 0);
    int from = (int)rand_below(rand, TIMES),
        to = from + (int)rand_below(rand, TIMES - (size_t)from);
    assert_int_equal(head_select(head, NULL, 0, T0 + from, T0 + to, &arena, &found, &count, &err),
                     NX_OK);
    for (int s = 0; s < SERIES; s++) {
        const struct head_series *series = NULL;
        for (size_t i = 0; i < count; i++)
            if (labels_equal(found[i].labels, model->labels[s].labels))
                series = &found[i];
        struct test_columns columns = {0};
        struct nx_buf histograms = {0}, exemplars = {0};
        if (series != NULL) {
            columns = test_read(head, series->ref, T0 + from, T0 + to);
            assert_int_equal(head_read_histograms(head, series->ref, T0 + from, T0 + to, &arena,
                                                  &histograms, &err),
                             NX_OK);
            assert_int_equal(head_read_exemplars(head, series->ref, T0 + from, T0 + to, &arena,
                                                 &exemplars, &err),
                             NX_OK);
            if (histograms.len + exemplars.len > 0)
                assert_true(series->has_side);
        }
        check_columns(model, s, from, to, columns.times_ms, columns.bits, columns.count,
                      (const struct histogram_sample *)(void *)histograms.data,
                      histograms.len / sizeof(struct histogram_sample),
                      (const struct exemplar *)(void *)exemplars.data,
                      exemplars.len / sizeof(struct exemplar));
        test_columns_deinit(&columns);
        nx_buf_deinit(&histograms);
        nx_buf_deinit(&exemplars);
    }
    arena_deinit(&arena);
}

/* A flush hands out all that is there, published or not; published, it is gone. */
static void step_flush(struct model *model, bool is_published)
{
    struct head_flush *flush = NULL;
    struct nx_err err;
    struct head_flush_series series;
    bool seen[SERIES] = {false};
    assert_int_equal(head_flush_begin(model->head, &flush, &err), NX_OK);
    while (head_flush_next(flush, &series, &err) > 0) {
        int s = 0;
        while (!labels_equal(series.labels, model->labels[s].labels))
            s++;
        seen[s] = true;
        check_columns(model, s, 0, TIMES - 1, series.times_ms,
                      (const uint64_t *)(const void *)series.values, series.count,
                      series.histograms, series.histogram_count, series.exemplars,
                      series.exemplar_count);
    }
    for (int s = 0; s < SERIES; s++) {
        for (int t = 0; t < TIMES; t++) {
            const struct cell *cell = &model->cells[s][t];
            if (cell->has_float || cell->histogram != NULL || cell->exemplars != 0)
                assert_true(seen[s]);
        }
    }
    head_flush_end(flush, is_published);
    if (is_published)
        memset(model->cells, 0, sizeof(model->cells));
    struct head_stats stats;
    head_stats(model->head, &stats);
    if (is_published)
        assert_int_equal(stats.unflushed_samples, 0);
}

static void model_init(struct model *model)
{
    *model = (struct model){.head = test_head_new(0)};
    arena_init(&model->arena, 0);
    for (int s = 0; s < SERIES; s++) {
        char text[64];
        snprintf(text, sizeof(text), "__name__=m,pod=p%d", s);
        test_labels_make(&model->labels[s], text);
        model->last_float[s] = -1;
    }
}

static void model_deinit(struct model *model)
{
    head_free(model->head);
    arena_deinit(&model->arena);
}

static void random_step(struct model *model, struct rand_state *rand)
{
    int s = (int)rand_below(rand, SERIES);
    int t = (int)rand_below(rand, TIMES);
    switch (rand_below(rand, 8)) {
    case 0:
    case 1:
        step_float(model, s, t, float_bits((double)rand_below(rand, 3)));
        break;
    case 2:
    case 3:
    case 4: {
        const struct histogram *before = model->cells[s][t].histogram;
        if (before == NULL && t > 0 && rand_below(rand, 2) == 0 &&
            model->cells[s][t - 1].histogram != NULL)
            step_histogram(
                model, s, t,
                histogram_any_next(rand, &model->arena, model->cells[s][t - 1].histogram));
        else if (before != NULL && rand_below(rand, 2) == 0)
            step_histogram(model, s, t, before);
        else
            step_histogram(model, s, t, histogram_any(rand, &model->arena));
        break;
    }
    case 5:
    case 6:
        step_exemplar(model, s, t, (unsigned)rand_below(rand, 3));
        break;
    default:
        check_read(model, model->head, rand);
    }
}

static void test_head_side_is_a_table(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct model model;
        struct rand_state rand;
        rand_seed(&rand, seed);
        model_init(&model);
        for (int i = 0; i < STEPS; i++) {
            random_step(&model, &rand);
            if (rand_below(&rand, 60) == 0)
                step_flush(&model, false);
            else if (rand_below(&rand, 150) == 0)
                step_flush(&model, true);
            test_drop_pending(model.head, NULL);
            for (int s = 0; s < SERIES; s++) { /* a series leaves after two flushes without data */
                struct head_stats stats;
                head_stats(model.head, &stats);
                if (stats.series == SERIES)
                    break;
                model.exists[s] = false;
                for (int t = 0; t < TIMES; t++)
                    model.exists[s] |= model.cells[s][t].has_float ||
                                       model.cells[s][t].histogram != NULL ||
                                       model.cells[s][t].exemplars != 0;
            }
        }
        model_deinit(&model);
    }
}

/* ---- the journal's way back ---- */

/* All that is pending goes through a real journal into another head. */
static void replay_into(struct head *from, struct head *to)
{
    char dir[] = "/tmp/narthex-side-XXXXXX";
    char quarantine[64];
    assert_non_null(mkdtemp(dir));
    snprintf(quarantine, sizeof(quarantine), "%s/q", dir);
    struct journal_options options = {
        .io = io_real(), .dir = dir, .segment_bytes = 4u << 20, .quarantine_dir = quarantine};
    struct journal *journal = NULL;
    struct journal_visitor none = head_journal_visitor;
    struct journal_replay_result result;
    struct nx_err err;
    none.context = to;
    assert_int_equal(journal_open(&journal, &options, &err), NX_OK);
    assert_int_equal(journal_replay(journal, 0, &none, &result, &err), NX_OK);
    struct journal_buffer buffers[HEAD_SHARD_COUNT] = {0};
    struct journal_buffer *pointers[HEAD_SHARD_COUNT];
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        head_take_pending(from, s, &buffers[s]);
        pointers[s] = &buffers[s];
    }
    uint64_t commit;
    assert_int_equal(journal_commit(journal, pointers, HEAD_SHARD_COUNT, &commit, &err), NX_OK);
    assert_int_equal(journal_close(journal, &err), NX_OK);
    assert_int_equal(journal_open(&journal, &options, &err), NX_OK);
    struct journal_visitor visitor = head_journal_visitor;
    visitor.context = to;
    assert_int_equal(journal_replay(journal, 0, &visitor, &result, &err), NX_OK);
    head_load_finish(to);
    assert_int_equal(journal_close(journal, &err), NX_OK);
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
        journal_buffer_deinit(&buffers[s]);
    assert_int_equal(io_remove_tree(io_real(), dir, &err), NX_OK);
}

static void test_head_side_comes_back_from_the_journal(void **state)
{
    (void)state;
    struct model model;
    struct rand_state rand;
    rand_seed(&rand, 77);
    model_init(&model);
    for (int i = 0; i < 2000; i++)
        random_step(&model, &rand);
    struct head *again = test_head_new(0);
    replay_into(model.head, again);
    for (int i = 0; i < 20; i++)
        check_read(&model, again, &rand);
    struct head_stats a, b;
    head_stats(model.head, &a);
    head_stats(again, &b);
    assert_int_equal(a.unflushed_samples, b.unflushed_samples);
    assert_int_equal(b.unknown_samples, 0);
    head_free(again);
    model_deinit(&model);
}

/* ---- single cases ---- */

static void test_head_side_float_marker_ends_histograms(void **state)
{
    (void)state;
    struct model model;
    struct rand_state rand;
    rand_seed(&rand, 5);
    model_init(&model);
    struct histogram *histogram = histogram_any(&rand, &model.arena);
    step_histogram(&model, 0, 3, histogram);
    struct sample marker = {.time_ms = T0 + 9, .value = float_from_bits(STALE_NAN_BITS)};
    struct head_write write =
        append(&model, 0, (struct head_write){.samples = &marker, .sample_count = 1});
    assert_int_equal(write.refused[APPEND_OK], 1);
    struct nx_buf out = {0};
    struct nx_err err;
    assert_int_equal(
        head_read_histograms(model.head, write.ref, INT64_MIN, INT64_MAX, &model.arena, &out, &err),
        NX_OK);
    const struct histogram_sample *samples = (const struct histogram_sample *)(void *)out.data;
    assert_int_equal(out.len / sizeof(*samples), 2);
    assert_int_equal(samples[1].time_ms, T0 + 9);
    assert_true(histogram_is_stale(samples[1].histogram));
    struct test_columns floats = test_read(model.head, write.ref, INT64_MIN, INT64_MAX);
    assert_int_equal(floats.count, 0);
    test_columns_deinit(&floats);
    nx_buf_deinit(&out);
    model_deinit(&model);
}

static void test_head_side_bounds_exemplars(void **state)
{
    (void)state;
    struct model model;
    model_init(&model);
    step_float(&model, 0, 0, 1);
    unsigned refused = 0;
    for (int i = 0; i < 1000; i++) {
        struct label label;
        struct exemplar exemplar = exemplar_of(&label, i, 0);
        refused +=
            append(&model, 0, (struct head_write){.exemplars = &exemplar, .exemplar_count = 1})
                .exemplars_refused;
    }
    assert_int_equal(refused, 1000 - 256);
    model_deinit(&model);
}

static void test_head_side_counts_its_memory(void **state)
{
    (void)state;
    struct model model;
    struct rand_state rand;
    struct head_stats stats;
    rand_seed(&rand, 8);
    model_init(&model);
    for (int i = 0; i < 500; i++)
        random_step(&model, &rand);
    head_stats(model.head, &stats);
    uint64_t full = stats.bytes_sides;
    assert_true(full > 10000);
    step_flush(&model, true);
    head_stats(model.head, &stats);
    assert_true(stats.bytes_sides < full / 4);
    assert_true(stats.bytes_sides < 1u << 20); /* nothing wrapped */
    model_deinit(&model);
}

/* A defined series' histogram waits as a side entry alone. */
static void test_head_side_counts_what_waits_for_the_journal(void **state)
{
    (void)state;
    struct model model;
    struct rand_state rand;
    struct head_stats stats;
    rand_seed(&rand, 9);
    model_init(&model);
    step_float(&model, 0, 0, 1);
    test_drop_pending(model.head, NULL);
    head_stats(model.head, &stats);
    assert_int_equal(stats.bytes_pending, 0);
    step_histogram(&model, 0, 1, histogram_any(&rand, &model.arena));
    head_stats(model.head, &stats);
    assert_true(stats.bytes_pending > 0);
    model_deinit(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_side_is_a_table),
        cmocka_unit_test(test_head_side_comes_back_from_the_journal),
        cmocka_unit_test(test_head_side_float_marker_ends_histograms),
        cmocka_unit_test(test_head_side_bounds_exemplars),
        cmocka_unit_test(test_head_side_counts_its_memory),
        cmocka_unit_test(test_head_side_counts_what_waits_for_the_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
