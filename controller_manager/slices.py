"""How endpoints are spread over slices so that few slices change. Pure.

https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/ . The rules, upstream's:
1. what a slice holds and is still wanted stays there, changed in place; what is not wanted leaves it;
2. new endpoints first fill the slices that change anyway, the fullest first;
3. what is left opens new slices; only if it fits into one slice that does not change does it go there instead;
4. slices that became empty go, except the last one of a service.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from api import meta
from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    ObjectMeta,
    ObjectReference,
    Service,
)
from controller_manager.service_backends import HEADLESS, Backend, Port, is_headless

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
CAPACITY = 100

Ports = tuple[Port, ...]


@dataclass
class Changes:
    create: list[EndpointSlice] = field(default_factory=list)
    update: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def plan(
    service: Service, found: Iterable[Backend], current: Sequence[EndpointSlice], zone_of: Callable[[str], str]
) -> Changes:
    """What to write so that the slices `current` show the backends `found`. `zone_of` maps node names to zones."""
    wanted: dict[tuple[str, Ports], dict[str, Endpoint]] = {}
    for b in found:
        if b.ports or (is_headless(service) and not service.spec.ports):
            endpoints = wanted.setdefault((_family(b.address), b.ports), {})
            endpoints[b.pod.metadata.uid] = endpoint(b, zone_of)
    by_group: dict[tuple[str, Ports], list[EndpointSlice]] = {}
    for s in current:
        by_group.setdefault((s.addressType or "", _ports_of(s)), []).append(s)
    changes = Changes()
    labels = slice_labels(service)
    for group in sorted({*wanted, *by_group}):
        _plan_group(service, labels, group, wanted.get(group, {}), by_group.get(group, []), changes)
    _keep_one(service, labels, current, changes)
    _reuse(changes)
    return changes


def _plan_group(
    service: Service, labels: dict[str, str], group: tuple[str, Ports], wanted: dict[str, Endpoint],
    current: Sequence[EndpointSlice], changes: Changes,
) -> None:  # fmt: skip
    missing = dict(wanted)
    touched: list[EndpointSlice] = []
    untouched: list[EndpointSlice] = []
    for s in current:
        kept = []
        for old in s.endpoints:
            new = missing.pop(old.targetRef.uid, None) if old.targetRef is not None else None
            if new is not None:
                new.hints = old.hints  # whether they are still right is decided when it is known what is written
                kept.append(new)
        if kept == s.endpoints and s.metadata.labels == labels:
            untouched.append(s)
        else:
            touched.append(_with(s, kept, labels))
    left = list(missing.values())
    for s in sorted(touched, key=lambda s: -len(s.endpoints)):
        room = CAPACITY - len(s.endpoints)
        s.endpoints += left[:room]
        left = left[room:]
    if left and len(left) <= CAPACITY:
        fitting = [s for s in untouched if len(s.endpoints) + len(left) <= CAPACITY]
        if fitting:
            fullest = max(fitting, key=lambda s: len(s.endpoints))
            touched.append(_with(fullest, [*fullest.endpoints, *left], labels))
            left = []
    changes.update += [s for s in touched if s.endpoints]
    changes.delete += [s for s in touched if not s.endpoints]
    # An untouched slice is empty only as the last one of a service that has backends now, or has none still.
    changes.delete += [s for s in untouched if not s.endpoints]
    while left:
        changes.create.append(_new(service, labels, group, left[:CAPACITY]))
        left = left[CAPACITY:]


def _keep_one(service: Service, labels: dict[str, str], current: Sequence[EndpointSlice], changes: Changes) -> None:
    """A service without backends has one empty slice, which says that somebody has looked."""
    if changes.create or changes.update or len(changes.delete) < len(current):
        return
    family = (service.spec.ipFamilies or ["IPv4"])[0]
    for s in changes.delete:
        if s.addressType == family and not s.ports:
            changes.delete = [other for other in changes.delete if other is not s]
            if all(s is not unchanged for unchanged in current):
                changes.update.append(s)
            return
    changes.create.append(_new(service, labels, (family, ()), []))


def _reuse(changes: Changes) -> None:
    """Change a slice instead of deleting it and creating another: one event for every watcher instead of two."""
    for new in list(changes.create):
        old = next((s for s in changes.delete if s.addressType == new.addressType), None)
        if old is not None:
            changes.create = [s for s in changes.create if s is not new]
            changes.delete = [s for s in changes.delete if s is not old]
            reused = _with(old, new.endpoints, new.metadata.labels)
            reused.ports = new.ports
            changes.update.append(reused)


def endpoint(b: Backend, zone_of: Callable[[str], str]) -> Endpoint:
    m, node = b.pod.metadata, b.pod.spec.nodeName
    return Endpoint(
        addresses=[b.address],
        conditions=EndpointConditions(ready=b.ready, serving=b.serving, terminating=b.terminating),
        hostname=b.hostname, nodeName=node, zone=zone_of(node) if node else "",
        targetRef=ObjectReference(kind="Pod", namespace=m.namespace, name=m.name, uid=m.uid),
    )  # fmt: skip


def slice_labels(service: Service) -> dict[str, str]:
    """The service's own labels, and what marks a slice as ours."""
    reserved = {SERVICE_NAME, MANAGED_BY, HEADLESS}
    labels = {k: v for k, v in service.metadata.labels.items() if k not in reserved}
    labels |= {SERVICE_NAME: service.metadata.name, MANAGED_BY: MANAGER}
    return labels | ({HEADLESS: ""} if is_headless(service) else {})


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _ports_of(s: EndpointSlice) -> Ports:
    return tuple(Port(p.name or "", p.port or 0, p.protocol, p.appProtocol) for p in s.ports)


def _with(s: EndpointSlice, endpoints: list[Endpoint], labels: dict[str, str]) -> EndpointSlice:
    changed = meta.clone(s)
    changed.endpoints = endpoints
    changed.metadata.labels = dict(labels)
    return changed


def _new(
    service: Service, labels: dict[str, str], group: tuple[str, Ports], endpoints: list[Endpoint]
) -> EndpointSlice:
    family, ports = group
    return EndpointSlice(
        metadata=ObjectMeta(
            generateName=f"{service.metadata.name}-", namespace=service.metadata.namespace, labels=dict(labels),
            ownerReferences=[meta.controller_reference(service)],
        ),
        addressType=family, endpoints=endpoints,
        ports=[
            DiscoveryV1EndpointPort(name=p.name, port=p.port, protocol=p.protocol, appProtocol=p.app_protocol)
            for p in ports
        ],
    )  # fmt: skip
