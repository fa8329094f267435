/* head_internal.h - what the files of the head share: a series' two lines, the shard, and the verbs between them.
 *
 * A series has a slot = local * HEAD_SHARD_COUNT + shard. Per shard, by local number:
 *   hot    96 B, all that an append touches:   last time | stream | 7 values that wait | their steps, a byte each
 *   cold   32 B: labels as packed pair ids, hash, rank in label order, sealed and late data
 * Its samples, oldest first:   sealed stream -> open stream -> pending values,   and beside them two late lists.
 *
 * Invariants
 *   1. Times of sealed stream, open stream and pending values, in this order, ascend strictly.
 *   2. A late sample's time is in none of them, and in neither late list twice: an append that finds its time is a
 *      duplicate.
 *   3. Everything in sealed data is part of the running flush, or of one that was not published and will be taken
 *      again.
 *   4. HOT_DEFINED: the journal since the last published flush's cut, or that flush's block, holds the slot's
 *      definition.
 *   5. A generation changes only under the shard's lock and the index' together; while loading, when nobody selects,
 *      under the shard's alone.
 *
 * Locks    shard->lock for everything in the shard; index->lock below it. Without the shard's lock the flusher alone
 *          reads what only it writes (cold->sealed, cold->sealed_late, sealed chunks) and a live series' labels.
 * Order    one shard at a time; an index lock inside it.
 */
#pragma once

#include "narthex/base/hash.h"
#include "narthex/base/mem.h"
#include "narthex/codec/varint.h"
#include "narthex/head/head.h"

#include "head_index.h"
#include "head_memory.h"
#include "head_side.h"
#include "head_stream.h"
#include "id_table.h"

#include <sched.h>

#define HEAD_SHARD_BITS 4u
#define HEAD_LOCAL_LIMIT                                                                           \
 (1u << 22) /* chosen: 67 M series; bounds what a damaged slot number can make us allocate */
#define RANK_NONE UINT32_MAX

static_assert(HEAD_SHARD_COUNT == 1u << HEAD_SHARD_BITS, "a slot's low bits are its shard");

enum hot_flag {
    HOT_LIVE = 1, /* the slot has a series */
    HOT_DEFINED = 2,
    HOT_HAS_LAST = 4, /* last_ms and the value before the pending ones are those of a sample */
    HOT_BREAK = 8,    /* the next batch is absolute: its first step does not fit 32 bits */
    HOT_LATE = 16,    /* cold->late */
    HOT_SEALED =
        32, /* cold->sealed or cold->sealed_late: part of the running flush, or of the next */
    HOT_IN_PREVIOUS = 64, /* had samples in the last published flush */
    HOT_SIDE = 128,       /* an entry in shard->sides */
};

/* Steps are kept as what they differ from `step`, a byte each, while that fits; a batch with another one is wide. */
#define HOT_STORED                                                                                 \
 (STREAM_BATCH - 1) /* the sample that fills a batch goes straight to the stream */
#define HOT_WIDE_STORED    (HOT_STORED * 9 / 12) /* as much memory at 12 bytes a sample */
#define STREAM_BEFORE_UNIT 4u                    /* bytes */

struct head_hot {
    int64_t
        last_ms; /* newest sample in order, kept when it is flushed; INT64_MIN before the first */
    uint64_t bits_before; /* value of the sample before bits[0] */
    uint32_t generation;
    uint32_t
        stream; /* newest chunk of the open stream, 0: none; the next free local number in a free slot */
    uint32_t step;   /* what the stream so far says of the next step */
    uint8_t pending; /* values that wait */
    uint8_t flags;   /* enum hot_flag */
    bool is_wide;    /* the pending samples are in wide_bits and wide_steps */
    uint8_t
        stream_before; /* of the stream that was sealed last, in units: what this one is likely to need */
    union {
        struct {
            uint64_t bits[HOT_STORED];
            int8_t deviations[HOT_STORED + 1]; /* of the step before each, from `step` */
        };
        struct { /* is_wide */
            uint64_t wide_bits[HOT_WIDE_STORED];
            uint32_t wide_steps[HOT_WIDE_STORED]; /* each since the sample before */
        };
    };
};
static_assert(sizeof(struct head_hot) == 96, "always two cache lines");

struct head_cold {
    uint8_t *labels; /* varint pair ids in label order; pool */
    uint32_t labels_bytes;
    uint32_t hash;   /* of the labels, in the series table */
    uint32_t rank;   /* position in label order as of the last flush, RANK_NONE */
    uint32_t late;   /* 1 + index into shard->lates, 0: none */
    uint32_t sealed; /* newest chunk of the sealed stream, 0: none. Written by the flusher alone */
    uint32_t sealed_late; /* as late. Written by the flusher alone */
};
static_assert(sizeof(struct head_cold) == 32, "two series a cache line");

