"""Writers that remember what they sent, what was acknowledged and when, and the reading back of all of it, bit by bit.

Samples lie days in the past, ten minutes apart, so that two-hour and day partitions are complete and merged within seconds. Some are late.
When the server has the admin API, series are written and deleted again as well.
"""

import http.client
import json
import math
import random
import struct
import subprocess
import threading
import time

from support import remote_write as rw
from support.server import narthex_bin

DAY_MS = 86_400_000
STEP_MS = 600_000
SERIES = 12
NEVER = 1 << 63


def bits(value):
    return struct.pack("<d", value)


def mono_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def has_admin_api():
    return "--web.enable-admin-api" in subprocess.run([narthex_bin(), "--help"], capture_output=True, text=True, check=False).stdout


ADMIN_FLAGS = ("--web.enable-admin-api",) if has_admin_api() else ()


class Ledger:
    """What was sent and acknowledged; a plain object, so that it can be kept beside a recording."""

    def __init__(self):
        self.sent = {}     # (labels, time) -> bits; each key is sent with one value only
        self.acked = {}    # the same -> when, CLOCK_MONOTONIC ns
        self.deleted = {}  # labels -> (asked when, acknowledged when or NEVER)
        self.cutoffs = []  # (from when, ms): what is older may be gone by retention

    def check(self, found, moment_ns=NEVER):
        """`found` as read_all gives it. All that was acknowledged by the moment is there, nothing else than what was sent is."""
        cutoff = max([ms for since_ns, ms in self.cutoffs if since_ns < moment_ns], default=-NEVER)
        lost = [key for key, at in list(self.acked.items())
                if at < moment_ns and key not in found and key[1] >= cutoff and self.deleted.get(key[0], (NEVER,))[0] > moment_ns]
        wrong = [key for key, value in found.items() if self.sent.get(key) != value]
        alive = [key for key in found if self.deleted.get(key[0], (0, NEVER))[1] < moment_ns]
        assert not lost, f"{len(lost)} of {len(self.acked)} acknowledged samples are gone, first {sorted(lost)[0]}"
        assert not wrong, f"{len(wrong)} samples that nobody wrote, first {wrong[0]}: {found[wrong[0]]}, sent {self.sent.get(wrong[0])}"
        assert not alive, f"{len(alive)} deleted samples are back, first {alive[0]}"


def ask_all(server):
    """The response to a query for all samples."""
    return server.get("/api/v1/query", {"query": f'{{__name__=~"crash|doomed"}}[{200 * DAY_MS}ms]', "time": f"{time.time():.3f}"})


def read_all(server):
    """{(labels, time): bits} of all samples; fails when one comes twice or an answer carries a warning."""
    answer = ask_all(server)
    assert answer.status == 200, answer.body[:500]
    answer = json.loads(answer.body)
    assert not answer.get("warnings"), answer["warnings"]
    return samples_of(answer)


def samples_of(answer):
    """The same of an answer to a range selector."""
    found = {}
    for series in answer["data"]["result"]:
        labels = tuple(sorted(series["metric"].items()))
        last = -NEVER
        for at, text in series["values"]:
            at = round(at * 1000)
            assert at > last, f"{labels}: {at} after {last}"
            last = at
            found[(labels, at)] = bits(float(text)) if text != "NaN" else bits(math.nan)
    return found


class Load:
    def __init__(self, server, seed, ledger=None, writers=3, pause_s=0.003, days_back=80, is_deleting=bool(ADMIN_FLAGS)):
        self.server, self.ledger, self.pause_s, self.is_deleting = server, ledger or Ledger(), pause_s, is_deleting
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.failure = None
        self.refused = 0
        self.refusals = set()
        self.acks = 0
        self.doomed = self.random.randrange(1 << 40)
        now_ms = int(time.time()) // 600 * STEP_MS
        begin = now_ms - days_back * DAY_MS
        newest = [at for _, at in self.ledger.sent]
        if newest:
            begin = max(begin, (max(newest) // STEP_MS + 2) * STEP_MS)
        self.next_ms = [begin] * writers
        self.threads = [threading.Thread(target=self.run, args=(w,), daemon=True) for w in range(writers)]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        if self.failure is not None:
            raise AssertionError(self.failure)

    def value(self):
        kind = self.random.randrange(6)
        if kind == 5:
            return self.random.choice((math.nan, math.inf, -math.inf, 5e-324, -0.0, 1.7976931348623157e308))
        return (float(self.random.randrange(1000)), self.random.random() * 1e9, float(self.next_ms[0] // STEP_MS), 1.0,
                round(self.random.random(), 3))[kind]

    def batch(self, writer):
        rows, keys = [], []
        with self.lock:
            for s in range(SERIES):
                labels = (("__name__", "crash"), ("series", str(s)), ("writer", str(writer)))
                at = self.next_ms[writer] + s % 3
                if self.random.randrange(20) == 0:
                    at -= 7 * STEP_MS + 500 + s  # late, at a time of its own
                value = self.value()
                self.ledger.sent[(labels, at)] = bits(value)
                keys.append((labels, at))
                rows.append(rw.series(list(labels), [(at, value)]))
            self.next_ms[writer] += STEP_MS
        return rows, keys

    def run(self, writer):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
            while not self.stopping.is_set():
                self.send(connection, *self.batch(writer))
                if self.is_deleting and writer == 0 and self.random.randrange(8) == 0:
                    self.delete(connection, writer)
                time.sleep(self.pause_s)
            connection.close()
        except (OSError, http.client.HTTPException):
            pass  # killed
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = f"{type(failure).__name__}: {failure}"

    def post(self, connection, path, body, headers):
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()

    def send(self, connection, rows, keys):
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf", "X-Prometheus-Remote-Write-Version": "0.1.0"}
        answer, body = self.post(connection, "/api/v1/write", rw.body(*rows), headers)
        now_ns = mono_ns()
        if answer.status == 204:
            with self.lock:
                self.acks += 1
                for key in keys:
                    self.ledger.acked[key] = now_ns
            return True
        assert answer.status == 503 and answer.headers["Retry-After"], f"status {answer.status}: {body}"
        self.refused += 1
        self.refusals.add(body)
        time.sleep(0.02)
        return False

    def delete(self, connection, writer):
        self.doomed += 1
        labels = (("__name__", "doomed"), ("n", str(self.doomed)))
        samples = [(self.next_ms[writer] + i * STEP_MS // 4, float(i)) for i in range(4)]
        keys = [(labels, at) for at, _ in samples]
        with self.lock:
            self.ledger.sent.update({(labels, at): bits(value) for at, value in samples})
        if not self.send(connection, [rw.series(list(labels), samples)], keys) or self.random.randrange(4) == 0:
            return
        asked_ns = mono_ns()
        with self.lock:
            self.ledger.deleted[labels] = (asked_ns, NEVER)
        query = f"/api/v1/admin/tsdb/delete_series?match[]=doomed%7Bn%3D%22{self.doomed}%22%7D"
        answer, body = self.post(connection, query, b"", {})
        assert answer.status in (204, 503), f"delete: status {answer.status}: {body}"
        if answer.status == 204:
            with self.lock:
                self.ledger.deleted[labels] = (asked_ns, mono_ns())
