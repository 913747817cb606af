"""A thousand watchers of one resource, and a hundred writes a second: how late is what they see, and what it costs.

The watchers are bare TLS connections that look for the time of each write in what comes, and parse nothing else: the
load generator has to leave the server most of the machine.
"""

import asyncio
import re
import time
from contextlib import AsyncExitStack

from bench.rest import Rest, namespace
from bench.results import Result, percentile, result

WATCHERS = 1000
RATE = 100
SECONDS = 10
OBJECTS = 100
SENT = re.compile(rb'"sent":"([0-9.]+)"')
AT_ONCE = 50


class Tally:
    """How late what came was, in seconds."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self._expected = 0
        self._complete = asyncio.Event()

    def add(self, lags: list[float]) -> None:
        self.lags += lags
        if len(self.lags) >= self._expected:
            self._complete.set()

    async def expect(self, count: int) -> None:
        """Return when so many have come."""
        self._expected = count
        self._complete.clear()
        self.add([])
        await self._complete.wait()


class Watcher(asyncio.Protocol):
    """Notes, for each event, how many seconds ago its write was sent."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._rest = b""
        self.began = asyncio.get_running_loop().create_future()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.began.done():
            self.began.set_result(data.split(b"\r\n", 1)[0])
        now = time.monotonic()
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        if newline:
            self._tally.add([now - float(sent) for sent in SENT.findall(whole)])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.began.done():
            self.began.set_exception(exc or ConnectionError("closed"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()  # type: ignore[attr-defined]


async def run(rest: Rest) -> list[Result]:
    async with namespace(rest) as ns, AsyncExitStack() as stack:
        path = f"/api/v1/namespaces/{ns}/configmaps"
        for i in range(OBJECTS):
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i}"}, "data": {"k": "x" * 200}}
            await rest.request("POST", path, body)
        listing = await rest.request("GET", f"{path}?limit=1")
        tally = Tally()
        target = f"{path}?watch=1&resourceVersion={listing['metadata']['resourceVersion']}"
        room = asyncio.Semaphore(AT_ONCE)

        async def join() -> None:
            async with room:
                watcher = Watcher(rest.head(target), tally)
                await rest.open(watcher)
                stack.callback(watcher.close)
                assert b" 200 " in await watcher.began

        async with asyncio.TaskGroup() as tasks:
            for _ in range(WATCHERS):
                tasks.create_task(join())
        await _write(rest, path, RATE)  # a second of practice
        async with asyncio.timeout(60):
            await tally.expect(WATCHERS * RATE)
            tally.lags.clear()
            await _write(rest, path, RATE * SECONDS)
            await tally.expect(WATCHERS * RATE * SECONDS)
        return [
            result("api.watchers.p50", percentile(tally.lags, 0.5)),
            result("api.watchers.p99", percentile(tally.lags, 0.99)),
        ]


async def _write(rest: Rest, path: str, count: int) -> None:
    """At the pace of RATE, whether or not the answers keep up."""
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for i in range(count):
            await asyncio.sleep(began + i / RATE - time.monotonic())
            change = {"data": {"sent": f"{time.monotonic():.6f}"}}
            tasks.create_task(rest.request("PATCH", f"{path}/c{i % OBJECTS}", change, type_="merge-patch"))
