/* SPDX-License-Identifier: Apache-2.0 */
/* bench_http.c - what the transport costs the server per request.
 *
 *   bench_http [connections] [seconds]     16 connections, 2 seconds a row
 *
 * A child process is the client: each connection sends a request, waits for its answer, sends the next. The server's
 * CPU time is this process' user and system time, over the requests of the row; the client's is not in it. Rows: a
 * request without a body, bodies of 37, 131, 164 and 640 KB answered 204 on the transport thread, the same 131 KB
 * answered by a worker, and in chunks; a whole and a streamed answer of 4 MB with MB/s of server CPU.
 */
#include "narthex/base/assert.h"
#include "narthex/base/buf.h"
#include "narthex/base/clock.h"
#include "narthex/base/mem.h"
#include "narthex/base/thread.h"
#include "narthex/http/http_response.h"
#include "narthex/http/http_router.h"
#include "narthex/http/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_BYTES (4 * 1000 * 1000)

struct row {
    const char *name;
    const char *path;
    size_t body_bytes;
    bool is_chunked;
    bool is_long_answer;
};

static const struct row rows[] = {
    {"GET, no body", "/get", 0, false, false},
    {"POST 37 KB", "/post", 37000, false, false},
    {"POST 131 KB", "/post", 131000, false, false},
    {"POST 164 KB", "/post", 164000, false, false},
    {"POST 640 KB", "/post", 640000, false, false},
    {"POST 131 KB, worker", "/worker", 131000, false, false},
    {"POST 131 KB, chunked", "/post", 131000, true, false},
    {"GET 4 MB, whole", "/whole", 0, false, true},
    {"GET 4 MB, streamed", "/stream", 0, false, true},
};

/* ---- server ---- */

static struct worker_pool *pool;
static uint8_t *content;

static void answer_nothing(void *argument)
{
    http_respond(argument, 204, NULL, NULL);
}

static void handle_nothing(void *context, struct http_request *request)
{
    (void)context;
    answer_nothing(request);
}

static void submit(work_fn work, struct http_request *request)
{
    if (!worker_pool_try_submit(pool, work, request))
        http_respond_text(request, 503, "busy");
}

static void handle_worker(void *context, struct http_request *request)
{
    (void)context;
    submit(answer_nothing, request);
}

static void answer_whole(void *argument)
{
    struct nx_buf body = {0};
    nx_buf_append(&body, content, ANSWER_BYTES);
    http_respond(argument, 200, NULL, &body);
}

static void handle_whole(void *context, struct http_request *request)
{
    (void)context;
    submit(answer_whole, request);
}

static void answer_stream(void *argument)
{
    http_respond_begin(argument, 200, NULL);
    for (size_t at = 0; at < ANSWER_BYTES; at += 1000)
        nx_ignore(
            http_respond_write(argument, (struct nx_bytes){.data = content + at, .len = 1000}));
    http_respond_end(argument);
}

static void handle_stream(void *context, struct http_request *request)
{
    (void)context;
    submit(answer_stream, request);
}

static struct http_router *make_router(void)
{
    static const struct http_route routes[] = {
        {.method = "GET", .path = "/get", .handler = handle_nothing},
        {.method = "POST", .path = "/post", .handler = handle_nothing},
        {.method = "POST", .path = "/worker", .handler = handle_worker},
        {.method = "GET", .path = "/whole", .handler = handle_whole},
        {.method = "GET", .path = "/stream", .handler = handle_stream},
    };
    struct http_router *router = http_router_new();
    struct nx_err err;
    for (size_t i = 0; i < NX_ARRAY_LEN(routes); i++) {
        nx_code code = http_router_add(router, &routes[i], &err);
        NX_ASSERT(code == NX_OK);
    }
    return router;
}

/* ---- client ---- */

struct client {
    int fd;
    size_t sent_bytes;
    size_t answer_bytes; /* received */
};

static struct nx_buf make_request(const struct row *row)
{
    struct nx_buf request = {0};
    nx_buf_printf(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n",
                  row->body_bytes > 0 ? "POST" : "GET", row->path);
    if (row->body_bytes == 0) {
        nx_buf_append_cstr(&request, "\r\n");
        return request;
    }
    nx_buf_append_cstr(&request,
                       "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n");
    if (row->is_chunked)
        nx_buf_printf(&request, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", row->body_bytes);
    else
        nx_buf_printf(&request, "Content-Length: %zu\r\n\r\n", row->body_bytes);
    memset(nx_buf_extend(&request, row->body_bytes), 'x', row->body_bytes);
    if (row->is_chunked)
        nx_buf_append_cstr(&request, "\r\n0\r\n\r\n");
    return request;
}

static int connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int one = 1;
    bool is_open = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                   setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0;
    NX_ASSERT(is_open);
    return fd;
}

/* True at the end of an answer: of a short one its head, of a long one its last bytes. */
static bool is_answered(const struct client *client, const struct row *row, const char *tail,
                        size_t tail_bytes)
{
    if (!row->is_long_answer)
        return tail_bytes >= 4 && memcmp(tail + tail_bytes - 4, "\r\n\r\n", 4) == 0;
    bool is_whole = strcmp(row->path, "/whole") == 0;
    if (client->answer_bytes <= ANSWER_BYTES)
        return false;
    /* The content is all 'x': it ends the whole answer, a last chunk the streamed one. */
    return is_whole ? client->answer_bytes > ANSWER_BYTES + 64 : tail[tail_bytes - 1] == '\n';
}

