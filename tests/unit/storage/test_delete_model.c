/* SPDX-License-Identifier: Apache-2.0 */
/* test_delete_model.c - random writes, flushes, merges, deletes, rewrites and restarts, beside a plain table.
 *
 * A failure prints the seed; NARTHEX_MODEL_SEED runs it alone, NARTHEX_MODEL_STEPS sets the length.
 */
#include "narthex/base/mem.h"

#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_SERIES 24u
#define HOUR_MS      INT64_C(3600000)

struct model {
    struct store_scratch scratch;
    struct store *store;
    struct twin twin;
    struct rand_state rand;
    unsigned deletes, cleans, merges, reopens;
};

static void twin_delete(struct twin *twin, bool (*matches)(unsigned series, unsigned key),
                        unsigned key, int64_t min_ms, int64_t max_ms)
{
    for (unsigned i = 0; i < MODEL_SERIES; i++) {
        struct twin_series *series = &twin->series[i];
        size_t kept = 0;
        for (size_t k = 0; k < series->count; k++) {
            if (matches(i, key) && series->times_ms[k] >= min_ms && series->times_ms[k] <= max_ms)
                continue;
            series->times_ms[kept] = series->times_ms[k];
            series->values[kept++] = series->values[k];
        }
        series->count = kept;
    }
}

static bool twin_has(const struct twin *twin, unsigned series, int64_t time_ms)
{
    for (size_t i = 0; i < twin->series[series].count; i++)
        if (twin->series[series].times_ms[i] == time_ms)
            return true;
    return false;
}

/* ---- what a delete names ---- */

static bool is_series(unsigned series, unsigned key)
{
    return series == key;
}
static bool has_name(unsigned series, unsigned key)
{
    return series % 4 == key % 4;
}
static bool has_pod(unsigned series, unsigned key)
{
    return series % 8 == key % 8;
}
static bool is_series_or_has_pod(unsigned series, unsigned key)
{
    return is_series(series, key) || has_pod(series, key + 3);
}
static bool is_any(unsigned series, unsigned key)
{
    (void)series;
    (void)key;
    return true;
}

enum naming {
    NAMING_SERIES,
    NAMING_NAME,
    NAMING_POD,
    NAMING_TWO,
    NAMING_ALL,
    NAMING_COUNT,
};
static bool (*const predicates[NAMING_COUNT])(unsigned series, unsigned key) = {
    is_series, has_name, has_pod, is_series_or_has_pod, is_any};

static struct matcher make_matcher(enum matcher_type type, const char *name, const char *value)
{
    struct matcher matcher;
    struct nx_err err;
    assert_int_equal(matcher_init(&matcher, type, nx_str_from(name), nx_str_from(value), &err),
                     NX_OK);
    return matcher;
}

static void model_delete(struct model *model, enum naming naming, unsigned key, int64_t min_ms,
                         int64_t max_ms)
{
    char text[2][32];
    struct matcher first[1], second[1];
    struct matcher *lists[2] = {first, second};
    const size_t counts[2] = {1, 1};
    size_t list_count = naming == NAMING_TWO ? 2 : 1;
    snprintf(text[0], sizeof(text[0]), "%u", key);
    snprintf(text[1], sizeof(text[1]), "pod-%u", (key + (naming == NAMING_TWO ? 3 : 0)) % 8);
    if (naming == NAMING_NAME)
        snprintf(text[0], sizeof(text[0]), "metric_(%u|x)", key % 4);
    switch (naming) {
    case NAMING_TWO:
        second[0] = make_matcher(MATCHER_EQUAL, "pod", text[1]);
        first[0] = make_matcher(MATCHER_EQUAL, "series", text[0]);
        break;
    case NAMING_SERIES:
        first[0] = make_matcher(MATCHER_EQUAL, "series", text[0]);
        break;
    case NAMING_NAME:
        first[0] = make_matcher(MATCHER_REGEX, "__name__", text[0]);
        break;
    case NAMING_POD:
        first[0] = make_matcher(MATCHER_EQUAL, "pod", text[1]);
        break;
    case NAMING_ALL:
    case NAMING_COUNT:
        first[0] = make_matcher(MATCHER_REGEX, "series", ".+");
        break;
    }
    const struct store_delete what = {.lists = lists,
                                      .matcher_counts = counts,
                                      .list_count = list_count,
                                      .min_ms = min_ms,
                                      .max_ms = max_ms};
    struct store_delete_result result;
    struct nx_err err;
    nx_code code = store_delete(model->store, &what, &result, &err);
    if (code != NX_OK)
        fail_msg("store_delete: %s", err.msg);
    twin_delete(&model->twin, predicates[naming], key, min_ms, max_ms);
    for (size_t i = 0; i < list_count; i++)
        matcher_deinit(lists[i]);
    model->deletes++;
}

