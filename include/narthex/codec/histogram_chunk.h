/* histogram_chunk.h - the native histograms of one series' chunk as bytes: columns, as floats have (chunk.h).
 *
 * A chunk is runs of samples with one layout; in a run each count, each bucket and the sum are a column over time: sums
 * and float counts are float chunks, integers are packed integers. Format: docs/formats/chunk.md. Lossless to the bit.
 * Limits   1 .. HISTOGRAM_CHUNK_SAMPLES_MAX samples.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/model/histogram.h"

#define HISTOGRAM_CHUNK_SAMPLES_MAX 4096u
#define CHUNK_CODEC_HISTOGRAM       5 /* first byte, among enum chunk_codec_id */

/* Appends one chunk, its codec byte first. Same samples, same bytes. */
void histogram_chunk_encode(const struct histogram *const *samples, size_t count,
                            struct nx_buf *out);

/* The inverse; every byte of `chunk` must be used. `out_samples` has `count` places; arrays are in the arena.
 * NX_E_CORRUPT on anything else, NX_E_LIMIT when the arena is exhausted; never reads or writes out of bounds. */
NX_NODISCARD nx_code histogram_chunk_decode(struct nx_bytes chunk, size_t count,
                                            struct arena *arena, struct histogram *out_samples);

static inline bool chunk_is_histogram(struct nx_bytes chunk)
{
    return chunk.len > 0 && chunk.data[0] == CHUNK_CODEC_HISTOGRAM;
}
