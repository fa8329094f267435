/* SPDX-License-Identifier: Apache-2.0
 *
 * client.c - blocking sockets and just enough HTTP/1.1 to drive a remote-write endpoint.
 */
#include "client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

nx_code client_init(struct client *client, const char *url, struct nx_err *err)
{
    memset(client, 0, sizeof(*client));
    client->fd = -1;
    struct nx_str rest = nx_str_from(url), authority, host, port;
    if (!nx_str_starts_with(rest, NX_STR("http://")))
        return nx_err_set(err, NX_E_INVALID, "%s: only http:// URLs", url);
    rest.data += 7;
    rest.len -= 7;
    struct nx_str path = NX_STR("");
    nx_str_split(rest, '/', &authority, &path);
    if (!nx_str_split(authority, ':', &host, &port))
        port = NX_STR("80");
    if (host.len == 0 || host.len >= sizeof(client->host) || port.len >= sizeof(client->port) ||
        path.len + 2 > sizeof(client->path))
        return nx_err_set(err, NX_E_INVALID, "%s: not a URL that can be used", url);
    snprintf(client->host, sizeof(client->host), "%.*s", NX_STR_ARGS(host));
    snprintf(client->port, sizeof(client->port), "%.*s", NX_STR_ARGS(port));
    snprintf(client->path, sizeof(client->path), "/%.*s", NX_STR_ARGS(path));
    return NX_OK;
}

void client_deinit(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

static nx_code connect_once(struct client *client, struct nx_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int status = getaddrinfo(client->host, client->port, &hints, &list);
    if (status != 0)
        return nx_err_set(err, NX_E_IO, "%s: %s", client->host, gai_strerror(status));
    for (struct addrinfo *a = list; a != NULL && client->fd < 0; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
            client->fd = fd;
        else if (fd >= 0)
            close(fd);
    }
    int saved = errno;
    freeaddrinfo(list);
    if (client->fd < 0)
        return nx_err_sys(err, saved, "connect %s:%s", client->host, client->port);
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return NX_OK;
}

static nx_code send_all(struct client *client, struct iovec *parts, int count, struct nx_err *err)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return nx_err_sys(err, errno, "send");
        size_t sent = (size_t)n;
        while (count > 0 && sent >= parts->iov_len) {
            sent -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= sent;
        }
    }
    return NX_OK;
}

/* Reads until the answer's head and its Content-Length are complete. Answers to writes are short. */
static nx_code read_answer(struct client *client, unsigned *out_status, char *out_text,
                           size_t text_bytes, bool *out_close, struct nx_err *err)
{
    size_t have = 0, head = 0, length = 0;
    char *input = (char *)client->input;
    while (head == 0 || have < head + length) {
        if (have == sizeof(client->input) - 1)
            return nx_err_set(err, NX_E_LIMIT, "an answer of more than %zu bytes",
                              sizeof(client->input));
        ssize_t n = recv(client->fd, input + have, sizeof(client->input) - 1 - have, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return nx_err_set(err, NX_E_IO, "the server closed the connection");
        have += (size_t)n;
        input[have] = '\0';
        char *end = head == 0 ? strstr(input, "\r\n\r\n") : NULL;
        if (end != NULL) {
            head = (size_t)(end - input) + 4;
            const char *field = strcasestr(input, "\r\ncontent-length:");
            length = field != NULL && field < end ? strtoul(field + 17, NULL, 10) : 0;
            *out_close = strcasestr(input, "\r\nconnection: close") != NULL;
        }
    }
    if (strncmp(input, "HTTP/1.", 7) != 0)
        return nx_err_set(err, NX_E_INVALID, "not an HTTP answer");
    *out_status = (unsigned)strtoul(input + 9, NULL, 10);
    snprintf(out_text, text_bytes, "%.*s", (int)length, input + head);
    return NX_OK;
}

nx_code client_write(struct client *client, struct nx_bytes body, unsigned *out_status,
                     char *out_text, size_t text_bytes, struct nx_err *err)
{
    char head[1024];
    bool is_closing = false;
    if (client->fd < 0 && connect_once(client, err) != NX_OK)
        return err->code;
    int head_bytes = snprintf(
        head, sizeof(head),
        "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Encoding: snappy\r\n"
        "Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
        "User-Agent: narthex-load\r\nContent-Length: %zu\r\n\r\n",
        client->path, client->host, client->port, body.len);
    struct iovec parts[2] = {{head, (size_t)head_bytes}, {(void *)(uintptr_t)body.data, body.len}};
    nx_code code = send_all(client, parts, 2, err);
    if (code == NX_OK)
        code = read_answer(client, out_status, out_text, text_bytes, &is_closing, err);
    if (code != NX_OK || is_closing)
        client_deinit(client);
    return code;
}
