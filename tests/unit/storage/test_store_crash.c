/* SPDX-License-Identifier: Apache-2.0 */
/* test_store_crash.c - the process dies at each named step; the next one finds everything that was acknowledged.
 *
 * A child opens the store, writes, flushes and merges until it meets its crash point, and tells through a pipe what
 * it is about to write and what was acknowledged. The parent, which never runs storage code itself, keeps the book;
 * another child then opens the directory and compares: every acknowledged sample is there, and nothing that was
 * never sent.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/model/staleness.h"

#include "storage_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIFE_SERIES 20u
#define LIFE_STEPS  14u

/* What a child says: about one sample before it is sent, and about all sent so far when they are acknowledged. */
struct message {
    uint32_t kind; /* 0: sent, 1: acknowledged, 2: the life ended without meeting its crash point */
    uint32_t series;
    int64_t time_ms;
    uint64_t bits;
};

struct book {
    struct message *sent;
    size_t sent_count;
    size_t acknowledged; /* of sent: all before this */
    size_t cap;
};

static void say(int fd, struct message message)
{
    if (write(fd, &message, sizeof(message)) != (ssize_t)sizeof(message))
        _exit(99);
}

static struct store *child_open(struct store_scratch *scratch, unsigned life)
{
    struct store *store = NULL;
    struct store_open_result result;
    struct nx_err err = {0};
    clock_manual_init(&scratch->clock, TWIN_START_MS + (int64_t)life * 1800000);
    scratch->options.io = io_real();
    if (store_open(&store, &scratch->options, &result, &err) != NX_OK) {
        fprintf(stderr, "life %u: store_open: %s\n", life, err.msg);
        _exit(98);
    }
    if (result.damaged_segments > 0 || result.quarantined_blocks > 0 ||
        result.unknown_samples > 0) {
        fprintf(stderr, "life %u: damage: %s\n", life, result.damage);
        _exit(97);
    }
    return store;
}

static void child_live(struct store_scratch *scratch, unsigned life, const char *point, int fd)
{
    setenv("NARTHEX_CRASH_POINT", point, 1);
    struct store *store = child_open(scratch, life);
    struct rand_state rand;
    rand_seed(&rand, life + 1);
    struct nx_err err = {0};
    for (unsigned step = 0; step < LIFE_STEPS; step++) {
        struct test_request request = {.count = 1 + (size_t)rand_below(&rand, 40)};
        int64_t now_ms = clock_wall_ms(&scratch->clock.clock);
        for (size_t i = 0; i < request.count; i++) {
            request.series[i] = (unsigned)rand_below(&rand, LIFE_SERIES);
            /* times are never used twice, so that the book needs no rules for duplicates */
            request.samples[i].time_ms = now_ms + (int64_t)step * 1000 + (int64_t)i;
            request.samples[i].value = rand_unit(&rand);
            say(fd, (struct message){.kind = 0,
                                     .series = request.series[i],
                                     .time_ms = request.samples[i].time_ms,
                                     .bits = float_bits(request.samples[i].value)});
        }
        if (store_test_write(store, &request, NULL) != NX_OK)
            _exit(96);
        say(fd, (struct message){.kind = 1});
        if (step % 4 == 2 && store_flush(store, &err) != NX_OK) {
            fprintf(stderr, "flush: %s\n", err.msg);
            _exit(95);
        }
        if (step % 8 == 7 && store_merge(store, true, &err) != NX_OK) {
            fprintf(stderr, "merge: %s\n", err.msg);
            _exit(94);
        }
    }
    say(fd, (struct message){.kind = 2});
    _exit(store_close(store, &err) == NX_OK ? 0 : 93);
}

static void book_add(struct book *book, struct message message)
{
    if (book->sent_count == book->cap) {
        book->cap = book->cap == 0 ? 256 : book->cap * 2;
        book->sent = nx_realloc_array(book->sent, book->cap, sizeof(*book->sent));
    }
    book->sent[book->sent_count++] = message;
}

/* Lets a child live until it dies; true when it met its crash point. */
static bool live(struct store_scratch *scratch, unsigned life, const char *point, struct book *book)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        child_live(scratch, life, point, ends[1]);
    }
    close(ends[1]);
    struct message message;
    while (read(ends[0], &message, sizeof(message)) == (ssize_t)sizeof(message)) {
        if (message.kind == 0)
            book_add(book, message);
        else
            book->acknowledged = book->sent_count;
    }
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 137 && WEXITSTATUS(status) != 0)
        print_error("life %u, %s: exit status %d\n", life, point, WEXITSTATUS(status));
    assert_true(WEXITSTATUS(status) == 137 || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == 137;
}

/* ---- comparison, in a child of its own ---- */

