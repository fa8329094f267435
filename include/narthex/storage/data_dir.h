/* data_dir.h - a data directory seen from outside: is it one, is it in use, and its lock.
 *
 * Layer    storage.   Threads  none.
 */
#pragma once

#include "narthex/base/err.h"

#include <stdbool.h>

/* Left by a restore that did not end: a server refuses the directory. */
#define DATA_DIR_RESTORING "RESTORING"

bool data_dir_is_restoring(const char *dir);

/* NX_E_INVALID: there is nothing, no directory, or no data directory (neither catalog.mdb nor blocks/ and
 * journal/). */
NX_NODISCARD nx_code data_dir_check(const char *dir, struct nx_err *err);

struct data_dir_lock {
    int dir_fd, file_fd; /* -1: none */
};
/* The lock that a server takes, without writing anything. NX_E_BUSY: a server runs there, or another tool. */
NX_NODISCARD nx_code data_dir_lock(struct data_dir_lock *lock, const char *dir, struct nx_err *err);
void data_dir_unlock(struct data_dir_lock *lock); /* safe twice */
