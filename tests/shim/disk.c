/* SPDX-License-Identifier: Apache-2.0 */
/* disk.c - stands between the server and its volume: writes down what happens to the files, and lets calls fail.
 *
 * A shared library for LD_PRELOAD, for tests alone. It takes the place of the C library's file calls, for the program
 * and for liblmdb alike, and looks at those on paths below one directory. What it does is asked for by environment:
 *
 *   NARTHEX_SHIM_ROOT      the data directory, absolute; without it the shim does nothing
 *   NARTHEX_SHIM_LOG       a file outside of it that gets a record of every change (struct record); appended to
 *   NARTHEX_SHIM_CONTROL   a file of struct control, shared with the test, which sets rules and reads counts while the
 *                          server runs
 *
 * The log is what tests/support/disk_model.py builds disks after a loss of power from. So:
 *
 *   1. One lock is held over each call that changes something and its record: the order of records is that of calls.
 *   2. A change is stamped before it is made. A sync has two records, before it began and after it ended, and does not
 *      hold the lock in between. A write through O_DSYNC is a write and the end of its sync.
 *   3. The process is killed (control.kill_at) under the lock, before a call: the log is then exactly what was done.
 *   4. What the model does not know (shared writable maps, copies within the kernel) is recorded as such and fails the
 *      test.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FD_MAX        4096
#define RULES         4
#define PATTERN_BYTES 64
#define CONTROL_MAGIC 0x4e58444bu /* chosen */

enum record_kind {
    RECORD_START = 1, /* a process began: all descriptors are closed */
    RECORD_OPEN = 2,  /* offset: the flags */
    RECORD_CLOSE = 3,
    RECORD_WRITE = 4,
    RECORD_TRUNCATE = 5, /* offset: the size */
    RECORD_ALLOCATE = 6, /* offset: the size that the file has at least */
    RECORD_SYNC_BEGIN = 7,
    RECORD_SYNC_END = 8,
    RECORD_SYNC_FAILED = 9,
    RECORD_WRITE_SYNCED = 10, /* the record before it, of O_DSYNC */
    RECORD_RENAME = 11,
    RECORD_UNLINK = 12,
    RECORD_MKDIR = 13,
    RECORD_RMDIR = 14,
    RECORD_LINK = 15,
    RECORD_UNKNOWN = 16, /* path: the call that the model has no idea of */
};

/* Then path, second path and data, back to back. */
struct record {
    uint32_t kind;
    int32_t fd;
    uint64_t time_ns; /* CLOCK_MONOTONIC */
    uint64_t offset;
    uint64_t data_bytes;
    uint32_t path_bytes;
    uint32_t second_bytes;
};
_Static_assert(sizeof(struct record) == 40, "as the model reads it");

enum fault_kind {
    FAULT_OPEN = 1,
    FAULT_CREATE = 2,
    FAULT_WRITE = 4,
    FAULT_WRITE_SYNCED = 8,
    FAULT_SYNC = 16,
    FAULT_RENAME = 32,
    FAULT_UNLINK = 64,
    FAULT_MKDIR = 128,
    FAULT_RMDIR = 256,
    FAULT_TRUNCATE = 512,
    FAULT_READ = 1024,
};

/* Calls of `kinds` on paths like `pattern`: the first `skip` pass, the next `count` fail. */
struct rule {
    _Atomic uint32_t is_armed;
    uint32_t kinds;
    int32_t error;
    uint32_t short_bytes; /* writes: so many bytes are written and nothing fails */
    uint64_t skip;
    uint64_t count;
    _Atomic uint64_t seen;
    _Atomic uint64_t hits;
    char pattern[PATTERN_BYTES]; /* relative to the root, fnmatch with FNM_PATHNAME; empty: any */
};
_Static_assert(sizeof(struct rule) == 112, "as tests/support/shim.py writes it");

struct control {
    uint32_t magic;
    uint32_t unused;
    _Atomic uint64_t changes; /* made by now, of all processes */
    _Atomic uint64_t kill_at; /* SIGKILL before the change with this number; 0: none */
    struct rule rules[RULES];
};

