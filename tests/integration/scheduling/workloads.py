"""Pods that ask for a resource which only the test knows."""

from collections.abc import Callable
from typing import Any

from api import meta
from api.types import (
    Affinity,
    Container,
    Node,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectMeta,
    Pod,
    PodSpec,
    ResourceRequirements,
)
from machinery.client import Client
from tests.integration.processes import until

EMPTY_NODE = "empty"
HOSTNAME = "kubernetes.io/hostname"
CLASSES = {"low": 1, "medium": 100, "high": 1000}


class Lab:
    def __init__(self, client: Client, namespace: str, resource: str) -> None:
        self.client = client
        self.namespace = namespace
        self.other = f"{namespace}-other"
        self.resource = resource

    async def give(self, node: str, amount: int) -> None:
        """Let the node have so much of the test's resource."""
        sizes = {self.resource: str(amount)}
        change = {"status": {"capacity": sizes, "allocatable": sizes}}
        await self.client.patch(Node, node, "", change, subresource="status")

    def spec(self, priority: str, amount: int, *, node: str = "", **more: Any) -> PodSpec:
        asked = {self.resource: str(amount)}
        resources = ResourceRequirements(requests=asked, limits=asked)
        return PodSpec(
            containers=[Container(name="main", image="pause:1", resources=resources)],
            priorityClassName=priority, affinity=only(node) if node else None, **more,
        )  # fmt: skip

    def pod(self, name: str, priority: str, amount: int, **more: Any) -> Pod:
        metadata = ObjectMeta(name=name, namespace=self.namespace)
        return Pod(metadata=metadata, spec=self.spec(priority, amount, **more))

    async def create(
        self, name: str, priority: str, amount: int, *, namespace: str = "", node: str = "",
        labels: dict[str, str] | None = None, finalizers: list[str] | None = None, **more: Any,
    ) -> Pod:  # fmt: skip
        pod = self.pod(name, priority, amount, node=node, **more)
        pod.metadata.namespace = namespace or self.namespace
        pod.metadata.labels, pod.metadata.finalizers = labels or {}, finalizers or []
        return await self.client.create(pod)

    async def until(
        self, name: str, holds: Callable[[Pod], Any], *, namespace: str = "", seconds: float = 30
    ) -> Pod:  # fmt: skip
        where = namespace or self.namespace
        pods = await until(
            self.client, Pod, lambda pods: any(p.metadata.name == name and holds(p) for p in pods), where, seconds
        )  # fmt: skip
        return next(p for p in pods if p.metadata.name == name)

    async def run(self, name: str, priority: str, amount: int, **more: Any) -> Pod:
        """Create it and wait for it: on the node without a kubelet, until it is bound."""
        namespace = (await self.create(name, priority, amount, **more)).metadata.namespace
        return await self.until(name, settled, namespace=namespace)

    async def pods(self, namespace: str = "") -> dict[str, Pod]:
        listing = await self.client.list(Pod, namespace or self.namespace)
        return {p.metadata.name: p for p in listing.items}


def only(node: str) -> Affinity:
    field = NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
    return Affinity(
        nodeAffinity=NodeAffinity(
            requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(
                nodeSelectorTerms=[NodeSelectorTerm(matchFields=[field])]
            )
        )
    )


def settled(pod: Pod) -> bool:
    return pod.spec.nodeName == EMPTY_NODE or pod.status.phase == "Running"


def dying(pod: Pod) -> bool:
    return bool(pod.metadata.deletionTimestamp)


def unschedulable(pod: Pod) -> bool:
    found = meta.condition(pod, "PodScheduled")
    return found is not None and (found.status, found.reason) == ("False", "Unschedulable")
