/* process.h - what the kernel says of the server: CPU seconds, memory, bytes on disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    double user_s, system_s;        /* all threads */
    uint64_t rss_bytes, anon_bytes; /* resident, and its anonymous part */
};
bool process_usage_read(pid_t pid, struct process_usage *out); /* false: no such process */

/* Bytes allocated to the files below a directory. */
uint64_t directory_bytes(const char *path);
