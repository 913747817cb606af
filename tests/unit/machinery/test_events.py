import asyncio
from contextlib import asynccontextmanager

import pytest

from api import errors
from api.names import dns_subdomain_faults
from api.types import ObjectMeta, Pod
from machinery.events import BURST, PAUSES, Recorder
from machinery.testing import FakeClock, settle
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


class Failing:
    """A client whose writes fail: those in `before` instead of being done, those in `after` although they are."""

    def __init__(self):
        self.events = {}
        self.before = []
        self.after = []

    async def create(self, event):
        self._fail(self.before)
        if event.metadata.name in self.events:
            raise errors.already_exists("events", event.metadata.name)
        self.events[event.metadata.name] = event
        self._fail(self.after)

    async def patch(self, what, name, namespace, change):
        self._fail(self.before)
        self.events[name].count = change["count"]
        self._fail(self.after)

    @staticmethod
    def _fail(faults):
        if faults:
            raise faults.pop(0)


@asynccontextmanager
async def failing():
    client, clock = Failing(), FakeClock()
    recorder = Recorder(client, "kubelet", "node1", clock=clock)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(recorder.run())
        yield client, recorder, clock
        running.cancel()


async def later(clock, pauses):
    await settle()
    for pause in pauses:
        await clock.advance(pause)
        await settle()


async def test_an_api_server_that_is_away_for_a_while_misses_nothing():
    async with failing() as (client, recorder, clock):
        client.before = [errors.Unavailable("away"), errors.Timeout("late"), errors.TooManyRequests("later")]
        recorder.event(POD, "Normal", "Started", "Started container c")
        recorder.event(POD, "Normal", "Killing", "Stopping container c")
        await later(clock, PAUSES[:3])
        assert [e.reason for e in client.events.values()] == ["Started", "Killing"]
        assert recorder.dropped == 0


async def test_an_event_that_was_written_without_an_answer_is_there_once():
    async with failing() as (client, recorder, clock):
        client.after = [errors.Unavailable("away")]
        recorder.event(POD, "Warning", "BackOff", "Back-off restarting")
        await later(clock, PAUSES[:1])
        client.after = [errors.Unavailable("away")]
        recorder.event(POD, "Warning", "BackOff", "Back-off restarting")
        await later(clock, PAUSES[:1])
        assert [e.count for e in client.events.values()] == [2]


async def test_an_api_server_that_stays_away_does_not_hold_up_what_comes_after_for_ever():
    async with failing() as (client, recorder, clock):
        client.before = [errors.Unavailable("away") for _ in range(len(PAUSES) + 1)]
        recorder.event(POD, "Normal", "Started", "Started container c")
        recorder.event(POD, "Normal", "Killing", "Stopping container c")
        await later(clock, PAUSES)
        assert [e.reason for e in client.events.values()] == ["Killing"]
        assert recorder.dropped == 1


async def test_what_is_refused_is_not_tried_again():
    async with failing() as (client, recorder, clock):
        client.before = [errors.Forbidden("the namespace is being terminated")]
        recorder.event(POD, "Normal", "Started", "Started container c")
        recorder.event(POD, "Normal", "Killing", "Stopping container c")
        await later(clock, [])
        assert [e.reason for e in client.events.values()] == ["Killing"]
        assert recorder.dropped == 1


@pytest.mark.parametrize("name", ["x" * 250, "system:controller", "N"])
async def test_an_object_whose_name_leaves_no_room_has_events_too(name):
    async with recording() as (service, recorder):
        recorder.event(Pod(metadata=ObjectMeta(name=name, namespace="default")), "Normal", "Started", "Started")
        [event] = await stored(service, 1)
        assert dns_subdomain_faults(event["metadata"]["name"]) == []
        assert event["involvedObject"]["name"] == name


async def test_two_who_tell_of_one_object_at_one_moment_are_both_heard():
    async with failing() as (client, recorder, clock), asyncio.TaskGroup() as tasks:
        other = Recorder(client, "scheduler", clock=clock)
        running = tasks.create_task(other.run())
        recorder.event(POD, "Normal", "Pulled", "Pulled it")
        other.event(POD, "Normal", "Scheduled", "Scheduled it")
        await later(clock, [])
        assert {e.reason for e in client.events.values()} == {"Pulled", "Scheduled"}
        running.cancel()
