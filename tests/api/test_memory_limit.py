"""The memory limit holds under everything at once: new series without end, queries of death, slow clients, huge bodies.

Known series are taken all the while, new ones are refused with a reason, and the process lives. The server runs in a
control group that would kill it, where one may be made; its anonymous memory is watched in any case.
"""

import http.client
import json
import os
import socket
import threading
import time

import pytest

from support import memory
from support import remote_write as rw
from support.server import Server, narthex_bin, wait_until

MB = 1 << 20
LIMIT = 256 * MB
KNOWN = 5000
SECONDS = float(os.environ.get("NARTHEX_LIMIT_SECONDS", "20"))


def template(count, samples_at):
    """Bodies whose series are all new each time: the token is replaced, in equal length."""
    rows = []
    for i in range(count):
        labels = {"__name__": "explosion", "pod": f"pod-@@@@@@@@-{i}", "namespace": f"ns-{i % 50}", "node": f"node-{i % 100}",
                  "container": "app", "job": "kubernetes-pods", "instance": f"10.0.{i % 200}.1:8080", "image": "registry/app:1.2.3"}
        rows.append(rw.series(labels, [(samples_at, 1.0)]))
    return rw.write_request(*rows)


class Clients:
    """Threads that go on until the end, and what they were answered."""

    def __init__(self, server):
        self.server, self.is_over, self.threads = server, threading.Event(), []
        self.answers, self.failures, self.lock = {}, [], threading.Lock()

    def start(self, name, run):
        def guarded():
            while not self.is_over.is_set():
                try:
                    run(name)
                except (OSError, http.client.HTTPException) as error:
                    self.note(name, type(error).__name__, b"")
                except Exception as error:  # an assertion of a thread: told at the end
                    self.failures.append(f"{name}: {error!r}")
                    return
        self.threads.append(threading.Thread(target=guarded, name=name))
        self.threads[-1].start()

    def note(self, name, status, body):
        with self.lock:
            count, _ = self.answers.get((name, status), (0, b""))
            self.answers[name, status] = (count + 1, body)

    def count(self, name, status):
        return self.answers.get((name, status), (0, b""))[0]

    def run_for(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.failures and self.server.process.poll() is None:
            time.sleep(0.1)
        self.is_over.set()
        for thread in self.threads:
            thread.join()


class Known:
    """The series that must always be taken: one sample of each a round."""

    def __init__(self, server, clients):
        self.server, self.clients = server, clients
        self.begin_ms = int(time.time() * 1000) - 60_000
        self.rounds = 0
        self.slowest = 0.0

    def write(self, name="known"):
        at = self.begin_ms + self.rounds * 10
        body = rw.body(*[rw.series({"__name__": "known", "i": str(i)}, [(at, float(self.rounds))]) for i in range(KNOWN)])
        begun = time.monotonic()
        answer = self.server.write(body)
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.clients.note(name, answer.status, answer.body)
        assert answer.status == 204, (answer.status, answer.body[:300])
        self.rounds += 1
        time.sleep(0.1)

    def verify(self):
        deadline = time.monotonic() + 60
        while True:
            answer = self.server.get("/api/v1/query", {"query": "count(count_over_time(known[2m]))", "time": self.begin_ms / 1000 + 60})
            if answer.status == 200 or time.monotonic() > deadline:
                break
            assert answer.status == 503, answer.body
            time.sleep(0.2)
        assert json.loads(answer.body)["data"]["result"][0]["value"][1] == str(KNOWN)
        answer = self.server.get("/api/v1/query", {"query": "sum(count_over_time(known[2m]))", "time": self.begin_ms / 1000 + 60})
        assert json.loads(answer.body)["data"]["result"][0]["value"][1] == str(KNOWN * self.rounds)


def explosion(server, clients, number):
    raw = template(2000, int(time.time() * 1000))
    turn = [0]

    def run(name):
        turn[0] += 1
        answer = server.write(rw.snappy_large(raw.replace(b"@@@@@@@@", b"%02d%06d" % (number, turn[0]))))
        clients.note(name, answer.status, answer.body)
    return run


def queries_of_death(server, clients):
    now = time.time()
    texts = ['{__name__=~".+"}', 'label_replace({__name__=~".+"}, "x", "$1$1$1$1$1$1$1$1", "pod", "(.*)")',
             'count_over_time({__name__=~".+"}[1h:1s])', 'sort({job=~".+"})', 'count by (pod) ({__name__=~".+"})']
    turn = [0]

    def run(name):
        turn[0] += 1
        answer = server.post("/api/v1/query_range", {"query": texts[turn[0] % len(texts)], "start": now - 3600, "end": now + 60, "step": 1})
        clients.note(name, answer.status, answer.body[:300] if answer.status != 200 else b"")
        assert answer.status in (200, 422, 503), (answer.status, answer.body[:300])
        if answer.status == 503:
            time.sleep(0.05)
    return run


def slow_clients(server, clients):
    def run(name):
        sockets = []
        try:
            for _ in range(40):
                client = socket.create_connection(("127.0.0.1", server.port))
                client.sendall(b"POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Length: 7000000\r\n\r\n" + b"x" * 100_000)
                sockets.append(client)
            while not clients.is_over.wait(0.2):
                for client in sockets:
                    client.sendall(b"x" * 2000)
        finally:
            for client in sockets:
                client.close()
        clients.note(name, "done", b"")
    return run


def huge_bodies(server, clients):
    now = int(time.time() * 1000)
    empty = rw.snappy_large(b"\x0a\x00" * 3_500_000)
    many = rw.snappy_large(rw.write_request(*[rw.series({"__name__": "huge", "i": str(i), "t": "x" * 150}, [(now, 1.0)]) for i in range(30000)]))
    long = rw.snappy_large(rw.write_request(*[rw.series({"__name__": "long", **{f"l{k:03}": f"{i}-{k}-" + "y" * 2000 for k in range(100)}}, [(now, 1.0)])
                                           for i in range(20)]))
    turn = [0]

    def run(name):
        turn[0] += 1
        answer = server.write((empty, many, long, b"z" * (40 * MB))[turn[0] % 4])
        clients.note(name, answer.status, answer.body[:300])
        assert answer.status in (204, 400, 413, 503), answer.status
    return run


@pytest.fixture
def limited(tmp_path, monkeypatch):
    """A server under the limit, in a group that is a third larger where there may be one."""
    with memory.limited_group(LIMIT // 3 * 4) as group:
        monkeypatch.setenv("NARTHEX_BIN", memory.launcher(tmp_path / "run", group, narthex_bin()))
        flags = [] if group else [f"--storage.memory-limit={LIMIT}"]
        server = Server(tmp_path / "data", *flags, "--query.timeout=20s")
        server.group = group
        server.start()
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()


def test_everything_at_once_stays_below_the_limit(limited):
    server = limited
    assert server.metric("narthex_memory_limit_bytes") <= LIMIT
    clients = Clients(server)
    known = Known(server, clients)
    known.write()
    with memory.Watcher(server.process.pid) as watcher:
        for number in range(3):
            clients.start("explosion", explosion(server, clients, number))
        clients.start("queries", queries_of_death(server, clients))
        clients.start("queries", queries_of_death(server, clients))
        clients.start("slow", slow_clients(server, clients))
        clients.start("huge", huge_bodies(server, clients))
        clients.start("known", known.write)
        clients.run_for(SECONDS)
        told = {key: (count, body[:160]) for key, (count, body) in clients.answers.items()}
        print(f"group {server.group}, largest {watcher.largest / MB:.0f} MB, slowest known {known.slowest:.2f} s", told)
        assert server.process.poll() is None, server.log()[-2000:]
        assert not clients.failures, clients.failures
        known.verify()
    assert watcher.largest < LIMIT, watcher.largest
    assert server.group is None or memory.killed_in(server.group) == 0
    assert clients.count("known", 204) >= 5
    assert known.slowest < 10  # the promise itself: a sender of known series never hangs, here for far less than it waits
    refused, body = clients.answers["explosion", 400]
    assert refused > 10 and b"memory is short (--storage.memory-limit)" in body
    assert server.metric('narthex_ingest_refused_samples_total{reason="memory"}') > 0
    assert server.metric('narthex_memory_refused_total{what="series"}') > 0

    # What was accepted is also there after a start within the same limit.
    assert server.stop() == 0
    server.start()
    with memory.Watcher(server.process.pid) as watcher:
        known.write()
        known.verify()
    assert watcher.largest < LIMIT
    assert server.stop() == 0


def test_new_series_are_taken_again_once_others_have_left(tmp_path):
    with Server(tmp_path / "data", "--storage.memory-limit=64MB", "--storage.flush-interval=2s") as server:
        clients = Clients(server)
        run = explosion(server, clients, 0)
        deadline = time.monotonic() + 60
        while clients.count("new", 400) == 0 and time.monotonic() < deadline:
            run("new")
        assert clients.count("new", 400) > 0
        # Nothing is sent: one flush, and then nothing to flush.
        assert wait_until(lambda: server.metric("narthex_head_series") == 0, 30)
        deadline = time.monotonic() + 60
        status = 400
        while status != 204 and time.monotonic() < deadline:
            time.sleep(1)
            status = server.write(rw.body(rw.series({"__name__": "late", "i": str(time.monotonic())}, [(int(time.time() * 1000), 1.0)]))).status
        assert status == 204, server.log()[-2000:]


def test_the_rate_of_new_series_is_limited_and_a_start_does_not_count(tmp_path):
    now = int(time.time() * 1000)
    rows = [rw.series({"__name__": "rate", "i": str(i)}, [(now, 1.0)]) for i in range(300)]
    with Server(tmp_path / "data", "--storage.max-new-series-per-minute=200") as server:
        answer = server.write(rw.body(*rows))
        assert answer.status == 400 and b"--storage.max-new-series-per-minute" in answer.body
        stored = int(server.api("query", query="count(rate)", time=now / 1000)["result"][0]["value"][1])
        assert 200 <= stored <= 205
        assert server.metric('narthex_ingest_refused_samples_total{reason="series_rate"}') == 300 - stored
        kept = [row["i"] for row in server.api("series", **{"match[]": "rate"})]
        assert server.write(rw.body(*[rw.series({"__name__": "rate", "i": i}, [(now + 1000, 1.0)]) for i in kept])).status == 204
        server.kill()
        server.start()
        assert server.write(rw.body(*[rw.series({"__name__": "rate", "i": i}, [(now + 2000, 1.0)]) for i in kept])).status == 204
        answer = server.write(rw.body(*[rw.series({"__name__": "other", "i": str(i)}, [(now, 1.0)]) for i in range(180)]))
        assert answer.status == 204


def test_a_limit_too_small_to_work_with_is_refused_at_the_start(tmp_path):
    server = Server(tmp_path / "data", "--storage.memory-limit=1MB").launch()
    assert server.process.wait(20) != 0
    Server.running.discard(server)
    assert "--storage.memory-limit" in server.log()
