/* SPDX-License-Identifier: Apache-2.0 */
/* bench_store.c - a whole store without a network: writes, acknowledgement, flush, a kill, the start after it, a query.
 *
 *   bench_store [series] [scrapes] [dir]        default 200000 8 /tmp
 *
 * Series have 15 labels of Kubernetes' shape; 62 % are constant, the rest count up. One writer sends requests of
 * 2000 samples and waits for each acknowledgement, as one shard of a sender does. The process that wrote ends
 * without closing (as by kill -9) once before and once after a flush, and a fresh one opens the directory.
 */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/base/thread.h"
#include "narthex/storage/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_SAMPLES 2000u
#define LABELS          15u

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_real());
}

static double ms_since(uint64_t begun_ns)
{
    return (double)(now_ns() - begun_ns) / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t anonymous_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t kib = 0;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtoull(line + 8, NULL, 10);
    }
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

/* Labels of series i; values that differ from series to series are printed into `text`. */
static struct labels make_labels(uint32_t i, struct label items[LABELS], char text[512])
{
    static const char *const names[LABELS] = {
        "__name__",     "cluster", "container", "endpoint", "id",  "image",   "instance", "job",
        "metrics_path", "name",    "namespace", "node",     "pod", "service", "uid"};
    uint32_t pod = i / 400;
    uint32_t metric = i % 400;
    size_t at = 0;
    for (unsigned k = 0; k < LABELS; k++) {
        char *value = text + at;
        int length = 0;
        switch (k) {
        case 0:
            length = snprintf(value, 64, "container_metric_family_%u_total", metric);
            break;
        case 2:
            length = snprintf(value, 64, "app-%u", pod % 50);
            break;
        case 4:
            length = snprintf(value, 64, "/kubepods/burstable/pod%08x", pod * 2654435761u);
            break;
        case 6:
            length = snprintf(value, 64, "10.0.%u.%u:10250", pod / 250 % 250, pod % 250);
            break;
        case 10:
            length = snprintf(value, 64, "namespace-%u", pod % 30);
            break;
        case 11:
            length = snprintf(value, 64, "ip-10-0-%u.eu-central-1.compute.internal", pod / 20);
            break;
        case 12:
            length = snprintf(value, 64, "app-%u-%08x-%05u", pod % 50, pod * 40503u, pod);
            break;
        case 14:
            length = snprintf(value, 64, "%08x-%04x-4000-8000-%012x", pod * 97u, pod % 65536, pod);
            break;
        default:
            length = snprintf(value, 64, "constant-of-%s", names[k]);
            break;
        }
        items[k] = (struct label){.name = nx_str_from(names[k]),
                                  .value = {.data = value, .len = (size_t)length}};
        at += (size_t)length;
    }
    return (struct labels){.items = items, .count = LABELS};
}

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

static void must(nx_code code, const struct nx_err *err)
{
    if (code != NX_OK) {
        fprintf(stderr, "%s\n", err->msg);
        exit(1);
    }
}

static struct store *open_store(const char *dir, const char *what)
{
    struct store_options options = {
        .data_dir = dir,
        .io = io_real(),
        .clock = clock_real(),
        .future_tolerance_ms = INT64_C(1) << 40,
        .flush_interval_ms = INT64_C(1) << 40,
        .flush_samples_min = UINT64_MAX,
        .cache_bytes = 256u << 20,
        .is_maintained = true,
    };
    struct store *store;
    struct store_open_result result;
    struct nx_err err;
    uint64_t begun = now_ns();
    double cpu = cpu_seconds();
    must(store_open(&store, &options, &result, &err), &err);
    printf("open     %-14s %8.0f ms (cpu %.0f ms): %" PRIu64 " series in %" PRIu64 " ms, %" PRIu64
           " journal samples in %" PRIu64 " ms\n",
           what, ms_since(begun), (cpu_seconds() - cpu) * 1e3, result.series_loaded, result.load_ms,
           result.journal_samples, result.replay_ms);
    return store;
}

struct load {
    struct store *store;
    uint32_t series;
    struct series_ref *refs;
    double *values;
    struct waiting waiting;
    struct rand_state rand;
};

static int compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void send_request(struct load *load, uint32_t first, uint32_t end, int64_t time_ms)
{
    static struct head_write writes[REQUEST_SAMPLES];
    static struct sample samples[REQUEST_SAMPLES];
    static struct label items[REQUEST_SAMPLES][LABELS];
    static char text[REQUEST_SAMPLES][1024];
    memset(writes, 0, sizeof(writes));
    uint32_t count = end - first;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first + i;
        if (number % 100 >= 62)
            load->values[number] += (double)rand_below(&load->rand, 1000);
        samples[i] = (struct sample){.time_ms = time_ms, .value = load->values[number]};
        writes[i].ref = load->refs[number];
        if (writes[i].ref.slot == HEAD_SLOT_NONE)
            writes[i].labels = make_labels(number, items[i], text[i]);
        writes[i].samples = &samples[i];
        writes[i].sample_count = 1;
    }
    struct nx_err err;
    must(store_write(load->store, writes, count, &err), &err);
    for (uint32_t i = 0; i < count; i++)
        load->refs[first + i] = writes[i].ref;
    load->waiting.is_done = false;
    store_wait(load->store, on_done, &load->waiting);
    mutex_lock(&load->waiting.lock);
    while (!load->waiting.is_done)
        cond_wait(&load->waiting.done, &load->waiting.lock);
    mutex_unlock(&load->waiting.lock);
    if (load->waiting.code != NX_OK)
        exit(1);
}

