"""Deletes over HTTP: what is asked is gone at once, for every endpoint, over restarts and kills; what is written later stays."""

import contextlib
import json
import os
import random
import threading
import time
import urllib.parse

import pytest

from support import remote_write as rw
from support.server import Server, wait_until

ADMIN = "--web.enable-admin-api"
DELETE = "/api/v1/admin/tsdb/delete_series"
CLEAN = "/api/v1/admin/tsdb/clean_tombstones"
BEGIN_MS = (int(time.time()) - 7200) // 60 * 60_000
STEPS = 40
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def admin(tmp_path):
    with Server(tmp_path / "data", ADMIN) as running:
        yield running


def fill(server, names=("up", "cpu", "mem"), instances=4, value=1.0, steps=range(STEPS)):
    rows = [rw.series({"__name__": name, "instance": f"i{i}", "job": f"j{i % 2}"}, [(BEGIN_MS + s * 60_000, value + s) for s in steps])
            for name in names for i in range(instances)]
    answer = server.write(rw.body(*rows))
    assert answer.status == 204, answer.body


def delete(server, *selectors, method="POST", **params):
    query = urllib.parse.urlencode([("match[]", s) for s in selectors] + list(params.items()))
    answer = server.request(method, f"{DELETE}?{query}")
    assert (answer.status, answer.body) == (204, b""), (answer.status, answer.body)


def clean(server, method="POST"):
    answer = server.request(method, CLEAN)
    assert (answer.status, answer.body) == (204, b""), (answer.status, answer.body)


