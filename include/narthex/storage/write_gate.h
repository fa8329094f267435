/* write_gate.h - lets writers through, until somebody needs a moment without any.
 *
 * Layer    storage.   Threads  enter, leave: any; close, open: one at a time.   Lock  LOCK_RANK_WRITE_GATE, held for a
 *          few instructions. A writer inside may take any lock of the head; nobody closes the gate while holding one.
 */
#pragma once

#include "narthex/base/thread.h"

#include <stdbool.h>

struct write_gate {
    struct nx_mutex lock;
    struct nx_cond changed;
    unsigned writers; /* [L:lock] inside */
    bool is_closed;   /* [L:lock] */
};

void write_gate_init(struct write_gate *gate);
void write_gate_deinit(struct write_gate *gate);

/* Waits while the gate is closed. */
void write_gate_enter(struct write_gate *gate);
void write_gate_leave(struct write_gate *gate);

/* Returns when no writer is inside; new ones wait until write_gate_open. */
void write_gate_close(struct write_gate *gate);
void write_gate_open(struct write_gate *gate); /* fine when it is open */
