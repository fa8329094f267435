/* SPDX-License-Identifier: Apache-2.0 */
/* pace.c - merges give way to commits.
 *
 * In       after each piece of a merge's output: how long the commits since the last one took, and what is usual
 * Out      a pause in proportion, none when nobody writes
 *
 * A piece is small enough that a commit which comes while it is written waits for little; the pauses between pieces
 * keep most commits from meeting one at all. A merge takes at most PACE_PARTS_MAX + 1 times as long: flushes wait for
 * it. A stop, and memory that is short, end a pause within PACE_SLICE_NS.
 */
#include "narthex/base/clock.h"

#include "store_internal.h"

#include <time.h>

/* Old data waits for as long as this many flushes take, in whole minutes: two hours; who flushes each few seconds sees
 * merges at once. */
#define GATHER_FLUSHES 8
#define MINUTE_MS      INT64_C(60000)

#define PACE_PARTS_MAX 2u
#define PACE_PAUSE_MAX UINT64_C(200000000) /* chosen: of one piece */
#define PACE_SLICE_NS  UINT64_C(5000000)

uint64_t pace_pause_ns(const struct committer_pace *pace, uint64_t took_ns)
{
    if (pace->commits == 0 || pace->usual_ns == 0 || pace->slowest_ns <= pace->usual_ns)
        return 0;
    uint64_t longest_ns = took_ns < PACE_PAUSE_MAX ? took_ns * PACE_PARTS_MAX : PACE_PAUSE_MAX;
    uint64_t over_ns = pace->slowest_ns - pace->usual_ns;
    /* All of it at three times the usual. */
    double part = (double)over_ns / (2.0 * (double)pace->usual_ns);
    uint64_t pause_ns = part < 1 ? (uint64_t)(part * (double)longest_ns) : longest_ns;
    return pause_ns < PACE_PAUSE_MAX ? pause_ns : PACE_PAUSE_MAX;
}

static bool is_hurried(struct store *store)
{
    const struct mem_budget *budget = store->options.budget;
    return atomic_load(&store->merge_stop) || atomic_load(&store->is_stopping) ||
           (budget != NULL && mem_budget_state(budget) >= MEM_STATE_FLUSH);
}

/* store->merging is held. */
static void on_wrote(void *context, uint64_t bytes)
{
    (void)bytes;
    struct store *store = context;
    if (store->committer == NULL)
        return;
    uint64_t now_ns = clock_mono_ns(clock_real());
    struct committer_pace pace;
    committer_take_pace(store->committer, &pace);
    uint64_t left_ns = pace_pause_ns(&pace, now_ns - store->pace_since_ns);
    while (left_ns > 0 && !is_hurried(store)) {
        uint64_t slice_ns = left_ns < PACE_SLICE_NS ? left_ns : PACE_SLICE_NS;
        const struct timespec slice = {.tv_nsec = (long)slice_ns};
        nanosleep(&slice, NULL);
        left_ns -= slice_ns;
    }
    store->pace_since_ns = clock_mono_ns(clock_real());
}

void pace_init(struct store *store)
{
    store->pace = (struct block_pace){.context = store, .wrote = on_wrote};
    block_list_set_pace(store->blocks, &store->pace);
    int64_t flush_ms = store->options.flush_interval_ms;
    int64_t gather_ms =
        flush_ms < MERGE_GATHER_MS / GATHER_FLUSHES ? flush_ms * GATHER_FLUSHES : MERGE_GATHER_MS;
    block_list_set_gather(store->blocks, gather_ms - gather_ms % MINUTE_MS);
}

void pace_begin(struct store *store)
{
    struct committer_pace ignored;
    if (store->committer != NULL)
        committer_take_pace(store->committer, &ignored);
    store->pace_since_ns = clock_mono_ns(clock_real());
}
