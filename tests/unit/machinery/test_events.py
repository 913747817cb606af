import asyncio
from contextlib import asynccontextmanager

from api.types import ObjectMeta, Pod
from machinery.events import BURST, Recorder
from machinery.testing import FakeClock
from tests.unit.machinery.resources import connected

POD = Pod(metadata=ObjectMeta(name="p", namespace="default", uid="u"))


@asynccontextmanager
async def recording():
    async with connected() as (service, client), asyncio.TaskGroup() as tasks:
        recorder = Recorder(client, "kubelet", "node1", clock=FakeClock())
        running = tasks.create_task(recorder.run())
        yield service, recorder
        running.cancel()


async def stored(service, count):
    """The events, once there were so many writes."""
    async with service.changed, asyncio.timeout(10):
        await service.changed.wait_for(lambda: service.revision >= count)
    return [o for k, o in service.objects.items() if k[0] == "events"]


async def test_an_event_says_what_happened_to_whom_and_who_says_so():
    async with recording() as (service, recorder):
        recorder.event(POD, "Normal", "Started", "Started container c", field_path="spec.containers{c}")
        [event] = await stored(service, 1)
        assert event["involvedObject"]["fieldPath"] == "spec.containers{c}"
        assert event["involvedObject"]["uid"] == "u"
        assert (event["reason"], event["message"], event["type"]) == ("Started", "Started container c", "Normal")
        assert (event["source"], event["count"]) == ({"component": "kubelet", "host": "node1"}, 1)


async def test_the_same_again_is_counted_and_not_told_twice():
    async with recording() as (service, recorder):
        for _ in range(3):
            recorder.event(POD, "Warning", "BackOff", "Back-off restarting")
        [event] = await stored(service, 3)
        assert event["count"] == 3


async def test_a_flood_about_one_object_is_cut_off_and_others_are_heard():
    async with recording() as (service, recorder):
        for i in range(100):
            recorder.event(POD, "Normal", "Noise", str(i))
        recorder.event(Pod(metadata=ObjectMeta(name="q", namespace="default")), "Normal", "Quiet", "heard")
        events = await stored(service, BURST + 1)
        assert len(events) == BURST + 1
        assert recorder.dropped == 100 - BURST
        assert "heard" in {event["message"] for event in events}
