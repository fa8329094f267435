/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - bump allocation over a list of blocks, newest first.
 *
 *   arena->blocks -> [large] -> [block 64K] -> [block 32K] -> [block 16K]
 *                                     ^ next..end lie here: the newest block that is not large
 *
 * A request that does not fit and is big gets a block of its own, marked large; the bump region stays where it is, so
 * its free bytes are not lost. A mark is the list's head and `next`; to rewind, newer blocks are freed and the bump
 * region is again that of the newest block that is not large.
 *
 * With the address sanitizer every allocation is followed by at least 16 poisoned bytes.
 */
#include "narthex/base/arena.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
# define ARENA_ASAN 1
#elif defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define ARENA_ASAN 1
# endif
#endif
#ifndef ARENA_ASAN
# define ARENA_ASAN 0
#endif
#if ARENA_ASAN
# include <sanitizer/asan_interface.h>
# define POISON(memory, bytes)   __asan_poison_memory_region((memory), (bytes))
# define UNPOISON(memory, bytes) __asan_unpoison_memory_region((memory), (bytes))
#else
# define POISON(memory, bytes)   ((void)(memory), (void)(bytes))
# define UNPOISON(memory, bytes) ((void)(memory), (void)(bytes))
#endif

#define ARENA_ALIGN           16
#define ARENA_BLOCK_BYTES_MIN ((size_t)16 << 10)
#define ARENA_BLOCK_BYTES_MAX ((size_t)1 << 20)
/* Chosen: a request above this that does not fit gets its own block, so at most a quarter of a block is ever wasted. */
#define ARENA_LARGE_BYTES (ARENA_BLOCK_BYTES_MAX / 4)
/* Chosen: no caller means to take more in one piece; keeps size sums from overflowing. */
#define ARENA_REQUEST_BYTES_MAX (SIZE_MAX / 4)

struct arena_block {
    struct arena_block *older;
    size_t bytes; /* header included */
    bool is_large;
};

#define ARENA_HEADER ((sizeof(struct arena_block) + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN)
static_assert(alignof(max_align_t) <= ARENA_ALIGN,
              "malloc'd blocks and 16-byte steps keep any type aligned");

/* What a request takes from a block. */
static size_t footprint(size_t bytes)
{
    size_t padded = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    if (padded == 0 || ARENA_ASAN)
        padded += ARENA_ALIGN;
    return padded;
}

static char *block_data(struct arena_block *block)
{
    return (char *)block + ARENA_HEADER;
}

static void use_block(struct arena *arena, struct arena_block *block)
{
    arena->next = block == NULL ? NULL : block_data(block);
    arena->end = block == NULL ? NULL : (char *)block + block->bytes;
}

/* Of the pool's bytes, if there is one; false: it has no more. */
static bool pool_take(struct arena *arena, size_t bytes)
{
    struct arena_pool *pool = arena->pool;
    if (pool == NULL)
        return true;
    size_t used = atomic_fetch_add_explicit(&pool->used_bytes, bytes, memory_order_relaxed) + bytes;
    if (used <= atomic_load_explicit(&pool->max_bytes, memory_order_relaxed))
        return true;
    atomic_fetch_sub_explicit(&pool->used_bytes, bytes, memory_order_relaxed);
    arena->is_starved = true;
    return false;
}

static void free_block(struct arena *arena, struct arena_block *block)
{
    atomic_fetch_sub_explicit(&arena->used_bytes, block->bytes, memory_order_relaxed);
    if (arena->pool != NULL)
        atomic_fetch_sub_explicit(&arena->pool->used_bytes, block->bytes, memory_order_relaxed);
    UNPOISON(block, block->bytes);
    nx_free(block);
}

void arena_init(struct arena *arena, size_t budget_bytes)
{
    *arena = (struct arena){.budget_bytes = budget_bytes};
}

void arena_deinit(struct arena *arena)
{
    while (arena->blocks != NULL) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->older;
        free_block(arena, block);
    }
    use_block(arena, NULL);
    arena->is_exhausted = false;
    arena->is_starved = false;
}

