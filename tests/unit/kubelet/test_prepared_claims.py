"""Which claims are prepared when, for whom, and what is undone."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api import errors
from api.types import (
    AllocationResult,
    Container,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
    ResourceRequirements,
    ResourceV1ResourceClaim,
)  # fmt: skip
from api.types import ResourceClaim as Wanted
from kubelet.devices.cdi import Library
from kubelet.devices.claims import ClaimFault
from kubelet.devices.drivers import Drivers
from kubelet.devices.metrics import Metrics
from kubelet.devices.preparing import PERIOD, Prepared
from kubelet.devices.records import Claim, Device, Records
from kubelet.runtime.interfaces import EngineError, Spec
from machinery.running import CannotGoOn
from machinery.testing import FakeClock, settle
from tests.unit.kubelet.builders import container, pod

LAMPS, FANS = "lamps.example", "fans.example"


class Lamp:
    """In the place of a `Driver`."""

    connected = True

    def __init__(self, name: str) -> None:
        self.name = self.endpoint = name
        self.asked: list[str] = []
        self.fault = ""
        self.gate = asyncio.Event()
        self.gate.set()

    async def prepare(self, claims: Sequence[Claim]) -> dict[str, list[Device]]:
        await self._do("+", claims)
        return {c.uid: [Device((), "pool", "d", (f"{self.name}/lamp={c.name}",))] for c in claims}

    async def unprepare(self, claims: Sequence[Claim]) -> None:
        await self._do("-", claims)

    async def _do(self, sign: str, claims: Sequence[Claim]) -> None:
        self.asked.append(sign + ",".join(c.name for c in claims))
        await self.gate.wait()
        if self.fault:
            raise ClaimFault(self.fault)


class Node:
    """Its claims, its drivers, and one kubelet after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock()
        self.metrics = Metrics(self.clock)
        self.drivers = Drivers()
        self.lamps, self.fans = Lamp(LAMPS), Lamp(FANS)
        for driver in (self.lamps, self.fans):
            self.drivers.add(driver)  # type: ignore[arg-type]
        self.claims: dict[str, ResourceV1ResourceClaim] = {}
        self.restart()

    def restart(self) -> None:
        self.kubelet = Prepared(
            self._claim, self.drivers, Records(self.root / "state"), Library([str(self.root / "cdi")]).inject, self.metrics,
            self.clock,
        )  # fmt: skip

    async def _claim(self, namespace: str, name: str) -> ResourceV1ResourceClaim:
        if name not in self.claims:
            raise errors.NotFound(f'resourceclaims.resource.k8s.io "{name}" not found')
        return self.claims[name]

    def claim(self, name: str, *pods: Pod, drivers: Sequence[str] = (LAMPS,), uid: str = "") -> None:
        results = [DeviceRequestAllocationResult(request="r", driver=d, pool="p", device="d") for d in drivers]
        self.claims[name] = ResourceV1ResourceClaim(
            metadata=ObjectMeta(name=name, namespace="default", uid=uid or f"uid-{name}"),
            status=ResourceClaimStatus(
                allocation=AllocationResult(devices=DeviceAllocationResult(results=results)),
                reservedFor=[
                    ResourceClaimConsumerReference(resource="pods", name=p.metadata.name, uid=p.metadata.uid)
                    for p in pods
                ],
            ),
        )  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def using(name: str, *claims: str, containers: Sequence[Container] = ()) -> Pod:
    return pod(
        *containers, metadata={"name": name, "uid": f"uid-{name}"},
        resourceClaims=[PodResourceClaim(name=f"my-{c}", resourceClaimName=c) for c in claims],
    )  # fmt: skip


async def test_each_driver_is_asked_once_for_all_that_a_pod_has_of_it(node: Node) -> None:
    web = using("web", "a", "b", "c")
    node.claim("a", web)
    node.claim("b", web, drivers=(LAMPS, FANS, LAMPS))
    node.claim("c", web, drivers=())
    assert not node.kubelet.ready(web)
    await node.kubelet.prepare(web)
    assert (node.lamps.asked, node.fans.asked) == (["+a,b"], ["+b"])
    assert node.kubelet.ready(web)
    await node.kubelet.unprepare("uid-web")
    assert (node.lamps.asked[1:], node.fans.asked[1:]) == (["-a,b"], ["-b"])
    assert not node.kubelet.holds("uid-web")


