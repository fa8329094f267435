/* SPDX-License-Identifier: Apache-2.0 */
/* test_delete_crash.c - a process dies in the middle of a delete or of a rewrite; and one that writes all the while.
 *
 * Children work on the store, the parent only compares: a delete has happened wholly or not at all, doing it again
 * works, and what was invisible before a crash is so after it.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"

#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERIES 16u
#define ROUNDS 6u

/* What a child finds. */
enum {
    FOUND_ALL = 10,  /* nothing is deleted */
    FOUND_REST = 11, /* all that should be is deleted, and nothing else */
    FOUND_ELSE = 12,
};

static int64_t time_of(unsigned round, unsigned series)
{
    return TWIN_START_MS - 7200000 + (int64_t)round * 600000 + series;
}

/* Half of the series are named, and the rounds in the middle. */
static bool is_named(unsigned round, unsigned series)
{
    return series % 4 < 2 && round >= 1 && round < ROUNDS - 1;
}

static struct store *child_open(struct store_scratch *scratch)
{
    struct store *store = NULL;
    struct store_open_result result;
    struct nx_err err = {0};
    scratch->options.io = io_real();
    if (store_open(&store, &scratch->options, &result, &err) != NX_OK) {
        fprintf(stderr, "store_open: %s\n", err.msg);
        _exit(98);
    }
    if (result.damaged_segments + result.quarantined_blocks + result.unknown_samples > 0) {
        fprintf(stderr, "damage: %s\n", result.damage);
        _exit(97);
    }
    return store;
}

static void child_write(struct store *store, unsigned round, double value)
{
    struct test_request request = {.count = SERIES};
    for (unsigned i = 0; i < SERIES; i++) {
        request.series[i] = i;
        request.samples[i] = (struct sample){.time_ms = time_of(round, i), .value = value};
    }
    if (store_test_write(store, &request, NULL) != NX_OK)
        _exit(96);
}

static void child_delete_range(struct store *store, int64_t min_ms, int64_t max_ms)
{
    struct matcher matchers[2];
    struct matcher *lists[2] = {&matchers[0], &matchers[1]};
    const size_t counts[2] = {1, 1};
    struct nx_err err = {0};
    struct store_delete_result result;
    const struct store_delete what = {
        .lists = lists,
        .matcher_counts = counts,
        .list_count = 2,
        .min_ms = min_ms,
        .max_ms = max_ms,
    };
    if (matcher_init(&matchers[0], MATCHER_EQUAL, NX_STR("__name__"), NX_STR("metric_0"), &err) !=
            NX_OK ||
        matcher_init(&matchers[1], MATCHER_EQUAL, NX_STR("__name__"), NX_STR("metric_1"), &err) !=
            NX_OK ||
        store_delete(store, &what, &result, &err) != NX_OK) {
        fprintf(stderr, "store_delete: %s\n", err.msg);
        _exit(95);
    }
    matcher_deinit(&matchers[0]);
    matcher_deinit(&matchers[1]);
}

static void child_delete(struct store *store)
{
    child_delete_range(store, time_of(1, 0), time_of(ROUNDS - 2, SERIES));
}

/* ---- reading ---- */

typedef void (*sample_fn)(void *context, unsigned series, int64_t time_ms, double value);

static void child_read(struct store *store, sample_fn each, void *context)
{
    struct arena arena;
    struct matcher matcher;
    struct nx_err err = {0};
    struct series_warnings warnings = {0};
    struct series_set *set;
    struct series_columns columns;
    int got;
    arena_init(&arena, 0);
    struct series_hints hints = {.arena = &arena};
    struct series_source *source = store_source(store);
    if (matcher_init(&matcher, MATCHER_REGEX, NX_STR("__name__"), NX_STR("metric_.*"), &err) !=
            NX_OK ||
        source->ops->select(source, &matcher, 1, INT64_MIN, INT64_MAX, &hints, &set, &warnings,
                            &err) != NX_OK)
        _exit(94);
    while ((got = set->ops->next(set, &columns, &err)) == 1) {
        uint64_t series = 0;
        if (!nx_str_to_u64(labels_get(columns.labels, NX_STR("series")), &series))
            _exit(93);
        for (size_t i = 0; i < columns.count; i++)
            each(context, (unsigned)series, columns.times_ms[i], columns.values[i]);
    }
    if (got != 0 || warnings.count > 0)
        _exit(92);
    set->ops->free(set);
    matcher_deinit(&matcher);
    arena_deinit(&arena);
}

struct found {
    double value; /* what every sample should have */
    bool is_there[ROUNDS][SERIES];
    bool is_wrong;
};

static void note_found(void *context, unsigned series, int64_t time_ms, double value)
{
    struct found *found = context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (series >= SERIES || time_of(round, series) != time_ms)
            continue;
        found->is_there[round][series] = true;
        found->is_wrong |= value != (is_named(round, series) ? found->value : 1);
        return;
    }
    found->is_wrong = true;
}

