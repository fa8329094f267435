/* SPDX-License-Identifier: Apache-2.0 */
/* bench_size.c - where the bytes of a day block go, and what other choices of its layout would take.
 *
 *   bench_size [file]      series of a file, or 20 pods of the generator's mix (load/mix.h) over a day
 *
 * A file holds series in label order, each: u64 number of samples, their times (int64, ms), their values (float64), all
 * little-endian. The first table tells chunks by codec, then the parts of the groups; the others vary one choice each:
 * samples in a chunk, bytes in a group, zstd level. Times are CPU time per sample.
 */
#include "narthex/base/assert.h"
#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/zstd_block.h"

#include "../server/block/block_group.h"
#include "load/mix.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MIX_PODS  20u
#define MIX_STEPS 5760u
#define CODECS    8u
#define HASHES    (1u << 17)

struct series {
    const uint8_t *key; /* orders them */
    size_t key_len;
    size_t count;
    int64_t *times_ms;
    double *values;
};

struct set {
    struct series *series;
    size_t count, samples;
};

struct choice {
    uint32_t chunk_samples;
    size_t group_bytes;
    int zstd_level;
};

struct parts {
    size_t chunks[CODECS], samples[CODECS], bytes[CODECS];
    size_t chunk_bytes, group_bytes, group_packed, vector_bytes, vector_packed, groups, vectors;
    double encode_ns, zip_ns, unzip_ns, decode_ns; /* in all */
};

static double cpu_ns(void)
{
    struct timespec now;
    NX_ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* ---- series ---- */

static int series_compare(const void *left, const void *right)
{
    const struct series *a = left, *b = right;
    size_t common = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->key, b->key, common);
    return order != 0 ? order : (a->key_len > b->key_len) - (a->key_len < b->key_len);
}

static void set_from_mix(struct set *set)
{
    size_t count = (size_t)MIX_PODS * MIX_POD_SERIES;
    *set = (struct set){.series = nx_calloc(count, sizeof(*set->series)),
                        .count = count,
                        .samples = count * MIX_STEPS};
    for (uint32_t p = 0; p < MIX_PODS; p++) {
        struct mix_pod pod;
        mix_pod_init(&pod, 1, p, 0);
        struct series *mine = set->series + (size_t)p * MIX_POD_SERIES;
        for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
            uint32_t begin = i == 0 ? 0 : pod.label_end[i - 1];
            uint8_t *key = nx_alloc(pod.label_end[i] - begin);
            memcpy(key, pod.labels.data + begin, pod.label_end[i] - begin);
            mine[i] = (struct series){.key = key,
                                      .key_len = pod.label_end[i] - begin,
                                      .count = MIX_STEPS,
                                      .times_ms = nx_alloc(MIX_STEPS * sizeof(int64_t)),
                                      .values = nx_alloc(MIX_STEPS * sizeof(double))};
        }
        for (uint32_t step = 0; step < MIX_STEPS; step++) {
            int64_t times[MIX_POD_SERIES];
            double values[MIX_POD_SERIES];
            mix_pod_step(&pod, INT64_C(1700000000000) + (int64_t)step * MIX_STEP_MS, times, values);
            for (uint32_t i = 0; i < MIX_POD_SERIES; i++) {
                mine[i].times_ms[step] = times[i];
                mine[i].values[step] = values[i];
            }
        }
        mix_pod_deinit(&pod);
    }
    qsort(set->series, count, sizeof(*set->series), series_compare);
}

static bool read_all(FILE *file, void *out, size_t bytes)
{
    return fread(out, 1, bytes, file) == bytes;
}

static bool set_from_file(struct set *set, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct nx_buf all = {0};
    uint64_t count;
    *set = (struct set){0};
    if (file == NULL)
        return false;
    while (read_all(file, &count, sizeof(count)) && count > 0 && count < 1u << 24) {
        struct series series = {.count = count,
                                .times_ms = nx_alloc(count * sizeof(int64_t)),
                                .values = nx_alloc(count * sizeof(double))};
        if (!read_all(file, series.times_ms, count * sizeof(int64_t)) ||
            !read_all(file, series.values, count * sizeof(double)))
            break;
        nx_buf_append(&all, &series, sizeof(series));
        set->samples += count;
    }
    fclose(file);
    set->series = (struct series *)(void *)all.data;
    set->count = all.len / sizeof(struct series);
    return set->count > 0;
}

/* ---- one layout ---- */

struct layout {
    struct choice choice;
    struct group_builder group;
    struct vector_builder vectors;
    struct nx_buf packed;
    uint64_t *values;
    struct nx_hash128 *hashes; /* of the vectors, open addressing */
    uint32_t *numbers;
    struct parts parts;
};

