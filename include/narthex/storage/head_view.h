/* head_view.h - keeps the head's flushed data until the queries that count on it are done.
 *
 * A query looks at the head first and at the list of blocks second, and reads the head's samples later, series by
 * series. A flush publishes its block first and lets go of the head's data second. So the flush waits in between
 * until no view is left that began before the block was published: those know nothing of the block. A view that
 * holds out too long is told so.
 *
 * Layer    storage.   Threads  any.   Lock  LOCK_RANK_STORE_VIEW, held for a few instructions.
 */
#pragma once

#include "narthex/base/thread.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct head_view {
    struct head_view *previous; /* private */
    struct head_view *next;     /* private */
    uint64_t epoch;             /* private */
    _Atomic bool is_expired;    /* private */
};

struct head_views {
    struct nx_mutex lock;
    struct nx_cond changed;
    struct head_view *first; /* [L:lock] */
    uint64_t epoch;          /* [L:lock] */
};

void head_views_init(struct head_views *views);
void head_views_deinit(struct head_views *views); /* none is open any more */

/* Begin before head_select, end after the last head_read. */
void head_view_begin(struct head_views *views, struct head_view *view);
void head_view_end(struct head_views *views, struct head_view *view);

/* True after a head_read whose answer may lack what a flush has let go of meanwhile. */
bool head_view_is_expired(const struct head_view *view);

/* Returns when every view that is open now has ended, or `timeout_ns` has passed and the rest of them are expired. */
void head_views_drain(struct head_views *views, uint64_t timeout_ns);
