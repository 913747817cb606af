"""Pods, one after the other and fifty at once: created → Ready as a watch sees them, and deleted → gone (of the fifty,
their containers too).

The engine's own time for the same containers is taken in between, round by round, so that whatever else the machine
does falls on both; what is to be reached is a ratio.
"""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial

from bench.floor import Floor, floor
from bench.rest import Object, Rest, namespace
from bench.results import Result, percentile, result
from bench.workloads import is_ready, pod

PODS = 15
BURST, ROUNDS = 50, 2
STARTS_OF_A_NODE = 4  # the kubelet's --parallel-starts


@dataclass
class Times:
    """Seconds, one for each round."""

    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    half: list[float] = field(default_factory=list)
    floor_up: list[float] = field(default_factory=list)
    floor_down: list[float] = field(default_factory=list)


async def run(rest: Rest) -> list[Result]:
    nodes = (await rest.request("GET", "/api/v1/nodes"))["items"]
    async with namespace(rest) as ns, floor() as engine:
        path = f"/api/v1/namespaces/{ns}/pods"
        one, many = await _serial(rest, path, engine), await _bursts(rest, path, engine, STARTS_OF_A_NODE * len(nodes))
    start, last = percentile(one.floor_up, 0.5), percentile(many.floor_up, 0.5)
    return [
        result("pods.start.p50", percentile(one.up, 0.5), start),
        result("pods.start.p90", percentile(one.up, 0.9), start),
        result("pods.start.ratio", percentile(one.up, 0.5) / start),
        result("pods.delete.p50", percentile(one.down, 0.5), percentile(one.floor_down, 0.5)),
        result("pods.burst.last", percentile(many.up, 0.5), last),
        result("pods.burst.ratio", sum(many.up) / sum(many.floor_up)),
        result("pods.burst.median", sum(many.half) / sum(many.up)),
        result("pods.burst.delete", percentile(many.down, 0.5), percentile(many.floor_down, 0.5)),
        result("pods.burst.delete.ratio", sum(many.down) / sum(many.floor_down)),
    ]


async def _serial(rest: Rest, path: str, engine: Floor) -> Times:
    times = Times()
    for name in (f"p{i}" for i in range(PODS)):
        up, down = await engine.pods(1, 1)
        times.floor_up.append(up)
        times.floor_down.append(down)
        began = time.monotonic()
        await rest.request("POST", path, pod(name))
        times.up.append(await rest.until(path, partial(_are_up, 1)) - began)
        began = time.monotonic()
        await rest.request("DELETE", f"{path}/{name}")
        times.down.append(await rest.until(path, lambda pods: not pods) - began)
    return times


async def _bursts(rest: Rest, path: str, engine: Floor, at_once: int) -> Times:
    times = Times()
    for number in range(ROUNDS):
        up, down = await engine.pods(BURST, at_once)
        times.floor_up.append(up)
        times.floor_down.append(down)
        names = [f"b{number}-{i}" for i in range(BURST)]
        began = time.monotonic()
        half = asyncio.create_task(rest.until(path, partial(_are_up, BURST // 2)))
        last = asyncio.create_task(rest.until(path, partial(_are_up, BURST)))
        await asyncio.gather(*(rest.request("POST", path, pod(name)) for name in names))
        times.half.append(await half - began)
        times.up.append(await last - began)
        began = time.monotonic()
        await asyncio.gather(*(rest.request("DELETE", f"{path}/{name}") for name in names))
        # Without grace the objects go at once; the engine's work is what it is compared with.
        await rest.until(path, lambda pods: not pods)
        times.down.append(await engine.emptied(path.split("/")[4]) - began)
    return times


def _are_up(count: int, pods: dict[str, Object]) -> bool:
    return sum(map(is_ready, pods.values())) >= count
