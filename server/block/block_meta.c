/* SPDX-License-Identifier: Apache-2.0 */
/* block_meta.c - block.meta as bytes: a fixed part, sources, checksums, its own checksum.
 *
 * Format: docs/formats/block.md.
 */
#include "block_meta.h"

#include "narthex/base/hash.h"
#include "narthex/base/mem.h"

#include "block_files.h"
#include "block_format.h"

#include <inttypes.h>

enum {
    META_AT_MAGIC = 0,
    META_AT_VERSION = 8,
    META_AT_LEVEL = 12,
    META_AT_ULID = 16,
    META_AT_ZERO = 42,
    META_AT_SOURCES = 44,
    META_AT_MIN_TIME = 48,
    META_AT_MAX_TIME = 56,
    META_AT_SERIES = 64,
    META_AT_SAMPLES = 72,
    META_AT_CHUNKS = 80,
    META_AT_COMMIT_MIN = 88,
    META_AT_COMMIT_MAX = 96,
    META_AT_INDEX_BYTES = 104,
    META_AT_CHUNKS_BYTES = 112,
    META_AT_HISTOGRAMS = 120,
    META_AT_EXEMPLARS = 128,
    META_AT_EXEMPLAR_MIN = 136,
    META_AT_EXEMPLAR_MAX = 144,
};
static_assert(META_AT_EXEMPLAR_MAX + 8 == BLOCK_META_FIXED_BYTES, "the fixed part ends here");
static_assert(META_AT_VERSION + 4 == BLOCK_META_VERSION_BYTES, "the version is found first");
static_assert(META_AT_ULID + ULID_TEXT_LEN == META_AT_ZERO, "the ulid is stored without its NUL");

#define META_MAGIC       "NXBLOCK\n"
#define META_MAGIC_BYTES 8u
#define META_FILE_BYTES_MAX                                                                        \
 (UINT64_C(1) << 46) /* of index.mdb and chunks.nxc: keeps sums of sizes from overflowing */
#define META_LEVEL_MAX 2u

bool ulid_is_valid(const char *text)
{
    for (unsigned i = 0; i < ULID_TEXT_LEN; i++)
        if (text[i] == 0 || strchr("0123456789ABCDEFGHJKMNPQRSTVWXYZ", text[i]) == NULL)
            return false;
    return text[ULID_TEXT_LEN] == 0;
}

void block_meta_file_deinit(struct block_meta_file *file)
{
    nx_free(file->index_sums);
    nx_free(file->chunks_sums);
    nx_free(file->sources);
    *file = (struct block_meta_file){0};
}

void block_meta_pack(const struct block_meta *meta, uint8_t out[BLOCK_META_FIXED_BYTES])
{
    memcpy(out + META_AT_MAGIC, META_MAGIC, META_MAGIC_BYTES);
    store_u32(out + META_AT_VERSION, BLOCK_FORMAT_VERSION);
    store_u32(out + META_AT_LEVEL, meta->level);
    memcpy(out + META_AT_ULID, meta->ulid, ULID_TEXT_LEN);
    store_u16(out + META_AT_ZERO, 0);
    store_u32(out + META_AT_SOURCES, meta->source_count);
    store_u64(out + META_AT_MIN_TIME, (uint64_t)meta->min_time_ms);
    store_u64(out + META_AT_MAX_TIME, (uint64_t)meta->max_time_ms);
    store_u64(out + META_AT_SERIES, meta->series_count);
    store_u64(out + META_AT_SAMPLES, meta->sample_count);
    store_u64(out + META_AT_CHUNKS, meta->chunk_count);
    store_u64(out + META_AT_COMMIT_MIN, meta->commit_min);
    store_u64(out + META_AT_COMMIT_MAX, meta->commit_max);
    store_u64(out + META_AT_INDEX_BYTES, meta->index_bytes);
    store_u64(out + META_AT_CHUNKS_BYTES, meta->chunks_bytes);
    store_u64(out + META_AT_HISTOGRAMS, meta->histogram_count);
    store_u64(out + META_AT_EXEMPLARS, meta->exemplar_count);
    store_u64(out + META_AT_EXEMPLAR_MIN, (uint64_t)meta->exemplar_min_ms);
    store_u64(out + META_AT_EXEMPLAR_MAX, (uint64_t)meta->exemplar_max_ms);
}

static bool exemplars_are_possible(const struct block_meta *meta)
{
    /* A series has a sample, or else an exemplar. */
    if (meta->chunk_count < meta->series_count &&
        meta->exemplar_count < meta->series_count - meta->chunk_count)
        return false;
    if (meta->exemplar_count == 0)
        return meta->exemplar_min_ms == 0 && meta->exemplar_max_ms == 0;
    return meta->exemplar_min_ms <= meta->exemplar_max_ms &&
           meta->exemplar_count <= meta->series_count * BLOCK_SERIES_EXEMPLARS_MAX;
}

uint32_t block_meta_version(const uint8_t in[BLOCK_META_VERSION_BYTES])
{
    return load_u32(in + META_AT_VERSION);
}

