/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_model.c - random operations on a store and on a plain table; whatever happens, both hold the same.
 *
 * Operations: samples in and out of order, again, with other values; native histograms; exemplars; metadata; deletes;
 * flush, merge, clean, restart, restart from a copy of the files as they are; queries over any range. Of one series and
 * time the first value stays, since the last delete of it.
 *
 *   test_store_model [SEED [STEPS]]     one seed again, as a failure names it
 */
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include "../codec/histogram_support.h"
#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_MS   INT64_C(15000)
#define SERIES    10u
#define TIMES     4000u /* 16 hours: several partitions */
#define FAMILIES  12u
#define EXEMPLARS 2u /* of one time */

struct cell {
    bool has_float;
    uint8_t exemplars;
    uint64_t bits;
    const struct histogram *histogram;
};

struct model {
    struct store_scratch scratch;
    struct store *store;
    struct rand_state rand;
    struct arena arena; /* histograms of the run */
    struct cell *cells; /* SERIES * TIMES */
    unsigned now;       /* times up to here exist */
    bool exists[SERIES];
    int helps[FAMILIES]; /* -1: never told */
    unsigned stores;     /* copies made */
};

static uint64_t seed_of_run;
static unsigned step_of_run;
static bool is_running;

static struct cell *cell_at(struct model *model, unsigned s, unsigned t)
{
    return &model->cells[s * TIMES + t];
}

static int64_t time_at(unsigned t)
{
    return TWIN_START_MS + (int64_t)t * STEP_MS;
}

static struct exemplar exemplar_of(struct label *label, unsigned t, unsigned e)
{
    *label =
        (struct label){.name = NX_STR("trace_id"), .value = e == 0 ? NX_STR("a") : NX_STR("b")};
    return (struct exemplar){
        .labels = {.items = label, .count = 1}, .value = e, .time_ms = time_at(t)};
}

/* ---- writes ---- */

/* Mostly now, at times anywhere before. */
static unsigned any_time(struct model *model)
{
    if (rand_below(&model->rand, 3) > 0)
        return model->now;
    return (unsigned)rand_below(&model->rand, model->now + 1);
}

static void put_float(struct model *model, unsigned s, unsigned t, struct head_write *write,
                      struct sample *sample)
{
    static const uint64_t specials[] = {STALE_NAN_BITS, ORDINARY_NAN_BITS, UINT64_C(1) << 63,
                                        UINT64_C(0x7ff4dead0000beef), 1};
    struct cell *cell = cell_at(model, s, t);
    uint64_t bits = rand_below(&model->rand, 40) == 0
                        ? specials[1 + rand_below(&model->rand, NX_ARRAY_LEN(specials) - 1)]
                        : float_bits((double)rand_below(&model->rand, 4) + t);
    *sample = (struct sample){.time_ms = time_at(t), .value = float_from_bits(bits)};
    write->samples = sample;
    write->sample_count = 1;
    model->exists[s] = true;
    if (cell->has_float || cell->histogram != NULL)
        return;
    cell->has_float = true;
    cell->bits = bits;
}

static void put_histogram(struct model *model, unsigned s, unsigned t, struct head_write *write,
                          struct histogram_sample *sample)
{
    struct cell *cell = cell_at(model, s, t);
    const struct histogram *before = t > 0 ? cell_at(model, s, t - 1)->histogram : NULL;
    *sample = (struct histogram_sample){
        .time_ms = time_at(t),
        .histogram = before != NULL && rand_below(&model->rand, 4) > 0
                         ? histogram_any_next(&model->rand, &model->arena, before)
                         : histogram_any(&model->rand, &model->arena),
    };
    write->histograms = sample;
    write->histogram_count = 1;
    model->exists[s] = true;
    if (!cell->has_float && cell->histogram == NULL)
        cell->histogram = sample->histogram;
}

