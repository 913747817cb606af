"""What the Docker engine alone needs for what a pod is: two containers, one in the other's network namespace."""

import time

import docker

from bench.results import percentile
from bench.workloads import IMAGE

PAUSE = "wherry/pause:1"


def pod_start(count: int = 5) -> float:
    """Seconds, the median: create and start a pause without a network, then the container."""
    return percentile([_once() for _ in range(count)], 0.5)


def _once() -> float:
    client = docker.from_env()
    began = time.monotonic()
    pause = client.containers.create(
        PAUSE, network_mode="none", ipc_mode="shareable", labels={"io.wherry.bench": "floor"}
    )
    app = None
    try:
        pause.start()
        joined = f"container:{pause.id}"
        app = client.containers.create(
            IMAGE, ["sleep", "100000"], network_mode=joined, ipc_mode=joined, labels={"io.wherry.bench": "floor"}
        )
        app.start()
        return time.monotonic() - began
    finally:
        for container in filter(None, (app, pause)):
            container.remove(force=True)
        client.close()
