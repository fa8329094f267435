/* SPDX-License-Identifier: Apache-2.0 */
/* io.c - the real file operations, and what is built over any table.
 *
 * Descriptors are opened close-on-exec. Messages name the operation and, where there is one, the path; who knows the
 * path of a descriptor wraps it in.
 */
#include "narthex/base/io.h"

#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define IO_CALL_BYTES_MAX                                                                          \
 ((size_t)1 << 30)                  /* the kernel moves at most 2 GiB less a page in one call */
#define IO_TREE_DEPTH_MAX       32  /* chosen: our own directories are three deep */
#define IO_CRASH_EXIT_STATUS    137 /* as after kill -9 */
#define IO_CRASH_POINT_ENV      "NARTHEX_CRASH_POINT"
#define IO_CRASH_POINT_NAME_MAX 128

static nx_code real_open(const struct io *io, const char *path, int flags, mode_t mode, int *out_fd,
                         struct nx_err *err)
{
    (void)io;
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return nx_err_sys(err, errno, "open %s", path);
    *out_fd = fd;
    return NX_OK;
}

static nx_code real_close(const struct io *io, int fd, struct nx_err *err)
{
    (void)io;
    /* Linux gives the descriptor back even when it reports EINTR: a retry could close another thread's file. */
    if (close(fd) != 0 && errno != EINTR)
        return nx_err_sys(err, errno, "close");
    return NX_OK;
}

