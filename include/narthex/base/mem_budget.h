/* mem_budget.h - one limit for the whole process: who holds how much, and what is refused when it gets tight.
 *
 * Layer    base. Knows bytes and kinds; how much a kind holds, its owner tells by mem_budget_note.
 * Usage    the larger of what was told and the anonymous memory that the kernel measured, plus what a flush of the
 *          head will need. Taken at each tick; what is made between two ticks is charged by its maker.
 * States   by usage in percent of the limit; the next lower state comes back 3 percent below its line:
 *
 *          normal -65-> shrink -70-> flush -75-> no series -85-> no queries -95-> no writes
 *
 *          shrink: caches give up what they have. flush: the head becomes a block early. no series: samples of series
 *          that are not known are refused. no queries: queries that did not start are refused. no writes: all writes
 *          are put off; here alone, what a flush will need does not count.
 * Queries  all arenas of queries share a pool: a quarter of the limit at most, and no more than what is left.
 * Threads  any; mem_budget_tick: one.
 */
#pragma once

#include "narthex/base/arena.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum mem_kind {
    MEM_KIND_HEAD,
    MEM_KIND_PENDING, /* waiting for the journal */
    MEM_KIND_GROUP_CACHE,
    MEM_KIND_RAW_CACHE,
    MEM_KIND_BODIES,
    MEM_KIND_QUERIES, /* the pool, told by nobody */
    MEM_KIND_RESERVE, /* not taken yet: what a flush will need */
    MEM_KIND_COUNT,
};

enum mem_state {
    MEM_STATE_NORMAL,
    MEM_STATE_SHRINK,
    MEM_STATE_FLUSH,
    MEM_STATE_NO_SERIES,
    MEM_STATE_NO_QUERIES,
    MEM_STATE_NO_WRITES,
    MEM_STATE_COUNT,
};

/* Rows of METRIC_MEMORY_REFUSED. */
enum mem_refusal {
    MEM_REFUSED_SERIES,
    MEM_REFUSED_QUERY,
    MEM_REFUSED_RUNNING_QUERY,
    MEM_REFUSED_WRITE,
};

/* Anonymous memory of the process. */
struct mem_measure {
    uint64_t (*bytes)(void *context);
    void *context;
};

struct mem_budget {
    uint64_t limit_bytes;       /* [I] */
    struct mem_measure measure; /* [I] */
    struct arena_pool queries;
    _Atomic int state;                           /* [A] relaxed */
    _Atomic uint64_t usage_bytes;                /* [A] relaxed: of the last tick */
    _Atomic uint64_t charged_bytes;              /* [A] relaxed: since then */
    _Atomic uint64_t kind_bytes[MEM_KIND_COUNT]; /* [A] relaxed: as told */
    _Atomic uint64_t told_bytes;                 /* [A] relaxed: of the last tick */
    _Atomic uint64_t measured_bytes;             /* [A] relaxed: of the last tick */
};

/* measure.bytes NULL: what is told is all there is. */
void mem_budget_init(struct mem_budget *budget, uint64_t limit_bytes, struct mem_measure measure);
/* What a kind holds now, until it is told again. */
void mem_budget_note(struct mem_budget *budget, enum mem_kind kind, uint64_t bytes);
/* Adds up, measures, and says how tight it is. */
enum mem_state mem_budget_tick(struct mem_budget *budget);
enum mem_state mem_budget_state(const struct mem_budget *budget);
const char *mem_state_name(enum mem_state state);
/* Whether `bytes` that will last may be taken for a new series; if so they are charged until the next tick. */
bool mem_budget_admit_series(struct mem_budget *budget, uint64_t bytes);
/* Whether a query may begin; whether samples of known series may be taken. NX_E_BUSY with the reason. NULL: yes. */
NX_NODISCARD nx_code mem_budget_check_query(struct mem_budget *budget, struct nx_err *err);
NX_NODISCARD nx_code mem_budget_check_write(struct mem_budget *budget, struct nx_err *err);
/* Counts the refusal of a query that ran, and says why. */
nx_code mem_budget_query_starved(struct nx_err *err);
/* Sets the gauges of memory: limit, usage, measured, state. */
void mem_budget_publish(const struct mem_budget *budget);

/* A share of the limit between two bounds: how what is bounded in advance scales down with small limits. */
uint64_t mem_share(uint64_t limit_bytes, uint64_t divisor, uint64_t min, uint64_t max);