static void model_random_delete(struct model *model)
{
    struct rand_state *rand = &model->rand;
    int64_t now_ms = clock_wall_ms(&model->scratch.clock.clock);
    enum naming naming = (enum naming)rand_below(rand, NAMING_ALL);
    if (rand_below(rand, 12) == 0)
        naming = NAMING_ALL;
    int64_t min_ms = INT64_MIN, max_ms = INT64_MAX;
    if (rand_below(rand, 3) > 0) {
        min_ms = now_ms - (int64_t)rand_below(rand, 8) * HOUR_MS / 2;
        max_ms = min_ms + (int64_t)rand_below(rand, 3 * (uint64_t)HOUR_MS);
        min_ms -= min_ms % 15000;
    }
    model_delete(model, naming, (unsigned)rand_below(rand, MODEL_SERIES), min_ms, max_ms);
}

/* ---- the other steps ---- */

/* Whatever is sent is there afterwards: as it was sent, or the value that came first. */
static void model_write(struct model *model)
{
    struct test_request request;
    test_request_fill(&request, &model->rand, clock_wall_ms(&model->scratch.clock.clock),
                      MODEL_SERIES);
    request.count = request.count > 60 ? 60 : request.count;
    assert_int_equal(store_test_write(model->store, &request, &model->twin), NX_OK);
    for (size_t i = 0; i < request.count; i++)
        if (!twin_has(&model->twin, request.series[i], request.samples[i].time_ms))
            fail_msg("series %u time %lld was refused for a value that is gone", request.series[i],
                     (long long)request.samples[i].time_ms);
}

static void model_compare(struct model *model)
{
    int64_t now_ms = clock_wall_ms(&model->scratch.clock.clock);
    int64_t from_ms = now_ms - (int64_t)rand_below(&model->rand, 9) * HOUR_MS;
    store_test_compare(model->store, &model->twin, INT64_MIN, INT64_MAX);
    store_test_compare(model->store, &model->twin, from_ms, from_ms + HOUR_MS);
}

static void model_reopen(struct model *model)
{
    struct store_open_result result;
    store_test_close(model->store);
    model->store = store_test_open(&model->scratch, &result);
    assert_int_equal(result.quarantined_blocks, 0);
    assert_int_equal(result.unknown_samples, 0);
    model->reopens++;
}

static void model_step(struct model *model)
{
    struct nx_err err;
    nx_code code = NX_OK;
    uint64_t dice = rand_below(&model->rand, 100);
    if (dice < 58) {
        model_write(model);
    } else if (dice < 66) {
        clock_manual_advance(&model->scratch.clock, (int64_t)rand_below(&model->rand, 90) * 60000);
    } else if (dice < 76) {
        code = store_flush(model->store, &err);
    } else if (dice < 83) {
        code = store_merge(model->store, rand_below(&model->rand, 2) == 0, &err);
        model->merges++;
    } else if (dice < 93) {
        model_random_delete(model);
    } else if (dice < 96) {
        code = store_clean(model->store, &err);
        model->cleans++;
    } else if (dice < 98) {
        code = store_retain(model->store, &err);
    } else if (dice < 99) {
        model_reopen(model);
    }
    if (code != NX_OK)
        fail_msg("%s", err.msg);
}

static unsigned number_of(const char *name, unsigned otherwise)
{
    uint64_t number = otherwise;
    const char *text = getenv(name);
    if (text != NULL)
        assert_true(nx_str_to_u64(nx_str_from(text), &number));
    return (unsigned)number;
}

static void run_model(uint64_t seed, unsigned steps)
{
    struct model model = {.store = NULL};
    rand_seed(&model.rand, seed);
    store_scratch_make(&model.scratch);
    model.store = store_test_open(&model.scratch, NULL);
    print_message("NARTHEX_MODEL_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned step = 0; step < steps; step++) {
        model_step(&model);
        if (step % 7 == 6)
            model_compare(&model);
    }
    model_compare(&model);
    struct nx_err err;
    assert_int_equal(store_clean(model.store, &err), NX_OK);
    model_compare(&model);
    model_reopen(&model);
    model_compare(&model);
    assert_true(steps < 500 || (model.deletes > 20 && model.cleans > 5 && model.merges > 20));
    store_test_close(model.store);
    twin_deinit(&model.twin);
    store_scratch_remove(&model.scratch);
}

static void test_delete_model(void **state)
{
    (void)state;
    unsigned steps = number_of("NARTHEX_MODEL_STEPS", 700);
    if (getenv("NARTHEX_MODEL_SEED") != NULL) {
        run_model(number_of("NARTHEX_MODEL_SEED", 1), steps);
        return;
    }
    for (uint64_t seed = 1; seed <= 3; seed++)
        run_model(seed, steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delete_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
