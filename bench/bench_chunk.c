/* SPDX-License-Identifier: Apache-2.0 */
/* bench_chunk.c - bytes and nanoseconds per value of chunks, by family of values.
 *
 *   bench_chunk [family]     all families, or those whose name contains the word
 *
 * Each family is a few hundred series of CHUNK_SAMPLES_CUT values, 15 s apart, made from a seed. Columns: share of the
 * mix, bytes per value alone and after zstd 1 over groups of about 64 KB of neighbouring chunks, nanoseconds per value
 * to encode, to decode, to zip and to unzip. The last line is the mix: 62 of 100 series constant, the rest spread.
 */
#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/base/rand.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/zstd_block.h"
#include "narthex/model/staleness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SERIES      480u
#define VALUES      CHUNK_SAMPLES_CUT
#define GROUP_BYTES 65536u
#define REPEATS     5u

/* Fills one series; `index` is its place among its neighbours. */
typedef void (*family_fn)(struct rand_state *rand, unsigned index, double *out);

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

static double between(struct rand_state *rand, double low, double high)
{
    return low + (high - low) * rand_unit(rand);
}

/* Log-uniform: rates of real series spread over decades. */
static double spread(struct rand_state *rand, double low, double high)
{
    return low * pow(high / low, rand_unit(rand));
}

static void make_constant(struct rand_state *rand, unsigned index, double *out)
{
    double values[4] = {0, 1, floor(spread(rand, 2, 1e9)), round(spread(rand, 1, 1e5)) / 100};
    for (unsigned i = 0; i < VALUES; i++)
        out[i] = values[index % 4];
}

static void make_counter(struct rand_state *rand, double per_scrape, double unit, double *out)
{
    double total = floor(per_scrape * between(rand, 100, 50000));
    for (unsigned i = 0; i < VALUES; i++) {
        double load = 1 + 0.3 * sin(i / 60.0);
        total += poisson(rand, per_scrape * load);
        out[i] = total * unit;
    }
}

static void make_quiet(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_counter(rand, spread(rand, 0.05, 3), 1, out);
}

static void make_busy(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_counter(rand, spread(rand, 50, 75000), 1, out);
}

static void make_bursty(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    double total = floor(spread(rand, 10, 1e7));
    double chance = spread(rand, 0.01, 0.3);
    double size = spread(rand, 10, 10000);
    for (unsigned i = 0; i < VALUES; i++) {
        if (rand_unit(rand) < chance)
            total += poisson(rand, size);
        out[i] = total;
    }
}

static void make_pages(struct rand_state *rand, unsigned index, double *out)
{
    double pages = floor(spread(rand, 1000, 1e6));
    double per_scrape = spread(rand, 0.2, 500);
    for (unsigned i = 0; i < VALUES; i++) {
        if (index % 2 == 0)
            pages += poisson(rand, per_scrape);
        else if (rand_unit(rand) < 0.6)
            pages += round(per_scrape * normal(rand));
        out[i] = fabs(pages) * 4096;
    }
}

static void make_ticks(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_counter(rand, spread(rand, 1, 1500), 1, out);
    for (unsigned i = 0; i < VALUES; i++)
        out[i] /= 100;
}

static void make_millis(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_counter(rand, spread(rand, 1, 15000), 0.001, out);
}

static void make_micros(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_counter(rand, spread(rand, 100, 1.5e7), 1, out);
    for (unsigned i = 0; i < VALUES; i++)
        out[i] = out[i] / 1000 / 1000;
}

static void make_nanos(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    double total = floor(spread(rand, 1e9, 1e14));
    double mean = spread(rand, 1e6, 1.5e10);
    for (unsigned i = 0; i < VALUES; i++) {
        total += floor(mean * fabs(1 + 0.2 * normal(rand)));
        out[i] = total / 1e9;
    }
}

static void make_sum(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    double per_scrape = spread(rand, 0.1, 100);
    double sum = spread(rand, 1, 10000);
    double typical = spread(rand, 0.001, 1);
    for (unsigned i = 0; i < VALUES; i++) {
        for (double n = poisson(rand, per_scrape); n > 0; n--)
            sum += floor(typical * -log(1 - rand_unit(rand)) * 1e9) / 1e9;
        out[i] = sum;
    }
}

