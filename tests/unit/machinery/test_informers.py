import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api import errors
from api.types import ObjectMeta, Pod
from machinery.client import Batch, Client, Listing, WatchEvent
from machinery.informers import Informer
from machinery.testing import FakeClock, settle
from tests.unit.machinery.resources import Resources, connected


def pod(name: str, node: str = "", uid: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": uid},
        "spec": {"nodeName": node},
    }


class Log:
    """The changes that an informer told of, and a way to wait for the next ones."""

    def __init__(self, informer: Informer[Pod]) -> None:
        self.changes: list[tuple[str | None, str | None]] = []
        self._told = asyncio.Event()
        informer.on_change(self._change)

    def _change(self, old: Pod | None, new: Pod | None) -> None:
        self.changes.append((old and old.metadata.name, new and new.metadata.name))
        self._told.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.changes) < count:
                self._told.clear()
                await self._told.wait()


@asynccontextmanager
async def informed(service: Resources, client: Client) -> AsyncIterator[tuple[Informer[Pod], Log]]:
    informer = Informer(client, Pod)
    informer.add_index("node", lambda p: [p.spec.nodeName] if p.spec.nodeName else [])
    log = Log(informer)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(informer.run())
        await informer.synced()
        yield informer, log
        running.cancel()


async def test_what_exists_and_what_comes_is_known():
    async with connected() as (service, client):
        await service.put("pods", pod("a"))
        async with informed(service, client) as (informer, log):
            assert informer.get("default", "a") is not None
            await service.put("pods", pod("b"))
            await service.put("pods", pod("b", node="n1"))
            await service.remove("pods", "a", "default")
            await log.reach(4)
            assert log.changes == [(None, "a"), (None, "b"), ("b", "b"), ("a", None)]
            assert [p.metadata.name for p in informer.list()] == ["b"]
            assert [p.metadata.name for p in informer.by_index("node", "n1")] == ["b"]
            assert informer.by_index("node", "n2") == []


async def test_a_broken_watch_is_resumed_without_a_new_list():
    async with connected() as (service, client), informed(service, client) as (_, log):
        await service.put("pods", pod("a"))
        await log.reach(1)
        await service.interrupt()
        await service.put("pods", pod("b"))
        await log.reach(2)
        assert log.changes == [(None, "a"), (None, "b")]
        assert service.lists == 1


async def test_what_came_and_went_has_been_shown():
    async with connected() as (service, client), informed(service, client) as (informer, log):
        written = Pod()
        written.metadata.resourceVersion = str(service.revision + 1)
        assert not informer.has_shown(written)
        await service.put("pods", pod("brief"))
        await service.remove("pods", "brief", "default")
        await log.reach(2)
        assert informer.has_shown(written)


async def test_a_refreshed_view_has_everything_and_is_told_nothing_twice():
    async with connected() as (service, client), informed(service, client) as (informer, log):
        await service.put("pods", pod("a"))
        await service.put("pods", pod("brief"))
        await service.remove("pods", "brief", "default")
        await informer.refresh()
        assert informer.get("default", "a") is not None
        assert informer.get("default", "brief") is None
        told = len(log.changes)
        await service.put("pods", pod("b"))
        await log.reach(told + 1)
        assert log.changes[told:] == [(None, "b")]
        assert log.changes.count((None, "a")) == 1


async def test_after_a_forgotten_revision_the_differences_are_told():
    async with connected() as (service, client):
        for name in ("stays", "goes"):
            await service.put("pods", pod(name))
        async with informed(service, client) as (informer, log):
            # While the watch is broken an object goes and another comes, and the history is compacted away.
            del service.objects["pods", "default", "goes"]
            service.revision += 1
            await service.put("pods", pod("comes"))
            service.history.clear()
            service.oldest = service.revision
            await service.interrupt()
            await log.reach(4)
            assert set(log.changes[2:]) == {("goes", None), (None, "comes")}
            assert {p.metadata.name for p in informer.list()} == {"stays", "comes"}


async def test_what_has_taken_the_name_of_another_is_told_as_a_going_and_a_coming():
    async with connected() as (service, client):
        await service.put("pods", pod("a", node="n1"))
        async with informed(service, client) as (informer, log):
            # Both while the watch is broken, and the history is compacted away.
            del service.objects["pods", "default", "a"]
            service.revision += 1
            await service.put("pods", pod("a", uid="another"))
            service.history.clear()
            service.oldest = service.revision
            await service.interrupt()
            await log.reach(3)
            assert log.changes == [(None, "a"), ("a", None), (None, "a")]
            assert informer.by_index("node", "n1") == []
            assert [p.metadata.uid for p in informer.list()] == ["another"]


async def test_a_failing_handler_does_not_stop_the_view(caplog):
    async with connected() as (service, client):
        informer = Informer(client, Pod)
        informer.on_change(lambda old, new: 1 / 0)
        log = Log(informer)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(informer.run())
            await service.put("pods", pod("a"))
            await log.reach(1)
            running.cancel()
        assert "a handler failed" in caplog.text


class Away:
    """A client whose server has listed one pod and then ends every watch with an error, or says something first."""

    def __init__(self, error: errors.ApiError) -> None:
        self.error = error
        self.lists = self.watches = 0
        self.says: list[Batch[Pod]] = []

    async def list(self, what: type[Pod], **scope: Any) -> Listing[Pod]:
        self.lists += 1
        return Listing("1", [])

    async def watch(self, what: type[Pod], **scope: Any) -> AsyncIterator[Batch[Pod]]:
        self.watches += 1
        while self.says:
            yield self.says.pop()
        raise self.error


@asynccontextmanager
async def looking(client: Away) -> AsyncIterator[FakeClock]:
    clock = FakeClock()
    running = asyncio.create_task(Informer(client, Pod, clock=clock).run())  # type: ignore[arg-type]
    await settle()
    yield clock
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def passed(clock: FakeClock, seconds: int) -> None:
    for _ in range(seconds * 20):
        await clock.advance(0.05)
        await settle()


async def test_a_server_that_is_away_is_tried_once_a_second_and_found_soon() -> None:
    client = Away(errors.Unavailable("away"))
    async with looking(client) as clock:
        await passed(clock, 10)
        assert 10 <= client.watches <= 16
        assert client.lists == 1
        before = client.watches
        await passed(clock, 2)
        assert client.watches >= before + 1
        client.says = [[WatchEvent("BOOKMARK", Pod(metadata=ObjectMeta(resourceVersion="2")))]]
        await passed(clock, 1)
        before = client.watches
        client.says = [[WatchEvent("BOOKMARK", Pod(metadata=ObjectMeta(resourceVersion="3")))]]
        await passed(clock, 1)
        assert client.watches > before + 2  # it has been there: it is found the sooner


async def test_what_may_be_listed_and_not_watched_is_not_listed_all_the_time() -> None:
    client = Away(errors.Forbidden("no watch"))
    async with looking(client) as clock:
        await passed(clock, 30)
        assert client.lists == client.watches <= 14
