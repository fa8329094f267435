/* SPDX-License-Identifier: Apache-2.0 */
/* map_guard.c - the handler of SIGBUS: which file is mapped there, one line, a mark, and the end.
 *
 *   /proc/self/maps:  7f12a000-7f13b000 r--s 00000000 fe:01 1234    /data/blocks/<ulid>/index.mdb
 */
#include "narthex/block/map_guard.h"

#include "narthex/base/assert.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GUARD_LINE_MAX 4400 /* a path of 4096 and what stands before it */
#define GUARD_STATUS   1

/* ---- text without the C library ---- */

struct guard_text {
    char bytes[GUARD_LINE_MAX + 400];
    size_t len;
};

static void put(struct guard_text *text, const char *more)
{
    for (; *more != '\0' && text->len < sizeof(text->bytes); more++)
        text->bytes[text->len++] = *more;
}

static void put_number(struct guard_text *text, int64_t number, int digits)
{
    char out[21] = {0};
    int at = 20;
    while (digits-- > 0 && at > 0) {
        out[--at] = (char)('0' + number % 10);
        number /= 10;
    }
    put(text, out + at);
}

/* The day's date, counted from 1970 (years of 400 repeat). */
static void put_time(struct guard_text *text)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t day = now.tv_sec / 86400 + 719468, rest = now.tv_sec % 86400;
    int64_t era = day / 146097, of_era = day % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t shifted = (5 * of_year + 2) / 153; /* from March */
    int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    const struct {
        int64_t number;
        int digits;
        const char *behind;
    } parts[] = {
        {year + era * 400 + (month <= 2), 4, "-"},
        {month, 2, "-"},
        {of_year - (153 * shifted + 2) / 5 + 1, 2, "T"},
        {rest / 3600, 2, ":"},
        {rest / 60 % 60, 2, ":"},
        {rest % 60, 2, "."},
        {now.tv_nsec / 1000000, 3, "Z"},
    };
    put(text, "ts=");
    for (size_t i = 0; i < NX_ARRAY_LEN(parts); i++) {
        put_number(text, parts[i].number, parts[i].digits);
        put(text, parts[i].behind);
    }
}

/* ---- which file ---- */

static bool read_hex(const char **at, uintptr_t *out)
{
    const char *begin = *at;
    uintptr_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uintptr_t)(c - 'a' + 10);
        else
            break;
    }
    *out = value;
    return *at != begin;
}

/* The path in the line when it maps `address`, cut out of it; NULL otherwise. */
static char *path_at(char *line, uintptr_t address)
{
    const char *at = line;
    uintptr_t first, end;
    if (!read_hex(&at, &first) || *at++ != '-' || !read_hex(&at, &end) || address < first ||
        address >= end)
        return NULL;
    char *path = strchr(line, '/');
    if (path == NULL)
        return NULL;
    static const char gone[] = " (deleted)";
    size_t length = strlen(path);
    if (length > sizeof(gone) - 1 && strcmp(path + length - (sizeof(gone) - 1), gone) == 0)
        path[length - (sizeof(gone) - 1)] = '\0';
    return path;
}

/* Looks for the map that holds `address`; its path lies in `line`. */
static char *find_path(uintptr_t address, char line[GUARD_LINE_MAX])
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    char chunk[1024];
    char *found = NULL;
    size_t length = 0;
    ssize_t got;
    while (fd >= 0 && found == NULL && (got = read(fd, chunk, sizeof(chunk))) > 0) {
        for (ssize_t i = 0; found == NULL && i < got; i++) {
            if (chunk[i] != '\n') {
                if (length + 1 < GUARD_LINE_MAX)
                    line[length++] = chunk[i];
                continue;
            }
            line[length] = '\0';
            length = 0;
            found = path_at(line, address);
        }
    }
    if (fd >= 0)
        close(fd);
    return found;
}

/* ---- the handler ---- */

/* `<directory of path>/bad`, when it is a block's index. Cuts the path. */
static bool mark_bad(char *path)
{
    static const char name[] = "/index.mdb";
    size_t length = strlen(path);
    if (length < sizeof(name) || strcmp(path + length - (sizeof(name) - 1), name) != 0)
        return false;
    static_assert(sizeof("/" BLOCK_BAD_NAME) <= sizeof(name), "the mark's name is shorter");
    memcpy(path + length - (sizeof(name) - 1), "/" BLOCK_BAD_NAME, sizeof("/" BLOCK_BAD_NAME));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    bool is_durable = fsync(fd) == 0;
    close(fd);
    return is_durable;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    static struct guard_text text;
    static char line[GUARD_LINE_MAX];
    static bool is_entered;
    if (__atomic_exchange_n(&is_entered, true, __ATOMIC_ACQ_REL))
        for (;;)
            pause(); /* another thread ends the process */
    char *path = find_path((uintptr_t)info->si_addr, line);
    if (path == NULL) {
        signal(number, SIG_DFL); /* no file of ours: as without a handler */
        raise(number);
        return;
    }
    put_time(&text);
    put(&text, " level=error area=store msg=\"a mapped file cannot be read, ending\" file=\"");
    put(&text, path);
    put(&text, "\"");
    if (mark_bad(path))
        put(&text, " then=\"the next start sets this block aside\"");
    put(&text, "\n");
    ssize_t ignored = write(STDERR_FILENO, text.bytes, text.len);
    (void)ignored;
    _exit(GUARD_STATUS);
}

void map_guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    NX_ASSERT(sigaction(SIGBUS, &action, NULL) == 0);
}
