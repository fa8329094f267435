/* SPDX-License-Identifier: Apache-2.0 */
/* block_piece.c - a MiB against its checksum, a group against its own. */
#include "block_piece.h"

#include "narthex/base/hash.h"

#include "block_files.h"

#include <fcntl.h>
#include <inttypes.h>

uint64_t block_piece_count(const struct block *block)
{
    return sum_count(block->file.meta.index_bytes) + sum_count(block->file.meta.chunks_bytes);
}

struct block_piece block_piece_at(const struct block *block, uint64_t number)
{
    const struct block_meta *meta = &block->file.meta;
    uint64_t index_pieces = sum_count(meta->index_bytes);
    NX_ASSERT(number < block_piece_count(block));
    bool is_index = number < index_pieces;
    struct block_piece piece = {.file = is_index ? BLOCK_INDEX_NAME : BLOCK_CHUNKS_NAME};
    uint64_t file_bytes = is_index ? meta->index_bytes : meta->chunks_bytes;
    piece.offset = (is_index ? number : number - index_pieces) * FILE_SUM_BYTES;
    uint64_t left = file_bytes - piece.offset;
    piece.bytes = left < FILE_SUM_BYTES ? left : FILE_SUM_BYTES;
    return piece;
}

static nx_code piece_read(struct block *block, const struct block_piece *piece, int fd,
                          struct nx_buf *scratch, struct nx_err *err)
{
    nx_buf_reset(scratch);
    uint8_t *data = nx_buf_extend(scratch, (size_t)piece->bytes);
    return file_read_at(block->io, fd, piece->offset, data, (size_t)piece->bytes, err);
}

nx_code block_piece_check(struct block *block, uint64_t number, struct nx_buf *scratch,
                          struct nx_err *err)
{
    struct block_piece piece = block_piece_at(block, number);
    uint64_t index_pieces = sum_count(block->file.meta.index_bytes);
    uint64_t place = piece.offset / FILE_SUM_BYTES;
    uint64_t expected =
        number < index_pieces ? block->file.index_sums[place] : block->file.chunks_sums[place];
    nx_code code;
    if (number < index_pieces) {
        struct nx_buf path = {0};
        int fd = -1;
        code = block->io->open(block->io, path_join(&path, block->dir, piece.file), O_RDONLY, 0,
                               &fd, err);
        nx_buf_deinit(&path);
        if (code == NX_OK) {
            struct nx_err ignored;
            code = piece_read(block, &piece, fd, scratch, err);
            nx_ignore(block->io->close(block->io, fd, &ignored));
        }
    } else {
        code = piece_read(block, &piece, block->chunks_fd, scratch, err);
    }
    if (code == NX_OK && nx_hash64(scratch->data, scratch->len, place) != expected)
        code = nx_err_set(err, NX_E_CORRUPT, "checksum differs");
    if (code != NX_OK)
        return nx_err_wrap(err, "block %s: %s: bytes %" PRIu64 " to %" PRIu64,
                           block->file.meta.ulid, piece.file, piece.offset,
                           piece.offset + piece.bytes);
    return NX_OK;
}

nx_code block_group_load(struct block *block, const struct block_group_place *place,
                         struct nx_buf *stored, struct nx_buf *raw, struct nx_bytes *out_raw,
                         struct nx_err *err)
{
    uint64_t file_bytes = block->file.meta.chunks_bytes;
    nx_code code = NX_OK;
    if (place->stored_bytes <= GROUP_HEADER_BYTES ||
        place->stored_bytes > GROUP_RAW_BYTES_MAX + GROUP_HEADER_BYTES ||
        place->offset > file_bytes || place->stored_bytes > file_bytes - place->offset)
        code = nx_err_set(err, NX_E_CORRUPT, "out of bounds");
    if (code == NX_OK) {
        nx_buf_reset(stored);
        uint8_t *data = nx_buf_extend(stored, place->stored_bytes);
        code = file_read_at(block->io, block->chunks_fd, place->offset, data, place->stored_bytes,
                            err);
    }
    if (code == NX_OK && group_unpack(nx_buf_bytes(stored), place->offset, place->kind,
                                      place->first, raw, out_raw) != NX_OK)
        code = nx_err_set(err, NX_E_CORRUPT, "damaged");
    if (code != NX_OK)
        return nx_err_wrap(err, "block %s: %s: group at offset %" PRIu64, block->file.meta.ulid,
                           BLOCK_CHUNKS_NAME, place->offset);
    return NX_OK;
}

bool block_group_place_at(const struct block_index *index, uint64_t number,
                          struct block_group_place *out_place)
{
    uint32_t groups = block_index_group_count(index);
    if (number < groups) {
        struct index_group_row row;
        block_index_group(index, (uint32_t)number, &row);
        *out_place = (struct block_group_place){GROUP_KIND_CHUNKS, row.offset, row.stored_bytes,
                                                row.first_rank};
        return true;
    }
    if (number - groups >= block_index_vectors_count(index))
        return false;
    struct index_vector_row row;
    block_index_vectors(index, (uint32_t)(number - groups), &row);
    *out_place = (struct block_group_place){GROUP_KIND_VECTORS, row.offset, row.stored_bytes,
                                            row.first_vector};
    return true;
}
