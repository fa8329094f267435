/* SPDX-License-Identifier: Apache-2.0 */
/* bench_histogram_chunk.c - bytes and nanoseconds per native histogram in chunks, by number of buckets and rate.
 *
 *   bench_histogram_chunk
 *
 * Each line is some series of 480 samples, 15 s apart, of schema 3: durations, log-normally distributed, of which a
 * client counts `rate` in each scrape. Buckets appear as values are seen; gaps of up to two are filled, as the client
 * for Go does. Columns: buckets at the end and layouts in a chunk (means), bytes per sample alone and after zstd 1
 * over groups of about 64 KB, the same without anything but differences (the head's form), nanoseconds per sample to
 * encode and to decode.
 */
#include "narthex/base/assert.h"
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/codec/histogram_chunk.h"
#include "narthex/codec/histogram_code.h"
#include "narthex/codec/zstd_block.h"
#include "narthex/model/staleness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SERIES      40u
#define SAMPLES     480u
#define GROUP_BYTES 65536u
#define REPEATS     3u
#define INDEXES     256 /* buckets around 1 that a series may have */

struct family {
    const char *name;
    double deviation; /* of the logarithm of a duration: how many buckets there are */
    double rate_low, rate_high;
    bool is_float;
};

static const struct family families[] = {
    {"narrow, quiet", 0.25, 0.2, 5, false},       {"narrow, busy", 0.25, 50, 5000, false},
    {"middle, quiet", 0.7, 0.2, 5, false},        {"middle, busy", 0.7, 50, 5000, false},
    {"wide, quiet", 1.3, 0.2, 5, false},          {"wide, busy", 1.3, 50, 5000, false},
    {"middle, busy floats", 0.7, 50, 5000, true},
};

static double normal(struct rand_state *rand)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += rand_unit(rand);
    return sum - 6;
}

static double poisson(struct rand_state *rand, double mean)
{
    if (mean > 30)
        return fmax(0, round(mean + sqrt(mean) * normal(rand)));
    double limit = exp(-mean);
    double product = rand_unit(rand);
    double n = 0;
    for (; product > limit; n++)
        product *= rand_unit(rand);
    return n;
}

/* A view of the counts of all indexes: spans over those that are not 0. */
static const struct histogram *make_sample(struct arena *arena, const double *counts, double sum,
                                           bool is_float)
{
    struct histogram *sample = arena_calloc(arena, 1, sizeof(*sample));
    struct histogram_span spans[INDEXES];
    uint64_t buckets[INDEXES];
    uint32_t span_count = 0, bucket_count = 0;
    int end = 0; /* index behind the last bucket */
    for (int i = 0; i < INDEXES; i++) {
        if (counts[i] == 0)
            continue;
        if (span_count == 0 || i - end > 2) {
            int32_t offset = span_count == 0 ? i - INDEXES / 2 : i - end;
            spans[span_count++] = (struct histogram_span){.offset = offset, .length = 0};
            end = i;
        }
        for (; end <= i; end++) {
            buckets[bucket_count++] =
                is_float ? float_bits(counts[end] * 0.5) : (uint64_t)counts[end];
            spans[span_count - 1].length++;
        }
    }
    sample->schema = 3;
    sample->zero_threshold = 0x1p-128;
    sample->is_float = is_float;
    sample->sum = sum;
    sample->sides[HISTOGRAM_POSITIVE] = (struct histogram_side){
        .spans = arena_copy(arena, spans, span_count * sizeof(*spans)),
        .buckets = arena_copy(arena, buckets, bucket_count * sizeof(*buckets)),
        .span_count = span_count,
        .bucket_count = bucket_count};
    sample->count = histogram_total(sample);
    return sample;
}

static void make_series(struct rand_state *rand, const struct family *family, struct arena *arena,
                        const struct histogram **out)
{
    double counts[INDEXES] = {0};
    double share[INDEXES];
    double total = 0;
    double center = INDEXES / 2 + 20 * (rand_unit(rand) - 0.5);
    double deviation = family->deviation / log(2) * 8; /* in buckets: 8 to a power of two */
    double rate = family->rate_low * pow(family->rate_high / family->rate_low, rand_unit(rand));
    double sum = 0;
    for (int i = 0; i < INDEXES; i++) {
        share[i] = exp(-(i - center) * (i - center) / (2 * deviation * deviation));
        total += share[i];
    }
    /* What came before: a day of it. */
    for (int i = 0; i < INDEXES; i++) {
        share[i] /= total;
        counts[i] = poisson(rand, share[i] * rate * 5760);
    }
    for (size_t s = 0; s < SAMPLES; s++) {
        double load = 1 + 0.3 * sin((double)s / 60);
        for (int i = 0; i < INDEXES; i++) {
            double seen = share[i] * rate < 1e-9 ? 0 : poisson(rand, share[i] * rate * load);
            counts[i] += seen;
            if (seen > 0)
                sum += floor(seen * pow(2, (i - INDEXES / 2) / 8.0) * (1 + rand_unit(rand) / 16) *
                             1e9) /
                       1e9;
        }
        out[s] = make_sample(arena, counts, sum, family->is_float);
    }
}

