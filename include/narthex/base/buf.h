/* buf.h - growable bytes that own their memory. A zeroed struct is an empty buffer. */
#pragma once

#include "narthex/base/err.h"
#include "narthex/base/str.h"

#include <stdarg.h>
#include <stdint.h>

struct nx_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void nx_buf_deinit(struct nx_buf *buf); /* safe on a zeroed struct and twice */
void nx_buf_reset(struct nx_buf *buf);  /* empty it, keep the memory */

/* Grows (by half at least) until `bytes` more fit behind len. */
void nx_buf_reserve(struct nx_buf *buf, size_t bytes);

/* Appends. nx_buf_extend returns where to write `bytes` more, already counted in len. */
void nx_buf_append(struct nx_buf *buf, const void *data, size_t bytes);
uint8_t *nx_buf_extend(struct nx_buf *buf, size_t bytes);
void nx_buf_append_str(struct nx_buf *buf, struct nx_str s);
void nx_buf_append_cstr(struct nx_buf *buf, const char *text);
void nx_buf_append_byte(struct nx_buf *buf, uint8_t byte);
void nx_buf_printf(struct nx_buf *buf, const char *format, ...) NX_PRINTF(2, 3);

/* Little-endian, as everywhere on disk. */
void nx_buf_append_u16(struct nx_buf *buf, uint16_t value);
void nx_buf_append_u32(struct nx_buf *buf, uint32_t value);
void nx_buf_append_u64(struct nx_buf *buf, uint64_t value);

static inline struct nx_bytes nx_buf_bytes(const struct nx_buf *buf)
{
    return (struct nx_bytes){.data = buf->data, .len = buf->len};
}

static inline struct nx_str nx_buf_str(const struct nx_buf *buf)
{
    return (struct nx_str){.data = (const char *)buf->data, .len = buf->len};
}
