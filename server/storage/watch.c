/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - ten times a second: how much memory is held, how much the volume has left, and what follows.
 *
 * In       the head's account, the caches, the kernel's count of anonymous memory, statvfs
 * Out      the states of the budget and of the volume; a smaller cache; trimmed heaps; merges broken off
 * Fails    never
 *
 * The reserve is what a flush of all series will take beside the head. While a flush or a merge runs, what it has
 * taken so far shows in the measured memory, and the reserve is that much smaller.
 */
#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/mem_limit.h"

#include "store_internal.h"

#define WATCH_TICK_NS    UINT64_C(100000000)
#define WATCH_DISK_TICKS 2u
/* Measured: 250 bytes for a series of 15 labels. */
#define FLUSH_BYTES_PER_SERIES 288u
/* The heaps are trimmed when they hold a quarter and 32 MiB more than is accounted for, this often at most. */
#define TRIM_SLACK_BYTES  (UINT64_C(32) << 20)
#define TRIM_QUERY_BYTES  (UINT64_C(64) << 20)
#define TRIM_TIGHT_TICKS  20u
#define TRIM_NORMAL_TICKS 100u
#define CACHE_TIGHT_PARTS 8u /* what is left of the group cache while memory is short */
#define CACHE_CALM_TICKS  100u
#define TELL_TICKS        100u

struct watch {
    struct store *store;
    unsigned ticks;
    unsigned since_trim;
    uint64_t queries_before;
    unsigned calm; /* ticks in the normal state */
    bool is_cache_small;
    enum mem_state told_state;
    unsigned since_told; /* ticks to wait before the next line */
};

uint64_t watch_flush_bytes(const struct head_stats *head)
{
    return head->series * FLUSH_BYTES_PER_SERIES;
}

void watch_work_begin(struct store *store, enum store_work work)
{
    if (store->options.budget == NULL)
        return;
    struct head_stats head;
    head_stats(store->head, &head);
    if (atomic_load(&store->work) == 0) {
        atomic_store(&store->work_anonymous, mem_anonymous_bytes());
        atomic_store(&store->work_reserve, watch_flush_bytes(&head));
    }
    atomic_fetch_or(&store->work, (unsigned)work);
}

void watch_work_end(struct store *store, enum store_work work)
{
    atomic_fetch_and(&store->work, ~(unsigned)work);
}

static uint64_t reserve_bytes(struct store *store, const struct head_stats *head)
{
    uint64_t reserve = watch_flush_bytes(head);
    if (atomic_load(&store->work) == 0)
        return reserve;
    uint64_t begun_with = atomic_load(&store->work_reserve);
    uint64_t before = atomic_load(&store->work_anonymous);
    uint64_t now = mem_anonymous_bytes();
    uint64_t taken = now > before ? now - before : 0;
    return begun_with > taken ? begun_with - taken : 0;
}

static void note_all(struct store *store, struct mem_budget *budget)
{
    struct store_stats stats;
    store_stats(store, &stats);
    const struct head_stats *head = &stats.head;
    mem_budget_note(budget, MEM_KIND_HEAD,
                    head_stats_bytes(head) - head->bytes_pending + stats.cardinality_bytes +
                        stats.metadata_bytes);
    mem_budget_note(budget, MEM_KIND_PENDING, head->bytes_pending);
    mem_budget_note(budget, MEM_KIND_GROUP_CACHE, stats.cache_bytes);
    mem_budget_note(budget, MEM_KIND_RESERVE, reserve_bytes(store, head));
}

/* What is kept only because it may be of use soon: decompressed groups, blocks for chunks to come. */
static void fit_cache(struct watch *watch, enum mem_state state)
{
    struct store *store = watch->store;
    bool is_tight = state >= MEM_STATE_SHRINK;
    watch->calm = state == MEM_STATE_NORMAL ? watch->calm + 1 : 0;
    if (is_tight == watch->is_cache_small || (!is_tight && watch->calm < CACHE_CALM_TICKS))
        return;
    uint64_t bytes = store->options.cache_bytes;
    block_list_set_cache(store->blocks, (size_t)(is_tight ? bytes / CACHE_TIGHT_PARTS : bytes));
    if (is_tight)
        head_release_spare(store->head, UINT64_MAX);
    watch->is_cache_small = is_tight;
}