static void step_write(struct model *model)
{
    unsigned s = (unsigned)rand_below(&model->rand, SERIES);
    unsigned t = any_time(model);
    struct label items[3], exemplar_label;
    char text[64];
    struct sample sample;
    struct histogram_sample histogram;
    struct exemplar exemplar;
    struct head_write write = {.ref = {.slot = HEAD_SLOT_NONE},
                               .labels = twin_labels(s, items, text)};
    /* The first series are floats, the last are histograms, some are both. */
    if (s < 4 || (s < 7 && rand_below(&model->rand, 2) == 0))
        put_float(model, s, t, &write, &sample);
    else
        put_histogram(model, s, t, &write, &histogram);
    if (rand_below(&model->rand, 10) == 0) {
        unsigned e = (unsigned)rand_below(&model->rand, EXEMPLARS);
        exemplar = exemplar_of(&exemplar_label, t, e);
        write.exemplars = &exemplar;
        write.exemplar_count = 1;
        cell_at(model, s, t)->exemplars |= (uint8_t)(1u << e);
    }
    struct nx_err err;
    assert_int_equal(store_write(model->store, &write, 1, &err), NX_OK);
    assert_int_equal(store_test_wait(model->store), NX_OK);
    /* A write beside an earlier one is a conflict, or stored behind it: never shown. */
    assert_int_equal(write.exemplars_refused, 0);
}

static void step_metadata(struct model *model)
{
    unsigned family = (unsigned)rand_below(&model->rand, FAMILIES);
    int help = (int)rand_below(&model->rand, 3);
    char name[32], text[32];
    snprintf(name, sizeof(name), "family_%02u", family);
    snprintf(text, sizeof(text), "help %d", help);
    struct metric_metadata metadata = {.family = nx_str_from(name),
                                       .type = METRIC_TYPE_COUNTER,
                                       .help = nx_str_from(text),
                                       .unit = NX_STR("s")};
    assert_int_equal(store_write_metadata(model->store, &metadata, 1), 0);
    assert_int_equal(store_test_wait(model->store), NX_OK);
    model->helps[family] = help;
}

/* ---- deletes ---- */

/* One series, or those of a pod. */
static void step_delete(struct model *model)
{
    unsigned key = (unsigned)rand_below(&model->rand, SERIES);
    bool is_pod = rand_below(&model->rand, 3) == 0;
    unsigned from = (unsigned)rand_below(&model->rand, model->now + 1);
    unsigned to = from + (unsigned)rand_below(&model->rand, model->now + 1 - from);
    char text[32];
    struct matcher matcher;
    struct nx_err err;
    snprintf(text, sizeof(text), "%s%u", is_pod ? "pod-" : "", is_pod ? key % 8 : key);
    assert_int_equal(matcher_init(&matcher, MATCHER_EQUAL,
                                  is_pod ? NX_STR("pod") : NX_STR("series"), nx_str_from(text),
                                  &err),
                     NX_OK);
    struct matcher *list = &matcher;
    size_t count = 1;
    const struct store_delete what = {
        .lists = &list,
        .matcher_counts = &count,
        .list_count = 1,
        .min_ms = rand_below(&model->rand, 8) == 0 ? INT64_MIN : time_at(from),
        .max_ms = time_at(to),
    };
    struct store_delete_result result;
    assert_int_equal(store_delete(model->store, &what, &result, &err), NX_OK);
    matcher_deinit(&matcher);
    if (what.min_ms == INT64_MIN)
        from = 0;
    for (unsigned s = 0; s < SERIES; s++)
        for (unsigned t = from; t <= to && (is_pod ? s % 8 == key % 8 : s == key); t++)
            *cell_at(model, s, t) = (struct cell){.has_float = false};
}

/* ---- compare ---- */

static void compare_series(struct model *model, unsigned s, const struct series_columns *columns,
                           unsigned from, unsigned to)
{
    size_t f = 0, h = 0;
    for (unsigned t = from; t <= to; t++) {
        const struct cell *cell = cell_at(model, s, t);
        if (cell->has_float) {
            assert_true(f < columns->count);
            assert_int_equal(columns->times_ms[f], time_at(t));
            assert_true(float_bits(columns->values[f++]) == cell->bits);
        } else if (cell->histogram != NULL) {
            assert_true(h < columns->histogram_count);
            assert_int_equal(columns->histograms[h].time_ms, time_at(t));
            assert_true(histogram_equal(columns->histograms[h++].histogram, cell->histogram));
        }
    }
    assert_int_equal(f, columns->count);
    assert_int_equal(h, columns->histogram_count);
}

