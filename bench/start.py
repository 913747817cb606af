"""From `docker compose up`, with images built, to an API, to three Ready nodes, to a first Running pod.

A lab of its own, beside any that runs: own name, network, ports and directories, all gone at the end.
"""

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

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
            name="wherry-bench", state=Path(place) / "state", data=Path(place) / "data", network="10.125.0",
            api_port=26443, grpc_port=26444, scheduler_port=26459, controllers_port=26457,
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
    api = time.monotonic() - began
    bringing_up.write_kubeconfigs(lab)
    async with connected(lab.kubeconfig) as rest:
        nodes = await rest.until("/api/v1/nodes", lambda items: sum(map(is_ready, items.values())) >= NODES) - began
        running = await _first_pod(rest) - began
    await up
    return [result("start.api", api), result("start.nodes", nodes), result("start.pod", running)]


async def _first_pod(rest: Rest) -> float:
    async with namespace(rest) as ns:
        path = f"/api/v1/namespaces/{ns}/pods"
        await rest.request("POST", path, pod("first"))
        return await rest.until(path, lambda items: "first" in items and is_ready(items["first"]))
