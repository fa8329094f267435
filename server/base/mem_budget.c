/* SPDX-License-Identifier: Apache-2.0 */
/* mem_budget.c - usage, states with hysteresis, and the refusals that follow from them. */
#include "narthex/base/mem_budget.h"

#include "narthex/base/assert.h"
#include "narthex/base/metrics.h"

#include <inttypes.h>
#include <string.h>

#define LINE_BACK_PERCENT 3u  /* chosen: an eighth of a second of growth does not toggle a state */
#define LINE_TOP_PERCENT  95u /* what queries may fill up to */
#define QUERY_SHARE       4u

static const struct {
    const char *name;
    unsigned percent; /* of the limit: the state begins here */
} states[] = {
    [MEM_STATE_NORMAL] = {"normal", 0},          [MEM_STATE_SHRINK] = {"shrink", 65},
    [MEM_STATE_FLUSH] = {"flush", 70},           [MEM_STATE_NO_SERIES] = {"no_series", 75},
    [MEM_STATE_NO_QUERIES] = {"no_queries", 85}, [MEM_STATE_NO_WRITES] = {"no_writes", 95},
};
static_assert(sizeof(states) / sizeof(states[0]) == MEM_STATE_COUNT, "a line for each state");

static uint64_t percent_of(const struct mem_budget *budget, unsigned percent)
{
    return budget->limit_bytes / 100 * percent;
}

uint64_t mem_share(uint64_t limit_bytes, uint64_t divisor, uint64_t min, uint64_t max)
{
    uint64_t share = limit_bytes / divisor;
    if (share > max)
        share = max;
    return share < min ? min : share;
}

void mem_budget_init(struct mem_budget *budget, uint64_t limit_bytes, struct mem_measure measure)
{
    memset(budget, 0, sizeof(*budget));
    budget->limit_bytes = limit_bytes;
    budget->measure = measure;
    atomic_init(&budget->queries.max_bytes, (size_t)(limit_bytes / QUERY_SHARE));
}

void mem_budget_note(struct mem_budget *budget, enum mem_kind kind, uint64_t bytes)
{
    NX_ASSERT(kind < MEM_KIND_COUNT && kind != MEM_KIND_QUERIES);
    atomic_store_explicit(&budget->kind_bytes[kind], bytes, memory_order_relaxed);
}

const char *mem_state_name(enum mem_state state)
{
    NX_ASSERT(state < MEM_STATE_COUNT);
    return states[state].name;
}

/* The reserve is not taken yet: samples of known series are not put off for it. */
static enum mem_state next_state(const struct mem_budget *budget, uint64_t usage, uint64_t reserve)
{
    int before = atomic_load_explicit(&budget->state, memory_order_relaxed);
    int state = MEM_STATE_NO_WRITES;
    while (state > MEM_STATE_NORMAL) {
        unsigned line = states[state].percent - (state <= before ? LINE_BACK_PERCENT : 0);
        uint64_t counted = state == MEM_STATE_NO_WRITES ? usage - reserve : usage;
        if (counted >= percent_of(budget, line))
            break;
        state--;
    }
    return (enum mem_state)state;
}

/* Half of what is left goes to queries until the next tick; the rest is for everything else that grows. */
static void set_query_room(struct mem_budget *budget, uint64_t usage)
{
    uint64_t top = percent_of(budget, LINE_TOP_PERCENT);
    uint64_t room = usage < top ? (top - usage) / 2 : 0;
    uint64_t used = atomic_load_explicit(&budget->queries.used_bytes, memory_order_relaxed);
    uint64_t max = used + room;
    uint64_t share = budget->limit_bytes / QUERY_SHARE;
    atomic_store_explicit(&budget->queries.max_bytes, (size_t)(max < share ? max : share),
                          memory_order_relaxed);
}

