"""Waits for a lab: its API, then its nodes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from datetime import datetime
from http.client import HTTPException, HTTPSConnection
from typing import Any

import docker

from api import errors, meta, times
from api.types import Node
from machinery.client import Client, connect
from wherry import diagnoses
from wherry.labs import Lab
from wherry.progress import Step

API_SECONDS = 90
NODE_SECONDS = 90
KNOCK = 0.05
"""Nothing tells that a port is open, so the API is knocked at, this often (seconds)."""


async def for_api(engine: docker.DockerClient, lab: Lab, step: Step) -> None:
    """Returns when /readyz answers 200. Raises Trouble."""

    async def knock() -> None:
        while True:
            if await asyncio.to_thread(api_is_ready, lab):
                return
            await asyncio.sleep(KNOCK)

    step.waits_for("the API server's /readyz")
    await _patiently(engine, lab, knock(), API_SECONDS, lambda: ("the API", "apiserver"))


def api_is_ready(lab: Lab) -> bool:
    context = ssl.create_default_context(cafile=lab.pki / "admin" / "ca.crt")
    context.load_cert_chain(lab.pki / "admin" / "tls.crt", lab.pki / "admin" / "tls.key")
    connection = HTTPSConnection("127.0.0.1", lab.api_port, timeout=5, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


async def for_nodes(engine: docker.DockerClient, lab: Lab, names: Collection[str], step: Step) -> None:
    """Returns when all of these nodes are Ready, as their present kubelets say it. Raises Trouble."""
    absent = set(names)
    since = {name: started(engine, lab, name) for name in names}

    async def watch() -> None:
        async with connect(lab.grpc_kubeconfig) as client:
            async for node in _nodes(client):
                name = node.metadata.name
                if name in since and is_ready(node, since[name]):
                    absent.discard(name)
                elif name in since:
                    absent.add(name)
                if not absent:
                    return
                step.waits_for(f"Ready: {', '.join(sorted(absent))}")

    step.waits_for(f"Ready: {', '.join(sorted(absent))}")
    first = lambda: (f"node {min(absent)} to be Ready", f"{min(absent)}-kubelet")  # noqa: E731
    await _patiently(engine, lab, watch(), NODE_SECONDS, first)


def is_ready(node: Node, since: float = 0) -> bool:
    """Whether its kubelet has said so `since` then (epoch seconds): etcd remembers what earlier ones have said."""
    ready = meta.condition(node, "Ready")
    if ready is None or ready.status != "True":
        return False
    # Heartbeats are written in whole seconds.
    return times.parse(ready.lastHeartbeatTime) >= int(since)


def started(engine: docker.DockerClient, lab: Lab, node: str) -> float:
    """When the node's kubelet was started (epoch seconds)."""
    kubelet = engine.containers.get(lab.container(f"{node}-kubelet"))
    return datetime.fromisoformat(kubelet.attrs["State"]["StartedAt"][:19] + "+00:00").timestamp()


async def _nodes(client: Client) -> AsyncIterator[Node]:
    """Every node, and every change of one from then on; begins again when the server goes away."""
    while True:
        with contextlib.suppress(errors.Unavailable, errors.Expired):
            listing = await client.list(Node)
            for node in listing.items:
                yield node
            async for batch in client.watch(Node, resource_version=listing.resource_version):
                for event in batch:
                    if event.type in ("ADDED", "MODIFIED"):
                        yield event.object
        await asyncio.sleep(KNOCK)


async def _patiently(
    engine: docker.DockerClient,
    lab: Lab,
    work: Coroutine[Any, Any, None],
    seconds: float,
    missing: Callable[[], tuple[str, str]],
) -> None:
    """Waits for `work`, but not for longer than `seconds`, nor when a component has given up."""
    task = asyncio.create_task(work)
    try:
        for _ in range(int(seconds)):
            done, _ = await asyncio.wait({task}, timeout=1)
            if done:
                return task.result()
            if trouble := await asyncio.to_thread(diagnoses.gives_up, engine, lab):
                raise trouble
        raise await asyncio.to_thread(diagnoses.late, engine, lab, *missing())
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