struct late_sample {
    int64_t time_ms;
    uint64_t bits;
};
struct late_list {
    struct late_sample *items; /* ascending, heap; NULL while the list is free */
    uint32_t count;
    uint32_t cap;
};

struct time_span {
    int64_t min_ms, max_ms; /* INT64_MAX, INT64_MIN: empty */
};

struct head_shard {
    _Alignas(64) struct nx_mutex lock; /* LOCK_RANK_HEAD_SHARD; all below is [L:lock] */
    struct segvec hots;                /* struct head_hot by local number */
    struct segvec colds;
    uint32_t local_count; /* local numbers ever used */
    uint32_t free_local;  /* first free one, HEAD_SLOT_NONE */
    uint32_t sweep_next,
        sweep_end;    /* a running sweep: these are still to be sealed; equal: none runs */
    bool is_sweeping; /* the others write to arena_next */
    struct id_table table;
    struct journal_buffer pending;
    struct head_pool pool; /* packed labels */
    struct stream_store store;
    struct stream_arena arena_open, arena_next, arena_sealed;
    struct late_list *lates;
    uint32_t lates_count, lates_cap;
    uint32_t lates_free; /* 1 + index, linked through count; 0: none */
    uint64_t late_bytes;
    struct head_sides sides;
    uint32_t *fresh; /* slots of series not yet in head->order */
    uint32_t fresh_count, fresh_cap;
    uint64_t series, created, removed, late_samples, samples; /* samples: taken since the start */
    struct time_span open_span, sealed_span;
    /* Scratch of whoever holds the lock. */
    uint64_t *hashes;
    uint32_t *ids;
    struct label *labels;
    size_t labels_cap;
    struct nx_buf bytes;
};

struct head {
    struct head_shard *shards; /* HEAD_SHARD_COUNT */
    struct head_index index;
    uint64_t series_max;                                              /* [I] 0: none */
    enum append_result (*admit)(void *context, struct labels labels); /* [I] may be NULL */
    void *admit_context;                                              /* [I] */
    bool is_leaving;                  /* [T:flusher] see head_set_leaving */
    _Atomic uint64_t series;          /* [A] relaxed */
    _Atomic uint32_t shard_turn;      /* [A] relaxed: where the next append begins */
    _Atomic uint64_t flushed_samples; /* [A] relaxed */
    _Atomic uint64_t
        removals; /* [A] relaxed, raised under the index' lock before slots are freed */
    _Atomic uint32_t
        order_epoch; /* [A] relaxed, odd while ranks change; they change under the shards' locks */
    _Atomic uint64_t unknown_samples; /* [A] relaxed: replayed for a slot that nobody defined */
    uint32_t *order; /* [T:flusher] slots of all series of the last flush, in label order */
    uint32_t order_count;
    _Atomic uint64_t order_bytes; /* [A] relaxed */
    bool is_flushing;             /* [T:flusher] */
    bool is_loaded;               /* by head_load_finish: nothing may be loaded any more */
    /* Not NULL: while loading, before other threads; lists of slots are not kept. head_loader.h */
    struct head_loader *loader;
};

static inline uint32_t slot_local(uint32_t slot)
{
    return slot >> HEAD_SHARD_BITS;
}

static inline unsigned slot_shard(uint32_t slot)
{
    return slot & (HEAD_SHARD_COUNT - 1);
}

static inline uint32_t slot_of(unsigned shard, uint32_t local)
{
    return (local << HEAD_SHARD_BITS) | shard;
}

static inline unsigned head_shard_number(const struct head *head, const struct head_shard *shard)
{
    return (unsigned)(shard - head->shards);
}

static inline struct head_hot *hot_at(const struct head_shard *shard, uint32_t local)
{
    return segvec_at(&shard->hots, local, sizeof(struct head_hot));
}

static inline struct head_cold *cold_at(const struct head_shard *shard, uint32_t local)
{
    return segvec_at(&shard->colds, local, sizeof(struct head_cold));
}

/* The hot line of the series that lives there; NULL: none does. */
static inline struct head_hot *hot_live(const struct head_shard *shard, uint32_t local)
    NX_REQUIRES(shard->lock)
{
    if (local >= shard->local_count || !segvec_has(&shard->hots, local))
        return NULL;
    struct head_hot *hot = hot_at(shard, local);
    return hot->flags & HOT_LIVE ? hot : NULL;
}

