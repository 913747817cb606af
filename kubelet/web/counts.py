"""/metrics and /metrics/probes: what the kubelet counts, under upstream's names."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from aiohttp import web
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.types import Pod
from kubelet.metrics import Metrics
from kubelet.nodes.machines import KUBELET_VERSION
from kubelet.runtime.interfaces import Record, State
from kubelet.statics.manifests import is_static
from kubelet.usage.disks import Disks
from kubelet.usage.figures import FileSystem
from machinery.client import Client
from machinery.measuring import requests
from machinery.metrics import Exposition, Gauge, Labels
from machinery.monitoring import metrics as shown

STATES = {State.CREATED: "created", State.RUNNING: "running", State.EXITED: "exited"}
VOLUME_LABELS = ("namespace", "persistentvolumeclaim")
OF_VOLUMES: tuple[tuple[str, str, Callable[[FileSystem], int | None]], ...] = (
    ("capacity_bytes", "Capacity in bytes of the volume", lambda f: f.capacity),
    ("available_bytes", "Number of available bytes in the volume", lambda f: f.available),
    ("used_bytes", "Number of used bytes in the volume", lambda f: f.used),
    ("inodes", "Maximum number of inodes in the volume", lambda f: f.inodes),
    ("inodes_free", "Number of free inodes in the volume", lambda f: f.inodes_free),
    ("inodes_used", "Number of used inodes in the volume", lambda f: f.inodes_used),
)


class Counts:
    def __init__(
        self, node: str, client: Client, metrics: Metrics, records: Callable[[], Iterable[Record]],
        pods: Callable[[], Iterable[Pod]], disks: Disks, more: Iterable[Collector],
    ) -> None:  # fmt: skip
        """`records` are all containers, `pods` those assigned to the node; `more` is what others count."""
        self._records = records
        self._pods = pods
        self._disks = disks
        self._own = Exposition([
            *metrics.collectors(), *more, requests(client, "apiserver"),
            Gauge("kubelet_node_name", "The node's name. The count is always 1.", ("node",), lambda: {(node,): 1}),
            Gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox", (), self._running_pods),
            Gauge(
                "kubelet_running_containers", "Number of containers currently running", ("container_state",),
                self._containers,
            ),
            Gauge(
                "kubelet_desired_pods",
                "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the "
                "apiserver.",
                ("static",), self._desired,
            ),
            Gauge(
                "kubelet_mirror_pods",
                "The number of mirror pods the kubelet will try to create (one per admitted static pod)", (),
                lambda: {(): sum(map(is_static, pods()))},
            ),
            Gauge(
                "kubelet_managed_ephemeral_containers",
                "Current number of ephemeral containers in pods managed by this kubelet.", (),
                lambda: {(): sum(len(p.spec.ephemeralContainers) for p in pods())},
            ),
            Gauge(
                "kubernetes_build_info",
                "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, "
                "build date, Go version, and compiler from which Kubernetes was built, and platform on which it is "
                "running.",
                ("major", "minor", "git_version"), lambda: {("1", KUBELET_VERSION.split(".")[1], KUBELET_VERSION): 1},
            ),
        ])  # fmt: skip
        self._of_probes = Exposition([metrics.probes, metrics.probe_durations])

    async def own(self, request: web.BaseRequest) -> web.Response:
        volumes = await self._volumes()
        return shown(request, self._own, volumes)

    async def probes(self, request: web.BaseRequest) -> web.Response:
        return shown(request, self._of_probes)

    def _running_pods(self) -> Mapping[Labels, float]:
        return {(): sum(r.is_pause and r.running for r in self._records())}

    def _containers(self) -> Mapping[Labels, float]:
        states = Counter(STATES[r.state] for r in self._records() if not r.is_pause)
        return {(state,): float(count) for state, count in states.items()}

    def _desired(self) -> Mapping[Labels, float]:
        static = sum(map(is_static, self._pods()))
        return {("true",): static, ("false",): sum(1 for _ in self._pods()) - static}

    async def _volumes(self) -> list[Metric]:
        """Of those behind claims."""
        families = [
            (GaugeMetricFamily(f"kubelet_volume_stats_{name}", help_, labels=VOLUME_LABELS), read)
            for name, help_, read in OF_VOLUMES
        ]
        for pod in self._pods():
            if all(v.persistentVolumeClaim is None and v.ephemeral is None for v in pod.spec.volumes):
                continue
            for volume in await self._disks.volumes(pod):
                for family, read in families if volume.claim else ():
                    family.add_metric((pod.metadata.namespace, volume.claim), read(volume.files) or 0)
        return [family for family, _ in families]
