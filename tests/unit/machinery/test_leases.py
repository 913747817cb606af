import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest

from api import errors
from api.types import Lease, ObjectMeta, Secret
from machinery.leases import Election, Lost, Timing
from machinery.testing import FakeClock, settle
from tests.unit.machinery.resources import connected

QUICK = Timing(duration=1.0, renew_deadline=0.1, retry=0.02)


class Leader:
    """Leads until told to stop."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.stop = asyncio.Event()

    async def lead(self) -> None:
        self.began.set()
        await self.stop.wait()


class Stopped(FakeClock):
    """Time that passes for a process that does not run."""

    stood = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.stood


async def test_one_leads_and_the_next_follows_as_soon_as_it_stops():
    async with connected() as (_, client), asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        first, second = Leader(), Leader()
        # A duration that would outlast the test: only giving the lease back lets the second one in.
        patient = Timing(duration=1000, renew_deadline=500, retry=0.5)
        one, two = (Election(client, "x", identity=name, timing=patient) for name in ("one", "two"))
        tasks.create_task(one.run(first.lead))
        await first.began.wait()
        tasks.create_task(two.run(second.lead))
        assert (one.leading.is_set(), two.leading.is_set()) == (True, False)
        first.stop.set()
        await second.began.wait()
        second.stop.set()


async def test_a_lease_that_nobody_renews_is_taken():
    async with connected() as (service, client), asyncio.timeout(10):
        gone = {"holderIdentity": "gone", "leaseDurationSeconds": 0, "leaseTransitions": 3}
        lease = {"metadata": {"name": "x", "namespace": "kube-system"}, "spec": gone}
        await service.put("leases", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **lease})
        leader = Leader()
        leader.stop.set()
        await Election(client, "x", identity="me", timing=QUICK).run(leader.lead)
        written = [h[3]["spec"] for h in service.history if h[3]["spec"]["holderIdentity"] == "me"]
        assert written[0]["leaseTransitions"] == 4


NOW = "2126-11-30T12:00:00.000000Z"


@pytest.mark.parametrize(
    "since_then",
    [
        {"holderIdentity": "other", "acquireTime": NOW, "leaseDurationSeconds": 1000},
        # Another has led and given it back: what this one knows and has begun is older than what that has done.
        {"holderIdentity": "", "acquireTime": NOW, "leaseDurationSeconds": 1},
        {"holderIdentity": "me", "acquireTime": NOW, "leaseDurationSeconds": 1000},
    ],
    ids=["another's", "nobody's", "of one of the same name"],
)
async def test_who_finds_that_another_has_led_stops_leading(since_then: dict[str, Any]) -> None:
    async with connected() as (service, client), asyncio.timeout(10):
        leader = Leader()
        election = Election(client, "x", identity="me", timing=QUICK)

        async def usurp() -> None:
            await leader.began.wait()
            await service.put("leases", {**service.objects["leases", "kube-system", "x"], "spec": since_then})

        with pytest.raises(Lost):
            await asyncio.gather(election.run(leader.lead), usurp())
        assert not election.leading.is_set()
        assert service.objects["leases", "kube-system", "x"]["spec"] == since_then


async def test_who_cannot_renew_stops_leading(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    async with connected() as (_, client), asyncio.timeout(10):
        leader = Leader()
        patient = Timing(duration=15, renew_deadline=10, retry=2)
        leading = asyncio.create_task(Election(client, "x", timing=patient, clock=clock).run(leader.lead))
        await leader.began.wait()
        monkeypatch.setattr(client, "get", AsyncMock(side_effect=errors.Unavailable("away")))
        await clock.advance(10)
        assert not leading.done()
        await clock.advance(2)
        with pytest.raises(Lost, match="for 10 s"):
            await leading


async def test_a_process_under_the_name_of_the_one_before_begins_a_tenure_of_its_own():
    async with connected() as (service, client), asyncio.timeout(10):
        before = {"holderIdentity": "me", "acquireTime": "2026-11-30T12:00:00.000000Z", "leaseDurationSeconds": 1000}
        lease = {"metadata": {"name": "x", "namespace": "kube-system"}, "spec": before}
        await service.put("leases", {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **lease})
        leader = Leader()
        leader.stop.set()
        await Election(client, "x", identity="me", timing=QUICK).run(leader.lead)
        taken = service.history[1][3]["spec"]
        assert taken["holderIdentity"] == "me"
        assert taken["acquireTime"] == taken["renewTime"] > before["acquireTime"]


async def test_a_leader_whose_lease_was_deleted_goes_on():
    async with connected() as (service, client), asyncio.timeout(10):
        leader = Leader()
        patient = Timing(duration=15, renew_deadline=10, retry=0.02)
        leading = asyncio.create_task(Election(client, "x", identity="me", timing=patient).run(leader.lead))
        await leader.began.wait()
        before = await client.get(Lease, "x", "kube-system")
        await client.delete(Lease, "x", "kube-system")
        while (after := service.objects.get(("leases", "kube-system", "x"))) is None:
            await settle()
        assert after["spec"]["acquireTime"] == before.spec.acquireTime
        leader.stop.set()
        await leading


async def test_who_stood_still_for_too_long_says_nothing_more_until_the_lease_is_renewed():
    clock = Stopped()
    async with connected() as (_, client), asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        leader = Leader()
        patient = Timing(duration=15, renew_deadline=10, retry=2)
        election = Election(client, "x", identity="me", timing=patient, clock=clock)
        tasks.create_task(election.run(leader.lead))
        await leader.began.wait()
        await client.create(Secret(metadata=ObjectMeta(name="before", namespace="default")))
        clock.stood += 11
        with pytest.raises(errors.Unavailable, match="another process may lead"):
            await client.create(Secret(metadata=ObjectMeta(name="late", namespace="default")))
        assert [s.metadata.name for s in (await client.list(Secret, "default")).items] == ["before"]
        await clock.advance(2)
        while not election.holds():
            await settle()
        await client.create(Secret(metadata=ObjectMeta(name="after", namespace="default")))
        leader.stop.set()