static unsigned series_number(struct labels labels)
{
    struct nx_str text = labels_get(labels, NX_STR("series"));
    uint64_t number = UINT64_MAX;
    assert_true(nx_str_to_u64(text, &number) && number < SERIES);
    return (unsigned)number;
}

static void step_query(struct model *model)
{
    unsigned from = (unsigned)rand_below(&model->rand, model->now + 1);
    unsigned to = from + (unsigned)rand_below(&model->rand, model->now + 1 - from);
    if (rand_below(&model->rand, 4) == 0) {
        from = 0;
        to = model->now;
    }
    struct arena arena;
    struct nx_err err;
    struct series_warnings warnings = {.count = 0};
    struct series_set *set;
    struct series_columns columns;
    struct series_source *source = store_source(model->store);
    bool seen[SERIES] = {false};
    int more;
    arena_init(&arena, 0);
    struct series_hints hints = {.arena = &arena};
    assert_int_equal(source->ops->select(source, NULL, 0, time_at(from), time_at(to), &hints, &set,
                                         &warnings, &err),
                     NX_OK);
    while ((more = set->ops->next(set, &columns, &err)) > 0) {
        unsigned s = series_number(columns.labels);
        assert_false(seen[s]);
        seen[s] = true;
        compare_series(model, s, &columns, from, to);
    }
    assert_int_equal(more, 0);
    set->ops->free(set);
    for (unsigned s = 0; s < SERIES; s++) {
        struct series_columns none = {.count = 0};
        if (!seen[s])
            compare_series(model, s, &none, from, to);
    }
    assert_int_equal(warnings.count, 0);
    arena_deinit(&arena);
}

static void step_query_exemplars(struct model *model)
{
    unsigned from = (unsigned)rand_below(&model->rand, model->now + 1);
    unsigned to = from + (unsigned)rand_below(&model->rand, model->now + 1 - from);
    struct arena arena;
    struct nx_err err;
    struct series_warnings warnings = {.count = 0};
    struct exemplar_series *found;
    size_t count;
    arena_init(&arena, 0);
    assert_int_equal(store_exemplars(model->store, NULL, 0, time_at(from), time_at(to), &arena,
                                     &found, &count, &warnings, &err),
                     NX_OK);
    bool seen[SERIES] = {false};
    for (size_t i = 0; i < count; i++) {
        unsigned s = series_number(found[i].labels);
        size_t at = 0;
        seen[s] = true;
        for (unsigned t = from; t <= to; t++) {
            for (unsigned e = 0; e < EXEMPLARS; e++) {
                if (!(cell_at(model, s, t)->exemplars >> e & 1))
                    continue;
                struct label label;
                struct exemplar want = exemplar_of(&label, t, e);
                assert_true(at < found[i].count);
                assert_true(exemplar_equal(&found[i].exemplars[at++], &want));
            }
        }
        assert_int_equal(at, found[i].count);
    }
    for (unsigned s = 0; s < SERIES; s++)
        for (unsigned t = from; t <= to && !seen[s]; t++)
            assert_int_equal(cell_at(model, s, t)->exemplars, 0);
    arena_deinit(&arena);
}

static void step_query_metadata(struct model *model)
{
    struct arena arena;
    struct nx_err err;
    struct metric_metadata *found;
    size_t count, at = 0;
    arena_init(&arena, 0);
    assert_int_equal(store_metadata(model->store, NX_STR(""), 0, &arena, &found, &count, &err),
                     NX_OK);
    for (unsigned i = 0; i < FAMILIES; i++) {
        if (model->helps[i] < 0)
            continue;
        char name[32], text[32];
        snprintf(name, sizeof(name), "family_%02u", i);
        snprintf(text, sizeof(text), "help %d", model->helps[i]);
        assert_true(at < count);
        assert_true(nx_str_eq(found[at].family, nx_str_from(name)));
        assert_true(nx_str_eq(found[at].help, nx_str_from(text)));
        assert_true(nx_str_eq(found[at++].unit, NX_STR("s")));
    }
    assert_int_equal(at, count);
    arena_deinit(&arena);
}

