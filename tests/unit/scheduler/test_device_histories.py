"""Schedulers that take over from each other, writes that get lost or are done unanswered, pods that come and go, claims
that several share: whoever leads, no device is given to two claims, and no pod runs without what it was promised.
"""

import asyncio
from random import Random
from typing import Any

import pytest

from api import errors, meta
from api.meta import Key, key
from api.resource_claims import name_of
from api.types import Pod, ResourceV1ResourceClaim
from machinery.testing import settle
from tests.unit.scheduler import test_histories
from tests.unit.scheduler.device_objects import claim, device_class, request, slice_of, user

NODES, DEVICES = 3, 3


class Server(test_histories.Server):
    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.claims: dict[Key, ResourceV1ResourceClaim] = {}
        self.revision = 1
        self.allocations = 0

    def store_claim(self, new: ResourceV1ResourceClaim) -> None:
        which = key(new)
        old = self.claims.get(which)
        self.revision += 1
        new = meta.clone(new)
        new.metadata.resourceVersion = str(self.revision)
        self.claims[which] = new
        self.allocations += new.status.allocation is not None and (old is None or old.status.allocation is None)
        held = [each for c in self.claims.values() for each in held_by(c)]
        assert len(held) == len({*held}), "a device was given twice"
        for client in self.clients:
            client.untold.append((old, new))  # type: ignore[arg-type]

    def remove_claim(self, which: Key) -> None:
        old = self.claims.pop(which)
        for client in self.clients:
            client.untold.append((old, None))  # type: ignore[arg-type]

    def bind(self, which: Key, target: str) -> None:
        super().bind(which, target)
        bound = self.pods[which]
        for name in names(bound):
            found = self.claims[Key(which.namespace, name)]
            assert bound.metadata.uid in {u.uid for u in found.status.reservedFor}, "bound before it was reserved"
            assert {pool for pool, _ in held_by(found)} == {target}

    def delete(self, which: Key) -> None:
        """And what the controller of claims does then."""
        gone = self.pods[which]
        super().delete(which)
        for name in names(gone):
            changed = meta.clone(self.claims[Key(which.namespace, name)])
            changed.status.reservedFor = [u for u in changed.status.reservedFor if u.uid != gone.metadata.uid]
            if not changed.status.reservedFor:
                changed.status.allocation = None
            self.store_claim(changed)


def names(of: Pod) -> list[str]:
    return [name_of(of, entry) for entry in of.spec.resourceClaims]


def held_by(of: ResourceV1ResourceClaim) -> list[tuple[str, str]]:
    allocation = of.status.allocation
    return [(r.pool, r.device) for r in allocation.devices.results] if allocation and allocation.devices else []


class Client(test_histories.Client):
    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._claims = server
        self.granting = self.cluster.scheduler.bindings.granting
        self.granting._client = self  # type: ignore[assignment]
        self.granting.on_class(None, device_class())
        for number in range(NODES):
            self.granting.on_slice(None, slice_of(*(f"d{i}" for i in range(DEVICES)), node=f"n{number}"))
        for each in server.claims.values():
            self.granting.on_claim(None, each)

    def tell(self, count: int) -> None:
        for first, second in self.untold[:count]:
            if isinstance(first or second, ResourceV1ResourceClaim):
                self.granting.on_claim(first, second)  # type: ignore[arg-type]
            else:
                self.cluster.put(first, second.metadata.name)
        del self.untold[:count]

    async def update(self, obj: Any, *, subresource: str = "") -> Any:
        server = self._claims
        await server.wait(40)
        fate = server.random.random()
        if fate < 0.1:
            raise errors.Unavailable("it has not come there")
        if server.leader is not self:
            raise errors.Conflict("of a time as the leader that is over")
        old = server.claims.get(key(obj))
        if old is None:
            raise errors.not_found("resourceclaims", obj.metadata.name)
        if old.metadata.resourceVersion != obj.metadata.resourceVersion:
            raise errors.Conflict("the object has been modified")
        new = meta.clone(obj if subresource else old)
        if not subresource:
            new.metadata = meta.clone(obj.metadata)
        server.store_claim(new)
        answer = server.claims[key(obj)]
        await server.wait(20)
        if fate < 0.25:
            raise errors.Timeout("it was done, but who knows")
        return meta.clone(answer)

    async def update_status(self, obj: Any) -> Any:
        return await self.update(obj, subresource="status")

    async def get(self, what: Any, name: str, namespace: str) -> Any:
        if what is not ResourceV1ResourceClaim:
            return await super().get(what, name, namespace)
        if self._claims.random.random() < 0.2:
            raise errors.Unavailable("ask again")
        if Key(namespace, name) not in self._claims.claims:
            raise errors.not_found("resourceclaims", name)
        return meta.clone(self._claims.claims[Key(namespace, name)])


