/* http_support.h - a plain HTTP client over a blocking socket, for tests of the server. */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/base/buf.h"
#include "narthex/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct support_answer {
    unsigned status; /* 0: the connection ended before a whole answer came */
    struct nx_buf head;
    struct nx_buf body; /* without chunk framing */
};

int support_connect(uint16_t port);
void support_send(int fd, struct nx_str text);
void support_send_text(int fd, const char *text);
/* Sends as much as the peer takes; false when it has closed. */
bool support_try_send(int fd, struct nx_str text);

/* Reads one answer; `was_head` for HEAD, whose answer has no body. Fails the test on malformed framing, or when
 * nothing comes for 20 s. */
struct support_answer support_read_answer(int fd, bool was_head);
void support_answer_deinit(struct support_answer *answer);
bool support_answer_has(const struct support_answer *answer, const char *field_line);

/* One request, one answer on the same connection. */
struct support_answer support_ask(int fd, const char *request);

/* True when the peer closes within `timeout_ms`; what it sends before is dropped. */
bool support_is_closed_within(int fd, unsigned timeout_ms);

bool support_gunzip(struct nx_bytes packed, struct nx_buf *out);
