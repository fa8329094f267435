/* SPDX-License-Identifier: Apache-2.0 */
/* write_gate.c - a count and a flag. A request passes once, so a mutex is cheap enough. */
#include "narthex/storage/write_gate.h"

#include "narthex/base/assert.h"

void write_gate_init(struct write_gate *gate)
{
    *gate = (struct write_gate){.writers = 0};
    mutex_init(&gate->lock, LOCK_RANK_WRITE_GATE);
    cond_init(&gate->changed);
}

void write_gate_deinit(struct write_gate *gate)
{
    NX_ASSERT(gate->writers == 0);
    cond_deinit(&gate->changed);
    mutex_deinit(&gate->lock);
}

void write_gate_enter(struct write_gate *gate)
{
    mutex_lock(&gate->lock);
    while (gate->is_closed)
        cond_wait(&gate->changed, &gate->lock);
    gate->writers++;
    mutex_unlock(&gate->lock);
}

void write_gate_leave(struct write_gate *gate)
{
    mutex_lock(&gate->lock);
    NX_ASSERT(gate->writers > 0);
    if (--gate->writers == 0 && gate->is_closed)
        cond_broadcast(&gate->changed);
    mutex_unlock(&gate->lock);
}

void write_gate_close(struct write_gate *gate)
{
    mutex_lock(&gate->lock);
    NX_ASSERT(!gate->is_closed);
    gate->is_closed = true;
    while (gate->writers > 0)
        cond_wait(&gate->changed, &gate->lock);
    mutex_unlock(&gate->lock);
}

void write_gate_open(struct write_gate *gate)
{
    mutex_lock(&gate->lock);
    if (gate->is_closed) {
        gate->is_closed = false;
        cond_broadcast(&gate->changed);
    }
    mutex_unlock(&gate->lock);
}
