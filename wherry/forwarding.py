"""`python -m wherry.forwarding`: what runs in a container of `wherry expose`.

TCP connections are carried to a Service's address, which only nodes know how to reach: so this container has a route to
the Service range through one of them, and takes the next when that one does not answer. The Service's name is looked
up for each connection, so it may be deleted and made again. It needs nothing of the lab's command line, because the
component image does not have it.
"""

import argparse
import asyncio
import contextlib
import errno
import logging
from collections.abc import Sequence

import dns.asyncresolver
import dns.exception

from kubelet.network import links
from kubelet.network.links import Route
from kubelet.network.netlink import Netlink
from machinery.running import causes, main, together

SERVICES = "10.96.0.0/16"
CONNECT_SECONDS = 10.0
CHUNK = 1 << 16
MOST_CONNECTIONS = 1000

log = logging.getLogger("forwarding")


class Way:
    """The node through which Services are reached."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._nodes = list(nodes)

    def take(self) -> None:
        with Netlink() as nl:
            links.put_route(nl, Route(SERVICES, gateway=self._nodes[0]))

    def next(self, failed: str) -> None:
        """Another one than this, unless somebody has changed it already."""
        if self._nodes[0] == failed:
            self._nodes.append(self._nodes.pop(0))
            log.info("node %s does not answer; through %s now", failed, self._nodes[0])
            self.take()

    @property
    def node(self) -> str:
        return self._nodes[0]

    def __len__(self) -> int:
        return len(self._nodes)


class Forwarder:
    def __init__(self, name: str, resolver: dns.asyncresolver.Resolver, way: Way) -> None:
        self._name = name
        self._resolver = resolver
        self._way = way
        self._places = asyncio.Semaphore(MOST_CONNECTIONS)

    async def listen(self, port: int, target: int) -> None:
        """Until cancelled."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with self._places:
                with contextlib.closing(writer):
                    try:
                        await self._carry(reader, writer, target)
                    except* (OSError, dns.exception.DNSException) as e:
                        log.info("port %d: %s", port, "; ".join(str(cause) or repr(cause) for cause in causes(e)))

        server = await asyncio.start_server(accept, "0.0.0.0", port)  # noqa: S104  the engine publishes it
        async with server:
            await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        served, serving = await self._connect(target)
        with contextlib.closing(serving):
            await together(_copy(reader, serving), _copy(served, writer))

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError, DNSException."""
        found = await self._resolver.resolve(self._name, "A")
        address = found[0].to_text()
        for _ in range(len(self._way)):
            node = self._way.node
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port)
            except OSError as e:
                if e.errno != errno.EHOSTUNREACH:
                    raise
                self._way.next(node)
        raise OSError(errno.EHOSTUNREACH, "no node answers")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the one side has ended; the other may go on speaking."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def run(arguments: argparse.Namespace) -> None:
    way = Way(arguments.nodes)
    way.take()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = arguments.resolvers
    forwarder = Forwarder(arguments.name, resolver, way)
    pairs = [tuple(map(int, text.split(":"))) for text in arguments.ports]
    await together(*(forwarder.listen(port, target) for port, target in pairs))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="wherry.forwarding", description=__doc__)
    parser.add_argument("--name", required=True, help="the Service's, to its end")
    parser.add_argument("--resolvers", nargs="+", required=True, help="the cluster's")
    parser.add_argument("--nodes", nargs="+", required=True, help="addresses")
    parser.add_argument("ports", nargs="+", help="LISTENING:SERVICE")
    told = parser.parse_args()
    main("forwarding", lambda: run(told))
