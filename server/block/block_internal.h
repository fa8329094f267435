/* block_internal.h - what merge, tests and tools need of a block beyond block.h: chunks as bytes. */
#pragma once

#include "narthex/base/thread.h"
#include "narthex/block/block.h"
#include "narthex/block/group_cache.h"
#include "narthex/block/tombstones.h"

#include "block_group.h"
#include "block_index.h"
#include "block_meta.h"

struct block {
    _Atomic uint32_t refs;       /* [A] relaxed up, acq_rel down */
    uint64_t id;                 /* [I] key in the group cache, never used twice in a process */
    const struct io *io;         /* [I] */
    struct group_cache *cache;   /* [I] */
    char *dir;                   /* [I] */
    struct block_meta_file file; /* [I] */
    int chunks_fd;               /* [I] */
    uint64_t disk_bytes;         /* [I] of its three files */
    struct nx_mutex lock;        /* only to verify and open the index, once */
    _Atomic(struct block_index *) index; /* [A] release when it is open */
    _Atomic bool is_damaged; /* [A] relaxed: a group did not verify; it serves, and is not merged */
    struct nx_err failure;   /* [L:lock] code is NX_E_CORRUPT once it did not verify */
    struct tombstones *tombstones; /* [L: its list's] what is deleted of it; NULL: nothing */
};

uint32_t block_ref_count(const struct block *block);
/* The verified index. NX_E_CORRUPT, NX_E_IO. */
NX_NODISCARD nx_code block_index_of(struct block *block, const struct block_index **out_index,
                                    struct nx_err *err);

/* index.mdb at `path` against the checksums of block.meta, now. */
NX_NODISCARD nx_code block_verify_file(struct block *block, const char *path, struct nx_err *err);

/* ---- reader ---- */

/* A reader for one long walk: what it reads once does not push other groups out of the cache. */
NX_NODISCARD nx_code block_reader_new_walk(struct block *block, struct block_reader **out_reader,
                                           struct nx_err *err);

struct block_chunk {
    uint32_t group, index; /* where it is */
    uint32_t vector;
    uint32_t count; /* samples */
    bool is_histogram;
    int64_t first_ms, last_ms;
};
/* The chunks of a series, those of each kind ascending by time, as struct block_chunk appended to `out`. */
NX_NODISCARD nx_code block_reader_chunks(struct block_reader *reader, uint32_t rank,
                                         struct nx_buf *out, struct nx_err *err);
/* Both views are valid until the next call on the reader. */
NX_NODISCARD nx_code block_reader_chunk(struct block_reader *reader,
                                        const struct block_chunk *chunk,
                                        const int64_t **out_times_ms, struct nx_bytes *out_bytes,
                                        struct nx_err *err);

/* ---- writer ---- */

/* block_writer_add in parts: a series, then its samples in any number of pieces, those of a kind ascending. A series
 * has a sample, or else an exemplar. */
NX_NODISCARD nx_code block_writer_begin_series(struct block_writer *writer, struct labels labels,
                                               uint32_t slot, struct nx_err *err);
NX_NODISCARD nx_code block_writer_put_samples(struct block_writer *writer, const int64_t *times_ms,
                                              const double *values, size_t count,
                                              struct nx_err *err);
NX_NODISCARD nx_code block_writer_put_histograms(struct block_writer *writer,
                                                 const int64_t *times_ms,
                                                 const struct histogram *const *samples,
                                                 size_t count, struct nx_err *err);
NX_NODISCARD nx_code block_writer_put_chunk(struct block_writer *writer, const int64_t *times_ms,
                                            uint32_t count, struct nx_bytes chunk,
                                            struct nx_err *err);
/* Of any series: without one there is no block. */
bool block_writer_has_samples(const struct block_writer *writer);
/* Before finish: known only when it is clear which sources gave samples. */
void block_writer_set_commits(struct block_writer *writer, uint64_t commit_min,
                              uint64_t commit_max);
