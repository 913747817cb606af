"""One pod after another: created → Ready seen on a watch; deleted → gone."""

import asyncio
import time
from functools import partial

from bench import floor
from bench.rest import Object, Rest, namespace
from bench.results import Result, percentile, result
from bench.workloads import is_ready, pod

PODS = 15


async def run(rest: Rest) -> list[Result]:
    engine = await asyncio.to_thread(floor.pod_start)
    up, down = [], []
    async with namespace(rest) as ns:
        path = f"/api/v1/namespaces/{ns}/pods"
        for name in (f"p{i}" for i in range(PODS)):
            began = time.monotonic()
            await rest.request("POST", path, pod(name))
            up.append(await rest.until(path, partial(_is_up, name)) - began)
            began = time.monotonic()
            await rest.request("DELETE", f"{path}/{name}")
            down.append(await rest.until(path, partial(_is_gone, name)) - began)
    return [
        result("pods.start.p50", percentile(up, 0.5), engine),
        result("pods.start.p90", percentile(up, 0.9), engine),
        result("pods.delete.p50", percentile(down, 0.5)),
    ]


def _is_up(name: str, pods: dict[str, Object]) -> bool:
    return name in pods and is_ready(pods[name])


def _is_gone(name: str, pods: dict[str, Object]) -> bool:
    return name not in pods