/* ---- the life of a store ---- */

static void step_restart(struct model *model)
{
    struct store_open_result result;
    store_test_close(model->store);
    model->store = store_test_open(&model->scratch, &result);
    assert_int_equal(result.quarantined_blocks + result.damaged_segments, 0);
}

/* What a kill -9 leaves: the files as they are. */
static void step_crash(struct model *model)
{
    char command[1200], copy[560];
    struct nx_err err;
    snprintf(copy, sizeof(copy), "%s-%u", model->scratch.path, ++model->stores);
    snprintf(command, sizeof(command), "cp -a '%s' '%s'", model->scratch.path, copy);
    assert_int_equal(system(command), 0);
    store_test_close(model->store);
    assert_int_equal(io_remove_tree(io_real(), model->scratch.path, &err), NX_OK);
    assert_int_equal(rename(copy, model->scratch.path), 0);
    struct store_open_result result;
    model->store = store_test_open(&model->scratch, &result);
    assert_int_equal(result.quarantined_blocks + result.damaged_segments, 0);
    assert_int_equal(result.unknown_samples, 0);
}

static void random_step(struct model *model)
{
    struct nx_err err;
    unsigned dice = (unsigned)rand_below(&model->rand, 1000);
    if (rand_below(&model->rand, 3) == 0 && model->now + 1 < TIMES) {
        model->now++;
        clock_manual_advance(&model->scratch.clock, STEP_MS);
    }
    if (dice < 850)
        step_write(model);
    else if (dice < 858)
        step_delete(model);
    else if (dice < 860)
        assert_int_equal(store_clean(model->store, &err), NX_OK);
    else if (dice < 890)
        step_metadata(model);
    else if (dice < 940)
        step_query(model);
    else if (dice < 960)
        step_query_exemplars(model);
    else if (dice < 970)
        step_query_metadata(model);
    else if (dice < 984)
        assert_int_equal(store_flush(model->store, &err), NX_OK);
    else if (dice < 991)
        assert_int_equal(store_merge(model->store, rand_below(&model->rand, 2) == 0, &err), NX_OK);
    else if (dice < 996)
        step_restart(model);
    else
        step_crash(model);
}

static void run_seed(uint64_t seed, unsigned steps)
{
    struct model model = {.now = 0};
    store_scratch_make(&model.scratch);
    rand_seed(&model.rand, seed);
    arena_init(&model.arena, 0);
    model.cells = nx_calloc((size_t)SERIES * TIMES, sizeof(*model.cells));
    for (unsigned i = 0; i < FAMILIES; i++)
        model.helps[i] = -1;
    model.store = store_test_open(&model.scratch, NULL);
    seed_of_run = seed;
    is_running = true;
    for (step_of_run = 0; step_of_run < steps; step_of_run++)
        random_step(&model);
    step_query(&model);
    step_crash(&model);
    step_query(&model);
    step_query_exemplars(&model);
    store_test_close(model.store);
    is_running = false;
    nx_free(model.cells);
    arena_deinit(&model.arena);
    store_scratch_remove(&model.scratch);
}

static uint64_t seed_first = 1, seed_count = 2;
static unsigned steps_each = 2500;

static void test_store_is_a_table(void **state)
{
    (void)state;
    for (uint64_t seed = seed_first; seed < seed_first + seed_count; seed++)
        run_seed(seed, steps_each);
}

static int tell_seed(void **state)
{
    (void)state;
    if (is_running)
        print_message("again: test_store_model %llu %u (it ended at step %u)\n",
                      (unsigned long long)seed_of_run, steps_each, step_of_run);
    return 0;
}

int main(int argc, char **argv)
{
    const char *is_long = getenv("NARTHEX_LONG");
    if (is_long != NULL && strcmp(is_long, "1") == 0)
        seed_count = 100;
    if (argc > 1) {
        seed_first = strtoull(argv[1], NULL, 10);
        seed_count = 1;
    }
    if (argc > 2)
        steps_each = (unsigned)strtoul(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_store_is_a_table, tell_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
