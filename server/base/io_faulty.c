/* SPDX-License-Identifier: Apache-2.0 */
/* io_faulty.c - a table that fails on command. */
#include "narthex/base/io_faulty.h"

#include "narthex/base/assert.h"

#include <errno.h>
#include <string.h>

/* The table is the first member; the handle is const because callers only call through it. */
static struct io_faulty *faulty_of(const struct io *io)
{
    return (struct io_faulty *)(uintptr_t)io;
}

/* Counts a call; the rule that it falls under, or NULL. */
static const struct io_fault *count_call(struct io_faulty *faulty, enum io_call call)
{
    static const struct io_fault stopped = {.sys = EIO};
    uint64_t nth = atomic_fetch_add_explicit(&faulty->calls[call], 1, memory_order_relaxed) + 1;
    const struct io_fault *found = NULL;
    if (call != IO_CALL_CLOSE && atomic_load(&faulty->is_stopped))
        found = &stopped;
    for (size_t i = 0; i < faulty->fault_count && found == NULL; i++) {
        const struct io_fault *fault = &faulty->faults[i];
        if (fault->call != call)
            continue;
        if (fault->nth == 0 || fault->nth == nth || (fault->is_lasting && nth > fault->nth))
            found = fault;
    }
    if (found != NULL)
        atomic_fetch_add_explicit(&faulty->failed_calls, 1, memory_order_relaxed);
    return found;
}

static nx_code faulty_open(const struct io *io, const char *path, int flags, mode_t mode,
                           int *out_fd, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_OPEN);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "open %s", path);
    return faulty->inner->open(faulty->inner, path, flags, mode, out_fd, err);
}

static nx_code faulty_close(const struct io *io, int fd, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_CLOSE);
    nx_code code = faulty->inner->close(faulty->inner, fd, err);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "close");
    return code;
}

static nx_code faulty_pread(const struct io *io, int fd, void *out, size_t bytes, uint64_t offset,
                            size_t *out_bytes, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_PREAD);
    if (fault != NULL && fault->sys != 0)
        return nx_err_sys(err, fault->sys, "read %zu bytes", bytes);
    if (fault != NULL && fault->torn_bytes < bytes)
        bytes = fault->torn_bytes;
    return faulty->inner->pread(faulty->inner, fd, out, bytes, offset, out_bytes, err);
}

static nx_code faulty_pwrite(const struct io *io, int fd, const void *data, size_t bytes,
                             uint64_t offset, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_PWRITE);
    if (fault == NULL)
        return faulty->inner->pwrite(faulty->inner, fd, data, bytes, offset, err);
    size_t torn = fault->torn_bytes < bytes ? fault->torn_bytes : bytes;
    if (torn > 0) {
        nx_code code = faulty->inner->pwrite(faulty->inner, fd, data, torn, offset, err);
        if (code != NX_OK)
            return code;
    }
    return nx_err_sys(err, fault->sys, "write %zu bytes", bytes);
}

static nx_code faulty_fdatasync(const struct io *io, int fd, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_FDATASYNC);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "fdatasync");
    return faulty->inner->fdatasync(faulty->inner, fd, err);
}

static nx_code faulty_fsync(const struct io *io, int fd, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_FSYNC);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "fsync");
    return faulty->inner->fsync(faulty->inner, fd, err);
}

static nx_code faulty_ftruncate(const struct io *io, int fd, uint64_t bytes, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_FTRUNCATE);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "truncate");
    return faulty->inner->ftruncate(faulty->inner, fd, bytes, err);
}

static nx_code faulty_rename(const struct io *io, const char *from, const char *to,
                             struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_RENAME);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "rename %s to %s", from, to);
    return faulty->inner->rename(faulty->inner, from, to, err);
}

static nx_code faulty_unlink(const struct io *io, const char *path, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_UNLINK);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "unlink %s", path);
    return faulty->inner->unlink(faulty->inner, path, err);
}

static nx_code faulty_mkdir(const struct io *io, const char *path, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_MKDIR);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "mkdir %s", path);
    return faulty->inner->mkdir(faulty->inner, path, err);
}

static nx_code faulty_rmdir(const struct io *io, const char *path, struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_RMDIR);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "rmdir %s", path);
    return faulty->inner->rmdir(faulty->inner, path, err);
}

static nx_code faulty_link(const struct io *io, const char *from, const char *to,
                           struct nx_err *err)
{
    struct io_faulty *faulty = faulty_of(io);
    const struct io_fault *fault = count_call(faulty, IO_CALL_LINK);
    if (fault != NULL)
        return nx_err_sys(err, fault->sys, "link %s to %s", from, to);
    return faulty->inner->link(faulty->inner, from, to, err);
}

static void faulty_crash_point(const struct io *io, const char *name)
{
    struct io_faulty *faulty = faulty_of(io);
    if (faulty->stop_at != NULL && strcmp(faulty->stop_at, name) == 0)
        atomic_store(&faulty->is_stopped, true);
    faulty->inner->crash_point(faulty->inner, name);
}

void io_faulty_init(struct io_faulty *faulty, const struct io *inner)
{
    *faulty = (struct io_faulty){
        .io = {.open = faulty_open,
               .close = faulty_close,
               .pread = faulty_pread,
               .pwrite = faulty_pwrite,
               .fdatasync = faulty_fdatasync,
               .fsync = faulty_fsync,
               .ftruncate = faulty_ftruncate,
               .rename = faulty_rename,
               .unlink = faulty_unlink,
               .mkdir = faulty_mkdir,
               .rmdir = faulty_rmdir,
               .link = faulty_link,
               .crash_point = faulty_crash_point},
        .inner = inner,
    };
}

void io_faulty_add(struct io_faulty *faulty, struct io_fault fault)
{
    NX_ASSERT(faulty->fault_count < IO_FAULTS_MAX);
    NX_ASSERT(fault.sys != 0 || fault.call == IO_CALL_PREAD);
    faulty->faults[faulty->fault_count++] = fault;
}

void io_faulty_clear(struct io_faulty *faulty)
{
    io_faulty_init(faulty, faulty->inner);
}

void io_faulty_stop_at(struct io_faulty *faulty, const char *name)
{
    faulty->stop_at = name;
}

bool io_faulty_is_stopped(const struct io_faulty *faulty)
{
    return atomic_load(&faulty->is_stopped);
}

uint64_t io_faulty_calls(const struct io_faulty *faulty, enum io_call call)
{
    return atomic_load_explicit(&faulty->calls[call], memory_order_relaxed);
}

uint64_t io_faulty_failed_calls(const struct io_faulty *faulty)
{
    return atomic_load_explicit(&faulty->failed_calls, memory_order_relaxed);
}
