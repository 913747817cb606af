"""What every component with controllers counts, under upstream's names.

https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prometheus_client.registry import Collector

from machinery.client import Client
from machinery.controllers import Controller
from machinery.metrics import Gauge, Histogram, Labels
from machinery.queues import WorkQueue

SECONDS = tuple(1e-6 * 10**n for n in range(8))
"""From a microsecond to ten seconds: upstream's for work queues."""
METHODS = {
    "get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE",
    "delete_collection": "DELETE",
}  # fmt: skip
QUEUES: tuple[tuple[str, str, Callable[[WorkQueue[Any]], float], bool], ...] = (
    ("workqueue_depth", "Current depth of workqueue", len, False),
    ("workqueue_adds", "Total number of adds handled by workqueue", lambda q: q.adds, True),
    ("workqueue_retries", "Total number of retries handled by workqueue", lambda q: q.retries, True),
    (
        "workqueue_unfinished_work_seconds",
        "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values "
        "indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this "
        "increases.",
        lambda q: sum(q.working_for()), False,
    ),
    (
        "workqueue_longest_running_processor_seconds",
        "How many seconds has the longest running processor for workqueue been running.",
        lambda q: max(q.working_for(), default=0.0), False,
    ),
)  # fmt: skip


class Queues:
    """The work queues of the controllers that `follow` was last called with."""

    def __init__(self) -> None:
        self._queues: dict[str, WorkQueue[Any]] = {}
        self._waits = Histogram(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested.", ("name",), SECONDS,
        )  # fmt: skip
        self._works = Histogram(
            "workqueue_work_duration_seconds", "How long in seconds processing an item from workqueue takes.",
            ("name",), SECONDS,
        )  # fmt: skip
        gauges = [
            Gauge(name, help_, ("name",), self._reader(read), counts=counts) for name, help_, read, counts in QUEUES
        ]
        self.collectors: list[Collector] = [self._waits, self._works, *gauges]

    def follow(self, controllers: Sequence[Controller]) -> None:
        self._queues = {c.name: c.queue for c in controllers}
        for name, queue in self._queues.items():
            queue.on_wait, queue.on_work = _observer(self._waits, name), _observer(self._works, name)

    def _reader(self, read: Callable[[WorkQueue[Any]], float]) -> Callable[[], Mapping[Labels, float]]:
        return lambda: {(name,): read(queue) for name, queue in self._queues.items()}


def _observer(histogram: Histogram, name: str) -> Callable[[float], None]:
    return lambda seconds: histogram.observe(seconds, (name,))


def requests(client: Client, host: str) -> Collector:
    """What the API server answered to the component."""

    def read() -> Mapping[Labels, float]:
        counts: dict[Labels, float] = {}
        for (verb, code), count in client.answers.items():
            labels = str(code), host, METHODS.get(verb, verb.upper())
            counts[labels] = counts.get(labels, 0) + count
        return counts

    help_ = "Number of HTTP requests, partitioned by status code, method, and host."
    return Gauge("rest_client_requests", help_, ("code", "host", "method"), read, counts=True)


def leadership(name: str, is_leading: Callable[[], bool]) -> Collector:
    help_ = (
        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. "
        "'name' is the string used to identify the lease. Please make sure to group by name."
    )
    return Gauge("leader_election_master_status", help_, ("name",), lambda: {(name,): float(is_leading())})
