"""narthex storage verify, list, analyze, dump, repair: on whole directories, damaged ones, wrong ones, and beside a server."""

import itertools
import json
import random
import re
import shutil
import subprocess
import time

import pytest

from support import remote_write as rw
from support.server import Server, narthex_bin
from support.tools import dump, storage, tree, verify

BEGIN_MS = int(time.time()) // 60 * 60_000 - 5 * 3_600_000
SERIES = 40
ODD = [("bits", 0x7FF0000000000002), ("bits", 0x7FF8000000000001), ("bits", 0xFFF8DEADBEEF0001), -0.0, float("inf"), float("-inf"),
       5e-324, 0.1 + 0.2, 1e300]
ODD_TEXT = ["NaN(0x7ff0000000000002)", "NaN(0x7ff8000000000001)", "NaN(0xfff8deadbeef0001)", "-0", "+Inf", "-Inf", "5e-324",
            "0.30000000000000004", "1e+300"]


def write(server, steps):
    for step in steps:
        rows = [rw.series({"__name__": f"f{i % 3}", "i": str(i)}, [(BEGIN_MS + step * 15_000 + i, value(i, step))]) for i in range(SERIES)]
        assert server.write(rw.body(*rows)).status == 204


def value(i, step):
    return float(i * step % 13) + (0.25 if i % 3 else 0)


def expected(steps):
    return {f'f{i % 3}{{i="{i}"}}': {BEGIN_MS + s * 15_000 + i: value(i, s) for s in steps} for i in range(SERIES)}


