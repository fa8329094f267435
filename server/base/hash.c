/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - the one file that includes xxhash. */
#include "narthex/base/hash.h"

#include "narthex/base/assert.h"
#include "narthex/base/rand.h"

#include <stdbool.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The size of XXH3's own default secret: a full random one of it keeps every lane random. */
static uint8_t secret[XXH_SECRET_DEFAULT_SIZE];
static bool secret_is_set;

uint64_t nx_hash64(const void *data, size_t bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, bytes, seed);
}

struct nx_hash128 nx_hash128(const void *data, size_t bytes)
{
    XXH128_hash_t hash = XXH3_128bits(data, bytes);
    return (struct nx_hash128){.low = hash.low64, .high = hash.high64};
}

uint64_t nx_hash_xxh64(const void *data, size_t bytes)
{
    return XXH64(data, bytes, 0);
}

void hash_secret_init(void)
{
    if (secret_is_set)
        return;
    rand_bytes(secret, sizeof(secret));
    secret_is_set = true;
}

uint64_t nx_hash64_secret(const void *data, size_t bytes)
{
    NX_ASSERT(secret_is_set);
    return XXH3_64bits_withSecret(data, bytes, secret, sizeof(secret));
}

struct nx_hash128 nx_hash128_secret(const void *data, size_t bytes)
{
    NX_ASSERT(secret_is_set);
    XXH128_hash_t hash = XXH3_128bits_withSecret(data, bytes, secret, sizeof(secret));
    return (struct nx_hash128){.low = hash.low64, .high = hash.high64};
}
