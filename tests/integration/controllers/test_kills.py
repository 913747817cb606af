"""The controller manager is killed again and again, and the world comes out as the specs say."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from api import errors, meta
from api.types import (
    Container,
    DaemonSet,
    DaemonSetSpec,
    Deployment,
    DeploymentSpec,
    Job,
    JobSpec,
    LabelSelector,
    Node,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplateSpec,
    ReplicaSet,
    StatefulSet,
    StatefulSetSpec,
)
from machinery.client import Client
from machinery.testing import ControlPlane
from tests.integration.controllers.histories import History, recorded
from tests.integration.processes import controller_manager, kubelet, scheduler, until

CREATE = (Deployment, Deployment, StatefulSet, DaemonSet, Job)


class Chaos:
    """Creates, scales, rolls and deletes; `wanted` is what there should be in the end."""

    def __init__(self, client: Client, random: Random) -> None:
        self._client = client
        self._random = random
        self.wanted: dict[tuple[type[Any], str], Any] = {}
        self._count = 0

    async def create(self) -> None:
        what = CREATE[self._count % len(CREATE)]
        self._count += 1
        made = await self._client.create(workload(what, f"w{self._count}", self._random.randint(1, 4)))
        self.wanted[what, made.metadata.name] = made

    async def step(self) -> None:
        what, name = self._random.choice([*self.wanted])
        with suppress(errors.Conflict):
            match self._random.randrange(4):
                case 0 if len(self.wanted) > 10:
                    del self.wanted[what, name]
                    await self._client.delete(what, name, "default", propagation="Background")
                    await self.create()
                case 1 if what is not Job:
                    await self._patch(what, name, {"template": {"spec": {"containers": [
                        {"name": "main", "image": f"app:{self._random.randint(2, 99)}"}]}}})  # fmt: skip
                case _ if what in (Deployment, StatefulSet):
                    await self._patch(what, name, {"replicas": self._random.randint(0, 5)})

    async def _patch(self, what: type[Any], name: str, spec: Any) -> None:
        self.wanted[what, name] = await self._client.patch(what, name, "default", {"spec": spec}, kind="strategic")


def workload(what: type[Any], name: str, size: int) -> Any:
    labels = {"app": name}
    metadata = ObjectMeta(name=name, namespace="default")
    pod = PodSpec(containers=[Container(name="main", image="app:1")], terminationGracePeriodSeconds=0)
    template = PodTemplateSpec(metadata=ObjectMeta(labels=labels), spec=pod)
    selector = LabelSelector(matchLabels=labels)
    if what is Job:
        pod.restartPolicy, pod.containers[0].command = "Never", ["true"]
        return Job(metadata=metadata, spec=JobSpec(completions=2 * size, parallelism=size, template=template))
    if what is DaemonSet:
        return DaemonSet(metadata=metadata, spec=DaemonSetSpec(selector=selector, template=template))
    if what is StatefulSet:
        spec = StatefulSetSpec(replicas=size, selector=selector, template=template, podManagementPolicy="Parallel")
        return StatefulSet(metadata=metadata, spec=spec)
    return Deployment(metadata=metadata, spec=DeploymentSpec(replicas=size, selector=selector, template=template))


def is_done(obj: Any) -> bool:
    match obj:
        case Job():
            return meta.is_true(obj, "Complete")
        case DaemonSet():
            status = obj.status
            return (status.observedGeneration, status.numberReady, status.updatedNumberScheduled) == (
                obj.metadata.generation, 1, 1,
            )  # fmt: skip
    status, replicas = obj.status, obj.spec.replicas
    return (status.observedGeneration, status.readyReplicas, status.updatedReplicas, status.replicas) == (
        obj.metadata.generation, replicas, replicas, replicas,
    )  # fmt: skip


@pytest.mark.parametrize("kills", [8, pytest.param(120, marks=pytest.mark.long)])
async def test_a_manager_killed_every_second_leaves_the_world_as_it_should_be(
    plane: ControlPlane, client: Client, tmp_path: Path, kills: int
) -> None:
    chaos, pauses = Chaos(client, Random(7)), Random(8)  # the same every time

    async def die_and_come_back() -> None:
        for _ in range(kills):
            async with controller_manager(plane, tmp_path, "--leader-elect-identity=phoenix") as process:
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=pauses.uniform(0.6, 1.6))
                assert process.returncode is None, "it ended by itself"
                process.send_signal(signal.SIGKILL)
                await process.wait()

    async with recorded(client) as history, scheduler(plane, tmp_path), kubelet(plane, tmp_path, "--max-pods=1000"):
        async with controller_manager(plane, tmp_path, "--leader-elect-identity=phoenix"):
            await until(client, Node, lambda nodes: any(meta.is_true(n, "Ready") for n in nodes))
        dying = asyncio.create_task(die_and_come_back())
        for _ in range(30):
            await chaos.create()
        while not dying.done():
            await chaos.step()
            await asyncio.wait([dying], timeout=0.05)
        await dying
        async with controller_manager(plane, tmp_path, "--leader-elect-identity=phoenix"):
            for what in dict.fromkeys(CREATE):
                await everything_done(client, what, names_of(chaos, what), history)
            await until(client, ReplicaSet, lambda found: {meta.controller_of(r).name for r in found} <= names_of(
                chaos, Deployment), seconds=60)  # fmt: skip
            pods = await until(client, Pod, lambda found: all(_belongs(chaos, p) for p in found), seconds=60)
            assert len({p.metadata.name for p in pods}) == len(pods)
    excesses = [*history.excesses()]
    assert not excesses, "\n\n".join(map(history.story, excesses))
    made = [obj for _, type_, obj in history.events if type_ == "ADDED" and isinstance(obj, Pod)]
    assert len(made) > 100, "the history must have seen what it judges"
    history.events = [e for e in history.events if not (isinstance(e[2], Pod) and e[1] != "ADDED")]
    assert [*history.excesses()], "pods that never die would be too many"


async def everything_done(client: Client, what: type[Any], names: set[str], history: History) -> None:
    def holds(found: list[Any]) -> bool:
        return {o.metadata.name for o in found} == names and all(map(is_done, found))

    try:
        await until(client, what, holds, seconds=60)
    except TimeoutError:
        left = [o.metadata.name for o in (await client.list(what)).items if not is_done(o)]
        told = "\n\n".join("\n".join(history.of(name)) for name in left)
        raise AssertionError(f"{what.__name__}s that are not as they should be: {left}\n{told}") from None


def names_of(chaos: Chaos, what: type[Any]) -> set[str]:
    return {name for kind, name in chaos.wanted if kind is what}


def _belongs(chaos: Chaos, pod: Pod) -> bool:
    """Whether it belongs to something that is wanted: there are no orphans."""
    return pod.metadata.labels["app"] in {name for _, name in chaos.wanted}
