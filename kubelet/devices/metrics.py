"""What is counted of claims and their drivers, under upstream's names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client.registry import Collector

from machinery.clocks import Clock
from machinery.metrics import Histogram

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 45)


class Metrics:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._operations = Histogram(
            "dra_operations_duration_seconds",
            "Latency histogram in seconds for the duration of handling all ResourceClaims referenced by a pod when the "
            "pod starts or stops. Identified by the name of the operation (PrepareResources or UnprepareResources) and "
            "separated by the success of the operation.",
            ("operation_name", "is_error"), BUCKETS,
        )  # fmt: skip
        self._calls = Histogram(
            "dra_grpc_operations_duration_seconds", "Duration in seconds of the DRA gRPC operations",
            ("driver_name", "method_name", "grpc_status_code"), BUCKETS,
        )  # fmt: skip

    @property
    def collectors(self) -> list[Collector]:
        return [self._operations, self._calls]

    @contextmanager
    def handling(self, operation: str) -> Iterator[None]:
        began, failed = self._clock.monotonic(), "true"
        try:
            yield
            failed = "false"
        finally:
            self._operations.observe(self._clock.monotonic() - began, (operation, failed))

    @contextmanager
    def calling(self, driver: str, method: str) -> Iterator[Callable[[str], None]]:
        """Yields what takes the code of a call that did not go well."""
        began, codes = self._clock.monotonic(), ["OK"]
        try:
            yield codes.append
        finally:
            self._calls.observe(self._clock.monotonic() - began, (driver, method, codes[-1]))
