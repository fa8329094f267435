/* wide.h - the same loops compiled a second time, for processors of 2013 and later.
 *
 * A root is a function without logic of its own that a compiler fills with all that it calls in the same file: one
 * root takes the instructions that every x86-64 processor has, the other those that come with AVX2. The verb chooses
 * by what the processor can do. No loop is written twice, and both give the same bytes: nothing here multiplies and
 * adds in one rounding.
 *
 *   static CODEC_ROOT_NARROW bool get_narrow(...) { return get(...); }
 *   static CODEC_ROOT_WIDE bool get_wide(...) { return get(...); }
 *   bool verb(...) { return codec_is_wide() ? get_wide(...) : get_narrow(...); }
 */
#pragma once

#include <stdbool.h>

extern bool codec_wide_off; /* for tests, which run both */

#define CODEC_ROOT_NARROW __attribute__((flatten, noinline))

#if defined(__x86_64__)
# define CODEC_WIDE __attribute__((target("avx2,bmi,bmi2,lzcnt")))
static inline bool codec_is_wide(void)
{
    /* lzcnt is older than either, but has no name here that both compilers know. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && !codec_wide_off;
}
#else
# define CODEC_WIDE
static inline bool codec_is_wide(void)
{
    return false;
}
#endif

#define CODEC_ROOT_WIDE CODEC_WIDE __attribute__((flatten, noinline))
