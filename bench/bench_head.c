/* SPDX-License-Identifier: Apache-2.0 */
/* bench_head.c - what the head costs: nanoseconds a sample, bytes a series.
 *
 *   bench_head [series] [samples a series] [jitter in ms]        default 1000000 60 5; above 4 M series no flush
 *
 * Kubernetes-shaped series of 15 labels, 100 a pod; requests of 2000 series, one sample each, every 15 s. A pod is
 * scraped at a phase of its own and up to the jitter later, and every tenth series has its container's clock, up to 9 s
 * behind; with jitter 0 all steps are equal, as Prometheus makes them when scrapes are less than 2 ms off. Values: 60
 * of 100 series constant, 24 integer counters, 8 gauges with 0 to 3 decimals, 4 sums, 4 uniform doubles. A commit,
 * which here drops what it takes, comes every 20 requests. Times are CPU times. Memory is RssAnon less what the
 * bench itself holds before the head begins.
 */
#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/head/cardinality.h"
#include "narthex/head/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LABELS         15u
#define POD_SERIES     100u
#define REQUEST_SERIES 2000u
#define COMMIT_EVERY   20u
/* Above that the copies for loading take more memory than the head. */
#define FLUSHED_SERIES_MAX 4000000u
#define START_MS           INT64_C(1700000000000)
#define STEP_MS            15000

struct bench {
    struct head *head;
    uint32_t series;
    uint32_t jitter_ms;
    struct series_ref *refs;
    double *values;
    struct head_write *writes;
    struct sample *samples;
    struct rand_state rand;
    struct journal_buffer buffers[HEAD_SHARD_COUNT];
};

/* Of this process: the bench has one thread, and others on the machine do not count. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    int failed = clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    NX_ASSERT(failed == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t anonymous_bytes(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    NX_ASSERT(status != NULL);
    char line[256];
    unsigned long kib = 0;
    while (fgets(line, sizeof(line), status) != NULL) {
        if (sscanf(line, "RssAnon: %lu", &kib) == 1)
            break;
    }
    fclose(status);
    return (uint64_t)kib * 1024;
}

/* ---- series ---- */

static const char *const label_names[LABELS] = {
    "__name__", "cluster",   "container", "endpoint", "id",      "image", "instance", "job",
    "le",       "namespace", "node",      "pod",      "service", "uid",   "zone"};

/* Texts of one series; views into `text`. */
struct series_text {
    char text[LABELS][96];
    struct label items[LABELS];
};

static struct labels series_labels_of(struct series_text *out, uint32_t series)
{
    uint32_t pod = series / POD_SERIES;
    uint32_t metric = series % POD_SERIES;
    uint64_t mixed = (uint64_t)pod * UINT64_C(0x9e3779b97f4a7c15);
    snprintf(out->text[0], 96, "container_metric_family_%03u_total", metric);
    snprintf(out->text[1], 96, "production-eu-central-1");
    snprintf(out->text[2], 96, "container-%u", pod % 40);
    snprintf(out->text[3], 96, "https-metrics");
    snprintf(out->text[4], 96, "/kubepods/burstable/pod%016llx", (unsigned long long)mixed);
    snprintf(out->text[5], 96, "registry.example.com/team/app-%u:v1.%u", pod % 200, pod % 7);
    snprintf(out->text[6], 96, "10.%u.%u.%u:10250", pod / 65536, pod / 256 % 256, pod % 256);
    snprintf(out->text[7], 96, "kubelet-%u", pod % 12);
    snprintf(out->text[8], 96, "%u", metric % 20);
    snprintf(out->text[9], 96, "namespace-%u", pod % 60);
    snprintf(out->text[10], 96, "ip-10-0-%u-%u.eu-central-1.compute.internal", pod / 30 / 256,
             pod / 30 % 256);
    snprintf(out->text[11], 96, "app-%u-%08llx-%05llx", pod % 200,
             (unsigned long long)(mixed >> 32), (unsigned long long)(mixed & 0xfffff));
    snprintf(out->text[12], 96, "service-%u", pod % 90);
    snprintf(out->text[13], 96, "%08llx-0000-4000-8000-%012llx", (unsigned long long)(mixed >> 32),
             (unsigned long long)(mixed & 0xffffffffffff));
    snprintf(out->text[14], 96, "eu-central-1%c", 'a' + (int)(pod % 3));
    for (unsigned i = 0; i < LABELS; i++) {
        out->items[i].name = nx_str_from(label_names[i]);
        out->items[i].value = nx_str_from(out->text[i]);
    }
    return (struct labels){.items = out->items, .count = LABELS};
}

