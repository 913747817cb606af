"""A resolver on loopback that answers as it is told, and remembers what it was asked."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from dns.message import Message

from cluster_dns.forwarding import Upstream

Answer = Callable[[Message], Message | None]
"""None: say nothing."""


def told(*rrsets: str, rcode: int = dns.rcode.NOERROR, authority: str = "") -> Answer:
    """Always the same answer; `rrsets` and `authority` as "name ttl type data"."""

    def answer(query: Message) -> Message:
        made = dns.message.make_response(query, recursion_available=True)
        made.set_rcode(dns.rcode.Rcode(rcode))
        made.answer = [rrset_of(each) for each in rrsets]
        made.authority = [rrset_of(authority)] if authority else []
        return made

    return answer


def rrset_of(text: str) -> dns.rrset.RRset:
    name, ttl, type_, data = text.split(" ", 3)
    return dns.rrset.from_text(name, int(ttl), "IN", type_, data)


def silent(_: Message) -> None:
    return None


@dataclass
class Resolver(asyncio.DatagramProtocol):
    answer: Answer
    asked: list[Message] = field(default_factory=list)
    by_stream: int = 0
    truncates: bool = False
    upstream: Upstream = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        self.asked.append(query)
        made = self.answer(query)
        if made is None:
            return
        if self.truncates:
            made.flags |= dns.flags.TC
            made.answer = []
        self.transport.sendto(made.to_wire(), addr)

    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        made = self.answer(dns.message.from_wire(await reader.readexactly(length)))
        assert made is not None
        self.by_stream += 1
        writer.write(made.to_wire(prepend_length=True))
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def resolver(answer: Answer) -> AsyncIterator[Resolver]:
    made = Resolver(answer)
    server = await asyncio.start_server(made.stream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: made, local_addr=("127.0.0.1", port)
    )
    made.upstream = Upstream("127.0.0.1", port)
    try:
        yield made
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
