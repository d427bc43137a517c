from __future__ import annotations

import os
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.errors import Internal, InvalidArgument, Unavailable
from gateway.core.infer import InferRequest
from gateway.core.observe import LATENCY_BOUNDS, Statistics
from gateway.telemetry.metrics import NAMES, GrpcSample, Loads, Metrics, SplitSample, VersionSample
from gateway.telemetry.metrics.control import control_page

ODD = 'a"b\\c\nd\udc80é'


def _request(rows: int = 1) -> InferRequest:
    request = InferRequest("m", "1", "", {})
    request.rows = rows
    now = time.perf_counter_ns()
    request.arrived, request.queued = now - 4_000_000, now - 3_000_000
    request.started, request.computed = now - 2_000_000, now - 1_000_000
    return request


@pytest.fixture
def statistics() -> Statistics:
    statistics = Statistics()
    for rows in (1, 1, 2, 3, 5000):
        statistics.executed(rows, 0, 1_000_000, 0)
        statistics.succeeded(_request(rows))
    statistics.failed(_request(), Unavailable("full"))
    statistics.failed(_request(), Internal("broke"))
    statistics.failed(_request(), InvalidArgument("wrong"))
    return statistics


def _families(metrics: Metrics) -> dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]:
    """Samples by family; a name or a set of labels that occurs twice is an error."""
    families: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        assert family.name not in families
        samples = families[family.name] = {}
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples
            samples[key] = sample.value
    return families


def _metrics(statistics: Statistics, model: str = "m") -> Metrics:
    return Metrics(lambda: [VersionSample(model, "1", statistics, 7)])


VERSION = (("model", "m"), ("version", "1"))


def test_page_parses_and_holds_every_name(statistics: Statistics) -> None:
    # the parser strips `_total` off the names of counters
    control = {f.name: f.samples[0].value for f in text_string_to_metric_families(control_page(3, 4, False).decode())}
    assert control == {"sluice_control_revision": 3, "sluice_store_revision": 4, "sluice_store_up": 0}
    assert {*_families(_metrics(statistics)), *control} == {name.removesuffix("_total") for name in NAMES}


def test_no_two_families_collide_without_their_suffix() -> None:
    names = [name.removesuffix("_total") for name in NAMES]
    assert len(set(names)) == len(names)


def test_histogram_of_latency_is_cumulative_and_in_seconds(statistics: Statistics) -> None:
    samples = _families(_metrics(statistics))["sluice_request_duration_seconds"]
    buckets = [(float(dict(labels)["le"]), value) for (name, labels), value in samples.items() if "_bucket" in name]
    assert [bound for bound, _ in buckets] == [*(b / 1e9 for b in LATENCY_BOUNDS), float("inf")]
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == samples["sluice_request_duration_seconds_count", VERSION] == 5
    assert 0.02 <= samples["sluice_request_duration_seconds_sum", VERSION] < 1
    assert dict(buckets)[0.0032] == 0


def test_batches_by_rows(statistics: Statistics) -> None:
    samples = _families(_metrics(statistics))["sluice_batch_rows"]
    of_bound = {dict(labels).get("le"): value for (_, labels), value in samples.items()}
    assert [of_bound[le] for le in ("1.0", "2.0", "4.0", "1024.0", "+Inf")] == [2, 3, 4, 4, 5]
    assert samples["sluice_batch_rows_sum", VERSION] == 5007


def test_outcomes_stages_and_pending(statistics: Statistics) -> None:
    families = _families(_metrics(statistics))
    outcomes = {dict(labels)["outcome"]: value for (_, labels), value in families["sluice_requests"].items()}
    assert outcomes == {"success": 5, "rejected": 1, "canceled": 0, "failed": 1, "refused": 1}
    stages = {dict(labels)["stage"]: value for (_, labels), value in families["sluice_stage_seconds"].items()}
    assert stages["queue"] == stages["infer"] == pytest.approx(0.005)
    assert families["sluice_pending_requests"]["sluice_pending_requests", VERSION] == 7
    assert families["sluice_version_loaded"]["sluice_version_loaded", VERSION] == 1


