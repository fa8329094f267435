/* codec_support.h - cmocka behind the headers that it needs, and what the tests of packing share. */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/base/rand.h"
#include "narthex/base/str.h"

/* Integers of a random shape: walks, steps, levels, resets, ramps, noise; sometimes with a common divisor. */
void make_integers(struct rand_state *rand, size_t count, uint64_t *out);

/* Fails unless tests/golden/<name> holds exactly `bytes`; with NX_TEST_GOLDEN_WRITE in the environment, writes it. */
void check_golden(const char *name, struct nx_bytes bytes);
