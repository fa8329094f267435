/* SPDX-License-Identifier: Apache-2.0 */
/* http_router.c - a table of routes, searched in order.
 *
 * Some thirty routes: comparing them one after another costs less than a microsecond, and a table needs no explaining.
 */
#include "narthex/http/http_router.h"

#include "narthex/base/mem.h"
#include "narthex/http/http_query.h"

#include <stdbool.h>
#include <string.h>

struct router_entry {
    struct http_route route;
    struct nx_str method; /* view of route.method */
    struct nx_str prefix; /* the path up to '{', or all of it */
    struct nx_str suffix; /* behind '}' */
    bool has_param;
};

struct http_router {
    struct router_entry *entries;
    size_t count;
};

struct http_router *http_router_new(void)
{
    return nx_calloc(1, sizeof(struct http_router));
}

void http_router_free(struct http_router *router)
{
    if (router == NULL)
        return;
    nx_free(router->entries);
    nx_free(router);
}

/* Splits a path at its {name}. False when a parameter is there that is not one whole segment. */
static bool split_path(struct nx_str path, struct router_entry *entry)
{
    if (path.len == 0 || path.data[0] != '/')
        return false;
    struct nx_str rest;
    entry->has_param = nx_str_split(path, '{', &entry->prefix, &rest);
    if (!entry->has_param)
        return memchr(path.data, '}', path.len) == NULL;
    struct nx_str name;
    if (!nx_str_split(rest, '}', &name, &entry->suffix) || name.len == 0)
        return false;
    if (entry->suffix.len > 0 && memchr(entry->suffix.data, '{', entry->suffix.len) != NULL)
        return false;
    bool begins_segment = entry->prefix.data[entry->prefix.len - 1] == '/';
    bool ends_segment = entry->suffix.len == 0 || entry->suffix.data[0] == '/';
    return begins_segment && ends_segment;
}

/* Same paths as far as requests can tell: a parameter's name does not matter. */
static bool is_same_path(const struct router_entry *a, const struct router_entry *b)
{
    return a->has_param == b->has_param && nx_str_eq(a->prefix, b->prefix) &&
           nx_str_eq(a->suffix, b->suffix);
}

nx_code http_router_add(struct http_router *router, const struct http_route *route,
                        struct nx_err *err)
{
    struct router_entry entry = {.route = *route, .method = nx_str_from(route->method)};
    if (!split_path(nx_str_from(route->path), &entry))
        return nx_err_set(err, NX_E_INVALID, "route path %s: one {name} as a whole segment at most",
                          route->path);
    for (size_t i = 0; i < router->count; i++) {
        if (nx_str_eq(router->entries[i].method, entry.method) &&
            is_same_path(&router->entries[i], &entry))
            return nx_err_set(err, NX_E_EXISTS, "route %s %s exists", route->method, route->path);
    }
    router->entries = nx_realloc_array(router->entries, router->count + 1, sizeof(entry));
    router->entries[router->count++] = entry;
    return NX_OK;
}

static bool has_broken_escape(struct nx_str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.data[i] != '%')
            continue;
        char decoded[3];
        size_t decoded_bytes;
        struct nx_str escape = {.data = path.data + i, .len = path.len - i < 3 ? path.len - i : 3};
        if (!http_percent_decode(escape, false, decoded, &decoded_bytes) || decoded[0] == '\0')
            return true;
        i += 2;
    }
    return false;
}

/* Bytes of `path` that `literal` stands for at its start, or SIZE_MAX. An escaped slash is no separator. */
static size_t match_literal(struct nx_str path, struct nx_str literal)
{
    size_t at = 0;
    for (size_t i = 0; i < literal.len; i++) {
        if (at >= path.len)
            return SIZE_MAX;
        char c = path.data[at];
        size_t step = 1;
        if (c == '%') {
            char decoded[3];
            size_t decoded_bytes;
            struct nx_str escape = {.data = path.data + at, .len = 3};
            if (path.len - at < 3 || !http_percent_decode(escape, false, decoded, &decoded_bytes))
                return SIZE_MAX;
            c = decoded[0] == '/' ? '\0' : decoded[0];
            step = 3;
        }
        if (c != literal.data[i])
            return SIZE_MAX;
        at += step;
    }
    return at;
}

