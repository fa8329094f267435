/* SPDX-License-Identifier: Apache-2.0 */
/* bench_block.c - what a block costs: to write, to open, to read, to select from, to merge; and its bytes.
 *
 *   bench_block [series] [directory]        default: 100000, $TMPDIR or /tmp. Times are CPU times.
 *
 * The mix: Kubernetes-shaped series of 15 labels, 250 to a target; 62 % constant, the rest integer and byte
 * counters, decimals, sums, gauges, uniform doubles, each with its own seed; each target scraped every 15 s at its
 * own phase with 0 to 3 ms of jitter.
 */
#include "narthex/base/arena.h"
#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/block/block_list.h"
#include "narthex/block/merge.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define METRICS_PER_TARGET 250u
#define LABELS             15u
#define BATCH              256u /* series made between two looks at the clock */
#define STEP_MS            15000
#define DAY_0              (20000 * DAY_MS)

struct target {
    struct label labels[LABELS]; /* labels[0] is the metric's name, set per series */
    uint64_t seed;
};

struct mix {
    struct arena arena;
    struct target *targets; /* in label order */
    size_t target_count;
    struct nx_str metrics[METRICS_PER_TARGET];
};

static void check(nx_code code, const struct nx_err *err)
{
    if (code == NX_OK)
        return;
    fprintf(stderr, "bench_block: %s\n", err->msg);
    exit(1);
}

/* CPU time of this process: figures hold on a machine that does other things too. Waiting for the disk is not in it. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    NX_ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(cpu_ns() - start_ns) / 1e9;
}

static int target_compare(const void *left, const void *right)
{
    const struct target *a = left, *b = right;
    return labels_compare((struct labels){a->labels + 1, LABELS - 1},
                          (struct labels){b->labels + 1, LABELS - 1});
}

static void target_init(struct mix *mix, struct target *target, struct rand_state *rand,
                        unsigned number)
{
    struct arena *arena = &mix->arena;
    static const char *const apps[] = {"api",     "auth", "billing", "cart",    "catalog",
                                       "gateway", "mail", "search",  "session", "web"};
    const char *app = apps[rand_below(rand, 10)];
    unsigned node = number / 12;
    uint64_t hash = rand_u64(rand);
    struct nx_str pod = arena_printf(arena, "%s-%08x-%05x", app, (unsigned)(hash >> 32) & 0x7ffff,
                                     (unsigned)hash & 0xfffff);
    struct nx_str address = arena_printf(arena, "10.%u.%u.%u:8080", number >> 16 & 255,
                                         number >> 8 & 255, number & 255);
    struct label labels[LABELS] = {
        {NX_STR("__name__"), NX_STR("")},
        {NX_STR("cluster"), NX_STR("prod-eu-central-1")},
        {NX_STR("container"), nx_str_from(app)},
        {NX_STR("endpoint"), NX_STR("http-metrics")},
        {NX_STR("image"),
         arena_printf(arena, "registry.example.com/shop/%s:v1.%u.0", app, node % 7)},
        {NX_STR("instance"), address},
        {NX_STR("job"), arena_printf(arena, "shop/%s", app)},
        {NX_STR("namespace"), arena_printf(arena, "shop-%s", app)},
        {NX_STR("node"),
         arena_printf(arena, "ip-10-0-%u-%u.eu-central-1.compute.internal", node >> 8, node & 255)},
        {NX_STR("pod"), pod},
        {NX_STR("prometheus"), NX_STR("monitoring/k8s")},
        {NX_STR("replica"), arena_printf(arena, "prometheus-k8s-%u", number % 2)},
        {NX_STR("service"), arena_printf(arena, "%s-metrics", app)},
        {NX_STR("uid"),
         arena_printf(arena, "%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)rand_u64(rand),
                      (unsigned)rand_u64(rand) & 0xffff, (unsigned)rand_u64(rand) & 0xfff,
                      (unsigned)rand_u64(rand) & 0xfff, rand_u64(rand) & 0xffffffffffff)},
        {NX_STR("zone"), arena_printf(arena, "eu-central-1%c", 'a' + (int)(node % 3))},
    };
    memcpy(target->labels, labels, sizeof(labels));
    target->seed = rand_u64(rand);
}

static void mix_init(struct mix *mix, size_t series)
{
    struct rand_state rand;
    rand_seed(&rand, 42);
    *mix = (struct mix){.target_count = (series + METRICS_PER_TARGET - 1) / METRICS_PER_TARGET};
    arena_init(&mix->arena, 0);
    mix->targets = nx_calloc(mix->target_count, sizeof(*mix->targets));
    for (unsigned i = 0; i < mix->target_count; i++)
        target_init(mix, &mix->targets[i], &rand, i);
    qsort(mix->targets, mix->target_count, sizeof(*mix->targets), target_compare);
    for (unsigned i = 0; i < METRICS_PER_TARGET; i++)
        mix->metrics[i] = arena_printf(&mix->arena, "shop_component_%03u_operations_total", i);
}

static void mix_times(const struct target *target, size_t first, size_t count, int64_t *times)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t n = first + i;
        times[i] = DAY_0 + (int64_t)n * STEP_MS + (int64_t)(target->seed % 14990) +
                   (int64_t)(nx_hash64(&n, sizeof(n), target->seed) % 4);
    }
}

/* Values first .. first + count - 1 of a series: always the same for the same seed. */
static void mix_values(uint64_t seed, size_t first, size_t count, double *values)
{
    struct rand_state rand;
    rand_seed(&rand, seed);
    unsigned kind = (unsigned)rand_below(&rand, 100);
    double value = (double)rand_below(&rand, 100000);
    for (size_t i = 0; i < first + count; i++) {
        double out = value;
        if (kind >= 62 && kind < 72)
            value += (double)rand_below(&rand, 8);
        else if (kind < 77 && kind >= 72)
            value += (double)(rand_below(&rand, 20) * 4096);
        else if (kind < 84 && kind >= 77)
            out = round((value += rand_unit(&rand)) * 1000) / 1000;
        else if (kind < 88 && kind >= 84)
            out = value += rand_unit(&rand);
        else if (kind < 97 && kind >= 88)
            out = round((value + rand_unit(&rand) * 10) * 10) / 10;
        else if (kind >= 97)
            out = rand_unit(&rand);
        if (i >= first)
            values[i - first] = out;
    }
}

