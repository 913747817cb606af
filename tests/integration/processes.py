"""A cluster of processes without containers: the control plane, the controllers, the scheduler, one simulated node."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from api import meta
from api.meta import Key
from api.types import Node
from machinery import kubeconfigs
from machinery.client import Client, connect
from machinery.testing import ControlPlane, free_port, process

NODE = "node1"
ADDRESS = "127.0.0.1"
Process = AbstractAsyncContextManager[asyncio.subprocess.Process]
Environment = dict[str, str]


def component(
    plane: ControlPlane, directory: Path, module: str, who: str, *flags: str, env: Environment | None = None
) -> Process:
    """A component as a process, with the certificates of `who`; its log is MODULE.log in the directory.

    `tests.releases.sources` has environments in which it is one of an older release.
    """
    own, kubeconfig = plane.pki / who, directory / f"{who}.grpc.kubeconfig"
    kubeconfig.touch(0o600)
    kubeconfig.write_text(kubeconfigs.dump(plane.access(who), "test", who))
    return process(
        sys.executable, "-m", module, "--kubeconfig", str(kubeconfig), "--tls-cert-file", str(own / "tls.crt"),
        "--tls-private-key-file", str(own / "tls.key"), "--client-ca-file", str(own / "ca.crt"), *flags,
        log=directory / f"{module}.log", env=env,
    )  # fmt: skip


def controller_manager(plane: ControlPlane, directory: Path, *flags: str, env: Environment | None = None) -> Process:
    own = plane.pki / "controller-manager"
    return component(
        plane, directory, "controller_manager", "controller-manager", "--bind-address", ADDRESS, "--secure-port",
        str(free_port()), "--root-ca-file", str(own / "ca.crt"), "--cluster-signing-cert-file", str(own / "ca.crt"),
        "--cluster-signing-key-file", str(own / "ca.key"), *(flags or ("--leader-elect=false",)), env=env,
    )  # fmt: skip


def scheduler(plane: ControlPlane, directory: Path, *flags: str, env: Environment | None = None) -> Process:
    address = ("--bind-address", ADDRESS, "--secure-port", str(free_port()))
    elects = flags or ("--leader-elect=false",)
    return component(plane, directory, "scheduler", "scheduler", *address, *elects, env=env)


def kubelet(
    plane: ControlPlane, directory: Path, *flags: str, node: str = NODE, env: Environment | None = None
) -> Process:
    return component(
        plane, directory, "kubelet", f"{node}-kubelet", "--runtime=simulated", "--hostname-override", node,
        "--node-ip", ADDRESS, "--address", ADDRESS, "--port", str(free_port()), "--grpc-port",
        str(free_port()), "--root-dir", str(directory / "kubelet"), *flags, env=env,
    )  # fmt: skip


@asynccontextmanager
async def workers(plane: ControlPlane, directory: Path, *, max_pods: int = 110) -> AsyncIterator[None]:
    """The controller manager, the scheduler and a node, once that is Ready."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(controller_manager(plane, directory))
        await stack.enter_async_context(scheduler(plane, directory))
        await stack.enter_async_context(kubelet(plane, directory, "--max-pods", str(max_pods)))
        async with connect(plane.access()) as client:
            await until(client, Node, lambda nodes: any(meta.is_true(n, "Ready") for n in nodes))
        yield


async def until(
    client: Client, what: type[Any], holds: Callable[[list[Any]], bool], namespace: str = "", seconds: float = 30
) -> list[Any]:
    """All objects of a kind, as soon as they fulfil the condition.  Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        listing = await client.list(what, namespace)
        found = {Key(o.metadata.namespace, o.metadata.name): o for o in listing.items}
        if holds([*found.values()]):
            return [*found.values()]
        async for batch in client.watch(what, namespace, resource_version=listing.resource_version):
            for event in batch:
                if event.type == "BOOKMARK":
                    continue
                key = meta.key(event.object)
                if event.type == "DELETED":
                    found.pop(key, None)
                else:
                    found[key] = event.object
            if holds([*found.values()]):
                return [*found.values()]
    raise AssertionError("a watch does not end by itself")
