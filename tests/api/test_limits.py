"""Hostile and oversized requests: a refusal with a reason, bounded memory, and a server that goes on."""

import json
import time
import urllib.parse

import pytest

from support import remote_write as rw
from support.server import Server

NOW_MS = int(time.time()) * 1000
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def memory_mb(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))


@pytest.mark.parametrize("raw", [
    b"\x0a\x00" * 15_000_000,                                                             # series without anything
    rw.field_bytes(1, rw.field_bytes(1, rw.label("__name__", "m")) + b"\x12\x00" * 15_000_000),  # samples of zero
    rw.field_bytes(1, b"\x0a\x00" * 15_000_000 + rw.field_bytes(2, rw.sample(NOW_MS, 1.0))),     # labels of nothing
    b"\x1a\x00" * 15_000_000,                                                             # metadata of nothing
], ids=["series", "samples", "labels", "metadata"])
def test_small_messages_without_end_are_refused_within_bounded_memory(server, raw):
    before = memory_mb(server)
    answer = server.write(rw.snappy_large(raw))
    assert answer.status == 400 and answer.body
    assert memory_mb(server) - before < 600
    assert server.write(rw.body(rw.series({"__name__": "up"}, [(NOW_MS, 1.0)]))).status == 204


@pytest.mark.parametrize("body", [b"", rw.varint(2**32 - 1) + b"\0" * 10, rw.varint(2**63) + b"\0", b"\x05\xff\xff", b"\x01\x00\x0b"])
def test_broken_bodies_are_400(server, body):
    assert server.write(body).status == 400


def test_the_same_series_with_its_labels_in_any_order_is_one_series(server):
    pairs = [("__name__", "order"), *((f"l{i}", str(i)) for i in range(10))]
    rows = [rw.series(pairs[k % 11:] + pairs[:k % 11], [(NOW_MS - 1000 + k, float(k))]) for k in range(1000)]
    assert server.write(rw.body(*rows)).status == 204
    assert len(server.api("series", **{"match[]": "order"})) == 1
    (points,) = server.samples("order", NOW_MS - 1000, NOW_MS).values()
    assert points == [(NOW_MS - 1000 + k, str(k)) for k in range(1000)]


def test_series_answers_twice_over_a_connection_and_with_many_selectors(server):
    server.write(rw.body(*[rw.series({"__name__": "up", "i": str(i)}, [(NOW_MS, 1.0)]) for i in range(300)]))
    for count in (1, 2, 1000):
        answer = server.request("POST", "/api/v1/series", "match[]=up&" * count, FORM)
        assert answer.status == 200 and len(json.loads(answer.body)["data"]) == 300
        answer = server.request("POST", "/api/v1/labels", "match[]=none&" * count, FORM)
        assert answer.status == 200 and json.loads(answer.body)["data"] == []
    assert server.request("POST", "/api/v1/series", "match[]=up&" * 100_000, FORM).status == 422


def test_answers_of_series_and_labels_are_bounded_in_memory(tmp_path):
    with Server(tmp_path / "data", "--query.max-memory=1MB") as server:
        for k in range(0, 8000, 1000):
            rows = [rw.series({"__name__": "wide", "i": f"{i:0200}"}, [(NOW_MS, 1.0)]) for i in range(k, k + 1000)]
            assert server.write(rw.body(*rows)).status == 204
        for path, parameters in (("series", {"match[]": "wide"}), ("label/i/values", {}), ("query", {"query": "wide"})):
            answer = server.get("/api/v1/" + path, parameters)
            assert answer.status == 422, (path, answer.status)
            assert json.loads(answer.body)["errorType"] == "execution"
        many = "match[]=up&" * 16_000
        assert server.request("POST", "/api/v1/labels", many, FORM).status in (200, 422)
        assert server.get("/-/healthy").status == 200


@pytest.mark.parametrize("query", [
    "(" * 100_000, "-" * 100_000 + "1", "1" + "+1" * 100_000, "sum(" * 5000 + "m" + ")" * 5000, "m" + " or m" * 5000,
    "sum_over_time(sum_over_time(m[1y:1ms])[1y:1ms])", "m[1y:1ms]", 'label_replace(m,"z","$1","i","(a{1000}){1000}")',
    'm{i=~"' + "(a|b)*" * 200 + 'c"}', "m offset 290y", "m @ 1e300", "count_over_time(m[292y:1ms] offset -292y)",
    "topk(1e300, m)", "m * on() group_left m", 'count_values("\\xff", m)',
])
def test_a_query_of_death_is_answered_in_time(tmp_path, query):
    with Server(tmp_path / "data", "--query.max-memory=64MB", "--query.timeout=3s") as server:
        server.write(rw.body(*[rw.series({"__name__": "m", "i": str(i)}, [(NOW_MS, float(i))]) for i in range(500)]))
        begun = time.monotonic()
        answer = server.post("/api/v1/query", {"query": query, "time": NOW_MS / 1000})
        assert answer.status in (200, 400, 422, 503)
        assert time.monotonic() - begun < 6  # the promise itself: --query.timeout ends a query of any shape
        assert memory_mb(server) < 400
        assert server.get("/-/healthy").status == 200


@pytest.mark.parametrize("name, value", [(n, v) for n in ("time", "start", "end", "step", "timeout", "lookback_delta", "limit")
                                         for v in ("9.19e15", "-9.19e15", "1e300", "NaN", "Inf", "-292273086-05-16T16:47:06Z",
                                                   "292277025-08-18T07:12:54.999999999Z", "9223372036854775807", "-1", "0", "x")])
def test_extreme_parameters_are_answered(server, name, value):
    server.write(rw.body(rw.series({"__name__": "m"}, [(NOW_MS, 1.0)])))
    for query in ("m", "rate(m[290y] offset -290y)", "count_over_time(vector(1)[1h:1m] offset 290y)", "timestamp(m @ end())", "year()"):
        instant = {"query": query, "time": NOW_MS / 1000, name: value}
        ranged = {"query": query, "start": NOW_MS / 1000 - 60, "end": NOW_MS / 1000, "step": 15, name: value}
        for path, parameters in (("query", instant), ("query_range", ranged)):
            answer = server.get("/api/v1/" + path, parameters)
            assert answer.status in (200, 400, 422), (path, parameters, answer.status)
    for path in ("labels", "series?match[]=m", "label/__name__/values"):
        joint = "&" if "?" in path else "?"
        assert server.get(f"/api/v1/{path}{joint}{urllib.parse.urlencode({name: value})}").status in (200, 400)
