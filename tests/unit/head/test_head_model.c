/* SPDX-License-Identifier: Apache-2.0 */
/* test_head_model.c - random histories of the head against a slow, obvious twin.
 *
 * The twin keeps every sample in a plain list. The journal is a list of events taken from the head's pending
 * buffers, and the block is what the last published flush handed out; a crash makes a new head of these two alone.
 */
#include "narthex/codec/varint.h"

#include "head_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERIES      60
#define SAMPLES_MAX 4000
#define EVENTS_MAX  200000

struct twin_sample {
    int64_t time_ms;
    uint64_t bits;
    bool is_sealed;
};

struct twin_series {
    struct test_labels labels;
    bool is_alive;
    bool is_in_previous;
    bool has_last;
    int64_t last_ms;
    uint64_t last_bits;
    struct twin_sample *samples; /* any order */
    size_t count;
    struct series_ref ref;
};

struct event {
    bool is_define;
    uint32_t slot;
    int series; /* of a definition */
    int64_t time_ms;
    uint64_t bits;
};

struct block_entry {
    uint32_t slot;
    int series;
};

/* What the histories together went through: a test that saw none of it proves nothing. */
struct seen {
    uint64_t removed, late, crashes, republished, stale_refs;
};

struct world {
    struct seen *seen;
    struct rand_state rand;
    struct head *head;
    struct twin_series series[SERIES];
    struct event *events;
    size_t event_count;
    size_t cut;
    struct block_entry block[SERIES];
    size_t block_count;
    struct block_entry next_block[SERIES];
    size_t next_count;
    struct head_flush *flush;
    bool flush_is_read;
    int64_t now_ms;
    int active; /* series from here on write now; the others are idle, leave, and come back */
};

/* ---- the twin ---- */

static int series_of_labels(const struct world *world, struct labels labels)
{
    for (int i = 0; i < SERIES; i++) {
        if (labels_equal(world->series[i].labels.labels, labels))
            return i;
    }
    fail_msg("labels that nobody wrote");
    return -1;
}

/* APPEND_OK or APPEND_CONFLICT; *out_is_new when it was added. */
static enum append_result twin_add(struct twin_series *series, int64_t time_ms, uint64_t bits,
                                   bool *out_is_new)
{
    *out_is_new = false;
    if (series->has_last && series->last_ms == time_ms)
        return series->last_bits == bits ? APPEND_OK : APPEND_CONFLICT;
    for (size_t i = 0; i < series->count; i++) {
        if (series->samples[i].time_ms == time_ms)
            return series->samples[i].bits == bits ? APPEND_OK : APPEND_CONFLICT;
    }
    assert_true(series->count < SAMPLES_MAX);
    series->samples[series->count++] = (struct twin_sample){.time_ms = time_ms, .bits = bits};
    if (!series->has_last || time_ms > series->last_ms) {
        series->has_last = true;
        series->last_ms = time_ms;
        series->last_bits = bits;
    }
    *out_is_new = true;
    return APPEND_OK;
}

static int compare_samples(const void *left, const void *right)
{
    int64_t a = ((const struct twin_sample *)left)->time_ms;
    int64_t b = ((const struct twin_sample *)right)->time_ms;
    return (a > b) - (a < b);
}

/* Ascending copy of the samples in the range; of the sealed ones only when asked. */
static struct twin_sample *twin_sorted(const struct twin_series *series, bool only_sealed,
                                       int64_t min_ms, int64_t max_ms, size_t *out_count)
{
    struct twin_sample *sorted = nx_alloc((series->count + 1) * sizeof(*sorted));
    size_t count = 0;
    for (size_t i = 0; i < series->count; i++) {
        const struct twin_sample *sample = &series->samples[i];
        if ((only_sealed && !sample->is_sealed) || sample->time_ms < min_ms ||
            sample->time_ms > max_ms)
            continue;
        sorted[count++] = *sample;
    }
    qsort(sorted, count, sizeof(*sorted), compare_samples);
    *out_count = count;
    return sorted;
}

