/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - building error messages.
 *
 * A message is built beside the error and copied in whole, so that an argument may be the old message itself. A message
 * that does not fit is cut at a character's start: what was valid UTF-8 stays so.
 */
#include "narthex/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERR_MSG_SIZE sizeof(((struct nx_err *)0)->msg)

/* Stores `text` (of `length` bytes before the cut that snprintf made, if any). */
static void store_message(struct nx_err *err, const char *text, int length)
{
    size_t used = strlen(text);
    if (length < 0 || (size_t)length > used) {
        size_t end = used;
        while (end > 0 && ((unsigned char)text[end - 1] & 0xc0) == 0x80)
            end--;
        if (end > 0 && (unsigned char)text[end - 1] >= 0xc0)
            used = end - 1;
    }
    memcpy(err->msg, text, used);
    err->msg[used] = '\0';
}

nx_code nx_err_set(struct nx_err *err, nx_code code, const char *format, ...)
{
    char text[ERR_MSG_SIZE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    err->code = code;
    err->sys = 0;
    store_message(err, text, length);
    return code;
}

nx_code nx_err_sys(struct nx_err *err, int sys, const char *format, ...)
{
    char text[ERR_MSG_SIZE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char reason[96];
    const char *reason_text = strerror_r(sys, reason, sizeof(reason));
    char whole[ERR_MSG_SIZE + sizeof(reason)];
    length = snprintf(whole, ERR_MSG_SIZE, "%s: %s", length < 0 ? "" : text, reason_text);
    err->code = sys == ENOSPC || sys == EDQUOT ? NX_E_FULL : NX_E_IO;
    err->sys = sys;
    store_message(err, whole, length);
    return err->code;
}

nx_code nx_err_wrap(struct nx_err *err, const char *format, ...)
{
    char text[ERR_MSG_SIZE];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char whole[2 * ERR_MSG_SIZE];
    length = snprintf(whole, ERR_MSG_SIZE, "%s: %s", length < 0 ? "" : text, err->msg);
    store_message(err, whole, length);
    return err->code;
}

const char *nx_code_name(nx_code code)
{
    switch (code) {
    case NX_OK:
        return "ok";
    case NX_E_IO:
        return "io";
    case NX_E_CORRUPT:
        return "corrupt";
    case NX_E_LIMIT:
        return "limit";
    case NX_E_INVALID:
        return "invalid";
    case NX_E_UNSUPPORTED:
        return "unsupported";
    case NX_E_NOT_FOUND:
        return "not_found";
    case NX_E_EXISTS:
        return "exists";
    case NX_E_EXECUTION:
        return "execution";
    case NX_E_BUSY:
        return "busy";
    case NX_E_TIMEOUT:
        return "timeout";
    case NX_E_CANCELLED:
        return "cancelled";
    case NX_E_FULL:
        return "full";
    case NX_E_COUNT:
        break;
    }
    return "unknown";
}