static void end_group(struct layout *layout)
{
    if (layout->group.count == 0)
        return;
    struct parts *parts = &layout->parts;
    struct nx_bytes raw = group_builder_finish(&layout->group);
    nx_buf_reset(&layout->packed);
    double start = cpu_ns();
    group_pack(GROUP_KIND_CHUNKS, 0, raw, layout->choice.zstd_level, 0, &layout->packed);
    double middle = cpu_ns();
    struct nx_buf scratch = {0};
    struct nx_bytes back;
    NX_ASSERT(group_unpack(nx_buf_bytes(&layout->packed), 0, GROUP_KIND_CHUNKS, 0, &scratch,
                           &back) == NX_OK);
    parts->unzip_ns += cpu_ns() - middle;
    parts->zip_ns += middle - start;
    NX_ASSERT(back.len == raw.len && memcmp(back.data, raw.data, raw.len) == 0);
    nx_buf_deinit(&scratch);
    parts->group_bytes += raw.len;
    parts->group_packed += layout->packed.len;
    parts->groups++;
}

static void end_vectors(struct layout *layout)
{
    if (layout->vectors.count == 0)
        return;
    struct nx_bytes raw = vector_builder_finish(&layout->vectors);
    nx_buf_reset(&layout->packed);
    group_pack(GROUP_KIND_VECTORS, 0, raw, layout->choice.zstd_level, 0, &layout->packed);
    layout->parts.vector_bytes += raw.len;
    layout->parts.vector_packed += layout->packed.len;
}

static uint32_t intern(struct layout *layout, const int64_t *times_ms, uint32_t count)
{
    struct nx_hash128 hash = nx_hash128_secret(times_ms, count * sizeof(*times_ms));
    size_t at = hash.low % HASHES;
    while (layout->numbers[at] != 0) {
        if (layout->hashes[at].low == hash.low && layout->hashes[at].high == hash.high)
            return layout->numbers[at] - 1;
        at = (at + 1) % HASHES;
    }
    NX_ASSERT(layout->parts.vectors < HASHES / 2);
    if (vector_builder_is_full(&layout->vectors))
        end_vectors(layout);
    uint32_t number = layout->vectors.first + layout->vectors.count;
    vector_builder_add(&layout->vectors, times_ms, count);
    layout->hashes[at] = hash;
    layout->numbers[at] = number + 1;
    layout->parts.vectors++;
    return number;
}

/* Chunks of all series back to back, as the layout cuts them. */
struct chunk_at {
    const int64_t *times_ms;
    const double *values;
    uint32_t rank, count;
    size_t end; /* of its bytes */
};

static void cut_chunks(const struct set *set, uint32_t chunk_samples, struct nx_buf *out)
{
    for (size_t s = 0; s < set->count; s++) {
        const struct series *series = &set->series[s];
        for (size_t at = 0, part; at < series->count; at += part) {
            part = series->count - at;
            if (part > chunk_samples + chunk_samples / 4 || part > CHUNK_SAMPLES_MAX)
                part = chunk_samples;
            struct chunk_at chunk = {.times_ms = series->times_ms + at,
                                     .values = series->values + at,
                                     .rank = (uint32_t)s,
                                     .count = (uint32_t)part};
            nx_buf_append(out, &chunk, sizeof(chunk));
        }
    }
}

static void code_chunks(struct layout *layout, struct chunk_at *chunks, size_t count,
                        struct nx_buf *out)
{
    struct parts *parts = &layout->parts;
    double start = cpu_ns();
    for (size_t i = 0; i < count; i++) {
        chunk_encode((const uint64_t *)(const void *)chunks[i].values, chunks[i].count, out);
        chunks[i].end = out->len;
    }
    double middle = cpu_ns();
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        struct nx_bytes bytes = {out->data + begin, chunks[i].end - begin};
        NX_ASSERT(chunk_decode(bytes, chunks[i].count, layout->values) == NX_OK);
        begin = chunks[i].end;
    }
    parts->decode_ns = cpu_ns() - middle;
    parts->encode_ns = middle - start;
}

static void put_chunk(struct layout *layout, const struct chunk_at *chunk, struct nx_bytes bytes)
{
    struct parts *parts = &layout->parts;
    NX_ASSERT(chunk_decode(bytes, chunk->count, layout->values) == NX_OK);
    NX_ASSERT(memcmp(layout->values, chunk->values, chunk->count * sizeof(double)) == 0);
    unsigned codec = bytes.data[0] % CODECS;
    parts->chunks[codec]++;
    parts->samples[codec] += chunk->count;
    parts->bytes[codec] += bytes.len;
    parts->chunk_bytes += bytes.len;
    uint32_t vector = intern(layout, chunk->times_ms, chunk->count);
    if (layout->group.count >= GROUP_CHUNKS_CUT ||
        group_builder_size(&layout->group) >= layout->choice.group_bytes)
        end_group(layout);
    group_builder_add(&layout->group, chunk->rank, vector, chunk->times_ms[0],
                      chunk->times_ms[chunk->count - 1], bytes);
}

