"""A whole cluster of processes without containers, for clients that know nothing of asyncio."""

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machinery.testing import ControlPlane, control_plane
from tests.integration.processes import workers
from wherry import kubectl


@dataclass(frozen=True)
class Cluster:
    plane: ControlPlane
    directory: Path
    kubeconfig: Path

    def environment(self, **more: str) -> dict[str, str]:
        """For programs that find their cluster as kubectl does; with a cache of discovery of their own."""
        own = {
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.directory / "cache"),
            "HOME": str(self.directory),
        }
        return {**os.environ, **own, **more}

    def run(self, *command: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment(**environment), input=stdin, capture_output=True, text=True, check=False,
            timeout=120, cwd=self.directory,
        )  # fmt: skip

    def kubectl(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """Its standard output; raises AssertionError with what it said if it fails."""
        ran = self.run(kubectl.binary(), *arguments, stdin=stdin, **environment)
        assert ran.returncode == 0, f"kubectl {' '.join(arguments)}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def refused(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """What kubectl says to its standard error, when it must fail."""
        ran = self.run(kubectl.binary(), *arguments, stdin=stdin, **environment)
        assert ran.returncode != 0, f"kubectl {' '.join(arguments)}\n{ran.stdout}{ran.stderr}"
        return ran.stderr


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """etcd, API server, controller manager, scheduler and one node with the simulated runtime, its node Ready."""
    outcome: list[Any] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def live() -> None:
        try:
            async with _processes(directory) as plane:
                outcome.append(plane)
                ready.set()
                await stop.wait()
        except BaseException as e:
            outcome.append(e)
            ready.set()
            raise

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    try:
        ready.wait(60)
        if not outcome or not isinstance(outcome[0], ControlPlane):
            raise RuntimeError(f"no cluster; the logs are in {directory}") from (outcome or [None])[0]
        plane = outcome[0]
        yield Cluster(plane, directory, plane.kubeconfig(directory / "kubeconfig"))
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@asynccontextmanager
async def _processes(directory: Path) -> AsyncIterator[ControlPlane]:
    async with control_plane(directory) as plane, workers(plane, directory):
        yield plane
