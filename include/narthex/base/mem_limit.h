/* mem_limit.h - what the machine lets this process have, what it has, and how its heap is set up.
 *
 * The limit that applies is the smallest of physical memory and the memory limits of the process' control group and
 * of all groups above it (version 2: memory.max, version 1: memory.limit_in_bytes).
 */
#pragma once

#include <stdint.h>

/* Bytes; never 0. */
uint64_t mem_limit_detect(void);
/* The same from other places than / (tests): `proc_cgroup` is /proc/self/cgroup, `mounts` /proc/self/mountinfo. NULL
 * when there is none. UINT64_MAX: no limit. */
uint64_t mem_limit_of_groups(const char *proc_cgroup, const char *mounts, const char *root);

/* Anonymous memory of the process; 0 when the kernel does not tell. */
uint64_t mem_anonymous_bytes(void);

/* Once, before the first thread: few heaps, and large pieces straight from the kernel, to which they go back at once.
 */
void mem_heap_tune(void);