/* ---- values ---- */

static double next_value(struct bench *bench, uint32_t series, double before)
{
    static const double decimals[] = {1, 10, 100, 1000};
    unsigned kind = (unsigned)(((uint64_t)series * 2654435761u) >> 7) % 100;
    if (kind < 60)
        return kind % 3;
    if (kind < 84)
        return before + (double)rand_below(&bench->rand, (uint64_t)1 << (kind % 12));
    if (kind < 92)
        return (double)rand_below(&bench->rand, 5000) / decimals[kind % 4];
    if (kind < 96)
        return before + rand_unit(&bench->rand);
    return rand_unit(&bench->rand);
}

/* ---- times ---- */

static int64_t sample_time(const struct bench *bench, uint32_t series, int64_t scrape_ms)
{
    uint64_t pod = series / POD_SERIES;
    int64_t time_ms = scrape_ms + (int64_t)(nx_hash_mix(pod, 1) % STEP_MS);
    if (bench->jitter_ms == 0)
        return time_ms;
    time_ms += (int64_t)(nx_hash_mix(pod, (uint64_t)scrape_ms) % bench->jitter_ms);
    if (series % 10 == 9)
        time_ms -= 200 + (int64_t)(nx_hash_mix(series / 25, (uint64_t)scrape_ms) % 9000);
    return time_ms;
}

/* ---- phases ---- */

static void drop_pending(struct bench *bench)
{
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        head_take_pending(bench->head, s, &bench->buffers[s]);
        journal_buffer_reset(&bench->buffers[s]);
    }
}

static void report(const char *what, double value, const char *unit)
{
    printf("%-34s %12.1f %s\n", what, value, unit);
    fflush(stdout);
}

/* New series, resolved by labels. */
static void phase_create(struct bench *bench)
{
    struct series_text *texts = nx_alloc(REQUEST_SERIES * sizeof(*texts));
    uint64_t ns = 0;
    unsigned requests = 0;
    for (uint32_t from = 0; from < bench->series; from += REQUEST_SERIES) {
        uint32_t count = bench->series - from;
        count = count < REQUEST_SERIES ? count : REQUEST_SERIES;
        for (uint32_t i = 0; i < count; i++) {
            bench->values[from + i] = next_value(bench, from + i, 0);
            bench->samples[i] = (struct sample){.time_ms = sample_time(bench, from + i, START_MS),
                                                .value = bench->values[from + i]};
            bench->writes[i] = (struct head_write){.ref = {.slot = HEAD_SLOT_NONE},
                                                   .labels = series_labels_of(&texts[i], from + i),
                                                   .samples = &bench->samples[i],
                                                   .sample_count = 1};
        }
        uint64_t begin = cpu_ns();
        head_append(bench->head, bench->writes, count, INT64_MIN, INT64_MAX);
        ns += cpu_ns() - begin;
        for (uint32_t i = 0; i < count; i++) {
            NX_ASSERT(bench->writes[i].refused[APPEND_OK] == 1);
            bench->refs[from + i] = bench->writes[i].ref;
        }
        if (++requests % COMMIT_EVERY == 0)
            drop_pending(bench);
    }
    drop_pending(bench);
    nx_free(texts);
    report("new series", (double)ns / bench->series, "ns each");
    report("", 1e9 * bench->series / (double)ns, "series/s");
}