struct job_times {
    double add, finish;
};

/* The part first .. first + count - 1 of all series; generating is not timed. */
static void write_block(const struct mix *mix, const char *dir, const char *ulid, uint32_t level,
                        uint64_t commit, size_t first, size_t count, struct block_meta *out_meta,
                        struct job_times *out_times)
{
    struct block_writer *writer = NULL;
    struct nx_err err;
    const struct block_writer_options options = {.io = io_real(),
                                                 .dir = dir,
                                                 .ulid = ulid,
                                                 .level = level,
                                                 .commit_min = commit,
                                                 .commit_max = commit,
                                                 .zstd_level = 1};
    check(block_writer_new(&writer, &options, &err), &err);
    int64_t *times = nx_alloc(BATCH * count * sizeof(*times));
    double *values = nx_alloc(BATCH * count * sizeof(*values));
    *out_times = (struct job_times){0};
    uint32_t slot = 0;
    for (unsigned m = 0; m < METRICS_PER_TARGET; m++) {
        for (size_t t = 0, part; t < mix->target_count; t += part) {
            part = mix->target_count - t < BATCH ? mix->target_count - t : BATCH;
            for (size_t i = 0; i < part; i++) {
                mix_times(&mix->targets[t + i], first, count, times + i * count);
                mix_values(mix->targets[t + i].seed ^ (m * 0x9e3779b97f4a7c15ULL), first, count,
                           values + i * count);
            }
            uint64_t start = cpu_ns();
            for (size_t i = 0; i < part; i++) {
                struct label labels[LABELS];
                memcpy(labels, mix->targets[t + i].labels, sizeof(labels));
                labels[0].value = mix->metrics[m];
                check(block_writer_add(writer, (struct labels){labels, LABELS}, slot++,
                                       times + i * count, values + i * count, count, &err),
                      &err);
            }
            out_times->add += seconds_since(start);
        }
    }
    uint64_t start = cpu_ns();
    check(block_writer_finish(writer, out_meta, &err), &err);
    out_times->finish = seconds_since(start);
    block_writer_free(writer);
    nx_free(times);
    nx_free(values);
}

