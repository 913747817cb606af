import asyncio

from api import errors
from api.meta import Key
from machinery.controllers import Controller
from machinery.testing import settle

A, B = Key("default", "a"), Key("default", "b")


async def test_a_failure_is_tried_again_and_keeps_nobody_from_work(caplog):
    seen: list[Key] = []

    async def reconcile(key: Key) -> None:
        seen.append(key)
        if key == A and seen.count(A) == 1:
            raise ValueError("not yet")

    controller = Controller("test", reconcile, workers=1)
    controller.queue.add(A)
    controller.queue.add(B)
    for _ in range(3):
        await controller.step()
    assert seen == [A, B, A]
    assert (controller.reconciled, controller.failed, controller.last_error) == (3, 1, "default/a: not yet")
    controller.queue.close()


async def test_a_reconciler_may_ask_to_be_called_again():
    calls = 0
    twice = asyncio.Event()

    async def reconcile(key: Key) -> float | None:
        nonlocal calls
        calls += 1
        if calls == 2:
            twice.set()
        return 0.001 if calls < 2 else None

    controller = Controller("test", reconcile)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(controller.run())
        controller.queue.add(A)
        await twice.wait()
        running.cancel()


async def test_one_key_is_never_in_two_hands():
    inside = 0

    async def reconcile(key: Key) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        controller.queue.add(key)
        await asyncio.sleep(0)
        inside -= 1

    controller = Controller("test", reconcile, workers=4)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(controller.run())
        for _ in range(20):
            assert await controller.reconcile_now(A) == ""
        running.cancel()


async def test_a_reconcile_on_demand_answers_with_what_went_wrong():
    async def reconcile(key: Key) -> None:
        raise errors.not_found("pods", key.name)

    controller = Controller("test", reconcile)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(controller.run())
        assert await controller.reconcile_now(A) == 'pods "a" not found'
        running.cancel()


async def test_whoever_asks_meanwhile_is_told_of_the_next_time():
    going_on, calls = asyncio.Event(), []

    async def reconcile(key: Key) -> None:
        calls.append(key)
        await going_on.wait()
        if len(calls) == 2:
            raise errors.NotFound("the second time")

    controller = Controller("test", reconcile, workers=1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(controller.run())
        first = tasks.create_task(controller.reconcile_now(A))
        await settle()
        second = tasks.create_task(controller.reconcile_now(A))
        await settle()
        going_on.set()
        assert (await first, await second) == ("", "the second time")
        running.cancel()
