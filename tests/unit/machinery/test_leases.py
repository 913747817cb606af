import asyncio

import pytest

from api import errors
from api.types import ObjectMeta, Secret
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


async def test_who_cannot_renew_stops_leading():
    async with connected() as (service, client), asyncio.timeout(10):
        leader = Leader()
        election = Election(client, "x", identity="me", timing=QUICK)

        async def usurp() -> None:
            await leader.began.wait()
            held = service.objects["leases", "kube-system", "x"]
            spec = {**held["spec"], "holderIdentity": "other", "leaseDurationSeconds": 1000}
            await service.put("leases", {**held, "spec": spec})

        with pytest.raises(Lost):
            await asyncio.gather(election.run(leader.lead), usurp())
        assert not election.leading.is_set()


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
