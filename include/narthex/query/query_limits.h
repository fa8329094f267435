/* query_limits.h - what one query, and all together, may take. Every field has a flag of its name. */
#pragma once

#include "narthex/base/arena.h"

#include <stdint.h>

#define QUERY_POINTS_MAX 11000 /* (end - start) / step, as Prometheus: 11001 points pass */

struct query_limits {
    int64_t timeout_ms;        /* --query.timeout */
    int64_t lookback_ms;       /* --query.lookback-delta */
    int64_t subquery_step_ms;  /* global.evaluation_interval: the default step of [5m:] */
    uint64_t samples_max;      /* --query.max-samples */
    uint64_t memory_bytes_max; /* --query.max-memory, of one query */
    struct arena_pool *pool;   /* of all queries together; may be NULL */
    unsigned concurrency_max;  /* --query.max-concurrency: running */
    unsigned queue_max;        /* waiting; above that 503 */
};