static void print_size(const struct block_meta *meta)
{
    double series = (double)meta->series_count, samples = (double)meta->sample_count;
    printf(
        "  size               %7.1f B index per series, %6.3f B chunks per sample, %6.3f B all per sample\n",
        (double)meta->index_bytes / series, (double)meta->chunks_bytes / samples,
        (double)(meta->index_bytes + meta->chunks_bytes) / samples);
}

static nx_code count_series(void *context, uint32_t rank, uint32_t slot, struct labels labels,
                            struct nx_err *err)
{
    (void)rank, (void)err;
    *(uint64_t *)context += labels.count + (slot != BLOCK_SLOT_NONE);
    return NX_OK;
}

static void bench_select(struct block *block, const char *title, enum matcher_type type,
                         struct nx_str name, struct nx_str value)
{
    struct matcher matcher;
    struct arena arena;
    struct nx_err err;
    uint32_t *ranks = NULL;
    size_t count = 0;
    arena_init(&arena, 0);
    check(matcher_init(&matcher, type, name, value, &err), &err);
    uint64_t start = cpu_ns();
    check(block_select(block, &matcher, 1, &arena, &ranks, &count, &err), &err);
    printf("  select %-12s %9.1f us, %zu series\n", title, seconds_since(start) * 1e6, count);
    matcher_deinit(&matcher);
    arena_deinit(&arena);
}

static void bench_read(const char *dir)
{
    struct group_cache *cache = group_cache_new((size_t)256 << 20);
    struct block *block = NULL;
    struct block_reader *reader = NULL;
    struct nx_err err;
    uint64_t start = cpu_ns();
    check(block_open(&block, io_real(), dir, cache, &err), &err);
    check(block_verify(block, &err), &err);
    printf("  open and verify    %9.2f ms\n", seconds_since(start) * 1e3);
    double series = (double)block_meta(block)->series_count,
           samples = (double)block_meta(block)->sample_count;
    uint64_t sum = 0;
    start = cpu_ns();
    check(block_each_series(block, count_series, &sum, &err), &err);
    printf("  each series        %9.1f ns per series\n", seconds_since(start) * 1e9 / series);

    struct nx_buf times = {0}, values = {0};
    static const char *const passes[] = {"all samples", "all, cached"};
    for (size_t pass = 0; pass < NX_ARRAY_LEN(passes); pass++) {
        check(block_reader_new(block, &reader, &err), &err);
        start = cpu_ns();
        for (uint32_t rank = 0; rank < block_meta(block)->series_count; rank++) {
            nx_buf_reset(&times);
            nx_buf_reset(&values);
            check(block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err),
                  &err);
        }
        double seconds = seconds_since(start);
        printf("  %-18s %9.2f ns per sample, %.0f ns per series, %.0f M samples/s\n", passes[pass],
               seconds * 1e9 / samples, seconds * 1e9 / series, samples / seconds / 1e6);
        block_reader_free(reader);
    }

    struct rand_state rand;
    rand_seed(&rand, 1);
    unsigned rounds = 2000;
    check(block_reader_new(block, &reader, &err), &err);
    start = cpu_ns();
    for (unsigned i = 0; i < rounds; i++) {
        struct labels labels;
        uint32_t rank = (uint32_t)rand_below(&rand, block_meta(block)->series_count);
        nx_buf_reset(&times);
        nx_buf_reset(&values);
        check(block_reader_labels(reader, rank, &labels, NULL, &err), &err);
        check(block_reader_samples(reader, rank, INT64_MIN, INT64_MAX, &times, &values, &err),
              &err);
    }
    printf("  one random series  %9.2f us\n", seconds_since(start) * 1e6 / rounds);
    block_reader_free(reader);
    nx_buf_deinit(&times);
    nx_buf_deinit(&values);

    bench_select(block, "metric", MATCHER_EQUAL, NX_STR("__name__"),
                 NX_STR("shop_component_100_operations_total"));
    bench_select(block, "set", MATCHER_REGEX, NX_STR("namespace"), NX_STR("shop-api|shop-web"));
    bench_select(block, "prefix", MATCHER_REGEX, NX_STR("pod"), NX_STR("api-.*"));
    bench_select(block, "regex", MATCHER_REGEX, NX_STR("uid"), NX_STR(".*a[0-9]+b.*"));
    bench_select(block, "not", MATCHER_NOT_EQUAL, NX_STR("zone"), NX_STR("eu-central-1a"));
    block_unref(block);
    group_cache_free(cache);
}

