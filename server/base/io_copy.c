/* SPDX-License-Identifier: Apache-2.0 */
/* io_copy.c - copies through an io table, and the table that refuses to change anything. */
#include "narthex/base/io_copy.h"

#include "narthex/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define COPY_STEP_BYTES ((size_t)1 << 20)

/* ---- copies ---- */

static nx_code copy_bytes(const struct io *io, int from, int to, uint64_t bytes,
                          uint64_t *out_copied, struct nx_err *err)
{
    struct nx_buf step = {0};
    nx_buf_reserve(&step, COPY_STEP_BYTES);
    nx_code code = NX_OK;
    uint64_t at = 0;
    while (at < bytes) {
        size_t part = bytes - at < COPY_STEP_BYTES ? (size_t)(bytes - at) : COPY_STEP_BYTES;
        size_t got = 0;
        code = io->pread(io, from, step.data, part, at, &got, err);
        if (code == NX_OK && got > 0)
            code = io->pwrite(io, to, step.data, got, at, err);
        if (code != NX_OK)
            break;
        at += got;
        if (got < part)
            break;
    }
    nx_buf_deinit(&step);
    *out_copied = at;
    return code == NX_OK ? io->fsync(io, to, err) : code;
}

nx_code io_copy_file(const struct io *io, const char *from, const char *to, uint64_t bytes,
                     uint64_t *out_bytes, struct nx_err *err)
{
    int in, out;
    nx_code code = io->open(io, from, O_RDONLY, 0, &in, err);
    if (code != NX_OK)
        return code;
    struct nx_err ignored;
    code = io->open(io, to, O_WRONLY | O_CREAT | O_EXCL, 0666, &out, err);
    if (code == NX_OK) {
        uint64_t copied = 0;
        code = copy_bytes(io, in, out, bytes, &copied, err);
        if (code != NX_OK)
            nx_ignore(nx_err_wrap(err, "copy %s to %s", from, to));
        nx_code closed = io->close(io, out, code == NX_OK ? err : &ignored);
        if (code == NX_OK)
            code = closed;
        if (code == NX_OK && out_bytes != NULL)
            *out_bytes += copied;
    }
    nx_ignore(io->close(io, in, &ignored));
    return code;
}

struct tree_copy {
    const struct io *io;
    const char *from, *to;
    uint64_t *out_bytes;
};

static nx_code copy_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    const struct tree_copy *copy = context;
    struct nx_buf from = {0}, to = {0};
    const char *from_path = path_join(&from, copy->from, name);
    const char *to_path = path_join(&to, copy->to, name);
    struct stat status;
    nx_code code;
    if (is_directory)
        code = io_copy_tree(copy->io, from_path, to_path, copy->out_bytes, err);
    else if (lstat(from_path, &status) != 0)
        code = nx_err_sys(err, errno, "%s", from_path);
    else if (!S_ISREG(status.st_mode))
        code = nx_err_set(err, NX_E_INVALID, "%s is neither a file nor a directory", from_path);
    else
        code = io_copy_file(copy->io, from_path, to_path, UINT64_MAX, copy->out_bytes, err);
    nx_buf_deinit(&from);
    nx_buf_deinit(&to);
    return code;
}

nx_code io_copy_tree(const struct io *io, const char *from, const char *to, uint64_t *out_bytes,
                     struct nx_err *err)
{
    struct tree_copy copy = {.io = io, .from = from, .to = to, .out_bytes = out_bytes};
    nx_code code = io->mkdir(io, to, err);
    if (code == NX_OK)
        code = io_each_entry(io, from, copy_entry, &copy, err);
    return code == NX_OK ? io_sync_dir(io, to, err) : code;
}

/* ---- the table that changes nothing ---- */

static nx_code refuse(const char *what, struct nx_err *err)
{
    return nx_err_sys(err, EROFS, "%s", what);
}

static nx_code read_only_open(const struct io *io, const char *path, int flags, mode_t mode,
                              int *out_fd, struct nx_err *err)
{
    (void)io;
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0)
        return refuse(path, err);
    return io_real()->open(io_real(), path, flags, mode, out_fd, err);
}

static nx_code read_only_pwrite(const struct io *io, int fd, const void *data, size_t bytes,
                                uint64_t offset, struct nx_err *err)
{
    (void)io, (void)fd, (void)data, (void)bytes, (void)offset;
    return refuse("write", err);
}

/* Nothing was written, so nothing is left to be made durable. */
static nx_code read_only_sync(const struct io *io, int fd, struct nx_err *err)
{
    (void)io, (void)fd, (void)err;
    return NX_OK;
}

static nx_code read_only_ftruncate(const struct io *io, int fd, uint64_t bytes, struct nx_err *err)
{
    (void)io, (void)fd, (void)bytes;
    return refuse("truncate", err);
}

static nx_code read_only_two_paths(const struct io *io, const char *from, const char *to,
                                   struct nx_err *err)
{
    (void)io, (void)to;
    return refuse(from, err);
}

static nx_code read_only_path(const struct io *io, const char *path, struct nx_err *err)
{
    (void)io;
    return refuse(path, err);
}

static nx_code read_only_mkdir(const struct io *io, const char *path, struct nx_err *err)
{
    (void)io;
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return NX_OK;
    return refuse(path, err);
}

static nx_code read_only_close(const struct io *io, int fd, struct nx_err *err)
{
    (void)io;
    return io_real()->close(io_real(), fd, err);
}

static nx_code read_only_pread(const struct io *io, int fd, void *out, size_t bytes,
                               uint64_t offset, size_t *out_bytes, struct nx_err *err)
{
    (void)io;
    return io_real()->pread(io_real(), fd, out, bytes, offset, out_bytes, err);
}

static void read_only_crash_point(const struct io *io, const char *name)
{
    (void)io, (void)name;
}

const struct io *io_read_only(void)
{
    static const struct io table = {
        .open = read_only_open,
        .close = read_only_close,
        .pread = read_only_pread,
        .pwrite = read_only_pwrite,
        .fdatasync = read_only_sync,
        .fsync = read_only_sync,
        .ftruncate = read_only_ftruncate,
        .rename = read_only_two_paths,
        .unlink = read_only_path,
        .mkdir = read_only_mkdir,
        .rmdir = read_only_path,
        .link = read_only_two_paths,
        .crash_point = read_only_crash_point,
    };
    return &table;
}