/* Twelve neighbours are the buckets of one histogram, from one stream of observations. */
static void make_bucket(struct rand_state *rand, unsigned index, double *out)
{
    struct rand_state shared;
    (void)rand;
    rand_seed(&shared, 1000 + index / 12);
    double per_scrape = spread(&shared, 0.1, 30);
    double bound = pow(2, index % 12) / 256;
    double total = floor(1e5 * (1 - exp(-bound)));
    for (unsigned i = 0; i < VALUES; i++) {
        for (double n = poisson(&shared, per_scrape); n > 0; n--)
            total += -log(1 - rand_unit(&shared)) <= bound;
        out[i] = total;
    }
}

static void make_gauge(struct rand_state *rand, double unit, double *out)
{
    double level = spread(rand, 20, 20000);
    double noise = spread(rand, 1, 200);
    for (unsigned i = 0; i < VALUES; i++) {
        level += 0.1 * noise * normal(rand);
        out[i] = round(fabs(level) + noise * normal(rand)) / unit;
    }
}

static void make_gauge_0(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_gauge(rand, 1, out);
}

static void make_gauge_1(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_gauge(rand, 10, out);
}

static void make_gauge_2(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_gauge(rand, 100, out);
}

static void make_gauge_3(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    make_gauge(rand, 1000, out);
}

static void make_duration(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    double typical = spread(rand, 1e4, 1e8);
    for (unsigned i = 0; i < VALUES; i++)
        out[i] = floor(typical * fabs(1 + 0.1 * normal(rand))) / 1e9;
}

static void make_float32(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    double level = between(rand, 1, 100);
    for (unsigned i = 0; i < VALUES; i++) {
        level += 0.01 * normal(rand);
        out[i] = (double)(float)level;
    }
}

static void make_summary(struct rand_state *rand, unsigned index, double *out)
{
    make_duration(rand, index, out);
    for (unsigned i = 0; i < VALUES; i++)
        if ((i / 40) % 3 == 0)
            out[i] = float_from_bits(ORDINARY_NAN_BITS);
        else if (i % 4 != 0)
            out[i] = out[i - 1];
}

static void make_ratio(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    double level = between(rand, 0.1, 0.9);
    for (unsigned i = 0; i < VALUES; i++) {
        level = fmin(1, fabs(level + 0.01 * normal(rand)));
        out[i] = level;
    }
}

static void make_uniform(struct rand_state *rand, unsigned index, double *out)
{
    (void)index;
    for (unsigned i = 0; i < VALUES; i++)
        out[i] = rand_unit(rand);
}

struct family {
    const char *name;
    family_fn make;
    double share; /* of the mix, in percent */
};

static const struct family families[] = {
    {"constant", make_constant, 62},        {"counter quiet", make_quiet, 6},
    {"counter busy", make_busy, 5},         {"counter bursty", make_bursty, 4},
    {"bytes in pages", make_pages, 4},      {"counter 2 decimals", make_ticks, 2},
    {"counter 3 decimals", make_millis, 1}, {"counter 6 decimals", make_micros, 1},
    {"counter 9 decimals", make_nanos, 2},  {"_sum doubles", make_sum, 2},
    {"histogram buckets", make_bucket, 5},  {"gauge 0 decimals", make_gauge_0, 2},
    {"gauge 1 decimal", make_gauge_1, 1},   {"gauge 2 decimals", make_gauge_2, 1},
    {"gauge 3 decimals", make_gauge_3, 1},  {"uniform doubles", make_uniform, 1},
    {"gauge 9 decimals", make_duration, 0}, {"summary with NaN", make_summary, 0},
    {"float32 gauge", make_float32, 0},     {"ratio doubles", make_ratio, 0},
};

struct result {
    double bytes;  /* per value */
    double zipped; /* bytes per value */
    double encode_ns;
    double decode_ns;
    double zip_ns;
    double unzip_ns;
};

struct work {
    uint64_t *bits; /* SERIES * VALUES */
    uint64_t *back;
    struct nx_buf chunks;
    size_t ends[SERIES]; /* of each chunk in `chunks` */
    struct nx_buf frames;
    size_t group_ends[SERIES]; /* in `chunks` */
    size_t frame_ends[SERIES];
    size_t groups;
    uint8_t *raw;
};

static void encode_all(struct work *work)
{
    nx_buf_reset(&work->chunks);
    for (size_t s = 0; s < SERIES; s++) {
        chunk_encode(work->bits + s * VALUES, VALUES, &work->chunks);
        work->ends[s] = work->chunks.len;
    }
}

static void decode_all(struct work *work)
{
    size_t start = 0;
    for (size_t s = 0; s < SERIES; s++) {
        struct nx_bytes chunk = {work->chunks.data + start, work->ends[s] - start};
        nx_code code = chunk_decode(chunk, VALUES, work->back + s * VALUES);
        NX_ASSERT(code == NX_OK);
        start = work->ends[s];
    }
}