static struct {
    pthread_mutex_t lock;
    pthread_once_t once;
    bool is_on;
    char root[PATH_MAX];
    size_t root_bytes;
    int log_fd;
    struct control *control;
    char *paths[FD_MAX]; /* of descriptors below the root */
    bool is_synced[FD_MAX];
} shim = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT, .log_fd = -1};

/* ---- the log ---- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
    char line[256];
    int length = snprintf(line, sizeof(line), "shim: %s: %s\n", what, strerror(errno));
    if (length > 0)
        syscall(SYS_write, STDERR_FILENO, line, (size_t)length);
    abort();
}

static void write_all(const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t put = syscall(SYS_write, shim.log_fd, at, bytes);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            die("the log cannot be written");
        at += put;
        bytes -= (size_t)put;
    }
}

/* Under the lock, or before any thread. Keeps errno. */
static void log_put(struct record record, const char *path, const char *second,
                    const struct iovec *data, int data_count)
{
    if (shim.log_fd < 0)
        return;
    int kept = errno;
    record.path_bytes = path == NULL ? 0 : (uint32_t)strlen(path);
    record.second_bytes = second == NULL ? 0 : (uint32_t)strlen(second);
    write_all(&record, sizeof(record));
    write_all(path, record.path_bytes);
    write_all(second, record.second_bytes);
    uint64_t left = record.data_bytes;
    for (int i = 0; i < data_count && left > 0; i++) {
        uint64_t part = data[i].iov_len < left ? data[i].iov_len : left;
        write_all(data[i].iov_base, part);
        left -= part;
    }
    errno = kept;
}

static void log_unknown(const char *call)
{
    pthread_mutex_lock(&shim.lock);
    log_put((struct record){.kind = RECORD_UNKNOWN, .fd = -1, .time_ns = now_ns()}, call, NULL,
            NULL, 0);
    pthread_mutex_unlock(&shim.lock);
}

/* ---- start ---- */

static void control_open(const char *path)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        die(path);
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        die("mmap of the control file");
    syscall(SYS_close, fd);
    shim.control = map;
    if (shim.control->magic != CONTROL_MAGIC)
        die("not a control file");
}

static void shim_start(void)
{
    const char *root = getenv("NARTHEX_SHIM_ROOT");
    const char *log = getenv("NARTHEX_SHIM_LOG");
    const char *control = getenv("NARTHEX_SHIM_CONTROL");
    if (root == NULL || strlen(root) >= sizeof(shim.root))
        return;
    shim.root_bytes = strlen(root);
    memcpy(shim.root, root, shim.root_bytes + 1);
    if (log != NULL) {
        shim.log_fd = (int)syscall(SYS_openat, AT_FDCWD, log,
                                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (shim.log_fd < 0)
            die(log);
    }
    if (control != NULL)
        control_open(control);
    log_put((struct record){.kind = RECORD_START, .fd = -1, .time_ns = now_ns()}, NULL, NULL, NULL,
            0);
    shim.is_on = true;
}

static bool is_ours(const char *path)
{
    pthread_once(&shim.once, shim_start);
    return shim.is_on && strncmp(path, shim.root, shim.root_bytes) == 0 &&
           (path[shim.root_bytes] == '\0' || path[shim.root_bytes] == '/');
}

/* Takes the lock when the descriptor is one of ours. */
static bool begin_fd(int fd)
{
    if (!shim.is_on || fd < 0 || fd >= FD_MAX)
        return false;
    pthread_mutex_lock(&shim.lock);
    if (shim.paths[fd] != NULL)
        return true;
    pthread_mutex_unlock(&shim.lock);
    return false;
}

static void end(void)
{
    pthread_mutex_unlock(&shim.lock);
}

/* A change is about to be made: the moment at which the test may want the process to end. */
static uint64_t change_begin(void)
{
    struct control *control = shim.control;
    if (control != NULL) {
        uint64_t number = atomic_fetch_add(&control->changes, 1) + 1;
        uint64_t kill_at = atomic_load(&control->kill_at);
        if (kill_at != 0 && number >= kill_at) {
            kill(getpid(), SIGKILL);
            for (;;)
                pause();
        }
    }
    return now_ns();
}

/* ---- faults ---- */

static bool rule_fits(const struct rule *rule, uint32_t kind, const char *path)
{
    if ((rule->kinds & kind) == 0)
        return false;
    if (rule->pattern[0] == '\0')
        return true;
    const char *relative = path + shim.root_bytes;
    while (*relative == '/')
        relative++;
    return fnmatch(rule->pattern, relative, FNM_PATHNAME) == 0;
}

/* The rule that lets this call fail, NULL: none. */
static const struct rule *fault(uint32_t kind, const char *path)
{
    if (shim.control == NULL)
        return NULL;
    for (int i = 0; i < RULES; i++) {
        struct rule *rule = &shim.control->rules[i];
        if (atomic_load(&rule->is_armed) == 0 || !rule_fits(rule, kind, path))
            continue;
        uint64_t number = atomic_fetch_add(&rule->seen, 1);
        if (number < rule->skip || number - rule->skip >= rule->count)
            continue;
        atomic_fetch_add(&rule->hits, 1);
        errno = rule->error;
        return rule;
    }
    return NULL;
}

/* ---- open, close ---- */

static int shim_open(const char *path, int flags, mode_t mode)
{
    if (!is_ours(path))
        return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    pthread_mutex_lock(&shim.lock);
    bool is_new = (flags & O_CREAT) != 0 && access(path, F_OK) != 0;
    errno = 0;
    uint64_t time_ns = is_new || (flags & O_TRUNC) != 0 ? change_begin() : now_ns();
    int fd = -1;
    if (fault(is_new ? FAULT_CREATE : FAULT_OPEN, path) == NULL)
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= FD_MAX) {
        errno = EMFILE;
        die("a descriptor is too large for the table");
    }
    if (fd >= 0) {
        log_put((struct record){.kind = RECORD_OPEN,
                                .fd = fd,
                                .time_ns = time_ns,
                                .offset = (uint64_t)(uint32_t)flags},
                path, NULL, NULL, 0);
        shim.paths[fd] = strdup(path);
        shim.is_synced[fd] = (flags & O_DSYNC) != 0;
    }
    end();
    return fd;
}

