"""Clients that connect and hardly say anything: others do not notice."""

import asyncio
import ssl
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import aiohttp

from machinery.testing import ControlPlane

CLIENTS = 300
ROUNDS = 10


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
