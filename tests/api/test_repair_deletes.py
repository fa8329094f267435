"""narthex storage repair keeps deletes: the catalog damaged in many ways, then what is answered and what is said."""

import random
import shutil
import time

import pytest

from support import remote_write as rw
from support.server import Server
from support.tools import dump, storage, verify

ADMIN = "--web.enable-admin-api"
BEGIN_MS = int(time.time()) // 60 * 60_000 - 3 * 3_600_000
PAGE = 4096


def write(server, steps):
    rows = [rw.series({"__name__": f"f{i % 3}", "i": str(i)}, [(BEGIN_MS + s * 15_000, float(i + s)) for s in steps]) for i in range(30)]
    assert server.write(rw.body(*rows)).status == 204


def delete(server, selector):
    answer = server.request("POST", f"/api/v1/admin/tsdb/delete_series?match[]={selector}")
    assert answer.status == 204, answer.body


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Two blocks, the older one deleted from twice, metadata, and a journal with more."""
    data = tmp_path_factory.mktemp("deletes") / "good"
    with Server(data, ADMIN) as server:
        write(server, range(10))
        delete(server, "f0")
        delete(server, "f1")
    server = Server(data, ADMIN).start()
    write(server, range(20, 30))
    server.kill()
    return data


@pytest.fixture
def work(good, tmp_path):
    shutil.copytree(good, tmp_path / "work")
    return tmp_path / "work"


def deleted_again(found):
    """Samples that were deleted and are there."""
    return sum(1 for series, samples in found.items() if not series.startswith("f2") for t in samples if t < BEGIN_MS + 10 * 15_000)


def repair(data):
    dry, ended = storage("repair", data, "--dry-run"), storage("repair", data)
    assert dry.stdout.splitlines()[:-1] == ended.stdout.splitlines()[:-1]
    return ended


def test_the_directory_has_what_the_others_are_about(work):
    found = dump(work)
    assert deleted_again(found) == 0 and len(found) == 30
    assert verify(work)[0] == 0
    listed = storage("list", work, "--json").stdout
    assert '"tombstones":1,"tombstoneSeries":20' in listed or '"tombstones":2,"tombstoneSeries":20' in listed, listed


def test_a_block_set_aside_leaves_the_deletes_of_the_others(work):
    before = dump(work)
    extra = work / "blocks" / "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    extra.mkdir()
    ended = repair(work)
    assert "deletes taken over" in ended.stdout, ended.stdout
    assert dump(work) == before and verify(work)[0] == 0


@pytest.mark.parametrize("meta_page", [0, 1])
def test_a_damaged_meta_page_costs_no_delete(work, meta_page):
    before = dump(work)
    file = work / "catalog.mdb"
    content = bytearray(file.read_bytes())
    content[meta_page * PAGE + 16] ^= 0x40
    file.write_bytes(content)
    assert verify(work)[0] == 1
    ended = repair(work)
    assert "deletes taken over" in ended.stdout, ended.stdout
    assert dump(work) == before and verify(work)[0] == 0


def test_a_missing_catalog_is_said(work):
    (work / "catalog.mdb").unlink()
    ended = repair(work)
    assert ended.returncode == 0 and "may show again" in ended.stdout, ended.stdout
    assert deleted_again(dump(work)) > 0


def test_any_damage_keeps_the_deletes_or_says_so(good, tmp_path):
    """Each page flipped, cleared, or cut off: samples come back only with a warning."""
    before = dump(good)
    pages = (good / "catalog.mdb").stat().st_size // PAGE
    rng, damaged, kept, warned = random.Random(7), [], [], []
    for number in list(range(min(pages, 12))) + [rng.randrange(pages) for _ in range(6)]:
        for kind in ("flip", "clear", "cut"):
            work = tmp_path / f"{number}-{kind}"
            if work.exists():
                continue
            shutil.copytree(good, work)
            file = work / "catalog.mdb"
            content = bytearray(file.read_bytes())
            if kind == "flip":
                content[number * PAGE + rng.randrange(PAGE)] ^= 1 << rng.randrange(8)
            elif kind == "clear":
                content[number * PAGE:(number + 1) * PAGE] = bytes(PAGE)
            else:
                del content[number * PAGE + 100:]
            file.write_bytes(content)
            is_damaged = verify(work)[0] != 0
            ended = repair(work)
            found = dump(work)
            if is_damaged:
                damaged.append((number, kind))
                assert ended.returncode in (0, 1), ended.stderr
                # What was not deleted is there in any case.
                assert all(found.get(series, {}).items() >= samples.items() for series, samples in before.items()), (number, kind)
                if deleted_again(found):
                    assert "may show again" in ended.stdout, (number, kind, ended.stdout)
                    warned.append((number, kind))
                else:
                    kept.append((number, kind))
            assert verify(work)[0] == 0
            shutil.rmtree(work)
    # A file that is cut short has lost whatever lay behind; a bit or a page costs at most the rows of that page.
    assert len(damaged) > 10 and warned and all(kind != "flip" for _, kind in warned), (damaged, warned)
