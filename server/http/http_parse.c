/* SPDX-License-Identifier: Apache-2.0 */
/* http_parse.c - a strict HTTP/1.1 parser that may be fed any number of bytes at a time.
 *
 * The head is read line by line: a line is looked at once, when its line feed has come, so that the verdict cannot
 * depend on how it was split. The one exception is the request line, whose start is judged early: a TLS hello or an
 * endless target is not worth waiting for. What is judged early is judged first, and alike, when the whole line is
 * there.
 *
 * Refused although RFC 9112 lets a server be lenient: a bare LF as line end, bare CR anywhere, folded fields, white
 * space before the colon, any transfer coding but one "chunked", a length beside it, lengths that differ, white
 * space around chunk sizes. Two parsers in a row that read these differently are how requests are smuggled.
 */
#include "narthex/http/http_parse.h"

#include "narthex/base/assert.h"

#include <string.h>

static_assert(HTTP_HEAD_BYTES_MAX <= UINT16_MAX, "a span addresses the whole head");
static_assert(HTTP_TARGET_BYTES_MAX + HTTP_METHOD_BYTES_MAX + 16 < HTTP_HEAD_BYTES_MAX,
              "a target that is too long is seen before the head is too large");

/* RFC 9110 5.6.2, one bit a character. */
static const uint32_t TOKEN_CHARS[8] = {
    0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff, 0, 0, 0, 0,
};

bool http_is_token_char(uint8_t c)
{
    return (TOKEN_CHARS[c >> 5] >> (c & 31) & 1) != 0;
}

static bool is_text_char(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

void http_head_init(struct http_head *head)
{
    /* fields[] is only read below field_count. */
    memset(head, 0, offsetof(struct http_head, fields));
    memset(&head->field_count, 0, sizeof(*head) - offsetof(struct http_head, field_count));
}

static enum http_verdict refuse(struct http_head *head, enum http_verdict verdict, const char *why)
{
    head->why = why;
    return verdict;
}

static struct http_span span_of(size_t at, size_t len)
{
    return (struct http_span){.at = (uint16_t)at, .len = (uint16_t)len};
}

/* Judges the start of a request line, complete or not: `line` ends before its line end, if that has come. */
static enum http_verdict check_request_start(struct http_head *head, const uint8_t *line,
                                             size_t bytes)
{
    size_t method_bytes = 0;
    while (method_bytes < bytes && line[method_bytes] != ' ') {
        if (!http_is_token_char(line[method_bytes]))
            return refuse(head, HTTP_PARSE_BAD, "not an HTTP/1.1 request");
        if (++method_bytes > HTTP_METHOD_BYTES_MAX)
            return refuse(head, HTTP_PARSE_BAD, "method too long");
    }
    if (method_bytes == bytes)
        return HTTP_PARSE_MORE;
    if (method_bytes == 0)
        return refuse(head, HTTP_PARSE_BAD, "not an HTTP/1.1 request");
    size_t target_at = method_bytes + 1;
    const uint8_t *space = memchr(line + target_at, ' ', bytes - target_at);
    size_t target_bytes = space != NULL ? (size_t)(space - line) - target_at : bytes - target_at;
    if (target_bytes > HTTP_TARGET_BYTES_MAX)
        return refuse(head, HTTP_PARSE_TARGET_TOO_LONG, "request target too long");
    head->method = span_of(head->line_at, method_bytes);
    return HTTP_PARSE_MORE;
}

/* Bytes of "http://" or "https://" at the start of an absolute-form target, else 0. */
static size_t scheme_bytes(struct nx_str target)
{
    const struct nx_str schemes[] = {NX_STR("http://"), NX_STR("https://")};
    for (size_t i = 0; i < NX_ARRAY_LEN(schemes); i++) {
        struct nx_str start = {.data = target.data, .len = schemes[i].len};
        if (target.len >= schemes[i].len && nx_str_eq_nocase(start, schemes[i]))
            return schemes[i].len;
    }
    return 0;
}

/* Splits the target at `at` into path and query: origin form, absolute form, or the asterisk of OPTIONS. */
static enum http_verdict parse_target(struct http_head *head, const uint8_t *data, size_t at,
                                      size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[at + i] <= 0x20 || data[at + i] == 0x7f)
            return refuse(head, HTTP_PARSE_BAD, "control byte in the request target");
    }
    struct nx_str method = http_span_view(data, head->method);
    if (bytes == 1 && data[at] == '*' && nx_str_eq(method, NX_STR("OPTIONS"))) {
        head->path = span_of(at, 1);
        return HTTP_PARSE_MORE;
    }
    size_t end = at + bytes;
    size_t scheme = scheme_bytes((struct nx_str){.data = (const char *)data + at, .len = bytes});
    size_t path_at = at + scheme;
    if (scheme > 0) {
        while (path_at < end && data[path_at] != '/' && data[path_at] != '?')
            path_at++;
        if (path_at == at + scheme)
            return refuse(head, HTTP_PARSE_BAD, "request target without a host");
    } else if (bytes == 0 || data[at] != '/') {
        return refuse(head, HTTP_PARSE_BAD, "request target is not a path");
    }
    const uint8_t *mark = path_at < end ? memchr(data + path_at, '?', end - path_at) : NULL;
    size_t path_end = mark != NULL ? (size_t)(mark - data) : end;
    if (path_end > path_at)
        head->path = span_of(path_at, path_end - path_at);
    else
        head->path = span_of(at + scheme - 1,
                             1); /* "http://host": its path is "/", as the scheme's last byte */
    if (mark != NULL)
        head->query = span_of(path_end + 1, end - path_end - 1);
    return HTTP_PARSE_MORE;
}