/* One scrape of everything; the time counts the calls alone. */
static uint64_t scrape(struct bench *bench, int64_t time_ms)
{
    uint64_t ns = 0;
    unsigned requests = 0;
    for (uint32_t from = 0; from < bench->series; from += REQUEST_SERIES) {
        uint32_t count = bench->series - from;
        count = count < REQUEST_SERIES ? count : REQUEST_SERIES;
        for (uint32_t i = 0; i < count; i++) {
            double value = next_value(bench, from + i, bench->values[from + i]);
            bench->values[from + i] = value;
            bench->samples[i] =
                (struct sample){.time_ms = sample_time(bench, from + i, time_ms), .value = value};
            bench->writes[i] = (struct head_write){
                .ref = bench->refs[from + i], .samples = &bench->samples[i], .sample_count = 1};
        }
        uint64_t begin = cpu_ns();
        head_append(bench->head, bench->writes, count, INT64_MIN, INT64_MAX);
        ns += cpu_ns() - begin;
        if (++requests % COMMIT_EVERY == 0)
            drop_pending(bench);
    }
    drop_pending(bench);
    return ns;
}

static void report_memory(struct bench *bench, uint64_t before)
{
    struct head_stats stats;
    head_stats(bench->head, &stats);
    double series = bench->series;
    report("memory, anonymous", (double)(anonymous_bytes() - before) / series, "B/series");
    report("  of it series", (double)stats.bytes_series / series, "B/series");
    report("  labels", (double)stats.bytes_labels / series, "B/series");
    report("  index", (double)stats.bytes_index / series, "B/series");
    report("  chunks", (double)stats.bytes_chunks / series, "B/series");
    report("  late samples", (double)stats.bytes_late / series, "B/series");
    report("  pending for the journal", (double)stats.bytes_pending / series, "B/series");
}

/* The first pass, one with a past, and look-ups of metrics that are there. */
static void phase_cardinality(struct bench *bench)
{
    uint64_t begin = cpu_ns();
    struct cardinality *cardinality = cardinality_new(bench->head, clock_real());
    uint64_t begun = cpu_ns();
    cardinality_refresh(cardinality);
    uint64_t refreshed = cpu_ns();
    struct cardinality_row row;
    for (unsigned i = 0; i < 100000; i++) {
        bool is_live =
            cardinality_find(cardinality, CARDINALITY_METRIC,
                             NX_STR("container_metric_family_042_total"), NX_STR(""), &row);
        NX_ASSERT(is_live);
    }
    uint64_t found = cpu_ns();
    struct cardinality_totals totals;
    cardinality_totals(cardinality, &totals);
    printf("%-34s %12.1f ms, %llu pairs\n", "cardinality: first pass",
           (double)(begun - begin) / 1000000, (unsigned long long)totals.pairs);
    report("cardinality: pass", (double)(refreshed - begun) / 1000000, "ms");
    report("cardinality: look-up", (double)(found - refreshed) / 100000, "ns");
    report("cardinality: memory", (double)cardinality_bytes(cardinality) / bench->series,
           "B/series");
    cardinality_free(cardinality);
}

/* What a start loads: copies of the labels in label order, made by a flush. */
struct loadable {
    uint32_t *slots;
    struct labels *labels;
    size_t count;
    struct arena arena;
};

static void phase_flush(struct bench *bench, struct loadable *loadable)
{
    struct head_flush *flush = NULL;
    struct head_flush_series series;
    struct nx_err err;
    uint64_t begin = cpu_ns();
    nx_code code = head_flush_begin(bench->head, &flush, &err);
    NX_ASSERT(code == NX_OK);
    uint64_t begun = cpu_ns();
    uint64_t samples = 0;
    int more;
    while ((more = head_flush_next(flush, &series, &err)) > 0) {
        samples += series.count;
        if (loadable == NULL)
            continue;
        loadable->slots[loadable->count] = series.slot;
        loadable->labels[loadable->count++] = labels_copy(&loadable->arena, series.labels);
    }
    NX_ASSERT(more == 0);
    uint64_t read = cpu_ns();
    head_flush_end(flush, true);
    uint64_t ended = cpu_ns();
    report("flush: begin", (double)(begun - begin) / bench->series, "ns/series");
    report(loadable == NULL ? "flush: next" : "flush: next, labels copied",
           (double)(read - begun) / bench->series, "ns/series");
    report("", (double)(read - begun) / (double)samples, "ns/sample");
    report("flush: end", (double)(ended - read) / bench->series, "ns/series");
}