static bool twin_has_sealed(const struct twin_series *series)
{
    for (size_t i = 0; i < series->count; i++) {
        if (series->samples[i].is_sealed)
            return true;
    }
    return false;
}

/* ---- checks ---- */

static void check_samples(const struct twin_sample *want, size_t want_count, const int64_t *times,
                          const uint64_t *bits, size_t count)
{
    assert_int_equal(count, want_count);
    for (size_t i = 0; i < count; i++) {
        assert_true(times[i] == want[i].time_ms);
        assert_true(bits[i] == want[i].bits);
    }
}

static void check_series(struct world *world, int number, int64_t min_ms, int64_t max_ms)
{
    struct twin_series *series = &world->series[number];
    struct test_columns columns = test_read(world->head, series->ref, min_ms, max_ms);
    size_t count = 0;
    struct twin_sample *want = twin_sorted(series, false, min_ms, max_ms, &count);
    if (!series->is_alive)
        count = 0;
    check_samples(want, count, columns.times_ms, columns.bits, columns.count);
    nx_free(want);
    test_columns_deinit(&columns);
}

static void random_range(struct world *world, int64_t *min_ms, int64_t *max_ms)
{
    if (rand_below(&world->rand, 3) == 0) {
        *min_ms = INT64_MIN;
        *max_ms = INT64_MAX;
        return;
    }
    int64_t from = world->now_ms - (int64_t)rand_below(&world->rand, 3000000);
    *min_ms = from;
    *max_ms = from + (int64_t)rand_below(&world->rand, 1000000);
}

static void check_select(struct world *world)
{
    static const char *const values[] = {"m1", "m2", "a",   "b",     "",      "m.*",
                                         ".+", ".*", "a|b", "[ab]?", "m(1|3)"};
    static const char *const names[] = {"__name__", "job", "pod", "none"};
    struct matcher matchers[3] = {0};
    struct nx_err err;
    size_t count = rand_below(&world->rand, 4);
    for (size_t i = 0; i < count; i++) {
        enum matcher_type type = (enum matcher_type)rand_below(&world->rand, 4);
        const char *value = values[rand_below(&world->rand, NX_ARRAY_LEN(values))];
        const char *name = names[rand_below(&world->rand, NX_ARRAY_LEN(names))];
        assert_int_equal(
            matcher_init(&matchers[i], type, nx_str_from(name), nx_str_from(value), &err), NX_OK);
    }
    int64_t min_ms;
    int64_t max_ms;
    random_range(world, &min_ms, &max_ms);
    struct arena arena;
    arena_init(&arena, 0);
    struct head_series *found;
    size_t found_count;
    assert_int_equal(head_select(world->head, matchers, count, min_ms, max_ms, &arena, &found,
                                 &found_count, &err),
                     NX_OK);
    size_t want = 0;
    for (int i = 0; i < SERIES; i++) {
        struct twin_series *series = &world->series[i];
        want += series->is_alive && series->count > 0 && series->last_ms >= min_ms &&
                matchers_match(matchers, count, series->labels.labels);
    }
    assert_int_equal(found_count, want);
    for (size_t i = 0; i < found_count; i++) {
        assert_true(matchers_match(matchers, count, found[i].labels));
        struct twin_series *series = &world->series[series_of_labels(world, found[i].labels)];
        assert_true(found[i].ref.slot == series->ref.slot);
        assert_true(found[i].ref.generation == series->ref.generation);
        assert_true(i == 0 || labels_compare(found[i - 1].labels, found[i].labels) < 0);
    }
    for (size_t i = 0; i < count; i++)
        matcher_deinit(&matchers[i]);
    arena_deinit(&arena);
}