void arena_reset(struct arena *arena)
{
    while (arena->blocks != NULL && (arena->blocks->older != NULL || arena->blocks->is_large)) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->older;
        free_block(arena, block);
    }
    use_block(arena, arena->blocks);
    if (arena->blocks != NULL)
        POISON(arena->next, (size_t)(arena->end - arena->next));
    arena->is_exhausted = false;
    arena->is_starved = false;
}

/* Bytes that the budget still allows. */
static size_t budget_left(const struct arena *arena)
{
    if (arena->budget_bytes == 0)
        return SIZE_MAX;
    size_t used = atomic_load_explicit(&arena->used_bytes, memory_order_relaxed);
    return used >= arena->budget_bytes ? 0 : arena->budget_bytes - used;
}

/* NULL when the pool has no more. */
static struct arena_block *push_block(struct arena *arena, size_t bytes, bool is_large)
{
    if (!pool_take(arena, bytes))
        return NULL;
    struct arena_block *block = nx_alloc(bytes);
    *block = (struct arena_block){.older = arena->blocks, .bytes = bytes, .is_large = is_large};
    arena->blocks = block;
    atomic_fetch_add_explicit(&arena->used_bytes, bytes, memory_order_relaxed);
    POISON(block_data(block), bytes - ARENA_HEADER);
    return block;
}

static struct arena_block *newest_shared_block(struct arena_block *block)
{
    while (block != NULL && block->is_large)
        block = block->older;
    return block;
}

/* Makes room for `taken` bytes in a new bump region. The next size is twice the last, less when the budget says so. */
static bool grow_region(struct arena *arena, size_t taken)
{
    struct arena_block *last = newest_shared_block(arena->blocks);
    size_t bytes = last == NULL ? ARENA_BLOCK_BYTES_MIN : last->bytes * 2;
    if (bytes > ARENA_BLOCK_BYTES_MAX)
        bytes = ARENA_BLOCK_BYTES_MAX;
    size_t left = budget_left(arena);
    if (bytes > left)
        bytes = left / ARENA_ALIGN * ARENA_ALIGN;
    if (bytes < ARENA_HEADER + taken)
        bytes = ARENA_HEADER + taken;
    if (bytes > left)
        return false;
    struct arena_block *block = push_block(arena, bytes, false);
    if (block == NULL)
        return false;
    use_block(arena, block);
    return true;
}

static void *alloc_slow(struct arena *arena, size_t bytes)
{
    size_t taken = footprint(bytes);
    if (taken > ARENA_LARGE_BYTES) {
        struct arena_block *block = NULL;
        if (ARENA_HEADER + taken <= budget_left(arena))
            block = push_block(arena, ARENA_HEADER + taken, true);
        if (block == NULL) {
            arena->is_exhausted = true;
            return NULL;
        }
        char *memory = block_data(block);
        UNPOISON(memory, bytes);
        return memory;
    }
    if (!grow_region(arena, taken)) {
        arena->is_exhausted = true;
        return NULL;
    }
    char *memory = arena->next;
    arena->next += taken;
    UNPOISON(memory, bytes);
    return memory;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    if (NX_UNLIKELY(arena->is_exhausted))
        return NULL;
    if (NX_UNLIKELY(bytes > ARENA_REQUEST_BYTES_MAX)) {
        arena->is_exhausted = true;
        return NULL;
    }
    size_t taken = footprint(bytes);
    if (NX_UNLIKELY(taken > (size_t)(arena->end - arena->next)))
        return alloc_slow(arena, bytes);
    char *memory = arena->next;
    arena->next += taken;
    UNPOISON(memory, bytes);
    return memory;
}

void *arena_calloc(struct arena *arena, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total) || total > ARENA_REQUEST_BYTES_MAX) {
        arena->is_exhausted = true;
        return NULL;
    }
    void *memory = arena_alloc(arena, total);
    if (memory != NULL && total > 0)
        memset(memory, 0, total);
    return memory;
}