/* `bytes` without the line end; check_request_start has passed it. */
static enum http_verdict parse_request_line(struct http_head *head, const uint8_t *data,
                                            size_t bytes)
{
    const uint8_t *line = data + head->line_at;
    size_t target_at = (size_t)head->method.len + 1;
    const uint8_t *space =
        head->method.len == 0 ? NULL : memchr(line + target_at, ' ', bytes - target_at);
    if (space == NULL)
        return refuse(head, HTTP_PARSE_BAD, "request line without a version");
    size_t version_at = (size_t)(space - line) + 1;
    const uint8_t *version = line + version_at;
    if (bytes - version_at != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' ||
        version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9')
        return refuse(head, HTTP_PARSE_BAD, "malformed request line");
    if (version[5] != '1' || version[7] > '1')
        return refuse(head, HTTP_PARSE_VERSION_UNKNOWN,
                      "only HTTP/1.0 and HTTP/1.1 are spoken here");
    head->minor = (uint8_t)(version[7] - '0');
    head->has_request_line = true;
    return parse_target(head, data, head->line_at + target_at, version_at - 1 - target_at);
}

static enum http_verdict note_length(struct http_head *head, struct nx_str value)
{
    uint64_t length = 0;
    if (value.len == 0)
        return refuse(head, HTTP_PARSE_BAD, "malformed Content-Length");
    for (size_t i = 0; i < value.len; i++) {
        unsigned digit = (unsigned char)value.data[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(length, 10, &length) ||
            __builtin_add_overflow(length, digit, &length))
            return refuse(head, HTTP_PARSE_BAD, "malformed Content-Length");
    }
    if (head->has_length && head->body_bytes != length)
        return refuse(head, HTTP_PARSE_BAD, "several different Content-Length fields");
    head->has_length = true;
    head->body_bytes = length;
    return HTTP_PARSE_MORE;
}

static enum http_verdict note_coding(struct http_head *head, struct nx_str value)
{
    if (head->has_coding || head->minor == 0 || !nx_str_eq_nocase(value, NX_STR("chunked")))
        return refuse(head, HTTP_PARSE_BAD, "the only transfer coding taken is one chunked");
    head->has_coding = true;
    head->is_chunked = true;
    return HTTP_PARSE_MORE;
}

static void note_connection(struct http_head *head, struct nx_str value)
{
    struct nx_str rest = value;
    while (rest.len > 0) {
        struct nx_str token;
        (void)nx_str_split(rest, ',', &token, &rest);
        token = nx_str_trim(token);
        head->wants_close |= nx_str_eq_nocase(token, NX_STR("close"));
        head->wants_keep_alive |= nx_str_eq_nocase(token, NX_STR("keep-alive"));
    }
}

/* uri-host [":" port], loosely: nothing that could be read as more than a host. */
static enum http_verdict note_host(struct http_head *head, struct nx_str value)
{
    if (head->has_host)
        return refuse(head, HTTP_PARSE_BAD, "several Host fields");
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = (uint8_t)value.data[i];
        bool is_host_char = http_is_token_char(c) || memchr(":[]()=;,", c, 8) != NULL;
        if (!is_host_char)
            return refuse(head, HTTP_PARSE_BAD, "malformed Host");
    }
    head->has_host = true;
    return HTTP_PARSE_MORE;
}

