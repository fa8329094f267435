/* SPDX-License-Identifier: Apache-2.0 */
/* histogram_chunk.c - native histograms of one series as columns; the way back is in histogram_chunk_decode.c.
 *
 *   samples -> sections: one schema, threshold, kind of counts     -> runs: one layout
 *              |                                                      `-> spans
 *              `-> columns: count, zero bucket, every bucket of any run
 *                  `-> first row | which columns change | each of those, over time
 *
 * Neighbouring buckets hold similar counts, so the first row is packed across buckets; after it each bucket counts on
 * its own. Where a run has no such bucket, its cell repeats the one before, or is 0 at the start, and nobody reads it.
 * Cost     some 20 ns a cell that changes.
 */
#include "narthex/codec/histogram_chunk.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/int_pack.h"
#include "narthex/model/staleness.h"

#include "histogram_internal.h"

#include <string.h>

static_assert(HISTOGRAM_CHUNK_SAMPLES_MAX <= CHUNK_SAMPLES_MAX, "a column of floats is a chunk");
static_assert(2 * HISTOGRAM_BUCKETS_MAX + SECTION_COLUMN_BUCKETS <= HISTOGRAM_CHUNK_CELLS_MAX,
              "every sample fits a chunk");

/* A section whose samples have drifted apart this far is ended: its columns would be mostly empty. */
#define SECTION_COLUMNS_FACTOR 4u
#define SECTION_COLUMNS_SPARE  64u
/* A series' last chunk may be this much longer, so that no crumbs are left. */
#define SAMPLES_TAIL (HISTOGRAM_CHUNK_SAMPLES_CUT / 4)

/* Samples of one layout. */
struct run {
    size_t first, count; /* in the section */
    const struct histogram *layout;
    /* While columns are gathered: where the next bucket is. */
    struct {
        size_t span;
        uint32_t in_span, bucket;
        int64_t index;
    } at[HISTOGRAM_SIGNS];
};

struct section {
    const struct histogram *const *samples;
    size_t count;
    struct bucket_union unions[HISTOGRAM_SIGNS];
    uint32_t columns;
    struct nx_buf runs; /* struct run */
};

static void section_deinit(struct section *section)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        bucket_union_deinit(&section->unions[sign]);
    nx_buf_deinit(&section->runs);
}

static struct run *section_runs(const struct section *section, size_t *out_count)
{
    *out_count = section->runs.len / sizeof(struct run);
    return (struct run *)(void *)section->runs.data;
}

/* Takes the sample behind its last one, unless it does not belong, or the cells would be more than `cells_max`. The
 * first is always taken. */
static bool section_try_add(struct section *section, size_t cells_max)
{
    const struct histogram *sample = section->samples[section->count];
    size_t count;
    struct run *runs = section_runs(section, &count);
    if (count > 0 && !histogram_same_frame(sample, section->samples[0]))
        return false;
    if (count > 0 && histogram_same_spans(sample, runs[count - 1].layout)) {
        if ((section->count + 1) * section->columns > cells_max)
            return false;
        runs[count - 1].count++;
        section->count++;
        return true;
    }
    uint32_t columns = SECTION_COLUMN_BUCKETS;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        columns += bucket_union_prepare(&section->unions[sign], &sample->sides[sign]);
    size_t own = (size_t)sample->sides[0].bucket_count + sample->sides[1].bucket_count;
    if (count > 0 && ((section->count + 1) * columns > cells_max ||
                      columns > SECTION_COLUMNS_FACTOR * own + SECTION_COLUMNS_SPARE))
        return false;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        bucket_union_commit(&section->unions[sign]);
    section->columns = columns;
    struct run run = {.first = section->count, .count = 1, .layout = sample};
    nx_buf_append(&section->runs, &run, sizeof(run));
    section->count++;
    return true;
}

/* The section that begins with the first of the samples. False when even that sample takes more than *cells_left,
 * from which the section's cells are taken. */
