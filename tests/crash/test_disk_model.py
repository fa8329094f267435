"""The model of the disk itself: what it lets a loss of power take, and what not."""

import os
import random

import pytest

from support import disk_model as dm

ROOT = "/d"


class Script:
    """Calls as the shim would record them."""

    def __init__(self):
        self.disk = dm.Disk(ROOT)
        self.call(dm.MKDIR, path=ROOT)

    def call(self, kind, fd=-1, path="", second="", offset=0, data=b""):
        self.disk.apply(dm.Entry((kind, fd, 0, offset, len(data)), path, second, 0), data)

    def open(self, fd, path, flags=os.O_CREAT):
        self.call(dm.OPEN, fd, path, offset=flags)

    def sync(self, fd, end=dm.SYNC_END):
        self.call(dm.SYNC_BEGIN, fd)
        self.call(end, fd)

    def sync_directory(self, path):
        self.open(99, path, 0)
        self.sync(99)
        self.call(dm.CLOSE, 99)

    def settle(self):
        self.sync_directory("/")
        self.sync_directory(ROOT)

    def outcomes(self, tmp_path, count=200):
        """All that was seen of {name: content}, over many losses."""
        seen = set()
        for seed in range(count):
            out = tmp_path / str(seed)
            self.disk.crash(random.Random(seed), out)
            files = sorted(out.rglob("*")) if out.exists() else []
            seen.add(tuple((str(p.relative_to(out)), p.read_bytes()) for p in files if p.is_file()) if out.exists() else None)
        return seen


@pytest.fixture
def script():
    return Script()


def test_a_name_without_a_sync_of_its_directory_may_be_lost(tmp_path, script):
    script.call(dm.OPEN, 3, ROOT + "/a", offset=os.O_CREAT)
    script.call(dm.WRITE, 3, data=b"x")
    script.sync(3)
    assert script.outcomes(tmp_path) == {None, (), (("a", b"x"),)}


def test_synced_data_stays_and_later_data_is_lost_or_kept_by_page(tmp_path, script):
    script.open(3, ROOT + "/a")
    script.call(dm.WRITE, 3, data=b"1" * 8192)
    script.sync(3)
    script.settle()
    (tmp_path / "synced").mkdir()
    assert script.outcomes(tmp_path / "synced", 50) == {(("a", b"1" * 8192),)}
    script.call(dm.WRITE, 3, data=b"2" * 8192)
    seen = {files[0][1] for files in script.outcomes(tmp_path)}
    assert {b"1" * 8192, b"2" * 8192, b"1" * 4096 + b"2" * 4096, b"2" * 4096 + b"1" * 4096} <= seen
    assert all(content[i:i + 512] in (b"1" * 512, b"2" * 512) for content in seen for i in range(0, 8192, 512))


def test_writes_during_a_sync_are_not_covered(tmp_path, script):
    script.open(3, ROOT + "/a")
    script.settle()
    script.call(dm.WRITE, 3, data=b"1")
    script.call(dm.SYNC_BEGIN, 3)
    script.call(dm.WRITE, 3, data=b"2")
    script.call(dm.SYNC_END, 3)
    assert script.outcomes(tmp_path) == {(("a", b"1"),), (("a", b"2"),)}


def test_a_sync_after_a_failed_one_writes_nothing_old(tmp_path, script):
    script.open(3, ROOT + "/a")
    script.settle()
    script.call(dm.WRITE, 3, data=b"1" * 4096)
    script.sync(3, dm.SYNC_FAILED)
    script.sync(3)
    assert (("a", b"\0" * 4096),) in script.outcomes(tmp_path)
    script.call(dm.WRITE, 3, data=b"2")  # dirty again: the whole page goes
    script.sync(3)
    (tmp_path / "again").mkdir()
    assert script.outcomes(tmp_path / "again") == {(("a", b"2" + b"1" * 4095),)}


def test_a_rename_is_whole_and_brings_what_came_before(tmp_path, script):
    script.call(dm.MKDIR, path=ROOT + "/t")
    script.call(dm.MKDIR, path=ROOT + "/b")
    script.settle()
    script.call(dm.MKDIR, path=ROOT + "/t/x")
    script.open(3, ROOT + "/t/x/f")
    script.call(dm.WRITE, 3, data=b"1")
    script.sync(3)
    script.sync_directory(ROOT + "/t/x")
    script.call(dm.RENAME, path=ROOT + "/t/x", second=ROOT + "/b/x")
    assert script.outcomes(tmp_path) == {(), (("t/x/f", b"1"),), (("b/x/f", b"1"),)}
    script.sync_directory(ROOT + "/b")
    (tmp_path / "synced").mkdir()
    assert script.outcomes(tmp_path / "synced") == {(("b/x/f", b"1"),)}


def test_names_of_one_directory_come_in_order(tmp_path, script):
    script.settle()
    for fd, name in enumerate("abc", 3):
        script.open(fd, f"{ROOT}/{name}")
    assert {"".join(name for name, _ in files) for files in script.outcomes(tmp_path)} == {"", "a", "ab", "abc"}


def test_a_synced_write_makes_its_pages_durable_alone(tmp_path, script):
    script.open(3, ROOT + "/a")
    script.open(4, ROOT + "/a", os.O_DSYNC)
    script.settle()
    script.call(dm.WRITE, 3, data=b"1" * 8192)
    script.sync(3)
    script.call(dm.WRITE, 3, data=b"2" * 4096)
    script.call(dm.WRITE, 4, offset=4096, data=b"3" * 4096)
    script.call(dm.WRITE_SYNCED, 4, offset=4096)
    seen = {files[0][1] for files in script.outcomes(tmp_path)}
    assert {content[4096:] for content in seen} == {b"3" * 4096}
    assert {b"1" * 4096, b"2" * 4096} <= {content[:4096] for content in seen}
