/* merge_internal.h - shared by the files of merge, and what they need of a block list. */
#pragma once

#include "narthex/block/merge.h"

#include "block_internal.h"

/* The multiple of size_ms at or below time_ms; INT64_MIN where that does not fit. */
int64_t time_floor(int64_t time_ms, int64_t size_ms);

/* ---- of block_list.c ---- */

const struct io *block_list_io(const struct block_list *list);
const struct block_pace *block_list_pace(const struct block_list *list); /* may be NULL */
int64_t block_list_gather(const struct block_list *list);
const char *block_list_tmp_dir(const struct block_list *list);

/* block_list_begin with a ulid that has the time of `like`. */
NX_NODISCARD nx_code block_list_begin_like(struct block_list *list, const char *like,
                                           char out_ulid[ULID_TEXT_LEN + 1], struct nx_buf *out_dir,
                                           struct nx_err *err);

/* Whoever publishes or deletes holds it; block_list_publish takes it itself. */
void block_list_lock_publishing(struct block_list *list);
void block_list_unlock_publishing(struct block_list *list);

/* block_list_publish, and what becomes of tombstones. */
struct block_publish {
    const struct block_meta *live;
    size_t live_count;
    struct block *const *retired;
    size_t retired_count;
    struct tombstones *const
        *applied; /* of each retired block: what is not in the live ones any more; NULL: none.
                                        * What was deleted since is carried over to the live ones */
    struct tombstones *const *made; /* of each live block: its own; NULL: none */
};
NX_NODISCARD nx_code block_list_publish_merged(struct block_list *list,
                                               const struct block_publish *publish,
                                               struct nx_err *err);

/* Stores the tombstones of live blocks, and `key` unless it is NULL, in one transaction; from then on snapshots have
 * them. They are referenced. The caller holds the publishing lock. Crash points: delete_begun, delete_committed. */
NX_NODISCARD nx_code block_list_set_tombstones(struct block_list *list, struct block *const *blocks,
                                               struct tombstones *const *tombstones, size_t count,
                                               const char *key, struct nx_bytes value,
                                               struct nx_err *err);

/* ---- of tombstones_carry.c ---- */

/* What is deleted of `source` and was not yet when `applied` was looked at, as tombstones of `output`, which has the
 * source's series among its own; added to *inout (may be NULL). */
NX_NODISCARD nx_code tombstones_carry(struct block *source, const struct tombstones *applied,
                                      const struct tombstones *current, struct block *output,
                                      struct tombstones **inout, struct nx_err *err);

/* From the first sample or exemplar of a block to its last. */
static inline struct time_range block_span(const struct block_meta *meta)
{
    struct time_range span = {meta->min_time_ms, meta->max_time_ms};
    if (meta->exemplar_count > 0 && meta->exemplar_min_ms < span.min_ms)
        span.min_ms = meta->exemplar_min_ms;
    if (meta->exemplar_count > 0 && meta->exemplar_max_ms > span.max_ms)
        span.max_ms = meta->exemplar_max_ms;
    return span;
}

/* ---- of merge.c ---- */

/* NX_E_FULL unless `bytes` and a reserve are free where blocks are built. */
NX_NODISCARD nx_code merge_check_space(struct block_list *list, uint64_t bytes, struct nx_err *err);

/* ---- merge_write.c: where merged samples go ---- */

/* Samples of both kinds are columns of times and of cells of 8 bytes: a double, or a const struct histogram *. */
enum merge_kind {
    MERGE_FLOATS,
    MERGE_HISTOGRAMS,
    MERGE_KINDS,
};
static_assert(sizeof(const struct histogram *) == sizeof(double), "one size of cells");

struct merge_output {
    int64_t start_ms, last_ms; /* its partition, both inclusive */
    struct block_writer *writer;
    char ulid[ULID_TEXT_LEN + 1];
    uint64_t commit_min, commit_max;
    uint64_t series; /* the number of the series that it was last told of */
};

/* Samples of one kind and partition that are not yet in a chunk. */
struct merge_run {
    struct nx_buf times, cells;
    int64_t start_ms;
};

/* One pass fills at most MERGE_OUTPUTS_MAX partitions; what belongs to others waits for the next. */
struct merge_outputs {
    struct block_list *list;
    int64_t day_before_ms;
    const char *const *sources;
    uint32_t source_count;
    struct merge_output open[MERGE_OUTPUTS_MAX];
    size_t open_count;
    struct merge_output *last; /* the one found last */
    struct nx_buf done;        /* struct merge_span of the passes before */
    struct nx_buf metas;       /* struct block_meta of finished blocks */
    bool has_skipped;
    uint64_t series;      /* counts merge_outputs_series */
    struct labels labels; /* of the series at hand, borrowed */
    struct merge_run runs[MERGE_KINDS];
    struct arena run_arena; /* the histograms of their run */
};

void merge_outputs_init(struct merge_outputs *outputs, struct block_list *list);
void merge_outputs_deinit(struct merge_outputs *outputs); /* abandons what is not published */
/* The samples to come are of this series. Labels are borrowed until the next call. */
NX_NODISCARD nx_code merge_outputs_series(struct merge_outputs *outputs, struct labels labels,
                                          struct nx_err *err);
/* *out_output NULL: not in this pass. */
NX_NODISCARD nx_code merge_outputs_find(struct merge_outputs *outputs, int64_t time_ms,
                                        struct merge_output **out_output, struct nx_err *err);
/* Tells each partition that these times touch whose commits they are. */
NX_NODISCARD nx_code merge_outputs_note(struct merge_outputs *outputs, const int64_t *times_ms,
                                        size_t count, const struct block_meta *source,
                                        struct nx_err *err);
NX_NODISCARD nx_code merge_outputs_samples(struct merge_outputs *outputs, enum merge_kind kind,
                                           const int64_t *times_ms, const void *cells, size_t count,
                                           struct nx_err *err);
/* The exemplars of the series at hand, sorted, behind all its samples: each to the partition of a sample, whose time
 * is in `homes_ms`, ascending; those of partitions that another pass writes are passed over. `is_alone`: the samples
 * are not of this series, which has none. */
NX_NODISCARD nx_code merge_outputs_exemplars(struct merge_outputs *outputs, const int64_t *homes_ms,
                                             const struct exemplar *exemplars, size_t count,
                                             bool is_alone, struct nx_err *err);
/* Copies the chunk as it is where it lies in one partition and is long enough; else *out_taken is false. */
NX_NODISCARD nx_code merge_outputs_chunk(struct merge_outputs *outputs, const int64_t *times_ms,
                                         uint32_t count, struct nx_bytes chunk, bool *out_taken,
                                         struct nx_err *err);
/* Ends the series at hand, finishes all open blocks, and forgets them. */
NX_NODISCARD nx_code merge_outputs_finish(struct merge_outputs *outputs, struct nx_err *err);
