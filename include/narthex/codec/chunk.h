/* chunk.h - the values of one series' chunk as bytes, lossless to the bit, by the smallest of several codecs.
 *
 * Layer    codec (pure functions).   Format  docs/formats/chunk.md.
 * Verbs    every codec has the same two: encode (may decline), decode. chunk_encode tries them, cheapest first, until
 *          one is good enough, and keeps the smallest; a chunk begins with the byte that names its codec. Times are
 *          kept apart: timevec.h.
 * Limits   1 .. CHUNK_SAMPLES_MAX values. Bit-exact for every float64: NaN payloads, -0, infinities, denormals.
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define CHUNK_SAMPLES_MAX 4096u
#define CHUNK_SAMPLES_CUT                                                                          \
 480u /* writers cut here: two hours at 15 s; shorter chunks cost bytes, longer ones reads */

enum chunk_codec_id {
    CHUNK_CODEC_CONST = 1, /* the same bits throughout */
    CHUNK_CODEC_INT = 2,   /* integers, and decimals scaled to integers */
    CHUNK_CODEC_FLOAT = 3, /* any values, by the order of their bits */
    CHUNK_CODEC_SUM = 4,   /* near decimals: sums of decimals */
};

struct chunk_codec {
    enum chunk_codec_id id;
    const char *name;
    /* Appends the body (without the codec byte) and returns true, or declines and leaves `out` as it was: always when
     * the body would be longer than bytes_max. */
    bool (*encode)(const uint64_t *bits, size_t count, size_t bytes_max, struct nx_buf *out);
    /* The whole body; NX_E_CORRUPT, with out_bits undefined, on anything else. */
    nx_code (*decode)(struct nx_bytes body, size_t count, uint64_t *out_bits);
};

/* By id; NULL for an unknown one. Order of trial. */
const struct chunk_codec *chunk_codec_find(uint8_t id);
const struct chunk_codec *const *chunk_codecs_all(size_t *out_count);

/* Appends one chunk of `count` values (1 .. CHUNK_SAMPLES_MAX), given as their bits. Same values, same bytes. Cost: 20
 * to 40 ns a value (sums 60), less than one when they are all the same; some 80 KB of stack. */
void chunk_encode(const uint64_t *bits, size_t count, struct nx_buf *out);

/* The inverse; every byte of `chunk` must be used. NX_E_CORRUPT otherwise, with out_bits undefined; never reads or
 * writes out of bounds. Cost: 1 to 3 ns a value (sums 5), 0.2 when they are all the same. */
NX_NODISCARD nx_code chunk_decode(struct nx_bytes chunk, size_t count, uint64_t *out_bits);