static int child_found(struct store *store, double value)
{
    struct found found = {.value = value};
    unsigned named = 0, others = 0, named_all = 0, others_all = 0;
    child_read(store, note_found, &found);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < SERIES; i++) {
            named_all += is_named(round, i);
            others_all += !is_named(round, i);
            named += is_named(round, i) && found.is_there[round][i];
            others += !is_named(round, i) && found.is_there[round][i];
        }
    }
    if (found.is_wrong || others != others_all || (named != 0 && named != named_all))
        return FOUND_ELSE;
    return named == 0 ? FOUND_REST : FOUND_ALL;
}

/* ---- children ---- */

/* Some rounds in blocks, the last ones in the journal only. */
static void child_fill(struct store *store)
{
    struct nx_err err;
    for (unsigned round = 0; round < ROUNDS; round++) {
        child_write(store, round, 1);
        if (round < ROUNDS - 2 && store_flush(store, &err) != NX_OK)
            _exit(91);
    }
}

static int run_child(void (*run)(struct store_scratch *scratch, const char *point),
                     struct store_scratch *scratch, const char *point)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run(scratch, point);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void delete_and_die(struct store_scratch *scratch, const char *point)
{
    setenv("NARTHEX_CRASH_POINT", point, 1);
    struct store *store = child_open(scratch);
    child_fill(store);
    child_delete(store);
    _exit(0);
}

static void look(struct store_scratch *scratch, const char *point)
{
    (void)point;
    _exit(child_found(child_open(scratch), 1));
}

/* Again, then the same samples with another value: those are seen, here and by whoever comes next. */
static void delete_and_write_again(struct store_scratch *scratch, const char *point)
{
    (void)point;
    struct store *store = child_open(scratch);
    child_delete(store);
    if (child_found(store, 1) != FOUND_REST)
        _exit(1);
    for (unsigned round = 1; round < ROUNDS - 1; round++)
        child_write(store, round, 2);
    _exit(child_found(store, 2) == FOUND_ALL ? 0 : 2);
}

static void look_again(struct store_scratch *scratch, const char *point)
{
    (void)point;
    struct store *store = child_open(scratch);
    struct nx_err err;
    if (child_found(store, 2) != FOUND_ALL)
        _exit(1);
    if (store_flush(store, &err) != NX_OK || store_clean(store, &err) != NX_OK)
        _exit(2);
    if (child_found(store, 2) != FOUND_ALL)
        _exit(3);
    if (store_merge(store, true, &err) != NX_OK)
        _exit(4);
    _exit(child_found(store, 2) == FOUND_ALL ? 0 : 5);
}

static void test_delete_that_is_cut_off_happened_wholly_or_not_at_all(void **state)
{
    (void)state;
    /* Filling makes four flushes; the delete makes the fifth. */
    static const struct {
        const char *point;
        bool is_deleted;
    } rows[] = {
        {"flush_cut:5", false},       {"flush_sealed_head:5", false}, {"flush_encoded:5", false},
        {"flush_indexed:5", false},   {"flush_sealed:5", false},      {"publish_begun:5", false},
        {"publish_renamed:5", false}, {"publish_committed:5", false}, {"flush_published:5", false},
        {"flush_recycled:5", false},  {"delete_flushed", false},      {"delete_begun", false},
        {"delete_committed", true},   {"delete_released", true},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct store_scratch scratch;
        store_scratch_make(&scratch);
        int died = run_child(delete_and_die, &scratch, rows[i].point);
        int found = run_child(look, &scratch, NULL);
        int again = run_child(delete_and_write_again, &scratch, NULL);
        int last = run_child(look_again, &scratch, NULL);
        if (died != 137 || found != (rows[i].is_deleted ? FOUND_REST : FOUND_ALL) || again != 0 ||
            last != 0)
            fail_msg("%s: died %d, found %d, again %d, last %d", rows[i].point, died, found, again,
                     last);
        store_scratch_remove(&scratch);
    }
}

/* The delete is complete; then the rewrite meets its end. */
static void clean_and_die(struct store_scratch *scratch, const char *point)
{
    struct nx_err err;
    setenv("NARTHEX_CRASH_POINT", point, 1);
    struct store *store = child_open(scratch);
    child_fill(store);
    child_delete(store);
    child_write(store, 0, 1); /* what is there already: makes another flush */
    nx_ignore(store_clean(store, &err));
    _exit(0);
}

static void clean_whole(struct store_scratch *scratch, const char *point)
{
    (void)point;
    struct nx_err err;
    struct store *store = child_open(scratch);
    if (child_found(store, 1) != FOUND_REST || store_clean(store, &err) != NX_OK)
        _exit(1);
    _exit(child_found(store, 1));
}

