"""Malicious clients, one kind after the other: what the API server holds, and what somebody else notices of them.

An API server and etcd on loopback, new for each attack; "before" and "during" are of the same server.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

from api.types import ConfigMap, ObjectMeta
from bench.attacks import ATTACKS
from bench.results import Result, percentile, result
from bench.servers import Server, proportional
from machinery.client import Client, connect
from machinery.testing import ControlPlane, control_plane

OBJECTS, SIZE = 1000, 20_000
BEFORE, PAUSE, LOOK = 2.0, 0.02, 0.05
"""Seconds: of quiet, between two requests of the bystander, and between two looks at the memory."""


class _Witness:
    """Asks for one object again and again, and looks at the server's memory."""

    def __init__(self, client: Client, pid: int) -> None:
        self._client = client
        self._pid = pid
        self.seconds: list[float] = []
        self.most = 0

    async def ask(self) -> None:
        while True:
            began = time.monotonic()
            await self._client.get(ConfigMap, "c0", "default")
            self.seconds.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        while True:
            self.most = max(self.most, await asyncio.to_thread(proportional, self._pid))
            await asyncio.sleep(LOOK)


async def run() -> list[Result]:
    found: list[Result] = []
    for name in ATTACKS:
        with tempfile.TemporaryDirectory() as temporary:
            async with control_plane(Path(temporary)) as plane:
                found += await _measure(name, plane)
    return found


async def _measure(name: str, plane: ControlPlane) -> list[Result]:
    # The attacker's process first: gRPC does not like to be forked at work.
    async with _attacking(name, plane) as attack, connect(plane.access()) as client:
        meta = (ObjectMeta(name=f"c{n}", namespace="default") for n in range(OBJECTS))
        await asyncio.gather(*(client.create(ConfigMap(metadata=m, data={"x": "x" * SIZE})) for m in meta))
        quiet, held, _ = await _watched(client, plane, asyncio.sleep(BEFORE))
        besieged, most, share = await _watched(client, plane, attack.done())
    print(f"{name}: {held} → {most} MB, {100 * share:.0f} % of a core, longest {max(besieged):.3f} s", file=sys.stderr)
    return [
        result(f"overload.{name}.memory", most, held), result(f"overload.{name}.processor", 100 * share),
        result(f"overload.{name}.p99", percentile(besieged, 0.99), percentile(quiet, 0.99)),
    ]  # fmt: skip


async def _watched(client: Client, plane: ControlPlane, during: Awaitable[object]) -> tuple[list[float], int, float]:
    """Seconds of the bystander's requests, the most MB that were held, and the share of a core, while that lasts."""
    witness, server = _Witness(client, plane.pid), Server((plane.pid,))
    began, used = time.monotonic(), server.processor_seconds()
    asking, looking = asyncio.create_task(witness.ask()), asyncio.create_task(witness.look())
    await during
    share = (server.processor_seconds() - used) / (time.monotonic() - began)
    for task in (asking, looking):
        task.cancel()
    for outcome in await asyncio.gather(asking, looking, return_exceptions=True):
        if not isinstance(outcome, asyncio.CancelledError) and isinstance(outcome, BaseException):
            raise outcome
    return witness.seconds, witness.most // 10**6, share


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
async def _attacking(name: str, plane: ControlPlane) -> AsyncIterator[_Attack]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.attacks", name, plane.rest, plane.grpc, str(plane.pki / "admin"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield _Attack(child)
    finally:
        if child.returncode is None:
            await child.communicate(b"")
