"""Clients that connect and hardly say anything, or hear nothing: others do not notice."""

import asyncio
import json
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from apiserver.storage.watching import LAG_BYTES
from machinery.testing import ControlPlane

CLIENTS = 300
ROUNDS = 10
DEAF = 10
LARGE = "x" * 900_000
WRITES = 2 * LAG_BYTES // len(LARGE)
"""More than a watcher may lag behind, with what connections hold."""
MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_heads_that_trickle_in_keep_nobody_waiting(plane: ControlPlane, rest: aiohttp.ClientSession) -> None:
    server = urlsplit(plane.rest)
    tls = ssl.create_default_context(cafile=str(plane.pki / "admin" / "ca.crt"))
    room = asyncio.Semaphore(20)
    async with AsyncExitStack() as stack:
        writers: list[asyncio.StreamWriter] = []

        async def connect() -> None:
            async with room:
                _, writer = await asyncio.open_connection(server.hostname, server.port, ssl=tls)
            stack.callback(writer.close)
            writer.write(b"GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            writers.append(writer)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(connect())
        slowest = 0.0
        for _ in range(ROUNDS):
            for writer in writers:
                writer.write(b"x")
            began = time.monotonic()
            async with rest.get("/api/v1/namespaces") as answer:
                assert answer.status == 200
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 2


async def test_a_watch_that_nobody_reads_is_cut_off_and_neither_costs_much_nor_keeps_others_waiting(
    plane: ControlPlane, rest: aiohttp.ClientSession
) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    async with rest.post(path, json={"metadata": {"name": "c"}}) as made:
        since = (await made.json())["metadata"]["resourceVersion"]
    query = f"{path}?watch=1&resourceVersion={since}"
    async with AsyncExitStack() as stack:
        deaf = [await stack.enter_async_context(rest.get(query, read_bufsize=1024)) for _ in range(DEAF)]
        # A reader of its own: what aiohttp holds of an answer that nobody reads is bounded, and then it stops the socket.
        hearing = await stack.enter_async_context(rest.get(query, read_bufsize=1 << 21))
        before = _memory(plane)
        for number in range(WRITES):
            body = {"data": {"k": LARGE, "n": str(number)}}
            async with rest.patch(f"{path}/c", json=body, headers=MERGE) as answer:
                written = (await answer.json())["metadata"]["resourceVersion"]
            async with asyncio.timeout(10):
                assert json.loads(await hearing.content.readline())["object"]["metadata"]["resourceVersion"] == written
        grown = _memory(plane) - before
        # One backlog that all of them share, its copy on the way to each, and what the writes themselves take.
        assert grown < 4 * LAG_BYTES, f"{grown >> 20} MB"
        for one in deaf:
            *_, last = [line async for line in one.content.iter_any()]
            assert b'"code":410' in last


def _memory(plane: ControlPlane) -> int:
    """Bytes that the API server has had at most."""
    status = Path(f"/proc/{plane.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
