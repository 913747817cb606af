"""Nodes, pods and snapshots for the tests of the scheduler."""

from random import Random
from typing import Any

from api.labels import EVERYTHING, Selector
from api.types import (
    Affinity,
    Container,
    ContainerPort,
    LabelSelector,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    ResourceRequirements,
    Taint,
    Toleration,
    TopologySpreadConstraint,
)
from scheduler.decisions import Decision, explain, schedule
from scheduler.snapshots import Snapshot
from scheduler.wishes import HOSTNAME, ZONE, wish


def node(
    name: str, *, zone: str = "", cpu: str = "4", memory: str = "8Gi", pods: str = "110", labels: dict[str, str] | None = None,
    taints: list[Taint] | None = None, unschedulable: bool | None = None, **resources: str,
) -> Node:  # fmt: skip
    own = {HOSTNAME: name} | ({ZONE: zone} if zone else {}) | (labels or {})
    return Node(
        metadata=ObjectMeta(name=name, labels=own),
        spec=NodeSpec(taints=taints or [], unschedulable=unschedulable),
        status=NodeStatus(allocatable={"cpu": cpu, "memory": memory, "pods": pods, **resources}),
    )


def taint(key: str, effect: str = "NoSchedule", value: str = "") -> Taint:
    return Taint(key=key, value=value, effect=effect)


def tolerating(key: str, operator: str = "Exists", value: str = "", effect: str = "") -> Toleration:
    return Toleration(key=key, operator=operator, value=value, effect=effect)


def container(
    name: str = "main", image: str = "app:1", *, ports: list[ContainerPort] | None = None, restart: str = "", **requests: str
) -> Container:  # fmt: skip
    return Container(
        name=name, image=image, ports=ports or [], restartPolicy=restart, resources=ResourceRequirements(requests=requests)
    )  # fmt: skip


def pod(name: str = "pod", *, labels: dict[str, str] | None = None, namespace: str = "default", **spec: Any) -> Pod:
    requests = {k: spec.pop(k) for k in ("cpu", "memory") if k in spec}
    return Pod(
        metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or {}, uid=f"uid-{name}"),
        spec=PodSpec(**{"containers": [container(**requests)], **spec}),
    )


def near(app: str, topology: str = HOSTNAME, **more: Any) -> Affinity:
    return Affinity(
        podAffinity=PodAffinity(requiredDuringSchedulingIgnoredDuringExecution=[term(app, topology, **more)])
    )


def apart(app: str, topology: str = HOSTNAME, **more: Any) -> Affinity:
    terms = [term(app, topology, **more)]
    return Affinity(podAntiAffinity=PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=terms))


def term(app: str, topology: str = HOSTNAME, **more: Any) -> PodAffinityTerm:
    return PodAffinityTerm(labelSelector=LabelSelector(matchLabels={"app": app}), topologyKey=topology, **more)


def spread(app: str, topology: str = ZONE, **more: Any) -> TopologySpreadConstraint:
    return TopologySpreadConstraint(
        **{
            "maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": LabelSelector(matchLabels={"app": app}), **more,
        }
    )  # fmt: skip


class World:
    """A snapshot, and the decisions on it."""

    def __init__(self, *nodes: Node, seed: int = 1) -> None:
        self.snapshot = Snapshot()
        self._random = Random(seed)
        for each in nodes:
            self.snapshot.set_node(each)

    def put(self, name: str, on: str, **spec: Any) -> None:
        self.snapshot.set_pod(wish(pod(name, **spec)), on)

    def decide(self, wanted: Pod | None = None, group: Selector = EVERYTHING) -> Decision:
        return schedule(self.snapshot, wish(wanted or pod(), group), self._random)

    def place(self, wanted: Pod, group: Selector = EVERYTHING) -> str:
        """Decide and count."""
        decision = self.decide(wanted, group)
        assert decision.node, decision.message
        self.snapshot.set_pod(wish(wanted, group), decision.node)
        return decision.node

    def rejected(self, wanted: Pod) -> dict[str, tuple[str, str]]:
        """The plug-in and the reason by node, for those that are rejected."""
        verdicts = explain(self.snapshot, wish(wanted))
        return {v.node: (v.rejected_by, v.reason) for v in verdicts if v.rejected_by}

    def scores(self, wanted: Pod, plugin: str, group: Selector = EVERYTHING) -> dict[str, int]:
        verdicts = explain(self.snapshot, wish(wanted, group))
        return {v.node: v.scores[plugin] for v in verdicts if plugin in v.scores}