def times(server, selector):
    """{instance: [step, ...]}"""
    found = server.samples(selector, BEGIN_MS - 1000, BEGIN_MS + STEPS * 60_000)
    return {dict(labels)["instance"]: [(at - BEGIN_MS) // 60_000 for at, _ in points] for labels, points in found.items()}


def series_count(server, selector):
    return len(server.api("series", **{"match[]": selector}))


def settle(server, kill):
    """Again after a restart, by SIGTERM or kill -9."""
    if kill:
        server.kill()
    else:
        assert server.stop() == 0
    server.start()


# ---- the calls themselves ----


@pytest.mark.parametrize("path", [DELETE + "?match[]=up", CLEAN])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_admin_calls_are_off_unless_enabled(server, path, method):
    answer = server.request(method, path)
    assert answer.status == 500
    assert json.loads(answer.body) == {"status": "error", "errorType": "unavailable", "error": "admin APIs disabled"}


@pytest.mark.parametrize("path", [DELETE, CLEAN])
def test_admin_calls_want_post_or_put(admin, path):
    answer = admin.get(path)
    assert answer.status == 405
    assert {"POST", "PUT"} <= {word.strip() for word in answer.getheader("Allow").split(",")}
    assert admin.request("OPTIONS", path).status == 204


@pytest.mark.parametrize("query, text", [
    ("", "no match[] parameter provided"),
    ("match[]=%7B", 'invalid parameter "match[]"'),
    ("match[]=up&start=soon", 'invalid parameter "start"'),
    ("match[]=up&end=late", 'invalid parameter "end"'),
    ("match[]=up&match[]=%7Ba%3D~%22%5B%22%7D", 'invalid parameter "match[]"'),
])
def test_wrong_parameters_are_refused_and_delete_nothing(admin, query, text):
    fill(admin)
    answer = admin.request("POST", f"{DELETE}?{query}")
    assert answer.status == 400
    body = json.loads(answer.body)
    assert body["errorType"] == "bad_data" and text in body["error"]
    assert len(times(admin, "up")) == 4


def test_parameters_may_come_in_a_form(admin):
    fill(admin)
    body = urllib.parse.urlencode([("match[]", 'up{instance="i1"}'), ("match[]", "mem")])
    answer = admin.request("PUT", DELETE, body, FORM)
    assert (answer.status, answer.body) == (204, b"")
    assert sorted(times(admin, "up")) == ["i0", "i2", "i3"]
    assert not times(admin, "mem")
    assert len(times(admin, "cpu")) == 4


def test_a_delete_of_nothing_is_fine(admin):
    delete(admin, "nothing")
    fill(admin)
    delete(admin, "nothing")
    delete(admin, "up", start=2_000_000_000, end=1_000_000_000)
    assert len(times(admin, "up")) == 4
    clean(admin)
    clean(admin, "PUT")
    assert len(times(admin, "up")) == 4


# ---- what is gone ----


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_deleted_samples_are_gone_for_every_endpoint(admin, kill):
    fill(admin)
    delete(admin, 'up{job="j0"}', start=(BEGIN_MS + 10 * 60_000) / 1000, end=(BEGIN_MS + 19 * 60_000) / 1000)
    delete(admin, "cpu")

    def check():
        rest = [*range(10), *range(20, STEPS)]
        assert times(admin, "up") == {"i0": rest, "i2": rest, "i1": list(range(STEPS)), "i3": list(range(STEPS))}
        assert not times(admin, "cpu") and len(times(admin, "mem")) == 4
        assert series_count(admin, "up") == 4 and series_count(admin, "cpu") == 0
        within = {"start": (BEGIN_MS + 12 * 60_000) / 1000, "end": (BEGIN_MS + 15 * 60_000) / 1000}
        assert {s["instance"] for s in admin.api("series", **{"match[]": "up"}, **within)} == {"i1", "i3"}
        assert admin.api("label/instance/values", **{"match[]": "up"}, **within) == ["i1", "i3"]
        assert admin.api("labels", **{"match[]": "cpu"}) == []
        assert admin.query("count(cpu)", (BEGIN_MS + 5 * 60_000) / 1000)["result"] == []
        counted = admin.query_range("count(up)", BEGIN_MS / 1000, (BEGIN_MS + (STEPS - 1) * 60_000) / 1000, 60)
        values = [int(v) for _, v in counted["result"][0]["values"]]
        # The look-back of five minutes reaches over the edge of the gap.
        assert values[:10] == [4] * 10 and values[15:20] == [2] * 5 and values[20:] == [4] * (STEPS - 20)

    check()
    settle(admin, kill)
    check()
    clean(admin)
    check()
    settle(admin, kill)
    check()
    assert admin.metric("narthex_blocks_quarantined_total") == 0


def test_start_and_end_are_inclusive(admin):
    fill(admin, names=("up",), instances=1)
    delete(admin, "up", start=BEGIN_MS / 1000, end=BEGIN_MS / 1000)
    delete(admin, "up", start=(BEGIN_MS + 3 * 60_000) / 1000, end=(BEGIN_MS + 5 * 60_000) / 1000)
    delete(admin, "up", start=(BEGIN_MS + 7 * 60_000 + 1) / 1000, end=(BEGIN_MS + 9 * 60_000 - 1) / 1000)
    assert times(admin, "up") == {"i0": [s for s in range(STEPS) if s not in (0, 3, 4, 5, 8)]}


# ---- what comes later ----


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
@pytest.mark.parametrize("is_cleaned", [False, True], ids=["masked", "cleaned"])
def test_what_is_written_after_a_delete_is_stored(admin, kill, is_cleaned):
    fill(admin, value=1.0)
    delete(admin, "up")
    if is_cleaned:
        clean(admin)
    fill(admin, value=1.0)  # the same bits at the same times, the newest among them
    assert len(times(admin, "up")) == 4
    delete(admin, "up")
    assert not times(admin, "up")
    fill(admin, names=("up",), value=500.0)  # other values
    for _ in range(2):
        found = admin.samples("up", BEGIN_MS - 1000, BEGIN_MS + STEPS * 60_000)
        assert len(found) == 4
        assert all(float(v) == 500.0 + (at - BEGIN_MS) / 60_000 for points in found.values() for at, v in points)
        assert all(len(points) == STEPS for points in found.values())
        settle(admin, kill)
    clean(admin)
    assert len(times(admin, "up")) == 4
    # While the new one is in the head, another value for its time is refused again.
    delete(admin, "cpu")
    fill(admin, names=("cpu",), value=3.0)
    row = rw.series({"__name__": "cpu", "instance": "i0", "job": "j0"}, [(BEGIN_MS, 4.0)])
    assert admin.write(rw.body(row)).status == 400


def test_a_writer_that_goes_on_keeps_what_it_writes_after_each_delete(admin):
    stopping, acked, failures = threading.Event(), [], []

    def write_on():
        step = 0
        while not stopping.is_set():
            at = BEGIN_MS + step * 250
            answer = admin.write(rw.body(rw.series({"__name__": "busy", "instance": "i0"}, [(at, float(step))])))
            if answer.status == 204:
                acked.append(at)
            else:
                failures.append((answer.status, answer.body))
            step += 1

    thread = threading.Thread(target=write_on)
    thread.start()
    before = after = 0
    for _ in range(5):
        time.sleep(0.3)
        before = acked[-1]
        delete(admin, "busy")
        after = acked[-1]
    time.sleep(0.3)
    stopping.set()
    thread.join()
    assert not failures

    def visible():
        found = admin.samples("busy", BEGIN_MS - 1000, acked[-1] + 1)
        return [at for points in found.values() for at, _ in points]

    seen = visible()
    assert not [at for at in seen if at <= before], "what was acknowledged before the delete is seen after it"
    assert [at for at in acked if at > after + 500] == [at for at in seen if at > after + 500]
    admin.kill()
    admin.start()
    assert visible() == seen


# ---- space ----


def disk_bytes(server):
    """Of the files in blocks/; one that goes away meanwhile takes nothing."""
    total = 0
    for directory, _, names in os.walk(server.data / "blocks"):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(directory, name)).st_size
    return total


def test_clean_tombstones_gives_space_back_and_metrics_tell(admin):
    rows = [rw.series({"__name__": f"m{i % 10}", "instance": f"i{i}"}, [(BEGIN_MS + s * 15_000, (s * 7919 + i * 31) % 1000 / 7) for s in range(300)])
            for i in range(400)]
    assert admin.write(rw.body(*rows)).status == 204
    delete(admin, "nothing_yet")
    before = disk_bytes(admin)
    delete(admin, '{__name__=~"m[0-8]"}')
    assert admin.metric("narthex_tombstones") == 1
    assert admin.metric("narthex_deleted_series_total") == 360
    assert admin.metric("narthex_deletes_total") == 2
    assert disk_bytes(admin) >= before
    clean(admin)
    assert disk_bytes(admin) < before / 3
    assert admin.metric("narthex_tombstone_cleans_total") == 1
    assert admin.metric("narthex_deleted_samples_total") == 360 * 300 - 360  # a sample each stays for the slots, masked
    assert series_count(admin, '{__name__=~"m[0-9]"}') == 40
    # With a newer flush nothing is left of them.
    fill(admin)
    clean(admin)
    assert admin.metric("narthex_tombstones") == 0
    assert admin.metric("narthex_deleted_samples_total") == 360 * 300
    assert series_count(admin, '{__name__=~"m[0-9]"}') == 40
    admin.kill()
    admin.start()
    assert series_count(admin, '{__name__=~"m[0-9]"}') == 40 and len(times(admin, "up")) == 4


def test_slots_survive_a_clean_of_the_newest_flush(admin):
    """The journal names series by the slots of the newest flush: a clean in between must not change whose samples they are."""
    fill(admin, instances=8)
    delete(admin, 'cpu{instance=~"i[0-3]"}')
    clean(admin)
    fill(admin, instances=8, steps=range(STEPS, STEPS + 5), value=1000.0)
    admin.kill()
    admin.start()
    for name in ("up", "cpu", "mem"):
        found = admin.samples(name, BEGIN_MS - 1000, BEGIN_MS + (STEPS + 5) * 60_000)
        assert len(found) == 8
        for labels, points in found.items():
            is_deleted = name == "cpu" and dict(labels)["instance"] in ("i0", "i1", "i2", "i3")
            expected = [] if is_deleted else [(BEGIN_MS + s * 60_000, 1.0 + s) for s in range(STEPS)]
            expected += [(BEGIN_MS + s * 60_000, 1000.0 + s) for s in range(STEPS, STEPS + 5)]
            assert [(at, float(v)) for at, v in points] == expected


# ---- retention by size ----


def write_days(server, days, values):
    """A flush for each day in the past, oldest first, by asking for a delete of nothing."""
    for day in days:
        at = int(time.time() * 1000) - day * 86_400_000
        rows = [rw.series({"__name__": "sized", "day": str(day), "i": str(i)}, [(at + s * 1000, values.random()) for s in range(200)]) for i in range(40)]
        assert server.write(rw.body(*rows)).status == 204
        delete(server, "nothing")


@pytest.mark.parametrize("where", ["flag", "file"])
def test_retention_by_size_drops_the_oldest(tmp_path, where):
    if where == "flag":
        flags = ["--storage.retention-size=400KB"]
    else:
        (tmp_path / "config.yml").write_text("storage:\n  tsdb:\n    retention:\n      size: 400KB\n")
        flags = [f"--config.file={tmp_path / 'config.yml'}"]
    with Server(tmp_path / "data", ADMIN, "--storage.flush-interval=1s", *flags) as server:
        write_days(server, range(20, 0, -1), random.Random(1))
        wait_until(lambda: max(server.metric("narthex_block_bytes"), disk_bytes(server)) <= 400 * 1024, 30)
        assert 100 * 1024 < server.metric("narthex_block_bytes") <= 400 * 1024
        assert server.metric('narthex_blocks_retired_total{reason="size"}') > 0
        days = sorted(int(d) for d in server.api("label/day/values", **{"match[]": "sized"}))
        assert days and days == list(range(1, len(days) + 1)) and len(days) < 20
        assert disk_bytes(server) <= 400 * 1024


@pytest.mark.parametrize("text", ["400XB", "-1KB", "many"])
def test_a_wrong_retention_size_is_refused(tmp_path, text):
    server = Server(tmp_path / "data", f"--storage.retention-size={text}")
    with pytest.raises(RuntimeError, match="ended with 2"):
        server.start()
    (tmp_path / "config.yml").write_text(f"storage:\n  tsdb:\n    retention:\n      size: {text}\n")
    server = Server(tmp_path / "data", f"--config.file={tmp_path / 'config.yml'}")
    with pytest.raises(RuntimeError, match="config.yml:4"):
        server.start()
