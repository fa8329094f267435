/* block.h - an immutable directory of one index and one chunk file: write it once, read it for months.
 *
 * Layer    block (uses base, model, codec; the only layer that includes LMDB).
 * Format   docs/formats/block.md (files, block.meta, chunk groups), docs/formats/index.md (LMDB databases).
 * Order    series are numbered (rank) in label order; chunks.nxc holds groups of about 64 KB of neighbouring series.
 * Times    a scrape's series share their timestamps: each distinct vector of times is stored once per block.
 * Trust    block.meta is checked when a block is opened, index.mdb against the checksums of block.meta before LMDB
 *          sees it (at first use), every group when it is read. Offsets and lengths from files are hostile all the
 *          same.
 */
#pragma once

#include "narthex/base/arena.h"
#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/base/rand.h"
#include "narthex/model/exemplar.h"
#include "narthex/model/histogram.h"
#include "narthex/model/labels.h"
#include "narthex/model/matcher.h"

#include <stdbool.h>
#include <stdint.h>

#define BLOCK_SOURCES_MAX 4096u
#define BLOCK_SLOT_NONE   UINT32_MAX
/* Chosen: a day of one a scrape, and more. Of a series with more in one block the oldest go. */
#define BLOCK_SERIES_EXEMPLARS_MAX 8192u

struct block_meta {
    char ulid[ULID_TEXT_LEN + 1];
    uint32_t level;                   /* 0 flush, 1 two-hour partition, 2 day */
    int64_t min_time_ms, max_time_ms; /* of its samples, both inclusive */
    uint64_t series_count, sample_count, chunk_count;
    uint64_t histogram_count; /* samples that are native histograms, counted in sample_count too */
    uint64_t exemplar_count;
    int64_t exemplar_min_ms, exemplar_max_ms; /* both inclusive; 0 when there are none */
    uint64_t commit_min,
        commit_max; /* journal commits whose data it holds: the earlier wins a duplicate */
    uint64_t index_bytes, chunks_bytes;
    uint32_t source_count; /* blocks that it was merged from; their ulids are in block.meta */
};

/* ---- write ---- */

struct block_writer;
/* Who writes a large block in the background tells how far it is, and is held up as it suits those who wait for the
 * same volume. */
struct block_pace {
    void *context;
    void (*wrote)(void *context,
                  uint64_t bytes); /* after these bytes went to the device; may sleep */
};

struct block_writer_options {
    const struct io *io; /* borrowed */
    const char *dir;     /* the directory to make, under tmp/; copied */
    const char *ulid;    /* copied */
    uint32_t level;
    uint64_t commit_min, commit_max;
    int zstd_level;             /* 1; 3 in day blocks */
    const char *const *sources; /* ulids of the blocks that it is merged from; copied */
    uint32_t source_count;
    const struct block_pace *pace; /* borrowed; NULL: as fast as it goes */
};
NX_NODISCARD nx_code block_writer_new(struct block_writer **out_writer,
                                      const struct block_writer_options *options,
                                      struct nx_err *err);
/* One series with all its floats, in label order (asserted), samples strictly ascending. count 0: it has
 * histograms, or exemplars alone, which must follow (asserted). slot: BLOCK_SLOT_NONE above level 0. Everything is
 * copied or written before it returns. */
NX_NODISCARD nx_code block_writer_add(struct block_writer *writer, struct labels labels,
                                      uint32_t slot, const int64_t *times_ms, const double *values,
                                      size_t count, struct nx_err *err);
/* Native histograms of the series that was added last, well-formed, strictly ascending, in one call or several. No
 * time is that of a float. Copied or written before it returns. */
NX_NODISCARD nx_code block_writer_add_histograms(struct block_writer *writer,
                                                 const struct histogram_sample *samples,
                                                 size_t count, struct nx_err *err);
/* All exemplars of the series that was added last, which exemplar_check accepts, in any order, at most once (asserted);
 * equal ones are kept once. Copied. */
NX_NODISCARD nx_code block_writer_add_exemplars(struct block_writer *writer,
                                                const struct exemplar *exemplars, size_t count,
                                                struct nx_err *err);
/* Index, block.meta, sync of the files and of the directory. NX_E_INVALID when there is no sample: exemplars alone make
 * no block. Crash points: flush_encoded, flush_indexed, flush_sealed. */
NX_NODISCARD nx_code block_writer_finish(struct block_writer *writer, struct block_meta *out_meta,
                                         struct nx_err *err);
/* Ends the writer; unless it finished, its directory is removed. NULL is fine. */
void block_writer_free(struct block_writer *writer);

/* ---- read ---- */

struct block;       /* shared: references are counted, files stay open until the last is gone */
struct group_cache; /* group_cache.h */

