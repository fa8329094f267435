/* SPDX-License-Identifier: Apache-2.0 */
/* codec_support.c - integers of many shapes for the packing tests, and golden files. */
#include "codec_support.h"

#include "narthex/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t spread_bits(struct rand_state *rand)
{
    return rand_u64(rand) >> rand_below(rand, 64);
}

void make_integers(struct rand_state *rand, size_t count, uint64_t *out)
{
    uint64_t shape = rand_below(rand, 8);
    uint64_t scale = rand_below(rand, 3) == 0 ? 1 + spread_bits(rand) : 1;
    uint64_t noise = 1 + spread_bits(rand);
    uint64_t value = rand_below(rand, 2) == 0 ? spread_bits(rand) : rand_u64(rand);
    uint64_t slope = rand_below(rand, 2) == 0 ? 0 : spread_bits(rand);
    uint64_t level = value;
    for (size_t i = 0; i < count; i++) {
        switch (shape) {
        case 0: /* random walk */
            value += slope + rand_below(rand, noise);
            break;
        case 1: /* mostly still */
            if (rand_below(rand, 10) == 0)
                value += rand_below(rand, noise);
            break;
        case 2: /* around a level */
            value = level + rand_below(rand, noise) - noise / 2;
            break;
        case 3: /* steady, with a reset or a spike now and then */
            value += slope;
            if (rand_below(rand, 100) == 0)
                value = rand_below(rand, 2) == 0 ? 0 : spread_bits(rand);
            break;
        case 4: /* accelerating */
            slope += rand_below(rand, noise);
            value += slope;
            break;
        case 5: /* of every size */
            value = spread_bits(rand);
            break;
        case 6: /* two values */
            value = rand_below(rand, 2) == 0 ? level : level + noise;
            break;
        default: /* noise */
            value = rand_u64(rand);
            break;
        }
        out[i] = value * scale;
    }
}

void check_golden(const char *name, struct nx_bytes bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", NX_TEST_GOLDEN_DIR, name);
    if (getenv("NX_TEST_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
        assert_int_equal(fclose(file), 0);
    }
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *stored = nx_alloc(bytes.len + 1);
    assert_int_equal(fread(stored, 1, bytes.len + 1, file), bytes.len);
    assert_int_equal(fclose(file), 0);
    assert_memory_equal(stored, bytes.data, bytes.len);
    nx_free(stored);
}