static size_t find_sent(const struct book *book, unsigned series, int64_t time_ms)
{
    for (size_t i = 0; i < book->sent_count; i++) {
        if (book->sent[i].series == series && book->sent[i].time_ms == time_ms)
            return i;
    }
    return SIZE_MAX;
}

static void check_sample(const struct book *book, bool *is_seen, unsigned series, int64_t time_ms,
                         double value)
{
    size_t at = find_sent(book, series, time_ms);
    if (at == SIZE_MAX || book->sent[at].bits != float_bits(value)) {
        fprintf(stderr, "series %u has a sample that nobody sent, time %lld\n", series,
                (long long)time_ms);
        _exit(1);
    }
    is_seen[at] = true;
}

static void child_check(struct store_scratch *scratch, unsigned life, const struct book *book)
{
    struct store *store = child_open(scratch, life);
    struct arena arena;
    arena_init(&arena, 0);
    struct nx_err err = {0};
    struct matcher matcher;
    if (matcher_init(&matcher, MATCHER_REGEX, NX_STR("__name__"), NX_STR("metric_.*"), &err) !=
        NX_OK)
        _exit(2);
    struct series_hints hints = {.arena = &arena};
    struct series_warnings warnings = {0};
    struct series_set *set;
    struct series_source *source = store_source(store);
    if (source->ops->select(source, &matcher, 1, INT64_MIN, INT64_MAX, &hints, &set, &warnings,
                            &err) != NX_OK)
        _exit(3);
    bool *is_seen = nx_calloc(book->sent_count + 1, sizeof(*is_seen));
    struct series_columns columns;
    int got;
    while ((got = set->ops->next(set, &columns, &err)) == 1) {
        uint64_t series = 0;
        if (!nx_str_to_u64(labels_get(columns.labels, NX_STR("series")), &series))
            _exit(4);
        for (size_t i = 0; i < columns.count; i++)
            check_sample(book, is_seen, (unsigned)series, columns.times_ms[i], columns.values[i]);
    }
    if (got != 0 || warnings.count > 0)
        _exit(5);
    for (size_t i = 0; i < book->acknowledged; i++) {
        if (!is_seen[i]) {
            fprintf(stderr, "life %u: an acknowledged sample is lost: series %u time %lld\n", life,
                    book->sent[i].series, (long long)book->sent[i].time_ms);
            _exit(6);
        }
    }
    set->ops->free(set);
    matcher_deinit(&matcher);
    arena_deinit(&arena);
    nx_free(is_seen);
    _exit(0); /* as if killed: nothing is flushed or closed */
}

static void check(struct store_scratch *scratch, unsigned life, const char *point,
                  const struct book *book)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child_check(scratch, life, book);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        print_error("after %s: status %x\n", point, (unsigned)status);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static const char *const points[] = {
    "journal_written:3", "journal_synced:5",    "flush_cut",         "flush_sealed_head",
    "flush_encoded",     "flush_indexed",       "flush_sealed",      "publish_begun",
    "publish_renamed",   "publish_committed",   "flush_published",   "flush_recycled",
    "flush_cut:2",       "flush_sealed:2",      "publish_renamed:2", "flush_published:3",
    "flush_recycled:2",  "journal_written:9",   "publish_begun:3",   "publish_renamed:3",
    "flush_encoded:3",   "publish_committed:3", "journal_synced:14",
};

/* Each point on a directory of its own. */
static void test_store_crash_at_each_step_loses_nothing_acknowledged(void **state)
{
    (void)state;
    for (size_t i = 0; i < NX_ARRAY_LEN(points); i++) {
        struct store_scratch scratch;
        store_scratch_make(&scratch);
        struct book book = {0};
        bool has_crashed = live(&scratch, 0, points[i], &book);
        if (!has_crashed)
            print_error("%s was not met\n", points[i]);
        assert_true(has_crashed);
        assert_true(book.acknowledged > 0);
        check(&scratch, 1, points[i], &book);
        nx_free(book.sent);
        store_scratch_remove(&scratch);
    }
}

/* One after the other on the same directory: each start works on what the last crash left. */
static void test_store_many_crashes_on_one_directory_lose_nothing_acknowledged(void **state)
{
    (void)state;
    struct store_scratch scratch;
    store_scratch_make(&scratch);
    struct book book = {0};
    for (unsigned life = 0; life < 2 * NX_ARRAY_LEN(points); life++) {
        const char *point = points[(life * 7) % NX_ARRAY_LEN(points)];
        live(&scratch, life, point, &book);
        check(&scratch, life, point, &book);
    }
    nx_free(book.sent);
    store_scratch_remove(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_crash_at_each_step_loses_nothing_acknowledged),
        cmocka_unit_test(test_store_many_crashes_on_one_directory_lose_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
