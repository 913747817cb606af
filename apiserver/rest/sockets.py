"""WebSockets that clients ask for: which protocol they speak, and output that is one stream."""

from base64 import b64encode

from aiohttp import WSMsgType, web

from api.errors import BadRequest

LARGEST_MESSAGE = 16 << 20
"""Bytes of a WebSocket's message, which is held until its last fragment has come. Upstream's limit is twice that."""
TEXT = "base64.binary.k8s.io"
PLAIN = (TEXT, "binary.k8s.io", "")
"""The protocols of a single stream from the server; the first is for clients that can only read text."""


def upgrade(http: web.BaseRequest) -> str:
    return http.headers.get("Upgrade", "").lower()


def offered(http: web.BaseRequest) -> set[str]:
    """The subprotocols that a WebSocket client speaks; "" alone if it names none."""
    return {p.strip() for p in http.headers.get("Sec-WebSocket-Protocol", "").split(",")}


async def opened(http: web.BaseRequest, *protocols: str) -> web.WebSocketResponse:
    """A prepared WebSocket that speaks one of the subprotocols; "" is none.  Raises BadRequest."""
    names = offered(http)
    if names.isdisjoint(protocols):
        raise BadRequest(f"unable to upgrade: subprotocols {sorted(names)} requested, {sorted(protocols)} spoken")
    socket = web.WebSocketResponse(protocols=protocols, compress=False, max_msg_size=LARGEST_MESSAGE)
    await socket.prepare(http)
    return socket


async def write(socket: web.WebSocketResponse, data: bytes) -> None:
    """A piece of a single stream, in one of the PLAIN protocols."""
    if socket.ws_protocol == TEXT:
        await socket.send_str(b64encode(data).decode())
    else:
        await socket.send_bytes(data)


async def until_closed(socket: web.WebSocketResponse) -> None:
    """Read over whatever a client says that has nothing to say."""
    while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
        pass
