"""Five thousand pods of three kilobytes: what it costs the API server to hold them and to list them."""

import asyncio
from collections.abc import Iterator

from bench.rest import Object, Rest, namespace
from bench.results import Result, percentile, result
from bench.servers import Server
from bench.workloads import IMAGE

PODS = 5000
CLIENTS = 16
LISTS = 20


async def run(rest: Rest, server: Server) -> list[Result]:
    async with namespace(rest) as ns:
        path = f"/api/v1/namespaces/{ns}/pods"
        numbers: Iterator[int] = iter(range(PODS))

        async def client() -> None:
            for i in numbers:
                await rest.request("POST", path, _pod(f"p{i}"))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(client())
        plain = await _costs(rest, server, path, "identity")
        packed = await _costs(rest, server, path, "gzip")
        return [
            result("api.large.list", percentile(plain, 0.5)),
            result("api.large.list.gzip", percentile(packed, 0.5)),
            result("api.large.memory", server.memory() / 1e6),
        ]


async def _costs(rest: Rest, server: Server, path: str, encoding: str) -> list[float]:
    """Seconds of processor for a list. Several at a time, since the kernel counts in hundredths of a second."""
    at_once, found = 5, []
    await _list(rest, path, encoding)
    for _ in range(LISTS // at_once):
        before = server.processor_seconds()
        for _ in range(at_once):
            await _list(rest, path, encoding)
        found.append((server.processor_seconds() - before) / at_once)
    return found


async def _list(rest: Rest, path: str, encoding: str) -> None:
    async with rest.session.get(path, headers={"Accept-Encoding": encoding}, auto_decompress=False) as answer:
        answer.raise_for_status()
        await answer.read()


def _pod(name: str) -> Object:
    """Nobody schedules it: it is there to be held."""
    env = [{"name": f"SETTING_{i}", "value": f"{name}-{i}-" + "x" * 40} for i in range(16)]
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "large", "app": name}},
        "spec": {
            "schedulerName": "nobody", "automountServiceAccountToken": False,
            "containers": [{"name": "c", "image": IMAGE, "command": ["sleep", "100000"], "env": env}],
        },
    }  # fmt: skip