/* That of the series which the ref names; NULL: it left. */
static inline struct head_hot *hot_of(const struct head_shard *shard, struct series_ref ref)
    NX_REQUIRES(shard->lock)
{
    struct head_hot *hot = hot_live(shard, slot_local(ref.slot));
    return hot != NULL && hot->generation == ref.generation ? hot : NULL;
}

/* Asks for a hot line ahead. Any number will do, that of HEAD_SLOT_NONE too. */
static inline void hot_prefetch(const struct head_shard *shard, uint32_t local)
{
    if (!segvec_has(&shard->hots, local))
        return;
    const char *hot = (const char *)hot_at(shard, local);
    __builtin_prefetch(hot, 1);
    __builtin_prefetch(hot + 64, 1);
}

/* The hot line is here by now: asks for the end of its stream when so many samples more fill a batch. */
static inline void stream_prefetch(const struct head_shard *shard, uint32_t local, uint32_t samples)
{
    if (!segvec_has(&shard->hots, local))
        return;
    const struct head_hot *hot = hot_at(shard, local);
    if (hot->pending + samples < STREAM_BATCH || hot->stream == 0 || !(hot->flags & HOT_LIVE))
        return;
    const char *chunk = (const char *)stream_store_chunk(&shard->store, hot->stream);
    __builtin_prefetch(chunk, 1);
    __builtin_prefetch(chunk + 64, 1);
}

/* Between two pieces of work under a lock: whoever waits for it goes first. */
static inline void lock_pause(struct nx_mutex *lock) NX_REQUIRES(*lock)
{
    mutex_unlock(lock);
    sched_yield();
    mutex_lock(lock);
}

static inline uint64_t hot_last_bits(const struct head_hot *hot)
{
    return hot->pending > 0 ? hot->bits[hot->pending - 1] : hot->bits_before;
}

static inline bool hot_has_data(const struct head_hot *hot)
{
    return hot->pending > 0 || hot->stream != 0 ||
           (hot->flags & (HOT_LATE | HOT_SEALED | HOT_SIDE));
}

static inline void time_span_add(struct time_span *span, int64_t time_ms)
{
    span->min_ms = time_ms < span->min_ms ? time_ms : span->min_ms;
    span->max_ms = time_ms > span->max_ms ? time_ms : span->max_ms;
}

static inline void time_span_join(struct time_span *span, const struct time_span *other)
{
    span->min_ms = other->min_ms < span->min_ms ? other->min_ms : span->min_ms;
    span->max_ms = other->max_ms > span->max_ms ? other->max_ms : span->max_ms;
}

#define TIME_SPAN_EMPTY ((struct time_span){.min_ms = INT64_MAX, .max_ms = INT64_MIN})

/* ---- packed labels (head_series.c) ---- */

/* Walks packed pair ids: false at the end. They are our own, so nothing is checked. */
static inline bool packed_next(const uint8_t **next, const uint8_t *end, uint32_t *out_id)
{
    if (*next == end)
        return false;
    uint32_t id = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = *(*next)++;
        id |= (uint32_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte >= 0x80);
    *out_id = id;
    return true;
}

/* How many ids; `out` takes them unless it is NULL. */
size_t packed_ids(const uint8_t *packed, size_t bytes, uint32_t *out);
bool packed_equals(const struct head_index *index, const uint8_t *packed, size_t bytes,
                   struct labels labels);
/* As labels_compare. The pairs of both must live. */
int packed_compare(const struct head_index *index, const uint8_t *a, size_t a_bytes,
                   const uint8_t *b, size_t b_bytes);

/* ---- series (head_series.c) ---- */

/* Local number of the series with these labels, HEAD_SLOT_NONE. */
uint32_t series_find(struct head *head, struct head_shard *shard, uint32_t hash,
                     struct labels labels) NX_REQUIRES(shard->lock);
/* Makes a series that series_find did not find; at a given local number, or HEAD_SLOT_NONE for any. The scratch holds
 * the hashes of its pairs and their ids, or PAIR_NONE where they are not known. HEAD_SLOT_NONE: a limit. */
uint32_t series_create(struct head *head, struct head_shard *shard, uint32_t local, uint32_t hash,
                       struct labels labels) NX_REQUIRES(shard->lock);
/* Frees the slot; both locks are held because the generation changes. */
void series_remove(struct head *head, struct head_shard *shard, uint32_t local)
    NX_REQUIRES(shard->lock) NX_REQUIRES(head->index.lock);
