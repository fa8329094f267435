"""A small volume of its own, and how to fill it."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def small_volume(path, megabytes):
    """A new tmpfs at `path`; where it may not be mounted the test is skipped and says so."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", path], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(path, bytes_max=0):
    """Makes the file larger until the volume has not a byte left, or by so many."""
    with open(path, "ab", buffering=0) as file:
        for size in (bytes_max,) if bytes_max > 0 else (1 << 20, 4096, 1):
            try:
                while file.write(b"x" * size) == size and bytes_max == 0:
                    pass
            except OSError:
                pass