static bool section_begin(struct section *section, const struct histogram *const *samples,
                          size_t count, size_t *cells_left)
{
    section->samples = samples;
    section->count = 0;
    section->columns = 0;
    nx_buf_reset(&section->runs);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        bucket_union_reset(&section->unions[sign]);
    while (section->count < count && section_try_add(section, *cells_left)) {
    }
    size_t cells = section->count * section->columns;
    bool fits = cells <= *cells_left;
    *cells_left = fits ? *cells_left - cells : 0;
    return fits;
}

size_t histogram_chunk_fit(const struct histogram *const *samples, size_t count)
{
    struct section section = {0};
    size_t taken = 0;
    size_t cells_left = HISTOGRAM_CHUNK_CELLS_CUT;
    if (count > HISTOGRAM_CHUNK_SAMPLES_CUT + SAMPLES_TAIL)
        count = HISTOGRAM_CHUNK_SAMPLES_CUT;
    while (taken < count) {
        bool fits = section_begin(&section, samples + taken, count - taken, &cells_left);
        if (!fits && taken > 0)
            break;
        taken += section.count;
    }
    section_deinit(&section);
    return taken;
}

/* ---- columns ---- */

/* Moves to the next bucket of a run that there is. */
static void run_advance(struct run *run, size_t sign)
{
    const struct histogram_side *side = &run->layout->sides[sign];
    while (run->at[sign].span < side->span_count &&
           run->at[sign].in_span == side->spans[run->at[sign].span].length) {
        run->at[sign].in_span = 0;
        if (++run->at[sign].span < side->span_count)
            run->at[sign].index += side->spans[run->at[sign].span].offset;
    }
}

static void run_rewind(struct run *run)
{
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct histogram_side *side = &run->layout->sides[sign];
        memset(&run->at[sign], 0, sizeof(run->at[sign]));
        if (side->span_count > 0)
            run->at[sign].index = side->spans[0].offset;
        run_advance(run, sign);
    }
}

/* The bucket of that index in every sample; called once for each column, ascending. */
static void gather_bucket(struct section *section, size_t sign, int64_t index, uint64_t *out)
{
    size_t count;
    struct run *runs = section_runs(section, &count);
    uint64_t last = 0;
    for (size_t r = 0; r < count; r++) {
        struct run *run = &runs[r];
        bool is_there = run->at[sign].span < run->layout->sides[sign].span_count &&
                        run->at[sign].index == index;
        size_t bucket = run->at[sign].bucket;
        for (size_t i = run->first; i < run->first + run->count; i++) {
            last = is_there ? section->samples[i]->sides[sign].buckets[bucket] : last;
            out[i] = last;
        }
        if (!is_there)
            continue;
        run->at[sign].in_span++;
        run->at[sign].bucket++;
        run->at[sign].index++;
        run_advance(run, sign);
    }
}

/* One column after another. */
static void gather(struct section *section, uint64_t *out)
{
    size_t n = section->count;
    for (size_t i = 0; i < n; i++) {
        const struct histogram *sample = section->samples[i];
        out[SECTION_COLUMN_COUNT * n + i] =
            histogram_count_from_total(sample->is_float, sample->count, histogram_total(sample));
        out[SECTION_COLUMN_ZERO * n + i] = sample->zero_count;
    }
    size_t run_count;
    struct run *runs = section_runs(section, &run_count);
    for (size_t r = 0; r < run_count; r++)
        run_rewind(&runs[r]);
    uint64_t *next = out + SECTION_COLUMN_BUCKETS * n;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        const struct nx_buf *ranges = &section->unions[sign].ranges;
        const struct bucket_range *range = (const struct bucket_range *)(const void *)ranges->data;
        for (size_t left = ranges->len / sizeof(*range); left > 0; left--, range++)
            for (int64_t index = range->first; index < range->end; index++, next += n)
                gather_bucket(section, sign, index, next);
    }
}

static void put_float_chunk(const uint64_t *bits, size_t count, struct nx_buf *scratch,
                            struct nx_buf *out)
{
    nx_buf_reset(scratch);
    chunk_encode(bits, count, scratch);
    varint_append(out, scratch->len);
    nx_buf_append(out, scratch->data, scratch->len);
}