static nx_code real_pread(const struct io *io, int fd, void *out, size_t bytes, uint64_t offset,
                          size_t *out_bytes, struct nx_err *err)
{
    (void)io;
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return nx_err_set(err, NX_E_INVALID, "read beyond the largest file offset");
    size_t done = 0;
    while (done < bytes) {
        size_t part = bytes - done < IO_CALL_BYTES_MAX ? bytes - done : IO_CALL_BYTES_MAX;
        ssize_t got = pread(fd, (char *)out + done, part, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return nx_err_sys(err, errno, "read %zu bytes at %" PRIu64, bytes, offset);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *out_bytes = done;
    return NX_OK;
}

static nx_code real_pwrite(const struct io *io, int fd, const void *data, size_t bytes,
                           uint64_t offset, struct nx_err *err)
{
    (void)io;
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return nx_err_set(err, NX_E_INVALID, "write beyond the largest file offset");
    size_t done = 0;
    while (done < bytes) {
        size_t part = bytes - done < IO_CALL_BYTES_MAX ? bytes - done : IO_CALL_BYTES_MAX;
        ssize_t put = pwrite(fd, (const char *)data + done, part, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return nx_err_sys(err, errno, "write %zu bytes at %" PRIu64, bytes, offset);
        if (put == 0)
            return nx_err_sys(err, EIO, "write %zu bytes at %" PRIu64 ": nothing taken", bytes,
                              offset);
        done += (size_t)put;
    }
    return NX_OK;
}

static nx_code real_fdatasync(const struct io *io, int fd, struct nx_err *err)
{
    (void)io;
    int failed;
    do {
        failed = fdatasync(fd);
    } while (failed != 0 && errno == EINTR);
    return failed == 0 ? NX_OK : nx_err_sys(err, errno, "fdatasync");
}

static nx_code real_fsync(const struct io *io, int fd, struct nx_err *err)
{
    (void)io;
    int failed;
    do {
        failed = fsync(fd);
    } while (failed != 0 && errno == EINTR);
    return failed == 0 ? NX_OK : nx_err_sys(err, errno, "fsync");
}

static nx_code real_ftruncate(const struct io *io, int fd, uint64_t bytes, struct nx_err *err)
{
    (void)io;
    if (bytes > INT64_MAX)
        return nx_err_set(err, NX_E_INVALID, "truncate beyond the largest file offset");
    int failed;
    do {
        failed = ftruncate(fd, (off_t)bytes);
    } while (failed != 0 && errno == EINTR);
    return failed == 0 ? NX_OK : nx_err_sys(err, errno, "truncate to %" PRIu64 " bytes", bytes);
}

static nx_code real_rename(const struct io *io, const char *from, const char *to,
                           struct nx_err *err)
{
    (void)io;
    if (rename(from, to) != 0)
        return nx_err_sys(err, errno, "rename %s to %s", from, to);
    return NX_OK;
}

static nx_code real_unlink(const struct io *io, const char *path, struct nx_err *err)
{
    (void)io;
    if (unlink(path) != 0)
        return nx_err_sys(err, errno, "unlink %s", path);
    return NX_OK;
}

static nx_code real_mkdir(const struct io *io, const char *path, struct nx_err *err)
{
    (void)io;
    if (mkdir(path, 0777) == 0)
        return NX_OK;
    int reason = errno;
    struct stat status;
    if (reason == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return NX_OK;
    return nx_err_sys(err, reason, "mkdir %s", path);
}

static nx_code real_rmdir(const struct io *io, const char *path, struct nx_err *err)
{
    (void)io;
    if (rmdir(path) != 0)
        return nx_err_sys(err, errno, "rmdir %s", path);
    return NX_OK;
}

static nx_code real_link(const struct io *io, const char *from, const char *to, struct nx_err *err)
{
    (void)io;
    if (link(from, to) != 0)
        return nx_err_sys(err, errno, "link %s to %s", from, to);
    return NX_OK;
}

static void real_crash_point(const struct io *io, const char *name)
{
    (void)io;
    io_crash_point(name);
}

const struct io *io_real(void)
{
    static const struct io real = {
        .open = real_open,
        .close = real_close,
        .pread = real_pread,
        .pwrite = real_pwrite,
        .fdatasync = real_fdatasync,
        .fsync = real_fsync,
        .ftruncate = real_ftruncate,
        .rename = real_rename,
        .unlink = real_unlink,
        .mkdir = real_mkdir,
        .rmdir = real_rmdir,
        .link = real_link,
        .crash_point = real_crash_point,
    };
    return &real;
}

/* Closes after another call failed: that call's error is the one to tell. */
static void close_ignored(const struct io *io, int fd)
{
    struct nx_err ignored;
    nx_ignore(io->close(io, fd, &ignored));
}

nx_code io_sync_dir(const struct io *io, const char *path, struct nx_err *err)
{
    int fd;
    nx_code code = io->open(io, path, O_RDONLY | O_DIRECTORY, 0, &fd, err);
    if (code != NX_OK)
        return code;
    code = io->fsync(io, fd, err);
    if (code != NX_OK) {
        close_ignored(io, fd);
        return nx_err_wrap(err, "directory %s", path);
    }
    return io->close(io, fd, err);
}

const char *path_join(struct nx_buf *out, const char *dir, const char *name)
{
    nx_buf_reset(out);
    nx_buf_printf(out, "%s/%s", dir, name);
    nx_buf_append_byte(out, 0);
    return (const char *)out->data;
}

struct tree_walk {
    const struct io *io;
    const char *path;
    unsigned depth;
};

static nx_code remove_children(const struct io *io, const char *path, unsigned depth,
                               struct nx_err *err);

static nx_code remove_entry(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    const struct tree_walk *walk = context;
    struct nx_buf path = {0};
    const char *child = path_join(&path, walk->path, name);
    nx_code code;
    if (is_directory) {
        code = remove_children(walk->io, child, walk->depth + 1, err);
        if (code == NX_OK)
            code = walk->io->rmdir(walk->io, child, err);
    } else {
        code = walk->io->unlink(walk->io, child, err);
    }
    nx_buf_deinit(&path);
    return code;
}

static nx_code remove_children(const struct io *io, const char *path, unsigned depth,
                               struct nx_err *err)
{
    if (depth > IO_TREE_DEPTH_MAX)
        return nx_err_set(err, NX_E_LIMIT, "remove %s: more than %d levels of directories", path,
                          IO_TREE_DEPTH_MAX);
    struct tree_walk walk = {.io = io, .path = path, .depth = depth};
    return io_each_entry(io, path, remove_entry, &walk, err);
}

nx_code io_remove_tree(const struct io *io, const char *path, struct nx_err *err)
{
    struct stat status;
    if (lstat(path, &status) != 0) {
        if (errno == ENOENT)
            return NX_OK;
        return nx_err_sys(err, errno, "stat %s", path);
    }
    if (!S_ISDIR(status.st_mode))
        return io->unlink(io, path, err);
    nx_code code = remove_children(io, path, 0, err);
    if (code != NX_OK)
        return code;
    return io->rmdir(io, path, err);
}

nx_code io_file_size(const struct io *io, const char *path, uint64_t *out_bytes, struct nx_err *err)
{
    (void)io;
    struct stat status;
    if (stat(path, &status) != 0) {
        if (errno == ENOENT)
            return nx_err_set(err, NX_E_NOT_FOUND, "%s does not exist", path);
        return nx_err_sys(err, errno, "stat %s", path);
    }
    *out_bytes = (uint64_t)status.st_size;
    return NX_OK;
}

nx_code io_check_linked(int fd, struct nx_err *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return nx_err_sys(err, errno, "fstat");
    if (status.st_nlink == 0)
        return nx_err_set(err, NX_E_IO, "the file was removed while it was in use");
    return NX_OK;
}

bool io_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

nx_code io_free_bytes(const char *path, uint64_t *out_bytes, struct nx_err *err)
{
    uint64_t total;
    return io_volume_bytes(path, out_bytes, &total, err);
}

nx_code io_volume_bytes(const char *path, uint64_t *out_free, uint64_t *out_total,
                        struct nx_err *err)
{
    struct statvfs volume;
    int failed;
    do {
        failed = statvfs(path, &volume);
    } while (failed != 0 && errno == EINTR);
    if (failed != 0)
        return nx_err_sys(err, errno, "statvfs %s", path);
    *out_free = (uint64_t)volume.f_bavail * volume.f_frsize;
    *out_total = (uint64_t)volume.f_blocks * volume.f_frsize;
    return NX_OK;
}

/* Reads until the end of the file; growth during the read is noticed by the limit alone. */
static nx_code read_open_file(const struct io *io, int fd, size_t bytes_max, struct nx_buf *out,
                              struct nx_err *err)
{
    size_t total = 0;
    for (;;) {
        size_t step = total == 0 ? 4096 : total;
        if (step > bytes_max - total)
            step = bytes_max - total;
        step++; /* one more than allowed, to see what is too long */
        nx_buf_reserve(out, step);
        size_t got;
        nx_code code = io->pread(io, fd, out->data + out->len, step, total, &got, err);
        if (code != NX_OK)
            return code;
        out->len += got;
        total += got;
        if (total > bytes_max)
            return nx_err_set(err, NX_E_LIMIT, "longer than %zu bytes", bytes_max);
        if (got < step)
            return NX_OK;
    }
}

nx_code io_read_file(const struct io *io, const char *path, size_t bytes_max, struct nx_buf *out,
                     struct nx_err *err)
{
    NX_ASSERT(bytes_max < SIZE_MAX / 8);
    int fd;
    nx_code code = io->open(io, path, O_RDONLY, 0, &fd, err);
    if (code != NX_OK) {
        if (err->sys == ENOENT)
            return nx_err_set(err, NX_E_NOT_FOUND, "%s does not exist", path);
        return code;
    }
    size_t len_before = out->len;
    code = read_open_file(io, fd, bytes_max, out, err);
    close_ignored(io, fd); /* nothing was written: a failing close loses nothing */
    if (code != NX_OK) {
        out->len = len_before;
        return nx_err_wrap(err, "%s", path);
    }
    return NX_OK;
}

nx_code io_write_file(const struct io *io, const char *path, struct nx_bytes data,
                      struct nx_err *err)
{
    int fd;
    nx_code code = io->open(io, path, O_WRONLY | O_CREAT | O_TRUNC, 0666, &fd, err);
    if (code != NX_OK)
        return code;
    code = io->pwrite(io, fd, data.data, data.len, 0, err);
    if (code == NX_OK)
        code = io->fsync(io, fd, err);
    if (code != NX_OK) {
        close_ignored(io, fd);
        return nx_err_wrap(err, "%s", path);
    }
    return io->close(io, fd, err);
}

struct entry {
    char *name;
    bool is_directory;
};

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static bool entry_is_directory(DIR *dir, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    struct stat status;
    return fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

/* All entries, so that `each` may change the directory. */
static nx_code list_entries(const char *path, struct entry **out_entries, size_t *out_count,
                            struct nx_err *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        if (errno == ENOENT)
            return nx_err_set(err, NX_E_NOT_FOUND, "directory %s does not exist", path);
        return nx_err_sys(err, errno, "open directory %s", path);
    }
    struct entry *entries = NULL;
    size_t count = 0;
    size_t cap = 0;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (count == cap) {
            cap = cap == 0 ? 16 : cap * 2;
            entries = nx_realloc_array(entries, cap, sizeof(*entries));
        }
        entries[count++] = (struct entry){.name = nx_strdup(entry->d_name),
                                          .is_directory = entry_is_directory(dir, entry)};
    }
    int reason = errno;
    closedir(dir);
    *out_entries = entries;
    *out_count = count;
    return reason == 0 ? NX_OK : nx_err_sys(err, reason, "read directory %s", path);
}

nx_code io_each_entry(const struct io *io, const char *path, io_each_fn each, void *context,
                      struct nx_err *err)
{
    (void)io;
    struct entry *entries = NULL;
    size_t count = 0;
    nx_code code = list_entries(path, &entries, &count, err);
    if (count > 0)
        qsort(entries, count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < count; i++) {
        if (code == NX_OK)
            code = each(context, entries[i].name, entries[i].is_directory, err);
        nx_free(entries[i].name);
    }
    nx_free(entries);
    return code;
}

static struct {
    pthread_once_t once;
    bool is_set;
    char name[IO_CRASH_POINT_NAME_MAX];
    _Atomic uint64_t passages_left;
} crash = {.once = PTHREAD_ONCE_INIT};

static void crash_point_read_environment(void)
{
    const char *text = getenv(IO_CRASH_POINT_ENV);
    if (text == NULL || text[0] == '\0')
        return;
    struct nx_str name;
    struct nx_str passage;
    uint64_t number = 1;
    bool has_number = nx_str_split(nx_str_from(text), ':', &name, &passage);
    bool is_good =
        name.len < sizeof(crash.name) && (!has_number || nx_str_to_u64(passage, &number));
    NX_ASSERT(is_good && number > 0);
    memcpy(crash.name, name.data, name.len);
    atomic_store(&crash.passages_left, number);
    crash.is_set = true;
}

void io_crash_point(const char *name)
{
    pthread_once(&crash.once, crash_point_read_environment);
    if (!crash.is_set || strcmp(name, crash.name) != 0)
        return;
    if (atomic_fetch_sub(&crash.passages_left, 1) == 1)
        _exit(IO_CRASH_EXIT_STATUS);
}
