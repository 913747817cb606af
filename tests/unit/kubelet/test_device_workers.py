"""When a pod's worker asks for devices, and when it gives them back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.types import Container, Pod, PodResourceClaim, PodResourceClaimStatus, ResourceClaim, ResourceRequirements
from kubelet.devices.claims import ClaimFault
from kubelet.pods.workers import Ending
from kubelet.runtime.interfaces import EngineError, Spec
from tests.unit.kubelet.builders import container
from tests.unit.kubelet.test_workers import FOREVER, Stage, deleted, web


class Given:
    """Implements `Devices`: notes what it is asked, and whether containers ran then."""

    def __init__(self, stage: Stage) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.fault = ""
        self.gate: asyncio.Event | None = None  # preparing takes so long
        self.held: set[str] = set()
        self._stage = stage

    def holds(self, uid: str) -> bool:
        return uid in self.held

    def ready(self, pod: Pod) -> bool:
        return pod.metadata.uid in self.held

    def _note(self, what: str) -> None:
        self.asked.append((what, any(r.running and not r.is_pause for r in self._stage.cache.of("u1"))))
        if self.fault:
            raise ClaimFault(self.fault)

    async def prepare(self, pod: Pod) -> None:
        self.held.add(pod.metadata.uid)
        self._note("prepare")
        if self.gate is not None:
            await self.gate.wait()

    async def unprepare(self, uid: str) -> None:
        self._note("unprepare")
        self.held.discard(uid)

    async def given(self, pod: Pod, container: Container, spec: Spec) -> Spec:
        if container.image == "unknown":
            raise EngineError("CDI device injection failed: unresolvable CDI devices x.example/y=z")
        return spec


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.means.devices = Given(made)
    return made


def given(stage: Stage) -> Given:
    assert isinstance(stage.means.devices, Given)
    return stage.means.devices


def lit(image: str = "app:1", command: list[str] | None = None, **fields: Any) -> Pod:
    resources = ResourceRequirements(claims=[ResourceClaim(name="lamp")])
    asking = container(command=command or FOREVER, image=image, resources=resources)
    return web(asking, resourceClaims=[PodResourceClaim(name="lamp", resourceClaimName="a")], **fields)


async def test_claims_are_prepared_before_anything_runs_and_given_back_before_the_end_is_told(stage: Stage) -> None:
    async with stage.worker(of := lit()) as worker:
        assert stage.ready
        assert given(stage).asked == [("prepare", False)]
        worker.update(deleted(of))
        await stage.until(stage.running.done)
        assert given(stage).asked[1:] == [("unprepare", False)]
        assert stage.told.last


async def test_a_pod_without_claims_asks_for_nothing(stage: Stage) -> None:
    async with stage.worker(of := web()) as worker:
        worker.update(deleted(of))
        await stage.until(stage.running.done)
    assert given(stage).asked == []


async def test_what_cannot_be_prepared_keeps_the_pod_waiting_and_is_tried_again(stage: Stage) -> None:
    given(stage).fault = "prepare dynamic resources: DRA driver x is not registered"
    async with stage.worker(lit()):
        assert stage.state.waiting.reason == "ContainerCreating"
        why = "Failed to prepare dynamic resources: prepare dynamic resources: DRA driver x is not registered"
        assert stage.told.events == [("Warning", "FailedPrepareDynamicResources", why)]
        assert stage.cache.of("u1") == ()
        await stage.turn(1)
        assert len(given(stage).asked) == 2
        given(stage).fault = ""
        await stage.turn(2)
        assert stage.ready


async def test_a_pod_that_is_deleted_does_not_wait_for_a_driver_that_does_not_answer(stage: Stage) -> None:
    given(stage).gate = asyncio.Event()
    async with stage.worker(of := lit()) as worker:
        assert given(stage).asked == [("prepare", False)]
        worker.update(deleted(of))
        await stage.until(stage.running.done)
        assert given(stage).asked[1:] == [("unprepare", False)]
        assert stage.told.last


async def test_a_driver_that_comes_is_asked_at_once(stage: Stage) -> None:
    given(stage).fault = "not registered"
    async with stage.worker(lit()) as worker:
        await stage.turn(1)
        given(stage).fault = ""
        worker.devices_changed()
        await stage.turn()
        assert stage.ready


async def test_a_claim_that_is_made_for_the_pod_is_prepared_at_once(stage: Stage) -> None:
    given(stage).fault = "ResourceClaim not created yet"
    of = lit()
    async with stage.worker(of) as worker:
        given(stage).fault = ""
        new = lit()
        new.status.resourceClaimStatuses = [PodResourceClaimStatus(name="lamp", resourceClaimName="web-lamp-x")]
        worker.update(new)
        await stage.turn()
        assert stage.ready


async def test_a_pod_that_is_over_by_itself_gives_its_devices_back_first(stage: Stage) -> None:
    given(stage).held.add("u1")
    async with stage.worker(lit(command=["true"], policy="Never")):
        assert [asked for asked, _ in given(stage).asked] == ["prepare", "unprepare"]
        assert stage.status.phase == "Succeeded"


async def test_the_end_is_not_told_while_the_devices_cannot_be_given_back(stage: Stage) -> None:
    async with stage.worker(of := lit(command=["sleep", "5"], policy="Never")) as worker:
        given(stage).fault = "unprepare dynamic resources: busy"
        await stage.turn(5)
        assert stage.status.phase == "Running"
        await stage.turn(1)
        assert [a for a, _ in given(stage).asked] == ["prepare", "unprepare", "unprepare"]
        worker.update(deleted(of))
        await stage.turn(1)
        assert not stage.running.done()
        given(stage).fault = ""
        worker.devices_changed()
        await stage.until(stage.running.done)
        assert stage.told.last


async def test_who_waits_for_the_end_of_a_pod_does_not_wait_for_its_driver(stage: Stage) -> None:
    async with stage.worker(lit()) as worker:
        given(stage).fault = "unprepare dynamic resources: busy"
        worker.end(Ending("Evicted", "no room", 0))
        await stage.turn(3)
        assert worker.over.is_set()
        assert stage.means.address_of("u1") == ""
        assert stage.status.phase == "Running"
        given(stage).fault = ""
        await stage.turn(10)
        assert stage.status.phase == "Failed"


async def test_a_container_that_restarts_has_its_devices_already(stage: Stage) -> None:
    async with stage.worker(lit(command=["false"])):
        await stage.turn(10)
        assert len(stage.records()) == 2
        assert given(stage).asked == [("prepare", False)]


async def test_a_kubelet_that_comes_back_prepares_only_what_is_not(stage: Stage) -> None:
    async with stage.worker(of := lit()):
        pass
    stage.engine = stage.means.runtime = type(stage.engine)("c", "node1", clock=stage.clock, engine=stage.engine.engine)
    given(stage).asked.clear()
    async with stage.worker(of):
        assert given(stage).asked == []


async def test_what_is_left_of_a_pod_that_nobody_knows_does_not_wait_for_a_driver(stage: Stage) -> None:
    async with stage.worker(lit()) as worker:
        given(stage).fault = "not registered"
        worker.gone()
        await stage.turn(3)
        await stage.until(stage.running.done)
        assert stage.told.forgotten
        assert given(stage).holds("u1")


async def test_a_device_that_is_not_known_is_why_a_container_cannot_be_made(stage: Stage) -> None:
    async with stage.worker(lit(image="unknown")):
        assert stage.state.waiting.reason == "CreateContainerError"
        assert stage.state.waiting.message == ("CDI device injection failed: unresolvable CDI devices x.example/y=z")