nx_code block_meta_unpack(const uint8_t in[BLOCK_META_FIXED_BYTES], struct block_meta *out_meta)
{
    struct block_meta meta = {
        .level = load_u32(in + META_AT_LEVEL),
        .source_count = load_u32(in + META_AT_SOURCES),
        .min_time_ms = (int64_t)load_u64(in + META_AT_MIN_TIME),
        .max_time_ms = (int64_t)load_u64(in + META_AT_MAX_TIME),
        .series_count = load_u64(in + META_AT_SERIES),
        .sample_count = load_u64(in + META_AT_SAMPLES),
        .chunk_count = load_u64(in + META_AT_CHUNKS),
        .commit_min = load_u64(in + META_AT_COMMIT_MIN),
        .commit_max = load_u64(in + META_AT_COMMIT_MAX),
        .index_bytes = load_u64(in + META_AT_INDEX_BYTES),
        .chunks_bytes = load_u64(in + META_AT_CHUNKS_BYTES),
        .histogram_count = load_u64(in + META_AT_HISTOGRAMS),
        .exemplar_count = load_u64(in + META_AT_EXEMPLARS),
        .exemplar_min_ms = (int64_t)load_u64(in + META_AT_EXEMPLAR_MIN),
        .exemplar_max_ms = (int64_t)load_u64(in + META_AT_EXEMPLAR_MAX),
    };
    memcpy(meta.ulid, in + META_AT_ULID, ULID_TEXT_LEN);
    bool is_good = memcmp(in, META_MAGIC, META_MAGIC_BYTES) == 0 &&
                   load_u32(in + META_AT_VERSION) == BLOCK_FORMAT_VERSION &&
                   ulid_is_valid(meta.ulid) && load_u16(in + META_AT_ZERO) == 0 &&
                   meta.level <= META_LEVEL_MAX && meta.source_count <= BLOCK_SOURCES_MAX &&
                   meta.min_time_ms <= meta.max_time_ms && meta.series_count > 0 &&
                   meta.series_count < UINT32_MAX && meta.chunk_count > 0 &&
                   meta.sample_count >= meta.chunk_count && meta.commit_min <= meta.commit_max &&
                   meta.index_bytes > 0 && meta.index_bytes <= META_FILE_BYTES_MAX &&
                   meta.chunks_bytes > 0 && meta.chunks_bytes <= META_FILE_BYTES_MAX &&
                   meta.histogram_count <= meta.sample_count && exemplars_are_possible(&meta);
    if (!is_good)
        return NX_E_CORRUPT;
    *out_meta = meta;
    return NX_OK;
}

void block_meta_encode(const struct block_meta_file *file, struct nx_buf *out)
{
    size_t start = out->len;
    block_meta_pack(&file->meta, nx_buf_extend(out, BLOCK_META_FIXED_BYTES));
    for (uint32_t i = 0; i < file->meta.source_count; i++)
        nx_buf_append(out, file->sources[i], ULID_TEXT_LEN);
    for (uint64_t i = 0; i < sum_count(file->meta.index_bytes); i++)
        nx_buf_append_u64(out, file->index_sums[i]);
    for (uint64_t i = 0; i < sum_count(file->meta.chunks_bytes); i++)
        nx_buf_append_u64(out, file->chunks_sums[i]);
    nx_buf_append_u64(out, nx_hash64(out->data + start, out->len - start, 0));
}

static uint64_t *copy_sums(const uint8_t *at, uint64_t count)
{
    uint64_t *sums = nx_alloc(count * sizeof(*sums));
    memcpy(sums, at, count * sizeof(*sums));
    return sums;
}

nx_code block_meta_decode(struct nx_bytes bytes, struct block_meta_file *out_file,
                          struct nx_err *err)
{
    if (bytes.len < BLOCK_META_VERSION_BYTES + 8 ||
        memcmp(bytes.data, META_MAGIC, META_MAGIC_BYTES) != 0)
        return nx_err_set(err, NX_E_CORRUPT, "%s: not a block's", BLOCK_META_NAME);
    if (nx_hash64(bytes.data, bytes.len - 8, 0) != load_u64(bytes.data + bytes.len - 8))
        return nx_err_set(err, NX_E_CORRUPT, "%s: checksum differs", BLOCK_META_NAME);
    uint32_t version = block_meta_version(bytes.data);
    if (version != BLOCK_FORMAT_VERSION)
        return nx_err_set(err, NX_E_INVALID,
                          "%s: format version %" PRIu32 ", this program knows %u", BLOCK_META_NAME,
                          version, BLOCK_FORMAT_VERSION);
    struct block_meta_file file = {0};
    if (bytes.len < BLOCK_META_FIXED_BYTES + 8 ||
        block_meta_unpack(bytes.data, &file.meta) != NX_OK)
        return nx_err_set(err, NX_E_CORRUPT, "%s: impossible values", BLOCK_META_NAME);
    uint64_t sources_bytes = (uint64_t)file.meta.source_count * ULID_TEXT_LEN;
    uint64_t index_sums = sum_count(file.meta.index_bytes);
    uint64_t chunks_sums = sum_count(file.meta.chunks_bytes);
    if (bytes.len - 8 - BLOCK_META_FIXED_BYTES != sources_bytes + 8 * (index_sums + chunks_sums))
        return nx_err_set(err, NX_E_CORRUPT, "%s: wrong length", BLOCK_META_NAME);
    const uint8_t *at = bytes.data + BLOCK_META_FIXED_BYTES;
    file.sources = nx_calloc(file.meta.source_count + 1u, sizeof(*file.sources));
    for (uint32_t i = 0; i < file.meta.source_count; i++, at += ULID_TEXT_LEN) {
        memcpy(file.sources[i], at, ULID_TEXT_LEN);
        if (!ulid_is_valid(file.sources[i])) {
            block_meta_file_deinit(&file);
            return nx_err_set(err, NX_E_CORRUPT, "%s: source %" PRIu32 " is no ulid",
                              BLOCK_META_NAME, i);
        }
    }
    file.index_sums = copy_sums(at, index_sums);
    file.chunks_sums = copy_sums(at + 8 * index_sums, chunks_sums);
    *out_file = file;
    return NX_OK;
}
