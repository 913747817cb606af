"""One scheduler and an API server that answers late, or not, or after it has done what it was asked for, while pods come
and go: whatever it is told and when, no node is given more than it has.
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
from tests.unit.scheduler.test_scheduling import Cluster, running

NODES, CPUS, APPS, PORTS = 4, 4, "abc", (80, 81)


class Server:
    """Of what it stores its client hears in order, but later."""

    def __init__(self, random: Random, cluster: Cluster) -> None:
        self._random = random
        self._cluster = cluster
        self.pods: dict[Key, Pod] = {}
        self._untold: list[tuple[Pod | None, Pod]] = []
        self.bindings = 0

    def create(self, new: Pod) -> None:
        self._store(new)

    def delete(self, which: Key) -> None:
        self._untold.append((None, self.pods.pop(which)))

    def _store(self, new: Pod) -> None:
        self.pods[key(new)] = new
        self._untold.append((new, new))

    def tell(self) -> None:
        """One thing that was stored."""
        if self._untold:
            new, of = self._untold.pop(0)
            self._cluster.put(new, of.metadata.name)

    async def settle(self) -> None:
        while self._untold:
            self.tell()
            await settle(3)

    async def create_subresource(self, what: Any, name: str, namespace: str, subresource: str, obj: Any) -> bytes:
        for _ in range(self._random.randrange(60)):
            await asyncio.sleep(0)
        fate = self._random.random()
        if fate < 0.1:
            raise errors.Unavailable("it has not come there")
        self._bind(Key(namespace, name), obj.target.name)
        for _ in range(self._random.randrange(20)):
            await asyncio.sleep(0)
        if fate < 0.25:
            raise errors.Timeout("it was done, but who knows")
        return b"{}"

    def _bind(self, which: Key, target: str) -> None:
        old = self.pods.get(which)
        if old is None:
            raise errors.not_found("pods", which.name)
        if old.spec.nodeName:
            raise errors.Conflict(f"{which} is already assigned")
        new = meta.clone(old)
        new.spec.nodeName = target
        self._store(new)
        self.bindings += 1
        check(target, [p for p in self.pods.values() if p.spec.nodeName == target])

    async def get(self, what: Any, name: str, namespace: str) -> Pod:
        if self._random.random() < 0.2:
            raise errors.Unavailable("ask again")
        found = self.pods.get(Key(namespace, name))
        if found is None:
            raise errors.not_found("pods", name)
        return found

    async def patch(self, *_: Any, **__: Any) -> None:
        if self._random.random() < 0.1:
            raise errors.Unavailable("conditions are written again")


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
    async with running(*(node(f"n{n}", cpu=str(CPUS)) for n in range(NODES))) as cluster:
        server = Server(random, cluster)
        for part in (cluster.scheduler.bindings, cluster.scheduler.writes, cluster.scheduler.preempting):
            part._client = server  # type: ignore[assignment]
        for turn in range(turns):
            match random.randrange(5):
                case 0 | 1:
                    server.create(any_pod(f"p{turn}", random))
                case 2:
                    if placed := sorted(k for k, p in server.pods.items() if p.spec.nodeName):
                        server.delete(random.choice(placed))
                case 3:
                    await cluster.clock.advance(random.choice([0.1, 0.3, 2, 11]))
            for _ in range(random.randrange(4)):
                server.tell()
            await settle(random.randrange(40))
        for _ in range(20):
            await server.settle()
            await cluster.clock.advance(1)
        snapshot = cluster.scheduler.snapshot
        for which, stored in server.pods.items():
            assert snapshot.node_of(which) == stored.spec.nodeName
        assert not cluster.scheduler.bindings.assumed
        assert not cluster.scheduler.bindings.under_way
    return server.bindings


@pytest.mark.parametrize("seed", range(10))
async def test_no_node_is_given_more_than_it_has_whatever_becomes_of_bindings(seed: int) -> None:
    assert await play(seed) > 20


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 110))
async def test_no_node_is_given_more_than_it_has_in_many_histories(seed: int) -> None:
    assert await play(seed, 1000) > 20
