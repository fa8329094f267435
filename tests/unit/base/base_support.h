/* base_support.h - what the tests of base share: cmocka in the order that it needs, and scratch directories. */
#pragma once

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "narthex/base/buf.h"
#include "narthex/base/str.h"

#include <stdio.h>

#define TEST_PATH_SIZE 512

/* A new empty directory; test_dir_remove takes it away with all that is in it. */
void test_dir_make(char out_path[TEST_PATH_SIZE]);
void test_dir_remove(const char *path);
void test_path(char out_path[TEST_PATH_SIZE], const char *dir, const char *name);

void test_assert_str(struct nx_str actual, const char *expected);

/* Runs `body` in a child process and returns its wait status; what it writes to stderr goes to `out_stderr` (may be
 * NULL). For what ends the process. */
int test_in_child(void (*body)(void *), void *argument, struct nx_buf *out_stderr);
