/* hash.h - XXH3 behind four functions, so that only hash.c includes xxhash.
 *
 * nx_hash64 and nx_hash128 are stable across processes and machines: they may be written to disk.
 * The *_secret forms use random bytes of this process: for tables whose keys come from clients.
 */
#pragma once

#include "narthex/base/str.h"

#include <stdint.h>

struct nx_hash128 {
    uint64_t low;
    uint64_t high;
};

uint64_t nx_hash64(const void *data, size_t bytes, uint64_t seed);
struct nx_hash128 nx_hash128(const void *data, size_t bytes);
/* XXH64 with seed 0: for what must agree with Prometheus' hash of labels. */
uint64_t nx_hash_xxh64(const void *data, size_t bytes);

/* hash_secret_init is called once at start, before threads; it reads getrandom(2). */
void hash_secret_init(void);
uint64_t nx_hash64_secret(const void *data, size_t bytes);
struct nx_hash128 nx_hash128_secret(const void *data, size_t bytes);

/* For combining integers that are already well spread. */
static inline uint64_t nx_hash_mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ (b + 0x9e3779b97f4a7c15ULL + (a << 6) + (a >> 2))) * 0xbf58476d1ce4e5b9ULL;
    return x ^ (x >> 32);
}
