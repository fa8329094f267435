"""Native histograms, exemplars and metadata of remote write 1.0: taken, refused with a reason, and there after kill -9."""

import time

from support import remote_write as rw

NOW_MS = int(time.time()) * 1000


def test_histograms_are_stored_beside_floats(server):
    write = rw.body(rw.series({"__name__": "h", "job": "a"}, [], extra=rw.histogram(NOW_MS - 2000, 6, 1.5, [1, 1, 1])),
                    rw.series({"__name__": "f"}, [(NOW_MS - 2000, 1.0)]))
    assert server.write(write).status == 204
    assert server.write(write).status == 204  # a resend
    assert server.metric("narthex_ingest_refused_samples_total") == 0
    assert server.api("series", **{"match[]": "h"}) == [{"__name__": "h", "job": "a"}]
    server.kill()
    server.start()
    assert server.api("series", **{"match[]": "h"}) == [{"__name__": "h", "job": "a"}]
    assert server.write(write).status == 204


def test_a_wrong_histogram_is_refused_and_the_rest_stored(server):
    write = rw.body(rw.series({"__name__": "h"}, [], extra=rw.histogram(NOW_MS, 99, 1.5, [1, 1, 1])),
                    rw.series({"__name__": "f"}, [(NOW_MS, 1.0)]))
    answer = server.write(write)
    assert answer.status == 400
    assert b"6 observations found in buckets, but the Count field is 99" in answer.body, answer.body
    assert server.samples("f", NOW_MS - 1000, NOW_MS) != {}
    assert server.api("series", **{"match[]": "h"}) == []
    answer = server.write(rw.body(rw.series({"__name__": "h"}, [], extra=rw.histogram(NOW_MS, 6, 1.5, [1, 1, 1], schema=-53))))
    assert answer.status == 400 and b"custom" in answer.body, answer.body


def test_a_float_and_a_histogram_of_one_time_exclude_each_other(server):
    assert server.write(rw.body(rw.series({"__name__": "x"}, [(NOW_MS, 1.0)]))).status == 204
    answer = server.write(rw.body(rw.series({"__name__": "x"}, [], extra=rw.histogram(NOW_MS, 6, 1.5, [1, 1, 1]))))
    assert answer.status == 400 and b"native histogram" in answer.body
    assert server.write(rw.body(rw.series({"__name__": "x"}, [], extra=rw.histogram(NOW_MS + 1, 6, 1.5, [1, 1, 1])))).status == 204
    answer = server.write(rw.body(rw.series({"__name__": "x"}, [(NOW_MS + 1, 1.0)])))
    assert answer.status == 400 and b"native histogram" in answer.body


def test_exemplars_are_found_by_the_selectors_of_a_query(server):
    sent = rw.body(
        rw.series({"__name__": "requests_total", "job": "a"}, [(NOW_MS - 3000, 1.0)]),
        rw.series({"__name__": "requests_total", "job": "a"}, [],
                  extra=rw.exemplar(NOW_MS - 2500, 0.25, trace_id="t1") + rw.exemplar(NOW_MS - 1500, 2.0, trace_id="t2")),
        rw.series({"__name__": "other", "job": "b"}, [(NOW_MS - 3000, 1.0)], extra=rw.exemplar(NOW_MS - 2000, 7.0)))
    assert server.write(sent).status == 204
    assert server.write(sent).status == 204
    expected = [{"seriesLabels": {"__name__": "requests_total", "job": "a"},
                 "exemplars": [{"labels": {"trace_id": "t1"}, "value": "0.25", "timestamp": (NOW_MS - 2500) / 1000},
                               {"labels": {"trace_id": "t2"}, "value": "2", "timestamp": (NOW_MS - 1500) / 1000}]}]
    everything = {"start": (NOW_MS - 10000) / 1000, "end": NOW_MS / 1000}
    query = "sum(rate(requests_total[5m])) / sum(requests_total)"
    assert server.api("query_exemplars", query=query, **everything) == expected
    assert len(server.api("query_exemplars", query="requests_total or other", **everything)) == 2
    assert server.api("query_exemplars", query="nothing", **everything) == []
    narrow = server.api("query_exemplars", query="requests_total", start=(NOW_MS - 2000) / 1000, end=NOW_MS / 1000)
    assert [e["value"] for e in narrow[0]["exemplars"]] == ["2"]
    server.kill()
    server.start()
    assert server.api("query_exemplars", query=query, **everything) == expected
    server.stop()  # flushes: from a block now
    server.start()
    assert server.api("query_exemplars", query=query, **everything) == expected
    answer = server.get("/api/v1/query_exemplars", {"query": "x", "start": "20", "end": "10"})
    assert answer.status == 400 and b"end timestamp must not be before start timestamp" in answer.body
    assert server.get("/api/v1/query_exemplars", {"query": "x{", "start": "1", "end": "2"}).status == 400


def test_exemplars_that_cannot_be_kept_are_counted(server):
    long_text = "x" * 200
    answer = server.write(rw.body(
        rw.series({"__name__": "known"}, [(NOW_MS, 1.0)], extra=rw.exemplar(NOW_MS, 1.0, trace_id=long_text)),
        rw.series({"__name__": "unknown"}, [], extra=rw.exemplar(NOW_MS, 1.0, trace_id="t"))))
    assert answer.status == 204  # as Prometheus: samples were stored
    assert server.metric("narthex_ingest_refused_exemplars_total") == 2
    assert server.api("query_exemplars", query="{__name__=~'.+'}") == []


def test_metadata_is_the_newest_of_each_family_and_survives(server):
    sent = rw.body(extra=rw.metadata("go_goroutines", 2, "Number <of> goroutines.") + rw.metadata("http_bytes_total", 1, "Sent.", "bytes"))
    assert server.write(sent).status == 204
    assert server.write(rw.body(extra=rw.metadata("go_goroutines", 2, "Now."))).status == 204
    expected = {"go_goroutines": [{"type": "gauge", "help": "Now.", "unit": ""}],
                "http_bytes_total": [{"type": "counter", "help": "Sent.", "unit": "bytes"}]}
    assert server.api("metadata") == expected
    assert server.api("metadata", metric="http_bytes_total") == {"http_bytes_total": expected["http_bytes_total"]}
    assert server.api("metadata", metric="nothing") == {}
    assert list(server.api("metadata", limit=1)) == ["go_goroutines"]
    server.kill()
    server.start()
    assert server.api("metadata") == expected
    assert server.write(rw.body(rw.series({"__name__": "up"}, [(NOW_MS, 1.0)]))).status == 204
    server.stop()  # a flush takes it to the catalog
    server.start()
    assert server.api("metadata") == expected
    assert server.write(rw.body(extra=rw.metadata("", 2, "Of nothing."))).status == 204
    assert server.metric("narthex_ingest_metadata_total") >= 1
