/* SPDX-License-Identifier: Apache-2.0
 *
 * process.c - /proc/<pid>/stat and status; a walk over a directory.
 */
#include "process.h"

#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_file(pid_t pid, const char *name, char *out, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t n = fread(out, 1, bytes - 1, file);
    out[n] = '\0';
    fclose(file);
    return n > 0;
}

/* The number behind `key` in text of "key: number" lines; 0 when it is not there. */
static uint64_t number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

bool process_usage_read(pid_t pid, struct process_usage *out)
{
    char text[8192];
    memset(out, 0, sizeof(*out));
    if (!read_file(pid, "stat", text, sizeof(text)))
        return false;
    /* Fields count from behind the command's closing bracket: state is field 3, utime 14, stime 15. */
    const char *at = strrchr(text, ')');
    unsigned long long user = 0, system = 0;
    if (at == NULL || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
                             &system) != 2)
        return false;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    out->user_s = (double)user / ticks;
    out->system_s = (double)system / ticks;
    if (read_file(pid, "status", text, sizeof(text))) {
        out->rss_bytes = number_after(text, "VmRSS:") * 1024;
        out->anon_bytes = number_after(text, "RssAnon:") * 1024;
    }
    return true;
}

uint64_t directory_bytes(const char *path)
{
    char *copy = strdup(path);
    char *const paths[] = {copy, NULL};
    uint64_t bytes = 0;
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (tree != NULL) {
        for (FTSENT *entry = fts_read(tree); entry != NULL; entry = fts_read(tree))
            if (entry->fts_info == FTS_F)
                bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
        fts_close(tree);
    }
    free(copy);
    return bytes;
}
