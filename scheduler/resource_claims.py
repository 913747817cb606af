"""DynamicResources: which nodes the claims of a pod allow, and what they get on the node that is chosen. Pure.

Most pods of a workload ask for the same, and a decision changes the devices of one node: what was found of the others
is remembered. https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from uuid import UUID

import numpy as np
import numpy.typing as npt

from api import meta
from api.meta import Key
from api.resource_claims import Unusable, is_reserved_for, name_of, requests
from api.types import NodeSelector, ResourceV1ResourceClaim
from scheduler import node_affinity
from scheduler.allocating import Found, Refused, allocate
from scheduler.columns import Ints, Mask, grown
from scheduler.device_conditions import failure
from scheduler.device_requests import Ask, Failed, asked
from scheduler.device_results import result
from scheduler.devices import EVERYWHERE, MOST_USERS, Devices, Grant, claims_of
from scheduler.judgements import Judgement
from scheduler.pools import Place, Pool
from scheduler.rejections import Rejection
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

PLUGIN = "DynamicResources"
IMPOSSIBLE = "cannot allocate all claims"
ELSEWHERE = "resourceclaim not available on the node"
REMEMBERED = 32
MOST_ALTERNATIVES = 8


def rejections(wish: Wish, snapshot: Snapshot) -> Iterator[Rejection]:
    devices = snapshot.devices
    try:
        claims = claims_of(wish.pod, devices.claims if devices is not None else {})
        asks = _asks(wish, claims, devices) if devices is not None else ()
    except Unusable as e:
        yield Rejection(snapshot.exists, str(e), final=True, whole=True)
        return
    except Failed as e:
        yield _failure(snapshot.exists, str(e))
        return
    if devices is None:
        return  # no claim is needed after all
    failed = np.zeros_like(snapshot.exists)
    if asks:
        view = _view(asks, snapshot, devices)
        failed = view.codes != 0
        yield from view.rejections()
    elsewhere = ~_available(claims, snapshot, devices) & ~failed
    if elsewhere[snapshot.exists].any():
        yield Rejection(elsewhere & snapshot.exists, ELSEWHERE, final=True)


def score(wish: Wish, snapshot: Snapshot, rows: Ints) -> Ints | None:
    """The earlier the alternatives that the claims get, the better; weighed against the best of the nodes."""
    devices = snapshot.devices
    if devices is None or not wish.pod.spec.resourceClaims:
        return None
    try:
        asks = _asks(wish, claims_of(wish.pod, devices.claims), devices)
    except (Unusable, Failed):
        return None
    if not any(len(alternatives) > 1 for ask in asks for alternatives in ask.requests):
        return None
    points = _view(asks, snapshot, devices).points[rows]
    most = int(points.max())
    return 100 * points // most if most else None


def grants(wish: Wish, snapshot: Snapshot, row: int, random: Random) -> tuple[Grant, ...]:
    """What becomes of the pod's claims on the node of that row, which no filter has rejected."""
    devices = snapshot.devices
    if devices is None:
        return ()
    claims = claims_of(wish.pod, devices.claims)
    asks = _asks(wish, claims, devices)
    place = _place(snapshot, row)
    found = allocate(asks, devices.pools(place), devices.taken, devices.selectors) if asks else None
    share = lambda: str(UUID(int=random.getrandbits(128), version=4))  # noqa: E731
    made = [
        Grant(meta.key(claim), claim.metadata.uid, allocation, new=claim.status.allocation is None)
        for claim in claims
        if (allocation := devices.allocation_of(claim)) is not None
    ]
    for at, ask in enumerate(asks):
        assert found is not None  # the filter has found it on the same devices
        allocation = result(ask, found.picks[at], found.chosen[at], place, share)
        made.append(Grant(meta.key(ask.claim), ask.claim.metadata.uid, allocation, new=True))
    return tuple(made)


def has_claims(wish: Wish) -> bool:
    try:
        return any(name_of(wish.pod, entry) for entry in wish.pod.spec.resourceClaims)
    except Unusable:
        return True


def of_no_use(wish: Wish, snapshot: Snapshot, judgements: Iterable[Judgement]) -> Key | None:
    """A claim of the pod that is allocated where the pod cannot go, and that nobody else needs: with other devices it
    may help (upstream: PostFilter)."""
    left = snapshot.exists.copy()
    for plugin, found in judgements:
        if plugin == PLUGIN:
            left &= np.logical_or.reduce([r.rejected for r in found if r.reason == ELSEWHERE] or [~snapshot.exists])
            break
        for rejection in found:
            left &= ~rejection.rejected
    else:
        return None
    devices = snapshot.devices
    assert devices is not None
    for claim in claims_of(wish.pod, devices.claims) if left.any() else ():
        others = [each for each in claim.status.reservedFor if each.uid != wish.pod.metadata.uid]
        if (
            claim.status.allocation is not None
            and not others
            and (left & ~_available([claim], snapshot, devices)).any()
        ):
            return meta.key(claim)
    return None


def _asks(wish: Wish, claims: Sequence[ResourceV1ResourceClaim], devices: Devices) -> tuple[Ask, ...]:
    """What is to be allocated.  Raises Unusable: some claim cannot be used now; and Failed."""
    asks = []
    for claim in claims:
        if devices.allocation_of(claim) is not None:
            if len(claim.status.reservedFor) >= MOST_USERS and not is_reserved_for(claim, wish.pod):
                raise Unusable("resourceclaim in use")
            continue
        if claim.metadata.uid in devices.pending:
            raise Unusable(f"resource claim {meta.key(claim)} is in the process of being allocated")
        for request in requests(claim.spec.devices):
            exactly = [(request.name, request.exactly.deviceClassName)] if request.exactly is not None else []
            alternatives = [(f"{request.name}/{each.name}", each.deviceClassName) for each in request.firstAvailable]
            for name, device_class in exactly or alternatives:
                if device_class not in devices.classes:
                    raise Unusable(f"request {name}: device class {device_class} does not exist")
        asks.append(asked(claim, devices.classes))
    return tuple(asks)


