/* committer.h - the one thread that makes appended samples durable and tells whoever waits for it.
 *
 * Layer    storage.   Owns  the journal's write side while it runs.
 * Promise  a waiter is told NX_OK only after a commit that began after it came is durable, even one that added nothing.
 * Failure  what the disk refused is kept and written first, again and again, 50 ms to 1 s apart; meanwhile waiters
 *          are told the error and committer_check refuses writes before they append. The first success ends it,
 *          without a restart.
 * Pace     a commit begins at once when the one before it began COMMITTER_INTERVAL_NS ago; else when that time is
 *          up, or when as many wait as the last commit released and they fill about a page: nobody else is likely to
 *          come.
 * Threads  committer_wait, committer_check: any. committer_cut: one at a time.
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/head/head.h"
#include "narthex/head/journal.h"

#include <stdint.h>

#define COMMITTER_INTERVAL_NS                                                                      \
 UINT64_C(5000000) /* derived: acknowledgement within the barrier + 5 ms */
#define COMMITTER_RETRY_MIN_NS UINT64_C(50000000)
#define COMMITTER_RETRY_MAX_NS UINT64_C(1000000000)
#define COMMITTER_PAGE_SAMPLES 1500u /* measured: fill most of a 4 KiB page of the journal */

typedef void (*committer_done_fn)(void *context, nx_code code);

struct committer;
/* Borrows head and journal (replayed). Starts the thread. */
NX_NODISCARD nx_code committer_start(struct committer **out_committer, struct head *head,
                                     struct journal *journal, struct nx_err *err);
/* Commits what is pending, calls every waiter, ends the thread and frees. NULL is fine. */
void committer_stop(struct committer *committer);

/* Before an append of `samples`: NX_OK, or why the journal cannot take anything now. */
NX_NODISCARD nx_code committer_check(struct committer *committer, uint64_t samples,
                                     struct nx_err *err);

/* `done` is called once, from the committer's thread. */
void committer_wait(struct committer *committer, committer_done_fn done, void *context);

/* Commits what is pending if the disk lets it, and begins a new segment: the number of the last commit before it. */
uint64_t committer_cut(struct committer *committer);

/* How long commits take, sync included: for whoever writes to the same volume and can wait. One caller at a time. */
struct committer_pace {
    uint64_t commits;    /* since the last call */
    uint64_t slowest_ns; /* of these */
    uint64_t usual_ns;   /* of a commit that nothing holds up; 0: none was made yet */
};
void committer_take_pace(struct committer *committer, struct committer_pace *out);

/* NX_OK or the failure that lasts. */
nx_code committer_state(struct committer *committer);
