"""A control group with a memory limit where one may be made, and a watcher of a process' anonymous memory."""

import contextlib
import os
import pathlib
import shlex
import stat
import threading
import time


def own_groups():
    """Directories of this process' memory control groups, with the names of the files that matter."""
    for line in pathlib.Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield pathlib.Path("/sys/fs/cgroup/memory" + path), "memory.limit_in_bytes"
        elif controllers == "":
            yield pathlib.Path("/sys/fs/cgroup" + path), "memory.max"


@contextlib.contextmanager
def limited_group(limit_bytes):
    """A new group below this process' own one; None where that is not allowed."""
    for parent, limit_file in own_groups():
        group = parent / f"narthex-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit_file).write_text(str(limit_bytes), encoding="ascii")
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            for _ in range(100):
                try:
                    group.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)
        return
    yield None


def killed_in(group):
    """How many processes of the group the kernel has killed for memory."""
    for name in ("memory.oom_control", "memory.events"):
        path = group / name
        if path.exists():
            return sum(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith("oom_kill "))
    return 0


def launcher(path, group, program):
    """A script that enters the group and becomes the program."""
    enter = f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}\n" if group else ""
    path.write_text(f"#!/bin/sh\n{enter}exec {shlex.quote(program)} \"$@\"\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def anonymous_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon")), 0)


class Watcher:
    """The largest anonymous memory of a process while the block runs."""

    def __init__(self, pid):
        self.pid, self.largest, self.is_over = pid, 0, False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.is_over:
            try:
                self.largest = max(self.largest, anonymous_bytes(self.pid))
            except OSError:
                return
            time.sleep(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
