"""Claims of devices, device classes and slices as decisions see them.

A claim counts as allocated from the moment that is decided; until it is written, what was decided stands in `pending`.
What the informers say is late, so a claim that was written is known by the answer. Whoever remembers something of a
node is told by `changes` when it may be different.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from api import meta, resource_claims
from api.meta import Key
from api.resource_claims import Unusable
from api.types import AllocationResult, DeviceClass, Pod, ResourceSlice, ResourceV1ResourceClaim
from scheduler.allocating import Taken
from scheduler.device_matching import Selectors
from scheduler.pools import Offer, Place, Pool, PoolId, gathered

MOST_USERS = 256
EVERYWHERE = ""
LONGEST = 20_000
"""Of what is kept about changes."""
MANY = 200
"""If more nodes reach a pool, they are not named one by one."""


class Grant(NamedTuple):
    """What becomes of a claim of a pod that is bound: it is allocated so, unless it was before, and then reserved."""

    claim: Key
    uid: str
    allocation: AllocationResult
    new: bool


class Devices:
    def __init__(self) -> None:
        self.claims: dict[Key, ResourceV1ResourceClaim] = {}
        self.classes: dict[str, DeviceClass] = {}
        self.pending: dict[str, AllocationResult] = {}
        """By uid of a claim."""
        self.expired: set[str] = set()
        """By uid: claims whose devices were waited for in vain."""
        self.taken = Taken()
        self.selectors = Selectors()
        self.changes: list[str] = []
        """Names of nodes, in the order in which something about their devices changed; EVERYWHERE: of all."""
        self.remembered: OrderedDict[Any, Any] = OrderedDict()
        """By what is asked for: what was found of the nodes."""
        self._promises: Counter[str] = Counter()
        self._supposed: Counter[str] = Counter()
        self._counted: dict[str, AllocationResult] = {}
        self._offers: dict[str, Offer] = {}
        self._pools: dict[PoolId, dict[str, Offer]] = {}
        self._local: dict[str, dict[str, Offer]] = {}
        self._shared: dict[str, Offer] = {}
        self._seen: dict[str, list[Pool]] = {}
        self._common: dict[tuple[str, ...], list[Pool]] = {}
        self._reached: dict[PoolId, set[str]] = {}
        """From which nodes; of those that were asked about since the slices have changed."""

    # Claims

    def set_claim(self, claim: ResourceV1ResourceClaim) -> None:
        key = meta.key(claim)
        known = self.claims.get(key)
        if known is not None and known.metadata.uid == claim.metadata.uid and _revision(known) > _revision(claim):
            return  # the answer to a write was faster
        self.claims[key] = claim
        if claim.status.allocation is None:
            self.expired.discard(claim.metadata.uid)
        if known is not None and known.metadata.uid != claim.metadata.uid:
            self._count(known.metadata.uid, None)
        self._recount(key, claim.metadata.uid)

    def remove_claim(self, claim: ResourceV1ResourceClaim) -> None:
        key, uid = meta.key(claim), claim.metadata.uid
        self.expired.discard(uid)
        if key in self.claims and self.claims[key].metadata.uid == uid:
            del self.claims[key]
        self._recount(key, uid)

    def find(self, key: Key, uid: str) -> ResourceV1ResourceClaim | None:
        claim = self.claims.get(key)
        return claim if claim is not None and claim.metadata.uid == uid else None

    def reserve(self, grants: Iterable[Grant], *, supposed: bool = False) -> None:
        """`supposed`: others that are decided in the same go may use what is not written yet."""
        for grant in grants:
            if grant.new:
                self.pending[grant.uid] = grant.allocation
                self._promises[grant.uid] += 1
                self._supposed[grant.uid] += supposed
                self._recount(grant.claim, grant.uid)

    def release(self, grants: Iterable[Grant], *, supposed: bool = False) -> None:
        """It is written now, or will never be, for one of those that use it."""
        for grant in grants:
            if grant.new:
                self._promises[grant.uid] -= 1
                self._supposed[grant.uid] -= supposed
                if not self._promises[grant.uid]:
                    del self.pending[grant.uid], self._promises[grant.uid], self._supposed[grant.uid]
                    self._recount(grant.claim, grant.uid)

    def allocation_of(self, claim: ResourceV1ResourceClaim) -> AllocationResult | None:
        """As it is written, or supposed."""
        uid = claim.metadata.uid
        return claim.status.allocation or (self.pending[uid] if self._supposed[uid] else None)

    def _recount(self, key: Key, uid: str) -> None:
        claim = self.find(key, uid)
        written = claim.status.allocation if claim is not None else None
        self._count(uid, written if written is not None else self.pending.get(uid))

    def _count(self, uid: str, allocation: AllocationResult | None) -> None:
        before = self._counted.pop(uid, None)
        if allocation is not None:
            self._counted[uid] = allocation
        if before == allocation:
            return
        for each, by in ((before, -1), (allocation, 1)):
            if each is not None:
                self.taken.change(each, by)
                for result in resource_claims.results(each):
                    self._changed(PoolId(result.driver, result.pool))

    # Classes

    def set_class(self, device_class: DeviceClass) -> None:
        self.classes[device_class.metadata.name] = device_class
        self.remembered.clear()

    def remove_class(self, name: str) -> None:
        self.classes.pop(name, None)
        self.remembered.clear()

    # Slices

    def set_slice(self, given: ResourceSlice) -> None:
        self.remove_slice(given.metadata.name)
        offer = Offer(given)
        self._offers[offer.name] = offer
        self._pools.setdefault(offer.pool, {})[offer.name] = offer
        self._where(offer)[offer.name] = offer
        self._changed(offer.pool, slices=True)

    def remove_slice(self, name: str) -> None:
        offer = self._offers.pop(name, None)
        if offer is None:
            return
        self._changed(offer.pool, slices=True)
        for index, key in ((self._pools, offer.pool), (self._local, offer.node)):
            if key in index:
                index[key].pop(name, None)  # type: ignore[index]
                if not index[key]:  # type: ignore[index]
                    del index[key]  # type: ignore[arg-type]
        self._shared.pop(name, None)

    def _where(self, offer: Offer) -> dict[str, Offer]:
        return self._local.setdefault(offer.node, {}) if offer.node else self._shared

    def pools(self, place: Place) -> list[Pool]:
        """Those with devices on the node. Nodes that see exactly the same ones are given the same list."""
        known = self._seen.get(place.name)
        if known is not None:
            return known
        local = self._local.get(place.name, {})
        there = [o for o in self._shared.values() if o.is_on(place)]
        if local or any(offer.spec.perDeviceNodeSelection for offer in there):
            found = gathered(place, (*local.values(), *there), self._whole)
        else:
            names = tuple(offer.name for offer in there)
            if names not in self._common:
                self._common[names] = gathered(place, there, self._whole)
            found = self._common[names]
        self._seen[place.name] = found
        for pool in found:
            self._reached.setdefault(pool.id, set()).add(place.name)
        return found

    def _whole(self, pool: PoolId) -> Iterator[Offer]:
        return iter(self._pools.get(pool, {}).values())

    # Changes

    def node_changed(self, name: str) -> None:
        """It may be another one, or have other labels."""
        self._seen.pop(name, None)
        self._note(name)

    def _changed(self, pool: PoolId, slices: bool = False) -> None:
        """Something in the pool, of slices or of what is taken."""
        nodes = {offer.node for offer in self._whole(pool)}
        if EVERYWHERE in nodes and slices:
            self._seen.clear()
            self._common.clear()
            self._reached.clear()
        elif EVERYWHERE in nodes:
            nodes = self._reached.get(pool, nodes)  # whoever was not asked about is looked at anyway
        for name in nodes if slices else ():
            self._seen.pop(name, None)
        for name in (EVERYWHERE,) if EVERYWHERE in nodes or len(nodes) > MANY else (*nodes,):
            self._note(name)

    def _note(self, name: str) -> None:
        self.changes.append(name)
        if len(self.changes) > LONGEST:
            self.changes.clear()
            self.remembered.clear()


def claims_of(pod: Pod, claims: Mapping[Key, ResourceV1ResourceClaim]) -> list[ResourceV1ResourceClaim]:
    """Those that the pod needs.  Raises Unusable."""
    found: dict[Key, ResourceV1ResourceClaim] = {}
    for entry in pod.spec.resourceClaims:
        if not (name := resource_claims.name_of(pod, entry)):
            continue
        key = Key(pod.metadata.namespace, name)
        claim = claims.get(key)
        if claim is None:
            raise Unusable(f'could not find ResourceClaim "{key}"')
        if claim.metadata.deletionTimestamp:
            raise Unusable(f'resourceclaim "{name}" is being deleted')
        resource_claims.check_owner(pod, entry, claim)
        found[key] = claim
    return [*found.values()]


def _revision(claim: ResourceV1ResourceClaim) -> int:
    return int(claim.metadata.resourceVersion or 0)
