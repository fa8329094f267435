/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_router.c - which route a request belongs to, and what is said when none is. */
#include "narthex/base/assert.h"
#include "narthex/http/http_router.h"

#include "http_support.h"

#include <stdint.h>
#include <string.h>

static void no_handler(void *context, struct http_request *request)
{
    (void)context;
    (void)request;
}

static nx_code add(struct http_router *router, const char *method, const char *path)
{
    struct nx_err err;
    struct http_route route = {.method = method, .path = path, .handler = no_handler};
    return http_router_add(router, &route, &err);
}

static struct http_router *sample_router(void)
{
    struct http_router *router = http_router_new();
    assert_int_equal(add(router, "GET", "/"), NX_OK);
    assert_int_equal(add(router, "GET", "/api/v1/query"), NX_OK);
    assert_int_equal(add(router, "POST", "/api/v1/query"), NX_OK);
    assert_int_equal(add(router, "POST", "/api/v1/write"), NX_OK);
    assert_int_equal(add(router, "GET", "/api/v1/label/{name}/values"), NX_OK);
    assert_int_equal(add(router, "GET", "/files/{file}"), NX_OK);
    assert_int_equal(add(router, "GET", "/files/index"), NX_OK);
    assert_int_equal(add(router, "OPTIONS", "/own"), NX_OK);
    return router;
}

static void test_requests_find_their_route(void **state)
{
    (void)state;
    struct http_router *router = sample_router();
    static const struct {
        const char *method, *path;
        enum http_match match;
        const char *route_path, *param;
    } rows[] = {
        {"GET", "/", HTTP_MATCH_FOUND, "/", ""},
        {"GET", "/api/v1/query", HTTP_MATCH_FOUND, "/api/v1/query", ""},
        {"HEAD", "/api/v1/query", HTTP_MATCH_FOUND, "/api/v1/query", ""},
        {"POST", "/api/v1/query", HTTP_MATCH_FOUND, "/api/v1/query", ""},
        {"GET", "/api/v1/%71uery", HTTP_MATCH_FOUND, "/api/v1/query", ""},
        {"GET", "/api/v1/label/job/values", HTTP_MATCH_FOUND, "/api/v1/label/{name}/values", "job"},
        {"GET", "/api/v1/label/a%2Fb/values", HTTP_MATCH_FOUND, "/api/v1/label/{name}/values",
         "a%2Fb"},
        {"GET", "/files/a", HTTP_MATCH_FOUND, "/files/{file}", "a"},
        {"GET", "/files/index", HTTP_MATCH_FOUND, "/files/index", ""},
        {"OPTIONS", "/own", HTTP_MATCH_FOUND, "/own", ""},
        {"OPTIONS", "/api/v1/query", HTTP_MATCH_OPTIONS, NULL, NULL},
        {"OPTIONS", "*", HTTP_MATCH_OPTIONS, NULL, NULL},
        {"OPTIONS", "/none", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"DELETE", "/api/v1/query", HTTP_MATCH_NO_METHOD, NULL, NULL},
        {"HEAD", "/api/v1/write", HTTP_MATCH_NO_METHOD, NULL, NULL},
        {"get", "/api/v1/query", HTTP_MATCH_NO_METHOD, NULL, NULL},
        {"GET", "/api/v1/Query", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api/v1/query/", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api/v1/quer", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api/v1/queryx", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api%2Fv1/query", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api/v1/label//values", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api/v1/label/a/b/values", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/api/v1/label/a/value", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/files/", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "//", HTTP_MATCH_NO_PATH, NULL, NULL},
        {"GET", "/files/%", HTTP_MATCH_BAD_PATH, NULL, NULL},
        {"GET", "/files/%4", HTTP_MATCH_BAD_PATH, NULL, NULL},
        {"GET", "/files/%zz", HTTP_MATCH_BAD_PATH, NULL, NULL},
        {"GET", "/files/a%00b", HTTP_MATCH_BAD_PATH, NULL, NULL},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        const struct http_route *route = NULL;
        struct nx_str param;
        enum http_match match = http_router_match(router, nx_str_from(rows[i].method),
                                                  nx_str_from(rows[i].path), &route, &param);
        if (match != rows[i].match)
            fail_msg("%s %s: match %d", rows[i].method, rows[i].path, (int)match);
        if (match != HTTP_MATCH_FOUND)
            continue;
        assert_string_equal(route->path, rows[i].route_path);
        assert_true(nx_str_eq(param, nx_str_from(rows[i].param)));
    }
    http_router_free(router);
}

static void test_allow_lists_what_a_path_takes(void **state)
{
    (void)state;
    struct http_router *router = sample_router();
    static const struct {
        const char *path, *allow;
    } rows[] = {
        {"/api/v1/query", "GET, POST, HEAD, OPTIONS"},
        {"/api/v1/write", "POST, OPTIONS"},
        {"/files/index", "GET, HEAD, OPTIONS"},
        {"/own", "OPTIONS"},
        {"*", "GET, POST, OPTIONS, HEAD"},
    };
    for (size_t i = 0; i < NX_ARRAY_LEN(rows); i++) {
        struct nx_buf allow = {0};
        http_router_allow(router, nx_str_from(rows[i].path), &allow);
        nx_buf_append_byte(&allow, '\0');
        assert_string_equal((const char *)allow.data, rows[i].allow);
        nx_buf_deinit(&allow);
    }
    http_router_free(router);
}

static void test_malformed_and_repeated_routes_are_refused(void **state)
{
    (void)state;
    struct http_router *router = sample_router();
    assert_int_equal(add(router, "GET", ""), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "api"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/a{b}"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/{b}c"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/{}"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/{a"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/a}"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/{a}/{b}"), NX_E_INVALID);
    assert_int_equal(add(router, "GET", "/api/v1/query"), NX_E_EXISTS);
    assert_int_equal(add(router, "GET", "/api/v1/label/{other}/values"), NX_E_EXISTS);
    assert_int_equal(add(router, "PUT", "/api/v1/query"), NX_OK);
    http_router_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_find_their_route),
        cmocka_unit_test(test_allow_lists_what_a_path_takes),
        cmocka_unit_test(test_malformed_and_repeated_routes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
