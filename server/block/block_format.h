/* block_format.h - sizes and bounds that the files of a block share. The drawings are in docs/formats/{block,index}.md.
 *
 * Everything on disk is little-endian, unaligned, and read through the three loads below.
 */
#pragma once

#include "narthex/base/assert.h"

#include <stdint.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read in place");

#define BLOCK_FORMAT_VERSION 3u

#define BLOCK_INDEX_NAME     "index.mdb"
#define BLOCK_CHUNKS_NAME    "chunks.nxc"
#define BLOCK_META_NAME      "block.meta"

#define FILE_SUM_BYTES                                                                             \
 ((uint64_t)1 << 20) /* one checksum of block.meta covers this much of a file */

static inline uint16_t load_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t load_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t load_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline void store_u16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void store_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void store_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}
