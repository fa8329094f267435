/* err.h - how a function says that it failed: a code for the program, a sentence for a person.
 *
 * Layer    base (every layer uses it).
 * Memory   struct nx_err lives on the caller's stack and never allocates.
 * Use      hot paths return nx_code alone; paths that can say more take `struct nx_err *err` last, never NULL.
 */
#pragma once

#include <stddef.h>

#define NX_NODISCARD          __attribute__((warn_unused_result))
#define NX_PRINTF(text, args) __attribute__((format(printf, text, args)))

/* Who caused it decides the code. api_errors.c maps each to an HTTP status, once. */
typedef enum nx_code {
    NX_OK = 0,
    NX_E_IO,          /* the disk or the network said no: err.sys holds errno */
    NX_E_CORRUPT,     /* bytes that we once wrote do not verify */
    NX_E_LIMIT,       /* a configured limit was reached; the message names it */
    NX_E_INVALID,     /* the caller's input is wrong: a request, a query, a flag */
    NX_E_UNSUPPORTED, /* understood, and not offered yet; the message names it */
    NX_E_NOT_FOUND,   /* what was asked for does not exist */
    NX_E_EXISTS,      /* it exists already, with other content */
    NX_E_EXECUTION,   /* a well-formed query failed on this data */
    NX_E_BUSY,        /* cannot be done now; a retry may succeed */
    NX_E_TIMEOUT,     /* took longer than allowed */
    NX_E_CANCELLED,   /* whoever asked is gone, or we are stopping */
    NX_E_FULL,        /* no space left on the volume */
    NX_E_COUNT,
} nx_code;

struct nx_err {
    nx_code code;
    int sys;        /* errno when code is NX_E_IO or NX_E_FULL, else 0 */
    char msg[1000]; /* Prometheus' texts quote whole label sets */
};

/* Sets all of `err` and returns `code`, so that a failing path is one line: return nx_err_set(...). */
nx_code nx_err_set(struct nx_err *err, nx_code code, const char *format, ...) NX_PRINTF(3, 4);

/* Same from errno `sys`: ": <text of errno>" is appended. The code is NX_E_FULL for ENOSPC and EDQUOT, else NX_E_IO. */
nx_code nx_err_sys(struct nx_err *err, int sys, const char *format, ...) NX_PRINTF(3, 4);

/* Puts "<context>: " before the message of an error already set; returns its code. */
nx_code nx_err_wrap(struct nx_err *err, const char *format, ...) NX_PRINTF(2, 3);

/* Short name of a code, for logs and metric labels: "io", "corrupt", ... */
const char *nx_code_name(nx_code code);

/* Deliberate neglect of a result, visible in the code. */
static inline void nx_ignore(nx_code code)
{
    (void)code;
}
