"""/metrics/cadvisor: what cAdvisor tells of the machine, of pods and of containers, in its words.
https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from kubelet.nodes.machines import Machine
from kubelet.usage.figures import Figures, Interface
from kubelet.usage.looking import ContainerUse, Look, PodUse

LABELS = ("container", "id", "image", "name", "namespace", "pod")
SECOND = 1e9
COUNTERS: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("cpu_user_seconds", "Cumulative user cpu time consumed in seconds.", lambda f: f.cpu.user / SECOND),
    ("cpu_system_seconds", "Cumulative system cpu time consumed in seconds.", lambda f: f.cpu.system / SECOND),
    ("cpu_cfs_periods", "Number of elapsed enforcement period intervals.", lambda f: f.cpu.periods),
    ("cpu_cfs_throttled_periods", "Number of throttled period intervals.", lambda f: f.cpu.throttled_periods),
    (
        "cpu_cfs_throttled_seconds", "Total time duration the container has been throttled.",
        lambda f: f.cpu.throttled / SECOND,
    ),
)  # fmt: skip
GAUGES: tuple[tuple[str, str, Callable[[Figures], float]], ...] = (
    ("memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed",
     lambda f: f.memory.usage),
    ("memory_working_set_bytes", "Current working set in bytes.", lambda f: f.memory.working_set),
    ("memory_rss", "Size of RSS in bytes.", lambda f: f.memory.rss),
    ("memory_cache", "Number of bytes of page cache memory.", lambda f: f.memory.cache),
    ("memory_mapped_file", "Size of memory mapped files in bytes.", lambda f: f.memory.mapped),
    ("memory_swap", "Container swap usage in bytes.", lambda f: f.memory.swap),
    ("memory_max_usage_bytes", "Maximum memory usage recorded in bytes", lambda f: f.memory.peak),
    # A counter, but without the ending that the library gives to counters.
    ("memory_failcnt", "Number of memory usage hits limits", lambda f: f.memory.failures),
    ("processes", "Number of processes running inside the container.", lambda f: f.processes),
    ("spec_memory_limit_bytes", "Memory limit for the container.", lambda f: f.memory.limit),
)  # fmt: skip
TRAFFIC: tuple[tuple[str, str, Callable[[Interface], int]], ...] = (
    ("receive_bytes", "Cumulative count of bytes received", lambda i: i.received.bytes),
    ("receive_packets", "Cumulative count of packets received", lambda i: i.received.packets),
    ("receive_packets_dropped", "Cumulative count of packets dropped while receiving", lambda i: i.received.dropped),
    ("receive_errors", "Cumulative count of errors encountered while receiving", lambda i: i.received.errors),
    ("transmit_bytes", "Cumulative count of bytes transmitted", lambda i: i.sent.bytes),
    ("transmit_packets", "Cumulative count of packets transmitted", lambda i: i.sent.packets),
    ("transmit_packets_dropped", "Cumulative count of packets dropped while transmitting", lambda i: i.sent.dropped),
    ("transmit_errors", "Cumulative count of errors encountered while transmitting", lambda i: i.sent.errors),
)  # fmt: skip


class Row(NamedTuple):
    """What samples are about, and their source; `use` None for a whole pod and for the machine."""

    labels: tuple[str, ...]
    figures: Figures
    interfaces: tuple[Interface, ...] = ()
    use: ContainerUse | None = None


def container_samples(look: Look, machine: Machine) -> Iterator[Metric]:
    rows = [Row(("", "/", "", "", "", ""), look.node, look.interfaces)]
    for pod in look.pods:
        rows += _rows(pod, look.time)
    yield from _figures(rows)
    for name, help_, read in TRAFFIC:
        traffic = CounterMetricFamily(f"container_network_{name}", help_, labels=(*LABELS, "interface"))
        for row in rows:
            for interface in row.interfaces:
                traffic.add_metric((*row.labels, interface.name), read(interface), timestamp=look.time)
        yield traffic
    yield from _of_containers([(row.labels, row.use) for row in rows if row.use is not None], look.time)
    error = "1 if there was an error while getting container metrics, 0 otherwise"
    yield GaugeMetricFamily("container_scrape_error", error, value=0)
    yield from _machine(machine)


def _rows(pod: PodUse, time: float) -> Iterator[Row]:
    place = (pod.namespace, pod.name)
    # Its pause container has the network of the pod, and counts as no container of it.
    yield Row(("", f"/kubepods/pod{pod.uid}", "", "", *place), pod.total(time))
    for use in (*pod.containers, *([pod.sandbox] if pod.sandbox is not None else [])):
        record = use.record
        container = "" if record.is_pause else record.name
        labels = (container, f"/kubepods/pod{pod.uid}/{record.id}", record.image, record.id, *place)
        yield Row(labels, use.figures, pod.interfaces if record.is_pause else (), use)


def _figures(rows: Iterable[Row]) -> Iterator[Metric]:
    rows = list(rows)
    usage = CounterMetricFamily(
        "container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds.", labels=(*LABELS, "cpu")
    )
    for row in rows:
        usage.add_metric((*row.labels, "total"), row.figures.cpu.total / SECOND, timestamp=row.figures.time)
    yield usage
    for name, help_, read in COUNTERS:
        yield _family(CounterMetricFamily(f"container_{name}", help_, labels=LABELS), rows, read)
    for name, help_, read in GAUGES:
        yield _family(GaugeMetricFamily(f"container_{name}", help_, labels=LABELS), rows, read)
    failures = CounterMetricFamily(
        "container_memory_failures", "Cumulative count of memory allocation failures.",
        labels=(*LABELS, "failure_type", "scope"),
    )  # fmt: skip
    for row in rows:
        for kind, count in (("pgfault", row.figures.memory.faults), ("pgmajfault", row.figures.memory.major_faults)):
            failures.add_metric((*row.labels, kind, "hierarchy"), count, timestamp=row.figures.time)
    yield failures


def _family(
    family: CounterMetricFamily | GaugeMetricFamily, rows: Iterable[Row], read: Callable[[Figures], float]
) -> Metric:
    for row in rows:
        family.add_metric(row.labels, read(row.figures), timestamp=row.figures.time)
    return family


def _of_containers(uses: list[tuple[tuple[str, ...], ContainerUse]], time: float) -> Iterator[Metric]:
    seen = GaugeMetricFamily("container_last_seen", "Last time a container was seen by the exporter", labels=LABELS)
    started = GaugeMetricFamily(
        "container_start_time_seconds", "Start time of the container since unix epoch in seconds.", labels=LABELS
    )
    shares = GaugeMetricFamily("container_spec_cpu_shares", "CPU share of the container.", labels=LABELS)
    period = GaugeMetricFamily("container_spec_cpu_period", "CPU period of the container.", labels=LABELS)
    quota = GaugeMetricFamily("container_spec_cpu_quota", "CPU quota of the container.", labels=LABELS)
    filled = GaugeMetricFamily(
        "container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.",
        labels=(*LABELS, "device"),
    )  # fmt: skip
    for labels, use in uses:
        seen.add_metric(labels, time)
        started.add_metric(labels, use.record.started_at)
        shares.add_metric(labels, use.record.amounts.shares)
        if use.record.amounts.quota:
            period.add_metric(labels, 100_000)
            quota.add_metric(labels, use.record.amounts.quota)
        if use.layer is not None and use.layer.used is not None:
            filled.add_metric((*labels, ""), use.layer.used, timestamp=use.layer.time)
    yield from (seen, started, shares, period, quota, filled)


def _machine(machine: Machine) -> Iterator[Metric]:
    labels = ("machine_id", "system_uuid", "boot_id")
    values = (machine.machine_id, machine.system_uuid, machine.boot_id)
    for name, help_, value in (
        ("cpu_cores", "Number of logical CPU cores.", machine.cpus),
        ("memory_bytes", "Amount of memory installed on the machine.", machine.memory),
    ):
        family = GaugeMetricFamily(f"machine_{name}", help_, labels=labels)
        family.add_metric(values, value)
        yield family
    version = ("kernelVersion", "osVersion", "dockerVersion", "cadvisorVersion", "cadvisorRevision")
    info = GaugeMetricFamily(
        "cadvisor_version_info",
        "A metric with a constant '1' value labeled by kernel version, OS version, docker version, cadvisor version & "
        "cadvisor revision.",
        labels=version,
    )
    info.add_metric((machine.kernel, machine.os_image, "", "", ""), 1)
    yield info