static void check_stats(struct world *world)
{
    struct head_stats stats;
    head_stats(world->head, &stats);
    size_t alive = 0;
    size_t samples = 0;
    for (int i = 0; i < SERIES; i++) {
        alive += world->series[i].is_alive;
        samples += world->series[i].is_alive ? world->series[i].count : 0;
    }
    assert_int_equal(stats.series, alive);
    assert_int_equal(stats.unflushed_samples, samples);
    assert_int_equal(stats.unknown_samples, 0);
    for (int i = 0; i < SERIES; i++) {
        for (size_t k = 0; k < world->series[i].count; k++) {
            assert_true(stats.min_time_ms <= world->series[i].samples[k].time_ms);
            assert_true(stats.max_time_ms >= world->series[i].samples[k].time_ms);
        }
    }
}

/* ---- steps ---- */

static uint64_t random_bits(struct world *world, const struct twin_series *series)
{
    static const uint64_t odd[] = {STALE_NAN_BITS,
                                   ORDINARY_NAN_BITS,
                                   UINT64_C(0x8000000000000000),
                                   UINT64_C(0xfff0000000000000),
                                   UINT64_C(0x7ff4dead0000beef),
                                   1};
    switch (rand_below(&world->rand, 8)) {
    case 0:
        return odd[rand_below(&world->rand, NX_ARRAY_LEN(odd))];
    case 1:
        return rand_u64(&world->rand);
    case 2:
        return float_bits((double)rand_below(&world->rand, 100000) / 100);
    case 3:
        return float_bits((double)rand_below(&world->rand, 1000));
    default:
        return series->has_last ? series->last_bits : float_bits(1);
    }
}

static int64_t random_time(struct world *world, const struct twin_series *series)
{
    if (series->count > 0 && rand_below(&world->rand, 10) == 0)
        return series->samples[rand_below(&world->rand, series->count)].time_ms;
    uint64_t kind = rand_below(&world->rand, 1000);
    if (kind == 0)
        return world->now_ms + (INT64_C(1) << 33); /* a step beyond 32 bits, then all is late */
    if (kind == 1)
        return world->now_ms - (INT64_C(1) << 34);
    if (kind < 30)
        return world->now_ms - (int64_t)rand_below(&world->rand, 400000);
    if (kind < 60)
        return world->now_ms + (int64_t)rand_below(&world->rand, 3000);
    return world->now_ms;
}

static void step_append(struct world *world)
{
    struct sample samples[16][4];
    struct head_write writes[16];
    int numbers[16];
    size_t count = 1 + rand_below(&world->rand, 16);
    if (rand_below(&world->rand, 60) == 0)
        world->active = (int)rand_below(&world->rand, SERIES);
    int start = world->active + (int)rand_below(&world->rand, 8);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = (start + (int)i) % SERIES;
        struct twin_series *series = &world->series[numbers[i]];
        bool use_ref = series->is_alive && rand_below(&world->rand, 4) != 0;
        writes[i] = (struct head_write){.ref = {.slot = HEAD_SLOT_NONE}, .samples = samples[i]};
        if (use_ref)
            writes[i].ref = series->ref;
        if (!use_ref || rand_below(&world->rand, 2) == 0)
            writes[i].labels = series->labels.labels;
        writes[i].sample_count = 1 + (uint32_t)rand_below(&world->rand, 4);
        for (uint32_t k = 0; k < writes[i].sample_count; k++) {
            uint64_t bits = random_bits(world, series);
            samples[i][k].time_ms = random_time(world, series);
            memcpy(&samples[i][k].value, &bits, sizeof(bits));
        }
    }
    head_append(world->head, writes, count, INT64_MIN, INT64_MAX);
    for (size_t i = 0; i < count; i++) {
        struct twin_series *series = &world->series[numbers[i]];
        uint32_t refused[APPEND_RESULT_COUNT] = {0};
        for (uint32_t k = 0; k < writes[i].sample_count; k++) {
            uint64_t bits;
            bool is_new;
            memcpy(&bits, &samples[i][k].value, sizeof(bits));
            refused[twin_add(series, samples[i][k].time_ms, bits, &is_new)]++;
        }
        assert_memory_equal(refused, writes[i].refused, sizeof(refused));
        if (series->is_alive) {
            assert_true(series->ref.slot == writes[i].ref.slot);
            assert_true(series->ref.generation == writes[i].ref.generation);
        }
        series->is_alive = true;
        series->ref = writes[i].ref;
    }
}