def as_floats(found):
    return {series: {t: float(v) for t, v in samples.items()} for series, samples in found.items() if series.startswith("f")}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Two blocks and a journal, left behind by kill -9."""
    data = tmp_path_factory.mktemp("tools") / "good"
    for first in (0, 10):
        with Server(data) as server:
            write(server, range(first, first + 10))
    server = Server(data).start()
    write(server, range(20, 40))
    assert server.write(rw.body(rw.series({"__name__": "odd"}, [(BEGIN_MS + i, v) for i, v in enumerate(ODD)]))).status == 204
    server.kill()
    return data


@pytest.fixture
def work(good, tmp_path):
    shutil.copytree(good, tmp_path / "work")
    return tmp_path / "work"


def block_dirs(data):
    return sorted((data / "blocks").iterdir())


def flip(path, at=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 4
    path.write_bytes(content)


# ---- whole directories ----

def test_a_good_directory_verifies_and_is_not_changed(work):
    before = tree(work)
    status, found = verify(work)
    assert status == 0 and found["damages"] == [] and found["blocks"] == 2 and found["samples"] == 800
    assert found["journalSamples"] == 20 * SERIES + len(ODD)
    assert storage("verify", work).stdout.splitlines()[-1].startswith("fine")
    assert storage("list", work).returncode == 0
    assert storage("analyze", work).returncode == 0
    dump(work)
    assert storage("repair", work).stdout.startswith("nothing to repair")
    assert tree(work) == before


def test_dump_has_every_sample_bit_by_bit_in_label_order(work):
    found = dump(work)
    assert list(found["odd"].values()) == ODD_TEXT
    assert as_floats(found) == expected(range(40))
    lines = [line.rsplit(" ", 2)[0] for line in storage("dump", work).stdout.splitlines()]
    order = [series for series, _ in itertools.groupby(lines)]
    assert order == sorted(set(lines))  # a series' lines are together; of these labels, text sorts as they do


def test_dump_takes_a_selector_and_times(work):
    assert list(dump(work, '--match=f1{i=~"1|4"}')) == ['f1{i="1"}', 'f1{i="4"}']
    found = dump(work, "--match", "odd", f"--min-time={BEGIN_MS + 2}", f"--max-time={BEGIN_MS + 4}")
    assert found == {"odd": {BEGIN_MS + 2: ODD_TEXT[2], BEGIN_MS + 3: "-0", BEGIN_MS + 4: "+Inf"}}
    assert dump(work, "--match=nothing") == {}
    for wrong in ("--match=a{", "--min-time=yesterday", "--max-time=1.5", "--nonsense"):
        ended = storage("dump", work, wrong)
        assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1, ended.stderr


def test_list_names_every_block(work):
    rows = json.loads(storage("list", work, "--json").stdout)
    assert [r["ulid"] for r in rows] == [d.name for d in block_dirs(work)]
    assert all(r["state"] == "live" and r["series"] == SERIES and r["samples"] == 400 for r in rows)
    text = storage("list", work).stdout
    for row in rows:
        assert row["ulid"] in text
    assert "2 live blocks" in text and re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", text)


def test_analyze_tells_where_bytes_go(work):
    text = storage("analyze", work).stdout
    for word in ("codec int", "codec const", "time vectors", "index ser", "index post", "f0", "f1", "__name__", "all 2 blocks"):
        assert word in text, word
    one = block_dirs(work)[1].name
    text = storage("analyze", work, f"--block={one}", "--limit=1").stdout
    assert one in text and block_dirs(work)[0].name not in text and "all 2 blocks" not in text
    ended = storage("analyze", work, "--block=none")
    assert ended.returncode == 2 and "no block none" in ended.stderr
    # The parts add up to the file.
    sizes = sum(p.stat().st_size for d in block_dirs(work) for p in d.iterdir() if p.name != "block.meta")
    rows = json.loads(storage("list", work, "--json").stdout)
    assert sum(r["indexBytes"] + r["chunksBytes"] for r in rows) == sizes


def test_list_and_analyze_work_beside_a_server_and_the_others_refuse(work):
    with Server(work) as server:
        assert storage("list", work).returncode == 0
        assert storage("analyze", work).returncode == 0
        for tool in ("verify", "dump", "repair"):
            ended = storage(tool, work)
            assert ended.returncode == 1 and "is in use" in ended.stderr and str(server.process.pid) in ended.stderr, ended.stderr
        ended = storage("restore", work, work.parent / "new")
        assert ended.returncode == 1 and "is in use" in ended.stderr and not (work.parent / "new").exists()
        write(server, range(40, 42))
    status, found = verify(work)
    assert status == 0 and found["damages"] == []


def test_list_beside_flushes_and_merges_never_fails(tmp_path):
    data = tmp_path / "busy"
    with Server(data, "--storage.flush-interval=1s", "--storage.flush-samples=1000") as server:
        deadline = time.monotonic() + 6
        step = 0
        while time.monotonic() < deadline:
            write(server, range(step, step + 5))
            step += 5
            for tool in ("list", "analyze"):
                ended = storage(tool, data)
                assert ended.returncode == 0, ended.stderr
        assert server.metric("narthex_flushes_total") > 2
    assert as_floats(dump(data)) == expected(range(step))


# ---- wrong input ----

@pytest.mark.parametrize("tool", ["verify", "list", "analyze", "dump", "repair", "restore"])
def test_wrong_arguments_are_told_in_one_line(tool, tmp_path):
    more = [tmp_path / "target"] if tool == "restore" else []
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/readme").write_text("x")
    for name, why in (("none", "no such directory"), ("file", "not a directory"), ("other", "not a data directory")):
        ended = storage(tool, tmp_path / name, *more)
        assert ended.returncode == 2 and why in ended.stderr and len(ended.stderr.splitlines()) == 1, (name, ended.stderr)
        assert ended.stdout == ""
    assert storage(tool).returncode == 2
    assert storage(tool, "a", "b", "c").returncode == 2
    assert storage(tool, "--nonsense", "a").returncode == 2
    shown = storage(tool, "--help")
    assert shown.returncode == 0 and shown.stdout.startswith(f"usage: narthex storage {tool} ")
    assert not (tmp_path / "target").exists()


def test_unknown_tools_are_refused():
    assert storage().returncode == 2
    assert storage("polish", "x").returncode == 2
    assert storage("--help").returncode == 0
    ended = subprocess.run([narthex_bin(), "nonsense"], capture_output=True, text=True)
    assert ended.returncode == 2 and "storage" in ended.stderr


# ---- damage ----

def test_verify_names_each_damage(work):
    first, second = block_dirs(work)
    flip(first / "chunks.nxc")
    flip(second / "index.mdb")
    status, found = verify(work)
    assert status == 1
    told = {d["file"]: d["what"] for d in found["damages"]}
    assert set(told) == {f"blocks/{first.name}/chunks.nxc", f"blocks/{second.name}/index.mdb"}
    assert "bytes 0 to" in told[f"blocks/{second.name}/index.mdb"]
    text = storage("verify", work).stdout
    assert re.search(rf"DAMAGED +blocks/{first.name}/chunks.nxc: group at offset \d+", text), text
    assert found["hurtSeries"] == SERIES


def change(path, text):
    """One bit of each copy of `text` in a file: LMDB keeps old pages, and only the newest counts."""
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text[:-1] + bytes([text[-1] ^ 1])))


def damage_kinds(work):
    first = block_dirs(work)[0]
    journal = max((work / "journal").iterdir(), key=lambda p: p.read_bytes().rstrip(b"\0").__len__())
    content = journal.read_bytes().rstrip(b"\0")
    return {
        "block.meta flipped": (lambda: flip(first / "block.meta"), f"blocks/{first.name}/block.meta"),
        "block.meta gone": (lambda: (first / "block.meta").unlink(), f"blocks/{first.name}/block.meta"),
        "index cut": (lambda: (first / "index.mdb").write_bytes((first / "index.mdb").read_bytes()[:5000]), f"blocks/{first.name}"),
        "chunks gone": (lambda: (first / "chunks.nxc").unlink(), f"blocks/{first.name}"),
        "block gone": (lambda: shutil.rmtree(first), f"blocks/{first.name}"),
        "unknown block": (lambda: shutil.copytree(first, first.parent / "01HZZZZZZZZZZZZZZZZZZZZZZZ"), "blocks/01HZZZZZZZZZZZZZZZZZZZZZZZ"),
        "catalog flipped": (lambda: change(work / "catalog.mdb", first.name.encode()), "catalog.mdb"),
        "catalog gone": (lambda: (work / "catalog.mdb").unlink(), "catalog.mdb"),
        "catalog garbage": (lambda: (work / "catalog.mdb").write_bytes(b"x" * 10000), "catalog.mdb"),
        "journal gone": (lambda: shutil.rmtree(work / "journal"), "journal"),
        "journal flipped": (lambda: flip(journal, len(content) // 8192 * 4096 + 100), f"journal/{journal.name}"),
        "journal header": (lambda: journal.write_bytes(b"\xff" * 4096 + journal.read_bytes()[4096:]), f"journal/{journal.name}"),
        "mark of a failed read": (lambda: (first / "bad").touch(), f"blocks/{first.name}/bad"),
    }


@pytest.mark.parametrize("kind", ["block.meta flipped", "block.meta gone", "index cut", "chunks gone", "block gone", "unknown block",
                                  "catalog flipped", "catalog gone", "catalog garbage", "journal gone", "journal flipped",
                                  "journal header", "mark of a failed read"])
def test_every_kind_of_damage_is_found_and_repaired(work, kind):
    all_samples = dump(work)
    make, file = damage_kinds(work)[kind]
    make()
    before = tree(work)
    status, found = verify(work)
    assert status == 1 and file in [d["file"] for d in found["damages"]], found["damages"]
    dry = storage("repair", work, "--dry-run")
    assert tree(work) == before, "a dry run changed something"
    ended = storage("repair", work)
    assert ended.stderr == "" and ended.returncode in (0, 1), ended.stderr
    assert [line for line in dry.stdout.splitlines()[:-1]] == [line for line in ended.stdout.splitlines()[:-1]]
    loses_block = kind in ("block.meta flipped", "block.meta gone", "index cut", "chunks gone", "block gone")
    assert (ended.returncode == 1) == loses_block and ("LOST" in ended.stdout) == loses_block, ended.stdout
    status, found = verify(work)
    left = [d["file"] for d in found["damages"]]
    assert all(f.startswith("journal") for f in left), left
    again = storage("repair", work)
    assert again.returncode == 0 and again.stdout.startswith("nothing to repair"), again.stdout
    # A server starts, serves what is there, and nothing that nobody wrote.
    server = Server(work).start()
    write(server, range(50, 51))
    assert server.stop() == 0, server.log()[-2000:]
    now = dump(work)
    for series, samples in now.items():
        for time_ms, text in samples.items():
            is_new = series.startswith("f") and float(text) == value(int(re.search(r'"(\d+)"', series)[1]), 50)
            assert all_samples.get(series, {}).get(time_ms) == text or is_new, (series, time_ms, text)
    if not loses_block and not kind.startswith("journal"):
        assert all(now[series].items() >= samples.items() for series, samples in all_samples.items())


def test_a_block_with_a_damaged_group_stays_and_serves_the_rest(work):
    first, second = block_dirs(work)
    flip(first / "chunks.nxc", 40)
    ended = storage("repair", work)
    assert ended.returncode == 1 and "cannot be read" in ended.stdout and "nothing to repair: 2 live" in ended.stdout
    found = dump(work, expect=1)
    assert as_floats(found)['f1{i="1"}'].items() >= expected(range(10, 40))['f1{i="1"}'].items()


def test_repair_without_a_catalog_takes_everything_back(work):
    before = dump(work)
    (work / "catalog.mdb").unlink()
    shutil.copytree(work, work.parent / "started")
    ended = storage("repair", work)
    assert ended.returncode == 0 and "2 live blocks" in ended.stdout, ended.stdout
    assert dump(work) == before and verify(work)[0] == 0
    # A server does not start without one, and changes nothing.
    started = work.parent / "started"
    server = Server(started).launch()
    assert server.process.wait(30) == 2 and "narthex storage repair" in server.log()
    Server.running.discard(server)
    assert storage("repair", started).returncode == 0 and dump(started) == before


def test_repair_takes_back_what_was_set_aside_and_verifies(work):
    before = dump(work)
    first, second = block_dirs(work)
    first.rename(work / "quarantine" / first.name)
    (work / "quarantine" / f"{first.name}.reason").write_text("by hand\n")
    assert storage("repair", work).returncode == 1  # its row goes, its samples are not served
    status, found = verify(work)
    assert status == 0 and found["quarantined"] == 2  # the block, and the old catalog
    assert any("by hand" in note["what"] for note in found["notes"])
    assert dump(work) != before
    ended = storage("repair", work, "--take-back")
    assert ended.returncode == 0 and "1 taken back" in ended.stdout, ended.stdout
    assert dump(work) == before and not (work / "quarantine" / f"{first.name}.reason").exists()
    assert storage("repair", work, "--take-back").stdout.startswith("nothing to repair")
    flip(second / "index.mdb")
    assert storage("repair", work).returncode == 1
    assert storage("repair", work, "--take-back").stdout.startswith("nothing to repair")  # it does not verify


@pytest.mark.parametrize("point", ["publish_begun", "publish_renamed", "publish_committed"])
def test_repair_decides_about_merges_by_their_sources(tmp_path, point):
    """A merge that stopped between its files and its transaction; then the catalog is lost."""
    data = tmp_path / "data"
    flags = ("--storage.flush-interval=1h",)
    for first in (0, 10, 20):
        with Server(data, *flags) as server:
            write(server, range(first, first + 10))
    complete = dump(data)
    # Who flushes each second gathers nothing: the three blocks are merged at once.
    server = Server(data, "--storage.flush-interval=1s", env={"NARTHEX_CRASH_POINT": point}).launch()
    assert server.process.wait(30) == 137, "no merge came to the point"
    Server.running.discard(server)
    shutil.copytree(data, tmp_path / "kept")
    for name in ("catalog.mdb", "catalog.mdb-lock"):
        (data / name).unlink()
    ended = storage("repair", data)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert dump(data) == complete and verify(data)[0] == 0
    with Server(data) as server:
        assert "quarantine" not in server.log()
    assert dump(data) == complete


def test_a_random_flip_in_any_file_is_found_or_harmless(good, tmp_path, is_long):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    random_ = random.Random(seed)
    complete = dump(good)
    for _ in range(200 if is_long else 25):
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(good, work)
        files = [p for p in work.rglob("*") if p.is_file() and p.suffix in (".mdb", ".nxc", ".meta", ".nxj")]
        path = random_.choice(files)
        size = len(path.read_bytes().rstrip(b"\0"))
        if size == 0:
            continue
        flip(path, random_.randrange(size))
        status, found = verify(work)
        if status == 0:  # free pages and dead bytes of LMDB, spare segments
            assert dump(work) == complete, path
        repaired = storage("repair", work)
        assert repaired.returncode in (0, 1), (path, repaired.stderr)
        ended = storage("dump", work)
        assert ended.returncode in (0, 1), (path, ended.stderr)
        for line in ended.stdout.splitlines():
            series, text, time_ms = line.rsplit(" ", 2)
            assert complete[series][int(time_ms)] == text, (path, line)


# ---- a mapped file that cannot be read ----

def test_a_cut_index_under_a_running_server_ends_it_and_the_next_start_serves_the_rest(work):
    first, second = block_dirs(work)
    with Server(work, "--storage.flush-interval=1h") as server:
        everything = server.samples('{__name__=~"f.*"}', BEGIN_MS, BEGIN_MS + 3_600_000)  # the index is mapped
        assert len(everything) == SERIES
        with open(first / "index.mdb", "r+b") as index:
            index.truncate(4096)
        try:
            server.get("/api/v1/query", {"query": "f0[2h]", "time": (BEGIN_MS + 3_600_000) / 1000})
        except OSError:
            pass
        assert server.process.wait(30) == 1
        Server.running.discard(server)
    line = server.log().splitlines()[-1]
    assert "a mapped file cannot be read" in line and f"{first}/index.mdb" in line and line.startswith("ts=20"), line
    assert (first / "bad").exists()
    status, found = verify(work)
    assert status == 1 and f"blocks/{first.name}/bad" in [d["file"] for d in found["damages"]]
    with Server(work, "--storage.flush-interval=1h") as server:
        rest = server.samples('{__name__=~"f.*"}', BEGIN_MS, BEGIN_MS + 3_600_000)
        assert all(len(samples) == 30 for samples in rest.values()) and len(rest) == SERIES
        assert "blocks set aside in quarantine" in server.log()
        assert (work / "quarantine" / first.name / "bad").exists()
        assert server.get("/-/healthy").status == 200
