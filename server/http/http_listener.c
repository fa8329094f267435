/* SPDX-License-Identifier: Apache-2.0 */
/* http_listener.c - addresses to listening sockets, and connections from them.
 *
 * Out of descriptors  accept fails at once and again: the listeners rest for ACCEPT_REST_MS instead of spinning, and
 *                     the clients wait in the backlog.
 */
#include "narthex/base/assert.h"
#include "narthex/base/log.h"
#include "narthex/base/mem.h"
#include "narthex/base/metrics.h"

#include "http_server_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG  1024
#define ACCEPT_TURN_MAX 64  /* connections accepted before the others get their turn */
#define ACCEPT_REST_MS  100 /* after running out of descriptors */
#define TURNED_AWAY_MAX 64  /* connections above the limit that are told so at a time */
#define HOST_BYTES_MAX  255
#define PORT_BYTES_MAX  5

struct listen_address {
    char host[HOST_BYTES_MAX + 1]; /* empty: every address */
    char port[PORT_BYTES_MAX + 1];
};

static nx_code split_address(const char *address, struct listen_address *out, struct nx_err *err)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return nx_err_set(err, NX_E_INVALID, "listen address \"%s\": host:port is missing its port",
                          address);
    struct nx_str host = {.data = address, .len = (size_t)(colon - address)};
    struct nx_str port = nx_str_from(colon + 1);
    bool is_bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (is_bracketed)
        host = (struct nx_str){.data = host.data + 1, .len = host.len - 2};
    else if (host.len > 0 && memchr(host.data, ':', host.len) != NULL)
        return nx_err_set(err, NX_E_INVALID, "listen address \"%s\": write IPv6 as [address]:port",
                          address);
    uint64_t number;
    if (!nx_str_to_u64(port, &number) || number > 65535 || port.len > PORT_BYTES_MAX)
        return nx_err_set(err, NX_E_INVALID, "listen address \"%s\": port is not 0 to 65535",
                          address);
    if (host.len > HOST_BYTES_MAX)
        return nx_err_set(err, NX_E_INVALID, "listen address: host too long");
    (void)snprintf(out->host, sizeof(out->host), "%.*s", NX_STR_ARGS(host));
    (void)snprintf(out->port, sizeof(out->port), "%.*s", NX_STR_ARGS(port));
    return NX_OK;
}

/* The listener's socket for one address; -1 with errno set. */
static int open_socket(const struct addrinfo *info, bool is_any)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    int one = 1;
    int v6_only = is_any ? 0 : 1;
    bool is_open = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0;
    if (is_open && info->ai_family == AF_INET6)
        is_open = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) == 0;
    is_open = is_open && bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
              listen(fd, LISTEN_BACKLOG) == 0;
    if (is_open)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static const struct addrinfo *find_family(const struct addrinfo *list, int family)
{
    while (list != NULL && list->ai_family != family)
        list = list->ai_next;
    return list;
}

/* One socket: for a name its IPv4 address if it has one, for every address IPv6 with IPv4 in it. */
static int open_first(const struct addrinfo *list, bool is_any)
{
    int preferred = is_any ? AF_INET6 : AF_INET;
    int other = is_any ? AF_INET : AF_INET6;
    const struct addrinfo *info = find_family(list, preferred);
    int fd = -1;
    errno = EAFNOSUPPORT;
    if (info != NULL)
        fd = open_socket(info, is_any);
    info = find_family(list, other);
    bool is_unusable = errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL; /* a kernel without IPv6 */
    if (fd < 0 && info != NULL && is_unusable)
        fd = open_socket(info, is_any);
    return fd;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    int failed = getsockname(fd, (struct sockaddr *)&address, &bytes);
    NX_ASSERT(failed == 0);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

nx_code http_server_listen(struct http_server *server, const char *address, struct nx_err *err)
{
    NX_ASSERT(!server->thread.is_running);
    if (server->listener_count == HTTP_LISTENERS_MAX)
        return nx_err_set(err, NX_E_LIMIT, "more than %d listen addresses", HTTP_LISTENERS_MAX);
    struct listen_address parts;
    nx_code code = split_address(address, &parts, err);
    if (code != NX_OK)
        return code;
    bool is_any = parts.host[0] == '\0';
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(is_any ? NULL : parts.host, parts.port, &hints, &list);
    if (failed != 0)
        return nx_err_set(err, NX_E_INVALID, "listen address \"%s\": %s", address,
                          gai_strerror(failed));
    int fd = open_first(list, is_any);
    int error = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return nx_err_sys(err, error, "listen on %s", address);
    struct http_listener *listener = &server->listeners[server->listener_count++];
    *listener = (struct http_listener){.fd = fd, .port = bound_port(fd), .server = server};
    return NX_OK;
}

uint16_t http_server_port(const struct http_server *server, size_t listener)
{
    NX_ASSERT(listener < server->listener_count);
    return server->listeners[listener].port;
}

void http_listener_peer_text(const struct sockaddr_storage *address, char out[HTTP_PEER_TEXT_BYTES])
{
    char text[INET6_ADDRSTRLEN] = "?";
    unsigned port;
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        port = ntohs(v6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
            (void)inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, sizeof(text));
            (void)snprintf(out, HTTP_PEER_TEXT_BYTES, "%s:%u", text, port);
            return;
        }
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
        (void)snprintf(out, HTTP_PEER_TEXT_BYTES, "[%s]:%u", text, port);
        return;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    port = ntohs(v4->sin_port);
    (void)inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    (void)snprintf(out, HTTP_PEER_TEXT_BYTES, "%s:%u", text, port);
}

