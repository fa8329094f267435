/* io.h - every file operation of the storage layers, as a table that tests can replace.
 *
 * The real table calls the kernel. io_faulty.h wraps it to fail, to tear writes and to stop at a named crash point.
 * All calls retry EINTR; short reads and writes are completed or reported. Paths are NUL-terminated.
 */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct io {
    nx_code (*open)(const struct io *io, const char *path, int flags, mode_t mode, int *out_fd,
                    struct nx_err *err);
    nx_code (*close)(const struct io *io, int fd, struct nx_err *err);
    nx_code (*pread)(const struct io *io, int fd, void *out, size_t bytes, uint64_t offset,
                     size_t *out_bytes,
                     struct nx_err *err); /* less than bytes only at the end of the file */
    nx_code (*pwrite)(const struct io *io, int fd, const void *data, size_t bytes, uint64_t offset,
                      struct nx_err *err);
    nx_code (*fdatasync)(const struct io *io, int fd, struct nx_err *err);
    nx_code (*fsync)(const struct io *io, int fd, struct nx_err *err);
    nx_code (*ftruncate)(const struct io *io, int fd, uint64_t bytes, struct nx_err *err);
    nx_code (*rename)(const struct io *io, const char *from, const char *to, struct nx_err *err);
    nx_code (*unlink)(const struct io *io, const char *path, struct nx_err *err);
    nx_code (*mkdir)(const struct io *io, const char *path,
                     struct nx_err *err); /* an existing directory is fine */
    nx_code (*rmdir)(const struct io *io, const char *path, struct nx_err *err);
    nx_code (*link)(const struct io *io, const char *from, const char *to,
                    struct nx_err *err);                        /* a second name of a file */
    void (*crash_point)(const struct io *io, const char *name); /* real: see io_crash_point */
};

const struct io *io_real(void);

/* Convenience over any table. */
NX_NODISCARD nx_code io_sync_dir(const struct io *io, const char *path, struct nx_err *err);
NX_NODISCARD nx_code io_remove_tree(const struct io *io, const char *path, struct nx_err *err);
NX_NODISCARD nx_code io_file_size(const struct io *io, const char *path, uint64_t *out_bytes,
                                  struct nx_err *err); /* NX_E_NOT_FOUND when absent */
bool io_exists(const char *path);
/* NX_E_IO when the open file has no name any more: somebody removed it, and what is written to it will be lost. */
NX_NODISCARD nx_code io_check_linked(int fd, struct nx_err *err);
NX_NODISCARD nx_code io_free_bytes(const char *path, uint64_t *out_bytes, struct nx_err *err);
/* Likewise, and the size of the whole volume. */
NX_NODISCARD nx_code io_volume_bytes(const char *path, uint64_t *out_free, uint64_t *out_total,
                                     struct nx_err *err);

/* "<dir>/<name>" as a NUL-terminated string in `out`, which is emptied first. Returns its text. */
struct nx_buf;
const char *path_join(struct nx_buf *out, const char *dir, const char *name);

/* Whole small file into `out` (appended), NX_E_LIMIT above bytes_max, NX_E_NOT_FOUND when absent. */
NX_NODISCARD nx_code io_read_file(const struct io *io, const char *path, size_t bytes_max,
                                  struct nx_buf *out, struct nx_err *err);
/* Creates or replaces, and syncs the file (not its directory). */
NX_NODISCARD nx_code io_write_file(const struct io *io, const char *path, struct nx_bytes data,
                                   struct nx_err *err);

/* Calls `each` with the name of every entry but . and .., in byte order; stops at another code than NX_OK. */
typedef nx_code (*io_each_fn)(void *context, const char *name, bool is_directory,
                              struct nx_err *err);
NX_NODISCARD nx_code io_each_entry(const struct io *io, const char *path, io_each_fn each,
                                   void *context, struct nx_err *err);

/* The process ends with _exit(137) here when the environment variable NARTHEX_CRASH_POINT is `name` (or "name:N" for
 * its N-th passage): how the crash tests stop between two steps. Free when the variable is not set. */
void io_crash_point(const char *name);
