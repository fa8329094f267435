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

bool data_dir_is_restoring(const char *dir)
{
    return has(dir, DATA_DIR_RESTORING);
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
    if (data_dir_is_restoring(dir))
        return nx_err_set(err, NX_E_INVALID,
                          "%s holds a restore that did not end: empty it and restore again", dir);
    return NX_OK;
}

static int lock_try(int fd)
{
    int failed;
    do {
        failed = flock(fd, LOCK_EX | LOCK_NB);
    } while (failed != 0 && errno == EINTR);
    return failed;
}

nx_code data_dir_lock(struct data_dir_lock *lock, const char *dir, struct nx_err *err)
{
    struct nx_buf path = {0};
    lock->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    lock->file_fd = open(path_join(&path, dir, "LOCK"), O_RDONLY | O_CLOEXEC);
    nx_buf_deinit(&path);
    if (lock->dir_fd < 0) {
        int reason = errno;
        data_dir_unlock(lock);
        return nx_err_sys(err, reason, "%s", dir);
    }
    int failed = lock_try(lock->dir_fd);
    if (failed == 0 && lock->file_fd >= 0)
        failed = lock_try(lock->file_fd);
    if (failed == 0)
        return NX_OK;
    int reason = errno;
    char text[32] = {0};
    ssize_t got = lock->file_fd < 0 ? 0 : pread(lock->file_fd, text, sizeof(text) - 1, 0);
    uint64_t pid = 0;
    if (got <= 0 || !nx_str_to_u64(nx_str_trim(nx_str_from(text)), &pid))
        pid = 0;
    data_dir_unlock(lock);
    if (reason != EWOULDBLOCK)
        return nx_err_sys(err, reason, "lock %s", dir);
    return nx_err_set(err, NX_E_BUSY,
                      "%s is in use: a server (pid %" PRIu64
                      ", as it wrote into LOCK) or another tool "
                      "holds it; stop it first",
                      dir, pid);
}

void data_dir_unlock(struct data_dir_lock *lock)
{
    if (lock->file_fd >= 0)
        close(lock->file_fd);
    if (lock->dir_fd >= 0)
        close(lock->dir_fd);
    *lock = (struct data_dir_lock){.dir_fd = -1, .file_fd = -1};
}
