"""Which clients each endpoint is meant for: hints in its slices, by which proxies keep traffic near. Pure but for what
it remembers of the annotation's services.

https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-distribution (`spec.trafficDistribution`) and
https://kubernetes.io/docs/concepts/services-networking/topology-aware-routing/ (the annotation, which goes first).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from api import meta, quantities
from api.meta import Key
from api.types import Endpoint, EndpointHints, EndpointSlice, ForNode, ForZone, Node, Service
from controller_manager.slices import Changes

ZONE = "topology.kubernetes.io/zone"
ANNOTATIONS = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")
NOT_COUNTED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
OVERLOAD = 1.2  # what an endpoint may get, of what it would get if traffic were even
ENABLED = "Topology Aware Hints has been enabled"
DISABLED = "Topology Aware Hints has been disabled"

Hinting = Callable[[Endpoint], EndpointHints | None]


class Told(NamedTuple):
    """An event about the service."""

    type: str
    reason: str
    message: str


class Allocation(NamedTuple):
    """How many endpoints a zone should have."""

    minimum: int
    maximum: int
    desired: float


class Refused(Exception):
    """Zones cannot be served by endpoints of their own; the text says why."""


def wants_zones(service: Service) -> bool:
    """Whether the service asks by its annotation that zones share its endpoints by their size."""
    annotations = service.metadata.annotations
    said = next((annotations[name] for name in ANNOTATIONS if name in annotations), "")
    return said in ("Auto", "auto")


def near(distribution: str) -> Hinting:
    """Each ready endpoint is for its own zone, with PreferSameNode also for its own node; others say nothing."""

    def hints(e: Endpoint) -> EndpointHints | None:
        if distribution not in CLOSE or not _ready(e):
            return None
        zones = [ForZone(name=e.zone)] if e.zone else []
        nodes = [ForNode(name=e.nodeName)] if e.nodeName and distribution == "PreferSameNode" else []
        return EndpointHints(forZones=zones, forNodes=nodes) if zones or nodes else None

    return hints


def rewrite(changes: Changes, current: Sequence[EndpointSlice], hints: Hinting) -> None:
    """Give every endpoint its hints; a slice that would not be written otherwise is, if they are others than before."""
    for s in (*changes.create, *changes.update):
        s.endpoints = [_hinted(e, hints(e)) for e in s.endpoints]
    for s in _unchanged(changes, current):
        endpoints = [_hinted(e, hints(e)) for e in s.endpoints]
        if endpoints != s.endpoints:
            changes.update.append(_with(s, endpoints))


class Zones:
    """The size of each zone, and how endpoints were shared among them."""

    def __init__(self) -> None:
        self._ratios: dict[str, float] = {}
        self._shared: dict[Key, dict[str, Counter[str]]] = {}  # of each service, by the family of addresses

    def set_nodes(self, nodes: Iterable[Node]) -> None:
        """One node that does not tell its zone or its CPUs makes all of them unknown."""
        sizes: Counter[str] = Counter()
        for node in nodes:
            labels = node.metadata.labels
            if any(name in labels for name in NOT_COUNTED) or not meta.is_true(node, "Ready"):
                continue
            size = quantities.milli(node.status.allocatable.get("cpu", "0"))
            if not labels.get(ZONE) or not size:
                sizes.clear()
                break
            sizes[labels[ZONE]] += size
        total = sum(sizes.values())
        self._ratios = {zone: size / total for zone, size in sizes.items()} if len(sizes) > 1 else {}

    def overloaded(self) -> list[Key]:
        """Services of which some zone has too few endpoints, now that nodes have changed."""
        return [key for key, families in self._shared.items() if any(map(self._is_overloaded, families.values()))]

    def forget(self, key: Key, family: str = "") -> bool:
        """The endpoints of the service are not shared any more; whether they were."""
        families = self._shared.get(key, {})
        known = bool(families)
        families.pop(family, None)
        if not families or not family:
            self._shared.pop(key, None)
        return known

    def share(self, key: Key, family: str, changes: Changes, current: Sequence[EndpointSlice]) -> list[Told]:
        """Hint endpoints of one family of addresses so that each zone has its part; tells what is to be said of it."""
        current = [s for s in current if s.addressType == family]
        try:
            shared = self._share(family, changes, current)
        except Refused as e:
            self.forget(key, family)
            _clear(family, changes, current)
            return [_told("Warning", "TopologyAwareHintsDisabled", str(e), family)]
        known = key in self._shared
        self._shared.setdefault(key, {})[family] = shared
        return [] if known else [_told("Normal", "TopologyAwareHintsEnabled", ENABLED, family)]

    def _share(self, family: str, changes: Changes, current: Sequence[EndpointSlice]) -> Counter[str]:
        touched = [s for s in (*changes.create, *changes.update) if s.addressType == family]
        unchanged = _unchanged(changes, current)
        allocations = self._allocations(sum(_ready(e) for s in (*touched, *unchanged) for e in s.endpoints))
        shared: Counter[str] = Counter()
        moved = []
        for s in unchanged:
            found = _shared(s, shared, allocations)
            if found is None:
                moved.append(_with(s, list(s.endpoints)))
            else:
                shared += found
        touched += moved
        if any(_ready(e) and not e.zone for s in touched for e in s.endpoints):
            raise Refused("One or more endpoints do not have a zone specified")
        for s in touched:
            s.endpoints = [_for_zone(e, e.zone) for e in s.endpoints]
            shared.update(e.zone for e in s.endpoints if _ready(e))
        giving, receiving = _differences(allocations, shared)
        _redistribute(touched, giving, receiving, shared)
        if not shared:
            raise Refused("No hints allocated for zones")
        changes.update += moved
        return shared

    def _allocations(self, count: int) -> dict[str, Allocation]:
        if not self._ratios:
            raise Refused("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        numbers = f"({count} endpoints, {len(self._ratios)} zones)"
        if len(self._ratios) > count:
            raise Refused(f"Insufficient number of endpoints {numbers}")
        minimum = {zone: math.ceil(ratio * count / OVERLOAD) for zone, ratio in self._ratios.items()}
        spare = count - sum(minimum.values())
        if spare < 0:
            raise Refused(
                "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold "
                + numbers
            )
        return {
            zone: Allocation(least, least + spare, max(self._ratios[zone] * count, least))
            for zone, least in minimum.items()
        }

    def _is_overloaded(self, shared: Counter[str]) -> bool:
        total = sum(shared.values())
        return not self._ratios or any(
            zone not in shared or shared[zone] < math.ceil(total * ratio / OVERLOAD)
            for zone, ratio in self._ratios.items()
        )


def _clear(family: str, changes: Changes, current: Sequence[EndpointSlice]) -> None:
    of_family = Changes(*([s for s in which if s.addressType == family] for which in (
        changes.create, changes.update, changes.delete,
    )))  # fmt: skip
    before = len(of_family.update)
    rewrite(of_family, current, lambda _: None)
    changes.update += of_family.update[before:]


def _shared(s: EndpointSlice, so_far: Counter[str], allocations: Mapping[str, Allocation]) -> Counter[str] | None:
    """The hints of a slice by their zones; None if they cannot stay as they are."""
    found: Counter[str] = Counter()
    for e in filter(_ready, s.endpoints):
        zones = [z.name or "" for z in e.hints.forZones] if e.hints is not None else []
        if not zones or any(zone not in allocations for zone in zones):
            return None
        found.update(zones)
    if any(so_far[zone] + count > allocations[zone].maximum for zone, count in found.items()):
        return None
    return found


def _differences(allocations: Mapping[str, Allocation], shared: Counter[str]) -> tuple[Counter[str], Counter[str]]:
    """How many endpoints which zones give, and which receive."""
    wanting = {zone: a.desired - shared[zone] for zone, a in allocations.items()}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while True:
        least, most = min(wanting, key=lambda z: (wanting[z], z)), max(wanting, key=lambda z: (wanting[z], z))
        give, receive = -wanting[least], wanting[most]
        if (give < 1 and receive < 1) or give < 0.5 or receive < 0.5:
            return giving, receiving
        giving[least] += 1
        receiving[most] += 1
        wanting[least] += 1
        wanting[most] -= 1


def _redistribute(
    slices: Iterable[EndpointSlice], giving: Counter[str], receiving: Counter[str], shared: Counter[str]
) -> None:
    for s in slices:
        for i, e in enumerate(s.endpoints):
            to = next((zone for zone, count in sorted(receiving.items()) if count), "")
            if _ready(e) and to and giving[e.zone]:
                s.endpoints[i] = _for_zone(e, to)
                giving[e.zone] -= 1
                receiving[to] -= 1
                shared[to] += 1
                shared[e.zone] -= 1


def _unchanged(changes: Changes, current: Iterable[EndpointSlice]) -> list[EndpointSlice]:
    changed = {s.metadata.name for s in (*changes.update, *changes.delete)}
    return [s for s in current if s.metadata.name not in changed]


def _ready(e: Endpoint) -> bool:
    return e.conditions is not None and e.conditions.ready is True


def _for_zone(e: Endpoint, zone: str) -> Endpoint:
    return _hinted(e, EndpointHints(forZones=[ForZone(name=zone)]) if _ready(e) else None)


def _hinted(e: Endpoint, hints: EndpointHints | None) -> Endpoint:
    """Never in place: endpoints are shared with the informer."""
    return e if e.hints == hints else msgspec.structs.replace(e, hints=hints)


def _with(s: EndpointSlice, endpoints: list[Endpoint]) -> EndpointSlice:
    changed = meta.clone(s)
    changed.endpoints = endpoints
    return changed


def _told(type_: str, reason: str, message: str, family: str) -> Told:
    return Told(type_, reason, f"{message}, addressType: {family}")


def removed(family: str) -> Told:
    """What is said of a service that does not ask for it any more."""
    return _told("Warning", "TopologyAwareHintsDisabled", DISABLED, family)