async def test_a_shared_claim_is_prepared_for_the_first_and_undone_after_the_last(node: Node) -> None:
    first, second = using("first", "a"), using("second", "a")
    node.claim("a", first, second)
    node.lamps.gate.clear()
    both = asyncio.gather(node.kubelet.prepare(first), node.kubelet.prepare(second))
    await settle()
    node.lamps.gate.set()
    await both
    assert node.lamps.asked == ["+a"]
    await node.kubelet.unprepare("uid-first")
    assert node.lamps.asked == ["+a"]
    assert not node.kubelet.holds("uid-first")
    await node.kubelet.unprepare("uid-second")
    assert node.lamps.asked == ["+a", "-a"]


async def test_a_pod_that_comes_while_the_last_one_goes_has_the_claim_prepared_anew(node: Node) -> None:
    first, second = using("first", "a"), using("second", "a")
    node.claim("a", first, second)
    await node.kubelet.prepare(first)
    node.lamps.gate.clear()
    both = asyncio.gather(node.kubelet.unprepare("uid-first"), node.kubelet.prepare(second))
    await settle()
    node.lamps.gate.set()
    await both
    assert node.lamps.asked == ["+a", "-a", "+a"]
    assert node.kubelet.ready(second)


async def test_a_driver_that_fails_is_asked_again_and_what_it_may_have_done_is_undone(node: Node) -> None:
    web = using("web", "a")
    node.claim("a", web)
    node.lamps.fault = "no current"
    with pytest.raises(ClaimFault, match=r"^prepare dynamic resources: no current$"):
        await node.kubelet.prepare(web)
    assert node.kubelet.holds("uid-web")
    with pytest.raises(ClaimFault, match=r"^unprepare dynamic resources: no current$"):
        await node.kubelet.unprepare("uid-web")
    assert node.kubelet.holds("uid-web")
    node.lamps.fault = ""
    await node.kubelet.prepare(web)
    await node.kubelet.unprepare("uid-web")
    assert node.lamps.asked == ["+a", "-a", "+a", "-a"]
    assert not node.kubelet.holds("uid-web")


async def test_a_driver_that_is_not_there_is_waited_for_before_anything_is_begun(node: Node) -> None:
    web = using("web", "a", "b")
    node.claim("a", web)
    node.claim("b", web, drivers=("none.example",))
    with pytest.raises(ClaimFault, match=r"^prepare dynamic resources: DRA driver none.example is not registered$"):
        await node.kubelet.prepare(web)
    assert not node.kubelet.holds("uid-web")
    assert node.lamps.asked == []


async def test_a_kubelet_that_comes_back_knows_what_there_is_and_undoes_it(node: Node) -> None:
    web, later = using("web", "a"), using("later", "a")
    node.claim("a", web, later)
    await node.kubelet.prepare(web)
    node.restart()
    assert node.kubelet.ready(web)
    assert node.kubelet.holds("uid-web")
    await node.kubelet.prepare(later)  # asks again: nobody knows how far the other one had come
    await node.kubelet.unprepare("uid-web")
    node.restart()
    await node.kubelet.unprepare("uid-later")
    assert node.lamps.asked == ["+a", "+a", "-a"]


async def test_what_pods_have_left_that_are_gone_is_undone_until_it_is_done(node: Node) -> None:
    gone, here = using("gone", "a"), using("here", "b")
    node.claim("a", gone)
    node.claim("b", here)
    await node.kubelet.prepare(gone)
    await node.kubelet.prepare(here)
    node.restart()
    node.lamps.fault = "busy"
    task = asyncio.create_task(node.kubelet.run(lambda: {"uid-here"}))
    await settle()
    node.lamps.fault = ""
    await node.clock.advance(PERIOD)
    assert node.lamps.asked[2:] == ["-a", "-a"]
    await node.clock.advance(PERIOD)
    assert node.lamps.asked[4:] == []
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_state_that_cannot_be_read_is_not_passed_over(node: Node) -> None:
    (node.root / "state").write_text("{")
    with pytest.raises(CannotGoOn, match="drain the node and remove it"):
        node.restart()


async def test_the_name_of_a_claim_may_be_anothers_by_now(node: Node) -> None:
    first, second = using("first", "a"), using("second", "a")
    node.claim("a", first)
    await node.kubelet.prepare(first)
    node.claim("a", second, uid="uid-new")
    with pytest.raises(ClaimFault, match="old ResourceClaim with same name a and different UID uid-a still exists"):
        await node.kubelet.prepare(second)
    await node.kubelet.unprepare("uid-first")
    await node.kubelet.prepare(second)