static struct parts lay_out(const struct set *set, struct choice choice)
{
    struct layout layout = {.choice = choice,
                            .values = nx_alloc(CHUNK_SAMPLES_MAX * sizeof(uint64_t)),
                            .hashes = nx_calloc(HASHES, sizeof(struct nx_hash128)),
                            .numbers = nx_calloc(HASHES, sizeof(uint32_t))};
    struct nx_buf cut = {0}, bytes = {0};
    cut_chunks(set, choice.chunk_samples, &cut);
    struct chunk_at *chunks = (struct chunk_at *)(void *)cut.data;
    size_t count = cut.len / sizeof(*chunks);
    code_chunks(&layout, chunks, count, &bytes);
    for (size_t i = 0, begin = 0; i < count; begin = chunks[i++].end)
        put_chunk(&layout, &chunks[i],
                  (struct nx_bytes){bytes.data + begin, chunks[i].end - begin});
    end_group(&layout);
    end_vectors(&layout);
    group_builder_deinit(&layout.group);
    vector_builder_deinit(&layout.vectors);
    nx_buf_deinit(&layout.packed);
    nx_buf_deinit(&cut);
    nx_buf_deinit(&bytes);
    nx_free(layout.values);
    nx_free(layout.hashes);
    nx_free(layout.numbers);
    return layout.parts;
}

/* ---- tables ---- */

static void print_parts(const struct set *set, const struct parts *parts)
{
    double samples = (double)set->samples;
    printf("%-10s %8s %10s %12s %14s\n", "codec", "chunks", "% samples", "B a sample",
           "B of the mix");
    for (unsigned codec = 0; codec < CODECS; codec++)
        if (parts->chunks[codec] > 0)
            printf("%-10s %8zu %10.1f %12.3f %14.4f\n", chunk_codec_find((uint8_t)codec)->name,
                   parts->chunks[codec], 100 * (double)parts->samples[codec] / samples,
                   (double)parts->bytes[codec] / (double)parts->samples[codec],
                   (double)parts->bytes[codec] / samples);
    printf("chunks %.4f B a sample, directory %.4f, both packed %.4f; times %.4f, packed %.4f\n",
           (double)parts->chunk_bytes / samples,
           (double)(parts->group_bytes - parts->chunk_bytes) / samples,
           (double)parts->group_packed / samples, (double)parts->vector_bytes / samples,
           (double)parts->vector_packed / samples);
}

static void print_choice(const struct set *set, struct choice choice)
{
    struct parts parts = lay_out(set, choice);
    double samples = (double)set->samples;
    printf("%6u %7zu %5d %9.4f %9.4f %8.4f %8.2f %8.2f %8.2f %8.2f\n", choice.chunk_samples,
           choice.group_bytes >> 10, choice.zstd_level, (double)parts.chunk_bytes / samples,
           (double)(parts.group_packed + parts.vector_packed) / samples,
           (double)parts.vector_packed / samples, parts.encode_ns / samples,
           parts.decode_ns / samples, parts.zip_ns / samples, parts.unzip_ns / samples);
}

int main(int argc, char **argv)
{
    static const uint32_t chunk_samples[] = {60, 120, 240, 480, 960, 1920, 3840};
    static const size_t group_bytes[] = {16u << 10, 64u << 10, 128u << 10, 256u << 10, 512u << 10};
    static const int zstd_levels[] = {1, 3, 6, 9};
    const struct choice usual = {CHUNK_SAMPLES_CUT, GROUP_RAW_BYTES_CUT, 3};
    struct set set;
    hash_secret_init();
    if (argc > 2 || (argc == 2 && !set_from_file(&set, argv[1]))) {
        fprintf(stderr, "usage: bench_size [file of series]\n");
        return 2;
    }
    if (argc < 2)
        set_from_mix(&set);
    printf("%s: %zu series, %zu samples\n", argc == 2 ? argv[1] : mix_name(), set.count,
           set.samples);
    struct parts parts = lay_out(&set, usual);
    print_parts(&set, &parts);
    printf("%6s %7s %5s %9s %9s %8s %8s %8s %8s %8s\n", "chunk", "group K", "zstd", "values B",
           "block B", "times B", "enc ns", "dec ns", "zip ns", "unzip ns");
    for (size_t i = 0; i < NX_ARRAY_LEN(chunk_samples); i++)
        print_choice(&set, (struct choice){chunk_samples[i], usual.group_bytes, usual.zstd_level});
    for (size_t i = 0; i < NX_ARRAY_LEN(group_bytes); i++)
        print_choice(&set, (struct choice){usual.chunk_samples, group_bytes[i], usual.zstd_level});
    for (size_t i = 0; i < NX_ARRAY_LEN(zstd_levels); i++)
        print_choice(&set, (struct choice){usual.chunk_samples, usual.group_bytes, zstd_levels[i]});
    for (size_t s = 0; s < set.count; s++) {
        nx_free((void *)(uintptr_t)set.series[s].key);
        nx_free(set.series[s].times_ms);
        nx_free(set.series[s].values);
    }
    nx_free(set.series);
    return 0;
}
