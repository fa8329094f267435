"""POST /api/v1/write: every status and reason, and that what was acknowledged is there."""

import math
import struct
import time

from support import remote_write as rw

NOW_MS = int(time.time()) * 1000


def up(**labels):
    return {"__name__": "up", "job": "node", **labels}


def test_a_stored_request_is_204_without_a_body_and_can_be_read_at_once(server):
    answer = server.write(rw.body(rw.series(up(instance="a"), [(NOW_MS - 1000, 1.5)])))
    assert (answer.status, answer.body) == (204, b"")
    assert "X-Prometheus-Remote-Write-Samples-Written" not in answer.headers
    assert server.samples("up", NOW_MS - 5000, NOW_MS) == {
        (("__name__", "up"), ("instance", "a"), ("job", "node")): [(NOW_MS - 1000, "1.5")]}


def test_every_float_comes_back_with_its_text(server):
    values = [0.0, -0.0, 1e-320, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, math.inf, -math.inf, 123456789.123456789, 1e21, 1e-7]
    server.write(rw.body(rw.series(up(), [(NOW_MS - 60000 + i * 1000, v) for i, v in enumerate(values)])))
    (points,) = server.samples("up", NOW_MS - 70000, NOW_MS).values()
    assert [t for t, _ in points] == [NOW_MS - 60000 + i * 1000 for i in range(len(values))]
    assert [struct.pack("<d", float(v)) for _, v in points] == [struct.pack("<d", v) for v in values]
    assert points[1][1] == "-0" and points[9][1] == "1e+21" and points[10][1] == "1e-07"


def test_nan_is_kept_and_the_stale_marker_ends_the_series(server):
    server.write(rw.body(rw.series(up(), [(NOW_MS - 3000, ("bits", 0x7FF8000000000001)), (NOW_MS - 2000, 4.0),
                                          (NOW_MS - 1000, ("bits", 0x7FF0000000000002))])))
    (points,) = server.samples("up", NOW_MS - 5000, NOW_MS).values()
    assert points == [(NOW_MS - 3000, "NaN"), (NOW_MS - 2000, "4")]
    assert server.query("up", (NOW_MS - 1500) / 1000)["result"] != []
    assert server.query("up", NOW_MS / 1000)["result"] == []


def test_unsorted_labels_are_sorted_and_empty_values_dropped(server):
    answer = server.write(rw.body(rw.series([("zone", "z"), ("__name__", "m"), ("empty", ""), ("a", "1")], [(NOW_MS, 1.0)])))
    assert answer.status == 204
    assert server.api("series", **{"match[]": "m"}) == [{"__name__": "m", "a": "1", "zone": "z"}]


def test_a_resend_is_accepted_and_another_value_is_reported(server):
    body = rw.body(rw.series(up(), [(NOW_MS, 1.0)]))
    assert server.write(body).status == 204
    assert server.write(body).status == 204
    answer = server.write(rw.body(rw.series(up(), [(NOW_MS, 2.0)])))
    assert answer.status == 400
    assert b"duplicate sample for timestamp" in answer.body and b"existing 1, new value 2" in answer.body
    (points,) = server.samples("up", NOW_MS - 1000, NOW_MS).values()
    assert points == [(NOW_MS, "1")]


def test_late_and_unordered_samples_are_stored_and_found(server):
    times = [NOW_MS - 1000, NOW_MS - 900000, NOW_MS - 500, NOW_MS - 7200000, NOW_MS - 86400000 * 3]
    for at in times:
        assert server.write(rw.body(rw.series(up(), [(at, float(at % 1000))]))).status == 204
    (points,) = server.samples("up", NOW_MS - 86400000 * 4, NOW_MS).values()
    assert [t for t, _ in points] == sorted(times)


def test_bad_series_are_reported_and_the_rest_is_stored(server):
    bad = [
        rw.series({"job": "no-name"}, [(NOW_MS, 1.0)]),
        rw.series([("__name__", "m"), ("a", "1"), ("a", "2")], [(NOW_MS, 1.0)]),
        rw.series([("__name__", b"\xff\xfe")], [(NOW_MS, 1.0)]),
        rw.series([("__name__", "m"), ("", "x")], [(NOW_MS, 1.0)]),
        rw.series([("__name__", "m"), ("a", b"\xff")], [(NOW_MS, 1.0)]),
        rw.series([("__name__", "m")] + [(f"l{i:03}", "v") for i in range(200)], [(NOW_MS, 1.0)]),
        rw.series([("__name__", "m"), ("long", "v" * 20000)], [(NOW_MS, 1.0)]),
    ]
    answer = server.write(rw.body(*bad, rw.series({"__name__": "good"}, [(NOW_MS, 7.0)])))
    assert answer.status == 400
    text = answer.body.decode(errors="replace")
    assert "7 refused, 1 samples stored" in text
    assert "duplicate" in text and "at most 128" in text
    assert server.samples("good", NOW_MS - 1000, NOW_MS) != {}
    assert server.api("label/__name__/values") == ["good"]


