"""API servers are killed and come back, etcd forgets, readers are slow: every watch tells the history, without a hole.

The history is what etcd itself says to somebody who listens from the beginning.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from apiserver.storage.etcd import Endpoints, Etcd
from machinery.testing import ControlPlane, apiserver, control_plane
from proto import etcd_pb2 as pb

from .conftest import session

PATH = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
PREFIX = b"/registry/configmaps/default/"
Told = tuple[str, str, int]
"""(type, name, revision)"""


@dataclass
class Segment:
    """What one watch said, from the revision that its reader knew; `expired` if that was too old."""

    since: int
    told: list[Told] = field(default_factory=list)
    expired: bool = False


@dataclass
class Servers:
    """The way to those that are up."""

    sessions: list[aiohttp.ClientSession] = field(default_factory=list)

    def one(self, number: int) -> aiohttp.ClientSession:
        return self.sessions[number % len(self.sessions)]


class History:
    """Everything that has happened to the objects, as etcd tells it."""

    def __init__(self) -> None:
        self.changes: list[Told] = []

    async def follow(self, etcd: Etcd) -> None:
        async for response in etcd.watch(PREFIX, PREFIX[:-1] + b"0", 1):
            for event in response.events:
                name = event.kv.key.removeprefix(PREFIX).decode()
                gone = event.type == pb.Event.DELETE
                new = event.kv.create_revision == event.kv.mod_revision
                type_ = "DELETED" if gone else "ADDED" if new else "MODIFIED"
                self.changes.append((type_, name, event.kv.mod_revision))

    def between(self, first: int, last: int) -> list[Told]:
        return [c for c in self.changes if first < c[2] <= last]


async def watch(servers: Servers, number: int, segments: list[Segment], until: asyncio.Event) -> None:
    """As a client does it: list, watch, and go on from the last revision when the connection is lost."""
    since = 0
    while not until.is_set():
        try:
            rest = servers.one(number)
            if not since:
                async with rest.get(f"{PATH}?limit=1") as answer:
                    since = int((await answer.json())["metadata"]["resourceVersion"])
            segment = Segment(since)
            segments.append(segment)
            since = await _read(rest, segment, slow=number % 3 == 0)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            await asyncio.sleep(0.02)


async def _read(rest: aiohttp.ClientSession, segment: Segment, *, slow: bool) -> int:
    """The revision to go on from; 0: list again."""
    since = segment.since
    query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds=3&resourceVersion={since}"
    try:
        async with rest.get(f"{PATH}?{query}") as answer:
            answer.raise_for_status()
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    assert event["object"]["code"] == 410
                    segment.expired = True
                    return 0
                metadata = event["object"]["metadata"]
                since = int(metadata["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    segment.told.append((event["type"], metadata["name"], since))
                if slow:
                    await asyncio.sleep(0.01)
    except (aiohttp.ClientError, ValueError):
        pass  # killed in the middle of a line, perhaps: what was whole before counts
    return since


async def write(servers: Servers, number: int, until: asyncio.Event) -> None:
    name, count = f"c{number}", 0
    while not until.is_set():
        count += 1
        rest = servers.one(count)
        try:
            body = {"metadata": {"name": name}, "data": {"k": "x" * 500}}
            if count % 7 == 1:
                await (await rest.post(PATH, json=body)).read()
            elif count % 7 == 6:
                await (await rest.delete(f"{PATH}/{name}")).read()
            else:
                change = {"data": {"count": str(count)}}
                await (await rest.patch(f"{PATH}/{name}", json=change, headers=MERGE)).read()
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.005)


@asynccontextmanager
async def etcd_of(plane: ControlPlane) -> AsyncIterator[Etcd]:
    own = plane.pki / "apiserver"
    async with Etcd(Endpoints((plane.etcd,), own / "ca.crt", own / "tls.crt", own / "tls.key")) as etcd:
        yield etcd


async def _kill_and_replace(
    stack: AsyncExitStack, servers: Servers, plane: ControlPlane, tmp_path: Path
) -> ControlPlane:
    os.kill(plane.pid, signal.SIGKILL)
    servers.sessions.pop(0)
    await asyncio.sleep(0.3)
    new = await stack.enter_async_context(apiserver(tmp_path, plane.pki, plane.etcd))
    servers.sessions.insert(0, await stack.enter_async_context(session(new)))
    return new


async def _go_on(tmp_path: Path, kills: int, seconds: float) -> None:
    until, history, segments = asyncio.Event(), History(), [[] for _ in range(12)]
    servers = Servers()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(control_plane(tmp_path))
        other = await stack.enter_async_context(apiserver(tmp_path, first.pki, first.etcd))
        servers.sessions = [await stack.enter_async_context(session(p)) for p in (first, other)]
        etcd = await stack.enter_async_context(etcd_of(first))
        following = asyncio.create_task(history.follow(etcd))
        async with asyncio.TaskGroup() as tasks:
            for number, own in enumerate(segments):
                tasks.create_task(watch(servers, number, own, until))
            for number in range(4):
                tasks.create_task(write(servers, number, until))
            victim = first
            for _ in range(kills):
                await asyncio.sleep(seconds)
                victim = await _kill_and_replace(stack, servers, victim, tmp_path)
                await asyncio.sleep(seconds)
                await etcd.compact(await etcd.revision() - 20)
            await asyncio.sleep(seconds)
            until.set()
        await asyncio.sleep(0.5)  # for the history to be complete: it has no end to wait for
        following.cancel()
    assert len(history.changes) > 50 * kills
    told = [segment for own in segments for segment in own]
    for segment in told:
        if segment.told:
            assert segment.told == history.between(segment.since, segment.told[-1][2])
    assert sum(len(segment.told) for segment in told) > 6 * len(history.changes)
    assert any(len(own) > kills for own in segments)


async def test_watches_go_on_through_kills_and_compactions(tmp_path: Path) -> None:
    await _go_on(tmp_path, kills=1, seconds=1.5)


@pytest.mark.long
async def test_watches_go_on_through_many_kills_and_compactions(tmp_path: Path) -> None:
    await _go_on(tmp_path, kills=10, seconds=2)