/* The few fields that decide how the message is read. */
static enum http_verdict note_field(struct http_head *head, struct nx_str name, struct nx_str value)
{
    switch (name.len) {
    case 4:
        if (nx_str_eq_nocase(name, NX_STR("host")))
            return note_host(head, value);
        break;
    case 6:
        if (head->minor > 0 && nx_str_eq_nocase(name, NX_STR("expect"))) {
            if (!nx_str_eq_nocase(value, NX_STR("100-continue")))
                return refuse(head, HTTP_PARSE_EXPECT_UNKNOWN, "unknown expectation");
            head->expects_continue = true;
        }
        break;
    case 10:
        if (nx_str_eq_nocase(name, NX_STR("connection")))
            note_connection(head, value);
        break;
    case 14:
        if (nx_str_eq_nocase(name, NX_STR("content-length")))
            return note_length(head, value);
        break;
    case 17:
        if (nx_str_eq_nocase(name, NX_STR("transfer-encoding")))
            return note_coding(head, value);
        break;
    default:
        break;
    }
    return HTTP_PARSE_MORE;
}

static enum http_verdict parse_field(struct http_head *head, const uint8_t *data, size_t bytes)
{
    const uint8_t *line = data + head->line_at;
    size_t name_bytes = 0;
    while (name_bytes < bytes && http_is_token_char(line[name_bytes]))
        name_bytes++;
    if (name_bytes == 0 || name_bytes == bytes || line[name_bytes] != ':')
        return refuse(head, HTTP_PARSE_BAD, "malformed header field name");
    size_t from = name_bytes + 1;
    size_t to = bytes;
    while (from < to && (line[from] == ' ' || line[from] == '\t'))
        from++;
    while (to > from && (line[to - 1] == ' ' || line[to - 1] == '\t'))
        to--;
    for (size_t i = from; i < to; i++) {
        if (!is_text_char(line[i]))
            return refuse(head, HTTP_PARSE_BAD, "control byte in a header field");
    }
    if (head->field_count == HTTP_FIELDS_MAX)
        return refuse(head, HTTP_PARSE_HEAD_TOO_LARGE, "too many header fields");
    struct http_field *field = &head->fields[head->field_count++];
    field->name = span_of(head->line_at, name_bytes);
    field->value = span_of(head->line_at + from, to - from);
    return note_field(head, http_span_view(data, field->name), http_span_view(data, field->value));
}

/* The empty line has come: do the fields make sense together? */
static enum http_verdict finish_head(struct http_head *head, size_t head_bytes)
{
    if (head->minor > 0 && !head->has_host)
        return refuse(head, HTTP_PARSE_BAD, "missing Host");
    if (head->has_coding && head->has_length)
        return refuse(head, HTTP_PARSE_BAD, "both Transfer-Encoding and Content-Length");
    head->is_kept_alive = !head->wants_close && (head->minor > 0 || head->wants_keep_alive);
    head->head_bytes = head_bytes;
    return HTTP_PARSE_DONE;
}