def test_samples_in_the_future_are_refused(server):
    answer = server.write(rw.body(rw.series(up(), [(NOW_MS, 1.0), (NOW_MS + 3600_000, 2.0)])))
    assert answer.status == 400 and b"too far in the future" in answer.body
    (points,) = server.samples("up", NOW_MS - 1000, NOW_MS + 7200_000).values()
    assert points == [(NOW_MS, "1")]


def test_samples_beyond_the_retention_are_refused(server):
    answer = server.write(rw.body(rw.series(up(), [(NOW_MS - 91 * 86400_000, 1.0)])))
    assert answer.status == 400 and b"too old" in answer.body


def test_empty_requests_and_series_without_samples_are_acknowledged(server):
    assert server.write(rw.snappy(b"")).status == 204
    assert server.write(rw.body(rw.series(up(), []))).status == 204
    assert server.api("series", **{"match[]": "up"}) == []


def test_wrong_encodings_and_types_are_415(server):
    body = rw.body(rw.series(up(), [(NOW_MS, 1.0)]))
    for encoding in ("gzip", "zstd", "identity", "Snappy"):
        assert server.write(body, {"Content-Encoding": encoding}).status == 415, encoding
    for media in ("application/json", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "text/plain",
                  "application/x-protobuf;proto=other", "application/x-protobuf; proto=io.prometheus.write.v2.Request",
                  "application/x-protobuf;nonsense"):
        answer = server.write(body, {"Content-Type": media})
        assert answer.status == 415 and answer.body.count(b"\n") == 1, media
    for media in (None, "application/x-protobuf", "application/x-protobuf;proto=prometheus.WriteRequest"):
        assert server.write(body, {"Content-Type": media}).status == 204, media
    assert server.write(body, {"Content-Encoding": None}).status == 204


def test_bytes_that_are_no_request_are_400_with_one_line(server):
    good = rw.body(rw.series(up(), [(NOW_MS, 1.0)]))
    for body in (b"", b"garbage", good[:-3], rw.snappy(b"\x0a\xff\xff"), rw.snappy(b"\xff" * 40),
                 rw.varint(40 << 20) + b"\x00", b"\xff\x06\x00\x00sNaPpY"):
        answer = server.write(body)
        assert answer.status == 400, body
        assert answer.body.count(b"\n") == 1 and len(answer.body) > 5
    assert server.write(good).status == 204


def test_a_body_above_the_limit_is_413(server):
    answer = server.request("POST", "/api/v1/write", None, {"Content-Length": str(64 << 20), "Content-Encoding": "snappy"})
    assert answer.status == 413


def test_other_methods_are_405_with_allow(server):
    answer = server.get("/api/v1/write")
    assert answer.status == 405 and "POST" in answer.headers["Allow"]


def test_reordered_and_unknown_fields_mean_the_same(server):
    one = rw.field_bytes(2, rw.sample(NOW_MS, 3.0)) + rw.field_bytes(1, rw.label("__name__", "late_labels"))
    unknown = rw.series({"__name__": "unknown"}, [(NOW_MS, 4.0)], extra=b"\xf8\x01\x07")
    assert server.write(rw.body(one, unknown, extra=b"\xfa\x01\x02hi")).status == 204
    assert sorted(server.api("label/__name__/values")) == ["late_labels", "unknown"]


def test_the_series_limit_refuses_new_series_while_known_ones_flow(tmp_path):
    from support.server import Server
    with Server(tmp_path / "data", "--storage.max-series=100") as server:
        for i in range(100):
            assert server.write(rw.body(rw.series(up(i=str(i)), [(NOW_MS - 1000, 1.0)]))).status == 204
        answer = server.write(rw.body(rw.series(up(i="new"), [(NOW_MS, 1.0)]), rw.series(up(i="5"), [(NOW_MS, 2.0)])))
        assert answer.status == 400 and b"max-series" in answer.body
        assert server.query('up{i="5"}', NOW_MS / 1000)["result"][0]["value"][1] == "2"
        assert server.query('up{i="new"}', NOW_MS / 1000)["result"] == []
