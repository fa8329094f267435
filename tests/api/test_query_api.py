"""The query API: JSON as Prometheus writes it, parameters, errors."""

import gzip
import json

import pytest

from support import remote_write as rw
from support.server import Server

T0 = 1_700_000_000_000  # ms; far in the past, inside a retention of 100 years


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("query") / "data", "--storage.retention.time=36500d") as server:
        many = [rw.series({"__name__": "requests_total", "job": j, "instance": i}, [(T0 + k * 15000, k * step) for k in range(41)])
                for j, i, step in (("api", "a", 3.0), ("api", "b", 6.0), ("web", "a", 1.5))]
        many.append(rw.series({"__name__": "temperature", "job": "web", "note": 'q"\\\n<&>é'}, [(T0, 21.5)]))
        assert server.write(rw.body(*many)).status == 204
        yield server


def raw(store, path, **params):
    answer = store.get("/api/v1/" + path, params)
    return answer.status, answer.body.decode()


def test_instant_vector_json_is_exact(store):
    status, body = raw(store, "query", query='requests_total{job="web"}', time=T0 / 1000)
    assert status == 200
    assert body == ('{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"requests_total",'
                    '"instance":"a","job":"web"},"value":[1700000000,"0"]}]}}')


def test_scalar_string_and_fractions_of_seconds(store):
    assert raw(store, "query", query="1e-7", time="1700000000.5")[1] == \
        '{"status":"success","data":{"resultType":"scalar","result":[1700000000.5,"0.0000001"]}}'
    assert raw(store, "query", query="'é<'", time="4")[1] == \
        '{"status":"success","data":{"resultType":"string","result":[4,"é\\u003c"]}}'
    assert raw(store, "query", query="1+1", time="4")[1] == \
        '{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'


def test_range_query_matrix(store):
    data = store.query_range("sum by (job) (rate(requests_total[1m]))", T0 / 1000 + 300, T0 / 1000 + 330, 15)
    assert data["resultType"] == "matrix"
    assert [s["metric"] for s in data["result"]] == [{"job": "api"}, {"job": "web"}]
    assert [v for _, v in data["result"][0]["values"]] == ["0.6"] * 3
    assert [t for t, _ in data["result"][0]["values"]] == [T0 // 1000 + 300, T0 // 1000 + 315, T0 // 1000 + 330]


def test_label_values_are_escaped_as_json(store):
    (series,) = json.loads(raw(store, "query", query="temperature", time=T0 / 1000)[1])["data"]["result"]
    assert series["metric"]["note"] == 'q"\\\n<&>é'
    assert "<&>" in raw(store, "query", query="temperature", time=T0 / 1000)[1]


def test_post_form_and_url_parameters_merge(store):
    answer = store.request("POST", f"/api/v1/query?time={T0 / 1000}", "query=count(requests_total)",
                           {"Content-Type": "application/x-www-form-urlencoded"})
    assert json.loads(answer.body)["data"]["result"][0]["value"][1] == "3"


def test_rfc3339_times(store):
    assert store.api("query", query="temperature", time="2023-11-14T22:13:20.000Z")["result"] != []
    assert store.api("query", query="temperature", time="2023-11-14T23:13:20+01:00")["result"] != []


@pytest.mark.parametrize("path, params, status, kind, text", [
    ("query", {}, 400, "bad_data", 'invalid parameter "query": unknown position: parse error: no expression found in input'),
    ("query", {"query": "sum("}, 400, "bad_data", 'invalid parameter "query": 1:5: parse error: unclosed left parenthesis'),
    ("query", {"query": "up", "time": "yesterday"}, 400, "bad_data",
     'invalid parameter "time": cannot parse "yesterday" to a valid timestamp'),
    ("query", {"query": "up", "limit": "-1"}, 400, "bad_data", 'invalid parameter "limit": limit must be non-negative'),
    ("query_range", {"query": "up", "start": 10, "end": 5, "step": 1}, 400, "bad_data",
     'invalid parameter "end": end timestamp must not be before start time'),
    ("query_range", {"query": "up", "start": 1, "end": 5, "step": 0}, 400, "bad_data",
     'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer'),
    ("query_range", {"query": "up", "start": 0, "end": 11001, "step": 1}, 400, "bad_data",
     "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"),
    ("query_range", {"query": "up[5m]", "start": 1, "end": 5, "step": 1}, 400, "bad_data",
     'invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector'),
    ("query", {"query": "requests_total * on(job) requests_total", "time": T0 / 1000}, 422, "execution", None),
    ("series", {}, 400, "bad_data", "no match[] parameter provided"),
    ("series", {"match[]": "{a=\"\"}"}, 400, "bad_data", None),
    ("label/%FF/values", {}, 400, "bad_data", None),
])
def test_errors_have_prometheus_status_type_and_text(store, path, params, status, kind, text):
    got, body = raw(store, path, **params)
    answer = json.loads(body)
    assert (got, answer["status"], answer["errorType"]) == (status, "error", kind), body
    assert text is None or answer["error"] == text


def test_eleven_thousand_and_one_points_pass(store):
    data = store.query_range("vector(1)", 0, 11000, 1)
    assert len(data["result"][0]["values"]) == 11001


def test_labels_and_values(store):
    assert store.api("labels") == ["__name__", "instance", "job", "note"]
    assert store.api("labels", **{"match[]": "temperature"}) == ["__name__", "job", "note"]
    assert store.api("label/job/values") == ["api", "web"]
    assert store.api("label/job/values", **{"match[]": ["temperature", 'requests_total{instance="b"}']}) == ["api", "web"]
    assert store.api("label/job/values", **{"match[]": "temperature"}) == ["web"]
    assert store.api("label/nothing/values") == []
    assert store.api("label/U__job/values") == ["api", "web"]
    assert store.api("labels", start=T0 / 1000 - 1000, end=T0 / 1000 - 500, **{"match[]": "temperature"}) == []


def test_limits_truncate_with_a_warning(store):
    body = json.loads(raw(store, "label/job/values", limit=1)[1])
    assert body["data"] == ["api"] and body["warnings"] == ["results truncated due to limit"]
    body = json.loads(raw(store, "query", query="requests_total", time=T0 / 1000, limit=2)[1])
    assert len(body["data"]["result"]) == 2 and body["warnings"] == ["results truncated due to limit"]
    body = json.loads(raw(store, "series", limit=1, **{"match[]": "requests_total"})[1])
    assert len(body["data"]) == 1 and body["warnings"] == ["results truncated due to limit"]


def test_series_is_a_union_without_repeats(store):
    data = store.api("series", **{"match[]": ['{job="web"}', "requests_total"]})
    assert len(data) == 4
    assert data == sorted(data, key=lambda s: sorted(s.items()))


def test_annotations_are_part_of_the_answer(store):
    body = json.loads(raw(store, "query", query="rate(temperature[5m])", time=T0 / 1000 + 60)[1])
    assert body["status"] == "success" and body["data"]["result"] == []
    body = json.loads(raw(store, "query", query="quantile(2, requests_total)", time=T0 / 1000)[1])
    assert body["warnings"] == ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]


