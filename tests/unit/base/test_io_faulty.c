/* SPDX-License-Identifier: Apache-2.0 */
/* test_io_faulty.c - the table that fails on command. */
#include "narthex/base/io_faulty.h"

#include "base_support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static char dir[TEST_PATH_SIZE];
static char path[TEST_PATH_SIZE];
static struct io_faulty faulty;
static const struct io *io;
static int fd;
static struct nx_err err;

static int setup(void **state)
{
    (void)state;
    test_dir_make(dir);
    test_path(path, dir, "file");
    io_faulty_init(&faulty, io_real());
    io = &faulty.io;
    fd = -1;
    return io->open(io, path, O_RDWR | O_CREAT, 0644, &fd, &err) == NX_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    io_faulty_clear(&faulty);
    nx_ignore(io->close(io, fd, &err));
    test_dir_remove(dir);
    return 0;
}

static void test_io_faulty_fails_only_the_named_call(void **state)
{
    (void)state;
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_FDATASYNC, .nth = 2, .sys = EIO});
    assert_int_equal(io->fdatasync(io, fd, &err), NX_OK);
    assert_int_equal(io->fdatasync(io, fd, &err), NX_E_IO);
    assert_int_equal(err.sys, EIO);
    assert_int_equal(io->fdatasync(io, fd, &err), NX_OK);
    assert_int_equal(io->fsync(io, fd, &err), NX_OK);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_FDATASYNC), 3);
    assert_int_equal(io_faulty_calls(&faulty, IO_CALL_OPEN), 1);
    assert_int_equal(io_faulty_failed_calls(&faulty), 1);
}

static void test_io_faulty_lasting_and_total_faults(void **state)
{
    (void)state;
    io_faulty_add(&faulty, (struct io_fault){
                               .call = IO_CALL_FSYNC, .nth = 2, .is_lasting = true, .sys = EIO});
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_RENAME, .nth = 0, .sys = EACCES});
    assert_int_equal(io->fsync(io, fd, &err), NX_OK);
    assert_int_equal(io->fsync(io, fd, &err), NX_E_IO);
    assert_int_equal(io->fsync(io, fd, &err), NX_E_IO);
    assert_int_equal(io->rename(io, path, path, &err), NX_E_IO);
    assert_int_equal(err.sys, EACCES);
}

static void test_io_faulty_write_is_torn(void **state)
{
    (void)state;
    io_faulty_add(&faulty, (struct io_fault){
                               .call = IO_CALL_PWRITE, .nth = 2, .sys = ENOSPC, .torn_bytes = 3});
    assert_int_equal(io->pwrite(io, fd, "aaaaaa", 6, 0, &err), NX_OK);
    assert_int_equal(io->pwrite(io, fd, "bbbbbb", 6, 6, &err), NX_E_FULL);
    uint64_t bytes = 0;
    assert_int_equal(io_file_size(io, path, &bytes, &err), NX_OK);
    assert_int_equal(bytes, 9);
}

static void test_io_faulty_read_is_short(void **state)
{
    (void)state;
    assert_int_equal(io->pwrite(io, fd, "abcdef", 6, 0, &err), NX_OK);
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_PREAD, .nth = 1, .torn_bytes = 2});
    io_faulty_add(&faulty, (struct io_fault){.call = IO_CALL_PREAD, .nth = 2, .sys = EIO});
    char text[6];
    size_t got = 0;
    assert_int_equal(io->pread(io, fd, text, 6, 0, &got, &err), NX_OK);
    assert_int_equal(got, 2);
    assert_int_equal(io->pread(io, fd, text, 6, 0, &got, &err), NX_E_IO);
    assert_int_equal(io->pread(io, fd, text, 6, 0, &got, &err), NX_OK);
    assert_int_equal(got, 6);
}

static void test_io_faulty_every_kind_of_call_can_fail(void **state)
{
    (void)state;
    for (int call = 0; call < IO_CALL_COUNT; call++)
        io_faulty_add(&faulty, (struct io_fault){.call = (enum io_call)call, .sys = EIO});
    char byte = 0;
    size_t got;
    int other;
    assert_int_equal(io->open(io, path, O_RDONLY, 0, &other, &err), NX_E_IO);
    assert_int_equal(io->pread(io, fd, &byte, 1, 0, &got, &err), NX_E_IO);
    assert_int_equal(io->pwrite(io, fd, &byte, 1, 0, &err), NX_E_IO);
    assert_int_equal(io->fdatasync(io, fd, &err), NX_E_IO);
    assert_int_equal(io->fsync(io, fd, &err), NX_E_IO);
    assert_int_equal(io->ftruncate(io, fd, 0, &err), NX_E_IO);
    assert_int_equal(io->rename(io, path, path, &err), NX_E_IO);
    assert_int_equal(io->unlink(io, path, &err), NX_E_IO);
    assert_int_equal(io->mkdir(io, path, &err), NX_E_IO);
    assert_int_equal(io->rmdir(io, path, &err), NX_E_IO);
    assert_int_equal(io->link(io, path, path, &err), NX_E_IO);
    assert_int_equal(io->close(io, fd, &err), NX_E_IO);
    assert_int_equal(io_faulty_failed_calls(&faulty), IO_CALL_COUNT);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed all the same */
    assert_true(io_exists(path));
    io_faulty_clear(&faulty);
    assert_int_equal(io->open(io, path, O_RDONLY, 0, &fd, &err), NX_OK);
}

static void test_io_faulty_goes_dark_at_a_crash_point(void **state)
{
    (void)state;
    io_faulty_stop_at(&faulty, "after_index");
    io->crash_point(io, "before_index");
    assert_int_equal(io->pwrite(io, fd, "x", 1, 0, &err), NX_OK);
    assert_false(io_faulty_is_stopped(&faulty));
    io->crash_point(io, "after_index");
    assert_true(io_faulty_is_stopped(&faulty));
    assert_int_equal(io->pwrite(io, fd, "y", 1, 1, &err), NX_E_IO);
    assert_int_equal(io->fsync(io, fd, &err), NX_E_IO);
    uint64_t bytes = 0;
    assert_int_equal(io_file_size(io, path, &bytes, &err), NX_OK);
    assert_int_equal(bytes, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_io_faulty_fails_only_the_named_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_io_faulty_lasting_and_total_faults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_io_faulty_write_is_torn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_io_faulty_read_is_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_io_faulty_every_kind_of_call_can_fail, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_io_faulty_goes_dark_at_a_crash_point, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
