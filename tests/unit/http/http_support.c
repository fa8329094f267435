/* SPDX-License-Identifier: Apache-2.0 */
/* http_support.c - the tests' HTTP client: slow, obvious, and strict about framing. */
#include "http_support.h"

#include "narthex/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define ANSWER_TIMEOUT_S 20

int support_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

bool support_try_send(int fd, struct nx_str text)
{
    size_t at = 0;
    while (at < text.len) {
        ssize_t sent = send(fd, text.data + at, text.len - at, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        at += (size_t)sent;
    }
    return true;
}

void support_send(int fd, struct nx_str text)
{
    assert_true(support_try_send(fd, text));
}

void support_send_text(int fd, const char *text)
{
    support_send(fd, nx_str_from(text));
}

/* One byte at a time is slow and cannot take from the next answer. False at the end of the stream. */
static bool read_byte(int fd, uint8_t *out)
{
    ssize_t got = recv(fd, out, 1, 0);
    if (got < 0 && errno == EAGAIN)
        fail_msg("no answer within %d s", ANSWER_TIMEOUT_S);
    return got == 1;
}

static bool read_line(int fd, struct nx_buf *out)
{
    uint8_t byte;
    do {
        if (!read_byte(fd, &byte))
            return false;
        nx_buf_append_byte(out, byte);
    } while (byte != '\n');
    return true;
}

static bool read_exactly(int fd, size_t bytes, struct nx_buf *out)
{
    while (bytes > 0) {
        uint8_t piece[65536];
        ssize_t got = recv(fd, piece, bytes < sizeof(piece) ? bytes : sizeof(piece), 0);
        if (got <= 0)
            return false;
        nx_buf_append(out, piece, (size_t)got);
        bytes -= (size_t)got;
    }
    return true;
}

static bool read_chunks(int fd, struct nx_buf *out)
{
    for (;;) {
        struct nx_buf line = {0};
        bool is_read = read_line(fd, &line);
        nx_buf_append_byte(&line, '\0');
        char *end = NULL;
        size_t bytes = is_read ? strtoul((const char *)line.data, &end, 16) : 0;
        if (is_read)
            assert_string_equal(end, "\r\n");
        nx_buf_deinit(&line);
        if (!is_read || !read_exactly(fd, bytes, out))
            return false;
        struct nx_buf crlf = {0};
        bool is_ended = read_exactly(fd, 2, &crlf) && memcmp(crlf.data, "\r\n", 2) == 0;
        nx_buf_deinit(&crlf);
        if (!is_ended)
            return false;
        if (bytes == 0)
            return true;
    }
}

static const char *find_field(const struct support_answer *answer, const char *name)
{
    const char *found = strcasestr((const char *)answer->head.data, name);
    return found != NULL ? found + strlen(name) : NULL;
}

struct support_answer support_read_answer(int fd, bool was_head)
{
    struct support_answer answer = {0};
    size_t line_at;
    do {
        line_at = answer.head.len;
        if (!read_line(fd, &answer.head))
            return answer;
    } while (answer.head.len - line_at > 2);
    nx_buf_append_byte(&answer.head, '\0');
    assert_memory_equal(answer.head.data, "HTTP/1.1 ", 9);
    unsigned status = (unsigned)strtoul((const char *)answer.head.data + 9, NULL, 10);
    const char *length = find_field(&answer, "\r\nContent-Length: ");
    bool is_chunked = find_field(&answer, "\r\nTransfer-Encoding: chunked\r\n") != NULL;
    assert_false(is_chunked && length != NULL);
    bool is_whole = true;
    if (was_head || status == 204 || status == 304 || status < 200)
        is_whole = true;
    else if (is_chunked)
        is_whole = read_chunks(fd, &answer.body);
    else if (length != NULL)
        is_whole = read_exactly(fd, strtoul(length, NULL, 10), &answer.body);
    else
        while (read_exactly(fd, 1, &answer.body))
            continue;
    answer.status = is_whole ? status : 0;
    nx_buf_append_byte(&answer.body, '\0'); /* for string comparison */
    answer.body.len--;
    return answer;
}

void support_answer_deinit(struct support_answer *answer)
{
    nx_buf_deinit(&answer->head);
    nx_buf_deinit(&answer->body);
}

bool support_answer_has(const struct support_answer *answer, const char *field_line)
{
    struct nx_buf needle = {0};
    nx_buf_printf(&needle, "\r\n%s\r\n", field_line);
    bool has = answer->head.data != NULL &&
               strstr((const char *)answer->head.data, (const char *)needle.data) != NULL;
    nx_buf_deinit(&needle);
    return has;
}

struct support_answer support_ask(int fd, const char *request)
{
    support_send_text(fd, request);
    return support_read_answer(fd, strncmp(request, "HEAD ", 5) == 0);
}

bool support_is_closed_within(int fd, unsigned timeout_ms)
{
    uint64_t until_ns = clock_mono_ns(clock_real()) + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        uint64_t now_ns = clock_mono_ns(clock_real());
        if (now_ns >= until_ns)
            return false;
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (poll(&poll_fd, 1, (int)((until_ns - now_ns) / 1000000) + 1) <= 0)
            continue;
        uint8_t piece[65536];
        if (recv(fd, piece, sizeof(piece), 0) <= 0)
            return true;
    }
}

bool support_gunzip(struct nx_bytes packed, struct nx_buf *out)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed.data,
                       .avail_in = (unsigned)packed.len};
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return false;
    int status = Z_OK;
    while (status == Z_OK) {
        nx_buf_reserve(out, 65536);
        stream.next_out = out->data + out->len;
        stream.avail_out = 65536;
        status = inflate(&stream, Z_NO_FLUSH);
        out->len += 65536 - stream.avail_out;
    }
    (void)inflateEnd(&stream);
    return status == Z_STREAM_END && stream.avail_in == 0;
}
