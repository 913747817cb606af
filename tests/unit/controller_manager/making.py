"""Objects as users and kubelets make them."""

from typing import Any

from api import meta, times
from api.types import (
    Container,
    ContainerPort,
    DaemonSet,
    DaemonSetSpec,
    DaemonSetUpdateStrategy,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    LabelSelector,
    Namespace,
    NamespaceSpec,
    Node,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicationController,
    ReplicationControllerSpec,
    RollingUpdateDaemonSet,
    RollingUpdateDeployment,
    RollingUpdateStatefulSetStrategy,
    Service,
    ServicePort,
    ServiceSpec,
    StatefulSet,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
)
from tests.unit.controller_manager.worlds import rest

NOW = 1_700_000_000.0
LABELS = {"app": "web"}


def template(image: str = "image:1", **labels: str) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(LABELS | labels)),
        spec=PodSpec(
            containers=[Container(name="main", image=image, ports=[ContainerPort(name="http", containerPort=8080)])]
        ),
    )


def replica_set(name: str = "web", replicas: int = 3, *, uid: str = "", **spec: Any) -> ReplicaSet:
    spec.setdefault("template", template())
    return ReplicaSet(
        metadata=ObjectMeta(name=name, namespace="default", uid=uid),
        spec=ReplicaSetSpec(replicas=replicas, selector=LabelSelector(matchLabels=dict(LABELS)), **spec),
    )


def replication_controller(name: str = "web", replicas: int = 3) -> ReplicationController:
    return ReplicationController(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ReplicationControllerSpec(replicas=replicas, selector=dict(LABELS), template=template()),
    )


def deployment(
    name: str = "web", replicas: int = 3, *, strategy: str = "RollingUpdate", surge: int | str = "25%",
    unavailable: int | str = "25%", **spec: Any,
) -> Deployment:  # fmt: skip
    rolling = (
        RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable) if strategy == "RollingUpdate" else None
    )
    spec.setdefault("template", template())
    spec.setdefault("progressDeadlineSeconds", 600)
    spec.setdefault("revisionHistoryLimit", 10)
    return Deployment(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DeploymentSpec(
            replicas=replicas, selector=LabelSelector(matchLabels=dict(LABELS)),
            strategy=DeploymentStrategy(type=strategy, rollingUpdate=rolling), **spec,
        ),
    )  # fmt: skip


def stateful_set(
    name: str = "web", replicas: int = 3, *, partition: int = 0, unavailable: int | str | None = None,
    strategy: str = "RollingUpdate", policy: str = "OrderedReady", **spec: Any,
) -> StatefulSet:  # fmt: skip
    rolling = RollingUpdateStatefulSetStrategy(partition=partition, maxUnavailable=unavailable)
    spec.setdefault("template", template())
    spec.setdefault("revisionHistoryLimit", 10)
    return StatefulSet(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=StatefulSetSpec(
            replicas=replicas, selector=LabelSelector(matchLabels=dict(LABELS)), serviceName="web",
            podManagementPolicy=policy,
            updateStrategy=StatefulSetUpdateStrategy(
                type=strategy, rollingUpdate=rolling if strategy == "RollingUpdate" else None
            ),
            **spec,
        ),
    )  # fmt: skip


def daemon_set(
    name: str = "agent", *, surge: int | str = 0, unavailable: int | str = 1, strategy: str = "RollingUpdate",
    **spec: Any,
) -> DaemonSet:  # fmt: skip
    rolling = RollingUpdateDaemonSet(maxSurge=surge, maxUnavailable=unavailable)
    spec.setdefault("template", template())
    spec.setdefault("revisionHistoryLimit", 10)
    return DaemonSet(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=DaemonSetSpec(
            selector=LabelSelector(matchLabels=dict(LABELS)),
            updateStrategy=DaemonSetUpdateStrategy(
                type=strategy, rollingUpdate=rolling if strategy == "RollingUpdate" else None
            ),
            **spec,
        ),
    )


def pod(
    name: str = "p", *, ready: bool | None = None, phase: str = "Running", node: str = "node1", ip: str = "",
    uid: str = "", age: float = 0.0, owner: Any = None, labels: dict[str, str] | None = None, **spec: Any,
) -> Pod:  # fmt: skip
    """`ready` None: no kubelet has said anything yet."""
    at = times.format(NOW - age)
    conditions = [] if ready is None else [PodCondition(type="Ready", status=str(ready), lastTransitionTime=at)]
    return Pod(
        metadata=ObjectMeta(
            name=name, namespace="default", uid=uid or name, labels=dict(LABELS if labels is None else labels),
            creationTimestamp=at, ownerReferences=[meta.controller_reference(owner)] if owner is not None else [],
        ),
        spec=PodSpec(nodeName=node, containers=template().spec.containers, **spec),  # type: ignore[union-attr]
        status=PodStatus(phase=phase, conditions=conditions, podIP=ip),
    )  # fmt: skip


def node(name: str = "node1", *, ready: str | None = "True", cidr: str = "", **labels: str) -> Node:
    conditions = (
        [] if ready is None else [NodeCondition(type="Ready", status=ready, lastHeartbeatTime=times.format(NOW))]
    )
    return Node(
        metadata=ObjectMeta(name=name, uid=name, labels=labels),
        spec=NodeSpec(podCIDR=cidr, podCIDRs=[cidr] if cidr else []),
        status=NodeStatus(conditions=conditions),
    )


def service(name: str = "web", *, target: int | str = 8080, headless: bool = False, **spec: Any) -> Service:
    spec.setdefault("ports", [ServicePort(name="http", port=80, targetPort=target, protocol="TCP")])
    spec.setdefault("selector", dict(LABELS))
    return Service(
        metadata=ObjectMeta(name=name, namespace="default", uid=f"service-{name}"),
        spec=ServiceSpec(clusterIP="None" if headless else "10.96.0.7", type="ClusterIP", ipFamilies=["IPv4"], **spec),
    )


def namespace(name: str = "default") -> Namespace:
    return Namespace(metadata=ObjectMeta(name=name), spec=NamespaceSpec(finalizers=["kubernetes"]))


async def make_ready(world: Any, *pods: Pod, ready: bool = True) -> None:
    """What the kubelet says once the containers run."""
    for p in pods:
        fresh = world.one(Pod, p.metadata.name, p.metadata.namespace)
        at = times.format(world.clock.now())
        fresh.status.phase = "Running"
        fresh.status.conditions = [PodCondition(type="Ready", status=str(ready), lastTransitionTime=at)]
        await world.update_status(fresh)


async def run_pods(world: Any, rounds: int = 12) -> None:
    """A kubelet that is quick: pods become ready, deleted ones end, and the controllers get their turns between."""
    for _ in range(rounds):
        await rest(3)
        for p in world.all(Pod):
            if p.metadata.deletionTimestamp:
                await world.finish(Pod, p.metadata.name, p.metadata.namespace)
            elif not meta.is_true(p, "Ready"):
                await make_ready(world, p)
    await rest(3)
