"""What tests of a cluster need, also other people's: a clock to turn, and a real etcd with a real API server.

async with control_plane(tmp_path) as plane, connect(plane.access("kubernetes-admin")) as client:
    ...
"""

import asyncio
import heapq
import itertools
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from machinery import kubeconfigs
from machinery.certificates import Authority, Subject, signing_pair
from machinery.client import connect
from machinery.kubeconfigs import Access


class FakeClock:
    """Stands still until `advance`."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._start = self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._count), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let so much time pass; whoever slept is woken in order, and what they then do is given its turn."""
        end = self._now + seconds
        await settle()  # whoever has just been started sleeps by now
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            await settle()
        self._now = end
        await settle()

    def jump(self, seconds: float) -> None:
        """The wall clock is set; no time passes."""
        self._now += seconds
        self._start += seconds
        # All by as much, so what is due first stays first.
        self._sleepers = [(due + seconds, order, future) for due, order, future in self._sleepers]


async def settle(turns: int = 50) -> None:
    """Let every task that can go on do so."""
    for _ in range(turns):
        await asyncio.sleep(0)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


FRONT_PROXY = "front-proxy-client"
LOOPBACK = ("localhost", "127.0.0.1")
SUBJECTS = {
    "etcd": Subject("etcd", (), LOOPBACK),
    "apiserver": Subject("system:apiserver", ("system:masters",), LOOPBACK),
    "controller-manager": Subject("system:kube-controller-manager", (), LOOPBACK),
    "scheduler": Subject("system:kube-scheduler", (), LOOPBACK),
    "cluster-dns": Subject("system:kube-dns", (), LOOPBACK),
    "admin": Subject("kubernetes-admin", ("system:masters",)),
    "node1-kubelet": Subject("system:node:node1", ("system:nodes",), LOOPBACK),
    "node2-kubelet": Subject("system:node:node2", ("system:nodes",), LOOPBACK),
    "node1-kube-proxy": Subject("system:kube-proxy", ("system:node-proxier",), LOOPBACK),
}


def write_certificates(directory: Path) -> None:
    """A directory for each of SUBJECTS, with `ca.crt`, `tls.crt` and `tls.key` of one new authority.

    The controller manager's also has the authority's key, to sign with.
    """
    accounts = signing_pair()
    authority, front = Authority.create("test"), Authority.create("front-proxy-ca")
    _write_certificates(directory, front, {"front-proxy": Subject(FRONT_PROXY)})
    _write_certificates(directory, authority, SUBJECTS)
    (directory / "apiserver" / "sa.key").write_bytes(accounts.private)
    (directory / "controller-manager" / "ca.key").write_bytes(authority.pair.key)


def _write_certificates(directory: Path, authority: Authority, subjects: Mapping[str, Subject]) -> None:
    for name, subject in subjects.items():
        pair = authority.issue(subject)
        place = directory / name
        place.mkdir(parents=True, mode=0o700)
        (place / "ca.crt").write_bytes(authority.pair.certificate)
        (place / "tls.crt").write_bytes(pair.certificate)
        (place / "tls.key").write_bytes(pair.key)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running etcd and API server."""

    pki: Path
    rest: str
    """https://127.0.0.1:port"""
    grpc: str
    etcd: str
    pid: int = 0
    """Of the API server, for tests that kill it."""

    def access(self, component: str = "admin") -> Access:
        """How `component` (a directory of the certificates) reaches the gRPC door."""
        directory = self.pki / component
        return Access(
            self.grpc, (directory / "ca.crt").read_bytes(), (directory / "tls.crt").read_bytes(),
            (directory / "tls.key").read_bytes(),
        )  # fmt: skip

    def kubeconfig(self, path: Path, component: str = "admin") -> Path:
        """Write a kubeconfig for `kubectl`."""
        access = self.access(component)
        path.touch(0o600)
        path.write_text(
            kubeconfigs.dump(Access(self.rest, access.ca, access.certificate, access.key), "test", component)
        )
        return path