struct work {
    const struct histogram *samples[SERIES][SAMPLES];
    struct histogram back[SAMPLES];
    struct nx_buf chunks;
    size_t ends[SERIES * SAMPLES];
    size_t counts[SERIES * SAMPLES];
    size_t chunk_count;
};

static void encode_all(struct work *work)
{
    nx_buf_reset(&work->chunks);
    work->chunk_count = 0;
    for (size_t s = 0; s < SERIES; s++)
        for (size_t at = 0, taken; at < SAMPLES; at += taken) {
            taken = histogram_chunk_fit(work->samples[s] + at, SAMPLES - at);
            histogram_chunk_encode(work->samples[s] + at, taken, &work->chunks);
            work->counts[work->chunk_count] = taken;
            work->ends[work->chunk_count++] = work->chunks.len;
        }
}

static void decode_all(struct work *work)
{
    struct arena arena;
    arena_init(&arena, 0);
    for (size_t c = 0; c < work->chunk_count; c++) {
        size_t start = c == 0 ? 0 : work->ends[c - 1];
        struct nx_bytes chunk = {work->chunks.data + start, work->ends[c] - start};
        arena_reset(&arena);
        nx_code code = histogram_chunk_decode(chunk, work->counts[c], &arena, work->back);
        NX_ASSERT(code == NX_OK);
    }
    NX_ASSERT(histogram_equal(&work->back[work->counts[work->chunk_count - 1] - 1],
                              work->samples[SERIES - 1][SAMPLES - 1]));
    arena_deinit(&arena);
}

static double best_ns(void (*run)(struct work *), struct work *work)
{
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < REPEATS; i++) {
        uint64_t start = clock_mono_ns(clock_real());
        run(work);
        uint64_t took = clock_mono_ns(clock_real()) - start;
        best = took < best ? took : best;
    }
    return (double)best / (SERIES * SAMPLES);
}

static double zipped_bytes(const struct work *work)
{
    struct nx_buf frames = {0};
    size_t start = 0;
    for (size_t c = 0; c < work->chunk_count; c++) {
        if (work->ends[c] - start < GROUP_BYTES && c + 1 < work->chunk_count)
            continue;
        zstd_pack((struct nx_bytes){work->chunks.data + start, work->ends[c] - start}, 1, &frames);
        start = work->ends[c];
    }
    double bytes = (double)frames.len / (SERIES * SAMPLES);
    nx_buf_deinit(&frames);
    return bytes;
}

static double difference_bytes(const struct work *work)
{
    struct nx_buf out = {0};
    for (size_t s = 0; s < SERIES; s++)
        for (size_t i = 0; i < SAMPLES; i++)
            histogram_put(work->samples[s][i], i == 0 ? NULL : work->samples[s][i - 1], &out);
    double bytes = (double)out.len / (SERIES * SAMPLES);
    nx_buf_deinit(&out);
    return bytes;
}

static void measure(const struct family *family, struct work *work)
{
    struct arena arena;
    double buckets = 0, layouts = 0;
    arena_init(&arena, 0);
    for (unsigned s = 0; s < SERIES; s++) {
        struct rand_state rand;
        rand_seed(&rand, 88000 + s);
        make_series(&rand, family, &arena, work->samples[s]);
        buckets += work->samples[s][SAMPLES - 1]->sides[HISTOGRAM_POSITIVE].bucket_count;
        for (size_t i = 0; i < SAMPLES; i++)
            layouts +=
                i == 0 || !histogram_same_layout(work->samples[s][i], work->samples[s][i - 1]);
    }
    double encode_ns = best_ns(encode_all, work);
    double decode_ns = best_ns(decode_all, work);
    printf("%-20s %8.0f %8.1f %8.1f %8.1f %8.1f %8.0f %8.0f\n", family->name, buckets / SERIES,
           layouts / (double)work->chunk_count, (double)work->chunks.len / (SERIES * SAMPLES),
           zipped_bytes(work), difference_bytes(work), encode_ns, decode_ns);
    arena_deinit(&arena);
}

int main(void)
{
    struct work *work = nx_calloc(1, sizeof(*work));
    printf("%u series of %u histograms a family\n", SERIES, SAMPLES);
    printf("%-20s %8s %8s %8s %8s %8s %8s %8s\n", "family", "buckets", "layouts", "B", "B zstd",
           "B diff", "enc ns", "dec ns");
    for (size_t f = 0; f < NX_ARRAY_LEN(families); f++)
        measure(&families[f], work);
    nx_buf_deinit(&work->chunks);
    nx_free(work);
    return 0;
}
