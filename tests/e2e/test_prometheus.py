"""End to end: Debian's Prometheus and node_exporter as real senders; Prometheus 3.14 as sender and oracle where Go is present."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from support.server import ROOT, Server, free_port

QUERIES = pathlib.Path(__file__).with_name("queries.txt")
RELATIVE = 1e-12  # sums over series: their order is left open


class Process:
    """A peer that this test starts and ends, by its own id."""

    def __init__(self, log, *command):
        with open(log, "wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        self.log = log

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def get_json(url, params):
    data = urllib.parse.urlencode(params).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/x-www-form-urlencoded"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def wait_until(condition, timeout_s, what):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {timeout_s} s")


def prometheus_config(path, port, node_port, write_url, external):
    path.write_text(f"""
global: {{scrape_interval: 1s, external_labels: {{{external}}}}}
scrape_configs:
  - {{job_name: prometheus, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}
  - {{job_name: node, static_configs: [{{targets: ["127.0.0.1:{node_port}"]}}]}}
remote_write:
  - {{url: "{write_url}", queue_config: {{batch_send_deadline: 500ms}}}}
""")
    return path


def start_prometheus(binary, tmp_path, port, node_port, write_url, external=""):
    config = prometheus_config(tmp_path / "prometheus.yml", port, node_port, write_url, external)
    return Process(tmp_path / "prometheus.log", binary, f"--config.file={config}",
                   f"--storage.tsdb.path={tmp_path / 'prometheus'}", f"--web.listen-address=127.0.0.1:{port}")


def start_node_exporter(tmp_path, port):
    return Process(tmp_path / "node_exporter.log", "prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}")


def series_of(answer):
    return {tuple(sorted(s["metric"].items())): s for s in answer["data"]["result"]}


@pytest.mark.skipif(not shutil.which("prometheus") or not shutil.which("prometheus-node-exporter"),
                    reason="Debian's prometheus and prometheus-node-exporter are not installed")
def test_debians_prometheus_writes_and_a_restart_misses_nothing(tmp_path):
    port, node_port = free_port(), free_port()
    server = Server(tmp_path / "data").start()
    with start_node_exporter(tmp_path, node_port), \
            start_prometheus("prometheus", tmp_path, port, node_port, server.url + "/api/v1/write", "cluster: e2e"):
        wait_until(lambda: len(server.query("up == 1", time.time())["result"]) == 2, 60, "both targets up")
        server.kill()  # the sender keeps what is not acknowledged
        time.sleep(3)
        server.start()
        begin = time.time()
        wait_until(lambda: len(server.query("up", time.time())["result"]) == 2 and time.time() > begin + 5, 60, "up again")
        end = time.time() - 2
        wait_until(lambda: server.query("max(timestamp(up))", time.time())["result"][0]["value"][1] > str(end), 30, "caught up")
        # Raw samples are the same on both sides: same series, same times, same values.
        for selector in ("up", "node_cpu_seconds_total", "node_memory_MemFree_bytes", "prometheus_tsdb_head_series"):
            params = {"query": f"{selector}[{int(end - begin + 10)}s]", "time": f"{end:.3f}"}
            ours = series_of(get_json(server.url + "/api/v1/query", params))
            theirs = series_of(get_json(f"http://127.0.0.1:{port}/api/v1/query", params))
            assert theirs and len(ours) == len(theirs), selector
            for labels, series in theirs.items():
                key = tuple(sorted({**dict(labels), "cluster": "e2e"}.items()))
                got = dict((round(t * 1000), v) for t, v in ours[key]["values"])
                missing = [(t, v) for t, v in series["values"] if got.get(round(t * 1000)) != v]
                assert not missing, (labels, missing[:3])
    assert server.stop() == 0


def build_peer():
    """Prometheus 3.14 as a Go tool dependency; None where Go is not present or the module cannot be had."""
    go = shutil.which("go")
    if not go:
        return None, "Go is not installed"
    module = ROOT / "tests/peers/prometheus"
    binary = ROOT / "build/peers/prometheus"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        result = subprocess.run([go, "build", "-o", str(binary), "github.com/prometheus/prometheus/cmd/prometheus"],
                                cwd=module, capture_output=True, text=True, timeout=900,
                                env=dict(os.environ, GOFLAGS="-mod=mod"))
        if result.returncode != 0:
            return None, "Prometheus 3.14 could not be built: " + result.stderr.strip().splitlines()[-1][:200]
    return str(binary), ""


def close(a, b):
    if a == b:
        return True
    x, y = float(a), float(b)
    return x == y or abs(x - y) <= RELATIVE * max(abs(x), abs(y)) or (x != x and y != y)


def compare(query, ours, theirs):
    """None when equal, else what differs."""
    if ours["status"] != theirs["status"]:
        return f"{ours.get('error', 'success')} / {theirs.get('error', 'success')}"
    if ours["status"] == "error":
        for answer in (ours, theirs):  # the two series of a duplicate stand in the order in which the store gave them
            answer["error"] = re.sub(r"\[({.*?}), ({.*?})\]", lambda m: str(sorted(m.groups())), answer["error"])
        return None if (ours["errorType"], ours["error"]) == (theirs["errorType"], theirs["error"]) else f"{ours} / {theirs}"
    if sorted(ours.get("warnings", [])) != sorted(theirs.get("warnings", [])) or \
            sorted(ours.get("infos", [])) != sorted(theirs.get("infos", [])):
        return f"annotations {ours.get('warnings')} {ours.get('infos')} / {theirs.get('warnings')} {theirs.get('infos')}"
    a, b = ours["data"], theirs["data"]
    if a["resultType"] != b["resultType"]:
        return f"{a['resultType']} / {b['resultType']}"
    if a["resultType"] in ("scalar", "string"):
        return None if a["result"][0] == b["result"][0] and close(a["result"][1], b["result"][1]) else f"{a} / {b}"
    x, y = series_of(ours), series_of(theirs)
    if set(x) != set(y):
        return f"only ours {list(set(x) - set(y))[:2]}, only theirs {list(set(y) - set(x))[:2]}"
    for labels, series in y.items():
        points, wanted = x[labels].get("values", [x[labels].get("value")]), series.get("values", [series.get("value")])
        if [t for t, _ in points] != [t for t, _ in wanted]:
            return f"{labels}: times {[t for t, _ in points][:4]} / {[t for t, _ in wanted][:4]}"
        for (t, v), (_, w) in zip(points, wanted):
            if not close(v, w):
                return f"{labels} at {t}: {v} / {w}"
    return None


@pytest.mark.skipif(not shutil.which("prometheus-node-exporter"), reason="prometheus-node-exporter is not installed")
def test_prometheus_3_14_sends_and_answers_the_same(tmp_path):
    binary, why = build_peer()
    if binary is None:
        pytest.skip(why)
    port, node_port = free_port(), free_port()
    queries = [line for line in QUERIES.read_text().splitlines() if line and not line.startswith("#")]
    assert len(queries) >= 60  # each is asked twice: instant and range
    with Server(tmp_path / "data") as server, start_node_exporter(tmp_path, node_port), \
            start_prometheus(binary, tmp_path, port, node_port, server.url + "/api/v1/write"):
        wait_until(lambda: len(server.query("up == 1", time.time())["result"]) == 2, 60, "both targets up")
        begin = time.time()
        time.sleep(25)
        at = int(time.time()) - 4
        wait_until(lambda: float(server.query("min(timestamp(up))", time.time())["result"][0]["value"][1]) > at + 1, 30,
                   "caught up")
        # A sample may be in flight when the range ends; it is not: both have everything up to `at`.
        differences = []
        asked = 0
        for query in queries:
            for kind, params in (("query", {"query": query, "time": at}),
                                 ("query_range", {"query": query, "start": int(begin), "end": at, "step": 2})):
                ours = get_json(f"{server.url}/api/v1/{kind}", params)
                theirs = get_json(f"http://127.0.0.1:{port}/api/v1/{kind}", params)
                asked += 1
                difference = compare(query, ours, theirs)
                if difference:
                    differences.append(f"{kind} {query}: {difference}")
        assert asked >= 100
        assert not differences, f"{len(differences)} of {asked} differ:\n" + "\n".join(d[:400] for d in differences[:40])
