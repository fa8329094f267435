/* SPDX-License-Identifier: Apache-2.0 */
/* test_io.c - the real table on real files, and the helpers over it. */
#include "narthex/base/io.h"

#include "base_support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[TEST_PATH_SIZE];

static int setup(void **state)
{
    (void)state;
    test_dir_make(dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_dir_remove(dir);
    assert_false(io_exists(dir));
    return 0;
}

static void write_text(const char *path, const char *text)
{
    struct nx_err err = {0};
    struct nx_bytes data = nx_bytes_from_str(nx_str_from(text));
    assert_int_equal(io_write_file(io_real(), path, data, &err), NX_OK);
}

static void test_io_reads_what_it_wrote_at_offsets(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char path[TEST_PATH_SIZE];
    test_path(path, dir, "file");
    int fd = -1;
    assert_int_equal(io->open(io, path, O_RDWR | O_CREAT, 0644, &fd, &err), NX_OK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(io->pwrite(io, fd, "world", 5, 6, &err), NX_OK);
    assert_int_equal(io->pwrite(io, fd, "hello ", 6, 0, &err), NX_OK);
    char text[20];
    size_t got = 99;
    assert_int_equal(io->pread(io, fd, text, sizeof(text), 0, &got, &err), NX_OK);
    assert_int_equal(got, 11);
    assert_memory_equal(text, "hello world", 11);
    assert_int_equal(io->pread(io, fd, text, 5, 100, &got, &err), NX_OK);
    assert_int_equal(got, 0);
    assert_int_equal(io->ftruncate(io, fd, 5, &err), NX_OK);
    assert_int_equal(io->fdatasync(io, fd, &err), NX_OK);
    assert_int_equal(io->fsync(io, fd, &err), NX_OK);
    assert_int_equal(io->close(io, fd, &err), NX_OK);
    uint64_t bytes = 0;
    assert_int_equal(io_file_size(io, path, &bytes, &err), NX_OK);
    assert_int_equal(bytes, 5);
}

static void test_io_a_joined_path_replaces_the_one_before(void **state)
{
    (void)state;
    struct nx_buf path = {0};
    assert_string_equal(path_join(&path, "a/rather/long", "name"), "a/rather/long/name");
    assert_string_equal(path_join(&path, "b", "c"), "b/c");
    assert_int_equal(path.len, 4);
    nx_buf_deinit(&path);
}

static void test_io_failures_carry_errno_and_the_path(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char path[TEST_PATH_SIZE];
    test_path(path, dir, "absent");
    int fd = -1;
    assert_int_equal(io->open(io, path, O_RDONLY, 0, &fd, &err), NX_E_IO);
    assert_int_equal(err.sys, ENOENT);
    assert_non_null(strstr(err.msg, "absent"));
    assert_int_equal(io->unlink(io, path, &err), NX_E_IO);
    assert_int_equal(io->rmdir(io, path, &err), NX_E_IO);
    assert_int_equal(io->rename(io, path, path, &err), NX_E_IO);
    size_t got;
    assert_int_equal(io->pread(io, -1, path, 1, 0, &got, &err), NX_E_IO);
    assert_int_equal(err.sys, EBADF);
    assert_int_equal(io->pwrite(io, -1, path, 1, 0, &err), NX_E_IO);
    assert_int_equal(io->fsync(io, -1, &err), NX_E_IO);
    assert_int_equal(io->fdatasync(io, -1, &err), NX_E_IO);
    assert_int_equal(io->ftruncate(io, -1, 0, &err), NX_E_IO);
    assert_int_equal(io->close(io, -1, &err), NX_E_IO);
    assert_int_equal(io_sync_dir(io, path, &err), NX_E_IO);
}

static void test_io_offsets_beyond_a_file_s_end_of_numbers_are_refused(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char byte = 0;
    size_t got;
    assert_int_equal(io->pread(io, 0, &byte, 1, (uint64_t)INT64_MAX + 1, &got, &err), NX_E_INVALID);
    assert_int_equal(io->pwrite(io, 0, &byte, 1, INT64_MAX, &err), NX_E_INVALID);
    assert_int_equal(io->ftruncate(io, 0, UINT64_MAX, &err), NX_E_INVALID);
}

static void test_io_a_full_volume_is_told_apart(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    int fd = -1;
    if (io->open(io, "/dev/full", O_WRONLY, 0, &fd, &err) != NX_OK)
        skip();
    assert_int_equal(io->pwrite(io, fd, "x", 1, 0, &err), NX_E_FULL);
    assert_int_equal(err.sys, ENOSPC);
    assert_int_equal(io->close(io, fd, &err), NX_OK);
}

static void test_io_mkdir_accepts_a_directory_and_no_file(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char path[TEST_PATH_SIZE];
    test_path(path, dir, "sub");
    assert_int_equal(io->mkdir(io, path, &err), NX_OK);
    assert_int_equal(io->mkdir(io, path, &err), NX_OK);
    assert_int_equal(io_sync_dir(io, path, &err), NX_OK);
    test_path(path, dir, "plain");
    write_text(path, "x");
    assert_int_equal(io->mkdir(io, path, &err), NX_E_IO);
    assert_int_equal(err.sys, EEXIST);
}

static void test_io_whole_files_are_read_up_to_their_limit(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char path[TEST_PATH_SIZE];
    test_path(path, dir, "whole");
    struct nx_buf data = {0};
    for (int i = 0; i < 100000; i++)
        nx_buf_append_byte(&data, (uint8_t)(i * 31));
    assert_int_equal(io_write_file(io, path, nx_buf_bytes(&data), &err), NX_OK);
    struct nx_buf out = {0};
    nx_buf_append_cstr(&out, "head");
    assert_int_equal(io_read_file(io, path, 100000, &out, &err), NX_OK);
    assert_int_equal(out.len, 100004);
    assert_memory_equal(out.data + 4, data.data, data.len);
    assert_int_equal(io_read_file(io, path, 99999, &out, &err), NX_E_LIMIT);
    assert_int_equal(out.len, 100004);
    write_text(path, "");
    nx_buf_reset(&out);
    assert_int_equal(io_read_file(io, path, 0, &out, &err), NX_OK);
    assert_int_equal(out.len, 0);
    test_path(path, dir, "nowhere");
    assert_int_equal(io_read_file(io, path, 10, &out, &err), NX_E_NOT_FOUND);
    uint64_t bytes;
    assert_int_equal(io_file_size(io, path, &bytes, &err), NX_E_NOT_FOUND);
    nx_buf_deinit(&data);
    nx_buf_deinit(&out);
}

static nx_code list_one(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    (void)err;
    nx_buf_printf(context, "%s%s ", name, is_directory ? "/" : "");
    return NX_OK;
}

static nx_code stop_at_b(void *context, const char *name, bool is_directory, struct nx_err *err)
{
    nx_ignore(list_one(context, name, is_directory, err));
    return strcmp(name, "b") == 0 ? nx_err_set(err, NX_E_CANCELLED, "enough") : NX_OK;
}

static void test_io_entries_come_in_byte_order(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char path[TEST_PATH_SIZE];
    static const char *const names[] = {"c", "B", "a", "b"};
    for (size_t i = 0; i < 4; i++) {
        test_path(path, dir, names[i]);
        write_text(path, "");
    }
    test_path(path, dir, "d");
    assert_int_equal(io->mkdir(io, path, &err), NX_OK);
    struct nx_buf seen = {0};
    assert_int_equal(io_each_entry(io, dir, list_one, &seen, &err), NX_OK);
    test_assert_str(nx_buf_str(&seen), "B a b c d/ ");
    nx_buf_reset(&seen);
    assert_int_equal(io_each_entry(io, dir, stop_at_b, &seen, &err), NX_E_CANCELLED);
    test_assert_str(nx_buf_str(&seen), "B a b ");
    test_path(path, dir, "none");
    assert_int_equal(io_each_entry(io, path, list_one, &seen, &err), NX_E_NOT_FOUND);
    nx_buf_deinit(&seen);
}

static void test_io_remove_tree_spares_what_links_point_to(void **state)
{
    (void)state;
    const struct io *io = io_real();
    struct nx_err err = {0};
    char tree[TEST_PATH_SIZE];
    char path[TEST_PATH_SIZE];
    char outside[TEST_PATH_SIZE];
    test_path(outside, dir, "outside");
    assert_int_equal(io->mkdir(io, outside, &err), NX_OK);
    test_path(path, outside, "kept");
    write_text(path, "x");
    test_path(tree, dir, "tree");
    assert_int_equal(io->mkdir(io, tree, &err), NX_OK);
    test_path(path, tree, "deep");
    assert_int_equal(io->mkdir(io, path, &err), NX_OK);
    test_path(path, tree, "deep/file");
    write_text(path, "x");
    test_path(path, tree, "link");
    assert_int_equal(symlink(outside, path), 0);
    assert_int_equal(io_remove_tree(io, tree, &err), NX_OK);
    assert_false(io_exists(tree));
    test_path(path, outside, "kept");
    assert_true(io_exists(path));
    assert_int_equal(io_remove_tree(io, tree, &err), NX_OK);
    assert_int_equal(io_remove_tree(io, path, &err), NX_OK);
    assert_false(io_exists(path));
}

static void test_io_free_bytes_of_a_volume(void **state)
{
    (void)state;
    struct nx_err err = {0};
    uint64_t bytes = 0;
    assert_int_equal(io_free_bytes(dir, &bytes, &err), NX_OK);
    assert_true(bytes > 0);
    assert_int_equal(io_free_bytes("/nowhere/at/all", &bytes, &err), NX_E_IO);
}

struct crash_case {
    const char *variable;
    int passages;
};

static void pass_crash_points(void *argument)
{
    const struct crash_case *crash = argument;
    if (crash->variable != NULL)
        setenv("NARTHEX_CRASH_POINT", crash->variable, 1);
    for (int i = 0; i < crash->passages; i++) {
        io_crash_point("flush_rename");
        io_real()->crash_point(io_real(), "flush_publish");
    }
}

static void test_io_crash_point_ends_the_process_at_its_passage(void **state)
{
    (void)state;
    static struct crash_case cases[] = {
        {NULL, 3},
        {"flush_rename", 1},
        {"flush_publish:3", 2},
        {"flush_publish:3", 3},
        {"flush", 3},
        {"", 3},
    };
    static const int expected[] = {0, 137, 0, 137, 0, 0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = test_in_child(pass_crash_points, &cases[i], NULL);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), expected[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_io_reads_what_it_wrote_at_offsets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_io_failures_carry_errno_and_the_path, setup, teardown),
        cmocka_unit_test(test_io_a_joined_path_replaces_the_one_before),
        cmocka_unit_test(test_io_offsets_beyond_a_file_s_end_of_numbers_are_refused),
        cmocka_unit_test(test_io_a_full_volume_is_told_apart),
        cmocka_unit_test_setup_teardown(test_io_mkdir_accepts_a_directory_and_no_file, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_io_whole_files_are_read_up_to_their_limit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_io_entries_come_in_byte_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_io_remove_tree_spares_what_links_point_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_io_free_bytes_of_a_volume, setup, teardown),
        cmocka_unit_test(test_io_crash_point_ends_the_process_at_its_passage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
