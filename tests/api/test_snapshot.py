"""POST /api/v1/admin/tsdb/snapshot, and narthex storage restore of what it made."""

import json
import os
import re
import shutil
import threading
import time

import pytest

from support import remote_write as rw
from support.server import Server
from support.tools import dump, storage, tree, verify

PATH = "/api/v1/admin/tsdb/snapshot"
BEGIN_MS = int(time.time()) // 60 * 60_000 - 3_600_000


def snapshot(server, query="", method="POST"):
    answer = server.request(method, PATH + query, timeout_s=120)
    assert answer.status == 200, answer.body
    return server.data / "snapshots" / json.loads(answer.body)["data"]["name"]


def put(server, i, at=0):
    assert server.write(rw.body(rw.series({"__name__": "s", "i": str(i)}, [(BEGIN_MS + at, i + 0.5)]))).status == 204


def test_the_admin_api_is_off_unless_asked_for(server):
    for method in ("POST", "PUT"):
        answer = server.request(method, PATH)
        assert answer.status == 500
        assert json.loads(answer.body) == {"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"}
    assert server.get(PATH).status == 405
    assert not (server.data / "snapshots").exists()


def test_a_snapshot_has_everything_acknowledged_and_lives_alone(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        put(server, 0)
    with Server(data, "--web.enable-admin-api") as server:
        put(server, 1)
        made = snapshot(server, method="PUT")
        assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{16}", made.name)
        put(server, 2)
        second = snapshot(server)
        blocks = list((made / "blocks").iterdir())
        assert len(blocks) == 1
        for file in blocks[0].iterdir():
            assert os.stat(file).st_nlink >= 2  # links, not copies
        assert list((data / "tmp").iterdir()) == []
    assert set(dump(made)) == {'s{i="0"}', 's{i="1"}'}
    assert set(dump(second)) == {'s{i="0"}', 's{i="1"}', 's{i="2"}'}
    # Everything else goes away; a server starts on the snapshot itself.
    shutil.rmtree(data / "blocks")
    shutil.rmtree(data / "journal")
    with Server(second) as server:
        assert len(server.query("s", BEGIN_MS / 1000)["result"]) == 3
    assert verify(made)[0] == 0 and set(dump(made)) == {'s{i="0"}', 's{i="1"}'}


def test_skip_head_takes_blocks_only(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        put(server, 0)
    with Server(data, "--web.enable-admin-api") as server:
        put(server, 1)
        assert set(dump(snapshot(server, "?skip_head=true"))) == {'s{i="0"}'}
        assert set(dump(snapshot(server, "?skip_head=0"))) == {'s{i="0"}', 's{i="1"}'}
        answer = server.request("POST", PATH + "?skip_head=perhaps")
        assert answer.status == 400
        assert json.loads(answer.body)["error"] == 'invalid parameter "skip_head": strconv.ParseBool: parsing "perhaps": invalid syntax'


def test_an_empty_server_makes_an_empty_snapshot(tmp_path):
    with Server(tmp_path / "data", "--web.enable-admin-api") as server:
        made = snapshot(server)
    assert verify(made)[0] == 0 and dump(made) == {}
    with Server(made) as server:
        put(server, 7)


def test_snapshots_beside_ingest_flush_merge_and_retention_are_complete(tmp_path, is_long):
    data = tmp_path / "data"
    flags = ("--web.enable-admin-api", "--storage.flush-interval=1s", "--storage.flush-samples=1000", "--storage.journal-segment-size=1MB",
             "--storage.retention.time=100d")
    acked, stopping = [], threading.Event()
    with Server(data, *flags) as server:
        def write(writer):
            step = 0
            while not stopping.is_set():
                at = BEGIN_MS - 40 * 86_400_000 + step * 60_000 * 7
                rows = [rw.series({"__name__": "s", "i": str(i), "w": str(writer)}, [(at, step + i / 8)]) for i in range(40)]
                if server.write(rw.body(*rows)).status == 204:
                    acked.append((writer, step, at))
                step += 1

        threads = [threading.Thread(target=write, args=(w,)) for w in range(3)]
        for thread in threads:
            thread.start()
        made = []
        deadline = time.monotonic() + (60 if is_long else 10)
        while time.monotonic() < deadline:
            time.sleep(0.2)
            count = len(acked)
            made.append((snapshot(server), count))
        stopping.set()
        for thread in threads:
            thread.join()
        assert server.metric("narthex_flushes_total") > 3 and server.metric("narthex_merges_total") > 0
        assert len(made) > 5
    for path, count in made[::max(1, len(made) // 12)] + made[-1:]:
        status, found = verify(path)
        assert status == 0 and found["damages"] == [], (path, found)
        samples = dump(path)
        for writer, step, at in acked[:count]:
            for i in (0, 17, 39):
                assert float(samples[f's{{i="{i}", w="{writer}"}}'][at]) == step + i / 8, (path, writer, step)


def test_a_crash_while_a_snapshot_is_made_leaves_none(tmp_path):
    data = tmp_path / "data"
    server = Server(data, "--web.enable-admin-api", env={"NARTHEX_CRASH_POINT": "snapshot_made"}).start()
    put(server, 1)
    with pytest.raises(OSError):
        server.request("POST", PATH)
    server.process.wait(30)
    Server.running.discard(server)
    assert list((data / "tmp").iterdir()) != []
    with Server(data, "--web.enable-admin-api") as server:
        assert list((data / "tmp").iterdir()) == []
        assert list((data / "snapshots").iterdir()) == []
        assert set(dump(snapshot(server))) == {'s{i="1"}'}


# ---- restore ----

@pytest.fixture
def made(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        put(server, 0)
    with Server(data, "--web.enable-admin-api") as server:
        put(server, 1)
        return snapshot(server)


def test_restore_makes_a_data_directory_of_its_own(made, tmp_path):
    before, complete = tree(made), dump(made)
    for target in (tmp_path / "absent", tmp_path / "empty"):
        if target.name == "empty":
            target.mkdir()
        ended = storage("restore", made, target)
        assert ended.returncode == 0 and "restored into" in ended.stdout, ended.stderr
        assert dump(target) == complete and not (target / "RESTORING").exists()
        for file in target.rglob("*"):
            assert file.is_dir() or file.stat().st_nlink == 1
        with Server(target) as server:
            put(server, 3)
    assert tree(made) == before


def test_restore_refuses_a_target_that_holds_something(made, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("x")
    ended = storage("restore", made, target)
    assert ended.returncode == 1 and "not empty" in ended.stderr and len(ended.stderr.splitlines()) == 1
    assert [p.name for p in target.iterdir()] == ["mine"]
    (tmp_path / "file").write_text("x")
    assert storage("restore", made, tmp_path / "file").returncode == 1


def test_restore_touches_nothing_when_the_snapshot_is_damaged(made, tmp_path):
    chunks = next(made.rglob("chunks.nxc"))
    content = bytearray(chunks.read_bytes())
    content[40] ^= 1
    chunks.unlink()
    chunks.write_bytes(content)
    ended = storage("restore", made, tmp_path / "target")
    assert ended.returncode == 1 and "nothing was copied" in ended.stderr and "DAMAGED" in ended.stdout
    assert not (tmp_path / "target").exists()


def test_an_interrupted_restore_is_not_served(made, tmp_path, monkeypatch):
    target = tmp_path / "target"
    monkeypatch.setenv("NARTHEX_CRASH_POINT", "restore_copied")
    assert storage("restore", made, target).returncode == 137
    monkeypatch.delenv("NARTHEX_CRASH_POINT")
    server = Server(target).launch()
    assert server.process.wait(30) == 2 and "restore that did not end" in server.log()
    Server.running.discard(server)
    assert storage("verify", target).returncode == 2
    assert storage("restore", made, target).returncode == 1  # not empty