/* One line, whose line feed is at `feed_at`. */
static enum http_verdict parse_line(struct http_head *head, const uint8_t *data, size_t feed_at)
{
    size_t bytes = feed_at - head->line_at;
    bool has_return = bytes > 0 && data[feed_at - 1] == '\r';
    if (has_return)
        bytes--;
    if (!head->has_request_line) {
        enum http_verdict verdict = check_request_start(head, data + head->line_at, bytes);
        if (verdict != HTTP_PARSE_MORE)
            return verdict;
    }
    if (!has_return)
        return refuse(head, HTTP_PARSE_BAD, "line ended by a bare line feed");
    if (!head->has_request_line)
        return bytes == 0 ? HTTP_PARSE_MORE : parse_request_line(head, data, bytes);
    if (bytes == 0)
        return finish_head(head, feed_at + 1);
    return parse_field(head, data, bytes);
}

enum http_verdict http_head_parse(struct http_head *head, const uint8_t *data, size_t bytes)
{
    size_t limit = bytes < HTTP_HEAD_BYTES_MAX ? bytes : HTTP_HEAD_BYTES_MAX;
    enum http_verdict verdict = HTTP_PARSE_MORE;
    while (verdict == HTTP_PARSE_MORE && head->scan_at < limit) {
        const uint8_t *feed = memchr(data + head->scan_at, '\n', limit - head->scan_at);
        if (feed == NULL) {
            head->scan_at = limit;
            break;
        }
        size_t feed_at = (size_t)(feed - data);
        verdict = parse_line(head, data, feed_at);
        head->line_at = feed_at + 1;
        head->scan_at = feed_at + 1;
    }
    if (verdict != HTTP_PARSE_MORE)
        return verdict;
    if (!head->has_request_line && limit > head->line_at) {
        /* A CR at the end may be the first half of a line end. */
        size_t tail = limit - head->line_at - (data[limit - 1] == '\r' ? 1 : 0);
        verdict = check_request_start(head, data + head->line_at, tail);
        if (verdict != HTTP_PARSE_MORE)
            return verdict;
    }
    if (limit == HTTP_HEAD_BYTES_MAX)
        return refuse(head, HTTP_PARSE_HEAD_TOO_LARGE, "request head too large");
    return HTTP_PARSE_MORE;
}

bool http_head_find(const struct http_head *head, const uint8_t *data, struct nx_str name,
                    struct nx_str *out_value)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (nx_str_eq_nocase(http_span_view(data, head->fields[i].name), name)) {
            *out_value = http_span_view(data, head->fields[i].value);
            return true;
        }
    }
    return false;
}

/* A chunked body:
 *
 *   SIZE_FIRST -hex-> SIZE -CR-> SIZE_LF -LF-> DATA -all-> DATA_CR -> DATA_LF -> SIZE_FIRST
 *                       ';'-> EXT -CR--^  \ size 0
 *                                          TRAILER_START -CR-> END_LF -LF-> done
 *                                            ^ -token-> TRAILER_NAME -':'-> TRAILER_VALUE -CR-> TRAILER_LF -> back
 */
enum chunk_state {
    CHUNK_SIZE_FIRST,
    CHUNK_SIZE,
    CHUNK_EXT,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_DONE,
    CHUNK_BAD,
};

#define CHUNK_DIGITS_MAX 15 /* 60 bits: no sum of them with a body's length overflows */

void http_chunked_init(struct http_chunked *chunked)
{
    *chunked = (struct http_chunked){.state = CHUNK_SIZE_FIRST};
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static enum chunk_state chunk_refuse(struct http_chunked *chunked, const char *why)
{
    chunked->why = why;
    return CHUNK_BAD;
}

static enum chunk_state chunk_size_byte(struct http_chunked *chunked, uint8_t c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++chunked->digits > CHUNK_DIGITS_MAX)
            return chunk_refuse(chunked, "chunk size too large");
        chunked->remaining_bytes = chunked->remaining_bytes << 4 | (unsigned)digit;
        return CHUNK_SIZE;
    }
    if (chunked->digits > 0 && c == '\r')
        return CHUNK_SIZE_LF;
    if (chunked->digits > 0 && c == ';')
        return CHUNK_EXT;
    return chunk_refuse(chunked, "malformed chunk size");
}