enum mem_state mem_budget_tick(struct mem_budget *budget)
{
    /* First, so that what is charged meanwhile counts twice rather than never. */
    atomic_store_explicit(&budget->charged_bytes, 0, memory_order_relaxed);
    uint64_t told = atomic_load_explicit(&budget->queries.used_bytes, memory_order_relaxed);
    for (unsigned kind = 0; kind < MEM_KIND_COUNT; kind++)
        if (kind != MEM_KIND_RESERVE)
            told += atomic_load_explicit(&budget->kind_bytes[kind], memory_order_relaxed);
    uint64_t reserve =
        atomic_load_explicit(&budget->kind_bytes[MEM_KIND_RESERVE], memory_order_relaxed);
    uint64_t measured =
        budget->measure.bytes != NULL ? budget->measure.bytes(budget->measure.context) : 0;
    uint64_t usage = (told > measured ? told : measured) + reserve;
    enum mem_state state = next_state(budget, usage, reserve);
    atomic_store_explicit(&budget->told_bytes, told, memory_order_relaxed);
    atomic_store_explicit(&budget->measured_bytes, measured, memory_order_relaxed);
    atomic_store_explicit(&budget->usage_bytes, usage, memory_order_relaxed);
    atomic_store_explicit(&budget->state, (int)state, memory_order_relaxed);
    set_query_room(budget, usage);
    return state;
}

enum mem_state mem_budget_state(const struct mem_budget *budget)
{
    return (enum mem_state)atomic_load_explicit(&budget->state, memory_order_relaxed);
}

bool mem_budget_admit_series(struct mem_budget *budget, uint64_t bytes)
{
    if (mem_budget_state(budget) < MEM_STATE_NO_SERIES) {
        uint64_t charged =
            atomic_fetch_add_explicit(&budget->charged_bytes, bytes, memory_order_relaxed) + bytes;
        uint64_t usage = atomic_load_explicit(&budget->usage_bytes, memory_order_relaxed);
        if (usage + charged <= percent_of(budget, states[MEM_STATE_NO_SERIES].percent))
            return true;
        atomic_fetch_sub_explicit(&budget->charged_bytes, bytes, memory_order_relaxed);
    }
    metrics_add_at(METRIC_MEMORY_REFUSED, MEM_REFUSED_SERIES, 1);
    return false;
}

/* Refuses from state `from` on. */
static nx_code check(const struct mem_budget *budget, enum mem_state from, enum mem_refusal refusal,
                     const char *consequence, struct nx_err *err)
{
    if (budget == NULL || mem_budget_state(budget) < from)
        return NX_OK;
    metrics_add_at(METRIC_MEMORY_REFUSED, refusal, 1);
    return nx_err_set(err, NX_E_BUSY,
                      "memory is short (%" PRIu64 " of --storage.memory-limit=%" PRIu64 " bytes)%s",
                      atomic_load_explicit(&budget->usage_bytes, memory_order_relaxed),
                      budget->limit_bytes, consequence);
}

nx_code mem_budget_check_query(struct mem_budget *budget, struct nx_err *err)
{
    return check(budget, MEM_STATE_NO_QUERIES, MEM_REFUSED_QUERY,
                 ", new queries are refused until there is more", err);
}

nx_code mem_budget_check_write(struct mem_budget *budget, struct nx_err *err)
{
    return check(budget, MEM_STATE_NO_WRITES, MEM_REFUSED_WRITE, "; send the samples again", err);
}

nx_code mem_budget_query_starved(struct nx_err *err)
{
    metrics_add_at(METRIC_MEMORY_REFUSED, MEM_REFUSED_RUNNING_QUERY, 1);
    return nx_err_set(err, NX_E_BUSY,
                      "the queries that run need more memory than --storage.memory-limit leaves");
}

void mem_budget_publish(const struct mem_budget *budget)
{
    metrics_set(METRIC_MEMORY_LIMIT, (double)budget->limit_bytes);
    metrics_set(METRIC_MEMORY_USAGE,
                (double)atomic_load_explicit(&budget->usage_bytes, memory_order_relaxed));
    metrics_set(METRIC_MEMORY_ANONYMOUS,
                (double)atomic_load_explicit(&budget->measured_bytes, memory_order_relaxed));
    metrics_set(
        METRIC_MEMORY_RESERVE,
        (double)atomic_load_explicit(&budget->kind_bytes[MEM_KIND_RESERVE], memory_order_relaxed));
    metrics_set(METRIC_MEMORY_QUERIES,
                (double)atomic_load_explicit(&budget->queries.used_bytes, memory_order_relaxed));
    metrics_set(METRIC_MEMORY_STATE, (double)mem_budget_state(budget));
}
