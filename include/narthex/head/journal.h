/* journal.h - what was acknowledged survives a crash.
 *
 * Layer    head (uses base, model, codec).           Format   docs/formats/journal.md
 * Owns     <data>/journal/<n>.nxj
 * Threads  commit and cut: the committer; release and prepare_spare: one other thread, beside them; stats: any;
 *          replay: before any other
 * Limits   commit <= JOURNAL_COMMIT_BYTES_MAX        Read     journal_append.c, journal_record.c, journal_replay.c,
 *                                                             journal_segment.c
 *
 * Segments are fixed in size, pre-zeroed, overwritten in place and recycled; their order is that of their headers, not
 * their names. Commits start on 4 KiB, are numbered without gaps, and a commit is written only after the one before
 * it is synced: so replay ends at the first invalid record, and a valid record of a later commit behind it means
 * damage. A record verifies only at its own place in its own epoch: XXH3-64 seeded with (segment epoch, offset).
 */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/err.h"
#include "narthex/base/io.h"
#include "narthex/model/labels.h"

#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_COMMIT_BYTES_MAX (64u << 20)
#define JOURNAL_SEGMENT_BYTES    (128u << 20) /* default */
#define JOURNAL_BLOB_BYTES_MAX                                                                     \
 (256u << 10) /* chosen: four of the largest fit the smallest segment */

/* What is kept beside float samples, by the type of its records. The journal does not look into a payload. */
enum journal_blob_kind {
    JOURNAL_BLOB_HISTOGRAM = 3,
    JOURNAL_BLOB_EXEMPLAR = 4,
    JOURNAL_BLOB_METADATA = 5,
};
#define JOURNAL_BLOB_KINDS 3u

/* What one shard has appended since its last commit; columns of equal length. Owned by the shard, swapped out whole. */
struct journal_buffer {
    uint32_t *slots;
    int64_t *times_ms;
    uint64_t *value_bits;
    size_t sample_count;
    size_t sample_cap;
    struct nx_buf definitions; /* journal_buffer_define */
    size_t definition_count;
    struct nx_buf blobs[JOURNAL_BLOB_KINDS]; /* journal_buffer_push_blob, from the lowest kind on */
    size_t blob_counts[JOURNAL_BLOB_KINDS];
};
void journal_buffer_deinit(struct journal_buffer *buffer);
void journal_buffer_reset(struct journal_buffer *buffer); /* keeps memory up to a bound */
void journal_buffer_define(struct journal_buffer *buffer, uint32_t slot, struct labels labels);
/* A side entry: `payload` (copied, at most JOURNAL_BLOB_BYTES_MAX, the caller sees to it) means something by itself.
 * `slot` is a defined one, or 0 where the kind has none. */
void journal_buffer_push_blob(struct journal_buffer *buffer, enum journal_blob_kind kind,
                              uint32_t slot, int64_t time_ms, struct nx_bytes payload);
void journal_buffer_reserve(struct journal_buffer *buffer, size_t samples);
uint64_t journal_buffer_bytes(const struct journal_buffer *buffer); /* memory that it holds */
static inline void journal_buffer_push(struct journal_buffer *buffer, uint32_t slot,
                                       int64_t time_ms, uint64_t value_bits)
{
    size_t i = buffer->sample_count++;
    buffer->slots[i] = slot;
    buffer->times_ms[i] = time_ms;
    buffer->value_bits[i] = value_bits;
}

struct journal;
struct journal_options {
    const struct io *io;        /* borrowed */
    const char *dir;            /* created when absent; copied */
    uint64_t segment_bytes;     /* 0: JOURNAL_SEGMENT_BYTES */
    const char *quarantine_dir; /* where damaged segments go; copied */
    bool
        is_replay_ahead; /* replay calls the visitor from a thread of its own, which it ends before it returns */
};

/* Reads the headers of all segments, writes nothing. */
NX_NODISCARD nx_code journal_open(struct journal **out_journal,
                                  const struct journal_options *options, struct nx_err *err);
NX_NODISCARD nx_code journal_close(struct journal *journal, struct nx_err *err); /* NULL is fine */

/* Hands over everything that was committed after `released_commit` (that of the newest flushed block): commits in
 * order, in each the definitions first, then samples, then side entries by kind; those of one buffer in their order. A
 * visitor that fails stops the replay with its code. A torn end is dropped and told in `out`. Damage in the middle
 * is told too, everything readable is handed over, and the segment stays where it is until journal_release: then,
 * when a block holds what was readable, it goes to quarantine with a reason beside it. Call once, before the first
 * commit, even for an empty journal. What was read but perhaps never synced is made durable by the first
 * journal_commit, an empty one too. */
struct journal_visitor {
    void *context;
    nx_code (*define)(void *context, uint32_t slot, struct labels labels, struct nx_err *err);
    nx_code (*samples)(void *context, const uint32_t *slots, const int64_t *times_ms,
                       const uint64_t *value_bits, size_t count, struct nx_err *err);
    /* NULL: side entries are counted and passed over. The payload is borrowed. */
    nx_code (*blob)(void *context, enum journal_blob_kind kind, uint32_t slot, int64_t time_ms,
                    struct nx_bytes payload, struct nx_err *err);
};
struct journal_replay_result {
    uint64_t commits, samples, definitions, blobs;
    uint64_t last_commit;
    bool has_torn_tail;
    unsigned damaged_segments;
    char damage[240]; /* first damage, for the log */
};
NX_NODISCARD nx_code journal_replay(struct journal *journal, uint64_t released_commit,
                                    const struct journal_visitor *visitor,
                                    struct journal_replay_result *out, struct nx_err *err);

/* Writes `buffers`, definitions first, side entries last, as one commit and makes it durable: when this returns NX_OK,
 * a crash keeps all of it; a crash before may keep any whole records of it, never part of one. Buffers are borrowed.
 * *out_commit is untouched on failure, and the caller keeps the buffers and calls again: that goes to a fresh
 * segment. Nothing is written and *out_commit is the last commit when all buffers are empty. More than one commit holds
 * (JOURNAL_COMMIT_BYTES_MAX, or a segment) becomes several commits; *out_commit is the last.
 * Errors: NX_E_FULL, NX_E_IO (this segment is never written again). Cost: one write, one fdatasync.
 * Crash points: journal_written (before the sync), journal_synced. */
NX_NODISCARD nx_code journal_commit(struct journal *journal, struct journal_buffer *const *buffers,
                                    size_t buffer_count, uint64_t *out_commit, struct nx_err *err);

/* The next commit begins a new segment. Returns the number of the last commit before it. */
uint64_t journal_cut(struct journal *journal);

/* Segments whose commits are all <= commit are recycled. */
NX_NODISCARD nx_code journal_release(struct journal *journal, uint64_t commit, struct nx_err *err);

/* Pre-zeroes a spare segment when there is none, a few MiB and one sync a call: call again, at your own pace, while
 * *out_worked. NX_E_FULL, NX_E_IO: try again much later. */
NX_NODISCARD nx_code journal_prepare_spare(struct journal *journal, bool *out_worked,
                                           struct nx_err *err);

struct journal_stats {
    uint64_t segments_live, segments_spare, bytes_live, samples_live, last_commit;
};
void journal_stats(struct journal *journal, struct journal_stats *out);
