/* SPDX-License-Identifier: Apache-2.0 */
/* storage_support.c - see the header. */
#include "storage_support.h"

#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/model/staleness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void twin_deinit(struct twin *twin)
{
    for (unsigned i = 0; i < TWIN_SERIES_MAX; i++) {
        nx_free(twin->series[i].times_ms);
        nx_free(twin->series[i].values);
    }
    *twin = (struct twin){0};
}

bool twin_add(struct twin *twin, unsigned series, int64_t time_ms, double value)
{
    struct twin_series *s = &twin->series[series];
    size_t at = s->count;
    while (at > 0 && s->times_ms[at - 1] >= time_ms)
        at--;
    if (at < s->count && s->times_ms[at] == time_ms)
        return float_bits(s->values[at]) == float_bits(value);
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 64 : s->cap * 2;
        s->times_ms = nx_realloc_array(s->times_ms, s->cap, sizeof(*s->times_ms));
        s->values = nx_realloc_array(s->values, s->cap, sizeof(*s->values));
    }
    memmove(s->times_ms + at + 1, s->times_ms + at, (s->count - at) * sizeof(*s->times_ms));
    memmove(s->values + at + 1, s->values + at, (s->count - at) * sizeof(*s->values));
    s->times_ms[at] = time_ms;
    s->values[at] = value;
    s->count++;
    return true;
}

struct labels twin_labels(unsigned series, struct label items[3], char text[64])
{
    int name = snprintf(text, 20, "metric_%u", series % 4);
    int pod = snprintf(text + 20, 20, "pod-%u", series % 8);
    int number = snprintf(text + 40, 20, "%u", series);
    items[0] =
        (struct label){.name = NX_STR("__name__"), .value = {.data = text, .len = (size_t)name}};
    items[1] =
        (struct label){.name = NX_STR("pod"), .value = {.data = text + 20, .len = (size_t)pod}};
    items[2] = (struct label){.name = NX_STR("series"),
                              .value = {.data = text + 40, .len = (size_t)number}};
    return (struct labels){.items = items, .count = 3};
}

void store_scratch_make(struct store_scratch *scratch)
{
    *scratch = (struct store_scratch){.io = io_real()};
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch->path, sizeof(scratch->path), "%s/narthex-store-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(scratch->path));
    clock_manual_init(&scratch->clock, TWIN_START_MS);
    scratch->options = (struct store_options){
        .data_dir = scratch->path,
        .clock = &scratch->clock.clock,
        .future_tolerance_ms = 600000,
        .flush_interval_ms = 900000,
        .flush_samples_min = 60000000,
        .journal_segment_bytes = 1u << 20,
        .cache_bytes = 4u << 20,
    };
}

void store_scratch_remove(struct store_scratch *scratch)
{
    struct nx_err err;
    assert_int_equal(io_remove_tree(io_real(), scratch->path, &err), NX_OK);
}

struct store *store_test_open(struct store_scratch *scratch, struct store_open_result *out_result)
{
    struct store *store = NULL;
    struct store_open_result result;
    struct nx_err err = {0};
    scratch->options.io = scratch->io;
    nx_code code =
        store_open(&store, &scratch->options, out_result != NULL ? out_result : &result, &err);
    if (code != NX_OK)
        print_error("store_open: %s\n", err.msg);
    assert_int_equal(code, NX_OK);
    return store;
}

void store_test_close(struct store *store)
{
    struct nx_err err = {0};
    nx_code code = store_close(store, &err);
    if (code != NX_OK)
        print_error("store_close: %s\n", err.msg);
    assert_int_equal(code, NX_OK);
}

/* ---- write ---- */

struct waiting {
    struct nx_mutex lock;
    struct nx_cond done;
    bool is_done;
    nx_code code;
};

static void on_done(void *context, nx_code code)
{
    struct waiting *waiting = context;
    mutex_lock(&waiting->lock);
    waiting->is_done = true;
    waiting->code = code;
    cond_signal(&waiting->done);
    mutex_unlock(&waiting->lock);
}

nx_code store_test_wait(struct store *store)
{
    struct waiting waiting = {.is_done = false};
    mutex_init(&waiting.lock, LOCK_RANK_LOG);
    cond_init(&waiting.done);
    store_wait(store, on_done, &waiting);
    mutex_lock(&waiting.lock);
    while (!waiting.is_done)
        cond_wait(&waiting.done, &waiting.lock);
    mutex_unlock(&waiting.lock);
    cond_deinit(&waiting.done);
    mutex_deinit(&waiting.lock);
    return waiting.code;
}

nx_code store_test_write(struct store *store, const struct test_request *request, struct twin *twin)
{
    struct head_write writes[256];
    struct label items[256][3];
    char text[256][64];
    memset(writes, 0, sizeof(writes));
    for (size_t i = 0; i < request->count; i++) {
        writes[i].ref.slot = HEAD_SLOT_NONE;
        writes[i].labels = twin_labels(request->series[i], items[i], text[i]);
        writes[i].samples = &request->samples[i];
        writes[i].sample_count = 1;
    }
    struct nx_err err;
    nx_code code = store_write(store, writes, request->count, &err);
    if (code != NX_OK)
        return code;
    if (twin != NULL) {
        for (size_t i = 0; i < request->count; i++) {
            const struct sample *sample = &request->samples[i];
            if (writes[i].refused[APPEND_OK] == 1)
                nx_ignore(twin_add(twin, request->series[i], sample->time_ms, sample->value)
                              ? NX_OK
                              : NX_E_EXISTS);
            else
                assert_int_equal(writes[i].refused[APPEND_CONFLICT] +
                                     writes[i].refused[APPEND_SERIES_MEMORY] +
                                     writes[i].refused[APPEND_SERIES_RATE],
                                 1);
        }
    }
    return store_test_wait(store);
}

