"""What drivers offer: devices in slices, slices in pools, and which of them a node can reach. Pure.

Of a pool only the slices of its newest generation count, and only when all of them are there: until then a driver is in
the middle of an update. https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#resourceslice
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from api.types import CounterSet, Device, NodeSelector, ResourceSlice


class DeviceId(NamedTuple):
    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return "/".join(self)


class PoolId(NamedTuple):
    driver: str
    pool: str

    def __str__(self) -> str:
        return "/".join(self)


class Place(NamedTuple):
    """A node, as slices speak of it."""

    name: str
    fulfils: Callable[[NodeSelector], bool]


class Offered:
    """A device in one revision of a slice: what was found out about it stays true."""

    __slots__ = ("device", "id", "offer", "seen", "verdicts")

    def __init__(self, own: DeviceId, device: Device, offer: "Offer") -> None:
        self.id = own
        self.device = device
        self.offer = offer
        self.seen: Any = None
        self.verdicts: dict[str, bool | Exception] = {}
        """By expression: whether it selects the device, or why that cannot be said."""

    @property
    def shared(self) -> bool:
        return bool(self.device.allowMultipleAllocations)


class Offer:
    """One revision of a slice."""

    __slots__ = ("devices", "generation", "name", "node", "pool", "slices", "spec")

    def __init__(self, given: ResourceSlice) -> None:
        self.name, self.spec = given.metadata.name, given.spec
        pool = given.spec.pool
        self.pool = PoolId(given.spec.driver, pool.name if pool is not None else "")
        self.generation = (pool.generation if pool is not None else 0) or 0
        self.slices = (pool.resourceSliceCount if pool is not None else 0) or 0
        self.node = given.spec.nodeName or ""
        self.devices = tuple(Offered(DeviceId(*self.pool, d.name), d, self) for d in given.spec.devices)

    @property
    def conditional(self) -> bool:
        """Whether a device of it has to be prepared before pods are bound: others are taken before."""
        return any(d.device.bindingConditions for d in self.devices)

    def is_on(self, place: Place) -> bool:
        """Shared counters are on every node: devices anywhere may draw on them."""
        if self.spec.sharedCounters:
            return True
        if self.spec.perDeviceNodeSelection:
            return any(has(place, d.device) for d in self.devices)
        return has(place, self.spec)


def has(place: Place, what: Any) -> bool:
    """Whether a slice, or a device that says so itself, is there."""
    if what.nodeName:
        return bool(what.nodeName == place.name)
    if what.allNodes:
        return True
    return what.nodeSelector is not None and place.fulfils(what.nodeSelector)


class Pool:
    """As one node sees it; as long as no slice and no label changes."""

    __slots__ = ("counters", "devices", "elsewhere", "id", "incomplete", "invalid", "matching")

    def __init__(
        self, own: PoolId, devices: tuple[Offered, ...] = (), elsewhere: tuple[Offered, ...] = (),
        counters: Mapping[str, CounterSet] | None = None, *, incomplete: bool = False, invalid: bool = False,
    ) -> None:  # fmt: skip
        self.id = own
        self.devices = devices
        self.elsewhere = elsewhere
        """Devices of the pool that the node does not reach, and that draw on the same counters."""
        self.counters = counters or {}
        self.incomplete = incomplete
        self.invalid = invalid
        self.matching: dict[tuple[str, ...], tuple[Offered, ...]] = {}
        """By expressions: the devices that they select, or of which that cannot be said."""

    @property
    def usable(self) -> bool:
        return not self.incomplete and not self.invalid


def gathered(place: Place, offers: Iterable[Offer], whole: Callable[[PoolId], Iterable[Offer]]) -> list[Pool]:
    """The pools with slices on the node by name, those with devices that have to be prepared last.

    `offers` are those that may be there, `whole` all of a pool.
    """
    newest: dict[PoolId, list[Offer]] = {}
    for offer in offers:
        if not offer.is_on(place):
            continue
        known = newest.get(offer.pool)
        if known is None or offer.generation > known[0].generation:
            newest[offer.pool] = [offer]
        elif offer.generation == known[0].generation:
            known.append(offer)
    found = [_pool(pool, place, here, [*whole(pool)]) for pool, here in sorted(newest.items())]
    return sorted(
        (pool for pool in found if pool is not None),
        key=lambda pool: any(d.device.bindingConditions for d in pool.devices),
    )


def _pool(own: PoolId, place: Place, here: list[Offer], whole: list[Offer]) -> Pool | None:
    """None: what is on the node is of a generation that is over."""
    generation, count = here[0].generation, here[0].slices
    if any(offer.generation > generation for offer in whole):
        return None
    if sum(offer.generation == generation for offer in whole) != count:
        return Pool(own, incomplete=True)
    here = sorted(here, key=lambda offer: (offer.conditional, offer.name))
    names = {offer.name for offer in here}
    rest = [o for o in whole if o.generation == generation and o.name not in names] if len(here) != count else []
    there = [d for offer in here for d in offer.devices]
    elsewhere = tuple(d for offer in rest for d in offer.devices)
    sets = [each for offer in here for each in offer.spec.sharedCounters]
    counters = {each.name: each for each in sets}
    twice = len({d.id for d in there}) < len(there) or len(counters) < len(sets)
    if twice or not all(_known(d.device, counters) for d in (*there, *elsewhere)):
        return Pool(own, invalid=True)
    reached = (d for d in there if not d.offer.spec.perDeviceNodeSelection or has(place, d.device))
    return Pool(own, tuple(reached), elsewhere, counters)


def _known(device: Device, counters: Mapping[str, CounterSet]) -> bool:
    """Whether what the device consumes is there at all."""
    return all(
        each.counterSet in counters and each.counters.keys() <= counters[each.counterSet].counters.keys()
        for each in device.consumesCounters
    )
