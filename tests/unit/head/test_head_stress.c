/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_stress.c - appenders, readers, a committer and a flusher at once; made for the thread sanitizer.
 *
 * A value is a function of its series and time, so that a reader can tell a wrong one. Every accepted sample must
 * come out of exactly one published flush.
 */
#include "narthex/base/hash.h"
#include "narthex/base/thread.h"

#include "head_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APPENDERS     2
#define READERS       2
#define ROUNDS        72
#define ROUND_SERIES  6000 /* some 750 a shard, so that a sweep pauses amid one */
#define ROUNDS_A_LIFE 9    /* then the pods are replaced, and the old series leave */

struct stress {
    struct head *head;
    _Atomic int appenders_left;
    _Atomic uint64_t accepted;
    _Atomic uint64_t flushed;
    _Atomic uint64_t read;
    _Atomic uint64_t journalled;
};

struct appender {
    struct stress *stress;
    int number;
};

static double value_of(struct nx_str pod, int64_t time_ms)
{
    return (double)(nx_hash64(pod.data, pod.len, (uint64_t)time_ms) % 1000);
}

static void make_series(struct test_labels *out, int appender, int life, int series)
{
    char text[200];
    snprintf(text, sizeof(text), "__name__=metric_%d,job=job-%d,pod=pod-%d-%d-%d", series % 8,
             appender, appender, life, series);
    test_labels_make(out, text);
}

static void run_appender(void *argument)
{
    struct appender *self = argument;
    struct head *head = self->stress->head;
    struct test_labels *labels = nx_calloc(ROUND_SERIES, sizeof(*labels));
    struct series_ref *refs = nx_calloc(ROUND_SERIES, sizeof(*refs));
    struct head_write *writes = nx_calloc(ROUND_SERIES, sizeof(*writes));
    struct sample *samples = nx_calloc(ROUND_SERIES, sizeof(*samples));
    for (int round = 0; round < ROUNDS; round++) {
        int64_t time_ms = (int64_t)round * 15000;
        for (int i = 0; i < ROUND_SERIES; i++) {
            if (round % ROUNDS_A_LIFE == 0) {
                make_series(&labels[i], self->number, round / ROUNDS_A_LIFE, i);
                refs[i] = (struct series_ref){.slot = HEAD_SLOT_NONE};
            }
            /* Every now and then one comes late. */
            samples[i].time_ms = (round + i) % 29 == 0 ? time_ms - 40000 : time_ms;
            samples[i].value =
                value_of(labels_get(labels[i].labels, NX_STR("pod")), samples[i].time_ms);
            writes[i] = (struct head_write){.ref = refs[i],
                                            .labels = labels[i].labels,
                                            .samples = &samples[i],
                                            .sample_count = 1};
        }
        head_append(head, writes, ROUND_SERIES, INT64_MIN, INT64_MAX);
        for (int i = 0; i < ROUND_SERIES; i++) {
            if (writes[i].refused[APPEND_STALE_REF] > 0) {
                writes[i].ref.slot = HEAD_SLOT_NONE;
                head_append(head, &writes[i], 1, INT64_MIN, INT64_MAX);
            }
            NX_ASSERT(writes[i].refused[APPEND_OK] == 1);
            refs[i] = writes[i].ref;
        }
        self->stress->accepted += ROUND_SERIES;
    }
    nx_free(labels);
    nx_free(refs);
    nx_free(writes);
    nx_free(samples);
    self->stress->appenders_left--;
}

static void check_columns(const struct labels *labels, const struct nx_buf *times,
                          const struct nx_buf *values)
{
    const int64_t *ms = (const int64_t *)(const void *)times->data;
    const double *value = (const double *)(const void *)values->data;
    struct nx_str pod = labels_get(*labels, NX_STR("pod"));
    NX_ASSERT(times->len == values->len);
    for (size_t i = 0; i < times->len / sizeof(*ms); i++) {
        NX_ASSERT(i == 0 || ms[i] > ms[i - 1]);
        NX_ASSERT(value[i] == value_of(pod, ms[i]));
    }
}