static void add_connection(struct http_server *server, int fd,
                           const struct sockaddr_storage *address)
{
    unsigned max = server->options.connections_max;
    bool is_above = server->connection_count >= max;
    if (is_above && server->connection_count - max >= TURNED_AWAY_MAX) {
        metrics_add_at(METRIC_HTTP_REFUSED, HTTP_REFUSAL_CONNECTIONS, 1);
        (void)close(fd);
        return;
    }
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    char peer[HTTP_PEER_TEXT_BYTES];
    http_listener_peer_text(address, peer);
    struct http_connection *connection = http_connection_new(server, fd, peer);
    if (connection == NULL) {
        metrics_add_at(METRIC_HTTP_REFUSED, HTTP_REFUSAL_OVERLOAD, 1);
        return;
    }
    connection->next = server->connections;
    if (server->connections != NULL)
        server->connections->previous = connection;
    server->connections = connection;
    server->connection_count++;
    metrics_set(METRIC_HTTP_CONNECTIONS, server->connection_count);
    if (is_above)
        http_connection_turn_away(connection);
}

static void stop_listening(struct http_server *server)
{
    if (!server->is_listening)
        return;
    server->is_listening = false;
    for (size_t i = 0; i < server->listener_count; i++)
        (void)event_del(&server->listeners[i].event);
}

static void begin_listening(struct http_server *server)
{
    server->is_listening = true;
    for (size_t i = 0; i < server->listener_count; i++) {
        int failed = event_add(&server->listeners[i].event, NULL);
        NX_ASSERT(failed == 0);
    }
}

static void rest(struct http_server *server, int error)
{
    log_debug("http", "cannot accept", LOG_INT("errno", error));
    metrics_add_at(METRIC_HTTP_REFUSED, HTTP_REFUSAL_OVERLOAD, 1);
    stop_listening(server);
    struct timeval wait = {.tv_usec = ACCEPT_REST_MS * 1000};
    int failed = event_add(&server->listen_again, &wait);
    NX_ASSERT(failed == 0);
}

static void on_rested(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct http_server *server = argument;
    http_server_tick(server);
    begin_listening(server);
    http_server_settle(server);
}

/* Worth another accept at once: the failure was that one connection's. */
static bool is_passing(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == ENETUNREACH || error == EHOSTUNREACH || error == EHOSTDOWN;
}

static void on_accept(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct http_listener *listener = argument;
    struct http_server *server = listener->server;
    http_server_tick(server);
    for (int turn = 0; turn < ACCEPT_TURN_MAX; turn++) {
        struct sockaddr_storage address = {0};
        socklen_t bytes = sizeof(address);
        int client = accept4(fd, (struct sockaddr *)&address, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0) {
            add_connection(server, client, &address);
            continue;
        }
        if (errno == EAGAIN)
            break;
        if (!is_passing(errno)) {
            rest(server, errno);
            break;
        }
    }
    http_server_settle(server);
}

void http_listeners_start(struct http_server *server)
{
    int failed =
        event_assign(&server->listen_again, server->base, -1, EV_TIMEOUT, on_rested, server);
    for (size_t i = 0; i < server->listener_count; i++) {
        struct http_listener *listener = &server->listeners[i];
        failed |= event_assign(&listener->event, server->base, listener->fd, EV_READ | EV_PERSIST,
                               on_accept, listener);
    }
    NX_ASSERT(failed == 0);
    begin_listening(server);
}

void http_listeners_close(struct http_server *server)
{
    bool was_started = event_initialized(&server->listen_again) != 0;
    stop_listening(server);
    if (was_started)
        (void)event_del(&server->listen_again);
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].fd < 0)
            continue;
        (void)close(server->listeners[i].fd);
        server->listeners[i].fd = -1;
    }
}
