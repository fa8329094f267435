/* mem.h - heap memory for small, fixed-size needs: exhaustion aborts with a message.
 *
 * Whatever a client can size is bounded before it is allocated (NX_E_LIMIT) or comes from an arena with a budget.
 */
#pragma once

#include <stddef.h>

void *nx_alloc(size_t bytes);                /* uninitialised */
void *nx_calloc(size_t count, size_t bytes); /* zeroed; overflow of the product aborts */
void *nx_realloc(void *memory, size_t bytes);
void *nx_realloc_array(void *memory, size_t count, size_t bytes);
char *nx_strdup(const char *text);
void nx_free(void *memory); /* NULL is fine */
/* Gives back to the system what was freed and lies idle: after a job that needed much for a while. Cost: some ms;
 * heaps are locked one by one, so others that allocate may wait. */
void nx_mem_release(void);

/* Page-aligned, zeroed anonymous memory for large tables; transparent huge pages are asked for. */
void *nx_map_alloc(size_t bytes);
void nx_map_free(void *memory, size_t bytes);
