"""Other amounts of cpu and memory for containers that run."""

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any, cast

import pytest

from api import meta
from api.types import Container, ContainerResizePolicy, ContainerStatus, Pod, PodCondition, ResourceRequirements
from kubelet.pods.allocations import Allocations
from kubelet.pods.assignments import Assignments
from kubelet.pods.resizing import RETRY, difference, message
from kubelet.runtime.interfaces import AMOUNTS, Amounts, EngineError
from kubelet.runtime.simulated import Simulated
from machinery.informers import Informer
from tests.unit.kubelet.builders import container, pod, running
from tests.unit.kubelet.test_workers import FOREVER, Stage, web


def needing(cpu: str, memory: str = "64Mi") -> ResourceRequirements:
    both = {"cpu": cpu, "memory": memory}
    return ResourceRequirements(requests=both, limits=both)


def sized(cpu: str, memory: str = "64Mi", **fields: Any) -> Container:
    return container(**{"command": FOREVER, "resources": needing(cpu, memory), **fields})


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    found = Stage(tmp_path)
    found.means.allocatable = lambda: {"cpu": "2", "memory": "1Gi"}
    return found


def resized(of: Pod, cpu: str, memory: str = "64Mi") -> Pod:
    copy = meta.clone(of)
    copy.metadata.generation = 2
    copy.spec.containers[0].resources = needing(cpu, memory)
    return copy


def told(stage: Stage) -> list[tuple[str, str]]:
    return [(reason, message) for _, reason, message in stage.told.events if reason.startswith("Resize")]


def condition(stage: Stage, kind: str) -> PodCondition | None:
    return next((c for c in stage.status.conditions if c.type == kind), None)


async def test_a_running_container_gets_what_its_pod_asks_for_now(stage: Stage) -> None:
    async with stage.worker(of := web(sized("500m"))) as worker:
        worker.update(resized(of, "1", "128Mi"))
        await stage.turn()
        (record,) = stage.records()
        assert record.amounts == Amounts(1024, 100_000, 128 * 2**20)
        (status,) = stage.status.containerStatuses
        assert status.resources == needing("1", "128Mi")
        assert status.allocatedResources == {"cpu": "1", "memory": "128Mi"}
        assert status.restartCount == 0
        assert condition(stage, "PodResizeInProgress") is None
        amounts = '{"limits":{"cpu":"1","memory":"128Mi"},"requests":{"cpu":"1","memory":"128Mi"}}'
        what = f'{{"containers":[{{"name":"main","resources":{amounts}}}],"generation":2}}'
        assert told(stage) == [
            ("ResizeStarted", f"Pod resize started: {what}"),
            ("ResizeCompleted", f"Pod resize completed: {what}"),
        ]


async def test_a_container_that_wants_a_restart_for_it_gets_one(stage: Stage) -> None:
    policy = [ContainerResizePolicy(resourceName="memory", restartPolicy="RestartContainer")]
    async with stage.worker(of := web(sized("500m", resizePolicy=policy))) as worker:
        worker.update(resized(of, "1"))
        await stage.turn()
        assert [r.attempt for r in stage.records()] == [0]
        worker.update(resized(of, "1", "128Mi"))
        await stage.turn()
        assert ("Normal", "Killing", "Container main resize requires restart") in stage.told.events
        assert [r.attempt for r in stage.records()] == [0, 1]
        assert stage.records()[1].amounts.memory == 128 * 2**20
        assert condition(stage, "PodResizeInProgress") is None


async def test_what_the_node_does_not_have_is_infeasible(stage: Stage) -> None:
    async with stage.worker(of := web(sized("500m"))) as worker:
        worker.update(resized(of, "3"))
        await stage.turn()
        pending = condition(stage, "PodResizePending")
        assert pending is not None
        assert pending.reason == "Infeasible"
        assert pending.message == "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"
        assert stage.records()[0].amounts.shares == 512


async def test_what_others_have_is_deferred_until_they_go(stage: Stage) -> None:
    others = [pod(sized("1"), metadata={"uid": "u2"})]
    stage.means.pods = lambda: others
    async with stage.worker(of := web(sized("500m"))) as worker:
        worker.update(resized(of, "1500m"))
        await stage.turn()
        pending = condition(stage, "PodResizePending")
        assert pending is not None
        words = "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"
        assert (pending.reason, pending.message) == ("Deferred", words)
        await stage.turn(RETRY)
        others.clear()
        await stage.turn(RETRY)
        assert [reason for reason, _ in told(stage)] == ["ResizeDeferred", "ResizeStarted", "ResizeCompleted"]
        assert told(stage)[0][1].startswith('Pod resize Deferred: {"containers":[{"name":"main",')
        assert told(stage)[0][1].endswith(f',"generation":2,"error":"{words}"}}')
        assert stage.records()[0].amounts.shares == 1536
        assert condition(stage, "PodResizePending") is None


