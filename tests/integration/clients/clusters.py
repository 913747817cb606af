"""A whole cluster of processes without containers, for clients that know nothing of asyncio."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.types import Node
from machinery import kubeconfigs
from machinery.client import connect
from machinery.testing import ControlPlane, control_plane, free_port, process
from wherry import kubectl

NODE_ADDRESS = "127.0.0.1"


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
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(control_plane(directory))

        async def component(module: str, who: str, *flags: str) -> None:
            own, kubeconfig = plane.pki / who, directory / f"{who}.grpc.kubeconfig"
            kubeconfig.write_text(kubeconfigs.dump(plane.access(who), "test", who))
            await stack.enter_async_context(
                process(
                    sys.executable,
                    "-m",
                    module,
                    "--kubeconfig",
                    str(kubeconfig),
                    "--tls-cert-file",
                    str(own / "tls.crt"),
                    "--tls-private-key-file",
                    str(own / "tls.key"),
                    "--client-ca-file",
                    str(own / "ca.crt"),
                    *flags,
                    log=directory / f"{module}.log",
                )
            )

        alone = ("--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port")
        root_ca = ("--root-ca-file", str(plane.pki / "controller-manager" / "ca.crt"))
        await component("controller_manager", "controller-manager", *alone, str(free_port()), *root_ca)
        await component("scheduler", "scheduler", *alone, str(free_port()))
        await component(
            "kubelet", "node1-kubelet", "--runtime=simulated", "--hostname-override=node1", "--node-ip", NODE_ADDRESS,
            "--address", NODE_ADDRESS, "--port", str(free_port()), "--root-dir", str(directory / "kubelet"),
        )  # fmt: skip
        await _ready(plane)
        yield plane


async def _ready(plane: ControlPlane) -> None:
    async with connect(plane.access()) as client, asyncio.timeout(30):
        listing = await client.list(Node)
        nodes = list(listing.items)
        watch = client.watch(Node, resource_version=listing.resource_version)
        while not any(c.type == "Ready" and c.status == "True" for n in nodes for c in n.status.conditions):
            nodes = [event.object for event in await anext(watch)]
        await watch.aclose()
