"""A thousand clients that watch one object, each over a connection of its own: `python -m tests.chaos.herds PKI PORT N`.

A process of its own, so that what it costs is not taken from the storm's other clients. It says OPEN when every watch
is open, changes the object meanwhile, and ends when its standard input does. A client whose revision has expired lists,
as an informer does; between two lists every watch must have told the same, and all that was acknowledged. The last line
says what was seen, the exit code whether that holds.
"""

import asyncio
import contextlib
import json
import random
import resource
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from api import errors
from tests.chaos.doors import PATH, UNANSWERED

OPEN = "open"
NAME = "herd"
SELECTED = {"fieldSelector": f"metadata.name={NAME}"}
PATIENCE = 60
"""Seconds in which all must be back and have heard everything."""
ROOM = 50
"""How many connect for the first time at once; afterwards they all do when they are cut off."""
PAUSE = 0.25
AGAIN = (0.1, 0.5)
"""Seconds between the loss of a connection and the next one, each client its own."""
MERGE = {"Content-Type": "application/merge-patch+json"}


@dataclass
class Watch:
    """One client's. Each segment is what was told since a list: its first revision is the list's own."""

    segments: list[list[int]]
    doing: str = "connecting"
    """For the report on those that are late."""
    open: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Herd:
    rest: aiohttp.ClientSession
    watches: list[Watch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    openings: list[float] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    last: int = sys.maxsize
    """The revision after which nothing comes."""

    async def run(self, count: int) -> str:
        """What is wrong; "" if nothing."""
        first = await self._change()
        self.watches = [Watch([[first]]) for _ in range(count)]
        room = asyncio.Semaphore(ROOM)
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(self._watch(watch, room)) for watch in self.watches]
            for watch in self.watches:
                await watch.open.wait()
            self.openings.clear()
            self.losses.clear()
            print(OPEN, flush=True)
            writing = tasks.create_task(self._write())
            await asyncio.to_thread(sys.stdin.read)
            writing.cancel()
            self.last = await self._change()
            # Most watches have told of it before it was acknowledged, and wait for one more to see that they may go.
            await self._change()
            _, late = await asyncio.wait(watching, timeout=PATIENCE)
            doing = Counter(watch.doing for watch, task in zip(self.watches, watching, strict=True) if task in late)
            for task in late:
                task.cancel()
        return self._wrong(doing)

    def _wrong(self, late: Counter[str]) -> str:
        if late:
            doing = ", ".join(f"{count} {what}" for what, count in late.items())
            return f"{late.total()} watches have not told the last event: {doing}"
        segments = [segment for watch in self.watches for segment in watch.segments]
        history = sorted({revision for _, *told in segments for revision in told} | {*self.acknowledged, self.last})
        for since, *told in segments:
            until = told[-1] if told else since
            if told != [revision for revision in history if since < revision <= until]:
                return f"a watch from {since} has told {told} of {history}"
        return ""

    def seen(self) -> str:
        back = max(self.openings, default=0) - min(self.losses, default=0)
        lists = sum(len(watch.segments) - 1 for watch in self.watches)
        return f"{len(self.watches)} watches, cut off {len(self.losses)} times, {lists} lists, all back in {back:.1f} s"

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            self.acknowledged.append(await self._change())

    async def _change(self) -> int:
        """Tries until it is done; what an attempt without an answer has done is a change like others."""
        while True:
            try:
                body = {"metadata": {"name": NAME, "labels": {"chaos": NAME}}, "data": {"at": str(time.monotonic())}}
                async with self.rest.patch(f"{PATH}/{NAME}", json=body, headers=MERGE) as answer:
                    if answer.status == 404:
                        async with self.rest.post(PATH, json=body) as made:
                            made.raise_for_status()
                        continue
                    answer.raise_for_status()
                    return int((await answer.json())["metadata"]["resourceVersion"])
            except UNANSWERED:
                await asyncio.sleep(PAUSE)

    async def _watch(self, watch: Watch, room: asyncio.Semaphore) -> None:
        async with room:
            opening = asyncio.create_task(self._go_on(watch))
            await watch.open.wait()
        await opening

    async def _go_on(self, watch: Watch) -> None:
        while watch.segments[-1][-1] < self.last:
            try:
                await self._listen(watch)
            except errors.Expired:
                await self._list(watch)
            except UNANSWERED:
                self.losses.append(time.monotonic())
                await asyncio.sleep(random.uniform(*AGAIN))

    async def _list(self, watch: Watch) -> None:
        watch.doing = "listing"
        with contextlib.suppress(*UNANSWERED):
            async with self.rest.get(PATH, params=SELECTED) as answer:
                answer.raise_for_status()
                watch.segments.append([int((await answer.json())["metadata"]["resourceVersion"])])

    async def _listen(self, watch: Watch) -> None:
        """Raises Expired, or one of UNANSWERED when it ends before the last revision."""
        segment = watch.segments[-1]
        watch.doing = "connecting"
        asked = {"watch": "1", "resourceVersion": str(segment[-1]), **SELECTED}
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        async with self.rest.get(PATH, params=asked, timeout=patience) as answer:
            if answer.status >= 300:
                raise errors.from_status(await answer.json())
            self.openings.append(time.monotonic())
            watch.open.set()
            watch.doing = "listening"
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise errors.from_status(event["object"])
                segment.append(int(event["object"]["metadata"]["resourceVersion"]))
                if segment[-1] >= self.last:
                    return
        raise ValueError("the watch ended")


async def main(pki: Path, port: str, count: int) -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    own = pki / "admin"
    tls = ssl.create_default_context(cafile=str(own / "ca.crt"))
    tls.load_cert_chain(own / "tls.crt", own / "tls.key")
    async with aiohttp.ClientSession(
        base_url=f"https://127.0.0.1:{port}",
        connector=aiohttp.TCPConnector(ssl=tls, limit=0),
        timeout=aiohttp.ClientTimeout(15),
    ) as rest:
        herd = Herd(rest)
        wrong = await herd.run(count)
    print(f"{herd.seen()}; {wrong}" if wrong else herd.seen(), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