static bool column_changes(const uint64_t *column, size_t count)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < count; i++)
        differ |= column[i] ^ column[0];
    return differ != 0;
}

/* Cells are n to a column. */
static void put_cells(uint64_t *cells, size_t n, uint32_t columns, bool is_float,
                      struct nx_buf *scratch, struct nx_buf *out)
{
    uint64_t *row = nx_alloc(columns * sizeof(*row));
    for (uint32_t c = 0; c < columns; c++)
        row[c] = cells[c * n];
    if (is_float)
        for (uint32_t c = 0; c < columns; c += CHUNK_SAMPLES_MAX)
            put_float_chunk(row + c,
                            columns - c < CHUNK_SAMPLES_MAX ? columns - c : CHUNK_SAMPLES_MAX,
                            scratch, out);
    else
        int_pack_put(row, columns, out);
    nx_free(row);
    if (n == 1)
        return;
    size_t bitmap = out->len; /* its place: appending moves the buffer */
    memset(nx_buf_extend(out, (columns + 7) / 8), 0, (columns + 7) / 8);
    for (uint32_t c = 0; c < columns; c++) {
        uint64_t *column = cells + c * n;
        if (!column_changes(column, n))
            continue;
        out->data[bitmap + c / 8] |= (uint8_t)(1u << (c % 8));
        if (is_float) {
            put_float_chunk(column + 1, n - 1, scratch, out);
            continue;
        }
        for (size_t i = 1; i < n; i++)
            column[i] -= column[0];
        int_pack_put(column + 1, n - 1, out);
    }
}

static void put_section(struct section *section, struct nx_buf *scratch, struct nx_buf *out)
{
    const struct histogram *first = section->samples[0];
    size_t run_count;
    const struct run *runs = section_runs(section, &run_count);
    varint_append(out, section->count << 1 | (first->is_float ? SECTION_FLOAT : 0));
    histogram_frame_put(first, out);
    for (size_t r = 0; r < run_count; r++) {
        varint_append(out, runs[r].count);
        histogram_spans_put(runs[r].layout, out);
    }
    uint64_t *cells = nx_alloc(section->count * section->columns * sizeof(*cells));
    gather(section, cells);
    put_cells(cells, section->count, section->columns, first->is_float, scratch, out);
    nx_free(cells);
}

/* ---- the chunk ---- */

/* Runs of equal ones: length << 2 | hint. */
static void put_hints(const struct histogram *const *samples, size_t count, struct nx_buf *out)
{
    for (size_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && samples[end]->hint == samples[i]->hint; end++) {
        }
        varint_append(out, (end - i) << 2 | samples[i]->hint);
    }
}

static void put_sums(const struct histogram *const *samples, size_t count, struct nx_buf *scratch,
                     struct nx_buf *out)
{
    uint64_t *sums = nx_alloc(count * sizeof(*sums));
    for (size_t i = 0; i < count; i++)
        sums[i] = float_bits(samples[i]->sum);
    put_float_chunk(sums, count, scratch, out);
    nx_free(sums);
}

void histogram_chunk_encode(const struct histogram *const *samples, size_t count,
                            struct nx_buf *out)
{
    NX_ASSERT(count > 0 && count <= HISTOGRAM_CHUNK_SAMPLES_MAX);
    struct section section = {0};
    struct nx_buf scratch = {0};
    size_t cells_left = HISTOGRAM_CHUNK_CELLS_CUT;
    nx_buf_append_byte(out, CHUNK_CODEC_HISTOGRAM);
    put_hints(samples, count, out);
    put_sums(samples, count, &scratch, out);
    for (size_t at = 0; at < count; at += section.count) {
        NX_ASSERT(section_begin(&section, samples + at, count - at, &cells_left) || at == 0);
        put_section(&section, &scratch, out);
    }
    section_deinit(&section);
    nx_buf_deinit(&scratch);
}
