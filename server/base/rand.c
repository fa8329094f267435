/* SPDX-License-Identifier: Apache-2.0 */
/* rand.c - random numbers.
 *
 * Source   xoshiro256** 1.0 and splitmix64 by Blackman and Vigna, written from their description.
 */
#include "narthex/base/rand.h"

#include "narthex/base/assert.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

void rand_bytes(void *out, size_t bytes)
{
    uint8_t *next = out;
    while (bytes > 0) {
        ssize_t got = getrandom(next, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        NX_ASSERT(got > 0);
        next += got;
        bytes -= (size_t)got;
    }
}

static uint64_t rotate_left(uint64_t x, int by)
{
    return (x << by) | (x >> (64 - by));
}

void rand_seed(struct rand_state *state, uint64_t seed)
{
    for (size_t i = 0; i < NX_ARRAY_LEN(state->s); i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        state->s[i] = z ^ (z >> 31);
    }
}

uint64_t rand_u64(struct rand_state *state)
{
    uint64_t *s = state->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rand_below(struct rand_state *state, uint64_t bound)
{
    NX_ASSERT(bound > 0);
    /* The first 2^64 mod bound values are refused: what is left divides evenly. */
    uint64_t refused = (0 - bound) % bound;
    uint64_t value;
    do {
        value = rand_u64(state);
    } while (value < refused);
    return value % bound;
}

double rand_unit(struct rand_state *state)
{
    return (double)(rand_u64(state) >> 11) * 0x1p-53;
}

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void ulid_new(char out_text[ULID_TEXT_LEN + 1], int64_t now_ms)
{
    uint8_t id[16];
    for (int i = 0; i < 6; i++)
        id[i] = (uint8_t)((uint64_t)now_ms >> (8 * (5 - i)));
    rand_bytes(id + 6, sizeof(id) - 6);
    /* 128 bits as 26 digits of 5 bits, the first of which holds only the top 3. */
    for (int i = 0; i < ULID_TEXT_LEN; i++) {
        int low_bit = 125 - 5 * i;
        unsigned digit = 0;
        for (int b = 4; b >= 0; b--) {
            int bit = low_bit + b;
            unsigned is_one = bit > 127 ? 0 : (id[15 - bit / 8] >> (bit % 8)) & 1u;
            digit = digit << 1 | is_one;
        }
        out_text[i] = digits[digit];
    }
    out_text[ULID_TEXT_LEN] = '\0';
}

int64_t ulid_time_ms(const char *text)
{
    int64_t time_ms = 0;
    bool has_ended = false;
    for (unsigned i = 0; i < 10; i++) {
        has_ended |= text[i] == 0;
        const char *digit = has_ended ? NULL : strchr(digits, text[i]);
        time_ms = time_ms << 5 | (digit == NULL ? 0 : digit - digits);
    }
    return time_ms;
}
