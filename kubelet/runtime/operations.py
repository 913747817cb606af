"""What an engine was asked for, counted under the names that upstream has for its runtimes' operations."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client.registry import Collector

from kubelet.runtime.interfaces import EngineError
from machinery.clocks import SYSTEM, Clock
from machinery.metrics import Counter, Histogram

BY = ("operation_type",)
DURATIONS = tuple(0.005 * 2.5**n for n in range(14))
NAMES = tuple(
    (method, re.compile(path), name)
    for method, path, name in (
        ("POST", r"/containers/create", "create_container"),
        ("POST", r"/containers/[^/]+/start", "start_container"),
        ("POST", r"/containers/[^/]+/kill", "stop_container"),
        ("POST", r"/containers/[^/]+/update", "update_container"),
        ("POST", r"/containers/[^/]+/exec", "exec_sync"),
        ("POST", r"/containers/[^/]+/attach", "attach"),
        ("DELETE", r"/containers/[^/]+", "remove_container"),
        ("GET", r"/containers/json", "list_containers"),
        ("GET", r"/containers/[^/]+/json", "container_status"),
        ("GET", r"/images/json", "list_images"),
        ("GET", r"/images/.+/json", "image_status"),
        ("POST", r"/images/create", "pull_image"),
        ("DELETE", r"/images/.+", "remove_image"),
        ("GET", r"/info", "version"),
    )
)


def operation(method: str, path: str) -> str:
    """ "" for what upstream has no name for."""
    path = path.partition("?")[0]
    return next((name for m, pattern, name in NAMES if m == method and pattern.fullmatch(path)), "")


class Operations:
    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._count = Counter(
            "kubelet_runtime_operations", "Cumulative number of runtime operations by operation type.", BY
        )
        self._errors = Counter(
            "kubelet_runtime_operations_errors", "Cumulative number of runtime operation errors by operation type.", BY
        )
        self._durations = Histogram(
            "kubelet_runtime_operations_duration_seconds",
            "Duration in seconds of runtime operations. Broken down by operation type.", BY, DURATIONS,
        )  # fmt: skip
        self.collectors: Sequence[Collector] = (self._count, self._errors, self._durations)

    @contextmanager
    def counted(self, method: str, path: str) -> Iterator[None]:
        name = operation(method, path)
        if not name:
            yield
            return
        self._count.add((name,))
        began = self._clock.monotonic()
        try:
            yield
        except EngineError:
            self._errors.add((name,))
            raise
        finally:
            self._durations.observe(self._clock.monotonic() - began, (name,))
