"""Statuses on their way to the API server."""

import asyncio
from typing import Any

import pytest

from api import errors
from api.types import ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodResourceClaimStatus, PodStatus
from kubelet.pods.reports import Reports, difference, document
from machinery.testing import settle
from tests.unit.kubelet.builders import pod


class Server:
    """As much of a client as reports need."""

    def __init__(self) -> None:
        self.version = 0
        self.patches: list[dict[str, Any]] = []
        self.deleted: list[tuple[str, str, int | None]] = []
        self.failures: list[errors.ApiError] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def patch(self, what: type[Pod], name: str, namespace: str, patch: Any, **options: Any) -> Pod:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        self.patches.append(patch["status"])
        assert options == {"kind": "strategic", "subresource": "status"}
        self.version += 1
        return pod(metadata={"resourceVersion": str(self.version)})

    async def delete(self, what: type[Pod], name: str, namespace: str, *, uid: str, grace_seconds: int) -> None:
        self.deleted.append((name, uid, grace_seconds))


@pytest.fixture
async def reporting() -> Any:
    server = Server()
    reports = Reports(server)  # type: ignore[arg-type]
    running = asyncio.create_task(reports.run())
    yield server, reports
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def status(phase: str, **fields: Any) -> PodStatus:
    return PodStatus(phase=phase, **fields)


async def test_only_what_changed_is_written(reporting: Any) -> None:
    server, reports = reporting
    reports.put(pod(), status("Pending", hostIP="10.0.0.1"))
    await settle()
    reports.put(pod(), status("Running", hostIP="10.0.0.1"))
    await settle()
    reports.put(pod(), status("Running", hostIP="10.0.0.1"))
    await settle()
    assert [p.get("phase") for p in server.patches] == ["Pending", "Running"]
    assert "hostIP" not in server.patches[1]


async def test_what_others_write_of_a_pods_claims_is_theirs(reporting: Any) -> None:
    server, reports = reporting
    of = pod()
    of.status = status(
        "Pending", resourceClaimStatuses=[PodResourceClaimStatus(name="gpu", resourceClaimName="a-gpu-x")]
    )
    reports.put(of, status("Running"))
    await settle()
    assert server.patches == [{"phase": "Running"}]


async def test_while_one_is_written_only_the_newest_waits(reporting: Any) -> None:
    server, reports = reporting
    server.gate.clear()
    reports.put(pod(), status("Pending"))
    await settle()
    for name in ("a", "b", "c"):
        reports.put(pod(), status("Running", message=name))
    server.gate.set()
    await settle()
    assert [p.get("message", "") for p in server.patches] == ["", "c"]


async def test_the_last_report_of_a_deleted_pod_removes_its_object(reporting: Any) -> None:
    server, reports = reporting
    of = pod(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    reports.put(of, status("Failed"), last=True)
    await settle()
    assert server.deleted == [("web", "u1", 0)]
    assert [p["phase"] for p in server.patches] == ["Failed"]


async def test_a_pod_that_is_gone_is_not_written_again(reporting: Any) -> None:
    server, reports = reporting
    server.failures = [errors.not_found("pods", "web")]
    reports.put(pod(), status("Running"))
    await settle()
    assert server.patches == []
    assert reports._wanted == {}


def overwritten(version: int, **fields: Any) -> Pod:
    found = pod(metadata={"resourceVersion": str(version)})
    found.status = PodStatus(**fields)
    return found


async def test_what_somebody_else_writes_over_a_status_is_put_right_at_once(reporting: Any) -> None:
    server, reports = reporting
    mine = status("Running", conditions=[PodCondition(type="Ready", status="True")])
    reports.put(pod(), mine)
    await settle()
    theirs = [PodCondition(type="Ready", status="False"), PodCondition(type="example.com/x", status="True")]
    reports.observe(overwritten(2, phase="Pending", message="forged", conditions=theirs))
    await settle()
    assert server.patches[1:] == [
        {"message": None, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    ]
    assert [c.type for c in reports.status(overwritten(2, conditions=theirs)).conditions] == ["Ready", "example.com/x"]


async def test_what_an_earlier_kubelet_wrote_is_put_right_too(reporting: Any) -> None:
    server, reports = reporting
    ready, not_ready = (PodCondition(type="Ready", status=word) for word in ("True", "False"))
    reports.put(overwritten(7, phase="Running", conditions=[ready]), status("Running", conditions=[ready]))
    reports.observe(overwritten(8, phase="Running", conditions=[not_ready]))
    await settle()
    assert server.patches == [{"conditions": [{"type": "Ready", "status": "True"}]}]


async def test_what_is_older_than_the_last_word_is_not_taken_for_an_overwriting(reporting: Any) -> None:
    server, reports = reporting
    for phase in ("Pending", "Running"):
        reports.put(pod(), status(phase))
        await settle()
    reports.observe(overwritten(1, phase="Pending"))
    reports.observe(overwritten(2, phase="Running"))
    await settle()
    assert len(server.patches) == 2


async def test_a_phase_that_somebody_else_has_made_terminal_stands(reporting: Any) -> None:
    server, reports = reporting
    reports.put(pod(), status("Running"))
    await settle()
    reports.observe(overwritten(2, phase="Failed"))
    await settle()
    assert len(server.patches) == 1
    assert reports.status(overwritten(2, phase="Failed")).phase == "Failed"


def test_a_field_that_is_gone_is_said_to_be() -> None:
    assert difference({"a": 1, "message": "x"}, {"a": 1}) == {"message": None}


def test_a_condition_loses_what_it_lost() -> None:
    old = document(status("x", conditions=[PodCondition(type="Ready", status="False", reason="R", message="M")]))
    new = document(status("x", conditions=[PodCondition(type="Ready", status="True")]))
    (condition,) = difference(old, new)["conditions"]
    assert condition == {"type": "Ready", "status": "True", "reason": None, "message": None}


def test_conditions_that_others_keep_are_not_touched() -> None:
    found = document(status("x", conditions=[PodCondition(type="example.com/x", status="True")]))
    assert found["conditions"] == []


def test_a_condition_that_holds_no_more_goes() -> None:
    resizing = PodCondition(type="PodResizeInProgress", status="True")
    old = document(status("x", conditions=[PodCondition(type="Ready", status="True"), resizing]))
    new = document(status("x", conditions=[PodCondition(type="Ready", status="True")]))
    assert difference(old, new) == {"conditions": [{"type": "PodResizeInProgress", "$patch": "delete"}]}


def test_an_address_takes_the_place_of_the_old_one() -> None:
    old = document(status("x", podIPs=[PodIP(ip="10.0.0.1")], hostIPs=[HostIP(ip="1.1.1.1")]))
    new = document(status("x", podIPs=[PodIP(ip="10.0.0.2")], hostIPs=[HostIP(ip="1.1.1.1")]))
    assert difference(old, new) == {"podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.2"}]}
    assert difference(old, document(status("x", hostIPs=[HostIP(ip="1.1.1.1")]))) == {"podIPs": [{"$patch": "replace"}]}


def test_container_statuses_are_written_whole() -> None:
    new = document(status("x", containerStatuses=[ContainerStatus(name="a", restartCount=1)]))
    assert difference(document(status("x")), new)["containerStatuses"][0]["restartCount"] == 1
