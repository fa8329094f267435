/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - growable bytes: growth by half, appends, little-endian numbers. */
#include "narthex/base/buf.h"

#include "narthex/base/assert.h"
#include "narthex/base/mem.h"

#include <stdio.h>
#include <string.h>

#define BUF_CAP_MIN 64 /* chosen: one cache line */

void nx_buf_deinit(struct nx_buf *buf)
{
    nx_free(buf->data);
    *buf = (struct nx_buf){0};
}

void nx_buf_reset(struct nx_buf *buf)
{
    buf->len = 0;
}

void nx_buf_reserve(struct nx_buf *buf, size_t bytes)
{
    if (bytes <= buf->cap - buf->len)
        return;
    size_t need;
    bool overflows = __builtin_add_overflow(buf->len, bytes, &need);
    NX_ASSERT(!overflows && need <= SIZE_MAX / 4);
    size_t cap = buf->cap + buf->cap / 2;
    if (cap < need)
        cap = need;
    if (cap < BUF_CAP_MIN)
        cap = BUF_CAP_MIN;
    buf->data = nx_realloc(buf->data, cap);
    buf->cap = cap;
}

uint8_t *nx_buf_extend(struct nx_buf *buf, size_t bytes)
{
    nx_buf_reserve(buf, bytes == 0 ? 1 : bytes);
    uint8_t *where = buf->data + buf->len;
    buf->len += bytes;
    return where;
}

void nx_buf_append(struct nx_buf *buf, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    memcpy(nx_buf_extend(buf, bytes), data, bytes);
}

void nx_buf_append_str(struct nx_buf *buf, struct nx_str s)
{
    nx_buf_append(buf, s.data, s.len);
}

void nx_buf_append_cstr(struct nx_buf *buf, const char *text)
{
    nx_buf_append(buf, text, strlen(text));
}

void nx_buf_append_byte(struct nx_buf *buf, uint8_t byte)
{
    *nx_buf_extend(buf, 1) = byte;
}

void nx_buf_printf(struct nx_buf *buf, const char *format, ...)
{
    nx_buf_reserve(buf, BUF_CAP_MIN);
    size_t space = buf->cap - buf->len;
    va_list args;
    va_start(args, format);
    int length = vsnprintf((char *)buf->data + buf->len, space, format, args);
    va_end(args);
    NX_ASSERT(length >= 0);
    if ((size_t)length >= space) {
        nx_buf_reserve(buf, (size_t)length + 1);
        va_start(args, format);
        int again = vsnprintf((char *)buf->data + buf->len, (size_t)length + 1, format, args);
        va_end(args);
        NX_ASSERT(again == length);
    }
    buf->len += (size_t)length;
}

void nx_buf_append_u16(struct nx_buf *buf, uint16_t value)
{
    uint8_t *p = nx_buf_extend(buf, sizeof(value));
    for (size_t i = 0; i < sizeof(value); i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

void nx_buf_append_u32(struct nx_buf *buf, uint32_t value)
{
    uint8_t *p = nx_buf_extend(buf, sizeof(value));
    for (size_t i = 0; i < sizeof(value); i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

void nx_buf_append_u64(struct nx_buf *buf, uint64_t value)
{
    uint8_t *p = nx_buf_extend(buf, sizeof(value));
    for (size_t i = 0; i < sizeof(value); i++)
        p[i] = (uint8_t)(value >> (8 * i));
}
