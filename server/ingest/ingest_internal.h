/* ingest_internal.h - what the files of the write pipeline share: a worker's reused memory, a request's outcome. */
#pragma once

#include "narthex/base/buf.h"
#include "narthex/base/thread.h"
#include "narthex/ingest/ingest.h"
#include "narthex/ingest/raw_cache.h"
#include "narthex/ingest/write_batch.h"

/* One per request in work; kept in a free list with its memory. */
struct ingest_worker {
    struct ingest_worker *next_free;
    struct nx_buf raw; /* the unpacked body: views of the batch point here */
    struct write_batch batch;
    struct head_write *writes; /* parallel to write_series */
    uint32_t *write_series;    /* index into batch.series of each write */
    size_t write_cap;
};

/* What goes on after ingest_write has returned. */
struct ingest_request {
    struct ingest *ingest;
    ingest_done_fn done;
    void *context;
    uint64_t wait_begun_ns;
    struct ingest_outcome outcome;
    unsigned message_lines;
};

struct ingest {
    struct store *store;         /* [I] */
    const struct clock *clock;   /* [I] */
    struct ingest_limits limits; /* [I] */
    struct mem_budget *budget;   /* [I] may be NULL */
    struct nx_mutex large;       /* held while a large request is decoded and written */
    struct raw_cache raw_cache;  /* has its own lock */
    _Atomic uint64_t
        raw_cache_entries_max; /* [A] relaxed: refreshed now and then from the number of series */
    _Atomic uint32_t insert_calls; /* [A] relaxed */
    struct nx_mutex workers_lock;
    struct ingest_worker *free_workers; /* [L:workers_lock] */
};

/* ingest_report.c: counts a refusal and adds its line to the message (the first few; then only counts). */
void ingest_report_refusal(struct ingest_request *request, enum ingest_refusal refusal,
                           uint64_t samples, struct labels labels, const char *reason);
/* After a store_write: refusals of one series. */
void ingest_report_write(struct ingest_request *request, const struct head_write *write,
                         struct labels labels);
/* When all is known: fills code and the summary line. */
void ingest_report_finish(struct ingest_request *request);
