"""What the API server counts, under upstream's names.

https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, Protocol

from api import schema
from api.kinds import Kind
from apiserver.requests import ANONYMOUS, Request
from machinery.metrics import Counter, Exposition, Gauge, Histogram, Labels

SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)  # fmt: skip
STORAGE_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
)  # fmt: skip
STEP_SECONDS = 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0
SIZES = tuple(1000.0 * 10**n for n in range(7))
RESOURCE = "group", "version", "resource", "subresource", "scope", "component"
LONG_RUNNING = {"watch", "connect"}
MUTATING = {"create", "update", "patch", "delete", "deletecollection"}
METHODS = {"create": "POST", "update": "PUT", "get": "GET"}
METHODS_OF_ADMISSION = {"patch": "UPDATE", "deletecollection": "DELETE"}
COMPONENT = "apiserver"


class Resource(Protocol):
    """What is stored of one resource, and who watches it."""

    kind: Kind
    table: Any
    audience: Any


LABELS: dict[str, Callable[[Kind], str]] = {
    "group": lambda kind: kind.group,
    "version": lambda kind: kind.version,
    "resource": lambda kind: kind.plural,
    "full": lambda kind: kind.group_resource,
}


class Metrics:
    """One for each process. What happens often is counted in place; what merely is, is read when somebody asks."""

    def __init__(self) -> None:
        by_request = ("verb", *RESOURCE)
        self.requests = Counter(
            "apiserver_request",
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, "
            "component, and HTTP response code.",
            ("verb", "dry_run", *RESOURCE, "code"),
        )
        self.durations = Histogram(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
            "subresource, scope and component.",
            ("verb", "dry_run", *RESOURCE), SECONDS,
        )  # fmt: skip
        self.sizes = Histogram(
            "apiserver_response_sizes",
            "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and "
            "component.",
            by_request, SIZES,
        )  # fmt: skip
        self.storage = Histogram(
            "etcd_request_duration_seconds",
            "Etcd request latency in seconds for each operation and object type.",
            ("operation", "type"), STORAGE_SECONDS,
        )  # fmt: skip
        self.controllers = Histogram(
            "apiserver_admission_controller_admission_duration_seconds",
            "Admission controller latency histogram in seconds, identified by name and broken out for each operation "
            "and API resource and type (validate or admit).",
            ("name", "operation", "rejected", "type"), STEP_SECONDS,
        )  # fmt: skip
        self.in_flight = {"mutating": 0, "readOnly": 0}
        self.long_running: dict[Labels, float] = {}
        self.exposition = Exposition(
            [
                self.requests, self.durations, self.sizes, self.storage, self.controllers,
                Gauge(
                    "apiserver_current_inflight_requests",
                    "Maximal number of currently used inflight request limit of this apiserver per request kind in "
                    "last second.",
                    ("request_kind",), lambda: {(kind,): float(n) for kind, n in self.in_flight.items()},
                ),
                Gauge(
                    "apiserver_longrunning_requests",
                    "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, "
                    "scope and component. Not all requests are tracked this way.",
                    by_request, lambda: self.long_running,
                ),
                Gauge(
                    "kubernetes_build_info",
                    "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree "
                    "state, build date, Go version, and compiler from which Kubernetes was built, and platform on "
                    "which it is running.",
                    ("major", "minor", "git_version"), _build,
                ),
            ]
        )  # fmt: skip

    def look_at(self, resources: Callable[[], Iterable[Resource]]) -> None:
        """What is stored and watched, whenever somebody asks."""

        def by(read: Callable[[Resource], float], *labels: str) -> Callable[[], dict[Labels, float]]:
            def values() -> dict[Labels, float]:
                found = resources()
                return {tuple(LABELS[label](r.kind) for label in labels): read(r) for r in found}

            return values

        count, told = (lambda r: float(len(r.table.items))), (lambda r: float(r.audience.told))
        watching = Gauge(
            "apiserver_registered_watchers", "Number of currently registered watchers for a given resources",
            ("group", "version", "resource"), by(lambda r: float(len(r.audience)), "group", "version", "resource"),
        )  # fmt: skip
        number = "Number of stored objects at the time of last check split by kind."
        self.exposition.add(
            watching,
            Gauge("apiserver_storage_objects", number, ("resource",), by(count, "full")),
            Gauge("apiserver_resource_objects", number, ("group", "resource"), by(count, "group", "resource")),
            Gauge(
                "apiserver_watch_events_total", "Number of events sent in watch clients",
                ("group", "version", "resource"), by(told, "group", "version", "resource"), counts=True,
            ),
        )  # fmt: skip

    def admitted(self, seconds: float, phase: str, rule: str, verb: str, refused: bool) -> None:
        operation, rejected = METHODS_OF_ADMISSION.get(verb, verb.upper()), "true" if refused else "false"
        self.controllers.observe(seconds, (rule, operation, rejected, phase))

    def call(self) -> "Call":
        return Call(self)


def _build() -> Mapping[Labels, float]:
    major, minor = schema.VERSION.lstrip("v").split(".")[:2]
    return {(major, minor, schema.VERSION): 1.0}


class Call:
    """One request from its arrival to its answer."""

    __slots__ = ("_began", "_metrics", "_request")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._began = perf_counter()
        self._request: Request | None = None

    def is_about(self, request: Request) -> None:
        """What it asks for, once that is known."""
        self._request = request
        verb = request.verb
        if verb in LONG_RUNNING:
            running, labels = self._metrics.long_running, _labels(request)
            running[labels] = running.get(labels, 0) + 1
        else:
            self._metrics.in_flight["mutating" if verb in MUTATING else "readOnly"] += 1

    def concerns(self, verb: str, resource: Any) -> None:
        """As `is_about`, of the resource as gRPC names it."""
        kind = Kind(resource.group, resource.version, "", resource.plural, bool(resource.namespace))
        self.is_about(Request(ANONYMOUS, verb, kind, resource.namespace, resource.name, resource.subresource))

    def ended(self, code: int, size: int = -1) -> None:
        """`size` is that of the answer, -1 if nobody knows."""
        request, metrics = self._request, self._metrics
        if request is None:
            return
        labels = _labels(request)
        if request.verb in LONG_RUNNING:
            metrics.long_running[labels] -= 1
        else:
            metrics.in_flight["mutating" if request.verb in MUTATING else "readOnly"] -= 1
        dry = "All" if request.dry_run else ""
        named = (labels[0], dry, *labels[1:])
        metrics.requests.add((*named, str(code)))
        metrics.durations.observe(perf_counter() - self._began, named)
        if size >= 0:
            metrics.sizes.observe(size, labels)


def _labels(request: Request) -> Labels:
    kind = request.kind
    return (
        METHODS.get(request.verb, request.verb.upper()), kind.group, kind.version, kind.plural, request.subresource,
        _scope(request), COMPONENT,
    )  # fmt: skip


def _scope(request: Request) -> str:
    if request.name or request.verb == "create":
        return "resource"
    return "namespace" if request.namespace else "cluster"
