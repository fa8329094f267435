/* SPDX-License-Identifier: Apache-2.0 */
/* mem_limit.c - /proc and control groups, read with plain calls: they are no part of the data directory.
 *
 * In       /proc/self/cgroup      "4:memory:/a/b" (version 1), "0::/a/b" (version 2)
 *          /proc/self/mountinfo   where the groups are mounted, and which group is the root of the mount
 * Out      the smallest limit on the way from the group to the mount's root
 * Fails    never: what cannot be read does not limit
 */
#include "narthex/base/mem_limit.h"

#include "narthex/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX 65536
#define PATH_BYTES     4096
/* Measured: pieces of queries' arenas are 512 KiB and 1 MiB; smaller ones are reused too often to be mapped each time.
 */
#define MAP_THRESHOLD_BYTES (512 << 10)
#define HEAPS_MAX           4

/* The text of a small file, cut at its bound; empty when it cannot be read. */
static struct nx_str read_text(const char *path, char *out, size_t bytes)
{
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && len < bytes) {
        ssize_t got = read(fd, out + len, bytes - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    return (struct nx_str){.data = out, .len = len};
}

static struct nx_str next_word(struct nx_str *rest)
{
    struct nx_str word;
    nx_str_split(*rest, ' ', &word, rest);
    return word;
}

/* The limit that the file tells; UINT64_MAX for "max", a file that is not there, and version 1's "no limit". */
static uint64_t read_limit(const char *path)
{
    char text[64];
    uint64_t bytes;
    struct nx_str read = nx_str_trim(read_text(path, text, sizeof(text)));
    if (!nx_str_to_u64(read, &bytes) || bytes == 0 || bytes > INT64_MAX / 2)
        return UINT64_MAX;
    return bytes;
}

/* From `group` (below the mount) up to the mount itself. */
static uint64_t walk_up(const char *mount, struct nx_str group, const char *file)
{
    uint64_t smallest = UINT64_MAX;
    for (;;) {
        char path[PATH_BYTES];
        int length =
            snprintf(path, sizeof(path), "%s%.*s/%s", mount, (int)group.len, group.data, file);
        if (length > 0 && (size_t)length < sizeof(path)) {
            uint64_t limit = read_limit(path);
            smallest = limit < smallest ? limit : smallest;
        }
        if (group.len == 0)
            return smallest;
        while (group.len > 0 && group.data[group.len - 1] != '/')
            group.len--;
        if (group.len > 0)
            group.len--;
    }
}

struct group_mount {
    char path[PATH_BYTES];
    char root[PATH_BYTES]; /* the group that is mounted there */
};

static bool has_word(struct nx_str list, struct nx_str word)
{
    bool more = true;
    while (more) {
        struct nx_str item;
        more = nx_str_split(list, ',', &item, &list);
        if (nx_str_eq(item, word))
            return true;
    }
    return false;
}

/* Finds the mount of version 2, or of version 1 with the memory controller. A line of mountinfo is
 * "36 35 98:0 /root /mount options ... - type source super-options". */
static bool find_mount(struct nx_str mountinfo, bool is_v2, struct group_mount *out)
{
    bool more = true;
    while (more) {
        struct nx_str line;
        more = nx_str_split(mountinfo, '\n', &line, &mountinfo);
        for (unsigned i = 0; i < 3; i++)
            next_word(&line);
        struct nx_str root = next_word(&line);
        struct nx_str path = next_word(&line);
        struct nx_str word = next_word(&line);
        while (line.len > 0 && !nx_str_eq(word, NX_STR("-")))
            word = next_word(&line);
        struct nx_str type = next_word(&line);
        next_word(&line);
        struct nx_str super = next_word(&line);
        bool is_it = is_v2 ? nx_str_eq(type, NX_STR("cgroup2"))
                           : nx_str_eq(type, NX_STR("cgroup")) && has_word(super, NX_STR("memory"));
        if (!is_it || path.len >= sizeof(out->path) || root.len >= sizeof(out->root))
            continue;
        memcpy(out->path, path.data, path.len);
        out->path[path.len] = '\0';
        memcpy(out->root, root.data, root.len);
        out->root[root.len] = '\0';
        return true;
    }
    return false;
}

/* The group as it is seen below the mount: inside a container the mount's root is often the group itself. */
static struct nx_str below_mount(struct nx_str group, const char *mount_root)
{
    size_t root_len = strlen(mount_root);
    if (root_len > 1 && group.len >= root_len && memcmp(group.data, mount_root, root_len) == 0) {
        group.data += root_len;
        group.len -= root_len;
    }
    if (group.len == 1 && group.data[0] == '/')
        group.len = 0;
    return group;
}

uint64_t mem_limit_of_groups(const char *proc_cgroup, const char *mounts, const char *root)
{
    static char group_text[FILE_BYTES_MAX];
    static char mount_text[FILE_BYTES_MAX];
    struct nx_str groups = read_text(proc_cgroup, group_text, sizeof(group_text));
    struct nx_str mountinfo = read_text(mounts, mount_text, sizeof(mount_text));
    uint64_t smallest = UINT64_MAX;
    bool more = groups.len > 0;
    while (more) {
        struct nx_str line, number, controllers, group;
        more = nx_str_split(groups, '\n', &line, &groups);
        if (!nx_str_split(line, ':', &number, &line) ||
            !nx_str_split(line, ':', &controllers, &group))
            continue;
        bool is_v2 = controllers.len == 0;
        if (!is_v2 && !has_word(controllers, NX_STR("memory")))
            continue;
        static struct group_mount mount;
        static char path[2 * PATH_BYTES];
        if (!find_mount(mountinfo, is_v2, &mount))
            continue;
        snprintf(path, sizeof(path), "%s%s", root, mount.path);
        uint64_t limit = walk_up(path, below_mount(group, mount.root),
                                 is_v2 ? "memory.max" : "memory.limit_in_bytes");
        smallest = limit < smallest ? limit : smallest;
    }
    return smallest;
}

uint64_t mem_limit_detect(void)
{
    uint64_t limit = mem_limit_of_groups("/proc/self/cgroup", "/proc/self/mountinfo", "");
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page_bytes > 0 && (uint64_t)pages * (uint64_t)page_bytes < limit)
        limit = (uint64_t)pages * (uint64_t)page_bytes;
    /* Neither known: as much as the smallest machine that this program is meant for. */
    return limit == UINT64_MAX ? UINT64_C(1) << 30 : limit;
}

uint64_t mem_anonymous_bytes(void)
{
    char text[4096];
    struct nx_str status = read_text("/proc/self/status", text, sizeof(text));
    bool more = true;
    while (more) {
        struct nx_str line, name;
        uint64_t kib;
        more = nx_str_split(status, '\n', &line, &status);
        nx_str_split(line, ':', &name, &line);
        if (!nx_str_eq(name, NX_STR("RssAnon")))
            continue;
        line = nx_str_trim(line);
        nx_str_split(line, ' ', &name, &line);
        return nx_str_to_u64(name, &kib) ? kib * 1024 : 0;
    }
    return 0;
}

void mem_heap_tune(void)
{
    /* Advice: where the C library has other heaps, nothing is lost. */
    (void)mallopt(M_ARENA_MAX, HEAPS_MAX);
    (void)mallopt(M_MMAP_THRESHOLD, MAP_THRESHOLD_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * MAP_THRESHOLD_BYTES);
}
