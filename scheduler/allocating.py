"""The allocator: which devices of a node the claims of a pod get. Pure.

Claims and their requests are served in their order, each by the first devices that will do, in the order of pools,
slices and devices; where that leads nowhere, the last choice is taken back and the next device tried. So what is found
is the first of all solutions, and if there is none, every one was tried. A request that wants all devices wants those
of the node, taken or not. Of alternatives (firstAvailable) the first one is taken with which everything after it has a
solution too. https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from api import quantities
from api.resource_claims import results
from api.types import AllocationResult
from scheduler import capacities
from scheduler.capacities import Amounts
from scheduler.device_matching import Constraint, Selectors, is_tainted
from scheduler.device_requests import Ask, Failed, Wanted
from scheduler.device_results import Pick
from scheduler.pools import DeviceId, Offered, Pool, PoolId

MOST_RESULTS = 32
"""Devices of one claim."""
MOST_STEPS = 20_000
"""Devices that are tried for one pod on one node. Upstream gives up after ten seconds; all else would wait so long."""
INVALID = "invalid resource pools were encountered"
TIMED_OUT = "timed out trying to allocate devices"


class Refused(Exception):
    """Nothing was found on this node, and there is more to say about it."""


class _TooMany(Exception):
    """More results than a claim may have, whichever devices are taken."""


@dataclass(slots=True)
class Taken:
    """What was allocated before, to any claim."""

    devices: Counter[DeviceId] = field(default_factory=Counter)
    shares: dict[DeviceId, Amounts] = field(default_factory=dict)
    """Of devices that several allocations may share: how much is consumed."""
    sharers: Counter[DeviceId] = field(default_factory=Counter)

    def has(self, device: DeviceId) -> bool:
        return self.devices[device] > 0 or self.sharers[device] > 0

    def change(self, allocation: AllocationResult, by: int) -> None:
        for result in results(allocation):
            if result.adminAccess:
                continue  # it takes nothing away from others
            device = DeviceId(result.driver, result.pool, result.device)
            if not result.shareID:
                self.devices[device] += by
                continue
            self.sharers[device] += by
            amounts = self.shares.setdefault(device, {})
            for name, amount in result.consumedCapacity.items():
                key = capacities.qualified(name, device.driver)
                amounts[key] = amounts.get(key, Decimal()) + by * quantities.parse(amount)
            if not self.sharers[device]:
                del self.shares[device]


class Found(NamedTuple):
    """For each claim the devices, and for each request of it which alternative they are for."""

    picks: tuple[tuple[Pick, ...], ...]
    chosen: tuple[tuple[int, ...], ...]


def allocate(asks: Sequence[Ask], pools: Sequence[Pool], taken: Taken, selectors: Selectors) -> Found | None:
    """What each claim gets, from the pools as the node sees them; None: there is no way.  Raises Failed and Refused."""
    search = _Search(asks, pools, taken, selectors)
    if search.run():
        return Found(tuple(tuple(picks) for picks in search.picks), tuple(tuple(c) for c in search.chosen))
    if any(pool.invalid for pool in pools):
        raise Refused(INVALID)
    return None


class _Search:
    def __init__(self, asks: Sequence[Ask], pools: Sequence[Pool], taken: Taken, selectors: Selectors) -> None:
        self._asks = asks
        self._pools = pools
        self._taken = taken
        self._selectors = selectors
        self.picks: list[list[Pick]] = [[] for _ in asks]
        self.chosen = [[0] * len(ask.requests) for ask in asks]
        self._constraints = [
            [Constraint(each) for each in a.claim.spec.devices.constraints] if a.claim.spec.devices is not None else []
            for a in asks
        ]
        self._pool_of = {pool.id: pool for pool in pools}
        self._holders: defaultdict[DeviceId, set[int]] = defaultdict(set)
        self._shares: dict[DeviceId, Amounts] = {}
        self._sharers: Counter[DeviceId] = Counter()
        self._free: dict[PoolId, dict[tuple[str, str], Decimal]] = {}
        self._steps = 0
        self._candidates = [[[self._of(w, ask.name) for w in wanted] for wanted in ask.requests] for ask in asks]

    def run(self) -> bool:
        for at, ask in enumerate(self._asks):
            least = sum(min(self._count(at, r, a) for a in range(len(w))) for r, w in enumerate(ask.requests))
            if least > MOST_RESULTS:
                raise Failed(
                    f"claim {ask.name}: number of requested devices {least} exceeds the claim limit of {MOST_RESULTS}"
                )
        if self._is_hopeless():
            return False
        try:
            return self._request(0, 0)
        except _TooMany:
            return False

    def _of(self, wanted: Wanted, claim: str) -> tuple[Offered, ...]:
        """The devices that it can choose from, or that it wants all."""
        if wanted.every and (pool := next((p for p in self._pools if not p.usable), None)) is not None:
            state = "being updated" if pool.incomplete else "invalid"
            where = f"claim {claim}, request {wanted.name}"
            raise Failed(f"{where}: asks for all devices, but resource pool {pool.id} is currently {state}")
        found = [
            d for pool in self._pools if pool.usable for d in self._selectors.matching(pool, wanted.expressions)
        ]  # fmt: skip
        if not wanted.every:
            return tuple(found)
        for offered in found:
            self._prove(wanted, offered, claim)
        return tuple(d for d in found if self._takes(wanted, d) is not None)

    def _count(self, claim: int, request: int, alternative: int) -> int:
        wanted = self._asks[claim].requests[request][alternative]
        return len(self._candidates[claim][request][alternative]) if wanted.every else wanted.number

    def _is_hopeless(self) -> bool:
        """Whether some request finds too little for itself alone: most nodes are told so, without any search."""
        return any(
            all(self._lacks(wanted, candidates) for wanted, candidates in zip(alternatives, lists, strict=True))
            for ask, found in zip(self._asks, self._candidates, strict=True)
            for alternatives, lists in zip(ask.requests, found, strict=True)
        )

    def _lacks(self, wanted: Wanted, candidates: tuple[Offered, ...]) -> bool:
        if wanted.every:
            return not candidates
        if wanted.admin:
            return len(candidates) < wanted.number
        return sum(not self._taken.devices[d.id] for d in candidates) < wanted.number

    def _request(self, claim: int, request: int) -> bool:
        """Serve everything from that request on."""
        if claim == len(self._asks):
            return True
        if request == len(self._asks[claim].requests):
            try:
                return self._request(claim + 1, 0)
            except _TooMany:
                return False  # with other devices, an earlier claim may leave an alternative that needs fewer
        alternatives = self._asks[claim].requests[request]
        if len(alternatives) == 1 and alternatives[0].name == alternatives[0].parent:
            return self._device(claim, request, 0, 0, 0)
        too_many = True
        for at in range(len(alternatives)):
            self.chosen[claim][request] = at
            try:
                done = self._device(claim, request, at, 0, 0)
            except _TooMany:
                continue
            too_many = False
            if done:
                return True
        if too_many:
            raise _TooMany
        return False

    def _device(self, claim: int, request: int, alternative: int, have: int, start: int) -> bool:
        """Find that device of the request, beginning there, and then everything after it."""
        wanted = self._asks[claim].requests[request][alternative]
        candidates = self._candidates[claim][request][alternative]
        count = self._count(claim, request, alternative)
        if wanted.every and not candidates:
            return False
        if have >= count:
            return self._request(claim, request + 1)
        if len(self.picks[claim]) + count - have > MOST_RESULTS:
            raise _TooMany
        for at in (have,) if wanted.every else range(start, len(candidates)):
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise Refused(TIMED_OUT)
            undo = self._take(claim, wanted, candidates[at])
            if undo is None:
                continue
            done = False
            try:
                done = self._device(claim, request, alternative, have + 1, at + 1)
            finally:
                if not done:
                    undo()
            if done:
                return True
        return False

    def _take(self, claim: int, wanted: Wanted, offered: Offered) -> Callable[[], None] | None:
        """Give the device to the request, if it can have it; what is returned takes it back."""
        own, shared = offered.id, offered.shared
        if wanted.admin:
            if claim in self._holders[own]:
                return None
        elif self._taken.devices[own] or self._holders[own]:
            return None
        if not wanted.every:
            self._prove(wanted, offered, self._asks[claim].name)
        takes = self._takes(wanted, offered)
        if takes is None:
            return None
        draws = not (shared and (self._taken.sharers[own] or self._sharers[own]))
        if draws and not self._is_enough(offered):
            return None
        if is_tainted(offered, wanted.tolerations):
            return None
        added: list[Constraint] = []
        for constraint in self._constraints[claim]:
            if not constraint.concerns(wanted.parent, wanted.name):
                continue
            if not constraint.add(offered):
                for each in added:
                    each.remove()
                if wanted.every:
                    where = f"claim {self._asks[claim].name}, request {wanted.name}"
                    why = "because a claim constraint would not be satisfied"
                    raise Failed(f"{where}: cannot add device {own} {why}")
                return None
            added.append(constraint)
        if draws:
            self._draw(offered, -1)
        if shared:
            self._share(own, takes, 1)
        else:
            self._holders[own].add(claim)
        self.picks[claim].append(Pick(wanted, offered, takes if shared else None))

        def undo() -> None:
            self.picks[claim].pop()
            if shared:
                self._share(own, takes, -1)
            else:
                self._holders[own].discard(claim)
            if draws:
                self._draw(offered, 1)
            for each in added:
                each.remove()

        return undo

    def _prove(self, wanted: Wanted, offered: Offered, claim: str) -> None:
        """Raises Failed if it cannot be said whether the device is selected."""
        fault = self._selectors.fault(offered, wanted.expressions)
        if fault is not None:
            number, error = fault
            kind = "runtime" if offered.seen is not None else "compile"
            raise Failed(f"{wanted.where(number, claim)} on device {offered.id}: CEL {kind} error: {error}") from error

    def _takes(self, wanted: Wanted, offered: Offered) -> Amounts | None:
        """How much of the device; None: it has not that much."""
        if not offered.shared and not wanted.capacity:
            return {}
        try:
            takes = capacities.taken(offered, wanted.capacity)
        except capacities.Ambiguous as e:
            raise Failed(f"request {wanted.name}: {e}") from e
        used = self._taken.shares.get(offered.id, {}), self._shares.get(offered.id, {})
        return takes if takes is not None and capacities.fits(offered, takes, *used) else None

    def _share(self, device: DeviceId, takes: Amounts, by: int) -> None:
        self._sharers[device] += by
        amounts = self._shares.setdefault(device, {})
        for name, amount in takes.items():
            amounts[name] = amounts.get(name, Decimal()) + by * amount

    def _is_enough(self, offered: Offered) -> bool:
        """Of the counters that the device consumes, and none of its pool is overdrawn."""
        if not offered.device.consumesCounters:
            return True
        free = self._counters(offered)
        if any(amount < 0 for amount in free.values()):
            return False
        return all(free[counter] >= amount for counter, amount in _consumed(offered).items())

    def _draw(self, offered: Offered, by: int) -> None:
        if offered.device.consumesCounters:
            free = self._counters(offered)
            for counter, amount in _consumed(offered).items():
                free[counter] += by * amount

    def _counters(self, offered: Offered) -> dict[tuple[str, str], Decimal]:
        """What is left of each counter of the device's pool."""
        pool = self._pool_of[offered.offer.pool]
        free = self._free.get(pool.id)
        if free is None:
            free = self._free[pool.id] = {
                (name, counter): quantities.parse(given.value)
                for name, each in pool.counters.items()
                for counter, given in each.counters.items()
            }
            for other in (*pool.devices, *pool.elsewhere):
                if self._taken.has(other.id):
                    for key, amount in _consumed(other).items():
                        free[key] -= amount
        return free


def _consumed(offered: Offered) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for each in offered.device.consumesCounters:
        for name, counter in each.counters.items():
            found[each.counterSet, name] += quantities.parse(counter.value)  # type: ignore[assignment]
    return found