static void take_definitions(struct world *world, const struct journal_buffer *buffer)
{
    struct byte_reader reader = byte_reader_of(nx_buf_bytes(&buffer->definitions));
    for (size_t i = 0; i < buffer->definition_count; i++) {
        struct label items[TEST_LABELS_MAX];
        byte_reader_varint(&reader);
        uint32_t slot = (uint32_t)byte_reader_varint(&reader);
        struct labels labels = {.items = items, .count = byte_reader_varint(&reader)};
        assert_true(labels.count <= TEST_LABELS_MAX);
        for (size_t k = 0; k < labels.count; k++) {
            items[k].name =
                nx_str_from_bytes(byte_reader_take(&reader, byte_reader_varint(&reader)));
            items[k].value =
                nx_str_from_bytes(byte_reader_take(&reader, byte_reader_varint(&reader)));
        }
        world->events[world->event_count++] = (struct event){
            .is_define = true, .slot = slot, .series = series_of_labels(world, labels)};
    }
    assert_false(reader.is_bad);
}

/* A commit: all definitions, then all samples. */
static void step_commit(struct world *world)
{
    struct journal_buffer buffers[HEAD_SHARD_COUNT] = {0};
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        head_take_pending(world->head, s, &buffers[s]);
        take_definitions(world, &buffers[s]);
    }
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        for (size_t i = 0; i < buffers[s].sample_count; i++) {
            assert_true(world->event_count < EVENTS_MAX);
            world->events[world->event_count++] = (struct event){.slot = buffers[s].slots[i],
                                                                 .time_ms = buffers[s].times_ms[i],
                                                                 .bits = buffers[s].value_bits[i]};
        }
        journal_buffer_deinit(&buffers[s]);
    }
}

static void step_flush_begin(struct world *world)
{
    struct nx_err err;
    step_commit(world);
    world->cut = world->event_count;
    assert_int_equal(head_flush_begin(world->head, &world->flush, &err), NX_OK);
    struct head_flush *second;
    assert_int_equal(head_flush_begin(world->head, &second, &err), NX_E_BUSY);
    world->flush_is_read = false;
    for (int i = 0; i < SERIES; i++) {
        for (size_t k = 0; k < world->series[i].count; k++)
            world->series[i].samples[k].is_sealed = true;
    }
}

static void step_flush_read(struct world *world)
{
    struct head_flush_series out;
    struct nx_err err;
    struct test_labels before = {0};
    bool has_before = false;
    int more;
    world->next_count = 0;
    while ((more = head_flush_next(world->flush, &out, &err)) > 0) {
        int number = series_of_labels(world, out.labels);
        struct twin_series *series = &world->series[number];
        size_t count;
        struct twin_sample *want = twin_sorted(series, true, INT64_MIN, INT64_MAX, &count);
        check_samples(want, count, out.times_ms, (const uint64_t *)(const void *)out.values,
                      out.count);
        assert_true(out.count > 0);
        assert_int_equal(out.slot, series->ref.slot);
        assert_true(!has_before || labels_compare(before.labels, out.labels) < 0);
        test_labels_make(&before, series->labels.text);
        has_before = true;
        nx_free(want);
        world->next_block[world->next_count++] =
            (struct block_entry){.slot = out.slot, .series = number};
    }
    assert_int_equal(more, 0);
    size_t sealed = 0;
    for (int i = 0; i < SERIES; i++)
        sealed += world->series[i].is_alive && twin_has_sealed(&world->series[i]);
    assert_int_equal(world->next_count, sealed);
    world->flush_is_read = true;
}