@asynccontextmanager
async def process(
    *command: str, log: Path, env: dict[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with the block: by SIGTERM, and by SIGKILL if that takes more than ten seconds."""
    with log.open("ab") as out:
        child = await asyncio.create_subprocess_exec(
            *command, stdout=out, stderr=out, stdin=asyncio.subprocess.DEVNULL, env={**os.environ, **(env or {})}
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), 10)
            except TimeoutError:
                child.kill()
                await child.wait()


@asynccontextmanager
async def etcd(directory: Path, pki: Path, port: int = 0) -> AsyncIterator[str]:
    """A single-member etcd with TLS on loopback, on that port or a free one; its client URL."""
    binary = shutil.which("etcd")
    if binary is None:
        raise RuntimeError("etcd is needed (Debian's package etcd-server); scripts/test installs it")
    client, peer = (f"https://127.0.0.1:{number}" for number in (port or free_port(), free_port()))
    tls = [
        f"--{prefix}{name}={pki / 'etcd' / file}"
        for prefix in ("", "peer-")
        for name, file in (("cert-file", "tls.crt"), ("key-file", "tls.key"), ("trusted-ca-file", "ca.crt"))
    ]
    async with process(
        binary, "--data-dir", str(directory / "etcd"), "--name", "test", "--listen-client-urls", client,
        "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"test={peer}", "--client-cert-auth", "--peer-client-cert-auth", "--unsafe-no-fsync",
        "--log-level", "warn", *tls, log=directory / "etcd.log",
    ):  # fmt: skip
        yield client


@asynccontextmanager
async def apiserver(
    directory: Path, pki: Path, etcd_url: str, *flags: str, ports: tuple[int, int] | None = None,
    env: dict[str, str] | None = None,
) -> AsyncIterator[ControlPlane]:  # fmt: skip
    """An API server as a process of its own, once it answers; at these ports (REST, gRPC) or at free ones."""
    rest, grpc = ports or (free_port(), free_port())
    own = pki / "apiserver"
    log = directory / "apiserver.log"
    async with process(
        sys.executable, "-m", "apiserver", "--etcd-servers", etcd_url, "--etcd-cafile", str(own / "ca.crt"),
        "--etcd-certfile", str(own / "tls.crt"), "--etcd-keyfile", str(own / "tls.key"), "--bind-address", "127.0.0.1",
        "--advertise-address", "192.0.2.1", "--secure-port", str(rest), "--grpc-port", str(grpc),
        "--tls-cert-file", str(own / "tls.crt"), "--tls-private-key-file", str(own / "tls.key"),
        "--client-ca-file", str(own / "ca.crt"), "--kubelet-certificate-authority", str(own / "ca.crt"),
        "--kubelet-client-certificate", str(own / "tls.crt"), "--kubelet-client-key", str(own / "tls.key"),
        "--service-account-signing-key-file", str(own / "sa.key"),
        "--requestheader-client-ca-file", str(pki / "front-proxy" / "ca.crt"),
        "--requestheader-allowed-names", FRONT_PROXY,
        "--proxy-client-cert-file", str(pki / "front-proxy" / "tls.crt"),
        "--proxy-client-key-file", str(pki / "front-proxy" / "tls.key"),
        *flags, log=log, env=env,
    ) as child:  # fmt: skip
        plane = ControlPlane(pki, f"https://127.0.0.1:{rest}", f"https://127.0.0.1:{grpc}", etcd_url, child.pid)
        await _answers(plane, child, log)
        yield plane


async def _answers(plane: ControlPlane, child: asyncio.subprocess.Process, log: Path) -> None:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from machinery.channels import channel

    async with channel(plane.access()) as grpc_channel, asyncio.timeout(30):
        health = health_pb2_grpc.HealthStub(grpc_channel)
        while True:
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=1)
            except grpc.aio.AioRpcError:
                if child.returncode is not None:
                    raise RuntimeError(f"the API server ended; {log} says why") from None
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return


@asynccontextmanager
async def control_plane(directory: Path, *flags: str) -> AsyncIterator[ControlPlane]:
    """etcd and an API server with certificates of their own, on free ports of the loopback address."""
    pki = directory / "pki"
    write_certificates(pki)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(etcd(directory, pki))
        yield await stack.enter_async_context(apiserver(directory, pki, url, *flags))


__all__ = [
    "ControlPlane",
    "FakeClock",
    "apiserver",
    "connect",
    "control_plane",
    "etcd",
    "free_port",
    "process",
    "settle",
]
