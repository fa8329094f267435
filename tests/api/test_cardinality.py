"""How many series metrics, labels and pairs have: status/tsdb as Prometheus answers it, status/cardinality with growth."""

import json
import time

import pytest

from support import remote_write as rw
from support.server import Server

REFRESH_S = 15  # of the lists; look-ups and totals are exact


def write(server, metrics, extra=()):
    """`metrics`: {name: number of series}, each series with an id of its own and one of two jobs."""
    now = int(time.time() * 1000)
    many = [rw.series({"__name__": name, "id": f"{name}-{i}", "job": f"j{i % 2}"}, [(now, 1.0)])
            for name, count in metrics.items() for i in range(count)]
    many += [rw.series(labels, [(now, 1.0)]) for labels in extra]
    assert server.write(rw.body(*many)).status == 204


def wait_for_lists(server, pairs):
    deadline = time.monotonic() + 2 * REFRESH_S + 10
    while time.monotonic() < deadline:
        lists = server.api("status/cardinality", limit=10000)
        if len(lists["pairs"]["by_series"]) == pairs:
            return lists
        time.sleep(0.2)
    raise AssertionError(f"no {pairs} pairs in time: {lists['pairs']['count']}")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("cardinality") / "data") as server:
        server.begun_ms = int(time.time() * 1000)
        write(server, {"big": 300, "middle": 70, "small": 3}, [{"__name__": "odd", "x=y": "a<b"}])
        # ids 373, jobs 2, metrics 4, x=y 1
        wait_for_lists(server, 380)
        yield server


def test_tsdb_is_shaped_as_in_prometheus(store):
    text = store.get("/api/v1/status/tsdb").body.decode()
    data = json.loads(text)["data"]
    assert list(data) == ["headStats", "seriesCountByMetricName", "labelValueCountByLabelName",
                          "memoryInBytesByLabelName", "seriesCountByLabelValuePair"]
    assert list(data["headStats"]) == ["numSeries", "numLabelPairs", "chunkCount", "minTime", "maxTime"]
    assert data["headStats"]["numSeries"] == 374
    assert data["headStats"]["numLabelPairs"] == 380
    assert store.begun_ms <= data["headStats"]["minTime"] <= data["headStats"]["maxTime"] <= time.time() * 1000
    assert data["seriesCountByMetricName"] == [{"name": "big", "value": 300}, {"name": "middle", "value": 70},
                                               {"name": "small", "value": 3}, {"name": "odd", "value": 1}]
    assert data["labelValueCountByLabelName"] == [{"name": "id", "value": 373}, {"name": "__name__", "value": 4},
                                                  {"name": "job", "value": 2}, {"name": "x=y", "value": 1}]
    assert data["memoryInBytesByLabelName"][0]["name"] == "id"
    assert data["memoryInBytesByLabelName"][0]["value"] > 373 * len("big-100")
    assert [(r["name"], r["value"]) for r in data["seriesCountByLabelValuePair"][:4]] == [
        ("__name__=big", 300), ("job=j0", 187), ("job=j1", 186), ("__name__=middle", 70)]
    assert len(data["seriesCountByLabelValuePair"]) == 10


def test_limit_of_rows(store):
    assert [len(v) for k, v in store.api("status/tsdb", limit=2).items() if k != "headStats"] == [2, 2, 2, 2]
    assert len(store.api("status/tsdb", limit=10000)["seriesCountByLabelValuePair"]) == 380
    assert len(store.api("status/tsdb", limit="")["seriesCountByLabelValuePair"]) == 10
    assert len(store.api("status/cardinality", limit=3)["pairs"]["by_series"]) == 3


@pytest.mark.parametrize("path", ["status/tsdb", "status/cardinality"])
@pytest.mark.parametrize("limit, text", [
    ("0", "limit must be a positive number"), ("-5", "limit must be a positive number"),
    ("ten", "limit must be a positive number"), ("1.5", "limit must be a positive number"),
    ("99999999999999999999", "limit must be a positive number"), ("+-5", "limit must be a positive number"),
    ("10001", "limit must not exceed 10000")])