static bool match_entry(const struct router_entry *entry, struct nx_str path,
                        struct nx_str *out_param)
{
    size_t at = match_literal(path, entry->prefix);
    if (at == SIZE_MAX)
        return false;
    struct nx_str param = {.data = path.data + at, .len = 0};
    if (entry->has_param) {
        while (at + param.len < path.len && param.data[param.len] != '/')
            param.len++;
        if (param.len == 0)
            return false;
        at += param.len;
        struct nx_str rest = {.data = path.data + at, .len = path.len - at};
        size_t suffix_bytes = match_literal(rest, entry->suffix);
        if (suffix_bytes == SIZE_MAX)
            return false;
        at += suffix_bytes;
    }
    *out_param = param;
    return at == path.len;
}

/* The entry for a method and a path; a literal path before one with a parameter. *out_path_exists is set when the path
 * has a route of any method. */
static const struct router_entry *find_entry(const struct http_router *router, struct nx_str method,
                                             struct nx_str path, bool *out_path_exists,
                                             struct nx_str *out_param)
{
    const struct router_entry *found = NULL;
    for (size_t i = 0; i < router->count; i++) {
        const struct router_entry *entry = &router->entries[i];
        struct nx_str param;
        if (!match_entry(entry, path, &param))
            continue;
        *out_path_exists = true;
        if (!nx_str_eq(entry->method, method))
            continue;
        if (found == NULL || found->has_param) {
            found = entry;
            *out_param = param;
        }
    }
    return found;
}

enum http_match http_router_match(const struct http_router *router, struct nx_str method,
                                  struct nx_str path, const struct http_route **out_route,
                                  struct nx_str *out_param)
{
    bool is_options = nx_str_eq(method, NX_STR("OPTIONS"));
    if (is_options && nx_str_eq(path, NX_STR("*")))
        return HTTP_MATCH_OPTIONS;
    if (has_broken_escape(path))
        return HTTP_MATCH_BAD_PATH;
    bool path_exists = false;
    struct nx_str param;
    const struct router_entry *found = find_entry(router, method, path, &path_exists, &param);
    if (found == NULL && path_exists && nx_str_eq(method, NX_STR("HEAD")))
        found = find_entry(router, NX_STR("GET"), path, &path_exists, &param);
    if (found != NULL) {
        *out_route = &found->route;
        *out_param = param;
        return HTTP_MATCH_FOUND;
    }
    if (!path_exists)
        return HTTP_MATCH_NO_PATH;
    return is_options ? HTTP_MATCH_OPTIONS : HTTP_MATCH_NO_METHOD;
}

static void append_method(struct nx_buf *out, size_t start, struct nx_str method)
{
    if (out->len > start)
        nx_buf_append_str(out, NX_STR(", "));
    nx_buf_append_str(out, method);
}

/* True when an entry before `end` answers the same method for this path. */
static bool is_method_listed(const struct http_router *router, size_t end, struct nx_str path,
                             struct nx_str method)
{
    bool is_any_path = nx_str_eq(path, NX_STR("*"));
    struct nx_str param;
    for (size_t i = 0; i < end; i++) {
        const struct router_entry *entry = &router->entries[i];
        if (nx_str_eq(entry->method, method) && (is_any_path || match_entry(entry, path, &param)))
            return true;
    }
    return false;
}

void http_router_allow(const struct http_router *router, struct nx_str path, struct nx_buf *out)
{
    bool is_any_path = nx_str_eq(path, NX_STR("*"));
    size_t start = out->len;
    for (size_t i = 0; i < router->count; i++) {
        const struct router_entry *entry = &router->entries[i];
        struct nx_str param;
        if (!is_any_path && !match_entry(entry, path, &param))
            continue;
        if (!is_method_listed(router, i, path, entry->method))
            append_method(out, start, entry->method);
    }
    if (is_method_listed(router, router->count, path, NX_STR("GET")) &&
        !is_method_listed(router, router->count, path, NX_STR("HEAD")))
        append_method(out, start, NX_STR("HEAD"));
    if (!is_method_listed(router, router->count, path, NX_STR("OPTIONS")))
        append_method(out, start, NX_STR("OPTIONS"));
}