def come(server: Server, turn: int) -> None:
    """A pod with a claim of its own, or one more for a claim that is there."""
    shared = sorted(server.claims)
    if shared and server.random.random() < 0.2:
        used = [server.random.choice(shared).name]
    else:
        used = [f"c{turn}-{at}" for at in range(server.random.choice([1, 1, 2]))]
        for name in used:
            server.store_claim(claim(name, request(count=server.random.choice([1, 1, 2]))))
    server.store(user(*used, name=f"p{turn}", cpu="0"))


async def play(seed: int, turns: int = 300) -> int:
    random = Random(seed)
    server = Server(random)
    leader, next_one, old = Client(server), Client(server), None
    leader.lead()
    for turn in range(turns):
        match random.randrange(50):
            case n if n < 15:
                come(server, turn)
            case n if n < 27:
                placed = sorted(k for k, p in server.pods.items() if p.spec.nodeName)
                if those := placed if random.random() < 0.8 else sorted(server.pods):
                    server.delete(random.choice(those))
            case n if n < 40:
                seconds = random.choice([0.1, 0.3, 2, 11])
                for client in (*server.clients,):
                    await client.cluster.clock.advance(seconds)
            case 40 if old is None:  # it goes on, for it does not know yet
                old, leader, next_one = leader, next_one, Client(server)
                leader.lead()
            case 41 if old is not None:
                await old.end()  # type: ignore[attr-defined]
                old = None
        for each in server.clients:
            each.tell(random.randrange(4))
        await settle(random.randrange(40))
    for _ in range(30):
        for each in server.clients:
            each.tell(len(each.untold))
            await each.cluster.clock.advance(11)
    scheduler = leader.cluster.scheduler
    assert not scheduler.bindings.assumed
    assert scheduler.snapshot.devices is not None
    assert not scheduler.snapshot.devices.pending
    waiting = [p for p in server.pods.values() if not p.spec.nodeName]
    assert not [p.metadata.name for p in waiting if fits(server, p)]
    for client in (*server.clients,):
        await client.end()
    return server.allocations


def fits(server: Server, pod: Pod) -> bool:
    """Whether a node has what the pod's claims lack, and they have nothing elsewhere."""
    claims = [server.claims[Key("default", name)] for name in names(pod)]
    lacking = [c.spec.devices for c in claims if c.status.allocation is None]
    count = sum(r.exactly.count or 1 for each in lacking if each for r in each.requests if r.exactly)
    held = [pool for c in server.claims.values() for pool, _ in held_by(c)]
    own = {pool for c in claims for pool, _ in held_by(c)}
    nodes = own if len(own) == 1 else set() if own else {f"n{number}" for number in range(NODES)}
    return any(DEVICES - held.count(name) >= count for name in nodes)


@pytest.mark.parametrize("seed", range(6))
async def test_no_device_is_given_twice_whoever_leads_and_whatever_becomes_of_writes(seed: int) -> None:
    assert await play(seed) > 15


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 110))
async def test_no_device_is_given_twice_in_many_histories(seed: int) -> None:
    async with asyncio.timeout(300):
        assert await play(seed, 1000) > 15
