"""What the Docker engine alone needs for what pods are: for each two containers, one in the other's network namespace.

Straight through its API, from one process, with no library in between; `at_once` pods at the same time.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode
from uuid import uuid4

from bench.workloads import IMAGE
from kubelet.runtime.connections import Connections
from kubelet.runtime.interfaces import POD_NAMESPACE

SOCKET = "/var/run/docker.sock"
PAUSE = "wherry/pause:1"
LABELS = {"io.wherry.bench": "floor"}
LOOK = 0.02  # seconds between two looks at what is left


class Floor:
    def __init__(self, engine: Connections) -> None:
        self._engine = engine

    async def pods(self, count: int, at_once: int) -> tuple[float, float]:
        """Seconds until all of them run, and until all are gone again."""
        turns = asyncio.Semaphore(at_once)
        began = time.monotonic()
        made = await asyncio.gather(*(self._start(turns) for _ in range(count)))
        up = time.monotonic() - began
        began = time.monotonic()
        await asyncio.gather(*(self._remove(pod, turns) for pod in made))
        return up, time.monotonic() - began

    async def emptied(self, namespace: str) -> float:
        """When no container of a pod of that namespace is left on the engine."""
        query = urlencode({"all": 1, "filters": json.dumps({"label": [f"{POD_NAMESPACE}={namespace}"]})})
        # The engine's own `wait?condition=removed` never answers for a container that goes in that very moment.
        while await self._engine.call("GET", f"/containers/json?{query}"):  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        return time.monotonic()

    async def _start(self, turns: asyncio.Semaphore) -> tuple[str, str]:
        async with turns:
            pause = await self._run({"Image": PAUSE, "HostConfig": {"NetworkMode": "none", "IpcMode": "shareable"}})
            joined = f"container:{pause}"
            host = {"NetworkMode": joined, "IpcMode": joined}
            return pause, await self._run({"Image": IMAGE, "Cmd": ["sleep", "100000"], "HostConfig": host})

    async def _run(self, document: dict[str, object]) -> str:
        path = f"/containers/create?name=bench-{uuid4().hex[:12]}"
        container = str((await self._engine.call("POST", path, {**document, "Labels": LABELS}))["Id"])
        await self._engine.call("POST", f"/containers/{container}/start")
        return container

    async def _remove(self, pod: tuple[str, str], turns: asyncio.Semaphore) -> None:
        async with turns:
            for container in reversed(pod):
                await self._engine.call("DELETE", f"/containers/{container}?force=true&v=true")


@asynccontextmanager
async def floor() -> AsyncIterator[Floor]:
    engine = Connections(SOCKET)
    try:
        yield Floor(engine)
    finally:
        engine.close()
