/* SPDX-License-Identifier: Apache-2.0 */
/* bench_writes.c - bytes handed to the device for a sample over its life, by stage, on a clock that is turned by hand.
 *
 *   bench_writes [steady|backfill] [series] [hours] [samples a commit] [dir]
 *                                            default steady 4000 25 2000 /tmp
 *
 * steady    the hours of the load generator's mix up to now; a flush every 15 minutes, merges as they come due
 * backfill  the same samples, of a past day, while the clock stands still
 *
 * Counts what goes through the table of file operations, so it is the same on every machine. CPU seconds are those
 * of the whole process, generator included.
 */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/codec/protowire.h"
#include "narthex/storage/store.h"

#include "load/mix.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define FLUSH_STEPS 60u
#define HOUR_MS     INT64_C(3600000)
#define DAY_HOURS   24
#define START_MS    (INT64_C(19700) * DAY_HOURS * HOUR_MS) /* a midnight */
#define FDS_MAX     1024

enum stage {
    STAGE_JOURNAL,
    STAGE_FLUSH,
    STAGE_MERGE,
    STAGE_DAY, /* merges after a midnight */
    STAGES,
};

/* Counts writes by the stage at hand; what lies in tmp/ is a block. */
struct counting_io {
    struct io io; /* first */
    _Atomic uint64_t bytes[STAGES];
    _Atomic int stage;
    _Atomic bool is_block[FDS_MAX];
};

struct writes_bench {
    struct counting_io counting;
    struct store *store;
    struct clock_manual clock;
    struct mix_pod *pods;
    struct series_ref *refs;
    uint32_t pod_count, commit_pods;
    struct nx_mutex lock;
    struct nx_cond done;
    bool is_done;
    nx_code code;
};

static struct counting_io *counting_of(const struct io *io)
{
    return (struct counting_io *)(uintptr_t)io;
}

static nx_code counting_open(const struct io *io, const char *path, int flags, mode_t mode,
                             int *out_fd, struct nx_err *err)
{
    nx_code code = io_real()->open(io_real(), path, flags, mode, out_fd, err);
    if (code == NX_OK && *out_fd < FDS_MAX)
        counting_of(io)->is_block[*out_fd] = strstr(path, "/tmp/0") != NULL;
    return code;
}

static nx_code counting_pwrite(const struct io *io, int fd, const void *data, size_t bytes,
                               uint64_t offset, struct nx_err *err)
{
    struct counting_io *counting = counting_of(io);
    bool is_block = fd < FDS_MAX && counting->is_block[fd];
    atomic_fetch_add(&counting->bytes[is_block ? counting->stage : STAGE_JOURNAL], bytes);
    return io_real()->pwrite(io_real(), fd, data, bytes, offset, err);
}

static void must(nx_code code, const struct nx_err *err)
{
    if (code != NX_OK) {
        fprintf(stderr, "%s\n", err->msg);
        exit(1);
    }
}

static void on_done(void *context, nx_code code)
{
    struct writes_bench *bench = context;
    mutex_lock(&bench->lock);
    bench->is_done = true;
    bench->code = code;
    cond_signal(&bench->done);
    mutex_unlock(&bench->lock);
}

static void wait_for_commit(struct writes_bench *bench)
{
    bench->is_done = false;
    store_wait(bench->store, on_done, bench);
    mutex_lock(&bench->lock);
    while (!bench->is_done)
        cond_wait(&bench->done, &bench->lock);
    mutex_unlock(&bench->lock);
    if (bench->code != NX_OK)
        exit(1);
}

/* The label fields of a series, as the generator sends them. */
static size_t read_labels(struct nx_bytes fields, struct label *items)
{
    struct byte_reader reader = byte_reader_of(fields);
    uint32_t field;
    enum protowire_type type;
    size_t count = 0;
    while (count < MIX_LABELS && protowire_next(&reader, &field, &type)) {
        struct byte_reader label = byte_reader_of(protowire_bytes(&reader));
        struct nx_bytes texts[2] = {0};
        while (protowire_next(&label, &field, &type))
            texts[field == 1 ? 0 : 1] = protowire_bytes(&label);
        items[count++] = (struct label){
            .name = {.data = (const char *)texts[0].data, .len = texts[0].len},
            .value = {.data = (const char *)texts[1].data, .len = texts[1].len},
        };
    }
    return count;
}

/* All series of a pod at one step. */
static void write_pod(struct writes_bench *bench, uint32_t number, int64_t step_ms)
{
    static struct head_write writes[MIX_POD_SERIES];
    static struct label items[MIX_POD_SERIES][MIX_LABELS];
    static struct sample samples[MIX_POD_SERIES];
    struct mix_pod *pod = &bench->pods[number];
    struct series_ref *refs = &bench->refs[(size_t)number * MIX_POD_SERIES];
    int64_t times_ms[MIX_POD_SERIES];
    double values[MIX_POD_SERIES];
    mix_pod_step(pod, step_ms, times_ms, values);
    memset(writes, 0, sizeof(writes));
    for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
        uint32_t begin = i == 0 ? 0 : pod->label_end[i - 1];
        struct nx_bytes fields = {pod->labels.data + begin, pod->label_end[i] - begin};
        samples[i] = (struct sample){.time_ms = times_ms[i], .value = values[i]};
        writes[i].ref = refs[i];
        writes[i].labels = (struct labels){items[i], read_labels(fields, items[i])};
        writes[i].samples = &samples[i];
        writes[i].sample_count = 1;
    }
    struct nx_err err;
    must(store_write(bench->store, writes, MIX_POD_SERIES, &err), &err);
    for (uint32_t i = 0; i < MIX_POD_SERIES; i++)
        refs[i] = writes[i].ref;
}