static void read_once(struct stress *stress, struct rand_state *rand)
{
    struct matcher matchers[2] = {0};
    struct nx_err err;
    struct arena arena;
    struct head_series *found;
    size_t count;
    char metric[32];
    snprintf(metric, sizeof(metric), "metric_%u", (unsigned)rand_below(rand, 8));
    nx_code code =
        matcher_init(&matchers[0], MATCHER_EQUAL, NX_STR("__name__"), nx_str_from(metric), &err);
    NX_ASSERT(code == NX_OK);
    code = matcher_init(&matchers[1], MATCHER_REGEX, NX_STR("pod"), NX_STR("pod-[01]-.*"), &err);
    NX_ASSERT(code == NX_OK);
    arena_init(&arena, 0);
    code = head_select(stress->head, matchers, 1 + rand_below(rand, 2), INT64_MIN, INT64_MAX,
                       &arena, &found, &count, &err);
    NX_ASSERT(code == NX_OK);
    struct nx_buf times = {0};
    struct nx_buf values = {0};
    for (size_t i = 0; i < count; i++) {
        NX_ASSERT(matchers_match(matchers, 1, found[i].labels));
        NX_ASSERT(i == 0 || labels_compare(found[i - 1].labels, found[i].labels) < 0);
        nx_buf_reset(&times);
        nx_buf_reset(&values);
        code = head_read(stress->head, found[i].ref, INT64_MIN, INT64_MAX, &times, &values, &err);
        NX_ASSERT(code == NX_OK);
        check_columns(&found[i].labels, &times, &values);
        stress->read += times.len / sizeof(int64_t);
    }
    struct nx_str *names;
    code = head_label_values(stress->head, NX_STR("pod"), &arena, &names, &count, &err);
    NX_ASSERT(code == NX_OK);
    code = head_label_names(stress->head, &arena, &names, &count, &err);
    NX_ASSERT(code == NX_OK);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    matcher_deinit(&matchers[0]);
    matcher_deinit(&matchers[1]);
    arena_deinit(&arena);
}

static void run_reader(void *argument)
{
    struct stress *stress = argument;
    struct rand_state rand;
    rand_seed(&rand, 7);
    do {
        struct head_stats stats;
        head_stats(stress->head, &stats);
        read_once(stress, &rand);
    } while (stress->appenders_left > 0);
}

static void take_all(struct stress *stress, struct journal_buffer *buffers)
{
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        head_take_pending(stress->head, s, &buffers[s]);
        stress->journalled += buffers[s].sample_count;
        journal_buffer_reset(&buffers[s]);
    }
}

static void run_committer(void *argument)
{
    struct stress *stress = argument;
    struct journal_buffer buffers[HEAD_SHARD_COUNT] = {0};
    while (stress->appenders_left > 0)
        take_all(stress, buffers);
    take_all(stress, buffers);
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
        journal_buffer_deinit(&buffers[s]);
}

static void flush_once(struct stress *stress, bool is_published)
{
    struct head_flush *flush;
    struct head_flush_series series;
    struct nx_err err;
    uint64_t samples = 0;
    nx_code code = head_flush_begin(stress->head, &flush, &err);
    NX_ASSERT(code == NX_OK);
    int more;
    while ((more = head_flush_next(flush, &series, &err)) > 0) {
        struct nx_str pod = labels_get(series.labels, NX_STR("pod"));
        for (size_t i = 0; i < series.count; i++)
            NX_ASSERT(series.values[i] == value_of(pod, series.times_ms[i]));
        samples += series.count;
    }
    NX_ASSERT(more == 0);
    head_flush_end(flush, is_published);
    if (is_published)
        stress->flushed += samples;
}

static void run_flusher(void *argument)
{
    struct stress *stress = argument;
    for (unsigned i = 0; stress->appenders_left > 0; i++)
        flush_once(stress, i % 4 != 3);
}

static void test_head_keeps_every_sample_under_concurrency(void **state)
{
    (void)state;
    struct stress stress = {.head = test_head_new(0), .appenders_left = APPENDERS};
    struct appender appenders[APPENDERS];
    struct nx_thread threads[APPENDERS + READERS + 2] = {0};
    struct nx_err err;
    int started = 0;
    for (int i = 0; i < APPENDERS; i++) {
        appenders[i] = (struct appender){.stress = &stress, .number = i};
        assert_int_equal(
            thread_start(&threads[started++], "appender", run_appender, &appenders[i], &err),
            NX_OK);
    }
    for (int i = 0; i < READERS; i++)
        assert_int_equal(thread_start(&threads[started++], "reader", run_reader, &stress, &err),
                         NX_OK);
    assert_int_equal(thread_start(&threads[started++], "committer", run_committer, &stress, &err),
                     NX_OK);
    assert_int_equal(thread_start(&threads[started++], "flusher", run_flusher, &stress, &err),
                     NX_OK);
    for (int i = 0; i < started; i++)
        thread_join(&threads[i]);
    for (int i = 0; i < 4; i++)
        flush_once(&stress, true);
    uint64_t expected = (uint64_t)APPENDERS * ROUNDS * ROUND_SERIES;
    assert_int_equal(stress.accepted, expected);
    assert_int_equal(stress.flushed, expected);
    struct head_stats stats;
    head_stats(stress.head, &stats);
    assert_int_equal(stats.unflushed_samples, 0);
    assert_int_equal(stats.series, 0);
    assert_true(stats.series_removed > 0);
    assert_true(stress.read > 0);
    size_t rest = test_drop_pending(stress.head, NULL);
    assert_int_equal(stress.journalled + rest, expected);
    head_free(stress.head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_keeps_every_sample_under_concurrency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