def test_a_wrong_limit_is_refused(store, path, limit, text):
    answer = store.get("/api/v1/" + path, {"limit": limit})
    assert answer.status == 400
    assert json.loads(answer.body) == {"status": "error", "errorType": "bad_data", "error": text}


def test_lists_with_growth(store):
    lists = store.api("status/cardinality", limit=10000)
    assert lists["series"]["count"] == lists["series"]["growth_1h"] == lists["series"]["created_1d"] == 374
    assert lists["series"]["removed_1h"] == 0
    assert lists["metrics"]["count"] == 4 and lists["labels"]["count"] == 4 and lists["pairs"]["count"] == 380
    assert lists["metrics"]["by_growth_1h"][0] == {"name": "big", "series": 300, "growth_1h": 300, "growth_1d": 300}
    assert lists["metrics"]["by_growth_1d"] == lists["metrics"]["by_series"]
    assert lists["labels"]["by_values"][0]["values"] == lists["labels"]["by_values"][0]["growth_1h"] == 373
    assert lists["pairs"]["by_series"][0] == {"name": "__name__", "value": "big", "series": 300, "growth_1h": 236,
                                              "growth_1d": 236}
    # Pairs of up to 64 series have a count, not a past.
    small = [r for r in lists["pairs"]["by_series"] if r["series"] <= 64]
    assert len(small) == 376 and all(r["growth_1h"] is None for r in small)
    assert {"name": "x=y", "value": "a<b"}.items() <= [r for r in small if r["name"] == "x=y"][0].items()
    assert lists["since_ms"] <= lists["since_1h_ms"] <= lists["refreshed_ms"] <= time.time() * 1000


def test_one_item(store):
    one = store.api("status/cardinality", metric="middle")
    assert {k: one[k] for k in ("name", "series", "growth_1h", "growth_1d")} == {
        "name": "middle", "series": 70, "growth_1h": 70, "growth_1d": 70}
    assert one["since_1d_ms"] <= time.time() * 1000
    one = store.api("status/cardinality", label="job")
    assert (one["values"], one["series"]) == (2, 373)
    one = store.api("status/cardinality", pair="job=j1")
    assert (one["name"], one["value"], one["series"]) == ("job", "j1", 186)


@pytest.mark.parametrize("params", [{"metric": "nothing"}, {"label": "nothing"}, {"pair": "job=nothing"}, {"pair": "nothing="},
                                    {"metric": ""}, {"pair": "="}])
def test_an_unknown_item_has_no_series(store, params):
    one = store.api("status/cardinality", **params)
    assert one["series"] == 0 and one["growth_1h"] is None


@pytest.mark.parametrize("params, text", [
    ({"pair": "job"}, 'invalid parameter "pair": it is not name=value'),
    ({"metric": "big", "label": "job"}, "only one of the parameters metric, label and pair may be given")])
def test_wrong_parameters(store, params, text):
    answer = store.get("/api/v1/status/cardinality", params)
    assert answer.status == 400
    assert json.loads(answer.body) == {"status": "error", "errorType": "bad_data", "error": text}


def test_counts_are_live_and_survive_a_restart(tmp_path):
    server = Server(tmp_path / "data").start()
    for count in (1, 5, 80):
        write(server, {"m": count})
        one = server.api("status/cardinality", metric="m")  # at once, without waiting for lists
        assert (one["series"], one["growth_1h"]) == (count, count)
        assert server.api("status/tsdb")["headStats"]["numSeries"] == count
    assert server.stop() == 0
    server.start()
    one = server.api("status/cardinality", metric="m")
    assert (one["series"], one["growth_1h"], one["growth_1d"]) == (80, 0, 0)
    assert server.api("status/cardinality", label="id")["values"] == 80
    totals = server.api("status/cardinality")
    assert totals["series"] == {"count": 80, "growth_1h": 0, "growth_1d": 0, "created_1h": 0, "created_1d": 0,
                                "removed_1h": 0, "removed_1d": 0}
    assert totals["metrics"]["by_series"] == [{"name": "m", "series": 80, "growth_1h": 0, "growth_1d": 0}]
    assert totals["metrics"]["by_growth_1h"] == []
    assert 0 < server.metric('narthex_memory_bytes{kind="cardinality"}') < 200_000
    assert server.stop() == 0
