/* head_loader.h - hands what a start reads to the threads that own the shards.
 *
 *   the loading thread                ring of batches                threads 0 .. n-1, each with the shards s % n
 *   intern pairs, copy samples  -->  [ series ][ samples ] ...  -->  make series, append samples
 *
 * The loading thread is whichever calls the visitor; it alone touches the index. Every thread sees every batch, in
 * order, and takes its shards' part: so a shard's order is kept. Without threads a batch is applied at once.
 */
#pragma once

#include "head_internal.h"

#define LOAD_BATCHES       32u   /* 2.5 MB of samples under way */
#define LOAD_WAKE          4u    /* batches that a waiting thread is woken for, or the last ones */
#define LOAD_BATCH_SAMPLES 4096u /* a record of the journal */
#define LOAD_BATCH_SERIES  256u

struct load_series {
    uint32_t slot;
    uint32_t hash;
    uint32_t begin, end; /* in batch->bytes */
    bool is_definition;  /* of the journal: may take the place of a series without samples */
};

struct load_blob {
    int64_t time_ms;
    uint32_t slot;
    enum journal_blob_kind kind;
    size_t begin, end; /* in batch->bytes */
};

/* Series, or samples, or side entries, or nothing. */
struct load_batch {
    size_t series_count;
    size_t sample_count;
    size_t blob_count;
    struct load_series series[LOAD_BATCH_SERIES];
    struct load_blob blobs[LOAD_BATCH_SERIES];
    struct nx_buf bytes; /* varint pair ids; payloads */
    uint32_t slots[LOAD_BATCH_SAMPLES];
    int64_t times_ms[LOAD_BATCH_SAMPLES];
    uint64_t value_bits[LOAD_BATCH_SAMPLES];
};

struct head_loader;

struct loader_thread {
    struct head_loader *loader;
    struct nx_thread thread;
    unsigned number;
    uint64_t taken; /* [L:lock] batches that it is done with */
};

struct head_loader {
    struct head *head;
    unsigned thread_count; /* [I] */
    struct loader_thread threads[HEAD_SHARD_COUNT];
    struct load_batch *batches; /* LOAD_BATCHES, or one without threads */

    struct nx_mutex lock;
    struct nx_cond work;        /* a batch, or the end */
    struct nx_cond room;        /* a thread is done with one */
    uint64_t given;             /* [L:lock] to change; the loading thread's */
    uint64_t wanted;            /* [L:lock] so many taken are waited for */
    bool is_stopping;           /* [L:lock] */
    struct nx_err failure;      /* [L:lock] NX_OK: none */
    _Atomic bool has_failed;    /* [A] relaxed */
    _Atomic bool is_disordered; /* [A] relaxed: `order` is not label order, or not complete */

    /* The loading thread's. */
    struct nx_buf order;         /* slots in the order of loading from a block */
    struct nx_buf ids_before;    /* pair ids of the series before, */
    struct nx_buf hashes_before; /* and their hashes */
    struct nx_buf ids, hashes;   /* of the series at hand */
    struct nx_buf pairs;         /* struct load_pair: those of head_load_pair */
    struct nx_buf pairs_before;  /* numbers: of the series before */
    struct nx_buf labels;        /* struct label: of a series that is checked */
    uint64_t series;             /* of head_load_series_pairs */
};

struct load_pair {
    uint64_t hash;
    uint32_t id;
};

/* Applies a thread's part (shards s % of == number) of a batch (head_load.c). */
NX_NODISCARD nx_code load_apply(struct head *head, const struct load_batch *batch, unsigned number,
                                unsigned of, struct nx_err *err);

NX_NODISCARD nx_code head_loader_new(struct head_loader **out_loader, struct head *head,
                                     unsigned threads, struct nx_err *err);
/* Ends the threads when what was given is applied. NULL is fine. */
void head_loader_free(struct head_loader *loader);
/* The batch to fill. */
struct load_batch *head_loader_batch(struct head_loader *loader);
/* Hands it over. NX_E_CORRUPT etc.: of this batch or one before. */
NX_NODISCARD nx_code head_loader_give(struct head_loader *loader, struct nx_err *err);
/* Gives what is open and waits until all is applied. */
NX_NODISCARD nx_code head_loader_wait(struct head_loader *loader, struct nx_err *err);