static void twin_publish(struct world *world)
{
    for (int i = 0; i < SERIES; i++) {
        struct twin_series *series = &world->series[i];
        bool was_sealed = twin_has_sealed(series);
        bool was_in_previous = series->is_in_previous;
        size_t kept = 0;
        for (size_t k = 0; k < series->count; k++) {
            if (!series->samples[k].is_sealed)
                series->samples[kept++] = series->samples[k];
        }
        series->count = kept;
        series->is_in_previous = was_sealed;
        if (series->is_alive && !was_sealed && !was_in_previous && kept == 0) {
            series->is_alive = false;
            series->has_last = false;
        }
    }
    memcpy(world->block, world->next_block, sizeof(world->block));
    world->block_count = world->next_count;
    memmove(world->events, world->events + world->cut,
            (world->event_count - world->cut) * sizeof(*world->events));
    world->event_count -= world->cut;
}

static void step_flush_end(struct world *world, bool is_published)
{
    head_flush_end(world->flush, is_published);
    world->flush = NULL;
    if (is_published)
        twin_publish(world);
}

static void note_stats(struct world *world)
{
    struct head_stats stats;
    head_stats(world->head, &stats);
    world->seen->removed += stats.series_removed;
    world->seen->late += stats.late_samples;
}

/* A ref to a series that left takes nothing, whoever has the slot now. */
static void check_stale_refs(struct world *world)
{
    for (int i = 0; i < SERIES; i++) {
        struct twin_series *series = &world->series[i];
        if (series->is_alive || series->ref.generation == 0)
            continue;
        struct series_ref ref = series->ref;
        struct head_write write = test_write(world->head, &ref, series->labels.labels, 1, 1);
        assert_int_equal(write.refused[APPEND_STALE_REF], 1);
        world->seen->stale_refs++;
    }
}

/* Only block and journal survive: both head and twin are rebuilt from them. */
static void step_crash(struct world *world)
{
    struct nx_err err;
    step_commit(world);
    if (world->flush != NULL)
        step_flush_end(world, false);
    note_stats(world);
    world->seen->crashes++;
    head_free(world->head);
    world->head = test_head_new(0);
    size_t counts[SERIES];
    struct twin_series *old = nx_alloc(sizeof(world->series));
    memcpy(old, world->series, sizeof(world->series));
    for (int i = 0; i < SERIES; i++) {
        counts[i] = world->series[i].is_alive ? world->series[i].count : 0;
        struct twin_series *series = &world->series[i];
        series->is_alive = series->is_in_previous = series->has_last = false;
        series->ref = (struct series_ref){0};
        series->count = 0;
        series->samples = nx_alloc(SAMPLES_MAX * sizeof(*series->samples));
    }
    for (size_t i = 0; i < world->block_count; i++) {
        struct twin_series *series = &world->series[world->block[i].series];
        assert_int_equal(
            head_load_series(world->head, world->block[i].slot, series->labels.labels, &err),
            NX_OK);
        series->is_alive = series->is_in_previous = true;
        series->ref = (struct series_ref){.slot = world->block[i].slot, .generation = 1};
    }
    const struct journal_visitor *visitor = &head_journal_visitor;
    for (size_t i = 0; i < world->event_count; i++) {
        struct event *event = &world->events[i];
        if (event->is_define) {
            struct twin_series *series = &world->series[event->series];
            assert_int_equal(visitor->define(world->head, event->slot, series->labels.labels, &err),
                             NX_OK);
            assert_true(!series->is_alive || series->ref.slot == event->slot);
            series->is_alive = true;
            series->ref = (struct series_ref){.slot = event->slot, .generation = 1};
            continue;
        }
        assert_int_equal(
            visitor->samples(world->head, &event->slot, &event->time_ms, &event->bits, 1, &err),
            NX_OK);
        bool is_known = false;
        for (int k = 0; k < SERIES && !is_known; k++) {
            bool is_new;
            is_known = world->series[k].is_alive && world->series[k].ref.slot == event->slot;
            if (is_known)
                assert_int_equal(twin_add(&world->series[k], event->time_ms, event->bits, &is_new),
                                 APPEND_OK);
        }
        assert_true(is_known);
    }
    head_load_finish(world->head);
    /* Whatever was in the head and not in a block is there again. */
    for (int i = 0; i < SERIES; i++) {
        for (size_t k = 0; k < counts[i]; k++) {
            bool is_new;
            assert_int_equal(twin_add(&world->series[i], old[i].samples[k].time_ms,
                                      old[i].samples[k].bits, &is_new),
                             APPEND_OK);
            assert_false(is_new);
        }
        nx_free(old[i].samples);
    }
    nx_free(old);
}

