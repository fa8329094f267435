/* SPDX-License-Identifier: Apache-2.0 */
/* bench_open.c - what a start costs: many blocks, and many series of the newest one.
 *
 *   bench_open [blocks] [series] [dir]        default 400 1000 /tmp
 *
 * Writes `blocks` level-0 blocks of one sample of each series (not merged), closes, and opens the store three times.
 */
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/storage/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PIECE 2000u

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void die(const struct nx_err *err)
{
    fprintf(stderr, "bench_open: %s\n", err->msg);
    exit(1);
}

static struct store *open_store(const char *dir, struct store_open_result *out_result)
{
    struct store *store = NULL;
    struct nx_err err;
    struct store_options options = {
        .data_dir = dir, .io = io_real(), .clock = clock_real(), .flush_interval_ms = 900000};
    if (store_open(&store, &options, out_result, &err) != NX_OK)
        die(&err);
    return store;
}

/* Eight labels; four are the same for a hundred series, two for all of a metric. */
struct series_text {
    char name[16], pod[24], uid[40], shard[16];
    struct label items[8];
};

static void make_labels(struct series_text *text, uint32_t i)
{
    snprintf(text->name, sizeof(text->name), "metric_%u", i % 100);
    snprintf(text->pod, sizeof(text->pod), "pod-%08x", i / 100 * 40503u);
    snprintf(text->uid, sizeof(text->uid), "%08x-0000-4000-a000-%012x", i / 100 * 2654435761u,
             i / 100);
    snprintf(text->shard, sizeof(text->shard), "shard-%u", i % 100);
    const char *pairs[8][2] = {{"__name__", text->name},  {"cluster", "production"},
                               {"instance", text->pod},   {"job", "serviceMonitor/a/b/0"},
                               {"namespace", "payments"}, {"pod", text->pod},
                               {"shard", text->shard},    {"uid", text->uid}};
    for (unsigned k = 0; k < 8; k++)
        text->items[k] =
            (struct label){.name = nx_str_from(pairs[k][0]), .value = nx_str_from(pairs[k][1])};
}

static void write_all(struct store *store, uint32_t series, int64_t time_ms)
{
    struct series_text *texts = nx_calloc(PIECE, sizeof(*texts));
    struct head_write *writes = nx_calloc(PIECE, sizeof(*writes));
    struct sample sample = {.time_ms = time_ms, .value = 1};
    struct nx_err err;
    for (uint32_t begin = 0; begin < series; begin += PIECE) {
        uint32_t count = series - begin < PIECE ? series - begin : PIECE;
        for (uint32_t i = 0; i < count; i++) {
            make_labels(&texts[i], begin + i);
            writes[i] = (struct head_write){.ref = {.slot = HEAD_SLOT_NONE},
                                            .labels = {.items = texts[i].items, .count = 8},
                                            .samples = &sample,
                                            .sample_count = 1};
        }
        if (store_write(store, writes, count, &err) != NX_OK)
            die(&err);
    }
    if (store_flush(store, &err) != NX_OK)
        die(&err);
    nx_free(texts);
    nx_free(writes);
}

int main(int argc, char **argv)
{
    unsigned blocks = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 400;
    uint32_t series = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000;
    char dir[512];
    snprintf(dir, sizeof(dir), "%s/bench-open-XXXXXX", argc > 3 ? argv[3] : "/tmp");
    if (mkdtemp(dir) == NULL)
        return 1;
    struct store_open_result result;
    struct nx_err err;
    struct store *store = open_store(dir, &result);
    int64_t now_ms = clock_wall_ms(clock_real());
    for (unsigned i = 0; i < blocks; i++)
        write_all(store, series, now_ms - (int64_t)(blocks - i) * 900000);
    if (store_close(store, &err) != NX_OK)
        die(&err);
    for (unsigned round = 0; round < 3; round++) {
        uint64_t begun = clock_mono_ns(clock_real());
        double begun_cpu = cpu_ms();
        store = open_store(dir, &result);
        printf("open     %" PRIu64 " blocks, %" PRIu64
               " series  wall %.1f ms  cpu %.1f ms  load %" PRIu64 " ms\n",
               result.blocks, result.series_loaded,
               (double)(clock_mono_ns(clock_real()) - begun) / 1e6, cpu_ms() - begun_cpu,
               result.load_ms);
        if (store_close(store, &err) != NX_OK)
            die(&err);
    }
    nx_ignore(io_remove_tree(io_real(), dir, &err));
    return 0;
}
