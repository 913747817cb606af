"""Cluster DNS by itself: how many questions a core answers, and how long they take at half the goal's load.

etcd, an API server and one `cluster_dns` on loopback. The asker sends what was made beforehand and reads no more of an
answer than its number, so that it leaves the machine to the server.
"""

import asyncio
import itertools
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message

from api.types import ObjectMeta, Service, ServicePort, ServiceSpec
from bench.results import Result, percentile, result
from bench.servers import Server
from machinery import kubeconfigs
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane, free_port, process

SERVICES = 1000
SECONDS = 5.0
IN_FLIGHT = 64
RATE = 2500
DOMAIN = "default.svc.cluster.local."


async def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        async with control_plane(directory) as plane, connect(plane.access()) as client:
            await _fill(client)
            async with _server(plane, directory) as (server, port):
                await asyncio.to_thread(_until_known, port)
                repeated = await asyncio.to_thread(_rush, server, port, itertools.cycle(_questions(range(SERVICES))))
                distinct = await asyncio.to_thread(_rush, server, port, _questions(range(200_000), "no-"))
                lags = await asyncio.to_thread(_pace, port, _questions(range(SERVICES)))
                return [
                    result("dns.queries", repeated), result("dns.queries.distinct", distinct),
                    result("dns.p50", percentile(lags, 0.5)), result("dns.p99", percentile(lags, 0.99)),
                ]  # fmt: skip


async def _fill(client: Client) -> None:
    async def make(number: int) -> None:
        spec = ServiceSpec(ports=[ServicePort(name="http", port=80)], selector={"app": f"s{number}"})
        await client.create(Service(metadata=ObjectMeta(name=f"s{number}", namespace="default"), spec=spec))

    await asyncio.gather(*map(make, range(SERVICES)))


@asynccontextmanager
async def _server(plane: ControlPlane, directory: Path) -> AsyncIterator[tuple[Server, int]]:
    own, port = plane.pki / "cluster-dns", free_port()
    kubeconfig, resolv = directory / "dns.kubeconfig", directory / "resolv.conf"
    kubeconfig.write_text(kubeconfigs.dump(plane.access("cluster-dns"), "bench", "cluster-dns"))
    resolv.write_text("")
    async with process(
        sys.executable, "-m", "cluster_dns", "--kubeconfig", str(kubeconfig), "--bind-address", "127.0.0.1", "--port",
        str(port), "--resolv-conf", str(resolv), "--publish=false", "--secure-bind-address", "127.0.0.1",
        "--secure-port", str(free_port()), "--tls-cert-file", str(own / "tls.crt"), "--tls-private-key-file",
        str(own / "tls.key"), "--client-ca-file", str(own / "ca.crt"), log=directory / "cluster-dns.log",
    ) as child:  # fmt: skip
        yield Server((child.pid,)), port


def _questions(numbers: range, before: str = "") -> Iterator[bytes]:
    """Without their ids: what resolvers ask for an address, of both families."""
    for number, type_ in itertools.product(numbers, ("A", "AAAA")):
        yield dns.message.make_query(f"{before}s{number}.{DOMAIN}", type_).to_wire()[2:]


def _asker(port: int) -> socket.socket:
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    asker.connect(("127.0.0.1", port))
    asker.settimeout(5)
    return asker


def _until_known(port: int) -> None:
    """Nothing listens before all names are known."""
    wire = b"\0\1" + next(_questions(range(SERVICES - 1, SERVICES)))
    end = time.monotonic() + 30
    with _asker(port) as asker:
        while True:
            try:
                asker.send(wire)
                asker.recv(512)
                return
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)


def _rush(server: Server, port: int, questions: Iterator[bytes]) -> float:
    """Answers for each second of the server's processor, always so many under way."""
    prepared = [*itertools.islice(questions, 100_000)]
    following = itertools.cycle(prepared)
    with _asker(port) as asker:
        for _ in range(IN_FLIGHT):
            asker.send(b"\0\0" + next(following))
        answers, began = 0, server.processor_seconds()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and answers < len(prepared) - IN_FLIGHT:
            asker.recv(512)
            answers += 1
            asker.send(b"\0\0" + next(following))
        return answers / (server.processor_seconds() - began)


def _pace(port: int, questions: Iterator[bytes]) -> list[float]:
    """Seconds from when each question was due, at an even rate, to its answer."""
    prepared, count = [*questions], int(RATE * SECONDS)
    lags: list[float] = []
    with _asker(port) as asker:
        asker.setblocking(False)
        began, sent = time.monotonic(), 0
        while len(lags) < count:
            now = time.monotonic()
            while sent < count and began + sent / RATE <= now:
                asker.send((sent & 0xFFFF).to_bytes(2, "big") + prepared[sent % len(prepared)])
                sent += 1
            try:
                number = int.from_bytes(asker.recv(512)[:2], "big")
            except BlockingIOError:
                if now > began + SECONDS + 5:
                    return [*lags, *[SECONDS] * (count - len(lags))]  # what is lost was never answered
                time.sleep(0.0001)
                continue
            lags.append(time.monotonic() - began - number / RATE)
    return lags
