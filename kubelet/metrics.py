"""What the kubelet counts of its own work, under upstream's names.
https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.registry import Collector

from api.types import Pod
from machinery.clocks import SYSTEM, Clock
from machinery.metrics import Counter, Gauge, Histogram, Labels

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STARTUPS = (
    0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
)  # fmt: skip
BY_REQUEST = ("method", "path", "server_type", "long_running")
BY_PROBE = ("probe_type", "container", "pod", "namespace")


class Metrics:
    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self.started_pods = Counter("kubelet_started_pods", "Cumulative number of pods started")
        self.started_pods_errors = Counter(
            "kubelet_started_pods_errors", "Cumulative number of errors when starting pods"
        )
        self.started_containers = Counter(
            "kubelet_started_containers", "Cumulative number of containers started", ("container_type",)
        )
        self.started_containers_errors = Counter(
            "kubelet_started_containers_errors", "Cumulative number of errors when starting containers",
            ("container_type", "code"),
        )  # fmt: skip
        self.starts = Histogram(
            "kubelet_pod_start_duration_seconds",
            "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run", (), STARTUPS,
        )  # fmt: skip
        self.syncs = Histogram(
            "kubelet_pod_worker_duration_seconds",
            "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync",
            ("operation_type",), DURATIONS,
        )  # fmt: skip
        self.evictions: dict[Labels, float] = {}
        self.requests = Counter(
            "kubelet_http_requests", "Number of the http requests received since the server started", BY_REQUEST
        )
        self.request_durations = Histogram(
            "kubelet_http_requests_duration_seconds", "Duration in seconds to serve http requests", BY_REQUEST,
            DURATIONS,
        )  # fmt: skip
        self.requests_in_flight: dict[Labels, float] = {}
        self.probes = Counter(
            "prober_probe",
            "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            ("probe_type", "result", "container", "pod", "namespace", "pod_uid"),
        )
        self.probe_durations = Histogram(
            "prober_probe_duration_seconds", "Duration in seconds for a probe response.", BY_PROBE, DURATIONS
        )
        self.started_pods.add(by=0)
        self.started_pods_errors.add(by=0)

    def collectors(self) -> list[Collector]:
        """All but those of probes, which have a page of their own."""
        in_flight = Gauge(
            "kubelet_http_inflight_requests", "Number of the inflight http requests", BY_REQUEST,
            lambda: self.requests_in_flight,
        )  # fmt: skip
        # A counter, but without the ending that the library gives to counters.
        evictions = Gauge(
            "kubelet_evictions", "Cumulative number of pod evictions by eviction signal", ("eviction_signal",),
            lambda: self.evictions,
        )  # fmt: skip
        return [
            self.started_pods, self.started_pods_errors, self.started_containers, self.started_containers_errors,
            self.starts, self.syncs, evictions, self.requests, self.request_durations, in_flight,
        ]  # fmt: skip

    def container_started(self, pod: Pod, name: str) -> None:
        """Or is about to be: upstream counts the attempts."""
        self.started_containers.add((_type(pod, name),))

    def container_failed(self, pod: Pod, name: str, reason: str) -> None:
        self.started_containers_errors.add((_type(pod, name), reason))

    def evicted(self, signal: str) -> None:
        self.evictions[signal,] = self.evictions.get((signal,), 0) + 1

    @contextmanager
    def syncing(self, operation: str) -> Iterator[None]:
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self.syncs.observe(self._clock.monotonic() - began, (operation,))

    @contextmanager
    def answering(self, method: str, path: str) -> Iterator[None]:
        labels = (method, path, "readwrite", "false")
        began = self._clock.monotonic()
        self.requests.add(labels)
        self.requests_in_flight[labels] = self.requests_in_flight.get(labels, 0) + 1
        try:
            yield
        finally:
            self.requests_in_flight[labels] -= 1
            self.request_durations.observe(self._clock.monotonic() - began, labels)

    def probed(self, pod: Pod, container: str, kind: str, result: str, seconds: float) -> None:
        """`kind` is Liveness, Readiness or Startup; `result` successful, failed or unknown."""
        who = (container, pod.metadata.name, pod.metadata.namespace)
        self.probes.add((kind, result, *who, pod.metadata.uid))
        self.probe_durations.observe(seconds, (kind, *who))

    def forget(self, pod: Pod) -> None:
        """It has gone, and what was counted of its probes with it."""
        metadata = pod.metadata
        self.probes.forget(lambda labels: labels[-1] == metadata.uid)
        self.probe_durations.forget(lambda labels: labels[2:] == (metadata.name, metadata.namespace))


def _type(pod: Pod, name: str) -> str:
    if any(c.name == name for c in pod.spec.containers):
        return "container"
    return "init_container" if any(c.name == name for c in pod.spec.initContainers) else "ephemeral_container"


class Beginnings:
    """How long pods take from the first time that they are seen until they run."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._seen: dict[str, float] = {}

    def changed(self, old: Pod | None, new: Pod | None) -> None:
        """For an informer of the node's pods."""
        if new is None:
            assert old is not None
            self._seen.pop(old.metadata.uid, None)
            return
        uid, phase = new.metadata.uid, new.status.phase or "Pending"
        if old is None and phase == "Pending":
            self._seen[uid] = self._clock.monotonic()
        elif phase != "Pending" and (seen := self._seen.pop(uid, None)) is not None and phase == "Running":
            self._metrics.starts.observe(self._clock.monotonic() - seen)
