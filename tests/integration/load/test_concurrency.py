"""Fifty clients write one object at once, through both doors: no acknowledged write is lost, and none counts twice."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from api import meta
from api.errors import Conflict
from api.types import ConfigMap
from machinery.client import Client, connect
from machinery.testing import ControlPlane, apiserver, control_plane, free_port

from .conftest import session

PATH = "/api/v1/namespaces/default/configmaps"
COUNTER = f"{PATH}/counter"
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
Increment = Callable[[], Awaitable[bool]]
"""Adds one to what it has read. False if somebody else was faster."""


def replacing(rest: aiohttp.ClientSession) -> Increment:
    async def increment() -> bool:
        async with rest.get(COUNTER) as answer:
            obj = await answer.json()
        obj["data"]["count"] = str(int(obj["data"]["count"]) + 1)
        async with rest.put(COUNTER, json=obj) as answer:
            assert answer.status in (200, 409), await answer.text()
            return answer.status == 200

    return increment


def comparing(rest: aiohttp.ClientSession) -> Increment:
    async def increment() -> bool:
        async with rest.get(COUNTER) as answer:
            count = (await answer.json())["data"]["count"]
        patch = [
            {"op": "test", "path": "/data/count", "value": count},
            {"op": "replace", "path": "/data/count", "value": str(int(count) + 1)},
        ]
        async with rest.patch(COUNTER, json=patch, headers=JSON_PATCH) as answer:
            assert answer.status in (200, 422), await answer.text()
            return answer.status == 200

    return increment


def updating(client: Client) -> Increment:
    async def increment() -> bool:
        obj = meta.clone(await client.get(ConfigMap, "counter", "default"))
        obj.data["count"] = str(int(obj.data["count"]) + 1)
        try:
            await client.update(obj)
        except Conflict:
            return False
        return True

    return increment


async def press(increments: list[Increment], seconds: float) -> int:
    """All at once, again and again; how many were acknowledged."""
    end, done = time.monotonic() + seconds, 0

    async def work(increment: Increment) -> None:
        nonlocal done
        while time.monotonic() < end:
            acknowledged = await increment()
            done += acknowledged

    async with asyncio.TaskGroup() as tasks:
        for increment in increments:
            tasks.create_task(work(increment))
    return done


async def begin(rest: aiohttp.ClientSession) -> None:
    counter = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "counter"}, "data": {"count": "0"}}
    async with rest.post(PATH, json=counter) as answer:
        assert answer.status == 201, await answer.text()


async def count(rest: aiohttp.ClientSession) -> int:
    async with rest.get(COUNTER) as answer:
        return int((await answer.json())["data"]["count"])


async def test_every_acknowledged_write_of_fifty_clients_counts_once(
    plane: ControlPlane, rest: aiohttp.ClientSession
) -> None:
    await begin(rest)
    async with connect(plane.access()) as client:
        done = await press([replacing(rest)] * 20 + [comparing(rest)] * 15 + [updating(client)] * 15, 10)
    assert done > 100
    assert await count(rest) == done


@pytest.mark.long
async def test_so_it_does_through_three_servers_for_a_minute(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(control_plane(tmp_path))
        others = [await stack.enter_async_context(apiserver(tmp_path, first.pki, first.etcd)) for _ in range(2)]
        increments: list[Increment] = []
        for plane in (first, *others):
            rest = await stack.enter_async_context(session(plane))
            client = await stack.enter_async_context(connect(plane.access()))
            increments += [replacing(rest)] * 7 + [comparing(rest)] * 5 + [updating(client)] * 5
        await begin(rest)
        done = await press(increments[:50], 60)
        assert done > 500
        assert await count(rest) == done


async def test_two_servers_share_one_port_and_one_truth(tmp_path: Path) -> None:
    shared = ("--permit-port-sharing", "--secure-port", str(free_port()))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(control_plane(tmp_path, *shared))
        second = await stack.enter_async_context(apiserver(tmp_path, first.pki, first.etcd, *shared))
        plane = ControlPlane(first.pki, f"https://127.0.0.1:{shared[-1]}", first.grpc, first.etcd)
        many = [await stack.enter_async_context(session(plane)) for _ in range(24)]
        await begin(many[0])
        done = await press([replacing(rest) for rest in many], 2)
        assert {await count(rest) for rest in many} == {done}
        used = [_processor_seconds(server.pid) for server in (first, second)]
        assert min(used) > 0.3, f"the kernel gave one server no connections: {used}"


def _processor_seconds(pid: int) -> float:
    """What a process has used of processors so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
