/* SPDX-License-Identifier: Apache-2.0 */
/* test_io_copy.c - copies of files and trees, and the table that changes nothing. */
#include "narthex/base/io_copy.h"

#include "base_support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void put(const char *dir, const char *name, const char *text)
{
    char path[TEST_PATH_SIZE];
    struct nx_err err;
    test_path(path, dir, name);
    assert_int_equal(io_write_file(io_real(), path,
                                   (struct nx_bytes){(const uint8_t *)text, strlen(text)}, &err),
                     NX_OK);
}

static void assert_file(const char *dir, const char *name, const char *text)
{
    char path[TEST_PATH_SIZE];
    struct nx_buf got = {0};
    struct nx_err err;
    test_path(path, dir, name);
    assert_int_equal(io_read_file(io_real(), path, 1000, &got, &err), NX_OK);
    test_assert_str(nx_buf_str(&got), text);
    nx_buf_deinit(&got);
}

static void test_a_file_is_copied_up_to_a_length(void **state)
{
    (void)state;
    char dir[TEST_PATH_SIZE], from[TEST_PATH_SIZE], to[TEST_PATH_SIZE];
    struct nx_err err;
    uint64_t bytes = 0;
    test_dir_make(dir);
    put(dir, "a", "0123456789");
    test_path(from, dir, "a");
    test_path(to, dir, "whole");
    assert_int_equal(io_copy_file(io_real(), from, to, UINT64_MAX, &bytes, &err), NX_OK);
    assert_int_equal(bytes, 10);
    assert_file(dir, "whole", "0123456789");
    test_path(to, dir, "part");
    assert_int_equal(io_copy_file(io_real(), from, to, 4, &bytes, &err), NX_OK);
    assert_int_equal(bytes, 14);
    assert_file(dir, "part", "0123");
    assert_int_equal(io_copy_file(io_real(), from, to, 4, NULL, &err), NX_E_IO);
    assert_int_equal(err.sys, EEXIST);
    test_path(from, dir, "none");
    test_path(to, dir, "not made");
    assert_int_not_equal(io_copy_file(io_real(), from, to, 4, NULL, &err), NX_OK);
    assert_false(io_exists(to));
    test_dir_remove(dir);
}

static void test_a_tree_is_copied_with_all_in_it(void **state)
{
    (void)state;
    char dir[TEST_PATH_SIZE], from[TEST_PATH_SIZE], to[TEST_PATH_SIZE], path[TEST_PATH_SIZE];
    struct nx_err err;
    uint64_t bytes = 0;
    test_dir_make(dir);
    test_path(from, dir, "from");
    test_path(to, dir, "to");
    assert_int_equal(io_real()->mkdir(io_real(), from, &err), NX_OK);
    test_path(path, from, "sub");
    assert_int_equal(io_real()->mkdir(io_real(), path, &err), NX_OK);
    put(from, "a", "one");
    put(from, "sub/b", "two");
    put(from, "empty", "");
    assert_int_equal(io_copy_tree(io_real(), from, to, &bytes, &err), NX_OK);
    assert_int_equal(bytes, 6);
    assert_file(to, "a", "one");
    assert_file(to, "sub/b", "two");
    assert_file(to, "empty", "");

    test_path(path, from, "link");
    assert_int_equal(symlink("a", path), 0);
    test_path(to, dir, "other");
    assert_int_equal(io_copy_tree(io_real(), from, to, &bytes, &err), NX_E_INVALID);
    test_dir_remove(dir);
}

static void test_a_link_is_a_second_name(void **state)
{
    (void)state;
    char dir[TEST_PATH_SIZE], from[TEST_PATH_SIZE], to[TEST_PATH_SIZE];
    struct nx_err err;
    test_dir_make(dir);
    put(dir, "a", "text");
    test_path(from, dir, "a");
    test_path(to, dir, "b");
    assert_int_equal(io_real()->link(io_real(), from, to, &err), NX_OK);
    assert_int_equal(io_real()->unlink(io_real(), from, &err), NX_OK);
    assert_file(dir, "b", "text");
    assert_int_not_equal(io_real()->link(io_real(), from, to, &err), NX_OK);
    test_dir_remove(dir);
}

static void test_the_read_only_table_reads_and_changes_nothing(void **state)
{
    (void)state;
    const struct io *io = io_read_only();
    char dir[TEST_PATH_SIZE], path[TEST_PATH_SIZE], other[TEST_PATH_SIZE];
    struct nx_err err;
    int fd = -1;
    test_dir_make(dir);
    put(dir, "a", "text");
    test_path(path, dir, "a");
    test_path(other, dir, "b");
    struct nx_buf got = {0};
    assert_int_equal(io_read_file(io, path, 100, &got, &err), NX_OK);
    test_assert_str(nx_buf_str(&got), "text");
    nx_buf_deinit(&got);
    assert_int_equal(io->mkdir(io, dir, &err), NX_OK);
    assert_int_equal(io->mkdir(io, other, &err), NX_E_IO);
    assert_int_equal(err.sys, EROFS);
    assert_int_equal(io->open(io, path, O_RDWR, 0, &fd, &err), NX_E_IO);
    assert_int_equal(io->open(io, other, O_RDONLY | O_CREAT, 0666, &fd, &err), NX_E_IO);
    assert_int_equal(io->rename(io, path, other, &err), NX_E_IO);
    assert_int_equal(io->link(io, path, other, &err), NX_E_IO);
    assert_int_equal(io->unlink(io, path, &err), NX_E_IO);
    assert_int_equal(io->rmdir(io, dir, &err), NX_E_IO);
    assert_int_equal(io->open(io, path, O_RDONLY, 0, &fd, &err), NX_OK);
    assert_int_equal(io->pwrite(io, fd, "x", 1, 0, &err), NX_E_IO);
    assert_int_equal(io->ftruncate(io, fd, 0, &err), NX_E_IO);
    assert_int_equal(io->fsync(io, fd, &err), NX_OK); /* nothing was written */
    assert_int_equal(io->fdatasync(io, fd, &err), NX_OK);
    assert_int_equal(io->close(io, fd, &err), NX_OK);
    assert_file(dir, "a", "text");
    assert_false(io_exists(other));
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_is_copied_up_to_a_length),
        cmocka_unit_test(test_a_tree_is_copied_with_all_in_it),
        cmocka_unit_test(test_a_link_is_a_second_name),
        cmocka_unit_test(test_the_read_only_table_reads_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
