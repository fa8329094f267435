/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - malloc and mmap that do not return on exhaustion.
 *
 * Who calls has a small, bounded need: without it the process cannot go on, and a restart replays the journal.
 */
#include "narthex/base/mem.h"

#include "narthex/base/assert.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static __attribute__((noreturn)) void out_of_memory(size_t bytes)
{
    char text[96];
    int length = snprintf(text, sizeof(text), "narthex: out of memory: %zu bytes\n", bytes);
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        abort();
    abort();
}

static size_t product(size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        out_of_memory(SIZE_MAX);
    return total;
}

void *nx_alloc(size_t bytes)
{
    void *memory = malloc(bytes == 0 ? 1 : bytes);
    if (memory == NULL)
        out_of_memory(bytes);
    return memory;
}

void *nx_calloc(size_t count, size_t bytes)
{
    size_t total = product(count, bytes);
    void *memory = calloc(1, total == 0 ? 1 : total);
    if (memory == NULL)
        out_of_memory(total);
    return memory;
}

void *nx_realloc(void *memory, size_t bytes)
{
    void *moved = realloc(memory, bytes == 0 ? 1 : bytes);
    if (moved == NULL)
        out_of_memory(bytes);
    return moved;
}

void *nx_realloc_array(void *memory, size_t count, size_t bytes)
{
    return nx_realloc(memory, product(count, bytes));
}

char *nx_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(nx_alloc(bytes), text, bytes);
}

void nx_free(void *memory)
{
    free(memory);
}

void nx_mem_release(void)
{
    (void)malloc_trim(0);
}

void *nx_map_alloc(size_t bytes)
{
    NX_ASSERT(bytes > 0);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        out_of_memory(bytes);
#ifdef MADV_HUGEPAGE
    /* Advice only: kernels without huge pages answer EINVAL, and nothing is lost. */
    if (madvise(memory, bytes, MADV_HUGEPAGE) != 0)
        return memory;
#endif
    return memory;
}

void nx_map_free(void *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    int failed = munmap(memory, bytes);
    NX_ASSERT(failed == 0);
}
