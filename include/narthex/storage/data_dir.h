/* data_dir.h - a data directory seen from outside: is it one, is it in use, and its lock.
 *
 * Layer    storage.   Threads  none.
 */
#pragma once

#include "narthex/base/err.h"

#include <stdint.h>

/* Left by a restore that did not end: a server refuses the directory. */
#define DATA_DIR_RESTORING "RESTORING"

/* NX_E_INVALID: it holds that file. */
NX_NODISCARD nx_code data_dir_check_restored(const char *dir, struct nx_err *err);

/* NX_E_INVALID: there is nothing, no directory, or no data directory (neither catalog.mdb nor blocks/ and
 * journal/), or as above. */
NX_NODISCARD nx_code data_dir_check(const char *dir, struct nx_err *err);

struct data_dir_lock {
    int dir_fd, file_fd; /* -1: none */
};
#define DATA_DIR_LOCK_NONE ((struct data_dir_lock){.dir_fd = -1, .file_fd = -1})

/* The lock that a server takes, without writing anything. NX_E_BUSY: a server runs there, or another tool. */
NX_NODISCARD nx_code data_dir_lock(struct data_dir_lock *lock, const char *dir, struct nx_err *err);
/* Locks what its caller has opened: the directory, and the file LOCK unless that is -1, since a file that somebody
 * deletes would lock nothing any more. NX_E_BUSY: *out_holder has it, by what it wrote into the file; 0: nobody
 * wrote. */
NX_NODISCARD nx_code data_dir_lock_opened(const struct data_dir_lock *lock, const char *dir,
                                          uint64_t *out_holder, struct nx_err *err);
void data_dir_unlock(struct data_dir_lock *lock); /* safe twice */
