"""pods/portforward as channels of one WebSocket: two for each port named in the query, one for data, one for errors.

The kubelet's older protocol, v4.channel.k8s.io or none at all, which the Python clients speak. Each channel begins
with its port in two bytes, the lower one first; there is no half-close.
"""

import asyncio
from collections.abc import Sequence

from aiohttp import WSMsgType, web

from api.errors import BadRequest
from apiserver.rest.streaming.channels import PIECE
from apiserver.rest.streaming.inboxes import Inbox
from apiserver.rest.streaming.port_forwards import PortForward


def ports(query: Sequence[tuple[str, str]]) -> list[int]:
    """The ports named in a query, where the protocol needs them there.  Raises BadRequest."""
    named = [each for name, value in query if name == "ports" for each in value.split(",")]
    if not named:
        raise BadRequest('query parameter "port" is required')
    for each in named:
        if not (each.isascii() and each.isdigit() and int(each) < 65536):
            raise BadRequest(f'unable to parse "{each}" as a port: must be a number up to 65535')
        if not int(each):
            raise BadRequest(f'port "{each}" must be > 0')
    return [int(each) for each in named]


class _Channel(Inbox):
    """A stream, as PortForward has them."""

    def __init__(self, socket: web.WebSocketResponse, number: int, port: int) -> None:
        super().__init__()
        self.headers = {"port": str(port)}
        self._socket = socket
        self._head = bytes((number,))

    async def write(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE):
            await self._socket.send_bytes(self._head + data[at : at + PIECE])

    async def end(self, last: bytes = b"") -> None:
        if last and not self._socket.closed:
            await self.write(last)


async def run(forward: PortForward, socket: web.WebSocketResponse, wanted: Sequence[int]) -> None:
    """Until the client goes, or the pod has ended every connection."""
    pairs = [(_Channel(socket, 2 * n, port), _Channel(socket, 2 * n + 1, port)) for n, port in enumerate(wanted)]
    try:
        for port, pair in zip(wanted, pairs, strict=True):
            for channel in pair:
                await channel.write(port.to_bytes(2, "little"))
        async with asyncio.TaskGroup() as tasks:
            receiving = tasks.create_task(_receive(socket, [data for data, _ in pairs]))
            connections = [tasks.create_task(forward.connect(data, error)) for data, error in pairs]
            receiving.add_done_callback(lambda _: [connection.cancel() for connection in connections])
            await asyncio.wait(connections)
            receiving.cancel()
    except* ConnectionError:
        pass
    finally:
        await socket.close()


async def _receive(socket: web.WebSocketResponse, channels: Sequence[_Channel]) -> None:
    while (message := await socket.receive()).type in (WSMsgType.BINARY, WSMsgType.TEXT):
        data: bytes = message.data if isinstance(message.data, bytes) else message.data.encode()
        if len(data) > 1 and not data[0] % 2 and data[0] // 2 < len(channels):
            await channels[data[0] // 2].take(data[1:])
