/* head_stream.h - how up to eight samples of a series become a few bytes in memory, and come back bit by bit.
 *
 * A stream is a sequence of batches; each is relative to the one before, or absolute.
 *
 *   control 1     bits 0..2  samples - 1
 *                 bit  3     absolute: time and value of the first sample follow, and the expected step is 0
 *                 bit  4     steps differ from the expected step (else every step is equal to it)
 *                 bits 5..7  values: 0 all equal to the value before; 1 XOR; 2.. integers over 10^{0, 1, 2, 3, 6, 9}
 *   [ absolute ]  varint zigzag time, varint of the byte-swapped bits of the value
 *   [ steps ]     bits 0..2 width, bits 3..7 smallest offset + 16; packed (offset - smallest), `width` bits each
 *                 or 7: varint expected step from here on, width 1, varint zigzag smallest offset, packed
 *   [ XOR ]       trailing zeros 1, bits a value 1, packed (bits ^ bits before) >> trailing zeros
 *   [ integers ]  bits a delta 1, varint zigzag smallest delta, packed (delta - smallest)
 *
 * A sample's offset is its time less what the expected step leads to from the last sample of the batch before, so a
 * jitter of few ms around a steady scrape costs as many bits as it has, and no more when it swings back.
 * Deltas are between neighbours after scaling; the value before the first counts as 0 when it does not scale
 * exactly. In an absolute batch steps and values are those of the samples after the first.
 *
 * Cost     a constant series at a steady step: 1 byte per 8 samples. Only in memory: the layout may change at any time.
 * Exact    a scaled integer is used only where dividing it gives back the same 64 bits; everything else goes through
 *          XOR.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_BATCH           8u
#define STREAM_BATCH_BYTES_MAX 144u
/* Bytes behind a stream that stream_decode may read, without using what it finds. */
#define STREAM_PAD 16u

struct stream_batch {
    bool is_absolute;
    int64_t first_ms;      /* used when absolute */
    const uint32_t *steps; /* [0] is unused when absolute */
    const uint64_t *bits;
    unsigned count; /* 1 .. STREAM_BATCH */
    uint32_t step;  /* expected: what the batch before left */
    uint64_t bits_before;
};

/* Writes one batch to `out` (room for STREAM_BATCH_BYTES_MAX) and returns its bytes; *out_step is what the next
 * expects. */
size_t stream_encode(uint8_t *out, const struct stream_batch *batch, uint32_t *out_step);

struct stream_reader {
    const uint8_t *next;
    const uint8_t *end; /* STREAM_PAD readable bytes follow */
    int64_t time_ms;    /* of the last sample read */
    uint64_t bits;
    uint64_t step; /* expected */
};

static inline void stream_reader_init(struct stream_reader *reader, const uint8_t *data,
                                      size_t bytes)
{
    *reader = (struct stream_reader){.next = data, .end = data + bytes};
}

/* Reads one batch into the two arrays of STREAM_BATCH; its size, 0 at the end, -1 when the bytes are not a stream. */
int stream_decode(struct stream_reader *reader, int64_t *times_ms, uint64_t *bits);
