"""With images built: from the control plane's start to an API and to three Ready nodes, and from `docker compose up` to
a first Ready pod.

A lab of its own, beside any that runs: own name, network, ports and directories, all gone at the end.
"""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import docker

from api import times
from bench.rest import Rest, connected, namespace
from bench.results import Result, result
from bench.workloads import is_ready, pod
from wherry import bringing_up, cleaning, waiting
from wherry.composing import Compose
from wherry.labs import Lab
from wherry.progress import Progress

KNOCK = 0.02
NODES = 3


async def run() -> list[Result]:
    with TemporaryDirectory(prefix="wherry-bench-") as place:
        lab = Lab(
            name="wherry-bench", state=Path(place) / "state", data=Path(place) / "data", network="10.127.0",
            api_port=27443, grpc_port=27444, scheduler_port=27459, controllers_port=27457,
        )  # fmt: skip
        with Progress() as progress:
            bringing_up.prepare(progress)
        try:
            return await _measure(lab)
        finally:
            await asyncio.to_thread(cleaning.down, lab, keep_data=False)


async def _measure(lab: Lab) -> list[Result]:
    began = time.monotonic()
    up = asyncio.create_task(asyncio.to_thread(lambda: list(Compose(lab).up())))
    certificate = lab.pki / "admin" / "tls.crt"
    while not (certificate.exists() and await asyncio.to_thread(waiting.api_is_ready, lab)):
        if up.done():
            up.result()
        await asyncio.sleep(KNOCK)
    api = time.monotonic()
    started = await asyncio.to_thread(_control_plane_started, lab)
    bringing_up.write_kubeconfigs(lab)
    async with connected(lab.kubeconfig) as rest:
        nodes = await rest.until("/api/v1/nodes", lambda items: sum(map(is_ready, items.values())) >= NODES)
        running = await _first_pod(rest)
    await up
    return [
        result("start.api", api - started), result("start.nodes", nodes - started),
        result("start.pod", running - began),
    ]  # fmt: skip


def _control_plane_started(lab: Lab) -> float:
    """When the engine had started the first of etcd and the API server, on the monotonic clock."""
    client = docker.from_env()
    try:
        states = [client.containers.get(lab.container(name)).attrs["State"] for name in ("etcd", "apiserver")]
    finally:
        client.close()
    return min(times.parse(state["StartedAt"]) for state in states) - time.time() + time.monotonic()


async def _first_pod(rest: Rest) -> float:
    async with namespace(rest) as ns:
        path = f"/api/v1/namespaces/{ns}/pods"
        await rest.request("POST", path, pod("first"))
        return await rest.until(path, lambda items: "first" in items and is_ready(items["first"]))
