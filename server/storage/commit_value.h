/* commit_value.h - a commit's number as a named value of the catalog: 8 bytes, little-endian. */
#pragma once

#include <stdint.h>

#define COMMIT_VALUE_BYTES 8u

/* The commit up to which deletes have flushed. */
#define COVERED_KEY "covered-commit"

static inline void commit_value_put(uint8_t out[COMMIT_VALUE_BYTES], uint64_t commit)
{
    for (unsigned i = 0; i < COMMIT_VALUE_BYTES; i++)
        out[i] = (uint8_t)(commit >> (8 * i));
}

static inline uint64_t commit_value_get(const uint8_t bytes[COMMIT_VALUE_BYTES])
{
    uint64_t commit = 0;
    for (unsigned i = 0; i < COMMIT_VALUE_BYTES; i++)
        commit |= (uint64_t)bytes[i] << (8 * i);
    return commit;
}
