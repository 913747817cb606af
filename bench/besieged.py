"""Malicious clients, one kind after the other: what the API server or a kubelet holds, and what somebody else notices
of them.

An API server and etcd on loopback, and a simulated node where it is about one, new for each attack; "before" and
"during" are of the same server.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from api.types import ConfigMap, Lease, LeaseSpec, Node, ObjectMeta
from bench.attacks import ATTACKS, NODE_ATTACKS, STREAM_ATTACKS
from bench.results import Result, percentile, result
from bench.servers import Server, proportional
from bench.simulations import simulated_node
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane
from proto import node_pb2 as pb

OBJECTS, SIZE = 1000, 20_000
BEFORE, PAUSE, LOOK = 2.0, 0.02, 0.05
"""Seconds: of quiet, between two requests of the bystander, and between two looks at the memory."""

Request = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Target:
    """What is attacked; its ports are those of `rest` and `grpc`, and the attacker's certificate lies in `pki`."""

    name: str
    pids: tuple[int, ...]
    """Of the process attacked, and of one whose memory is told beside it."""
    rest: str
    grpc: str
    pki: Path
    method: str = "/wherry.v1.Resources/Create"


class _Witness:
    """Asks again and again, and looks at the servers' memory."""

    def __init__(self, request: Request, pids: tuple[int, ...]) -> None:
        self._request = request
        self._pids = pids
        self.seconds: list[float] = []
        self.most = [0] * len(pids)

    async def ask(self) -> None:
        while True:
            began = time.monotonic()
            await self._request()
            self.seconds.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        while True:
            held = await asyncio.gather(*(asyncio.to_thread(proportional, pid) for pid in self._pids))
            self.most = [*map(max, self.most, held)]
            await asyncio.sleep(LOOK)


async def run() -> list[Result]:
    found: list[Result] = []
    for name in ATTACKS:
        async with _plane() as (plane, _):
            target = _Target(name, (plane.pid,), plane.rest, plane.grpc, plane.pki / "admin")
            # The attacker's process first: gRPC does not like to be forked at work.
            async with _attacking(target) as attack, connect(plane.access()) as client:
                await _fill(client)
                found += await _measure(target, attack, lambda: client.get(ConfigMap, "c0", "default"))
    for name in NODE_ATTACKS:
        async with _plane() as (plane, directory), simulated_node(plane, directory) as node:
            target = _Target(
                name, (node.pid,), node.rest, node.grpc, plane.pki / _attacker(name), "/wherry.v1.Node/Logs"
            )
            async with _attacking(target) as attack, node.ready(plane) as stub:
                found += await _measure(target, attack, lambda: stub.Ping(pb.PingRequest()), "kubelet.")
    for name in STREAM_ATTACKS:
        async with _plane() as (plane, directory), simulated_node(plane, directory) as node:
            target = _Target(name, (plane.pid, node.pid), plane.rest, plane.grpc, plane.pki / "admin")
            async with _attacking(target) as attack, node.ready(plane), _heart(plane) as beat:
                found += await _measure(target, attack, beat)
    return found


@asynccontextmanager
async def _plane() -> AsyncIterator[tuple[ControlPlane, Path]]:
    with tempfile.TemporaryDirectory() as temporary:
        async with control_plane(Path(temporary)) as plane:
            yield plane, Path(temporary)


def _attacker(name: str) -> str:
    """Whose certificate: pages are for those who may see them, the gRPC port is the API server's alone."""
    return "node1-kube-proxy" if name in ("messages", "resets") else "admin"


async def _fill(client: Client) -> None:
    meta = (ObjectMeta(name=f"c{n}", namespace="default") for n in range(OBJECTS))
    await asyncio.gather(*(client.create(ConfigMap(metadata=m, data={"x": "x" * SIZE})) for m in meta))


@asynccontextmanager
async def _heart(plane: ControlPlane) -> AsyncIterator[Request]:
    """Another node's heartbeat."""
    async with connect(plane.access("node1-kubelet")) as node:
        await node.create(Node(metadata=ObjectMeta(name="node1")))
        meta = ObjectMeta(name="node1", namespace="kube-node-lease")
        await node.create(Lease(metadata=meta, spec=LeaseSpec(holderIdentity="node1")))
        yield lambda: node.patch(Lease, "node1", "kube-node-lease", {"spec": {"leaseTransitions": 1}})


async def _measure(target: _Target, attack: "_Attack", request: Request, of: str = "") -> list[Result]:
    quiet, held, _ = await _watched(target, request, asyncio.sleep(BEFORE))
    besieged, most, share = await _watched(target, request, attack.done())
    told = f"{held} → {most} MB, {100 * share:.0f} % of a core, longest {max(besieged):.3f} s"
    print(f"{of}{target.name}: {told}", file=sys.stderr)
    return [
        result(f"overload.{of}{target.name}.memory", most[0], held[0]),
        result(f"overload.{of}{target.name}.processor", 100 * share),
        result(f"overload.{of}{target.name}.p99", percentile(besieged, 0.99), percentile(quiet, 0.99)),
    ]


async def _watched(
    target: _Target, request: Request, during: Awaitable[object]
) -> tuple[list[float], list[int], float]:
    """Seconds of the bystander's requests, the most MB that each process held, and the first one's share of a core,
    while that lasts."""
    witness, server = _Witness(request, target.pids), Server(target.pids[:1])
    began, used = time.monotonic(), server.processor_seconds()
    asking, looking = asyncio.create_task(witness.ask()), asyncio.create_task(witness.look())
    await during
    share = (server.processor_seconds() - used) / (time.monotonic() - began)
    for task in (asking, looking):
        task.cancel()
    for outcome in await asyncio.gather(asking, looking, return_exceptions=True):
        if not isinstance(outcome, asyncio.CancelledError) and isinstance(outcome, BaseException):
            raise outcome
    return witness.seconds, [most // 10**6 for most in witness.most], share


class _Attack:
    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def done(self) -> None:
        """It begins; until all its clients are at it."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(b"\n")
        if await self._child.stdout.readline() != b"done\n":
            raise RuntimeError("the attack has failed")


@asynccontextmanager
async def _attacking(target: _Target) -> AsyncIterator[_Attack]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.attacks", target.name, target.rest, target.grpc, str(target.pki), target.method,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield _Attack(child)
    finally:
        if child.returncode is None:
            await child.communicate(b"")
