"""The resource metrics API: what nodes and pods use, asked of the kubelets when somebody wants to know.

https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/ . Kubelets tell how much processor time
was used since the start of each container; a rate takes two looks.  An earlier one serves if it is not too old, so
whoever asks regularly (an autoscaler) gets the rate since the last time, and whoever asks once waits for a second.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import grpc

from api import fields, kinds, labels, meta, times
from api.errors import ApiError, NotFound, not_found
from api.kinds import Kind
from api.types import ContainerMetrics, Node, NodeMetrics, ObjectMeta, Pod, PodMetrics
from apiserver.admission import Reader
from apiserver.nodes.kubelets import Kubelets
from apiserver.requests import Item, Listing, ListOptions, Request
from machinery.clocks import Clock
from proto import node_pb2 as pb

NODES, PODS = kinds.of(Node), kinds.of(Pod)
NODE_METRICS, POD_METRICS = kinds.of(NodeMetrics), kinds.of(PodMetrics)
FRESH_SECONDS = 5.0
SHORTEST_WINDOW = 1.0
LONGEST_WINDOW = 60.0
PATIENCE = 5.0

log = logging.getLogger("meter")


@dataclass(frozen=True, slots=True)
class Look:
    """What every kubelet that answered has told, by node."""

    time: float
    nodes: Mapping[str, pb.StatsResponse]


@dataclass(frozen=True, slots=True)
class Rates:
    """The documents that two looks make, by namespace and name."""

    time: float
    documents: Mapping[Kind, Mapping[meta.Key, Item]]


class Meter:
    """`kubelets` is the caller's."""

    def __init__(self, reader: Reader, kubelets: Kubelets, clock: Clock) -> None:
        self._reader = reader
        self._kubelets = kubelets
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._look: Look | None = None
        self._rates: Rates | None = None

    async def get(self, request: Request) -> bytes:
        """Raises NotFound: there is no such pod, or it was not measured yet."""
        found = (await self._measured()).documents[request.kind].get(meta.Key(request.namespace, request.name))
        if found is None:
            kind = PODS if request.kind is POD_METRICS else NODES
            if self._reader.get_cached(kind, request.namespace, request.name) is None:
                raise not_found(request.kind.group_resource, request.name)
            name = f"{request.namespace}/{request.name}".lstrip("/")
            raise NotFound(f'{kind.name.lower()}metrics.metrics.k8s.io "{name}" not found')
        return found.document

    async def list(self, request: Request, options: ListOptions) -> Listing:
        """Raises BadRequest for selectors that cannot be read."""
        selector, chosen = labels.parse(options.label_selector), fields.parse(options.field_selector)
        everything = (await self._measured()).documents[request.kind]
        items = [
            item
            for key, item in sorted(everything.items())
            if request.namespace in ("", key.namespace)
            and selector.matches(item.labels)
            and chosen.matches(item.fields)
        ]
        return Listing("", items)

    async def _measured(self) -> Rates:
        async with self._one_at_a_time:
            now = self._clock.now()
            # A clock that was set back makes the last look no news.
            if self._rates is not None and 0 <= now - self._rates.time < FRESH_SECONDS:
                return self._rates
            before, after = self._look, await self._looked()
            if before is None or not SHORTEST_WINDOW <= after.time - before.time <= LONGEST_WINDOW:
                await self._clock.sleep(SHORTEST_WINDOW)
                before, after = after, await self._looked()
            self._look = after
            found = {NODE_METRICS: dict(self._nodes(before, after)), POD_METRICS: dict(self._pods(before, after))}
            self._rates = Rates(after.time, found)
            return self._rates

    async def _looked(self) -> Look:
        nodes = list(self._reader.list_cached(NODES))
        answers = await asyncio.gather(*map(self._stats, nodes))
        told = {n.metadata.name: answer for n, answer in zip(nodes, answers, strict=True) if answer is not None}
        return Look(self._clock.now(), told)

    async def _stats(self, node: Node) -> pb.StatsResponse | None:
        """None if the kubelet does not answer: a node that is away has no metrics, and the others have."""
        if not meta.is_true(node, "Ready"):
            return None
        try:
            async with self._kubelets.stub(node) as kubelet:
                answer: pb.StatsResponse = await kubelet.Stats(pb.StatsRequest(), timeout=PATIENCE)  # type: ignore[misc]
                return answer
        except (ApiError, grpc.aio.AioRpcError) as e:
            log.info("the kubelet of %s tells nothing: %s", node.metadata.name, e)
            return None

    def _nodes(self, before: Look, after: Look) -> Iterator[tuple[meta.Key, Item]]:
        window = after.time - before.time
        for name, stats in after.nodes.items():
            node, earlier = self._reader.get_cached(NODES, "", name), before.nodes.get(name)
            if node is None or earlier is None:
                continue
            used = _rate(earlier.node_cpu_usage_nanoseconds, stats.node_cpu_usage_nanoseconds, window)
            usage = _usage(used, stats.node_memory_working_set_bytes)
            metrics = NodeMetrics(
                metadata=self._metadata(node), timestamp=times.format(after.time), window=_duration(window), usage=usage
            )
            yield meta.Key("", name), _item(metrics)

    def _pods(self, before: Look, after: Look) -> Iterator[tuple[meta.Key, Item]]:
        window = after.time - before.time
        earlier = {
            (pod.uid, c.name): c.cpu_usage_nanoseconds
            for stats in before.nodes.values() for pod in stats.pods for c in pod.containers
        }  # fmt: skip
        for stats in after.nodes.values():
            for told in stats.pods:
                pod = self._reader.get_cached(PODS, told.namespace, told.pod)
                if pod is None or pod.metadata.uid != told.uid:
                    continue
                if containers := list(_containers(pod, told, earlier, window)):
                    metrics = PodMetrics(
                        metadata=self._metadata(pod), timestamp=times.format(after.time), window=_duration(window),
                        containers=containers,
                    )  # fmt: skip
                    yield meta.key(pod), _item(metrics)

    def _metadata(self, of: Node | Pod) -> ObjectMeta:
        metadata = of.metadata
        return ObjectMeta(
            name=metadata.name, namespace=metadata.namespace, labels=metadata.labels,
            creationTimestamp=times.format(self._clock.now()),
        )  # fmt: skip


def _containers(
    pod: Pod, told: pb.PodStats, earlier: Mapping[tuple[str, str], int], window: float
) -> Iterator[ContainerMetrics]:
    """Those of the pod's own that both looks have seen."""
    names = {c.name for c in (*pod.spec.containers, *pod.spec.initContainers)}
    for c in told.containers:
        before = earlier.get((told.uid, c.name))
        if c.name in names and before is not None:
            used = _rate(before, c.cpu_usage_nanoseconds, window)
            yield ContainerMetrics(name=c.name, usage=_usage(used, c.memory_working_set_bytes))


def _item(metrics: NodeMetrics | PodMetrics) -> Item:
    metadata = metrics.metadata
    chosen = {"metadata.name": metadata.name, "metadata.namespace": metadata.namespace}
    return Item(metadata.namespace, metadata.name, 0, meta.encode(metrics), metadata.labels, chosen)


def _rate(before: int, after: int, window: float) -> int:
    """Billionths of a core. A container that was started anew counts from zero."""
    return int(max(0, after - before if after >= before else after) / window)


def _usage(cpu: int, memory: int) -> dict[str, str]:
    return {"cpu": f"{cpu}n", "memory": f"{memory // 1024}Ki"}


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}s"