static void zip_all(struct work *work)
{
    size_t start = 0;
    nx_buf_reset(&work->frames);
    work->groups = 0;
    for (size_t s = 0; s < SERIES; s++) {
        if (work->ends[s] - start < GROUP_BYTES && s + 1 < SERIES)
            continue;
        struct nx_bytes group = {work->chunks.data + start, work->ends[s] - start};
        zstd_pack(group, 1, &work->frames);
        start = work->ends[s];
        work->group_ends[work->groups] = start;
        work->frame_ends[work->groups++] = work->frames.len;
    }
}

static void unzip_all(struct work *work)
{
    for (size_t g = 0; g < work->groups; g++) {
        size_t from = g == 0 ? 0 : work->frame_ends[g - 1];
        size_t to = g == 0 ? 0 : work->group_ends[g - 1];
        struct nx_bytes frame = {work->frames.data + from, work->frame_ends[g] - from};
        nx_code code = zstd_unpack(frame, work->raw + to, work->group_ends[g] - to);
        NX_ASSERT(code == NX_OK);
    }
}

/* CPU time: the machine may do other things too. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    NX_ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double best_ns(void (*run)(struct work *), struct work *work)
{
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < REPEATS; i++) {
        uint64_t start = cpu_ns();
        run(work);
        uint64_t took = cpu_ns() - start;
        best = took < best ? took : best;
    }
    return (double)best / (SERIES * VALUES);
}

static struct result measure(const struct family *family, struct work *work)
{
    double values[VALUES];
    for (unsigned s = 0; s < SERIES; s++) {
        struct rand_state rand;
        rand_seed(&rand, 77000 + s);
        family->make(&rand, s, values);
        memcpy(work->bits + (size_t)s * VALUES, values, sizeof(values));
    }
    struct result result = {0};
    result.encode_ns = best_ns(encode_all, work);
    work->raw = nx_realloc(work->raw, work->chunks.len + 1);
    result.bytes = (double)work->chunks.len / (SERIES * VALUES);
    result.decode_ns = best_ns(decode_all, work);
    NX_ASSERT(memcmp(work->bits, work->back, SERIES * VALUES * sizeof(*work->bits)) == 0);
    result.zip_ns = best_ns(zip_all, work);
    result.zipped = (double)work->frames.len / (SERIES * VALUES);
    result.unzip_ns = best_ns(unzip_all, work);
    NX_ASSERT(memcmp(work->raw, work->chunks.data, work->chunks.len) == 0);
    return result;
}

static void print(const char *name, double share, const struct result *r)
{
    printf("%-20s %5.0f %8.3f %8.3f %8.1f %8.2f %8.2f %8.2f\n", name, share, r->bytes, r->zipped,
           r->encode_ns, r->decode_ns, r->zip_ns, r->unzip_ns);
}

int main(int argc, char **argv)
{
    struct work work = {0};
    struct result mix = {0};
    double shares = 0;
    work.bits = nx_alloc(SERIES * VALUES * sizeof(*work.bits));
    work.back = nx_alloc(SERIES * VALUES * sizeof(*work.back));
    printf("%u series of %u values a family\n", SERIES, VALUES);
    printf("%-20s %5s %8s %8s %8s %8s %8s %8s\n", "family", "share", "B", "B zstd", "enc ns",
           "dec ns", "zip ns", "unzip ns");
    for (size_t f = 0; f < NX_ARRAY_LEN(families); f++) {
        if (argc > 1 && strstr(families[f].name, argv[1]) == NULL)
            continue;
        struct result r = measure(&families[f], &work);
        print(families[f].name, families[f].share, &r);
        shares += families[f].share;
        mix.bytes += r.bytes * families[f].share;
        mix.zipped += r.zipped * families[f].share;
        mix.encode_ns += r.encode_ns * families[f].share;
        mix.decode_ns += r.decode_ns * families[f].share;
        mix.zip_ns += r.zip_ns * families[f].share;
        mix.unzip_ns += r.unzip_ns * families[f].share;
    }
    if (shares > 0) {
        struct result r = {mix.bytes / shares,     mix.zipped / shares, mix.encode_ns / shares,
                           mix.decode_ns / shares, mix.zip_ns / shares, mix.unzip_ns / shares};
        print("mix", shares, &r);
    }
    nx_free(work.bits);
    nx_free(work.back);
    nx_free(work.raw);
    nx_buf_deinit(&work.chunks);
    nx_buf_deinit(&work.frames);
    return 0;
}
