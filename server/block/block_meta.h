/* block_meta.h - block.meta: what a block holds, and the checksums of its other files. */
#pragma once

#include "narthex/block/block.h"

#define BLOCK_META_FIXED_BYTES   152u
#define BLOCK_META_VERSION_BYTES 12u /* how many of them tell the version */

struct block_meta_file {
    struct block_meta meta;
    uint64_t *index_sums;               /* sum_count(meta.index_bytes) */
    uint64_t *chunks_sums;              /* sum_count(meta.chunks_bytes) */
    char (*sources)[ULID_TEXT_LEN + 1]; /* meta.source_count */
};
void block_meta_file_deinit(struct block_meta_file *file); /* safe on a zeroed struct and twice */

/* The part of fixed size, which the catalog keeps too. */
void block_meta_pack(const struct block_meta *meta, uint8_t out[BLOCK_META_FIXED_BYTES]);
/* Of whatever version it is: where the version stands does not change. */
uint32_t block_meta_version(const uint8_t in[BLOCK_META_VERSION_BYTES]);
/* NX_E_CORRUPT when a field is impossible. */
NX_NODISCARD nx_code block_meta_unpack(const uint8_t in[BLOCK_META_FIXED_BYTES],
                                       struct block_meta *out_meta);

void block_meta_encode(const struct block_meta_file *file, struct nx_buf *out);
/* The whole file. *out_file is the caller's to deinit; untouched on failure. NX_E_CORRUPT; NX_E_INVALID: another
 * version. */
NX_NODISCARD nx_code block_meta_decode(struct nx_bytes bytes, struct block_meta_file *out_file,
                                       struct nx_err *err);

bool ulid_is_valid(const char *text); /* 26 characters of Crockford's base 32 */