def _available(claims: Iterable[ResourceV1ResourceClaim], snapshot: Snapshot, devices: Devices) -> Mask:
    """The nodes that reach the devices of all the claims that are allocated; none, if one cannot be prepared."""
    found = snapshot.exists.copy()
    for claim in claims:
        allocation = devices.allocation_of(claim)
        if failure(claim) or claim.metadata.uid in devices.expired:
            return np.zeros_like(found)
        if allocation is not None and allocation.nodeSelector is not None:
            found &= node_affinity.any_of(allocation.nodeSelector, snapshot)
    return found


def _place(snapshot: Snapshot, row: int, masks: dict[int, tuple[NodeSelector, Mask]] | None = None) -> Place:
    """`masks` keeps what was found of selectors, for a look at many nodes."""
    known = masks if masks is not None else {}

    def fulfils(selector: NodeSelector) -> bool:
        if id(selector) not in known:
            known[id(selector)] = (selector, node_affinity.any_of(selector, snapshot))
        return bool(known[id(selector)][1][row])

    return Place(snapshot.names[row], fulfils)


def _failure(rejected: Mask, error: str) -> Rejection:
    return Rejection(rejected, f'running "{PLUGIN}" filter plugin: {error}', final=True, fatal=True)


FITS, CANNOT, OTHERWISE = 0, 1, 2


class _View:
    """For one wish of devices: which nodes can fulfil it, and how well."""

    def __init__(self, rows: int) -> None:
        self.codes: npt.NDArray[np.int64] = np.zeros(rows, dtype=np.int64)
        self.points: Ints = np.zeros(rows, dtype=np.int64)
        self.reasons: dict[int, tuple[str, bool]] = {}
        """Of those with the code OTHERWISE: why, and whether it is an error."""
        self.seen = -1
        """So many changes are taken account of."""

    def rejections(self) -> Iterator[Rejection]:
        cannot = self.codes == CANNOT
        if cannot.any():
            yield Rejection(cannot, IMPOSSIBLE, final=True)
        for reason, fatal in sorted({*self.reasons.values()}):
            mask = np.zeros_like(cannot)
            mask[[row for row, why in self.reasons.items() if why == (reason, fatal)]] = True
            yield _failure(mask, reason) if fatal else Rejection(mask, reason, final=True)


def _view(asks: Sequence[Ask], snapshot: Snapshot, devices: Devices) -> _View:
    """As things are now; what has not changed since the last wish of the same devices is not looked at again."""
    key = tuple(meta.encode(ask.claim.spec) for ask in asks)
    view: _View | None = devices.remembered.pop(key, None)
    if view is None:
        view = _View(len(snapshot.exists))
        if len(devices.remembered) >= REMEMBERED:
            devices.remembered.popitem(last=False)
    devices.remembered[key] = view
    rows = len(snapshot.exists)
    view.codes, view.points = grown(view.codes, rows), grown(view.points, rows)
    changed = {*devices.changes[view.seen :]} if view.seen >= 0 else {EVERYWHERE}
    those = snapshot.rows if EVERYWHERE in changed else [name for name in changed if name in snapshot.rows]
    if view.seen < 0 or EVERYWHERE in changed:
        view.codes[:] = FITS
        view.reasons.clear()
    else:
        gone = ~snapshot.exists & (view.codes != FITS)
        for row in np.flatnonzero(gone):
            view.codes[row] = FITS
            view.reasons.pop(int(row), None)
    view.seen = len(devices.changes)
    _look(view, [snapshot.rows[name] for name in those], asks, snapshot, devices)
    if any(fatal for _, fatal in view.reasons.values()):
        del devices.remembered[key]  # it speaks of these very claims
    return view


Verdict = tuple[int, int, tuple[str, bool] | None]


def _look(view: _View, rows: Iterable[int], asks: Sequence[Ask], snapshot: Snapshot, devices: Devices) -> None:
    masks: dict[int, tuple[NodeSelector, Mask]] = {}
    known: dict[int, Verdict] = {}  # of nodes that see the same pools
    for row in rows:
        pools = devices.pools(_place(snapshot, row, masks))
        verdict = known.get(id(pools))
        if verdict is None:
            verdict = known[id(pools)] = _verdict(asks, pools, devices)
        view.codes[row], view.points[row] = verdict[:2]
        view.reasons.pop(row, None)
        if verdict[2] is not None:
            view.reasons[row] = verdict[2]


def _verdict(asks: Sequence[Ask], pools: Sequence[Pool], devices: Devices) -> Verdict:
    try:
        found = allocate(asks, pools, devices.taken, devices.selectors)
    except Refused as e:
        return OTHERWISE, 0, (str(e), False)
    except Failed as e:
        return OTHERWISE, 0, (str(e), True)
    return (CANNOT, 0, None) if found is None else (FITS, _points(asks, found), None)


def _points(asks: Sequence[Ask], found: Found) -> int:
    return sum(
        MOST_ALTERNATIVES - at
        for ask, chosen in zip(asks, found.chosen, strict=True)
        for alternatives, at in zip(ask.requests, chosen, strict=True)
        if alternatives[0].name != alternatives[0].parent
    )