async def test_a_container_that_is_restarted_while_a_resize_waits_has_what_it_had(stage: Stage) -> None:
    async with stage.worker(of := web(sized("500m"))) as worker:
        worker.update(resized(of, "3"))
        await stage.turn()
        await stage.engine.signal(stage.records()[0].id, "SIGKILL")
        await stage.turn()
        assert [(r.attempt, r.running, r.amounts.shares) for r in stage.records()] == [(0, False, 512), (1, True, 512)]
        (status,) = stage.status.containerStatuses
        assert (status.resources, status.allocatedResources) == (needing("500m"), needing("500m").requests)
        worker.update(resized(of, "1"))
        await stage.turn()
        assert stage.records()[1].amounts.shares == 1024


async def test_what_is_put_off_counts_for_others_as_what_it_has(stage: Stage) -> None:
    async with stage.worker(of := web(sized("500m"))) as worker:
        wanted = resized(of, "3")
        worker.update(wanted)
        await stage.turn()
        assert stage.means.allocations.of(wanted).spec.containers[0].resources == needing("500m")
        assert stage.means.allocations.of(of) is of


@pytest.mark.parametrize(
    ("has", "allocated", "promised"), [("500m", "500m", "500m"), ("500m", "1", "1"), ("1", "1", "1")]
)
def test_a_new_kubelet_finds_in_the_status_what_was_promised(has: str, allocated: str, promised: str) -> None:
    of = web(sized("1"))
    status = ContainerStatus(name="main", resources=needing(has), allocatedResources=needing(allocated).requests)
    of.status.containerStatuses = [status]
    allocations = Allocations()
    allocations.take(of)
    assert allocations.of(of).spec.containers[0].resources == needing(promised)


async def test_a_new_kubelet_does_not_repeat_what_was_told(stage: Stage) -> None:
    of = web(sized("3"), metadata={"generation": 2})
    words = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"
    of.status.conditions = [
        PodCondition(type="PodResizePending", status="True", reason="Infeasible", message=words, observedGeneration=2)
    ]
    has = needing("500m")
    of.status.containerStatuses = [ContainerStatus(name="main", resources=has, allocatedResources=has.requests)]
    async with stage.worker(of):
        assert stage.records()[0].amounts.shares == 512
        assert told(stage) == []
        pending = condition(stage, "PodResizePending")
        assert pending is not None
        assert (pending.reason, pending.message) == ("Infeasible", words)


def test_sidecars_are_told_of_before_the_others() -> None:
    of = web(sized("1"), initContainers=[sized("2", name="proxy", restartPolicy="Always"), sized("4", name="once")])
    found = json.loads(message(of, "started").removeprefix("Pod resize started: "))
    assert [c["name"] for c in found["initContainers"]] == ["proxy"]
    assert list(found) == ["initContainers", "containers", "generation"]


class Refusing(Simulated):
    async def update(self, container: str, amounts: Amounts) -> None:
        raise EngineError("no")


async def test_an_engine_that_refuses_is_told_of(stage: Stage) -> None:
    async with stage.worker(of := web(sized("500m"))) as worker:
        stage.engine.__class__ = Refusing
        worker.update(resized(of, "1"))
        await stage.turn()
        progress = condition(stage, "PodResizeInProgress")
        assert progress is not None
        assert (progress.reason, progress.message) == ("Error", "no")
        await stage.turn(RETRY)
        stage.engine.__class__ = Simulated
        await stage.turn(RETRY)
        assert [reason for reason, _ in told(stage)] == ["ResizeStarted", "ResizeError", "ResizeCompleted"]
        assert told(stage)[1][1].endswith('"generation":2,"error":"no"}')
        assert condition(stage, "PodResizeInProgress") is None
        assert stage.records()[0].amounts.shares == 1024


