/* cxx_shim.h - what base needs from C++ libraries, as C functions: RE2, and the float text of libstdc++.
 *
 * Layer    private to base: regex.c and float_text.c include it, nobody else.
 * Threads  a compiled pattern may be used by many at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
# define CXX_NOEXCEPT noexcept
extern "C" {
#else
# define CXX_NOEXCEPT
#endif

/* Shortest digits in scientific form ("1.25e-07"), for finite values. Returns the length, 0 when it does not fit. */
size_t cxx_float_to_scientific(char *out, size_t out_size, double value) CXX_NOEXCEPT;

enum cxx_float_status {
    CXX_FLOAT_OK,
    CXX_FLOAT_RANGE, /* too large or too small: *out_value untouched */
    CXX_FLOAT_BAD,   /* not all of the text is a number */
};
/* Decimal text without a leading '+', correctly rounded. */
enum cxx_float_status cxx_float_from_text(const char *text, size_t len,
                                          double *out_value) CXX_NOEXCEPT;

struct cxx_regex;

/* NULL when the pattern is refused: `reason` then holds why, NUL-terminated. */
struct cxx_regex *cxx_regex_new(const char *pattern, size_t len, char *reason,
                                size_t reason_size) CXX_NOEXCEPT;
void cxx_regex_free(struct cxx_regex *regex) CXX_NOEXCEPT;

/* Whole-text match. Group offsets: groups[2i] and groups[2i + 1] are begin and end of group i (0 the whole), or
 * CXX_REGEX_NO_GROUP both. group_count counts the whole match; 0 asks for a plain yes or no. */
#define CXX_REGEX_NO_GROUP ((size_t)-1)
bool cxx_regex_match(const struct cxx_regex *regex, const char *text, size_t len, size_t *groups,
                     int group_count) CXX_NOEXCEPT;

int cxx_regex_group_count(const struct cxx_regex *regex) CXX_NOEXCEPT;
/* Name of a group (1-based), owned by the regex; NULL when it has none. */
const char *cxx_regex_group_name(const struct cxx_regex *regex, int group,
                                 size_t *out_len) CXX_NOEXCEPT;

#ifdef __cplusplus
}
#endif
