/* SPDX-License-Identifier: Apache-2.0 */
/* head_memory.c - vectors that do not move, small objects, blocks of stream chunks. */
#include "head_memory.h"

#include "narthex/base/mem.h"

#include <string.h>

#define POOL_PAGE_BYTES 65536u

/* ---- segvec ---- */

void segvec_init(struct segvec *vec, size_t item_bytes)
{
    *vec = (struct segvec){.item_bytes = item_bytes};
}

static size_t segment_bytes(const struct segvec *vec, unsigned segment)
{
    return ((size_t)1 << (SEGVEC_FIRST_BITS + segment)) * vec->item_bytes;
}

void segvec_deinit(struct segvec *vec)
{
    for (unsigned i = 0; i < SEGVEC_SEGMENTS_MAX; i++) {
        if (vec->segments[i] != NULL)
            nx_map_free(vec->segments[i], segment_bytes(vec, i));
        vec->segments[i] = NULL;
    }
}

void segvec_grow(struct segvec *vec, uint32_t index)
{
    unsigned segment = segvec_segment(index);
    vec->segments[segment] = nx_map_alloc(segment_bytes(vec, segment));
}

/* ---- head_pool ---- */

void head_pool_deinit(struct head_pool *pool)
{
    for (void *page = pool->pages; page != NULL;) {
        void *next;
        memcpy(&next, page, sizeof(next));
        nx_free(page);
        page = next;
    }
    *pool = (struct head_pool){0};
}

static void pool_new_page(struct head_pool *pool)
{
    uint8_t *page = nx_alloc(POOL_PAGE_BYTES);
    memcpy(page, &pool->pages, sizeof(pool->pages));
    pool->pages = page;
    pool->next = page + sizeof(pool->pages);
    pool->end = page + POOL_PAGE_BYTES;
    pool->bytes += POOL_PAGE_BYTES;
}

void *head_pool_alloc(struct head_pool *pool, size_t bytes)
{
    size_t usable = head_pool_usable(bytes);
    if (usable > POOL_CLASS_MAX) {
        pool->bytes += usable;
        return nx_alloc(usable);
    }
    void **list = &pool->free[usable / POOL_CLASS_STEP - 1];
    if (*list != NULL) {
        void *object = *list;
        memcpy(list, object, sizeof(*list));
        return object;
    }
    /* The rest of a full page, at most 504 bytes of 65536, is left over. */
    if ((size_t)(pool->end - pool->next) < usable)
        pool_new_page(pool);
    void *object = pool->next;
    pool->next += usable;
    return object;
}

void head_pool_free(struct head_pool *pool, void *object, size_t bytes)
{
    size_t usable = head_pool_usable(bytes);
    if (usable > POOL_CLASS_MAX) {
        pool->bytes -= usable;
        nx_free(object);
        return;
    }
    void **list = &pool->free[usable / POOL_CLASS_STEP - 1];
    memcpy(object, list, sizeof(*list));
    *list = object;
}

/* ---- stream_store ---- */

void stream_store_init(struct stream_store *store)
{
    *store = (struct stream_store){0};
    segvec_init(&store->directory, sizeof(uint8_t *));
}

static uint8_t **block_at(const struct stream_store *store, uint32_t block)
{
    return segvec_at(&store->directory, block, sizeof(uint8_t *));
}

void stream_store_deinit(struct stream_store *store)
{
    for (uint32_t i = 0; i < store->block_count; i++)
        nx_map_free(*block_at(store, i), STREAM_BLOCK_BYTES);
    segvec_deinit(&store->directory);
    nx_free(store->spare);
    *store = (struct stream_store){0};
}

static void push_number(uint32_t **numbers, uint32_t *count, uint32_t *cap, uint32_t number)
{
    if (*count == *cap) {
        *cap = *cap == 0 ? 16 : *cap + *cap / 2;
        *numbers = nx_realloc_array(*numbers, *cap, sizeof(**numbers));
    }
    (*numbers)[(*count)++] = number;
}

static uint32_t take_block(struct stream_store *store)
{
    uint32_t block;
    if (store->spare_count > 0) {
        block = store->spare[--store->spare_count];
    } else {
        NX_ASSERT(store->block_count < STREAM_BLOCKS_LIMIT);
        block = store->block_count++;
        segvec_ensure(&store->directory, block);
    }
    uint8_t **memory = block_at(store, block);
    if (*memory == NULL) {
        *memory = nx_map_alloc(STREAM_BLOCK_BYTES);
        store->bytes += STREAM_BLOCK_BYTES;
    } else {
        store->spare_mapped--;
    }
    return block;
}

uint32_t stream_store_alloc(struct stream_store *store, struct stream_arena *arena, size_t cap)
{
    size_t bytes = (sizeof(struct stream_chunk) + cap + 7) & ~(size_t)7;
    NX_ASSERT(bytes <= STREAM_CHUNK_MAX);
    if (arena->count == 0 || arena->fill + bytes > STREAM_BLOCK_BYTES) {
        push_number(&arena->blocks, &arena->count, &arena->cap, take_block(store));
        arena->fill = 8; /* so that no reference is 0 */
    }
    uint32_t ref = (arena->blocks[arena->count - 1] << STREAM_OFFSET_BITS) | (arena->fill / 8);
    arena->fill += (uint32_t)bytes;
    arena->chunks++;
    struct stream_chunk *chunk = stream_store_chunk(store, ref);
    chunk->older = 0;
    chunk->used = 0;
    chunk->cap = (uint16_t)(bytes - sizeof(struct stream_chunk));
    return ref;
}

void stream_arena_join(struct stream_arena *to, struct stream_arena *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        push_number(&to->blocks, &to->count, &to->cap, from->blocks[i]);
    if (from->count > 0)
        to->fill = STREAM_BLOCK_BYTES; /* nothing is added to blocks that were joined */
    to->chunks += from->chunks;
    nx_free(from->blocks);
    *from = (struct stream_arena){0};
}

void stream_store_release(struct stream_store *store, struct stream_arena *arena,
                          uint32_t spare_max)
{
    for (uint32_t i = 0; i < arena->count; i++)
        push_number(&store->spare, &store->spare_count, &store->spare_cap, arena->blocks[i]);
    store->spare_mapped += arena->count;
    nx_free(arena->blocks);
    *arena = (struct stream_arena){0};
    if (store->spare_mapped > spare_max)
        stream_store_give_back(store, store->spare_mapped - spare_max);
}

uint32_t stream_store_give_back(struct stream_store *store, uint32_t count)
{
    uint32_t given = 0;
    if (count > store->spare_mapped)
        count = store->spare_mapped;
    /* Those without memory come first in `spare`. */
    for (uint32_t i = store->spare_count - store->spare_mapped; given < count; i++, given++) {
        uint8_t **memory = block_at(store, store->spare[i]);
        nx_map_free(*memory, STREAM_BLOCK_BYTES);
        *memory = NULL;
    }
    store->bytes -= (uint64_t)given * STREAM_BLOCK_BYTES;
    store->spare_mapped -= given;
    return given;
}