/* What was freed in the heaps goes back to the kernel. */
static void trim_heaps(struct watch *watch, const struct mem_budget *budget, enum mem_state state)
{
    uint64_t told = atomic_load_explicit(&budget->told_bytes, memory_order_relaxed);
    uint64_t measured = atomic_load_explicit(&budget->measured_bytes, memory_order_relaxed);
    unsigned every = state >= MEM_STATE_SHRINK ? TRIM_TIGHT_TICKS : TRIM_NORMAL_TICKS;
    /* A large query has ended: what it took outside its arena is free as well. */
    uint64_t queries = atomic_load_explicit(&budget->queries.used_bytes, memory_order_relaxed);
    if (queries + TRIM_QUERY_BYTES <= watch->queries_before)
        watch->since_trim = every;
    watch->queries_before = queries;
    bool is_working = atomic_load(&watch->store->work) != 0;
    if (++watch->since_trim < every || is_working || measured <= told + told / 4 + TRIM_SLACK_BYTES)
        return;
    nx_mem_release();
    watch->since_trim = 0;
}

/* Once when refusals begin, then with each change, but not for every breath: this often at most. */
static void tell_state(struct watch *watch, enum mem_state state)
{
    const struct mem_budget *budget = watch->store->options.budget;
    bool is_news = state != watch->told_state &&
                   (state >= MEM_STATE_NO_SERIES || watch->told_state >= MEM_STATE_NO_SERIES);
    if (watch->since_told > 0)
        watch->since_told--;
    if (!is_news || watch->since_told > 0)
        return;
    log_warn("store", "memory", LOG_STR("state", mem_state_name(state)),
             LOG_UINT("usage_bytes", atomic_load(&budget->usage_bytes)),
             LOG_UINT("limit_bytes", budget->limit_bytes));
    watch->told_state = state;
    watch->since_told = TELL_TICKS;
}

static void watch_memory(struct watch *watch)
{
    struct store *store = watch->store;
    struct mem_budget *budget = store->options.budget;
    note_all(store, budget);
    enum mem_state state = mem_budget_tick(budget);
    fit_cache(watch, state);
    trim_heaps(watch, budget, state);
    if (state >= MEM_STATE_NO_QUERIES && (atomic_load(&store->work) & STORE_WORK_MERGE))
        atomic_store(&store->merge_stop, true);
    tell_state(watch, state);
}

static bool watch_is_stopping(const struct store *store)
{
    return atomic_load_explicit(&store->is_stopping, memory_order_acquire);
}

static void watch_run(void *argument)
{
    struct watch watch = {.store = argument};
    struct store *store = watch.store;
    while (!watch_is_stopping(store)) {
        if (store->options.budget != NULL)
            watch_memory(&watch);
        if (watch.ticks++ % WATCH_DISK_TICKS == 0)
            disk_reserve_look(&store->reserve);
        mutex_lock(&store->watch_lock);
        if (!watch_is_stopping(store))
            cond_wait_for(&store->watch_tick, &store->watch_lock, WATCH_TICK_NS);
        mutex_unlock(&store->watch_lock);
    }
}

nx_code watch_start(struct store *store, struct nx_err *err)
{
    /* Before the first write: what is known now holds for it. */
    if (store->options.budget != NULL) {
        note_all(store, store->options.budget);
        mem_budget_tick(store->options.budget);
    }
    disk_reserve_look(&store->reserve);
    return thread_start(&store->watch, "watch", watch_run, store, err);
}

void watch_stop(struct store *store)
{
    mutex_lock(&store->watch_lock);
    cond_signal(&store->watch_tick);
    mutex_unlock(&store->watch_lock);
    thread_join(&store->watch);
}