void *arena_copy(struct arena *arena, const void *data, size_t bytes)
{
    void *memory = arena_alloc(arena, bytes);
    if (memory != NULL && bytes > 0)
        memcpy(memory, data, bytes);
    return memory;
}

struct nx_str arena_strdup(struct arena *arena, struct nx_str s)
{
    char *text = arena_alloc(arena, s.len + 1);
    if (text == NULL)
        return (struct nx_str){0};
    if (s.len > 0)
        memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return (struct nx_str){.data = text, .len = s.len};
}

struct nx_str arena_printf(struct arena *arena, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    if ((size_t)length < sizeof(small))
        return arena_strdup(arena, (struct nx_str){.data = small, .len = (size_t)length});
    char *text = arena_alloc(arena, (size_t)length + 1);
    if (text == NULL)
        return (struct nx_str){0};
    va_start(args, format);
    int again = vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    NX_ASSERT(again == length);
    return (struct nx_str){.data = text, .len = (size_t)length};
}

/* `memory` is alone in the newest block: let the heap move the block. False when the budget forbids it. */
static bool grow_large(struct arena *arena, size_t new_bytes)
{
    struct arena_block *block = arena->blocks;
    size_t bytes = ARENA_HEADER + footprint(new_bytes);
    NX_ASSERT(bytes >= block->bytes);
    size_t more = bytes - block->bytes;
    if (more > budget_left(arena) || !pool_take(arena, more))
        return false;
    UNPOISON(block, block->bytes);
    block = nx_realloc(block, bytes);
    block->bytes = bytes;
    arena->blocks = block;
    atomic_fetch_add_explicit(&arena->used_bytes, more, memory_order_relaxed);
    POISON(block_data(block), bytes - ARENA_HEADER);
    UNPOISON(block_data(block), new_bytes);
    return true;
}

void *arena_grow(struct arena *arena, void *memory, size_t old_bytes, size_t new_bytes)
{
    if (memory == NULL)
        return arena_alloc(arena, new_bytes);
    if (arena->is_exhausted || new_bytes > ARENA_REQUEST_BYTES_MAX) {
        arena->is_exhausted = true;
        return NULL;
    }
    if (new_bytes <= old_bytes)
        return memory;
    size_t old_taken = footprint(old_bytes);
    size_t more = footprint(new_bytes) - old_taken;
    if ((char *)memory + old_taken == arena->next && more <= (size_t)(arena->end - arena->next)) {
        arena->next += more;
        UNPOISON(memory, new_bytes);
        return memory;
    }
    struct arena_block *newest = arena->blocks;
    if (newest != NULL && newest->is_large && memory == block_data(newest)) {
        if (!grow_large(arena, new_bytes)) {
            arena->is_exhausted = true;
            return NULL;
        }
        return block_data(arena->blocks);
    }
    void *moved = arena_alloc(arena, new_bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, memory, old_bytes);
    POISON(memory, old_bytes);
    return moved;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){.block = arena->blocks, .next = arena->next};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    while (arena->blocks != mark.block) {
        struct arena_block *block = arena->blocks;
        NX_ASSERT(block != NULL);
        arena->blocks = block->older;
        free_block(arena, block);
    }
    use_block(arena, newest_shared_block(arena->blocks));
    if (arena->next == NULL)
        return;
    NX_ASSERT(mark.next >= arena->next && mark.next <= arena->end);
    arena->next = mark.next;
    POISON(arena->next, (size_t)(arena->end - arena->next));
}

bool arena_is_exhausted(const struct arena *arena)
{
    return arena->is_exhausted;
}

bool arena_is_starved(const struct arena *arena)
{
    return arena->is_exhausted && arena->is_starved;
}

size_t arena_usage(const struct arena *arena)
{
    return atomic_load_explicit(&arena->used_bytes, memory_order_relaxed);
}
