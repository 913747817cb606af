"""What runs in a container of `wherry expose`, without its route and its resolvers."""

import asyncio
import socket
import struct
from typing import Any

from machinery.testing import free_port
from wherry.forwarding import Forwarder

ABRUPTLY = struct.pack("ii", 1, 0)


class Here(Forwarder):
    """The Service is a port of this machine."""

    def __init__(self) -> None:
        super().__init__("web.default.svc.cluster.local.", None, None)  # type: ignore[arg-type]

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)


async def test_a_client_that_ends_abruptly_is_no_error_of_the_forwarder():
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port, target = free_port(), server.sockets[0].getsockname()[1]
    forwarding = asyncio.create_task(Here().listen(port, target))
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0)
        assert await reader.read(5) == b"hello"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPTLY)
        writer.transport.abort()
        await ended.wait()
    server.close()
    forwarding.cancel()
    await asyncio.gather(forwarding, return_exceptions=True)
    assert told == []
