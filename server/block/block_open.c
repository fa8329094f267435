/* SPDX-License-Identifier: Apache-2.0 */
/* block_open.c - an open block: its files, its references, its index.
 *
 * Opening reads block.meta and looks at file sizes. The index is verified and mapped at its first use, once, under the
 * block's lock; from then on it is read without locks.
 */
#include "narthex/base/mem.h"

#include "block_files.h"
#include "block_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>

#define BLOCK_META_BYTES_MAX ((size_t)1 << 30)

static _Atomic uint64_t next_block_id = 1; /* cache keys: never the same for two opens of a block */

/* ---- the block ---- */

static nx_code check_size(struct block *block, const char *name, uint64_t bytes, struct nx_err *err)
{
    struct nx_buf path = {0};
    uint64_t actual = 0;
    nx_code code = io_file_size(block->io, path_join(&path, block->dir, name), &actual, err);
    nx_buf_deinit(&path);
    if (code == NX_E_NOT_FOUND)
        return nx_err_set(err, NX_E_CORRUPT, "%s is missing", name);
    if (code == NX_OK && actual != bytes)
        return nx_err_set(err, NX_E_CORRUPT, "%s has %" PRIu64 " bytes instead of %" PRIu64, name,
                          actual, bytes);
    return code;
}

static nx_code open_files(struct block *block, struct nx_err *err)
{
    struct nx_buf path = {0}, bytes = {0};
    nx_code code = io_read_file(block->io, path_join(&path, block->dir, BLOCK_META_NAME),
                                BLOCK_META_BYTES_MAX, &bytes, err);
    if (code == NX_E_NOT_FOUND || code == NX_E_LIMIT)
        code = nx_err_set(err, NX_E_CORRUPT, "%s is missing or far too long", BLOCK_META_NAME);
    if (code == NX_OK)
        code = block_meta_decode(nx_buf_bytes(&bytes), &block->file, err);
    if (code == NX_OK)
        code = check_size(block, BLOCK_INDEX_NAME, block->file.meta.index_bytes, err);
    if (code == NX_OK)
        code = check_size(block, BLOCK_CHUNKS_NAME, block->file.meta.chunks_bytes, err);
    if (code == NX_OK)
        code = block->io->open(block->io, path_join(&path, block->dir, BLOCK_CHUNKS_NAME), O_RDONLY,
                               0, &block->chunks_fd, err);
    if (code == NX_OK)
        block->disk_bytes =
            bytes.len + block->file.meta.index_bytes + block->file.meta.chunks_bytes;
    nx_buf_deinit(&path);
    nx_buf_deinit(&bytes);
    return code;
}

nx_code block_open(struct block **out_block, const struct io *io, const char *dir,
                   struct group_cache *cache, struct nx_err *err)
{
    struct block *block = nx_calloc(1, sizeof(*block));
    atomic_init(&block->refs, 1);
    atomic_init(&block->index, NULL);
    block->id = atomic_fetch_add_explicit(&next_block_id, 1, memory_order_relaxed);
    block->io = io;
    block->cache = cache;
    block->dir = nx_strdup(dir);
    block->chunks_fd = -1;
    mutex_init(&block->lock, LOCK_RANK_BLOCK_INDEX);
    nx_code code = open_files(block, err);
    if (code != NX_OK) {
        block_unref(block);
        return nx_err_wrap(err, "block %s", dir);
    }
    *out_block = block;
    return NX_OK;
}

struct block *block_ref(struct block *block)
{
    atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
    return block;
}

uint32_t block_ref_count(const struct block *block)
{
    return atomic_load_explicit(&block->refs, memory_order_acquire);
}

void block_unref(struct block *block)
{
    if (block == NULL || atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) != 1)
        return;
    group_cache_drop_block(block->cache, block->id);
    block_index_close(atomic_load_explicit(&block->index, memory_order_acquire));
    if (block->chunks_fd >= 0) {
        struct nx_err ignored;
        nx_ignore(block->io->close(block->io, block->chunks_fd, &ignored));
    }
    block_meta_file_deinit(&block->file);
    tombstones_unref(block->tombstones);
    mutex_deinit(&block->lock);
    nx_free(block->dir);
    nx_free(block);
}

const struct block_meta *block_meta(const struct block *block)
{
    return &block->file.meta;
}

const char *block_dir(const struct block *block)
{
    return block->dir;
}

/* ---- the index ---- */

nx_code block_verify_file(struct block *block, const char *path, struct nx_err *err)
{
    int fd = -1;
    nx_code code = block->io->open(block->io, path, O_RDONLY, 0, &fd, err);
    if (code != NX_OK)
        return code;
    code =
        file_sums_verify(block->io, fd, block->file.meta.index_bytes, block->file.index_sums, err);
    struct nx_err close_err;
    nx_ignore(block->io->close(block->io, fd, &close_err));
    return code == NX_OK ? NX_OK : nx_err_wrap(err, "%s", BLOCK_INDEX_NAME);
}

static nx_code open_index_locked(struct block *block, struct nx_err *err) NX_REQUIRES(block->lock)
{
    if (block->failure.code != NX_OK) {
        *err = block->failure;
        return err->code;
    }
    if (atomic_load_explicit(&block->index, memory_order_relaxed) != NULL)
        return NX_OK;
    struct nx_buf path = {0};
    struct block_index *index = NULL;
    path_join(&path, block->dir, BLOCK_INDEX_NAME);
    nx_code code = block_verify_file(block, (const char *)path.data, err);
    if (code == NX_OK)
        code = block_index_open(&index, (const char *)path.data, block->file.meta.index_bytes,
                                block->file.meta.series_count, err);
    nx_buf_deinit(&path);
    if (code == NX_OK)
        atomic_store_explicit(&block->index, index, memory_order_release);
    else
        nx_ignore(nx_err_wrap(err, "block %s", block->file.meta.ulid));
    if (code == NX_E_CORRUPT)
        block->failure = *err;
    return code;
}

nx_code block_index_of(struct block *block, const struct block_index **out_index,
                       struct nx_err *err)
{
    const struct block_index *index = atomic_load_explicit(&block->index, memory_order_acquire);
    if (index == NULL) {
        mutex_lock(&block->lock);
        nx_code code = open_index_locked(block, err);
        mutex_unlock(&block->lock);
        if (code != NX_OK)
            return code;
        index = atomic_load_explicit(&block->index, memory_order_acquire);
    }
    *out_index = index;
    return NX_OK;
}

nx_code block_verify(struct block *block, struct nx_err *err)
{
    const struct block_index *index = NULL;
    return block_index_of(block, &index, err);
}
