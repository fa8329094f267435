/* lock_rank.h - the one order in which locks may be taken: a thread takes only ranks above those that it holds.
 * Builds with NX_DCHECK_ENABLED abort on a wrong order. Two locks of one rank may not be held together.
 */
#pragma once

enum lock_rank {
    LOCK_RANK_METRICS = 5,        /* base/metrics: the collect hooks, held while they run */
    LOCK_RANK_QUERY_ACTIVE = 10,  /* query/active: the list of running queries */
    LOCK_RANK_INGEST_LARGE = 15,  /* ingest: large requests take turns, each write under it */
    LOCK_RANK_HTTP_QUEUE = 20,    /* work handed to pools and answers handed back */
    LOCK_RANK_STORE = 30,         /* storage/store: state of the store, flush and merge hand-over */
    LOCK_RANK_STORE_VIEW = 35,    /* storage/head_view: the open views of the head */
    LOCK_RANK_BLOCK_PUBLISH = 38, /* block/block_list: one publisher, or one delete; I/O under it */
    LOCK_RANK_BLOCK_LIST = 40,    /* block/block_list: the live blocks */
    LOCK_RANK_BLOCK_INDEX = 45,   /* block/block_read: one index being verified; I/O under it */
    LOCK_RANK_CATALOG = 50,       /* block/catalog: the one LMDB writer */
    LOCK_RANK_METADATA = 55,      /* storage/metadata_table */
    LOCK_RANK_RAW_CACHE = 60,     /* ingest/raw_cache */
    LOCK_RANK_WRITE_GATE = 65,    /* storage/write_gate */
    LOCK_RANK_HEAD_SHARD = 70,    /* head: one shard's series and chunks */
    LOCK_RANK_CARDINALITY = 75,   /* head/cardinality: the newest view */
    LOCK_RANK_HEAD_INDEX = 80,    /* head/head_index: pairs and postings */
    LOCK_RANK_HEAD_LOAD = 85,     /* head/head_loader: what is handed over at a start */
    LOCK_RANK_JOURNAL = 90, /* storage/committer: waiters; head/journal: segments (never both) */
    LOCK_RANK_GROUP_CACHE = 100, /* block/group_cache */
    LOCK_RANK_REGEX_CACHE = 110, /* cached compiled matchers */
    LOCK_RANK_WORKER_POOL = 900, /* base/worker_pool: the queue; work comes under any lock */
    LOCK_RANK_LOG = 1000,        /* base/log: last, anything may log */
};