static void test_rewrite_that_is_cut_off_changes_nothing(void **state)
{
    (void)state;
    static const char *const points[] = {
        "flush_encoded", "flush_indexed",   "flush_sealed",
        "publish_begun", "publish_renamed", "publish_committed",
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(points); i++) {
        for (unsigned nth = 6; nth <= 8;
             nth++) { /* five flushes came before, the sixth is clean's */
            struct store_scratch scratch;
            char point[40];
            store_scratch_make(&scratch);
            snprintf(point, sizeof(point), "%s:%u", points[i], nth);
            int died = run_child(clean_and_die, &scratch, point);
            int found = run_child(clean_whole, &scratch, NULL);
            int last = run_child(look, &scratch, NULL);
            if (died != 137 || found != FOUND_REST || last != FOUND_REST)
                fail_msg("%s: died %d, found %d, last %d", point, died, found, last);
            store_scratch_remove(&scratch);
        }
    }
}

/* ---- deletes while others write ---- */

#define WRITERS 3u

struct writer {
    struct store *store;
    struct nx_thread thread;
    _Atomic bool *is_stopping;
    unsigned number;
};

static void write_on(void *argument)
{
    struct writer *writer = argument;
    for (int64_t step = 0; !atomic_load(writer->is_stopping); step++) {
        struct test_request request = {.count = 40};
        for (unsigned i = 0; i < request.count; i++) {
            request.series[i] = (writer->number + WRITERS * i) % TWIN_SERIES_MAX;
            request.samples[i] = (struct sample){.time_ms = TWIN_START_MS - 7200000 + step * 500 +
                                                            i * WRITERS + writer->number,
                                                 .value = (double)step};
        }
        if (store_test_write(writer->store, &request, NULL) != NX_OK)
            _exit(90);
    }
}

struct visible {
    uint64_t count, sum;
};

static void note_visible(void *context, unsigned series, int64_t time_ms, double value)
{
    struct visible *visible = context;
    visible->count++;
    visible->sum += (uint64_t)time_ms * 31 + series * 1000003u + (uint64_t)value;
}

static void write_number(const struct store_scratch *scratch, struct visible visible)
{
    char path[600];
    snprintf(path, sizeof(path), "%s.visible", scratch->path);
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(&visible, sizeof(visible), 1, file) != 1 || fclose(file) != 0)
        _exit(89);
}

static void delete_among_writers(struct store_scratch *scratch, const char *point)
{
    (void)point;
    struct store *store = child_open(scratch);
    struct writer writers[WRITERS];
    _Atomic bool is_stopping = false;
    struct nx_err err;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.store = store, .is_stopping = &is_stopping, .number = i};
        if (thread_start(&writers[i].thread, "writer", write_on, &writers[i], &err) != NX_OK)
            _exit(88);
    }
    for (unsigned i = 0; i < 8; i++) {
        usleep(30000);
        if (i % 3 == 0 && store_flush(store, &err) != NX_OK)
            _exit(87);
        child_delete_range(store, INT64_MIN, INT64_MAX);
    }
    usleep(20000);
    atomic_store(&is_stopping, true);
    for (unsigned i = 0; i < WRITERS; i++)
        thread_join(&writers[i].thread);
    struct visible visible = {0};
    child_read(store, note_visible, &visible);
    write_number(scratch, visible);
    _exit(0); /* as if killed: what the journal has is replayed */
}

static void compare_visible(struct store_scratch *scratch, const char *point)
{
    (void)point;
    struct visible before = {0}, after = {0};
    char path[600];
    snprintf(path, sizeof(path), "%s.visible", scratch->path);
    FILE *file = fopen(path, "r");
    if (file == NULL || fread(&before, sizeof(before), 1, file) != 1 || fclose(file) != 0)
        _exit(86);
    unlink(path);
    child_read(child_open(scratch), note_visible, &after);
    if (before.count != after.count || before.sum != after.sum) {
        fprintf(stderr, "%llu samples were visible, now %llu\n", (unsigned long long)before.count,
                (unsigned long long)after.count);
        _exit(1);
    }
    _exit(before.count > 100 ? 0 : 2);
}

static void test_delete_among_writers_is_not_undone_by_a_replay(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct store_scratch scratch;
        store_scratch_make(&scratch);
        assert_int_equal(run_child(delete_among_writers, &scratch, NULL), 0);
        assert_int_equal(run_child(compare_visible, &scratch, NULL), 0);
        store_scratch_remove(&scratch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delete_that_is_cut_off_happened_wholly_or_not_at_all),
        cmocka_unit_test(test_rewrite_that_is_cut_off_changes_nothing),
        cmocka_unit_test(test_delete_among_writers_is_not_undone_by_a_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