static enum chunk_state expect_byte(struct http_chunked *chunked, uint8_t c, uint8_t expected,
                                    enum chunk_state next)
{
    return c == expected ? next : chunk_refuse(chunked, "malformed chunk");
}

/* One byte that is not content. */
static enum chunk_state chunk_step(struct http_chunked *chunked, uint8_t c)
{
    switch ((enum chunk_state)chunked->state) {
    case CHUNK_SIZE_FIRST:
        chunked->digits = 0;
        chunked->remaining_bytes = 0;
        chunked->line_bytes = 0;
        return chunk_size_byte(chunked, c);
    case CHUNK_SIZE:
        return chunk_size_byte(chunked, c);
    case CHUNK_EXT:
        if (c == '\r')
            return CHUNK_SIZE_LF;
        if (!is_text_char(c) || ++chunked->line_bytes > HTTP_CHUNK_LINE_MAX ||
            ++chunked->waste_bytes > HTTP_CHUNK_WASTE_MAX)
            return chunk_refuse(chunked, "malformed chunk extension");
        return CHUNK_EXT;
    case CHUNK_SIZE_LF:
        return expect_byte(chunked, c, '\n',
                           chunked->remaining_bytes > 0 ? CHUNK_DATA : CHUNK_TRAILER_START);
    case CHUNK_DATA_CR:
        return expect_byte(chunked, c, '\r', CHUNK_DATA_LF);
    case CHUNK_DATA_LF:
        return expect_byte(chunked, c, '\n', CHUNK_SIZE_FIRST);
    case CHUNK_TRAILER_START:
        if (c == '\r')
            return CHUNK_END_LF;
        __attribute__((fallthrough));
    case CHUNK_TRAILER_NAME:
        if (c == ':' && chunked->state == CHUNK_TRAILER_NAME)
            return CHUNK_TRAILER_VALUE;
        if (!http_is_token_char(c) || ++chunked->waste_bytes > HTTP_CHUNK_WASTE_MAX)
            return chunk_refuse(chunked, "malformed trailer");
        return CHUNK_TRAILER_NAME;
    case CHUNK_TRAILER_VALUE:
        if (c == '\r')
            return CHUNK_TRAILER_LF;
        if (!is_text_char(c) || ++chunked->waste_bytes > HTTP_CHUNK_WASTE_MAX)
            return chunk_refuse(chunked, "malformed trailer");
        return CHUNK_TRAILER_VALUE;
    case CHUNK_TRAILER_LF:
        return expect_byte(chunked, c, '\n', CHUNK_TRAILER_START);
    case CHUNK_END_LF:
        return expect_byte(chunked, c, '\n', CHUNK_DONE);
    case CHUNK_DATA:
    case CHUNK_DONE:
    case CHUNK_BAD:
        break;
    }
    return CHUNK_BAD;
}

enum http_verdict http_chunked_parse(struct http_chunked *chunked, const uint8_t *data,
                                     size_t bytes, size_t *out_consumed,
                                     struct nx_bytes *out_content)
{
    *out_content = (struct nx_bytes){.data = data, .len = 0};
    size_t at = 0;
    while (at < bytes && chunked->state != CHUNK_DATA && chunked->state < CHUNK_DONE)
        chunked->state = (uint8_t)chunk_step(chunked, data[at++]);
    if (chunked->state == CHUNK_DATA && at < bytes) {
        uint64_t left = bytes - at;
        size_t take = (size_t)(left < chunked->remaining_bytes ? left : chunked->remaining_bytes);
        *out_content = (struct nx_bytes){.data = data + at, .len = take};
        at += take;
        chunked->remaining_bytes -= take;
        if (chunked->remaining_bytes == 0)
            chunked->state = CHUNK_DATA_CR;
    }
    *out_consumed = at;
    if (chunked->state == CHUNK_BAD)
        return HTTP_PARSE_BAD;
    return chunked->state == CHUNK_DONE ? HTTP_PARSE_DONE : HTTP_PARSE_MORE;
}
