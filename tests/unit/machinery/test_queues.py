import asyncio

import pytest

from machinery.queues import WorkQueue


@pytest.fixture
def queue():
    queue: WorkQueue[str] = WorkQueue()
    yield queue
    queue.close()


async def test_a_key_waits_once_however_often_it_is_added(queue):
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_in_work_is_handed_out_again_only_when_done(queue):
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_key_that_nobody_wanted_again_is_done(queue):
    queue.add("a")
    queue.done(await queue.get())
    assert (len(queue), queue.working) == (0, 0)


async def test_of_two_delays_the_shorter_counts(queue):
    queue.add_after("a", 1000)
    queue.add_after("a", 0.001)
    async with asyncio.timeout(5):
        assert await queue.get() == "a"


async def test_failures_come_back_later_and_later_until_forgotten(queue, monkeypatch):
    delays: list[float] = []
    monkeypatch.setattr(queue, "add_after", lambda key, seconds: delays.append(seconds))
    for _ in range(30):
        queue.retry("a")
    queue.forget("a")
    queue.retry("a")
    assert delays[:3] == [0.005, 0.01, 0.02]
    assert delays[-2:] == [1000.0, 0.005]
