"""What must be true of a lab that is left alone: of its objects, its containers, and what its nodes hold. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from api import quantities
from tests.chaos.remains import Remains, ServedPort

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    pod: str
    """Its pod's uid."""
    name: str
    """namespace/name of the pod, and the container's own: what there may be only one of."""
    node: str
    running: bool
    pause: bool


@dataclass(frozen=True, slots=True)
class Scene:
    nodes: list[Object]
    pods: list[Object]
    owners: list[Object]
    """Of the kinds Deployment, StatefulSet and DaemonSet."""
    services: list[Object]
    slices: list[Object]
    containers: dict[str, Container]
    """By their ids, those of all of the lab's kubelets."""
    remains: dict[str, Remains] = field(default_factory=dict)
    """By node."""


def violations(scene: Scene) -> Iterator[str]:
    yield from _unready(scene)
    yield from _copies(scene)
    yield from _too_much(scene)
    yield from _orphans(scene)
    yield from _remains(scene)
    yield from _endpoints(scene)
    yield from _rules(scene)


def _unready(scene: Scene) -> Iterator[str]:
    for node in scene.nodes:
        if not _condition(node, "Ready"):
            yield f"node {node['metadata']['name']} is not Ready"
    for pod in scene.pods:
        if "deletionTimestamp" in pod["metadata"]:
            yield f"pod {_name(pod)} is leaving"
        elif not _condition(pod, "Ready"):
            yield f"pod {_name(pod)} is not Ready"


def _copies(scene: Scene) -> Iterator[str]:
    """Each owner has as many pods as it wants, and each identity is there once."""
    owned = Counter(controller for pod in scene.pods if (controller := _owner(pod)))
    for owner in scene.owners:
        kind, status = owner["kind"], owner["status"]
        wanted = status.get("desiredNumberScheduled", 0) if kind == "DaemonSet" else owner["spec"]["replicas"]
        name = owner["metadata"]["name"]
        # A deployment's pods are its replica sets'.
        have = sum(count for each, count in owned.items() if each == (kind, name) or _is_replica_set_of(owner, *each))
        if have != wanted:
            yield f"{kind} {name} has {have} pods, not {wanted}"
    running = Counter(c.name for c in scene.containers.values() if c.running)
    yield from (f"{name} runs {count} times" for name, count in running.items() if count > 1)


def _is_replica_set_of(owner: Object, kind: str, name: str) -> bool:
    return (
        owner["kind"] == "Deployment" and kind == "ReplicaSet" and name.rpartition("-")[0] == owner["metadata"]["name"]
    )


def _too_much(scene: Scene) -> Iterator[str]:
    for node in scene.nodes:
        pods = [p for p in scene.pods if p["spec"].get("nodeName") == node["metadata"]["name"]]
        asked: dict[str, Decimal] = defaultdict(Decimal, pods=Decimal(len(pods)))
        for pod in pods:
            for container in pod["spec"]["containers"]:
                for resource, amount in container.get("resources", {}).get("requests", {}).items():
                    asked[resource] += quantities.parse(amount)
        for resource, amount in asked.items():
            if amount > quantities.parse(node["status"]["allocatable"].get(resource, "0")):
                yield f"node {node['metadata']['name']} is promised {amount} of {resource}"


def _orphans(scene: Scene) -> Iterator[str]:
    """Containers without a pod, and pods without their containers."""
    there = {p["metadata"]["uid"]: p for p in scene.pods}
    for id_, container in scene.containers.items():
        if container.pod not in there:
            yield f"container {container.name} ({id_[:12]}) on {container.node} has no pod"
    for pod in scene.pods:
        for status in pod["status"].get("containerStatuses", []):
            found = scene.containers.get(status.get("containerID", "").rpartition("/")[2])
            if found is None or not found.running:
                yield f"pod {_name(pod)} says that {status['name']} runs as {status.get('containerID')}"


def _remains(scene: Scene) -> Iterator[str]:
    """Wires that lead to nobody, and control groups, directories and mounts of pods that are not there."""
    ended = {c.pod for c in scene.containers.values() if c.pause and not c.running}
    wired = Counter(
        p["spec"].get("nodeName") for p in scene.pods
        if not p["spec"].get("hostNetwork") and p["metadata"]["uid"] not in ended
    )  # fmt: skip
    for node, found in scene.remains.items():
        if found.wires != wired[node]:
            yield f"node {node} has {found.wires} wires for {wired[node]} pods"
        there = {p["metadata"]["uid"] for p in scene.pods if p["spec"].get("nodeName") == node}
        for what, uids in (("group", found.groups), ("directory", found.directories), ("mount", found.mounts)):
            yield from (f"node {node} has a {what} of pod {uid}, which is not there" for uid in sorted(uids - there))


def _endpoints(scene: Scene) -> Iterator[str]:
    for service in scene.services:
        name, selector = service["metadata"]["name"], service["spec"].get("selector")
        if not selector:
            continue
        ready = {
            p["status"]["podIP"] for p in scene.pods
            if p["metadata"]["namespace"] == service["metadata"]["namespace"]
            and selector.items() <= p["metadata"].get("labels", {}).items() and _condition(p, "Ready")
        }  # fmt: skip
        told = {address for each in _slices(scene, service) for address in _ready(each)}
        if ready != told:
            yield f"service {name} leads to {sorted(told)}, ready are {sorted(ready)}"


def _rules(scene: Scene) -> Iterator[str]:
    """Every node takes what is sent to a Service to its ready endpoints, and to nothing else."""
    wanted: dict[ServedPort, set[str]] = {}
    for service in scene.services:
        address = service["spec"].get("clusterIP", "None")
        for port in service["spec"].get("ports", []) if address != "None" else []:
            if backends := set(_backends(scene, service, port)):
                wanted[address, port["protocol"].lower(), str(port["port"])] = backends
    for node, found in scene.remains.items():
        for key in sorted(wanted.keys() | found.rules.keys()):
            if (leads := found.rules.get(key, set())) != (ends := wanted.get(key, set())):
                yield f"node {node} takes {':'.join(key)} to {sorted(leads)}, its endpoints are {sorted(ends)}"


def _backends(scene: Scene, service: Object, port: Object) -> Iterator[str]:
    for slice_ in _slices(scene, service):
        for each in slice_.get("ports") or []:
            if (each.get("name", ""), each["protocol"]) == (port.get("name", ""), port["protocol"]):
                yield from (f"{address}:{each['port']}" for address in _ready(slice_))


def _slices(scene: Scene, service: Object) -> Iterator[Object]:
    for each in scene.slices:
        metadata = each["metadata"]
        named = metadata.get("labels", {}).get("kubernetes.io/service-name")
        if (metadata["namespace"], named) == (service["metadata"]["namespace"], service["metadata"]["name"]):
            yield each


def _ready(slice_: Object) -> Iterator[str]:
    for each in slice_.get("endpoints") or []:
        if each["conditions"].get("ready"):
            yield from each["addresses"]


def _owner(pod: Object) -> tuple[str, str] | None:
    return next(
        ((o["kind"], o["name"]) for o in pod["metadata"].get("ownerReferences", []) if o.get("controller")), None
    )


def _condition(obj: Object, type_: str) -> bool:
    return any(c["type"] == type_ and c["status"] == "True" for c in obj["status"].get("conditions", []))


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
