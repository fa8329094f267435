/* SPDX-License-Identifier: Apache-2.0 */
/* bench_journal.c - what a sample costs in the journal: bytes, encoding, a commit, replay.
 *
 *   bench_journal [series] [scrapes] [dir] [samples a commit]        default 100000 20 /tmp 4000
 *
 * The mix: 62 % of series constant; the rest spread over quiet, busy and bursty integer counters, byte counters in
 * multiples of 4096, counters with 2 to 9 decimals, sums of doubles, gauges with 0 to 3 decimals, uniform doubles.
 * Targets of 500 series are scraped with a phase of their own; a tenth of the targets has 40 containers with times of
 * their own. Slots are spread over 16 shards by chance, as hashes do. Small commits are padded to 4 KiB: with 60000
 * samples the bytes are those of the records. Times are CPU time, but for the durable commits.
 */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/head/journal.h"
#include "narthex/model/staleness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHARDS            16u
#define SERIES_PER_TARGET 500u

static uint64_t bytes_written;
static bool is_writing;
static size_t commit_samples = 4000;

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static nx_code counting_pwrite(const struct io *io, int fd, const void *data, size_t bytes,
                               uint64_t offset, struct nx_err *err)
{
    (void)io;
    bytes_written += bytes;
    return is_writing ? io_real()->pwrite(io_real(), fd, data, bytes, offset, err) : NX_OK;
}

static nx_code counting_fdatasync(const struct io *io, int fd, struct nx_err *err)
{
    (void)io;
    return is_writing ? io_real()->fdatasync(io_real(), fd, err) : NX_OK;
}

struct series {
    uint32_t slot;
    uint8_t kind; /* 0: constant */
    double value;
    double step;
};

static double round_to(double value, unsigned decimals)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*f", (int)decimals, value);
    return strtod(text, NULL);
}

static void series_init(struct series *series, struct rand_state *rand)
{
    series->kind = rand_below(rand, 100) < 62 ? 0 : (uint8_t)(1 + rand_below(rand, 9));
    series->value = (double)rand_below(rand, series->kind == 0 ? 100 : 10000000);
    series->step = 1 + (double)rand_below(rand, 2000);
}

static double series_next(struct series *series, struct rand_state *rand)
{
    switch (series->kind) {
    case 1: /* quiet counter */
        series->value += rand_below(rand, 10) == 0 ? 1 : 0;
        break;
    case 2: /* busy counter */
        series->value += series->step + (double)rand_below(rand, 1 + (uint64_t)series->step / 4);
        break;
    case 3: /* bursty counter */
        series->value += rand_below(rand, 8) == 0 ? (double)rand_below(rand, 100000) : 0;
        break;
    case 4: /* bytes in pages */
        series->value += 4096.0 * (double)rand_below(rand, 30);
        break;
    case 5: /* seconds with decimals */
        series->value = round_to(series->value + rand_unit(rand) * 10, 2 + series->slot % 8);
        break;
    case 6: /* sum of doubles */
        series->value += rand_unit(rand);
        break;
    case 7: /* integer gauge */
        series->value = (double)rand_below(rand, 200);
        break;
    case 8: /* gauge with decimals */
        series->value = round_to(rand_unit(rand) * 100, 1 + series->slot % 3);
        break;
    case 9:
        series->value = rand_unit(rand);
        break;
    default:
        break;
    }
    return series->value;
}

struct bench {
    struct journal *journal;
    struct journal_buffer storage[SHARDS];
    struct journal_buffer *buffers[SHARDS];
    size_t pending;
    uint64_t samples;
    uint64_t commit_ns;
    uint64_t commits;
    uint64_t *latencies;
};

static void commit(struct bench *bench)
{
    struct nx_err err;
    uint64_t number;
    uint64_t begun = is_writing ? clock_mono_ns(clock_real()) : cpu_ns();
    if (journal_commit(bench->journal, bench->buffers, SHARDS, &number, &err) != NX_OK) {
        fprintf(stderr, "commit: %s\n", err.msg);
        exit(1);
    }
    uint64_t took = (is_writing ? clock_mono_ns(clock_real()) : cpu_ns()) - begun;
    bench->commit_ns += took;
    bench->latencies[bench->commits++] = took;
    for (unsigned i = 0; i < SHARDS; i++)
        journal_buffer_reset(bench->buffers[i]);
    bench->samples += bench->pending;
    bench->pending = 0;
}

