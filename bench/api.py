"""The API server: ConfigMaps of 2 KB, sixteen clients; then the lag of a watch."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from bench.rest import Rest, namespace
from bench.results import Result, percentile, result

OBJECTS = 2000
CLIENTS = 16
WRITES = 200


async def run(rest: Rest) -> list[Result]:
    async with namespace(rest) as ns:
        path = f"/api/v1/namespaces/{ns}/configmaps"

        async def create(i: int) -> None:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{i}"}, "data": {"k": "x" * 2000}}
            await rest.request("POST", path, body)

        async def get(i: int) -> None:
            await rest.request("GET", f"{path}/c{i % OBJECTS}")

        async def patch(i: int) -> None:
            await rest.request("PATCH", f"{path}/c{i}", {"data": {"t": str(i)}}, type_="merge-patch")

        found = [
            result("api.create", await _rate(create, OBJECTS)),
            result("api.get", await _rate(get, 2 * OBJECTS)),
            result("api.patch", await _rate(patch, OBJECTS)),
            result("api.list.p50", percentile([await _list(rest, path) for _ in range(10)], 0.5)),
        ]
        lags = await _lags(rest, path)
        return [*found, result("api.watch.p50", percentile(lags, 0.5)), result("api.watch.p99", percentile(lags, 0.99))]


async def _rate(operation: Callable[[int], Awaitable[None]], count: int) -> float:
    """Operations a second."""
    numbers: Iterator[int] = iter(range(count))

    async def client() -> None:
        for i in numbers:
            await operation(i)

    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(client())
    return count / (time.monotonic() - began)


async def _list(rest: Rest, path: str) -> float:
    """Until the last byte; parsing is the client's affair."""
    began = time.monotonic()
    async with rest.session.get(path) as answer:
        await answer.read()
    return time.monotonic() - began


async def _lags(rest: Rest, path: str) -> list[float]:
    """Seconds from before a write to its sight by a watcher, one write after another."""
    lags: list[float] = []
    listing = await rest.request("GET", f"{path}?limit=1")
    watch = rest.watch(path, listing["metadata"]["resourceVersion"])
    for i in range(WRITES):
        sent = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(rest.request("PATCH", f"{path}/c{i}", {"data": {"t": f"w{i}"}}, type_="merge-patch"))
            async for event in watch:
                if event["object"].get("data", {}).get("t") == f"w{i}":
                    lags.append(time.monotonic() - sent)
                    break
    return lags
