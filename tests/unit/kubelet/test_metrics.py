"""What the kubelet counts of its own work."""

import pytest

from api import meta
from api.types import Pod
from kubelet.metrics import Beginnings, Metrics
from kubelet.runtime.interfaces import EngineError
from kubelet.runtime.operations import Operations, operation
from machinery.metrics import Exposition
from machinery.testing import FakeClock
from tests.unit.kubelet.builders import pod


def told(*collectors: object) -> str:
    return Exposition(collectors).render()[1].decode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/containers/create?name=x", "create_container"),
        ("POST", "/containers/abc/start", "start_container"),
        ("POST", "/containers/abc/kill?signal=SIGTERM", "stop_container"),
        ("DELETE", "/containers/abc?force=true", "remove_container"),
        ("GET", "/containers/json?all=1", "list_containers"),
        ("GET", "/containers/abc/json", "container_status"),
        ("GET", "/images/registry/app:1/json", "image_status"),
        ("GET", "/images/json", "list_images"),
        ("POST", "/images/create?fromImage=app", "pull_image"),
        ("GET", "/info", "version"),
        ("GET", "/volumes", ""),
    ],
)
def test_what_the_engine_is_asked_has_the_name_that_upstream_has_for_it(method: str, path: str, name: str) -> None:
    assert operation(method, path) == name


async def test_operations_are_counted_and_their_errors_too() -> None:
    clock = FakeClock()
    operations = Operations(clock)
    with operations.counted("POST", "/containers/a/start"):
        await clock.advance(0.5)
    with pytest.raises(EngineError), operations.counted("POST", "/containers/a/start"):
        raise EngineError("no")
    with operations.counted("GET", "/volumes"):
        pass
    found = told(*operations.collectors)
    assert 'kubelet_runtime_operations_total{operation_type="start_container"} 2.0' in found
    assert 'kubelet_runtime_operations_errors_total{operation_type="start_container"} 1.0' in found
    assert 'kubelet_runtime_operations_duration_seconds_sum{operation_type="start_container"} 0.5' in found
    assert "volumes" not in found


def phased(phase: str, uid: str = "u1") -> Pod:
    made = meta.clone(pod(metadata={"uid": uid}))
    made.status.phase = phase
    return made


async def test_a_pod_begins_when_it_is_seen_and_ends_to_begin_when_it_runs() -> None:
    clock, metrics = FakeClock(), Metrics()
    beginnings = Beginnings(metrics, clock)
    beginnings.changed(None, phased("Pending"))
    await clock.advance(3)
    beginnings.changed(phased("Pending"), phased("Running"))
    beginnings.changed(phased("Running"), phased("Running"))
    beginnings.changed(None, phased("Running", "found running"))
    beginnings.changed(None, phased("Pending", "never ran"))
    beginnings.changed(phased("Pending", "never ran"), None)
    found = told(metrics.starts)
    assert "kubelet_pod_start_duration_seconds_count 1.0" in found
    assert "kubelet_pod_start_duration_seconds_sum 3.0" in found


def test_what_was_counted_of_a_pods_probes_goes_with_it() -> None:
    metrics = Metrics()
    other = pod(metadata={"name": "other", "uid": "u2"})
    for each in (pod(), other):
        metrics.probed(each, "main", "Readiness", "successful", 0.1)
    metrics.forget(pod())
    found = told(metrics.probes, metrics.probe_durations)
    assert 'pod="web"' not in found
    labels = 'container="main",namespace="default",pod="other"'
    assert f'prober_probe_total{{{labels},pod_uid="u2",probe_type="Readiness",result="successful"}} 1.0' in found
    assert f'prober_probe_duration_seconds_count{{{labels},probe_type="Readiness"}} 1.0' in found


def test_names_are_upstreams_to_the_letter() -> None:
    metrics = Metrics()
    metrics.evicted("memory.available")
    with metrics.answering("GET", "metrics"):
        found = told(*metrics.collectors())
    for line in (
        "kubelet_started_pods_total 0.0",
        'kubelet_evictions{eviction_signal="memory.available"} 1.0',
        'kubelet_http_requests_total{long_running="false",method="GET",path="metrics",server_type="readwrite"} 1.0',
        'kubelet_http_inflight_requests{long_running="false",method="GET",path="metrics",server_type="readwrite"} 1.0',
    ):
        assert line in found
