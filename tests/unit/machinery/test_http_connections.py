"""What a connection holds of the requests that it has had."""

import asyncio
import tracemalloc

from aiohttp import web

from machinery.http_connections import OPTIONS, Server
from machinery.listening import Listener

SIZE, CONNECTIONS = 1 << 20, 40


async def test_a_connection_that_waits_for_its_next_request_holds_nothing_of_the_last_one() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(reversed(await request.read())))

    server = Server(answer, **OPTIONS)
    listener = Listener("127.0.0.1", 0, None, server)
    running = asyncio.create_task(listener.run())
    ask = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % SIZE + b"x" * SIZE
    writers = []
    tracemalloc.start()
    try:
        async with asyncio.timeout(60):
            for _ in range(CONNECTIONS):
                reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
                writers.append(writer)
                writer.write(ask)
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(SIZE)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for writer in writers:
            writer.transport.abort()
        running.cancel()
        await server.shutdown(0)
        await asyncio.gather(running, return_exceptions=True)
    assert held < CONNECTIONS * SIZE / 2, "a body and an answer of each would be four times as much"
