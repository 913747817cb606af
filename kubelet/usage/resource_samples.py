"""/metrics/resource: what autoscaling needs, and no more.
https://kubernetes.io/docs/reference/instrumentation/node-metrics/
"""

from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from kubelet.usage.figures import Figures
from kubelet.usage.looking import Look

SECOND = 1e9
CONTAINER, POD = ("container", "pod", "namespace"), ("pod", "namespace")
Labelled = tuple[tuple[str, ...], Figures]


def resource_samples(look: Look) -> Iterator[Metric]:
    containers = [
        ((use.record.name, pod.name, pod.namespace), use.figures) for pod in look.pods for use in pod.containers
    ]
    pods = [((pod.name, pod.namespace), pod.total(look.time)) for pod in look.pods]
    yield from _of("node", "by the node", "of the node", (), [((), look.node)])
    started = GaugeMetricFamily(
        "container_start_time_seconds", "Start time of the container since unix epoch in seconds", labels=CONTAINER
    )
    for pod in look.pods:
        for use in pod.containers:
            started.add_metric((use.record.name, pod.name, pod.namespace), use.record.started_at)
    yield started
    yield from _of("container", "by the container", "of the container", CONTAINER, containers)
    yield from _of("pod", "by the pod", "of the pod", POD, pods)
    error = "1 if there was an error while getting container metrics, 0 otherwise"
    yield GaugeMetricFamily("resource_scrape_error", error, value=0)
    yield GaugeMetricFamily("scrape_error", error, value=0)


def _of(what: str, by: str, of: str, labels: tuple[str, ...], uses: Iterable[Labelled]) -> Iterator[Metric]:
    uses = list(uses)
    cpu = CounterMetricFamily(
        f"{what}_cpu_usage_seconds", f"Cumulative cpu time consumed {by} in core-seconds", labels=labels
    )
    memory = GaugeMetricFamily(f"{what}_memory_working_set_bytes", f"Current working set {of} in bytes", labels=labels)
    swap = GaugeMetricFamily(
        f"{what}_swap_usage_bytes",
        f"Current {'swap usage of the node' if what == 'node' else f'amount {of} swap usage'} in bytes. Reported only "
        "on non-windows systems",
        labels=labels,
    )
    for values, figures in uses:
        cpu.add_metric(values, figures.cpu.total / SECOND, timestamp=figures.time)
        memory.add_metric(values, figures.memory.working_set, timestamp=figures.time)
        swap.add_metric(values, figures.memory.swap, timestamp=figures.time)
    yield from (cpu, memory, swap)