def test_gzip_when_asked_for(store):
    answer = store.get("/api/v1/query_range", {"query": "requests_total", "start": T0 / 1000, "end": T0 / 1000 + 600, "step": 1},
                       {"Accept-Encoding": "deflate, gzip"})
    assert answer.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in answer.headers["Vary"]
    assert json.loads(gzip.decompress(answer.body))["status"] == "success"


def test_a_large_answer_is_streamed_whole(store):
    answer = store.get("/api/v1/query_range", {"query": 'label_replace(requests_total,"x","y","","") or requests_total',
                                               "start": T0 / 1000, "end": T0 / 1000 + 600, "step": "0.06"})
    assert answer.headers.get("Transfer-Encoding") == "chunked"
    data = json.loads(answer.body)["data"]["result"]
    assert len(data) == 6 and all(len(s["values"]) == 10001 for s in data)


@pytest.mark.parametrize("query, text", [
    ("info(up)", 'function "info" is not enabled'),
    ("start_timestamp(up)", 'function "start_timestamp" is not enabled'),
    ("mad_over_time(up[5m])", 'function "mad_over_time" is not enabled'),
    ("rate(up[5m] anchored)", "anchored modifier is experimental and not enabled"),
    ("up + fill(0) up", "binop fill modifiers are experimental and not enabled"),
    ("limitk(1, up)", "limitk"),
])
def test_what_is_experimental_is_refused_by_name(store, query, text):
    status, body = raw(store, "query", query=query, time=T0 / 1000)
    assert status == 400 and text in json.loads(body)["error"]


def test_buildinfo_and_unknown_paths(store):
    info = store.api("status/buildinfo")
    assert set(info) == {"version", "revision", "branch", "buildUser", "buildDate", "goVersion"}
    answer = store.get("/api/v1/rules/test/test")
    assert answer.status == 404 and b"page not found" in answer.body
    assert store.request("OPTIONS", "/api/v1/query").status == 204


def test_health_pages(store):
    assert store.get("/").status == 200
    assert store.get("/-/healthy").body == b"narthex is Healthy.\n"
    assert store.get("/-/ready").status == 200
    assert store.request("HEAD", "/-/healthy").status == 200
    text = store.get("/metrics").body.decode()
    assert "# TYPE narthex_ingest_samples_total counter" in text and "process_cpu_seconds_total" in text
