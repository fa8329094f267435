/* startup.h - the server from flags to ready, and back: the list of what is opened, in order.
 *
 *   listen > serve (503 until ready) > open store (lock, catalog, series, journal) > ready ... drain > flush > close
 */
#pragma once

#include "narthex/base/config.h"
#include "narthex/base/err.h"

struct server;
NX_NODISCARD nx_code server_start(struct server **out_server, const struct config *config,
                                  struct nx_err *err);
/* Drains HTTP, finishes what is queued, flushes, closes. NULL is fine. */
NX_NODISCARD nx_code server_stop(struct server *server, struct nx_err *err);
