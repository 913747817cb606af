"""Clients that press the API whatever happens to it, and write down what they were told; and etcd's own account."""

import asyncio
import contextlib
import json
import random
import time
from contextlib import AsyncExitStack
from itertools import count

from api import errors
from apiserver.storage.etcd import Endpoints, Etcd
from proto import etcd_pb2 as pb
from tests.chaos import doors
from tests.chaos.doors import REFUSALS, SPACE, UNANSWERED, Door
from tests.chaos.histories import Change, Outcome, Read, Record, Segment, Write
from wherry import masters
from wherry.labs import Lab
from wherry.masters import BALANCER

NAMES = [f"c{number}" for number in range(8)]
WRITERS = ("", "apiserver", "apiserver1")
READERS = ("apiserver2",)
WATCHERS = ("", "apiserver2")
"""Of each door: to which API server each of them goes, whatever happens to it, or through the balancer ("")."""
PAUSE = 0.05
"""Seconds between two requests of one client."""
END = "end"
"""The last object that is made: whoever has seen it has seen everything."""
PREFIX = f"/registry/configmaps/{SPACE}/".encode()


class Load:
    """All clients; `run` ends when `stop` was called and every request has its answer."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab, self._seed = lab, seed
        self.record = Record()
        self._ended = asyncio.Event()

    def stop(self) -> None:
        self._ended.set()

    async def run(self) -> None:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            for kind, opened in (("rest", doors.rest), ("grpc", doors.grpc)):
                for act, servers in (("write", WRITERS), ("read", READERS), ("watch", WATCHERS)):
                    for server in servers:
                        door: Door = await stack.enter_async_context(opened(self._lab, server))
                        client = f"{kind} {act} {server or BALANCER}"
                        tasks.create_task(self._go(act, client, door))

    async def _go(self, act: str, client: str, door: Door) -> None:
        match act:
            case "write":
                await self._write(client, door)
            case "read":
                await self._read(client, door)
            case _:
                async with asyncio.TaskGroup() as tasks:
                    watching = tasks.create_task(self._watch(client, door))
                    await self._ended.wait()
                    watching.cancel()

    async def _write(self, client: str, door: Door) -> None:
        chance, numbers = random.Random(f"{self._seed} {client}"), count()
        known: dict[str, int] = {}
        while not self._ended.is_set():
            name = chance.choice(NAMES)
            expected = known.get(name, 0)
            token = "" if expected and chance.random() < 0.1 else f"{client}-{next(numbers)}"
            write = await self._attempt(client, door, name, token, expected)
            self.record.writes.append(write)
            if write.outcome == "acknowledged":
                known[name] = write.revision
            else:
                known = await self._list(client, door) or known
            await asyncio.sleep(PAUSE)

    async def _attempt(self, client: str, door: Door, name: str, token: str, expected: int) -> Write:
        begun, revision = time.monotonic(), 0
        outcome: Outcome = "acknowledged"
        try:
            if token:
                revision = await door.put(name, token, expected)
            else:
                await door.delete(name, expected)
        except REFUSALS:
            outcome = "refused"
        except UNANSWERED:
            outcome = "unknown"
        return Write(client, name, token, expected, begun, time.monotonic(), outcome, revision)

    async def _list(self, client: str, door: Door) -> dict[str, int] | None:
        begun = time.monotonic()
        try:
            revision, objects = await door.list()
        except UNANSWERED:
            return None
        self.record.reads.append(Read(client, begun, time.monotonic(), revision, objects))
        return dict(objects)

    async def _read(self, client: str, door: Door) -> None:
        while not self._ended.is_set():
            await self._list(client, door)
            await asyncio.sleep(PAUSE)

    async def _watch(self, client: str, door: Door) -> None:
        """As an informer does it: lists, watches, and goes on from the last revision when the connection is lost."""
        since = 0
        while True:
            try:
                since = since or (await door.list())[0]
                segment = Segment(client, since, since)
                self.record.segments.append(segment)
                async for type_, name, revision in door.watch(since):
                    since = segment.until = revision
                    if type_ != "BOOKMARK":
                        segment.told.append((type_, name, revision))
            except errors.Expired:
                since = 0
            except UNANSWERED:
                await asyncio.sleep(PAUSE)


class Account:
    """Everything that happens to the ConfigMaps, as etcd tells it to somebody who listens from the beginning."""

    def __init__(self, lab: Lab) -> None:
        own = lab.pki / "apiserver"
        members = tuple(f"https://{lab.network}.{10 + n}:2379" for n in range(masters.SEVERAL["etcd"]))
        self._endpoints = Endpoints(members, own / "etcd-ca.crt", own / "etcd-client.crt", own / "etcd-client.key")
        self.changes: list[Change] = []
        self.revision = 0
        """Everything up to here is told."""

    async def follow(self) -> None:
        """Returns when `END` was made."""
        latest: dict[str, int] = {}
        start = 1
        async with Etcd(self._endpoints) as etcd:
            while True:
                with contextlib.suppress(errors.Unavailable, errors.Timeout):
                    async for response in etcd.watch(PREFIX, PREFIX[:-1] + b"0", start):
                        for event in response.events:
                            change = _change(event, latest)
                            if change.name == END:
                                return
                            if change.name in NAMES:
                                self.changes.append(change)
                            # No transaction changes two of them, so a fragment may end anywhere.
                            start = event.kv.mod_revision + 1
                            self.revision = event.kv.mod_revision
                await asyncio.sleep(PAUSE)


def _change(event: pb.Event, latest: dict[str, int]) -> Change:
    """Notes the object's `latest` revision."""
    name = event.kv.key.removeprefix(PREFIX).decode()
    before = latest.pop(name, 0)
    if event.type == pb.Event.DELETE:
        return Change(event.kv.mod_revision, name, "", before)
    latest[name] = event.kv.mod_revision
    token = json.loads(event.kv.value).get("data", {}).get("token", "?")
    return Change(event.kv.mod_revision, name, token, before)