async def test_an_init_container_is_resized_while_it_runs(stage: Stage) -> None:
    async with stage.worker(of := web(sized("500m"), initContainers=[sized("250m", name="first")])) as worker:
        wanted = meta.clone(of)
        wanted.metadata.generation = 2
        wanted.spec.initContainers[0].resources = needing("1")
        worker.update(wanted)
        await stage.until(lambda: [reason for reason, _ in told(stage)] == ["ResizeStarted", "ResizeCompleted"])
        (record,) = stage.records("first")
        assert record.amounts.shares == 1024
        (status,) = stage.status.initContainerStatuses
        assert status.resources == needing("1")
        more = meta.clone(wanted)
        more.spec.initContainers[0].resources = needing("4")
        worker.update(more)
        await stage.until(lambda: condition(stage, "PodResizePending") is not None)
        assert condition(stage, "PodResizePending").reason == "Infeasible"  # type: ignore[union-attr]


async def test_a_pod_is_resized_as_a_whole(stage: Stage) -> None:
    async with stage.worker(of := web(container(command=FOREVER), resources=needing("500m"))) as worker:
        assert (stage.status.resources, stage.status.allocatedResources) == (needing("500m"), needing("500m").requests)
        wanted = meta.clone(of)
        wanted.metadata.generation = 2
        wanted.spec.resources = needing("1")
        worker.update(wanted)
        await stage.until(lambda: [reason for reason, _ in told(stage)] == ["ResizeStarted", "ResizeCompleted"])
        assert stage.records()[0].amounts.quota == 100_000
        await stage.until(lambda: stage.status.resources == needing("1"))
        more = meta.clone(wanted)
        more.spec.resources = needing("4")
        worker.update(more)
        await stage.until(lambda: condition(stage, "PodResizePending") is not None)
        assert (stage.status.resources, stage.status.allocatedResources) == (needing("1"), needing("1").requests)


def test_a_kubelet_that_starts_anew_keeps_what_a_pod_was_promised_as_a_whole() -> None:
    of = pod(resources=needing("4"))
    of.status.resources, of.status.allocatedResources = needing("1"), needing("1").requests
    allocations = Allocations()
    allocations.take(of)
    assert allocations.of(of).spec.resources == needing("1")
    allocations.grant(of)
    assert allocations.of(of) is of


def test_limits_that_the_engine_discards_are_not_asked_for_again() -> None:
    wanted = container(resources=ResourceRequirements(limits={"memory": "1Mi"}))
    made = running(amounts=Amounts(2, 0, 0))
    assert difference(pod(wanted), wanted, made) == set()
    labelled = running(amounts=Amounts(2, 0, 0), labels={**made.labels, AMOUNTS: str(Amounts(2, 0, 2**20))})
    assert difference(pod(wanted), wanted, labelled) == set()
    without = running(amounts=Amounts(2, 0, 0), labels={**made.labels, AMOUNTS: str(Amounts(2, 0, 0))})
    assert difference(pod(wanted), wanted, without) == {"memory"}


class Shown(Informer[Pod]):
    """What a test says that the API server has."""

    def __init__(self) -> None:
        super().__init__(cast(Any, None), Pod)
        self._revisions = itertools.count(1)

    async def synced(self) -> None:
        return

    def show(self, pod: Pod) -> None:
        copy = meta.clone(pod)
        copy.metadata.resourceVersion = str(next(self._revisions))
        self._change(meta.key(pod), copy)

    def drop(self, pod: Pod) -> None:
        self._change(meta.key(pod), None)


@pytest.mark.parametrize("goes", ["deleted", "ended"])
async def test_room_that_is_given_back_is_for_the_most_important_first(stage: Stage, goes: str) -> None:
    def one(uid: str, cpu: str, priority: int = 0) -> Pod:
        return web(sized(cpu), metadata={"uid": uid, "name": uid}, priority=priority)

    async def nothing(*_: object) -> None:
        return

    shown = Shown()
    low, high, other = one("low", "250m", 1), one("high", "250m", 2), one("other", "1500m")
    stage.means.pods = lambda: [stage.means.allocations.of(p) for p in shown.list()]
    assignments = Assignments(stage.means, shown)
    tasks = [asyncio.create_task(stage.cache.run()), asyncio.create_task(assignments.run(nothing, nothing))]
    for each in (low, high, other):
        shown.show(each)
    await stage.turn()
    for each in (low, high):
        shown.show(resized(each, "1500m"))
        await stage.turn()
    assert [reason for reason, _ in told(stage)] == ["ResizeDeferred"] * 2
    if goes == "deleted":
        shown.drop(other)
    else:
        ended = meta.clone(other)
        ended.status.phase = "Failed"
        shown.show(ended)
    await stage.turn()
    shares = {r.uid: r.amounts.shares for r in stage.cache.all() if r.running and not r.is_pause}
    assert (shares["low"], shares["high"]) == (256, 1536)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stage.engine.close()
