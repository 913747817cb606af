"""Other amounts of cpu and memory for containers that run."""

from pathlib import Path

import pytest

from api import meta
from api.types import Container, ContainerResizePolicy, Pod, PodCondition, ResourceRequirements
from kubelet.pods.resizing import RETRY, difference
from kubelet.runtime.interfaces import AMOUNTS, Amounts, EngineError
from kubelet.runtime.simulated import Simulated
from tests.unit.kubelet.builders import container, pod, running
from tests.unit.kubelet.test_workers import FOREVER, Stage, web


def needing(cpu: str, memory: str = "64Mi") -> ResourceRequirements:
    both = {"cpu": cpu, "memory": memory}
    return ResourceRequirements(requests=both, limits=both)


def sized(cpu: str, memory: str = "64Mi", **fields: object) -> Container:
    return container(command=FOREVER, resources=needing(cpu, memory), **fields)


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
        others.clear()
        await stage.turn(RETRY)
        assert stage.records()[0].amounts.shares == 1536
        assert condition(stage, "PodResizePending") is None


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


def test_limits_that_the_engine_discards_are_not_asked_for_again() -> None:
    wanted = container(resources=ResourceRequirements(limits={"memory": "1Mi"}))
    made = running(amounts=Amounts(2, 0, 0))
    assert difference(pod(wanted), wanted, made) == set()
    labelled = running(amounts=Amounts(2, 0, 0), labels={**made.labels, AMOUNTS: str(Amounts(2, 0, 2**20))})
    assert difference(pod(wanted), wanted, labelled) == set()
    without = running(amounts=Amounts(2, 0, 0), labels={**made.labels, AMOUNTS: str(Amounts(2, 0, 0))})
    assert difference(pod(wanted), wanted, without) == {"memory"}
