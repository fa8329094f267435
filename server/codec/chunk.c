/* SPDX-License-Identifier: Apache-2.0 */
/* chunk.c - one of several codecs for the values of a chunk, the smallest.
 *
 * In       bits of 1 to CHUNK_SAMPLES_MAX values.
 * Out      a byte that names the codec, and its body.
 * Order    cheapest first: constant ends the search at once, integer when it comes out well below what any other could.
 */
#include "narthex/codec/chunk.h"

#include "narthex/base/assert.h"

#include "chunk_internal.h"

/* Where integers take less than this a value, doubles would not: they have noise of four bytes and more. */
#define CHUNK_GOOD_BYTES_PER_VALUE 4u

static const struct chunk_codec *const codecs[] = {
    &chunk_codec_const,
    &chunk_codec_int,
    &chunk_codec_sum,
    &chunk_codec_float,
};

const struct chunk_codec *const *chunk_codecs_all(size_t *out_count)
{
    *out_count = NX_ARRAY_LEN(codecs);
    return codecs;
}

const struct chunk_codec *chunk_codec_find(uint8_t id)
{
    for (size_t i = 0; i < NX_ARRAY_LEN(codecs); i++)
        if (codecs[i]->id == id)
            return codecs[i];
    return NULL;
}

void chunk_encode(const uint64_t *bits, size_t count, struct nx_buf *out)
{
    NX_ASSERT(count > 0 && count <= CHUNK_SAMPLES_MAX);
    size_t start = out->len;
    size_t best = SIZE_MAX; /* bytes of the best chunk so far, which stands at `start` */
    for (size_t i = 0; i < NX_ARRAY_LEN(codecs); i++) {
        size_t at = out->len;
        nx_buf_append_byte(out, (uint8_t)codecs[i]->id);
        if (!codecs[i]->encode(bits, count, best - 1, out)) {
            out->len = at;
            continue;
        }
        size_t bytes = out->len - at;
        if (bytes < best) {
            memmove(out->data + start, out->data + at, bytes);
            best = bytes;
        }
        out->len = start + best;
        if (codecs[i]->id == CHUNK_CODEC_CONST || best <= count * CHUNK_GOOD_BYTES_PER_VALUE)
            break;
    }
    NX_ASSERT(best != SIZE_MAX); /* float never declines a first candidate */
}

nx_code chunk_decode(struct nx_bytes chunk, size_t count, uint64_t *out_bits)
{
    if (chunk.len == 0 || count == 0 || count > CHUNK_SAMPLES_MAX)
        return NX_E_CORRUPT;
    const struct chunk_codec *codec = chunk_codec_find(chunk.data[0]);
    if (codec == NULL)
        return NX_E_CORRUPT;
    return codec->decode((struct nx_bytes){chunk.data + 1, chunk.len - 1}, count, out_bits);
}
