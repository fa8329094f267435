/* SPDX-License-Identifier: Apache-2.0 */
/* data_dir.c - whether a path is a data directory, and the lock that keeps servers and tools apart. */
#include "narthex/storage/data_dir.h"

#include "narthex/base/buf.h"
#include "narthex/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has(const char *dir, const char *name)
{
    struct nx_buf path = {0};
    bool exists = io_exists(path_join(&path, dir, name));
    nx_buf_deinit(&path);
    return exists;
}

nx_code data_dir_check_restored(const char *dir, struct nx_err *err)
{
    if (!has(dir, DATA_DIR_RESTORING))
        return NX_OK;
    return nx_err_set(err, NX_E_INVALID,
                      "%s holds a restore that did not end: empty it and restore again", dir);
}

nx_code data_dir_check(const char *dir, struct nx_err *err)
{
    struct stat status;
    if (stat(dir, &status) != 0)
        return nx_err_set(err, NX_E_INVALID, "%s: %s", dir,
                          errno == ENOENT ? "there is no such directory" : "cannot be looked at");
    if (!S_ISDIR(status.st_mode))
        return nx_err_set(err, NX_E_INVALID, "%s is not a directory", dir);
    if (!has(dir, "catalog.mdb") && !(has(dir, "blocks") && has(dir, "journal")))
        return nx_err_set(
            err, NX_E_INVALID,
            "%s is not a data directory: it has neither catalog.mdb nor blocks and journal", dir);
    return data_dir_check_restored(dir, err);
}

static int lock_try(int fd)
{
    int failed;
    do {
        failed = flock(fd, LOCK_EX | LOCK_NB);
    } while (failed != 0 && errno == EINTR);
    return failed;
}

/* Who holds the lock, by what it wrote into the file; 0 when that is not a number. */
static uint64_t lock_holder(int file_fd)
{
    char text[32];
    ssize_t got = file_fd < 0 ? 0 : pread(file_fd, text, sizeof(text), 0);
    uint64_t pid = 0;
    bool is_number =
        got > 0 &&
        nx_str_to_u64(nx_str_trim((struct nx_str){.data = text, .len = (size_t)got}), &pid);
    return is_number ? pid : 0;
}

nx_code data_dir_lock_opened(const struct data_dir_lock *lock, const char *dir,
                             uint64_t *out_holder, struct nx_err *err)
{
    int failed = lock_try(lock->dir_fd);
    if (failed == 0 && lock->file_fd >= 0)
        failed = lock_try(lock->file_fd);
    if (failed == 0)
        return NX_OK;
    if (errno != EWOULDBLOCK)
        return nx_err_sys(err, errno, "lock %s", dir);
    *out_holder = lock_holder(lock->file_fd);
    return nx_err_set(err, NX_E_BUSY, "%s is locked", dir);
}

nx_code data_dir_lock(struct data_dir_lock *lock, const char *dir, struct nx_err *err)
{
    struct nx_buf path = {0};
    lock->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int reason = errno;
    lock->file_fd = open(path_join(&path, dir, "LOCK"), O_RDONLY | O_CLOEXEC);
    nx_buf_deinit(&path);
    uint64_t pid = 0;
    nx_code code = lock->dir_fd < 0 ? nx_err_sys(err, reason, "%s", dir)
                                    : data_dir_lock_opened(lock, dir, &pid, err);
    if (code == NX_E_BUSY)
        nx_err_set(err, NX_E_BUSY,
                   "%s is in use: a server (pid %" PRIu64
                   ", as it wrote into LOCK) or another tool "
                   "holds it; stop it first",
                   dir, pid);
    if (code != NX_OK)
        data_dir_unlock(lock);
    return code;
}

void data_dir_unlock(struct data_dir_lock *lock)
{
    if (lock->file_fd >= 0)
        close(lock->file_fd);
    if (lock->dir_fd >= 0)
        close(lock->dir_fd);
    *lock = DATA_DIR_LOCK_NONE;
}
