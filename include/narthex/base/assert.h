/* assert.h - assertions are for our own bugs; what the world gets wrong is an nx_code.
 *
 * NX_ASSERT stays on in release builds. NX_DCHECK is for hot loops and exists in builds with NX_DCHECK_ENABLED.
 */
#pragma once

#include <assert.h> /* static_assert */

__attribute__((noreturn)) void nx_assert_failed(const char *expression, const char *file, int line);

#define NX_ASSERT(expression)                                                                      \
 (__builtin_expect(!!(expression), 1) ? (void)0 : nx_assert_failed(#expression, __FILE__, __LINE__))

#if NX_DCHECK_ENABLED
# define NX_DCHECK(expression) NX_ASSERT(expression)
#else
# define NX_DCHECK(expression) ((void)sizeof(!!(expression)))
#endif

#define NX_LIKELY(expression)   __builtin_expect(!!(expression), 1)
#define NX_UNLIKELY(expression) __builtin_expect(!!(expression), 0)
#define NX_ARRAY_LEN(array)     (sizeof(array) / sizeof((array)[0]))