static void phase_select(struct bench *bench)
{
    struct matcher matchers[2] = {0};
    struct nx_err err;
    struct arena arena;
    struct head_series *found;
    size_t count;
    arena_init(&arena, 0);
    nx_code code = matcher_init(&matchers[0], MATCHER_EQUAL, NX_STR("__name__"),
                                NX_STR("container_metric_family_042_total"), &err);
    NX_ASSERT(code == NX_OK);
    code =
        matcher_init(&matchers[1], MATCHER_REGEX, NX_STR("pod"), NX_STR("app-1.*-.*[0-9]"), &err);
    NX_ASSERT(code == NX_OK);
    for (size_t n = 1; n <= 2; n++) {
        uint64_t begin = cpu_ns();
        code = head_select(bench->head, matchers, n, INT64_MIN, INT64_MAX, &arena, &found, &count,
                           &err);
        NX_ASSERT(code == NX_OK);
        printf("%-34s %12.1f us, %zu series\n",
               n == 1 ? "select by metric" : "select by metric and regex",
               (double)(cpu_ns() - begin) / 1000, count);
    }
    struct nx_buf times = {0};
    struct nx_buf values = {0};
    uint64_t begin = cpu_ns();
    for (size_t i = 0; i < count; i++) {
        code = head_read(bench->head, found[i].ref, INT64_MIN, INT64_MAX, &times, &values, &err);
        NX_ASSERT(code == NX_OK);
    }
    report("read", (double)(cpu_ns() - begin) * 8 / (double)times.len, "ns/sample");
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);
    matcher_deinit(&matchers[0]);
    matcher_deinit(&matchers[1]);
    arena_deinit(&arena);
}

static void phase_load(struct bench *bench, const struct loadable *loadable)
{
    struct head_options options = {0};
    struct nx_err err;
    nx_code code = head_new(&bench->head, &options, &err);
    NX_ASSERT(code == NX_OK);
    uint64_t begin = cpu_ns();
    for (size_t i = 0; i < loadable->count; i++) {
        code = head_load_series(bench->head, loadable->slots[i], loadable->labels[i], &err);
        NX_ASSERT(code == NX_OK);
    }
    report("load: series", (double)(cpu_ns() - begin) / bench->series, "ns/series");
}

/* Between the series and the finish, as in a start. */
static void phase_replay(struct bench *bench, const struct loadable *loadable, unsigned rounds)
{
    uint32_t *slots = nx_alloc(loadable->count * sizeof(*slots));
    int64_t *times = nx_alloc(loadable->count * sizeof(*times));
    uint64_t *bits = nx_alloc(loadable->count * sizeof(*bits));
    struct nx_err err;
    size_t count = 0;
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++) {
        for (size_t i = 0; i < loadable->count; i++) {
            if (bench->refs[i].slot % HEAD_SHARD_COUNT != s)
                continue;
            slots[count] = bench->refs[i].slot;
            double value = bench->values[i];
            memcpy(&bits[count++], &value, sizeof(value));
        }
    }
    uint64_t ns = 0;
    for (unsigned r = 0; r < rounds; r++) {
        for (size_t i = 0; i < count; i++)
            times[i] = START_MS + (int64_t)r * STEP_MS;
        uint64_t begin = cpu_ns();
        for (size_t i = 0; i < count; i += 4096) {
            size_t piece = count - i < 4096 ? count - i : 4096;
            nx_code code = head_journal_visitor.samples(bench->head, slots + i, times + i, bits + i,
                                                        piece, &err);
            NX_ASSERT(code == NX_OK);
        }
        ns += cpu_ns() - begin;
    }
    struct head_stats stats;
    head_stats(bench->head, &stats);
    NX_ASSERT(stats.unflushed_samples == (uint64_t)count * rounds && stats.unknown_samples == 0);
    report("load: replay", (double)ns / (double)(count * rounds), "ns/sample");
    nx_free(slots);
    nx_free(times);
    nx_free(bits);
}

