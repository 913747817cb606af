"""Schedulers that take over from each other, and an API server that answers late, or not, or after it has done what it
was asked for, while pods come and go: whatever they are told and when, no node is given more than it has.
"""

import asyncio
from random import Random
from typing import Any

import pytest

from api import errors, meta
from api.meta import Key, key
from api.types import ContainerPort, Pod
from machinery.testing import settle
from tests.unit.scheduler.objects import apart, container, node, pod
from tests.unit.scheduler.test_scheduling import Cluster

NODES, CPUS, APPS, PORTS = 4, 4, "abc", (80, 81)


class Server:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.pods: dict[Key, Pod] = {}
        self.clients: list[Client] = []
        self.leader: Client | None = None
        self.bindings = 0

    def store(self, new: Pod) -> None:
        self.pods[key(new)] = new
        for client in self.clients:
            client.untold.append((new, new))

    def delete(self, which: Key) -> None:
        old = self.pods.pop(which)
        for client in self.clients:
            client.untold.append((None, old))

    def bind(self, which: Key, target: str) -> None:
        old = self.pods.get(which)
        if old is None:
            raise errors.not_found("pods", which.name)
        if old.spec.nodeName:
            raise errors.Conflict(f"{which} is already assigned")
        new = meta.clone(old)
        new.spec.nodeName = target
        self.store(new)
        self.bindings += 1
        check(target, [p for p in self.pods.values() if p.spec.nodeName == target])

    async def wait(self, turns: int) -> None:
        for _ in range(self.random.randrange(turns)):
            await asyncio.sleep(0)


class Client:
    """A scheduler, and what the server does for it. Of what is stored it hears in order, but later."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.untold: list[tuple[Pod | None, Pod]] = []
        self.cluster = Cluster()
        scheduler = self.cluster.scheduler
        for part in (scheduler.bindings, scheduler.writes, scheduler.preempting):
            part._client = self  # type: ignore[assignment]
        for number in range(NODES):
            self.cluster.following.on_node(None, node(f"n{number}", cpu=str(CPUS)))
        for each in server.pods.values():
            self.cluster.put(each)
        server.clients.append(self)
        self._running: asyncio.Task[None] | None = None

    def lead(self) -> None:
        self.tell(len(self.untold))
        self._server.leader = self
        self._running = asyncio.create_task(self.cluster.scheduler.run())

    async def end(self) -> None:
        self._server.clients.remove(self)
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self.cluster.clock.advance(10), self._running, return_exceptions=True)

    def tell(self, count: int) -> None:
        """So many of the things that were stored."""
        for new, of in self.untold[:count]:
            self.cluster.put(new, of.metadata.name)
        del self.untold[:count]

    async def create_subresource(self, what: Any, name: str, namespace: str, subresource: str, obj: Any) -> bytes:
        await self._server.wait(60)
        fate = self._server.random.random()
        if fate < 0.1:
            raise errors.Unavailable("it has not come there")
        if self._server.leader is not self:
            raise errors.Conflict("of a time as the leader that is over")
        self._server.bind(Key(namespace, name), obj.target.name)
        await self._server.wait(20)
        if fate < 0.25:
            raise errors.Timeout("it was done, but who knows")
        return b"{}"

    async def get(self, what: Any, name: str, namespace: str) -> Pod:
        if self._server.random.random() < 0.2:
            raise errors.Unavailable("ask again")
        found = self._server.pods.get(Key(namespace, name))
        if found is None:
            raise errors.not_found("pods", name)
        return found

    async def patch(self, what: Any, name: str, namespace: str, patch: Any, **_: Any) -> None:
        await self._server.wait(20)
        old = self._server.pods.get(Key(namespace, name))
        if old is None or self._server.leader is not self or self._server.random.random() < 0.1:
            raise errors.Unavailable("conditions are written again")
        new = meta.clone(old)
        new.status.conditions = list(patch["status"].get("conditions", new.status.conditions))
        self._server.store(new)


def check(name: str, pods: list[Pod]) -> None:
    assert sum(int(c.resources.requests["cpu"]) for p in pods for c in p.spec.containers) <= CPUS, name
    ports = [port.hostPort for p in pods for c in p.spec.containers for port in c.ports]
    assert len(ports) == len({*ports}), name
    for lonely in pods:
        if lonely.spec.affinity is not None:
            app = lonely.metadata.labels["app"]
            assert [p for p in pods if p.metadata.labels["app"] == app] == [lonely], name


def any_pod(name: str, random: Random) -> Pod:
    app, cpu = random.choice(APPS), random.choice("112")
    match random.randrange(4):
        case 0:
            port = ContainerPort(containerPort=80, hostPort=random.choice(PORTS))
            return pod(name, labels={"app": app}, containers=[container(cpu=cpu, ports=[port])])
        case 1:
            return pod(name, labels={"app": app}, affinity=apart(app), containers=[container(cpu=cpu)])
    return pod(name, labels={"app": app}, containers=[container(cpu=cpu)])


async def play(seed: int, turns: int = 300) -> int:
    random = Random(seed)
    server = Server(random)
    leader, next_one, old = Client(server), Client(server), None
    leader.lead()
    for turn in range(turns):
        match random.randrange(50):
            case n if n < 20:
                server.store(any_pod(f"p{turn}", random))
            case n if n < 30:
                if placed := sorted(k for k, p in server.pods.items() if p.spec.nodeName):
                    server.delete(random.choice(placed))
            case n if n < 40:
                seconds = random.choice([0.1, 0.3, 2, 11])
                for client in (*server.clients,):
                    await client.cluster.clock.advance(seconds)
            case 40 if old is None:  # it goes on, for it does not know yet
                old, leader, next_one = leader, next_one, Client(server)
                leader.lead()
            case 41 if old is not None:
                await old.end()
                old = None
        for client in server.clients:
            client.tell(random.randrange(4))
        await settle(random.randrange(40))
    for _ in range(20):
        for client in server.clients:
            client.tell(len(client.untold))
            await client.cluster.clock.advance(1)
    bindings = leader.cluster.scheduler.bindings
    assert not bindings.assumed
    assert not bindings.under_way
    for client in (leader, next_one):
        for which, stored in server.pods.items():
            assert client.cluster.scheduler.snapshot.node_of(which) == stored.spec.nodeName
    for client in (*server.clients,):
        await client.end()
    return server.bindings


@pytest.mark.parametrize("seed", range(6))
async def test_no_node_is_given_more_than_it_has_whoever_leads_and_whatever_becomes_of_bindings(seed: int) -> None:
    assert await play(seed) > 20


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 110))
async def test_no_node_is_given_more_than_it_has_in_many_histories(seed: int) -> None:
    assert await play(seed, 1000) > 20