static mode_t open_mode(int flags, va_list args)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? (mode_t)va_arg(args, int) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = open_mode(flags, args);
    va_end(args);
    return shim_open(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = open_mode(flags, args);
    va_end(args);
    return shim_open(path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = open_mode(flags, args);
    va_end(args);
    if (dir_fd == AT_FDCWD || path[0] == '/')
        return shim_open(path, flags, mode);
    if (begin_fd(dir_fd)) {
        end();
        log_unknown("openat of a directory");
    }
    return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
}

int creat(const char *path, mode_t mode)
{
    return shim_open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int close(int fd)
{
    if (!begin_fd(fd))
        return (int)syscall(SYS_close, fd);
    log_put((struct record){.kind = RECORD_CLOSE, .fd = fd, .time_ns = now_ns()}, NULL, NULL, NULL,
            0);
    free(shim.paths[fd]);
    shim.paths[fd] = NULL;
    int result = (int)syscall(SYS_close, fd);
    end();
    return result;
}

int dup(int fd)
{
    if (begin_fd(fd)) {
        end();
        log_unknown("dup");
    }
    return (int)syscall(SYS_dup, fd);
}

/* ---- write ---- */

static size_t iovec_bytes(const struct iovec *data, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += data[i].iov_len;
    return bytes;
}

/* offset -1: at the descriptor's position. */
static ssize_t raw_write(int fd, const struct iovec *data, int count, off_t offset)
{
    if (offset < 0)
        return syscall(SYS_writev, fd, data, count);
    return syscall(SYS_pwritev, fd, data, count, offset, 0);
}

/* As much of the data as fits `bytes`, in one piece: what a volume takes before it is full. */
static ssize_t write_short(int fd, const struct iovec *data, size_t bytes, off_t offset)
{
    struct iovec part = {.iov_base = data->iov_base,
                         .iov_len = data->iov_len < bytes ? data->iov_len : bytes};
    return raw_write(fd, &part, 1, offset);
}

static ssize_t shim_write(int fd, const struct iovec *data, int count, off_t offset)
{
    if (!begin_fd(fd))
        return raw_write(fd, data, count, offset);
    uint64_t time_ns = change_begin();
    off_t at = offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
    ssize_t put = -1;
    uint32_t kind = shim.is_synced[fd] ? FAULT_WRITE_SYNCED : FAULT_WRITE;
    const struct rule *rule = fault(kind, shim.paths[fd]);
    if (rule == NULL)
        put = raw_write(fd, data, count, offset);
    else if (rule->short_bytes > 0 && rule->short_bytes < iovec_bytes(data, count))
        put = write_short(fd, data, rule->short_bytes, offset);
    if (put > 0) {
        struct record record = {.kind = RECORD_WRITE,
                                .fd = fd,
                                .time_ns = time_ns,
                                .offset = (uint64_t)at,
                                .data_bytes = (uint64_t)put};
        log_put(record, NULL, NULL, data, count);
        if (shim.is_synced[fd]) {
            record.kind = RECORD_WRITE_SYNCED;
            record.time_ns = now_ns();
            record.data_bytes = 0;
            log_put(record, NULL, NULL, NULL, 0);
        }
    }
    end();
    return put;
}

static struct iovec one(const void *data, size_t bytes)
{
    union {
        const void *in;
        void *out;
    } view = {.in = data};
    return (struct iovec){.iov_base = view.out, .iov_len = bytes};
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    struct iovec part = one(data, bytes);
    return shim_write(fd, &part, 1, -1);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    struct iovec part = one(data, bytes);
    return shim_write(fd, &part, 1, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset)
{
    return pwrite(fd, data, bytes, offset);
}

ssize_t writev(int fd, const struct iovec *data, int count)
{
    return shim_write(fd, data, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *data, int count, off_t offset)
{
    return shim_write(fd, data, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *data, int count, off64_t offset)
{
    return shim_write(fd, data, count, offset);
}

ssize_t pread(int fd, void *out, size_t bytes, off_t offset)
{
    if (begin_fd(fd)) {
        bool is_failing = fault(FAULT_READ, shim.paths[fd]) != NULL;
        end();
        if (is_failing)
            return -1;
    }
    return syscall(SYS_pread64, fd, out, bytes, offset);
}

ssize_t pread64(int fd, void *out, size_t bytes, off64_t offset)
{
    return pread(fd, out, bytes, offset);
}

int ftruncate(int fd, off_t bytes)
{
    if (!begin_fd(fd))
        return (int)syscall(SYS_ftruncate, fd, bytes);
    uint64_t time_ns = change_begin();
    int result = -1;
    if (fault(FAULT_TRUNCATE, shim.paths[fd]) == NULL)
        result = (int)syscall(SYS_ftruncate, fd, bytes);
    if (result == 0)
        log_put(
            (struct record){
                .kind = RECORD_TRUNCATE, .fd = fd, .time_ns = time_ns, .offset = (uint64_t)bytes},
            NULL, NULL, NULL, 0);
    end();
    return result;
}

int ftruncate64(int fd, off64_t bytes)
{
    return ftruncate(fd, bytes);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    if (!begin_fd(fd))
        return (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
    uint64_t time_ns = change_begin();
    int result = -1;
    if (fault(FAULT_WRITE, shim.paths[fd]) == NULL)
        result = (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
    if (result == 0 && mode == 0)
        log_put((struct record){.kind = RECORD_ALLOCATE,
                                .fd = fd,
                                .time_ns = time_ns,
                                .offset = (uint64_t)(offset + bytes)},
                NULL, NULL, NULL, 0);
    end();
    if (result == 0 && mode != 0)
        log_unknown("fallocate with a mode");
    return result;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t bytes)
{
    return fallocate(fd, mode, offset, bytes);
}

int posix_fallocate(int fd, off_t offset, off_t bytes)
{
    return fallocate(fd, 0, offset, bytes) == 0 ? 0 : errno;
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t bytes,
                        unsigned flags)
{
    if (begin_fd(out)) {
        end();
        log_unknown("copy_file_range");
    }
    return syscall(SYS_copy_file_range, in, in_at, out, out_at, bytes, flags);
}

ssize_t sendfile(int out, int in, off_t *at, size_t bytes)
{
    if (begin_fd(out)) {
        end();
        log_unknown("sendfile");
    }
    return syscall(SYS_sendfile, out, in, at, bytes);
}

/* LMDB's lock file is the one that may be: nothing in it outlives the process. */
void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    bool is_writable = (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0;
    if (is_writable && begin_fd(fd)) {
        bool is_lock = fnmatch("*-lock", shim.paths[fd], 0) == 0;
        end();
        if (!is_lock)
            log_unknown("mmap, shared and writable");
    }
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return mmap(address, bytes, protection, flags, fd, offset);
}

/* ---- sync ---- */

static int shim_sync(int fd, long call)
{
    if (!begin_fd(fd))
        return (int)syscall(call, fd);
    struct record record = {.kind = RECORD_SYNC_BEGIN, .fd = fd, .time_ns = change_begin()};
    log_put(record, NULL, NULL, NULL, 0);
    bool is_failing = fault(FAULT_SYNC, shim.paths[fd]) != NULL;
    int kept = errno;
    end();
    int result = is_failing ? -1 : (int)syscall(call, fd);
    if (!is_failing)
        kept = errno;
    pthread_mutex_lock(&shim.lock);
    record.kind = result == 0 ? RECORD_SYNC_END : RECORD_SYNC_FAILED;
    record.time_ns = now_ns();
    log_put(record, NULL, NULL, NULL, 0);
    end();
    errno = kept;
    return result;
}

int fsync(int fd)
{
    return shim_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return shim_sync(fd, SYS_fdatasync);
}

/* Promises nothing (sync_file_range(2)), so it is no sync in the log. */
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags)
{
    return (int)syscall(SYS_sync_file_range, fd, offset, bytes, flags);
}

/* ---- names ---- */

static int shim_name(enum record_kind record_kind, uint32_t fault_kind, const char *path,
                     const char *second, long call, mode_t mode)
{
    pthread_mutex_lock(&shim.lock);
    uint64_t time_ns = change_begin();
    int result = -1;
    if (fault(fault_kind, path) == NULL) {
        if (second != NULL)
            result = (int)syscall(call, path, second);
        else
            result = (int)syscall(call, path, mode);
    }
    if (result == 0)
        log_put((struct record){.kind = record_kind, .fd = -1, .time_ns = time_ns}, path, second,
                NULL, 0);
    end();
    return result;
}

int rename(const char *from, const char *to)
{
    if (!is_ours(from) && !is_ours(to))
        return (int)syscall(SYS_rename, from, to);
    return shim_name(RECORD_RENAME, FAULT_RENAME, from, to, SYS_rename, 0);
}

int link(const char *from, const char *to)
{
    if (!is_ours(from) && !is_ours(to))
        return (int)syscall(SYS_link, from, to);
    return shim_name(RECORD_LINK, FAULT_RENAME, from, to, SYS_link, 0);
}

int unlink(const char *path)
{
    if (!is_ours(path))
        return (int)syscall(SYS_unlink, path);
    return shim_name(RECORD_UNLINK, FAULT_UNLINK, path, NULL, SYS_unlink, 0);
}

int mkdir(const char *path, mode_t mode)
{
    if (!is_ours(path))
        return (int)syscall(SYS_mkdir, path, mode);
    return shim_name(RECORD_MKDIR, FAULT_MKDIR, path, NULL, SYS_mkdir, mode);
}

int rmdir(const char *path)
{
    if (!is_ours(path))
        return (int)syscall(SYS_rmdir, path);
    return shim_name(RECORD_RMDIR, FAULT_RMDIR, path, NULL, SYS_rmdir, 0);
}

/* By descriptor of a directory: nobody does that yet, and who begins to is told by a failing test. */
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (from_fd == AT_FDCWD && to_fd == AT_FDCWD)
        return rename(from, to);
    if (shim.is_on)
        log_unknown("renameat");
    return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (from_fd == AT_FDCWD && to_fd == AT_FDCWD && flags == 0)
        return rename(from, to);
    if (shim.is_on)
        log_unknown("renameat2");
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    if (dir_fd == AT_FDCWD)
        return (flags & AT_REMOVEDIR) != 0 ? rmdir(path) : unlink(path);
    if (shim.is_on)
        log_unknown("unlinkat");
    return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    if (dir_fd == AT_FDCWD)
        return mkdir(path, mode);
    if (shim.is_on)
        log_unknown("mkdirat");
    return (int)syscall(SYS_mkdirat, dir_fd, path, mode);
}