static void write_step(struct writes_bench *bench, int64_t step_ms)
{
    for (uint32_t p = 0; p < bench->pod_count; p++) {
        write_pod(bench, p, step_ms);
        if ((p + 1) % bench->commit_pods == 0 || p + 1 == bench->pod_count)
            wait_for_commit(bench);
    }
}

static void flush_and_merge(struct writes_bench *bench, unsigned *blocks_max)
{
    struct store_stats stats;
    struct nx_err err;
    int64_t hour = clock_wall_ms(&bench->clock.clock) / HOUR_MS;
    bench->counting.stage = STAGE_FLUSH;
    must(store_flush(bench->store, &err), &err);
    store_stats(bench->store, &stats);
    if (stats.blocks > *blocks_max)
        *blocks_max = (unsigned)stats.blocks;
    bench->counting.stage = hour % DAY_HOURS == 0 ? STAGE_DAY : STAGE_MERGE;
    must(store_merge(bench->store, false, &err), &err);
}

static void run(struct writes_bench *bench, bool is_backfill, unsigned hours)
{
    static const char *const names[STAGES] = {"journal", "flush", "merge", "day"};
    unsigned steps = hours * (unsigned)(HOUR_MS / MIX_STEP_MS), blocks_max = 0;
    for (unsigned step = 0; step < steps; step++) {
        write_step(bench, START_MS + (int64_t)step * MIX_STEP_MS);
        if (!is_backfill)
            clock_manual_advance(&bench->clock, MIX_STEP_MS);
        if ((step + 1) % FLUSH_STEPS == 0)
            flush_and_merge(bench, &blocks_max);
    }
    /* What was still to come is merged when nothing has been written for long. */
    for (unsigned i = 0; is_backfill && i < DAY_HOURS; i++) {
        clock_manual_advance(&bench->clock, HOUR_MS);
        flush_and_merge(bench, &blocks_max);
    }
    double samples = (double)bench->pod_count * MIX_POD_SERIES * steps, all = 0;
    for (unsigned i = 0; i < STAGES; i++) {
        double bytes = (double)bench->counting.bytes[i];
        printf("%-8s %8.3f B a sample\n", names[i], bytes / samples);
        all += bytes;
    }
    struct store_stats stats;
    store_stats(bench->store, &stats);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("all      %8.3f B a sample of %.0f; blocks: %" PRIu64 ", %.3f B a sample, at most %u; "
           "%.1f CPU-s\n",
           all / samples, samples, stats.blocks, (double)stats.block_bytes / samples, blocks_max,
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec));
}

static void open_store(struct writes_bench *bench, const char *dir)
{
    struct store_options options = {
        .data_dir = dir,
        .io = &bench->counting.io,
        .clock = &bench->clock.clock,
        .future_tolerance_ms = INT64_C(1) << 40,
        .flush_interval_ms = INT64_C(1) << 40,
        .flush_samples_min = UINT64_MAX,
        .cache_bytes = 64u << 20,
    };
    struct store_open_result result;
    struct nx_err err;
    bench->counting.io = *io_real();
    bench->counting.io.open = counting_open;
    bench->counting.io.pwrite = counting_pwrite;
    must(store_open(&bench->store, &options, &result, &err), &err);
    bench->counting.bytes[STAGE_JOURNAL] = 0;
}

int main(int argc, char **argv)
{
    static struct writes_bench bench;
    bool is_backfill = argc > 1 && strcmp(argv[1], "backfill") == 0;
    uint32_t series = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4000;
    unsigned hours = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 25;
    bench.commit_pods = (argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 2000) / MIX_POD_SERIES;
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/bench-writes-XXXXXX", argc > 5 ? argv[5] : "/tmp");
    if (series < MIX_POD_SERIES || bench.commit_pods == 0 || mkdtemp(dir) == NULL)
        return 1;
    bench.pod_count = series / MIX_POD_SERIES;
    bench.pods = nx_calloc(bench.pod_count, sizeof(*bench.pods));
    bench.refs = nx_calloc((size_t)bench.pod_count * MIX_POD_SERIES, sizeof(*bench.refs));
    for (uint32_t p = 0; p < bench.pod_count; p++)
        mix_pod_init(&bench.pods[p], 1, p, 0);
    for (size_t i = 0; i < (size_t)bench.pod_count * MIX_POD_SERIES; i++)
        bench.refs[i].slot = HEAD_SLOT_NONE;
    mutex_init(&bench.lock, LOCK_RANK_LOG);
    cond_init(&bench.done);
    clock_manual_init(&bench.clock,
                      START_MS + (is_backfill ? (DAY_HOURS + (int64_t)12) * HOUR_MS : 0));
    open_store(&bench, dir);
    run(&bench, is_backfill, hours);
    struct nx_err err;
    must(store_close(bench.store, &err), &err);
    return io_remove_tree(io_real(), dir, &err) == NX_OK ? 0 : 1;
}