static void push(struct bench *bench, struct series *series, int64_t time_ms,
                 struct rand_state *rand)
{
    struct journal_buffer *buffer = bench->buffers[series->slot % SHARDS];
    journal_buffer_reserve(buffer, 1);
    journal_buffer_push(buffer, series->slot, time_ms, float_bits(series_next(series, rand)));
    if (++bench->pending == commit_samples)
        commit(bench);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static nx_code count_define(void *context, uint32_t slot, struct labels labels, struct nx_err *err)
{
    (void)context;
    (void)slot;
    (void)labels;
    (void)err;
    return NX_OK;
}

static nx_code count_samples(void *context, const uint32_t *slots, const int64_t *times_ms,
                             const uint64_t *value_bits, size_t count, struct nx_err *err)
{
    (void)err;
    uint64_t *sum = context;
    *sum += slots[count - 1] + (uint64_t)times_ms[count - 1] + value_bits[count - 1];
    return NX_OK;
}

static struct journal *open_journal(const struct io *io, const char *dir, uint64_t *out_samples,
                                    uint64_t *out_ns)
{
    struct journal *journal;
    struct nx_err err;
    struct journal_options options = {.io = io, .dir = dir};
    uint64_t sum = 0;
    struct journal_visitor visitor = {
        .context = &sum, .define = count_define, .samples = count_samples};
    struct journal_replay_result result;
    uint64_t begun = cpu_ns();
    if (journal_open(&journal, &options, &err) != NX_OK ||
        journal_replay(journal, 0, &visitor, &result, &err) != NX_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    *out_ns = cpu_ns() - begun;
    *out_samples = result.samples;
    return journal;
}

static void scrape(struct bench *bench, struct series *series, uint32_t count, unsigned round,
                   struct rand_state *rand)
{
    for (uint32_t target = 0; target * SERIES_PER_TARGET < count; target++) {
        int64_t time_ms = 1700000000000 + 15000 * (int64_t)round + target * 7919 % 15000 +
                          (int64_t)rand_below(rand, 4);
        uint32_t end =
            (target + 1) * SERIES_PER_TARGET < count ? (target + 1) * SERIES_PER_TARGET : count;
        int64_t container_ms[40];
        for (unsigned i = 0; i < 40; i++)
            container_ms[i] = time_ms - (int64_t)rand_below(rand, 15000);
        for (uint32_t i = target * SERIES_PER_TARGET; i < end; i++)
            push(bench, &series[i], target % 10 == 0 ? container_ms[i % 40] : time_ms, rand);
    }
}

int main(int argc, char **argv)
{
    uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    unsigned scrapes = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20;
    const char *base = argc > 3 ? argv[3] : "/tmp";
    if (argc > 4)
        commit_samples = strtoul(argv[4], NULL, 10);
    if (count == 0 || scrapes == 0 || commit_samples == 0)
        return 2;
    struct io io = *io_real();
    io.pwrite = counting_pwrite;
    io.fdatasync = counting_fdatasync;
    struct rand_state rand;
    rand_seed(&rand, 1);
    struct series *series = nx_calloc(count, sizeof(*series));
    uint32_t next_slot[SHARDS];
    for (uint32_t i = 0; i < SHARDS; i++)
        next_slot[i] = i;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t shard = (uint32_t)rand_below(&rand, SHARDS);
        series[i].slot = next_slot[shard];
        next_slot[shard] += SHARDS;
        series_init(&series[i], &rand);
    }
    struct bench bench = {0};
    bench.latencies = nx_calloc((size_t)count * scrapes / commit_samples + 2, sizeof(uint64_t));
    for (unsigned i = 0; i < SHARDS; i++)
        bench.buffers[i] = &bench.storage[i];
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/bench-journal-XXXXXX", base);
    if (mkdtemp(dir) == NULL)
        return 1;
    for (unsigned pass = 0; pass < 2; pass++) {
        char name[600];
        snprintf(name, sizeof(name), "%s/%u", dir, pass);
        is_writing = pass == 1;
        uint64_t samples;
        uint64_t ns;
        bench.journal = open_journal(&io, name, &samples, &ns);
        bench.samples = 0;
        bench.commit_ns = 0;
        bench.commits = 0;
        bytes_written = 0;
        for (unsigned i = 0; i < scrapes; i++)
            scrape(&bench, series, count, i, &rand);
        commit(&bench);
        qsort(bench.latencies, bench.commits, sizeof(uint64_t), compare_u64);
        printf(
            "%-8s %9" PRIu64
            " samples  %5.2f B/sample written  %6.1f ns/sample  commit p50 %7.1f us p99 %7.1f us\n",
            pass == 0 ? "encode" : "durable", bench.samples,
            (double)bytes_written / (double)bench.samples,
            (double)bench.commit_ns / (double)bench.samples,
            (double)bench.latencies[bench.commits / 2] / 1e3,
            (double)bench.latencies[bench.commits * 99 / 100] / 1e3);
        struct nx_err err;
        nx_ignore(journal_close(bench.journal, &err));
        if (pass == 1) {
            bench.journal = open_journal(&io, name, &samples, &ns);
            printf("replay   %9" PRIu64 " samples  %5.1f ns/sample  %.1f M samples/s\n", samples,
                   (double)ns / (double)samples, (double)samples * 1e3 / (double)ns);
            nx_ignore(journal_close(bench.journal, &err));
        }
    }
    struct nx_err err;
    nx_ignore(io_remove_tree(io_real(), dir, &err));
    for (unsigned i = 0; i < SHARDS; i++)
        journal_buffer_deinit(&bench.storage[i]);
    nx_free(bench.latencies);
    nx_free(series);
    return 0;
}