static void phase_finish(struct bench *bench)
{
    uint64_t begin = cpu_ns();
    head_load_finish(bench->head);
    report("load: finish", (double)(cpu_ns() - begin) / bench->series, "ns/series");
}

int main(int argc, char **argv)
{
    struct bench bench = {.series = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000};
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 60;
    bench.jitter_ms = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 5;
    struct head_options options = {0};
    struct nx_err err;
    if (bench.series == 0 || rounds < 2)
        return 2;
    rand_seed(&bench.rand, 1);
    size_t n = bench.series;
    bench.refs = memset(nx_alloc(n * sizeof(*bench.refs)), 1, n * sizeof(*bench.refs));
    bench.values = memset(nx_alloc(n * sizeof(*bench.values)), 1, n * sizeof(*bench.values));
    bench.writes = nx_calloc(REQUEST_SERIES, sizeof(*bench.writes));
    bench.samples = nx_calloc(REQUEST_SERIES, sizeof(*bench.samples));
    uint64_t before = anonymous_bytes();
    nx_code code = head_new(&bench.head, &options, &err);
    NX_ASSERT(code == NX_OK);
    report("empty head", (double)(anonymous_bytes() - before) / 1024, "KiB");
    printf("%u series, %u samples each, jitter below %u ms\n", bench.series, rounds,
           bench.jitter_ms);
    phase_create(&bench);
    report("memory, one sample each", (double)(anonymous_bytes() - before) / (double)n, "B/series");
    uint64_t ns = 0;
    for (unsigned r = 1; r < rounds; r++)
        ns += scrape(&bench, START_MS + (int64_t)r * STEP_MS);
    report("append, known series", (double)ns / (double)(n * (rounds - 1)), "ns/sample");
    report_memory(&bench, before);
    phase_select(&bench);
    phase_cardinality(&bench);
    if (bench.series > FLUSHED_SERIES_MAX)
        return 0;

    struct loadable loadable = {0};
    loadable.slots = nx_alloc(n * sizeof(*loadable.slots));
    loadable.labels = nx_alloc(n * sizeof(*loadable.labels));
    arena_init(&loadable.arena, 0);
    phase_flush(&bench, &loadable);
    uint64_t copies =
        arena_usage(&loadable.arena) + n * (sizeof(*loadable.slots) + sizeof(*loadable.labels));
    ns = 0;
    for (unsigned r = 0; r < 60; r++)
        ns += scrape(&bench, START_MS + (int64_t)(rounds + r) * STEP_MS);
    printf("after a flush, 60 samples more:\n");
    report("append, known series", (double)ns / (double)(n * 60), "ns/sample");
    report_memory(&bench, before + copies);
    phase_flush(&bench, NULL);
    rounds += 60;
    for (unsigned r = 0; r < 8; r++)
        scrape(&bench, START_MS + (int64_t)(rounds + r) * STEP_MS);
    phase_flush(&bench, NULL);
    scrape(&bench, START_MS + (int64_t)(rounds + 8) * STEP_MS);
    printf("with ranks:\n");
    phase_select(&bench);
    head_free(bench.head);
    phase_load(&bench, &loadable);
    phase_replay(&bench, &loadable, 24);
    phase_finish(&bench);
    head_free(bench.head);
    for (unsigned s = 0; s < HEAD_SHARD_COUNT; s++)
        journal_buffer_deinit(&bench.buffers[s]);
    arena_deinit(&loadable.arena);
    nx_free(loadable.slots);
    nx_free(loadable.labels);
    nx_free(bench.refs);
    nx_free(bench.values);
    nx_free(bench.writes);
    nx_free(bench.samples);
    return 0;
}
