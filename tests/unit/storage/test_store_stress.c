/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_stress.c - writers, readers, flushes and merges at the same time; meant for the thread sanitizer.
 *
 * Each writer owns its series and writes the times 0, 1, 2, ... of each, telling after every acknowledgement how far
 * it is. A reader takes that number first and then must find every sample up to it, each once, ascending, with the
 * value that its time says.
 */
#include "narthex/base/thread.h"

#include "storage_support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WRITERS           3u
#define SERIES_PER_WRITER 8u
#define READERS           3u
#define RUN_MS            2500

struct stress {
    struct store *store;
    _Atomic bool is_stopping;
    _Atomic uint64_t acknowledged[WRITERS];
    _Atomic uint64_t reads;
    _Atomic uint64_t flushes;
    _Atomic uint64_t failures;
};

struct role {
    struct stress *stress;
    unsigned number;
};

static void failed(struct stress *stress, const char *what)
{
    fprintf(stderr, "stress: %s\n", what);
    atomic_fetch_add(&stress->failures, 1);
}

static double value_at(unsigned series, uint64_t step)
{
    return (double)(series * 1000000 + step);
}

static void run_writer(void *argument)
{
    struct role *role = argument;
    struct stress *stress = role->stress;
    for (uint64_t step = 0; !atomic_load(&stress->is_stopping); step++) {
        struct test_request request = {.count = SERIES_PER_WRITER};
        for (unsigned i = 0; i < SERIES_PER_WRITER; i++) {
            unsigned series = role->number * SERIES_PER_WRITER + i;
            request.series[i] = series;
            request.samples[i] = (struct sample){.time_ms = TWIN_START_MS + (int64_t)step,
                                                 .value = value_at(series, step)};
        }
        if (store_test_write(stress->store, &request, NULL) != NX_OK)
            failed(stress, "a write was not acknowledged");
        atomic_store(&stress->acknowledged[role->number], step + 1);
    }
}

static void check_series(struct stress *stress, const struct series_columns *columns,
                         const uint64_t *expected)
{
    uint64_t series = 0;
    if (!nx_str_to_u64(labels_get(columns->labels, NX_STR("series")), &series) ||
        series >= WRITERS * SERIES_PER_WRITER) {
        failed(stress, "an unknown series");
        return;
    }
    if (columns->count < expected[series / SERIES_PER_WRITER])
        failed(stress, "an acknowledged sample is not there");
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->times_ms[i] != TWIN_START_MS + (int64_t)i ||
            columns->values[i] != value_at((unsigned)series, i)) {
            failed(stress, "a sample is wrong, missing or there twice");
            return;
        }
    }
}

static void read_all(struct stress *stress)
{
    uint64_t expected[WRITERS];
    size_t expected_series = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        expected[i] = atomic_load(&stress->acknowledged[i]);
        expected_series += expected[i] > 0 ? SERIES_PER_WRITER : 0;
    }
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_err err;
    struct matcher matcher;
    struct series_hints hints = {.arena = &arena};
    struct series_warnings warnings = {0};
    struct series_set *set;
    struct series_source *source = store_source(stress->store);
    if (matcher_init(&matcher, MATCHER_REGEX, NX_STR("__name__"), NX_STR("metric_.*"), &err) !=
            NX_OK ||
        source->ops->select(source, &matcher, 1, INT64_MIN, INT64_MAX, &hints, &set, &warnings,
                            &err) != NX_OK) {
        failed(stress, err.msg);
        return;
    }
    struct series_columns columns;
    int got;
    size_t count = 0;
    while ((got = set->ops->next(set, &columns, &err)) == 1) {
        check_series(stress, &columns, expected);
        count++;
    }
    if (got < 0)
        failed(stress, err.msg);
    if (count < expected_series)
        failed(stress, "a series is missing");
    if (warnings.count > 0)
        failed(stress, "a warning");
    set->ops->free(set);
    struct nx_str *values;
    size_t value_count;
    bool is_truncated = false;
    if (source->ops->label_values(source, NX_STR("series"), NULL, 0, INT64_MIN, INT64_MAX, 0,
                                  &arena, &values, &value_count, &is_truncated, &warnings,
                                  &err) != NX_OK ||
        value_count < count)
        failed(stress, "label values are missing");
    matcher_deinit(&matcher);
    arena_deinit(&arena);
    atomic_fetch_add(&stress->reads, 1);
}

static void run_reader(void *argument)
{
    struct role *role = argument;
    while (!atomic_load(&role->stress->is_stopping))
        read_all(role->stress);
}

static void run_flusher(void *argument)
{
    struct role *role = argument;
    struct stress *stress = role->stress;
    struct nx_err err;
    while (!atomic_load(&stress->is_stopping)) {
        usleep(50000);
        if (store_flush(stress->store, &err) != NX_OK ||
            store_merge(stress->store, true, &err) != NX_OK)
            failed(stress, err.msg);
        struct store_stats stats;
        store_stats(stress->store, &stats);
        atomic_fetch_add(&stress->flushes, 1);
    }
}

static void test_store_threads_see_every_acknowledged_sample_once(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    scratch.options.is_maintained = true;
    struct stress stress = {0};
    stress.store = store_test_open(&scratch, NULL);
    struct nx_thread threads[WRITERS + READERS + 1] = {0};
    struct role roles[WRITERS + READERS + 1];
    for (unsigned i = 0; i < WRITERS + READERS + 1; i++) {
        struct nx_err err;
        roles[i] = (struct role){.stress = &stress, .number = i};
        void (*run)(void *) = i < WRITERS             ? run_writer
                              : i < WRITERS + READERS ? run_reader
                                                      : run_flusher;
        assert_int_equal(thread_start(&threads[i], "stress", run, &roles[i], &err), NX_OK);
    }
    /* On a busy machine as long as it takes until all of them have had their turns. */
    for (unsigned waited_ms = 0;
         waited_ms < RUN_MS || atomic_load(&stress.reads) <= 5 || atomic_load(&stress.flushes) <= 3;
         waited_ms += 10) {
        assert_true(waited_ms < 300000);
        usleep(10000);
    }
    atomic_store(&stress.is_stopping, true);
    for (unsigned i = 0; i < WRITERS + READERS + 1; i++)
        thread_join(&threads[i]);
    read_all(&stress);
    store_test_close(stress.store);
    stress.store = store_test_open(&scratch, NULL);
    read_all(&stress);
    store_test_close(stress.store);
    assert_int_equal(stress.failures, 0);
    assert_true(stress.reads > 5);
    assert_true(stress.flushes > 3);
    store_scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_threads_see_every_acknowledged_sample_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
