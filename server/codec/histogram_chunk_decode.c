/* SPDX-License-Identifier: Apache-2.0 */
/* histogram_chunk_decode.c - native histograms from their columns.
 *
 * In       bytes that may be anything.
 * Memory   what a chunk may give is bounded by HISTOGRAM_CHUNK_CELLS_MAX before it is allocated: constant columns take
 *          no bytes, so the length of the chunk bounds nothing.
 */
#include "narthex/base/assert.h"
#include "narthex/codec/chunk.h"
#include "narthex/codec/histogram_chunk.h"
#include "narthex/codec/int_pack.h"
#include "narthex/model/staleness.h"

#include "histogram_internal.h"

#define TILE 8u /* samples turned from columns into rows at once: a cache line of a column */

struct decoder {
    struct byte_reader reader;
    struct arena *arena;
    struct histogram *samples; /* those not yet in a section */
    size_t left;
    size_t cells_left;
    struct bucket_union unions[HISTOGRAM_SIGNS];
};

/* Samples of one layout, in the section at hand. */
struct decoded_run {
    size_t first, count;
    struct histogram layout;
    uint64_t *rows[HISTOGRAM_SIGNS]; /* of all its samples; NULL where there are no buckets */
};

static bool get_hints(struct byte_reader *reader, struct histogram *samples, size_t count)
{
    for (size_t i = 0; i < count;) {
        uint64_t head = byte_reader_varint(reader);
        if (head >> 2 == 0 || head >> 2 > count - i)
            return false;
        for (uint64_t n = head >> 2; n > 0; n--)
            samples[i++] = (struct histogram){.hint = head & 3};
    }
    return true;
}

static nx_code get_float_chunk(struct byte_reader *reader, size_t count, uint64_t *out_bits)
{
    struct nx_bytes bytes = byte_reader_take(reader, byte_reader_varint(reader));
    return reader->is_bad ? NX_E_CORRUPT : chunk_decode(bytes, count, out_bits);
}

static nx_code get_sums(struct byte_reader *reader, struct histogram *samples, size_t count)
{
    uint64_t bits[HISTOGRAM_CHUNK_SAMPLES_MAX];
    nx_code code = get_float_chunk(reader, count, bits);
    for (size_t i = 0; code == NX_OK && i < count; i++)
        samples[i].sum = float_from_bits(bits[i]);
    return code;
}

/* Runs of `count` samples in all, appended to `out_runs`; the unions have their buckets then. */
static nx_code get_runs(struct decoder *decoder, const struct histogram *frame, size_t count,
                        struct nx_buf *out_runs)
{
    for (size_t at = 0; at < count;) {
        struct decoded_run run = {.first = at, .layout = *frame};
        uint64_t length = byte_reader_varint(&decoder->reader);
        if (length == 0 || length > count - at)
            return NX_E_CORRUPT;
        run.count = (size_t)length;
        nx_code code = histogram_spans_get(&decoder->reader, decoder->arena, &run.layout);
        if (code != NX_OK)
            return code;
        size_t columns = SECTION_COLUMN_BUCKETS;
        for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
            columns += bucket_union_prepare(&decoder->unions[sign], &run.layout.sides[sign]);
            bucket_union_commit(&decoder->unions[sign]);
        }
        if (columns > decoder->cells_left / count)
            return NX_E_CORRUPT;
        nx_buf_append(out_runs, &run, sizeof(run));
        at += run.count;
    }
    return NX_OK;
}

/* Columns of n cells each. */
static nx_code get_cells(struct byte_reader *reader, size_t n, size_t columns, bool is_float,
                         uint64_t *row, uint64_t *out)
{
    nx_code code = NX_OK;
    if (is_float) {
        for (size_t c = 0; code == NX_OK && c < columns; c += CHUNK_SAMPLES_MAX)
            code = get_float_chunk(
                reader, columns - c < CHUNK_SAMPLES_MAX ? columns - c : CHUNK_SAMPLES_MAX, row + c);
    } else if (!int_pack_get(reader, columns, row)) {
        code = NX_E_CORRUPT;
    }
    if (code != NX_OK)
        return code;
    struct nx_bytes bitmap = byte_reader_take(reader, n == 1 ? 0 : (columns + 7) / 8);
    if (reader->is_bad ||
        (n > 1 && columns % 8 != 0 && bitmap.data[bitmap.len - 1] >> (columns % 8) != 0))
        return NX_E_CORRUPT;
    for (size_t c = 0; c < columns; c++, out += n) {
        uint64_t first = row[c];
        out[0] = first;
        if (n == 1)
            continue;
        if ((bitmap.data[c / 8] >> (c % 8) & 1) == 0) {
            for (size_t i = 1; i < n; i++)
                out[i] = first;
        } else if (is_float) {
            code = get_float_chunk(reader, n - 1, out + 1);
            if (code != NX_OK)
                return code;
        } else {
            if (!int_pack_get(reader, n - 1, out + 1))
                return NX_E_CORRUPT;
            for (size_t i = 1; i < n; i++)
                out[i] += first;
        }
    }
    return NX_OK;
}

/* `length` neighbouring columns, from `column` on, to places of the rows of a run: row i begins at to + i * stride. */
static void columns_to_rows(const uint64_t *column, size_t n, uint32_t length, size_t count,
                            uint64_t *to, size_t stride)
{
    for (size_t i = 0; i < count; i += TILE) {
        size_t tile = count - i < TILE ? count - i : TILE;
        for (uint32_t b = 0; b < length; b++)
            for (size_t k = 0; k < tile; k++)
                to[(i + k) * stride + b] = column[b * n + i + k];
    }
}

