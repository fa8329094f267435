/* block_piece.h - a block's files part by part: a MiB with its checksum, or a stored group. For scrubs and tools.
 *
 * Pieces are numbered: those of index.mdb, then those of chunks.nxc. Each has its checksum in block.meta.
 */
#pragma once

#include "block_internal.h"

struct block_piece {
    const char *file; /* BLOCK_INDEX_NAME or BLOCK_CHUNKS_NAME */
    uint64_t offset, bytes;
};
uint64_t block_piece_count(const struct block *block);
/* Piece `number`, which exists (asserted). */
struct block_piece block_piece_at(const struct block *block, uint64_t number);
/* Reads it anew. NX_E_CORRUPT names file and bytes; NX_E_IO. `scratch` is reused. */
NX_NODISCARD nx_code block_piece_check(struct block *block, uint64_t number, struct nx_buf *scratch,
                                       struct nx_err *err);

/* A stored group as its body; *out_raw is a view of one of the buffers. NX_E_CORRUPT, NX_E_IO. */
struct block_group_place {
    enum group_kind kind;
    uint64_t offset;
    uint32_t stored_bytes, first;
};
NX_NODISCARD nx_code block_group_load(struct block *block, const struct block_group_place *place,
                                      struct nx_buf *stored, struct nx_buf *raw,
                                      struct nx_bytes *out_raw, struct nx_err *err);
/* Chunk groups first, then vector groups; false behind the last. */
bool block_group_place_at(const struct block_index *index, uint64_t number,
                          struct block_group_place *out_place);