/* Reads and checks block.meta and the file sizes only. The reference is the caller's. NX_E_CORRUPT, NX_E_IO. */
NX_NODISCARD nx_code block_open(struct block **out_block, const struct io *io, const char *dir,
                                struct group_cache *cache, struct nx_err *err);
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL is fine */
const struct block_meta *block_meta(const struct block *block);
const char *block_dir(const struct block *block);

/* Verifies and opens the index unless that was done. Called by every reader; explicit for background verification.
 * NX_E_CORRUPT once means NX_E_CORRUPT always: the caller quarantines the block. */
NX_NODISCARD nx_code block_verify(struct block *block, struct nx_err *err);

/* Every checksum, groups too. For scrubs and tools. */
NX_NODISCARD nx_code block_scrub(struct block *block, struct nx_err *err);

/* Ranks of the series that satisfy all matchers, ascending, in `arena`. Threads: any. */
NX_NODISCARD nx_code block_select(struct block *block, const struct matcher *matchers,
                                  size_t matcher_count, struct arena *arena, uint32_t **out_ranks,
                                  size_t *out_count, struct nx_err *err);

/* A reader walks ranks mostly upwards; it caches the page and the group at hand. One thread at a time. */
struct block_reader;
NX_NODISCARD nx_code block_reader_new(struct block *block, struct block_reader **out_reader,
                                      struct nx_err *err);
void block_reader_free(struct block_reader *reader); /* NULL is fine */
/* The array is valid until the next block_reader_labels on this reader, the texts as long as the block. slot may be
 * NULL. */
NX_NODISCARD nx_code block_reader_labels(struct block_reader *reader, uint32_t rank,
                                         struct labels *out_labels, uint32_t *out_slot,
                                         struct nx_err *err);
/* Samples in [min_ms, max_ms], ascending, appended to buffers of int64_t and double; on failure the buffers are as
 * before. NX_E_CORRUPT: this group is damaged, others may be good. NX_E_IO: a read failed, a retry may succeed. */
NX_NODISCARD nx_code block_reader_samples(struct block_reader *reader, uint32_t rank,
                                          int64_t min_ms, int64_t max_ms, struct nx_buf *times_ms,
                                          struct nx_buf *values, struct nx_err *err);
/* Its native histograms, likewise, as struct histogram_sample: samples are in the arena. Cheap where there are none.
 * NX_E_LIMIT, too, when the arena is exhausted. */
NX_NODISCARD nx_code block_reader_histograms(struct block_reader *reader, uint32_t rank,
                                             int64_t min_ms, int64_t max_ms, struct arena *arena,
                                             struct nx_buf *out, struct nx_err *err);
/* Its exemplars in the range, as struct exemplar, in order of exemplar_compare, likewise; labels are in the arena. */
NX_NODISCARD nx_code block_reader_exemplars(struct block_reader *reader, uint32_t rank,
                                            int64_t min_ms, int64_t max_ms, struct arena *arena,
                                            struct nx_buf *out, struct nx_err *err);
/* True when the series has a sample of any kind in the range, from the directory alone where possible. */
NX_NODISCARD nx_code block_reader_overlaps(struct block_reader *reader, uint32_t rank,
                                           int64_t min_ms, int64_t max_ms, bool *out_overlaps,
                                           struct nx_err *err);

/* Distinct names, or values of `name`, sorted, text in the arena. */
NX_NODISCARD nx_code block_label_names(struct block *block, struct arena *arena,
                                       struct nx_str **out, size_t *out_count, struct nx_err *err);
NX_NODISCARD nx_code block_label_values(struct block *block, struct nx_str name,
                                        struct arena *arena, struct nx_str **out, size_t *out_count,
                                        struct nx_err *err);

/* All series in rank order with their slots: how a start fills the head. */
typedef nx_code (*block_series_fn)(void *context, uint32_t rank, uint32_t slot,
                                   struct labels labels, struct nx_err *err);
NX_NODISCARD nx_code block_each_series(struct block *block, block_series_fn each, void *context,
                                       struct nx_err *err);

/* The same by numbers: first every pair, in label order, then every series as numbers of pairs, counted from 0 and
 * ascending. Texts live as long as the block. */
struct block_pairs_visitor {
    void *context;
    nx_code (*pair)(void *context, struct label pair, struct nx_err *err);
    nx_code (*series)(void *context, uint32_t rank, uint32_t slot, const uint32_t *pairs,
                      size_t count, struct nx_err *err);
};
NX_NODISCARD nx_code block_each_series_pairs(struct block *block,
                                             const struct block_pairs_visitor *visitor,
                                             struct nx_err *err);
