"""Counters and histograms that cost a microsecond, shown in Prometheus' format.

prometheus-client's own families look children up under a lock and walk their buckets at every observation; these are a
dict and a bisection, and become its families only when somebody asks.  For one event loop.
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Labels = tuple[str, ...]


class Counter(Collector):
    """Only grows. `name` is without `_total`."""

    def __init__(self, name: str, help_: str, labels: Sequence[str] = ()) -> None:
        self._describe = name, help_, tuple(labels)
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels = (), by: float = 1) -> None:
        """`labels` are the values in the order of the names."""
        self.values[labels] = self.values.get(labels, 0) + by

    def forget(self, gone: Callable[[Labels], bool]) -> None:
        """What is not there any more, so that what was counted of it does not stay for ever."""
        self.values = {labels: count for labels, count in self.values.items() if not gone(labels)}

    def collect(self) -> Iterable[Metric]:
        name, help_, labels = self._describe
        family = CounterMetricFamily(name, help_, labels=labels)
        for values, count in self.values.items():
            family.add_metric(values, count)
        yield family


class Gauge(Collector):
    """What is now, asked for when it is shown."""

    def __init__(
        self, name: str, help_: str, labels: Sequence[str], read: Callable[[], Mapping[Labels, float]], *,
        counts: bool = False,
    ) -> None:  # fmt: skip
        """`counts`: it is a counter that is kept elsewhere, and only grows."""
        self._describe = name, help_, tuple(labels)
        self._read = read
        self._family = CounterMetricFamily if counts else GaugeMetricFamily

    def collect(self) -> Iterable[Metric]:
        name, help_, labels = self._describe
        family = self._family(name, help_, labels=labels)
        for values, value in self._read().items():
            family.add_metric(values, value)
        yield family


class Histogram(Collector):
    """How often values were at most so large. `buckets` are the upper bounds, ascending, without infinity."""

    def __init__(self, name: str, help_: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        self._describe = name, help_, tuple(labels)
        self._bounds = tuple(buckets)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, labels: Labels = ()) -> None:
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def labels(self) -> Iterable[Labels]:
        return self._counts.keys()

    def count(self, labels: Labels) -> int:
        """How many values were observed."""
        return sum(self._counts.get(labels, ()))

    def forget(self, gone: Callable[[Labels], bool]) -> None:
        for labels in [each for each in self._counts if gone(each)]:
            del self._counts[labels], self._sums[labels]

    def collect(self) -> Iterable[Metric]:
        name, help_, labels = self._describe
        family = HistogramMetricFamily(name, help_, labels=labels)
        bounds = [*map(_text, self._bounds), "+Inf"]
        for values, counts in self._counts.items():
            so_far, buckets = 0, []
            for bound, count in zip(bounds, counts, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            family.add_metric(values, buckets, sum_value=self._sums[values])
        yield family


def _text(bound: float) -> str:
    return f"{bound:g}" if bound < 1e6 else str(int(bound))


def rendered(families: Iterable[Metric], accept: str = "") -> tuple[str, bytes]:
    """(content type, body) of families that are made for this once."""
    encode, media = choose_encoder(accept)
    return media, encode(_Made(families))


class _Made(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class Exposition:
    """Everything that one process shows."""

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)

    def add(self, *collectors: Collector) -> None:
        for collector in collectors:
            self._registry.register(collector)

    def render(self, accept: str = "", more: Iterable[Metric] = ()) -> tuple[str, bytes]:
        """(content type, body)"""
        return rendered([*self._registry.collect(), *more], accept)