/* Moves one connection as far as it goes; returns the answers completed. */
static unsigned run_client(struct client *client, const struct row *row,
                           const struct nx_buf *request, short ready)
{
    static char piece[1024 * 1024];
    if ((ready & POLLOUT) != 0 && client->sent_bytes < request->len) {
        ssize_t sent = send(client->fd, request->data + client->sent_bytes,
                            request->len - client->sent_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        NX_ASSERT(sent > 0 || errno == EAGAIN);
        client->sent_bytes += sent > 0 ? (size_t)sent : 0;
    }
    if ((ready & POLLIN) == 0)
        return 0;
    ssize_t got = recv(client->fd, piece, sizeof(piece), MSG_DONTWAIT);
    NX_ASSERT(got > 0);
    client->answer_bytes += (size_t)got;
    if (!is_answered(client, row, piece, (size_t)got))
        return 0;
    client->sent_bytes = 0;
    client->answer_bytes = 0;
    return 1;
}

static uint64_t run_clients(const struct row *row, uint16_t port, unsigned connections,
                            double seconds)
{
    struct nx_buf request = make_request(row);
    struct client *clients = nx_calloc(connections, sizeof(*clients));
    struct pollfd *polls = nx_calloc(connections, sizeof(*polls));
    for (unsigned i = 0; i < connections; i++)
        clients[i].fd = polls[i].fd = connect_to(port);
    uint64_t answers = 0;
    uint64_t until_ns = clock_mono_ns(clock_real()) + (uint64_t)(seconds * 1e9);
    while (clock_mono_ns(clock_real()) < until_ns) {
        for (unsigned i = 0; i < connections; i++)
            polls[i].events = clients[i].sent_bytes < request.len ? POLLIN | POLLOUT : POLLIN;
        int ready = poll(polls, connections, 1000);
        NX_ASSERT(ready > 0);
        for (unsigned i = 0; i < connections; i++)
            answers += run_client(&clients[i], row, &request, polls[i].revents);
    }
    for (unsigned i = 0; i < connections; i++)
        (void)close(clients[i].fd);
    nx_free(clients);
    nx_free(polls);
    nx_buf_deinit(&request);
    return answers;
}

/* ---- measurement ---- */

static double cpu_seconds(void)
{
    struct rusage usage;
    int failed = getrusage(RUSAGE_SELF, &usage);
    NX_ASSERT(failed == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run_row(const struct row *row, const struct http_router *router, unsigned connections,
                    double seconds)
{
    struct http_server_options options;
    http_server_options_init(&options);
    struct http_server *server = NULL;
    struct nx_err err;
    int ends[2];
    bool is_ready = http_server_new(&server, &options, router, &err) == NX_OK &&
                    http_server_listen(server, "127.0.0.1:0", &err) == NX_OK && pipe(ends) == 0;
    NX_ASSERT(is_ready);
    (void)fflush(stdout);
    pid_t child = fork(); /* before there are threads */
    NX_ASSERT(child >= 0);
    if (child == 0) {
        uint64_t answers = run_clients(row, http_server_port(server, 0), connections, seconds);
        ssize_t written = write(ends[1], &answers, sizeof(answers));
        _exit(written == (ssize_t)sizeof(answers) ? 0 : 1);
    }
    double before = cpu_seconds();
    is_ready = worker_pool_new(&pool, "answer", thread_cpu_count(), 4096, &err) == NX_OK &&
               http_server_start(server, &err) == NX_OK;
    NX_ASSERT(is_ready);
    uint64_t answers = 0;
    bool is_told = read(ends[0], &answers, sizeof(answers)) == (ssize_t)sizeof(answers);
    NX_ASSERT(is_told && answers > 0);
    double cpu = cpu_seconds() - before;
    int status;
    (void)waitpid(child, &status, 0);
    http_server_free(server);
    worker_pool_free(pool);
    (void)close(ends[0]);
    (void)close(ends[1]);
    double per_answer = cpu / (double)answers;
    double bytes = (double)(row->is_long_answer ? ANSWER_BYTES : row->body_bytes);
    printf("%-22s %10llu answers %9.1f us CPU each %9.0f MB per CPU second\n", row->name,
           (unsigned long long)answers, per_answer * 1e6, bytes / per_answer / 1e6);
}

int main(int argc, char **argv)
{
    unsigned connections = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 16;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;
    struct utsname machine;
    if (connections == 0 || seconds <= 0 || uname(&machine) != 0) {
        (void)fprintf(stderr, "usage: bench_http [connections] [seconds]\n");
        return 2;
    }
    content = nx_alloc(ANSWER_BYTES);
    memset(content, 'x', ANSWER_BYTES);
    struct http_router *router = make_router();
    printf("%s %s, %u processors, %u connections, %.1f s a row\n", machine.sysname, machine.machine,
           thread_cpu_count(), connections, seconds);
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++)
        run_row(&rows[i], router, connections, seconds);
    http_router_free(router);
    nx_free(content);
    return 0;
}
