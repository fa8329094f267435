/* rand.h - random numbers: the kernel's for secrets and ids, a seeded generator for tests and loads. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Fills from getrandom(2); aborts if the kernel has none. */
void rand_bytes(void *out, size_t bytes);

/* xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64: same seed, same numbers. Not for secrets. */
struct rand_state {
    uint64_t s[4];
};
void rand_seed(struct rand_state *state, uint64_t seed);
uint64_t rand_u64(struct rand_state *state);
uint64_t rand_below(struct rand_state *state, uint64_t bound); /* bound > 0; unbiased */
double rand_unit(struct rand_state *state);                    /* [0, 1) with 53 bits */

/* ULID (the public specification of ulid): 48 bits of milliseconds, 80 of randomness, 26 characters of Crockford
 * base 32 and a NUL. */
#define ULID_TEXT_LEN 26
void ulid_new(char out_text[ULID_TEXT_LEN + 1], int64_t now_ms);
/* The time that it was made with; characters that are no digit count as 0, and so do those behind a NUL. */
int64_t ulid_time_ms(const char *text);