static void write_scrapes(struct load *load, unsigned first_scrape, unsigned scrapes)
{
    size_t requests = (load->series + REQUEST_SAMPLES - 1) / REQUEST_SAMPLES;
    uint64_t *latencies = nx_calloc(requests * scrapes, sizeof(*latencies));
    size_t count = 0;
    uint64_t begun = now_ns();
    double cpu = cpu_seconds();
    for (unsigned s = 0; s < scrapes; s++) {
        for (uint32_t first = 0; first < load->series; first += REQUEST_SAMPLES) {
            uint32_t end =
                first + REQUEST_SAMPLES < load->series ? first + REQUEST_SAMPLES : load->series;
            uint64_t sent = now_ns();
            send_request(load, first, end,
                         1700000000000 + 15000 * (int64_t)(first_scrape + s) + first / 500);
            latencies[count++] = now_ns() - sent;
        }
    }
    double samples = (double)load->series * scrapes;
    qsort(latencies, count, sizeof(*latencies), compare_u64);
    printf(
        "write    %9.0f samples in %8.0f ms, cpu %6.0f ns/sample, request p50 %6.2f ms p99 %6.2f ms\n",
        samples, ms_since(begun), (cpu_seconds() - cpu) * 1e9 / samples,
        (double)latencies[count / 2] / 1e6, (double)latencies[count * 99 / 100] / 1e6);
    nx_free(latencies);
}

static void query_all(struct store *store, const char *what)
{
    struct arena arena;
    struct nx_err err;
    struct matcher matcher;
    arena_init(&arena, 0);
    must(matcher_init(&matcher, MATCHER_EQUAL, NX_STR("__name__"),
                      NX_STR("container_metric_family_7_total"), &err),
         &err);
    struct series_hints hints = {.arena = &arena};
    struct series_warnings warnings = {0};
    struct series_source *source = store_source(store);
    struct series_set *set;
    uint64_t begun = now_ns();
    double cpu = cpu_seconds();
    must(source->ops->select(source, &matcher, 1, INT64_MIN, INT64_MAX, &hints, &set, &warnings,
                             &err),
         &err);
    struct series_columns columns;
    uint64_t series = 0;
    uint64_t samples = 0;
    while (set->ops->next(set, &columns, &err) == 1) {
        series++;
        samples += columns.count;
    }
    printf("query    %-14s %8.2f ms (cpu %.2f ms): %" PRIu64 " series, %" PRIu64 " samples\n", what,
           ms_since(begun), (cpu_seconds() - cpu) * 1e3, series, samples);
    set->ops->free(set);
    matcher_deinit(&matcher);
    arena_deinit(&arena);
}

/* One life; it ends as by kill -9. */
static void live(const char *dir, uint32_t series, unsigned scrapes)
{
    struct load load = {.series = series};
    load.store = open_store(dir, "empty");
    load.refs = nx_calloc(series, sizeof(*load.refs));
    load.values = nx_calloc(series, sizeof(*load.values));
    for (uint32_t i = 0; i < series; i++)
        load.refs[i].slot = HEAD_SLOT_NONE;
    mutex_init(&load.waiting.lock, LOCK_RANK_LOG);
    cond_init(&load.waiting.done);
    rand_seed(&load.rand, 1);
    write_scrapes(&load, 0, 1);
    write_scrapes(&load, 1, scrapes - 1);
    struct store_stats stats;
    store_stats(load.store, &stats);
    printf(
        "memory   %.0f B anonymous per series; head %.0f (series %.0f labels %.0f index %.0f chunks %.0f)\n",
        (double)anonymous_bytes() / series,
        (double)(stats.head.bytes_series + stats.head.bytes_labels + stats.head.bytes_index +
                 stats.head.bytes_chunks) /
            series,
        (double)stats.head.bytes_series / series, (double)stats.head.bytes_labels / series,
        (double)stats.head.bytes_index / series, (double)stats.head.bytes_chunks / series);
    printf("journal  %.2f B/sample\n",
           (double)stats.journal.bytes_live / (double)stats.journal.samples_live);
    query_all(load.store, "head");
    query_all(load.store, "head again");
    struct nx_err err;
    uint64_t begun = now_ns();
    double cpu = cpu_seconds();
    must(store_flush(load.store, &err), &err);
    store_stats(load.store, &stats);
    printf("flush    %.0f ms, cpu %.2f us/series, block %.2f B/sample\n", ms_since(begun),
           (cpu_seconds() - cpu) * 1e6 / series,
           (double)stats.block_bytes / (double)stats.block_samples);
    query_all(load.store, "block, cold");
    query_all(load.store, "block, warm");
    write_scrapes(&load, scrapes, scrapes);
    fflush(stdout);
    _exit(0);
}

int main(int argc, char **argv)
{
    uint32_t series = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 200000;
    unsigned scrapes = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 8;
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/bench-store-XXXXXX", argc > 3 ? argv[3] : "/tmp");
    if (mkdtemp(dir) == NULL || scrapes < 2)
        return 1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        live(dir, series, scrapes);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return 1;
    struct nx_err err;
    struct store *store = open_store(dir, "after a kill");
    query_all(store, "after a kill");
    uint64_t begun = now_ns();
    must(store_close(store, &err), &err);
    printf("close    %.0f ms\n", ms_since(begun));
    store = open_store(dir, "after a close");
    must(store_merge(store, true, &err), &err);
    must(store_close(store, &err), &err);
    nx_ignore(io_remove_tree(io_real(), dir, &err));
    return 0;
}
