/* SPDX-License-Identifier: Apache-2.0 */
/* assert.c - the end of a process that found itself wrong. */
#include "narthex/base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void nx_assert_failed(const char *expression, const char *file, int line)
{
    char text[512];
    int length = snprintf(text, sizeof(text), "narthex: assertion failed at %s:%d: %s\n", file,
                          line, expression);
    if (length > (int)sizeof(text) - 1)
        length = (int)sizeof(text) - 1;
    /* One plain write: the logger itself may be what is broken. */
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        abort();
    abort();
}