void test_request_fill(struct test_request *request, struct rand_state *rand, int64_t now_ms,
                       unsigned series_max)
{
    request->count = 1 + (size_t)rand_below(rand, 200);
    for (size_t i = 0; i < request->count; i++) {
        unsigned series = (unsigned)rand_below(rand, series_max);
        int64_t time_ms = now_ms - (int64_t)rand_below(rand, 20) * 15000;
        if (rand_below(rand, 30) == 0)
            time_ms -= (int64_t)rand_below(rand, 6 * 3600) * 1000; /* late */
        double value = series % 3 == 0 ? (double)series : rand_unit(rand) * 1000;
        if (rand_below(rand, 100) == 0)
            value = float_from_bits(STALE_NAN_BITS);
        request->series[i] = series;
        request->samples[i] = (struct sample){.time_ms = time_ms, .value = value};
    }
}

/* ---- read ---- */

static int compare_series(const void *a, const void *b)
{
    struct label items_a[3];
    struct label items_b[3];
    char text_a[64];
    char text_b[64];
    return labels_compare(twin_labels(*(const unsigned *)a, items_a, text_a),
                          twin_labels(*(const unsigned *)b, items_b, text_b));
}

static void compare_one(const struct twin_series *expected, unsigned number,
                        const struct series_columns *got, int64_t min_ms, int64_t max_ms)
{
    struct label items[3];
    char text[64];
    assert_true(labels_equal(twin_labels(number, items, text), got->labels));
    size_t k = 0;
    for (size_t i = 0; i < expected->count; i++) {
        if (expected->times_ms[i] < min_ms || expected->times_ms[i] > max_ms)
            continue;
        if (k >= got->count || got->times_ms[k] != expected->times_ms[i] ||
            float_bits(got->values[k]) != float_bits(expected->values[i])) {
            print_error(
                "series %u: sample %zu of %zu differs: expected time %lld value %g, got %lld %g\n",
                number, k, got->count, (long long)expected->times_ms[i], expected->values[i],
                k < got->count ? (long long)got->times_ms[k] : -1,
                k < got->count ? got->values[k] : 0);
            fail();
        }
        k++;
    }
    assert_int_equal(k, got->count);
}

static bool has_samples(const struct twin_series *series, int64_t min_ms, int64_t max_ms)
{
    for (size_t i = 0; i < series->count; i++) {
        if (series->times_ms[i] >= min_ms && series->times_ms[i] <= max_ms)
            return true;
    }
    return false;
}

void store_test_compare(struct store *store, const struct twin *twin, int64_t min_ms,
                        int64_t max_ms)
{
    unsigned order[TWIN_SERIES_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < TWIN_SERIES_MAX; i++) {
        if (has_samples(&twin->series[i], min_ms, max_ms))
            order[count++] = i;
    }
    if (count > 1)
        qsort(order, count, sizeof(order[0]), compare_series);
    struct arena arena;
    arena_init(&arena, 0);
    struct matcher matcher;
    struct nx_err err = {0};
    assert_int_equal(
        matcher_init(&matcher, MATCHER_REGEX, NX_STR("__name__"), NX_STR("metric_.*"), &err),
        NX_OK);
    struct series_hints hints = {.arena = &arena};
    struct series_warnings warnings = {0};
    struct series_set *set = NULL;
    struct series_source *source = store_source(store);
    nx_code code =
        source->ops->select(source, &matcher, 1, min_ms, max_ms, &hints, &set, &warnings, &err);
    if (code != NX_OK)
        print_error("select: %s\n", err.msg);
    assert_int_equal(code, NX_OK);
    size_t at = 0;
    struct series_columns columns;
    int got;
    while ((got = set->ops->next(set, &columns, &err)) == 1) {
        assert_true(at < count);
        compare_one(&twin->series[order[at]], order[at], &columns, min_ms, max_ms);
        at++;
    }
    if (got < 0)
        print_error("next: %s\n", err.msg);
    assert_int_equal(got, 0);
    assert_int_equal(at, count);
    assert_int_equal(warnings.count, 0);
    set->ops->free(set);
    matcher_deinit(&matcher);
    arena_deinit(&arena);
}

/* ---- a disk with a switch ---- */

static nx_code gate_pwrite(const struct io *io, int fd, const void *data, size_t bytes,
                           uint64_t offset, struct nx_err *err)
{
    const struct gate_io *gate = (const struct gate_io *)io;
    int sys = atomic_load(&gate->pwrite_sys);
    if (sys != 0)
        return nx_err_sys(err, sys, "the gate is closed");
    return io_real()->pwrite(io_real(), fd, data, bytes, offset, err);
}

static nx_code gate_fdatasync(const struct io *io, int fd, struct nx_err *err)
{
    const struct gate_io *gate = (const struct gate_io *)io;
    int sys = atomic_load(&gate->fdatasync_sys);
    if (sys != 0)
        return nx_err_sys(err, sys, "the gate is closed");
    return io_real()->fdatasync(io_real(), fd, err);
}

void gate_io_init(struct gate_io *gate)
{
    gate->io = *io_real();
    gate->io.pwrite = gate_pwrite;
    gate->io.fdatasync = gate_fdatasync;
    atomic_init(&gate->pwrite_sys, 0);
    atomic_init(&gate->fdatasync_sys, 0);
}
