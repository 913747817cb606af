"""Schedulers that are killed, stopped and superseded: at no revision is a node promised more than it has.

The history is etcd's own: every revision of every pod, as it was stored.
"""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from api.types import (
    Affinity,
    Container,
    ContainerPort,
    LabelSelector,
    Node,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    ResourceRequirements,
    ServiceAccount,
    Toleration,
)
from apiserver.storage.etcd import Endpoints, Etcd
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import scheduler

NODES, CPUS, PODS_OF_A_NODE = 6, 8, 10
PREFIX = b"/registry/pods/"
LAST = 0  # numbers of the others begin with 1
FAULTS = ("kill", "stop", "pause", "return")


@pytest.mark.parametrize("seed", [1])
async def test_no_node_is_promised_more_than_it_has_whoever_leads(seed: int, tmp_path: Path) -> None:
    await _play(seed, faults=4, directory=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_no_node_is_promised_more_than_it_has_after_many_faults(seed: int, tmp_path: Path) -> None:
    await _play(seed, faults=40, directory=tmp_path)


async def _play(seed: int, faults: int, directory: Path) -> None:
    random = Random(seed)
    async with control_plane(directory) as plane, connect(plane.access()) as client, AsyncExitStack() as stack:
        await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
        for number in range(NODES):
            await add_node(client, number)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(history(plane, stack, PREFIX, f"/p{LAST}"))
            load = tasks.create_task(_load(client, random))
            for generation in range(faults):
                # Two at a time, and a successor that is not told when its turn comes.
                await rule(plane, directory, client, random, generation)
            load.cancel()
            await client.create(_pod(LAST, random))
    bound = _check(following.result())
    assert bound > 10 * faults


async def rule(plane: ControlPlane, directory: Path, client: Client, random: Random, generation: int) -> None:
    """One scheduler leads until something happens to it, and another, who has watched, takes over."""
    flags = (
        "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=200ms",
    )  # fmt: skip

    def one() -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        return scheduler(plane, directory, *flags)

    async with one() as first, one() as second, AsyncExitStack() as others:
        await _bound_more(client, random.randint(5, 40))
        if first.returncode is not None:
            return  # on a busy machine it loses its lease by itself, and ends: a fault as good as any
        match FAULTS[generation % len(FAULTS)]:
            case "kill":
                first.kill()
            case "stop":
                first.terminate()
            case "pause":
                first.send_signal(signal.SIGSTOP)
                await _bound_more(client, 20)
                first.send_signal(signal.SIGCONT)
            case "return":  # when nobody leads any more, so that it could
                first.send_signal(signal.SIGSTOP)
                await _bound_more(client, 20)
                second.terminate()
                await second.wait()
                first.send_signal(signal.SIGCONT)
                await others.enter_async_context(one())
        await _bound_more(client, random.randint(5, 40))


async def _bound_more(client: Client, count: int) -> None:
    """Returns when so many bindings have been seen."""
    listing = await client.list(Pod, "default", field_selector="spec.nodeName=none")
    async with asyncio.timeout(30):
        seen: set[str] = set()
        async for batch in client.watch(Pod, "default", resource_version=listing.resource_version):
            seen |= {e.object.metadata.uid for e in batch if e.object.spec.nodeName and e.type != "DELETED"}
            if len(seen) >= count:
                return


async def _load(client: Client, random: Random) -> None:
    """Pods come all the time, more than there is room for, and those that have been placed go."""
    number = 0
    while True:
        pods = (await client.list(Pod, "default")).items
        placed = [p for p in pods if p.spec.nodeName]
        for each in random.sample(placed, len(placed) // 3):
            await client.delete(Pod, each.metadata.name, "default", grace_seconds=0)
        for _ in range(max(0, 60 - len(pods) + len(placed))):
            number += 1
            await client.create(_pod(number, random))


def _pod(number: int, random: Random) -> Pod:
    labels = {"app": random.choice("abc")}
    container = Container(
        name="main", image="pause:1", resources=ResourceRequirements(requests={"cpu": random.choice(["1", "2", "3"])})
    )
    affinity = None
    match random.randrange(5):
        case 0:
            container.ports = [ContainerPort(containerPort=80, hostPort=random.choice([80, 81]))]
        case 1:
            term = PodAffinityTerm(
                labelSelector=LabelSelector(matchLabels=labels), topologyKey="kubernetes.io/hostname"
            )
            apart = PodAntiAffinity(requiredDuringSchedulingIgnoredDuringExecution=[term])
            affinity = Affinity(podAntiAffinity=apart)
    spec = PodSpec(
        containers=[container], affinity=affinity, terminationGracePeriodSeconds=0, automountServiceAccountToken=False,
        tolerations=[Toleration(operator="Exists")],
    )  # fmt: skip
    return Pod(metadata=ObjectMeta(name=f"p{number}", namespace="default", labels=labels), spec=spec)


async def add_node(client: Client, number: int) -> None:
    name, sizes = f"n{number}", {"cpu": str(CPUS), "memory": "8Gi", "pods": str(PODS_OF_A_NODE)}
    labels = {"kubernetes.io/hostname": name}
    await client.create(Node(metadata=ObjectMeta(name=name, labels=labels)))
    status = NodeStatus(capacity=sizes, allocatable=sizes)
    await client.patch(Node, name, "", {"status": status}, subresource="status")


History = list[tuple[int, str, dict[str, Any] | None]]
"""(revision, key, the object or None)."""


async def history(plane: ControlPlane, stack: AsyncExitStack, prefix: bytes, last: str) -> History:
    """From the first revision to when a key comes that ends so; read as it is made, since what is five minutes old is
    compacted."""
    own = plane.pki / "apiserver"
    etcd = await stack.enter_async_context(
        Etcd(Endpoints((plane.etcd,), own / "ca.crt", own / "tls.crt", own / "tls.key"))
    )
    found: History = []
    async for response in etcd.watch(prefix, prefix[:-1] + b"0", 1):
        for event in response.events:
            key = event.kv.key.decode()
            found.append((event.kv.mod_revision, key, json.loads(event.kv.value) if event.kv.value else None))
            if key.endswith(last):
                return found
    raise AssertionError("a watch of etcd does not end")


def _check(history: History) -> int:
    """Replays the history; how many bindings there were."""
    pods: dict[str, dict[str, Any]] = {}
    bindings = 0
    for revision, key, pod in history:
        before = pods.pop(key, None)
        if pod is not None:
            was, node = (p.get("spec", {}).get("nodeName", "") for p in (before or {}, pod))
            assert was in ("", node), f"{key} was moved at {revision}"
            pods[key] = pod
            if node and not was:
                bindings += 1
                _check_node(revision, node, [p for p in pods.values() if p["spec"].get("nodeName") == node])
    return bindings


def _check_node(revision: int, node: str, pods: list[dict[str, Any]]) -> None:
    promised = sum(int(c["resources"]["requests"]["cpu"]) for p in pods for c in p["spec"]["containers"])
    assert promised <= CPUS, f"{promised} processors of {node} are promised at {revision}"
    assert len(pods) <= PODS_OF_A_NODE
    ports = [*_ports(pods)]
    assert len(ports) == len({*ports}), f"a port of {node} is taken twice at {revision}"
    for lonely in pods:
        if "podAntiAffinity" in lonely["spec"].get("affinity", {}):
            app = lonely["metadata"]["labels"]["app"]
            same = [p for p in pods if p["metadata"]["labels"]["app"] == app]
            assert same == [lonely], f"two pods that are to be apart are on {node} at {revision}"


def _ports(pods: list[dict[str, Any]]) -> Iterator[int]:
    for pod in pods:
        for container in pod["spec"]["containers"]:
            yield from (port["hostPort"] for port in container.get("ports", ()) if "hostPort" in port)
