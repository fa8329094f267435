/* SPDX-License-Identifier: Apache-2.0 */
/* head_view.c - a list of open views, each with the epoch in which it began. */
#include "narthex/storage/head_view.h"

#include "narthex/base/assert.h"
#include "narthex/base/clock.h"

void head_views_init(struct head_views *views)
{
    *views = (struct head_views){.first = NULL, .epoch = 1};
    mutex_init(&views->lock, LOCK_RANK_STORE_VIEW);
    cond_init(&views->changed);
}

void head_views_deinit(struct head_views *views)
{
    NX_ASSERT(views->first == NULL);
    cond_deinit(&views->changed);
    mutex_deinit(&views->lock);
}

void head_view_begin(struct head_views *views, struct head_view *view)
{
    view->previous = NULL;
    atomic_init(&view->is_expired, false);
    mutex_lock(&views->lock);
    view->epoch = views->epoch;
    view->next = views->first;
    if (views->first != NULL)
        views->first->previous = view;
    views->first = view;
    mutex_unlock(&views->lock);
}

void head_view_end(struct head_views *views, struct head_view *view)
{
    mutex_lock(&views->lock);
    if (view->previous != NULL)
        view->previous->next = view->next;
    else
        views->first = view->next;
    if (view->next != NULL)
        view->next->previous = view->previous;
    cond_broadcast(&views->changed);
    mutex_unlock(&views->lock);
}

bool head_view_is_expired(const struct head_view *view)
{
    return atomic_load_explicit(&view->is_expired, memory_order_acquire);
}

static bool has_older(const struct head_views *views, uint64_t epoch)
{
    for (const struct head_view *view = views->first; view != NULL; view = view->next) {
        if (view->epoch < epoch && !head_view_is_expired(view))
            return true;
    }
    return false;
}

void head_views_drain(struct head_views *views, uint64_t timeout_ns)
{
    uint64_t begun_ns = clock_mono_ns(clock_real());
    mutex_lock(&views->lock);
    uint64_t epoch = ++views->epoch;
    while (has_older(views, epoch)) {
        uint64_t waited_ns = clock_mono_ns(clock_real()) - begun_ns;
        if (waited_ns >= timeout_ns)
            break;
        cond_wait_for(&views->changed, &views->lock, timeout_ns - waited_ns);
    }
    for (struct head_view *view = views->first; view != NULL; view = view->next) {
        if (view->epoch < epoch)
            atomic_store_explicit(&view->is_expired, true, memory_order_release);
    }
    mutex_unlock(&views->lock);
}
