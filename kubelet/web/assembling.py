"""The HTTPS port put together: every page with what it shows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.registry import Collector

from api.types import PersistentVolume, Pod
from kubelet.config import Config
from kubelet.metrics import Metrics
from kubelet.nodes.machines import Machine
from kubelet.runtime.interfaces import Record, Runtime
from kubelet.serving.finding import Finder
from kubelet.serving.logs import Logs
from kubelet.usage.disks import Disks
from kubelet.usage.looking import Looking
from kubelet.volumes.claims import Kept
from kubelet.web import pages
from kubelet.web.askers import Askers
from kubelet.web.configz import configuration
from kubelet.web.counts import Counts
from kubelet.web.door import Door, Pages, answering
from kubelet.web.files import Files as LogFiles
from kubelet.web.measures import Measures
from kubelet.web.processes import Processes
from kubelet.web.rights import Rights
from machinery.client import Client
from machinery.clocks import Clock
from machinery.https import HttpsServer
from machinery.monitoring import Check
from machinery.serving import Files

LOGS = Path("/var/log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What of the kubelet its pages are about."""

    machine: Machine
    runtime: Runtime
    finder: Finder
    logs: Logs
    looking: Looking
    pods: Callable[[], Iterable[Pod]]
    records: Callable[[], Iterable[Record]]
    running: Callable[[], Iterable[Record]]
    volumes: Callable[[], Iterable[PersistentVolume]]
    checks: Mapping[str, Check]
    metrics: Metrics
    collectors: Iterable[Collector]
    """What is counted beside that."""


def https(config: Config, client: Client, files: Files, shown: Shown, clock: Clock) -> HttpsServer:
    door = Door(
        Askers(client, clock, anonymous=config.anonymous), Rights(client, config.node, clock),
        _pages(config, client, shown, clock), shown.metrics,
    )  # fmt: skip
    return HttpsServer(f"{config.bind}:{config.port}", files, door.answer)


def _pages(config: Config, client: Client, shown: Shown, clock: Clock) -> Pages:
    def claimed(namespace: str, name: str) -> Path | None:
        """Where the data of a claim is."""
        for volume in shown.volumes():
            ref = volume.spec.claimRef
            if ref is not None and (ref.namespace, ref.name) == (namespace, name):
                return Kept(config.root).path(volume)
        return None

    disks = Disks(config.root, shown.runtime, clock, claimed)
    measures = Measures(config.node, shown.machine, shown.looking, disks, shown.pods)
    processes = Processes(shown.runtime, shown.finder, shown.logs)
    configz = configuration(config)
    counts = Counts(config.node, client, shown.metrics, shown.records, shown.pods, disks, shown.collectors)
    return {
        ("GET", "/healthz/"): answering(lambda request: pages.healthz(request, shown.checks)),
        ("GET", "/pods"): answering(lambda request: pages.pods(shown.pods())),
        ("GET", "/runningpods"): answering(lambda request: pages.running_pods(shown.running())),
        ("GET", "/configz"): answering(lambda request: pages.document(configz)),
        ("GET", "/stats/summary"): measures.summary,
        ("GET", "/metrics"): counts.own,
        ("GET", "/metrics/probes"): counts.probes,
        ("GET", "/metrics/resource"): measures.resource,
        ("GET", "/metrics/cadvisor"): measures.cadvisor,
        ("GET", "/logs/"): LogFiles(LOGS).answer,
        ("GET", "/containerLogs/"): processes.logs,
        ("POST", "/run/"): processes.run,
    }
