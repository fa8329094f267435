"""Starts, stops and kills one narthex, and asks it over HTTP. Ends only processes that it started."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def narthex_bin():
    return os.environ.get("NARTHEX_BIN", str(ROOT / "build/release/narthex"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, timeout_s, pause_s=0.02):
    """What the condition was at last: true, or whatever it is after the time."""
    deadline = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(pause_s)
    return met


class Server:
    running = set()  # of this process: what tests have started and not ended

    def __init__(self, data, *flags, env=None, port=None):
        self.data = pathlib.Path(data)
        self.flags = list(flags)
        self.env = dict(os.environ, **(env or {}))
        self.port = port or free_port()
        self.process = None
        self.log_path = self.data.parent / f"{self.data.name}.log"

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.stop()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def launch(self):
        """Starts the process without waiting until it is ready."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [narthex_bin(), f"--storage.path={self.data}", f"--web.listen-address=127.0.0.1:{self.port}", *self.flags],
                stdout=log, stderr=log, env=self.env)
        Server.running.add(self)
        return self

    def start(self, timeout_s=60):
        self.launch()
        self.wait_ready(timeout_s)
        return self

    def wait_ready(self, timeout_s=60):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"narthex ended with {self.process.returncode}: {self.log()[-2000:]}")
            try:
                if self.get("/-/ready").status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"not ready within {timeout_s} s: {self.log()[-2000:]}")

    def stop(self, timeout_s=60):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout_s)
        Server.running.discard(self)
        return status

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()
        Server.running.discard(self)

    def has_ended(self, timeout_s):
        """Whether the process ends by itself within the time."""
        return wait_until(lambda: self.process.poll() is not None, timeout_s, 0.01)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # ---- HTTP ----

    def request(self, method, path, body=None, headers=None, timeout_s=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            response.body = response.read()
            return response
        finally:
            connection.close()

    def get(self, path, params=None, headers=None):
        query = "?" + urllib.parse.urlencode(params, doseq=True) if params else ""
        return self.request("GET", path + query, headers=headers)

    def post(self, path, params):
        return self.request("POST", path, urllib.parse.urlencode(params, doseq=True),
                            {"Content-Type": "application/x-www-form-urlencoded"})

    def write(self, body, headers=None):
        """One remote-write request of an already compressed body; the response."""
        default = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                   "X-Prometheus-Remote-Write-Version": "0.1.0"}
        default.update(headers or {})
        return self.request("POST", "/api/v1/write", body, {k: v for k, v in default.items() if v is not None})

    def api(self, path, **params):
        """GET of the query API; the data, or AssertionError with the answer."""
        response = self.get("/api/v1/" + path, {k.rstrip("_"): v for k, v in params.items()})
        assert response.status == 200, (response.status, response.body)
        return json.loads(response.body)["data"]

    def query(self, query, time_s):
        return self.api("query", query=query, time=time_s)

    def query_range(self, query, start_s, end_s, step_s):
        return self.api("query_range", query=query, start=start_s, end=end_s, step=step_s)

    def samples(self, selector, start_ms, end_ms):
        """Every raw sample in [start, end] by a range selector: {labels as sorted tuple: [(t_ms, value text), ...]}."""
        data = self.api("query", query=f"{selector}[{end_ms - start_ms + 1}ms]", time=f"{end_ms / 1000:.3f}")
        return {tuple(sorted(s["metric"].items())): [(round(t * 1000), v) for t, v in s["values"]]
                for s in data["result"]}

    def metric(self, name):
        """Value of one of the server's own metrics, summed over its labels; with labels in the name, that one's."""
        total, found = 0.0, False
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " ") or line.startswith(name + "{"):
                total, found = total + float(line.rsplit(" ", 1)[1]), True
        assert found, f"no metric {name}"
        return total
