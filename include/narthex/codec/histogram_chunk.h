/* histogram_chunk.h - the native histograms of one series' chunk as bytes: columns, as floats have (chunk.h).
 *
 * A chunk is sections of samples with one schema; in a section the zero bucket and each bucket that any of its samples
 * has are a column over time: packed integers, or chunks of floats. So a bucket that appears costs its column, not a
 * new beginning of all others. Sums are one float chunk. Format: docs/formats/chunk.md. Lossless to the bit.
 * Limits   1 .. HISTOGRAM_CHUNK_SAMPLES_MAX samples, HISTOGRAM_CHUNK_CELLS_MAX cells: samples times columns.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/model/histogram.h"

#define HISTOGRAM_CHUNK_SAMPLES_MAX 4096u
#define HISTOGRAM_CHUNK_CELLS_MAX   (1u << 20) /* 8 MiB decoded */
#define HISTOGRAM_CHUNK_SAMPLES_CUT 480u       /* as chunks of floats */
#define HISTOGRAM_CHUNK_CELLS_CUT   (1u << 16) /* chosen: up to 130 buckets this cuts nothing */
#define CHUNK_CODEC_HISTOGRAM       5          /* first byte, among enum chunk_codec_id */

/* No chunk of one sample is longer: 8 bytes and a little for each bucket and bound, 8 for each span. */
#define HISTOGRAM_CHUNK_ONE_BYTES_MAX (220u << 10)

/* How many of the first samples make one chunk: all, when they are few. At least 1, and never more than a chunk
 * holds; fewer may be taken, too. */
size_t histogram_chunk_fit(const struct histogram *const *samples, size_t count);

/* Appends one chunk, its codec byte first. Samples are well-formed, no more than histogram_chunk_fit says. Same
 * samples, same bytes. */
void histogram_chunk_encode(const struct histogram *const *samples, size_t count,
                            struct nx_buf *out);

/* The inverse; every byte of `chunk` must be used. `out_samples` has `count` places; arrays are in the arena; all are
 * well-formed. NX_E_CORRUPT, with out_samples undefined, on anything else, NX_E_LIMIT when the arena is exhausted;
 * never reads or writes out of bounds. */
NX_NODISCARD nx_code histogram_chunk_decode(struct nx_bytes chunk, size_t count,
                                            struct arena *arena, struct histogram *out_samples);

static inline bool chunk_is_histogram(struct nx_bytes chunk)
{
    return chunk.len > 0 && chunk.data[0] == CHUNK_CODEC_HISTOGRAM;
}
