"""How an Endpoints object that somebody keeps by hand is told in EndpointSlices. Pure.

One group of slices for each address family and list of ports, filled in order; slices that are there already are
changed in place, so that few are made and deleted.
"""

from collections.abc import Iterator, Sequence

from api import meta
from api.types import (
    DiscoveryV1EndpointPort,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    ObjectMeta,
)
from controller_manager.service_backends import HEADLESS, LAST_CHANGE
from controller_manager.slices import MANAGED_BY, SERVICE_NAME, Changes

MANAGER = "endpointslicemirroring-controller.k8s.io"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
PER_SUBSET = 1000
"""Addresses of one subset that are told at most."""
CAPACITY = 1000

Port = tuple[str, int, str, str]
Group = tuple[str, tuple[Port, ...]]
Who = tuple[str, str]
"""The address, and the uid of what has it."""
Offer = tuple[EndpointAddress, bool]
"""An address, and whether it is ready."""


def plan(endpoints: Endpoints, current: Sequence[EndpointSlice]) -> Changes:
    """What to write so that the slices `current` say what `endpoints` say."""
    groups: dict[Group, dict[str, Endpoint]] = {}
    for ports, offering in _repacked(endpoints.subsets):
        for address, ready in offering[:PER_SUBSET]:
            family = "IPv6" if ":" in (address.ip or "") else "IPv4"
            groups.setdefault((family, ports), {}).setdefault(address.ip or "", _endpoint(address, ready))
    there: dict[Group, list[EndpointSlice]] = {}
    for s in current:
        there.setdefault((s.addressType or "", _ports_of(s)), []).append(s)
    changes = Changes()
    for group in sorted({*groups, *there}):
        left, slices = list(groups.get(group, {}).values()), there.get(group, [])
        while left:
            _place(endpoints, group, left[:CAPACITY], slices.pop(0) if slices else None, changes)
            left = left[CAPACITY:]
        changes.delete += slices
    return changes


def untold(endpoints: Endpoints) -> int:
    """How many addresses are left out, because there are more than may be told of one subset."""
    return sum(max(0, len(offering) - PER_SUBSET) for _, offering in _repacked(endpoints.subsets))


def _place(endpoints: Endpoints, group: Group, held: list[Endpoint], s: EndpointSlice | None, changes: Changes) -> None:
    wanted = _slice(endpoints, group, held)
    if s is None:
        changes.create.append(wanted)
        return
    changed = meta.clone(s)
    changed.endpoints, changed.metadata.labels = held, wanted.metadata.labels
    changed.metadata.annotations = wanted.metadata.annotations
    if changed != s:
        changes.update.append(changed)


def _repacked(subsets: Sequence[EndpointSubset]) -> Iterator[tuple[tuple[Port, ...], list[Offer]]]:
    """The ports that the same addresses offer, with these, however the subsets say it; the ready ones first.

    Two ports of one address are told in one slice, since who looks for both looks there.
    """
    alike: dict[frozenset[tuple[Who, bool]], list[Port]] = {}
    addresses = {_who(a): a for subset in subsets for a in (*subset.addresses, *subset.notReadyAddresses)}
    for port, offering in _by_port(subsets).items():
        alike.setdefault(frozenset(offering.items()), []).extend([] if port is None else [port])
    for offers, ports in alike.items():
        told = sorted((not ready, who) for who, ready in offers)
        yield tuple(sorted(ports)), [(addresses[who], not unready) for unready, who in told]


def _by_port(subsets: Sequence[EndpointSubset]) -> dict[Port | None, dict[Who, bool]]:
    """Who offers a port, and is ready to; None stands for no port at all. Whatever else is said of an address, it is
    unready for the port once one subset says so."""
    found: dict[Port | None, dict[Who, bool]] = {}
    for subset in subsets:
        said = [(a, True) for a in subset.addresses] + [(a, False) for a in subset.notReadyAddresses]
        for port in map(_port, subset.ports or (None,)):
            offering = found.setdefault(port, {})
            for address, ready in said:
                offering[_who(address)] = ready and offering.get(_who(address), True)
    return found


def _who(address: EndpointAddress) -> Who:
    return address.ip or "", address.targetRef.uid if address.targetRef is not None else ""


def _endpoint(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip or ""], conditions=EndpointConditions(ready=ready), hostname=address.hostname,
        nodeName=address.nodeName, targetRef=address.targetRef,
    )  # fmt: skip


def _slice(endpoints: Endpoints, group: Group, held: list[Endpoint]) -> EndpointSlice:
    m, (family, ports) = endpoints.metadata, group
    labels = {k: v for k, v in m.labels.items() if k not in (HEADLESS, MANAGED_BY, SERVICE_NAME)}
    return EndpointSlice(
        metadata=ObjectMeta(
            generateName=f"{m.name}-", namespace=m.namespace,
            labels=labels | {SERVICE_NAME: m.name, MANAGED_BY: MANAGER},
            annotations={k: v for k, v in m.annotations.items() if k not in (LAST_APPLIED, LAST_CHANGE)},
            ownerReferences=[meta.controller_reference(endpoints)],
        ),
        addressType=family, endpoints=held,
        ports=[DiscoveryV1EndpointPort(name=n, port=p, protocol=how, appProtocol=app) for n, p, how, app in ports],
    )  # fmt: skip


def _port(port: EndpointPort | None) -> Port | None:
    return None if port is None else (port.name, port.port or 0, port.protocol, port.appProtocol)


def _ports_of(s: EndpointSlice) -> tuple[Port, ...]:
    return tuple(sorted((p.name or "", p.port or 0, p.protocol, p.appProtocol) for p in s.ports))