static void check_all(struct world *world)
{
    for (int i = 0; i < SERIES; i++)
        check_series(world, i, INT64_MIN, INT64_MAX);
    check_stats(world);
}

static void step(struct world *world)
{
    int64_t min_ms;
    int64_t max_ms;
    switch (rand_below(&world->rand, 60)) {
    case 0:
        if (world->flush == NULL)
            step_flush_begin(world);
        break;
    case 1:
        if (world->flush != NULL && !world->flush_is_read)
            step_flush_read(world);
        break;
    case 2:
    case 3:
        if (world->flush != NULL && world->flush_is_read)
            step_flush_end(world, true);
        break;
    case 4:
        if (world->flush != NULL) {
            step_flush_end(world, false);
            world->seen->republished++;
        }
        break;
    case 5:
        step_commit(world);
        break;
    case 6:
        if (rand_below(&world->rand, 10) == 0)
            step_crash(world);
        check_all(world);
        check_stale_refs(world);
        break;
    case 7:
    case 8:
    case 9:
        random_range(world, &min_ms, &max_ms);
        check_series(world, (int)rand_below(&world->rand, SERIES), min_ms, max_ms);
        break;
    case 10:
    case 11:
    case 12:
        check_select(world);
        break;
    default:
        world->now_ms +=
            15000 +
            (rand_below(&world->rand, 5) == 0 ? (int64_t)rand_below(&world->rand, 40) - 20 : 0);
        step_append(world);
        break;
    }
}

/* Some series write rarely, so that they leave and come again. */
static void run_history(uint64_t seed, int steps, struct seen *seen)
{
    struct world *world = nx_calloc(1, sizeof(*world));
    rand_seed(&world->rand, seed);
    world->seen = seen;
    world->head = test_head_new(0);
    world->events = nx_alloc(EVENTS_MAX * sizeof(*world->events));
    world->now_ms = 1700000000000;
    for (int i = 0; i < SERIES; i++) {
        char text[128];
        snprintf(text, sizeof(text), "__name__=m%d,job=%s,pod=p%d%s", i % 4, i % 3 ? "a" : "b", i,
                 i % 5 ? "" : ",zone=z");
        test_labels_make(&world->series[i].labels, text);
        world->series[i].samples = nx_alloc(SAMPLES_MAX * sizeof(struct twin_sample));
    }
    for (int i = 0; i < steps && world->event_count < EVENTS_MAX - 1000; i++)
        step(world);
    check_all(world);
    note_stats(world);
    if (world->flush != NULL)
        head_flush_end(world->flush, false);
    head_free(world->head);
    for (int i = 0; i < SERIES; i++)
        nx_free(world->series[i].samples);
    nx_free(world->events);
    nx_free(world);
}

static void test_head_equals_its_twin_over_random_histories(void **state)
{
    (void)state;
    const char *seed_text = getenv("NX_TEST_SEED");
    uint64_t first = seed_text != NULL ? strtoull(seed_text, NULL, 10) : 1;
    uint64_t last = seed_text != NULL ? first : 30;
    struct seen seen = {0};
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("NX_TEST_SEED=%llu\n", (unsigned long long)seed);
        run_history(seed, 1500, &seen);
    }
    print_message("removed %llu, late %llu, crashes %llu, flushes given up %llu, stale refs %llu\n",
                  (unsigned long long)seen.removed, (unsigned long long)seen.late,
                  (unsigned long long)seen.crashes, (unsigned long long)seen.republished,
                  (unsigned long long)seen.stale_refs);
    if (seed_text != NULL)
        return;
    assert_true(seen.removed > 100 && seen.late > 100 && seen.crashes > 10);
    assert_true(seen.republished > 10 && seen.stale_refs > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_equals_its_twin_over_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
