"""What is known of the engine's containers, and how often it is asked for that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubelet.pods.caches import Cache
from kubelet.runtime.interfaces import CLUSTER, NODE, POD_UID, EngineError, Record, Spec
from kubelet.runtime.simulated import Simulated
from machinery.testing import FakeClock, settle

SPEC = Spec(name="a", image="app:1", labels={CLUSTER: "c", NODE: "n", POD_UID: "u1"}, entrypoint=("server",))


class Counting(Simulated):
    asked = 0
    refusals = 0

    async def inspect(self, container: str) -> Record:
        self.asked += 1
        return await super().inspect(container)

    async def containers(self) -> list[Record]:
        if self.refusals:
            self.refusals -= 1
            raise EngineError("one of them is being removed")
        return await super().containers()


@asynccontextmanager
async def following(engine: Counting) -> AsyncIterator[Cache]:
    cache = Cache(engine)
    running = asyncio.create_task(cache.run())
    await cache.synced()
    yield cache
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    engine.close()


async def test_who_has_looked_at_what_was_started_is_not_told_to_look_again() -> None:
    engine = Counting("c", "n", clock=FakeClock())
    async with following(engine) as cache:
        made = await engine.create(SPEC)
        await engine.start(made)
        await cache.refresh(made)
        before = engine.asked
        await settle()
        assert engine.asked == before
        await engine.signal(made, "SIGKILL")
        await settle()
        record = cache.get(made)
        assert record is not None
        assert record.exit_code == 137


async def test_what_others_start_is_looked_at() -> None:
    engine = Counting("c", "n", clock=FakeClock())
    async with following(engine) as cache:
        made = await engine.create(SPEC)
        await engine.start(made)
        await settle()
        record = cache.get(made)
        assert record is not None
        assert record.running


async def test_a_list_that_failed_is_asked_for_again() -> None:
    clock = FakeClock()
    engine = Counting("c", "n", clock=clock)
    made = await engine.create(SPEC)
    engine.refusals = 2
    cache = Cache(engine, clock)
    running = asyncio.create_task(cache.run())
    await clock.advance(1)
    assert cache.get(made) is None
    await clock.advance(1)
    await cache.synced()
    assert cache.get(made) is not None
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    engine.close()
