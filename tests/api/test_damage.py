"""Files that were damaged while the server was stopped: it starts or says in one line why not, tells what is lost, and never answers
with a sample that was not written. A failing round prints its seed; NARTHEX_DAMAGE_SEED replays it."""

import json
import os
import random
import shutil
import time

import pytest

from support import remote_write as rw
from support.server import Server

BEGIN_MS = int(time.time()) // 60 * 60_000 - 5 * 3_600_000
SERIES = 40
STEPS = 40


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A data directory with two blocks and a journal, left behind by kill -9, and what it holds."""
    data = tmp_path_factory.mktemp("damage") / "good"
    sent = {}

    def write(server, steps):
        for step in steps:
            rows = []
            for i in range(SERIES):
                at, value = BEGIN_MS + step * 15_000 + i, float(i * step % 13) + (0.25 if i % 3 else 0)
                sent[(i, at)] = value
                rows.append(rw.series({"__name__": "f", "i": str(i)}, [(at, value)]))
            assert server.write(rw.body(*rows)).status == 204

    for first in (0, 10):
        with Server(data, "--storage.flush-interval=1h") as server:
            write(server, range(first, first + 10))
    server = Server(data, "--storage.flush-interval=1h").start()
    write(server, range(20, STEPS))
    server.kill()
    return data, sent


def flip(random_, data):
    data[random_.randrange(max(1, len(bytes(data).rstrip(b"\0"))))] ^= 1 << random_.randrange(8)


def garble(random_, data):
    for _ in range(50):
        data[random_.randrange(len(data))] = random_.randrange(256)


def cut(random_, data):
    del data[random_.randrange(len(data)):]


def grow(random_, data):
    data += random_.randbytes(5000)


def zero(random_, data):
    at = random_.randrange(len(data))
    data[at:at + 512] = bytes(min(512, len(data) - at))


def empty(_, data):
    del data[:]


DAMAGES = (flip, flip, garble, cut, grow, zero, empty)


def targets(data):
    return sorted(p.relative_to(data) for p in data.rglob("*") if p.is_file() and p.stat().st_size > 0 and p.name.endswith((".nxj", ".nxc", ".meta", ".mdb")))


def check(server, sent):
    answer = server.get("/api/v1/query", {"query": "f[2h]", "time": (BEGIN_MS + 3_600_000) / 1000})
    assert answer.status in (200, 500), answer.body
    found = {}
    if answer.status == 200:
        for series in json.loads(answer.body)["data"]["result"]:
            found.update({(int(series["metric"]["i"]), round(t * 1000)): float(v) for t, v in series["values"]})
    assert not [key for key, value in found.items() if sent.get(key) != value], "samples that nobody wrote"
    return answer, found


def test_damaged_files_are_noticed_and_never_answer_wrongly(good, tmp_path, is_long):
    data, sent = good
    seed = int(os.environ.get("NARTHEX_DAMAGE_SEED", random.randrange(1 << 30)))
    print("replay with NARTHEX_DAMAGE_SEED =", seed)
    random_ = random.Random(seed)
    files = targets(data)
    assert {p.name for p in files} >= {"catalog.mdb", "index.mdb", "chunks.nxc", "block.meta"}
    for number in range(400 if is_long else 60):
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(data, work)
        file, damage = random_.choice(files), random_.choice(DAMAGES)
        content = bytearray((work / file).read_bytes())
        damage(random_, content)
        (work / file).write_bytes(content)
        what = f"round {number}: {damage.__name__} {file}"
        print(what)
        server = Server(work, "--storage.flush-interval=1h")
        server.log_path = tmp_path / f"{number}.log"
        try:
            server.start()
        except RuntimeError:
            lines = [line for line in server.log().splitlines() if not line.startswith("ts=")]
            assert server.process.poll() == 2 and len(lines) == 1 and lines[0].startswith("narthex: "), (what, server.log()[-2000:])
            continue
        answer, found = check(server, sent)
        is_told = "level=error" in server.log() or "level=warn" in server.log() or b'"warnings"' in answer.body
        # The end of a journal that was torn off looks like one that was never written: that alone may pass unnoticed.
        assert len(found) == len(sent) or is_told or file.suffix == ".nxj", (what, len(found), server.log()[-2000:])
        assert server.write(rw.body(rw.series({"__name__": "g"}, [(BEGIN_MS, 1.0)]))).status == 204, what
        assert server.stop() == 0, (what, server.log()[-2000:])


def test_a_removed_journal_is_not_written_to(server):
    def write(at):
        return server.write(rw.body(rw.series({"__name__": "up"}, [(at, 1.0)])))

    now_ms = int(time.time()) * 1000
    assert write(now_ms - 2000).status == 204
    shutil.rmtree(server.data / "journal")
    answer = write(now_ms - 1000)
    assert answer.status == 503 and answer.headers["Retry-After"] == "1"
    assert server.query("up", now_ms / 1000)["result"] != []
    server.kill()  # a stop would wait for a flush that cannot be