/* Makes the shard's scratch hold `count` labels. */
void shard_reserve_labels(struct head_shard *shard, size_t count) NX_REQUIRES(shard->lock);
/* Labels of a live series in the shard's scratch; texts are those of its pairs. */
struct labels series_labels(struct head *head, struct head_shard *shard, uint32_t local)
    NX_REQUIRES(shard->lock);
void shard_add_fresh(struct head_shard *shard, uint32_t slot) NX_REQUIRES(shard->lock);

/* ---- samples (head_samples.c) ---- */

/* Encodes the pending samples into the open stream. */
void series_encode_pending(struct head_shard *shard, uint32_t local, struct head_hot *hot)
    NX_REQUIRES(shard->lock);

/* The pending samples as columns. steps[0] of a batch that begins absolutely says nothing. */
struct hot_columns {
    uint32_t steps[STREAM_BATCH]; /* each since the sample before */
    uint64_t bits[STREAM_BATCH];
    unsigned count;
};
void hot_unpack(const struct head_hot *hot, struct hot_columns *out);

/* A sample newer than the last. */
void series_push_other(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                       int64_t time_ms, uint64_t bits) NX_REQUIRES(shard->lock);
static inline void series_push(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                               int64_t time_ms, uint64_t bits) NX_REQUIRES(shard->lock);

/* A sample that is not newer than the last. False: there is another value for its time, in *out_stored_bits.
 * *out_is_new: it was added to the late list (else it was there with the same bits). */
bool series_add_late(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                     int64_t time_ms, uint64_t bits, bool *out_is_new, uint64_t *out_stored_bits)
    NX_REQUIRES(shard->lock);

/* Bytes in a chain of chunks. */
size_t stream_bytes(const struct stream_store *store, uint32_t newest);
/* Appends the bytes of a chain of chunks, oldest first; STREAM_PAD more are readable behind them. */
void stream_gather(const struct stream_store *store, uint32_t newest, struct nx_buf *out);
/* Puts the chain of `older` before that of `newest`. */
void stream_link(const struct stream_store *store, uint32_t newest, uint32_t older);

/* Whether a float of the series is known to have this time: one in the head, or its last. */
bool series_has_float(struct head_shard *shard, uint32_t local, int64_t time_ms)
    NX_REQUIRES(shard->lock);

void late_free(struct head_shard *shard, uint32_t *list) NX_REQUIRES(shard->lock);
/* Moves the samples of *from to *to, merging; *from is 0 then. */
void late_move(struct head_shard *shard, uint32_t *to, uint32_t *from) NX_REQUIRES(shard->lock);

/* Merges late samples into columns that begin at element `start` of the buffers; only those in [min_ms, max_ms]. */
void late_merge_into(struct nx_buf *times_ms, struct nx_buf *values, size_t start,
                     const struct late_sample *late, size_t count, int64_t min_ms, int64_t max_ms);

/* Decodes a stream, appends what lies in the range. NX_E_CORRUPT when it is none. */
NX_NODISCARD nx_code stream_read(const uint8_t *data, size_t bytes, int64_t min_ms, int64_t max_ms,
                                 struct nx_buf *times_ms, struct nx_buf *values);

static inline void series_push(struct head_shard *shard, uint32_t local, struct head_hot *hot,
                               int64_t time_ms, uint64_t bits)
{
    uint64_t distance = (uint64_t)time_ms - (uint64_t)hot->last_ms;
    uint64_t deviation = distance - hot->step;
    bool is_easy = hot->pending < HOT_STORED && deviation + 128 < 256 && distance <= UINT32_MAX &&
                   !hot->is_wide && (hot->flags & HOT_HAS_LAST);
    if (NX_UNLIKELY(!is_easy)) {
        series_push_other(shard, local, hot, time_ms, bits);
        return;
    }
    hot->deviations[hot->pending] = (int8_t)deviation;
    hot->bits[hot->pending] = bits;
    hot->pending++;
    hot->last_ms = time_ms;
}

/* ---- order (head_order.c) ---- */

struct order_item {
    const uint8_t *packed; /* borrowed */
    uint32_t bytes;
    uint32_t tag; /* the caller's */
};
/* Sorts by labels. The pairs must live throughout. Cost: some 0.5 us an item when there are many. */
void order_sort(struct head_index *index, struct order_item *items, size_t count);

/* The order is this, of live series; then ranks are given. */
void order_set(struct head *head, const uint32_t *slots, uint32_t count);
/* Merges new series into head->order (head_flush.c; the flusher, or the loader before there are threads). */
void order_add(struct head *head, const uint32_t *fresh, uint32_t fresh_count);