def test_aliases_count_as_the_reference_server_does(statistics: Statistics) -> None:
    text = _metrics(statistics).render().decode()
    labels = '{model="m",version="1"}'
    assert f"nv_inference_request_success{labels} 5\n" in text
    assert f"nv_inference_count{labels} 5007\n" in text
    assert f"nv_inference_exec_count{labels} 5\n" in text
    assert f"nv_inference_queue_duration_us{labels} 5000\n" in text
    assert 'nv_inference_request_failure{model="m",version="1",reason="BACKEND"} 1\n' in text


def test_labels_are_escaped(statistics: Statistics) -> None:
    families = _families(_metrics(statistics, ODD))
    models = {dict(labels)["model"] for _, labels in families["sluice_rows"]}
    assert models == {ODD.replace("\udc80", "?")}


def test_splits_loads_and_wire() -> None:
    wire = {"connections_open": 3, "requests": 10, "received_bytes": 99, "rejected_body": 2}
    loads = Loads()
    metrics = Metrics(tuple, loads=loads, splits=lambda: [SplitSample("m", "canary", 9, 4)], wire=lambda: wire)
    loads.add("m", 0.5)
    loads.add("m", 0.25)
    loads.add("m", None)
    lines = metrics.render().decode().splitlines()
    for line in (
        'sluice_split_picks_total{model="m",arm="canary"} 9',
        'sluice_split_absent_total{model="m",arm="canary"} 4',
        'sluice_model_load_seconds_sum{model="m"} 0.75',
        'sluice_model_load_seconds_count{model="m"} 2',
        'sluice_model_load_failures_total{model="m"} 1',
        "sluice_http_connections_open 3",
        "sluice_http_sent_bytes_total 0",
        'sluice_http_rejected_total{reason="body"} 2',
    ):
        assert line in lines


def test_a_version_named_twice_is_written_once(statistics: Statistics) -> None:
    old = VersionSample("m", "1", Statistics(), 1)
    families = _families(Metrics(lambda: [old, VersionSample("m", "1", statistics, 0)]))
    assert families["sluice_rows"]["sluice_rows_total", VERSION] == 5007


def test_a_version_that_was_unloaded_keeps_its_counters(statistics: Statistics) -> None:
    families = _families(Metrics(lambda: [VersionSample("m", "1", statistics, 0, loaded=False)]))
    assert families["sluice_version_loaded"]["sluice_version_loaded", VERSION] == 0
    assert families["sluice_rows"]["sluice_rows_total", VERSION] == 5007


def test_facts_of_the_process() -> None:
    families = _families(Metrics(tuple, build={"version": "1.2", "python": "3.11"}))
    started = families["process_start_time_seconds"]["process_start_time_seconds", ()]
    assert time.time() - 86_400 < started <= time.time() + 1
    resident = families["process_resident_memory_bytes"]["process_resident_memory_bytes", ()]
    assert 10 << 20 < resident < 10 << 30
    cpu = families["process_cpu_seconds"]["process_cpu_seconds_total", ()]
    assert cpu == pytest.approx(sum(os.times()[:2]), abs=1)
    (build,) = families["sluice_build_info"]
    assert dict(build[1]) == {"version": "1.2", "python": "3.11", "runtime": ""}


def test_grpc() -> None:
    sample = GrpcSample({"OK": 5, "NOT_FOUND": 2}, 3)
    found = _families(Metrics(tuple, grpc=lambda: sample))
    assert {dict(labels)["code"]: value for (_, labels), value in found["sluice_grpc_requests"].items()} == {
        "OK": 5,
        "NOT_FOUND": 2,
    }
    assert [*found["sluice_grpc_streams_open"].values()] == [3]
