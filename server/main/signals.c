/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.c - see signals.h.
 */
#include "narthex/main/signals.h"

#include "narthex/base/log.h"

#include <pthread.h>
#include <signal.h>

static void signals_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void signals_block(void)
{
    sigset_t set;
    signals_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that left is an error code of write, not our end */
}

int signals_wait(void)
{
    sigset_t set;
    int number;
    signals_set(&set);
    for (;;) {
        if (sigwait(&set, &number) != 0)
            continue;
        if (number != SIGHUP)
            return number;
        log_warn("main", "SIGHUP ignored: the configuration is read at start only");
    }
}