/* Rows of one sign; `cells` are those of that sign's columns. */
static void fill_side(const struct decoder *decoder, const struct decoded_run *run, size_t sign,
                      const uint64_t *cells, size_t n)
{
    const struct histogram_side *side = &run->layout.sides[sign];
    int64_t index = 0;
    uint32_t bucket = 0;
    for (size_t s = 0; s < side->span_count; s++) {
        uint32_t length = side->spans[s].length;
        index += side->spans[s].offset;
        if (length == 0)
            continue;
        uint32_t column = bucket_union_column(&decoder->unions[sign], index);
        columns_to_rows(cells + column * n + run->first, n, length, run->count,
                        run->rows[sign] + bucket, side->bucket_count);
        index += length;
        bucket += length;
    }
}

/* Samples of a run from the columns of its section. */
static void fill_run(const struct decoder *decoder, const struct decoded_run *run,
                     const uint64_t *cells, size_t n)
{
    const uint64_t *of_sign[HISTOGRAM_SIGNS];
    of_sign[0] = cells + SECTION_COLUMN_BUCKETS * n;
    of_sign[1] = of_sign[0] + decoder->unions[0].columns * n;
    struct histogram *samples = decoder->samples + run->first;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        if (run->rows[sign] != NULL)
            fill_side(decoder, run, sign, of_sign[sign], n);
    for (size_t i = 0; i < run->count; i++) {
        struct histogram *sample = &samples[i];
        sample->zero_count = cells[SECTION_COLUMN_ZERO * n + run->first + i];
        sample->count = histogram_count_of_total(sample->is_float,
                                                 cells[SECTION_COLUMN_COUNT * n + run->first + i],
                                                 histogram_total(sample));
    }
}

/* The samples of a run with their layout and with memory for their buckets. */
static nx_code place_run(struct decoder *decoder, struct decoded_run *run)
{
    struct histogram layout = run->layout;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++) {
        size_t buckets = layout.sides[sign].bucket_count;
        if (buckets == 0)
            continue;
        run->rows[sign] = arena_alloc(decoder->arena, run->count * buckets * sizeof(uint64_t));
        if (run->rows[sign] == NULL)
            return NX_E_LIMIT;
    }
    for (size_t i = 0; i < run->count; i++) {
        struct histogram *sample = &decoder->samples[run->first + i];
        for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
            if (run->rows[sign] != NULL)
                layout.sides[sign].buckets = run->rows[sign] + i * layout.sides[sign].bucket_count;
        layout.hint = sample->hint;
        layout.sum = sample->sum;
        *sample = layout;
    }
    return NX_OK;
}

static nx_code get_columns(struct decoder *decoder, const struct nx_buf *runs, size_t count,
                           bool is_float)
{
    struct decoded_run *run = (struct decoded_run *)(void *)runs->data;
    struct decoded_run *end = run + runs->len / sizeof(*run);
    size_t columns =
        SECTION_COLUMN_BUCKETS + decoder->unions[0].columns + decoder->unions[1].columns;
    for (struct decoded_run *r = run; r < end; r++) {
        nx_code code = place_run(decoder, r);
        if (code != NX_OK)
            return code;
    }
    struct arena_mark mark = arena_mark(decoder->arena);
    uint64_t *row = arena_alloc(decoder->arena, columns * sizeof(*row));
    uint64_t *cells = arena_alloc(decoder->arena, columns * count * sizeof(*cells));
    if (row == NULL || cells == NULL)
        return NX_E_LIMIT;
    nx_code code = get_cells(&decoder->reader, count, columns, is_float, row, cells);
    for (; code == NX_OK && run < end; run++)
        fill_run(decoder, run, cells, count);
    arena_rewind(decoder->arena, mark);
    decoder->cells_left -= columns * count;
    return code;
}

static nx_code get_section(struct decoder *decoder, struct nx_buf *runs)
{
    uint64_t head = byte_reader_varint(&decoder->reader);
    struct histogram frame = {.is_float = (head & SECTION_FLOAT) != 0};
    if (head >> 1 == 0 || head >> 1 > decoder->left)
        return NX_E_CORRUPT;
    size_t count = (size_t)(head >> 1);
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        bucket_union_reset(&decoder->unions[sign]);
    nx_buf_reset(runs);
    nx_code code = histogram_frame_get(&decoder->reader, decoder->arena, &frame);
    if (code == NX_OK)
        code = get_runs(decoder, &frame, count, runs);
    if (code == NX_OK)
        code = get_columns(decoder, runs, count, frame.is_float);
    if (code != NX_OK)
        return code;
    decoder->samples += count;
    decoder->left -= count;
    return NX_OK;
}

nx_code histogram_chunk_decode(struct nx_bytes chunk, size_t count, struct arena *arena,
                               struct histogram *out_samples)
{
    if (!chunk_is_histogram(chunk) || count == 0 || count > HISTOGRAM_CHUNK_SAMPLES_MAX)
        return NX_E_CORRUPT;
    struct decoder decoder = {
        .reader = byte_reader_of((struct nx_bytes){chunk.data + 1, chunk.len - 1}),
        .arena = arena,
        .samples = out_samples,
        .left = count,
        .cells_left = HISTOGRAM_CHUNK_CELLS_MAX,
    };
    struct nx_buf runs = {0};
    nx_code code = NX_E_CORRUPT;
    if (get_hints(&decoder.reader, out_samples, count))
        code = get_sums(&decoder.reader, out_samples, count);
    while (code == NX_OK && decoder.left > 0)
        code = get_section(&decoder, &runs);
    if (code == NX_OK && (decoder.reader.is_bad || byte_reader_left(&decoder.reader) > 0))
        code = NX_E_CORRUPT;
    for (size_t sign = 0; sign < HISTOGRAM_SIGNS; sign++)
        bucket_union_deinit(&decoder.unions[sign]);
    nx_buf_deinit(&runs);
    return code;
}