def generated(name: str | None, *, known: bool = True) -> Pod:
    web = pod(resourceClaims=[PodResourceClaim(name="lamp", resourceClaimTemplateName="t")])
    if known:
        web.status.resourceClaimStatuses = [PodResourceClaimStatus(name="lamp", resourceClaimName=name or "")]
    return web


async def test_a_claim_that_was_made_for_the_pod_is_found_by_its_status(node: Node) -> None:
    web = generated("web-lamp-x1")
    node.claim("web-lamp-x1", web)
    node.claims["web-lamp-x1"].metadata.ownerReferences = [
        OwnerReference(apiVersion="v1", kind="Pod", name="web", uid="u1", controller=True)
    ]
    await node.kubelet.prepare(web)
    assert node.lamps.asked == ["+web-lamp-x1"]


async def test_a_pod_that_needs_no_claim_after_all_is_ready(node: Node) -> None:
    await node.kubelet.prepare(generated(None))
    assert node.kubelet.ready(generated(None))
    assert not node.kubelet.holds("u1")


def _strangers(node: Node) -> Pod:
    web = generated("c")
    node.claim("c", web)
    return web


def _unallocated(node: Node) -> Pod:
    web = using("web", "c")
    node.claim("c", web)
    node.claims["c"].status.allocation = None
    return web


def _unreserved(node: Node) -> Pod:
    node.claim("c", using("other", "c"))
    return using("web", "c")


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (lambda node: generated("", known=False), 'pod "default/web": ResourceClaim not created yet'),
        (
            lambda node: pod(resourceClaims=[PodResourceClaim(name="x")]),
            'pod "default/web", spec.resourceClaim "x": none of the supported fields are set',
        ),
        (lambda node: using("web", "none"), 'fetch ResourceClaim none: resourceclaims.resource.k8s.io "none" not found'),
        (_strangers, "ResourceClaim default/c was not created for Pod default/web (Pod is not owner)"),
        (_unreserved, "pod web (uid-web) is not allowed to use ResourceClaim c (uid-c)"),
        (_unallocated, "ResourceClaim c: not allocated"),
    ],
)  # fmt: skip
async def test_a_claim_must_be_the_pods_to_use(node: Node, of: Any, why: str) -> None:
    web = of(node)
    with pytest.raises(ClaimFault) as told:
        await node.kubelet.prepare(web)
    assert str(told.value) == f"prepare dynamic resources: {why}"
    assert node.lamps.asked == []
    assert not node.kubelet.ready(web)


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ([("my-a", "")], ["a/red", "a/any", "b"]),
        ([("my-a", "red")], ["a/red", "a/any"]),
        ([("my-a", "blue/small")], ["a/any", "b"]),
        ([("my-a", "red"), ("my-a", "blue")], ["a/red", "a/any", "b"]),
        ([("my-other", "")], []),
    ],
)
async def test_a_container_gets_the_devices_of_the_requests_that_it_names(
    node: Node, wanted: list[tuple[str, str]], ids: list[str]
) -> None:
    asking = container(resources=ResourceRequirements(claims=[Wanted(name=c, request=r) for c, r in wanted]))
    web = using("web", "a", "other", containers=[asking])
    devices = [
        Device(("red",), "p", "1", ("x.example/y=a/red",)), Device((), "p", "2", ("x.example/y=a/any",)),
        Device(("blue",), "p", "3", ("x.example/y=b",)),
    ]  # fmt: skip
    held = [
        Claim("default", "a", "uid-a", {LAMPS: devices}, {"uid-web"}),
        Claim("default", "other", "o", {}, {"uid-web"}),
    ]
    Records(node.root / "state").write(held)
    node.restart()
    spec = Spec(name="c", image="i", labels={})
    if not ids:
        assert await node.kubelet.given(web, asking, spec) is spec
        return
    with pytest.raises(EngineError) as told:
        await node.kubelet.given(web, asking, spec)
    names = ", ".join(f"x.example/y={i}" for i in ids)
    assert str(told.value) == f"CDI device injection failed: unresolvable CDI devices {names}"


async def test_how_long_it_takes_is_counted(node: Node) -> None:
    web = using("web", "a")
    node.claim("a", web)
    await node.kubelet.prepare(web)
    node.lamps.fault = "no"
    with pytest.raises(ClaimFault):
        await node.kubelet.unprepare("uid-web")
    counted = {
        (s.labels["operation_name"], s.labels["is_error"])
        for c in node.metrics.collectors for family in c.collect() for s in family.samples
        if s.name == "dra_operations_duration_seconds_count"
    }  # fmt: skip
    assert counted == {("PrepareResources", "false"), ("UnprepareResources", "true")}