static void bench_one(const struct mix *mix, const char *parent, size_t count)
{
    char dir[600];
    struct block_meta meta;
    struct job_times times;
    struct nx_err err;
    snprintf(dir, sizeof(dir), "%s/01HZZZZZZZZZZZZZZZZZZZZZZZ", parent);
    write_block(mix, dir, "01HZZZZZZZZZZZZZZZZZZZZZZZ", 0, 1, 0, count, &meta, &times);
    double series = (double)meta.series_count;
    printf("%" PRIu64 " series x %zu samples, level 0\n", meta.series_count, count);
    printf("  write              %9.2f us per series: %.2f encode, %.2f index and sync\n",
           (times.add + times.finish) * 1e6 / series, times.add * 1e6 / series,
           times.finish * 1e6 / series);
    print_size(&meta);
    bench_read(dir);
    check(io_remove_tree(io_real(), dir, &err), &err);
}

/* Two hours of flushes and one more, merged. */
static void bench_merge(const struct mix *mix, const char *parent)
{
    struct block_list *list = NULL;
    struct nx_err err;
    const struct block_list_options options = {.io = io_real(),
                                               .clock = clock_real(),
                                               .data_dir = parent,
                                               .cache_bytes = (size_t)256 << 20};
    check(block_list_open(&list, &options, &err), &err);
    for (unsigned part = 0; part < 9; part++) {
        char ulid[ULID_TEXT_LEN + 1];
        struct nx_buf dir = {0};
        struct block_meta meta;
        struct job_times times;
        check(block_list_begin(list, ulid, &dir, &err), &err);
        write_block(mix, (const char *)dir.data, ulid, 0, part + 1, part * 60, 60, &meta, &times);
        check(block_list_publish(list, &meta, 1, NULL, 0, &err), &err);
        nx_buf_deinit(&dir);
    }
    bool has_worked = false;
    struct merge_result result;
    uint64_t start = cpu_ns();
    check(merge_run(list, DAY_0 + 3 * 3600000, false, NULL, &has_worked, &result, &err), &err);
    double seconds = seconds_since(start);
    NX_ASSERT(has_worked);
    printf("merge of %u flushes into %u partitions\n", result.sources, result.outputs);
    printf("  time               %9.2f ns per sample, %.2f s\n",
           seconds * 1e9 / (double)result.samples, seconds);
    printf("  size               %9.3f B per sample before, %.3f after, index included\n",
           (double)result.bytes_in / (double)result.samples,
           (double)result.bytes_out / (double)result.samples);
    struct block_snapshot snapshot;
    block_list_snapshot(list, DAY_0, DAY_0 + 3600000, &snapshot);
    print_size(block_meta(snapshot.blocks[0]));
    block_snapshot_end(&snapshot);
    block_list_close(list);
}

int main(int argc, char **argv)
{
    struct mix mix;
    struct nx_err err;
    char parent[500];
    size_t series = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : 100000;
    const char *under = argc > 2 ? argv[2] : getenv("TMPDIR");
    hash_secret_init();
    snprintf(parent, sizeof(parent), "%s/bench_block-XXXXXX", under != NULL ? under : "/tmp");
    if (series == 0 || mkdtemp(parent) == NULL) {
        fprintf(stderr, "usage: bench_block [series] [directory]\n");
        return 2;
    }
    mix_init(&mix, series);
    bench_one(&mix, parent, 60);
    bench_one(&mix, parent, 480);
    bench_merge(&mix, parent);
    check(io_remove_tree(io_real(), parent, &err), &err);
    nx_free(mix.targets);
    arena_deinit(&mix.arena);
    return 0;
}
