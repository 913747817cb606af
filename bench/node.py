"""What one node's kubelet and proxy hold and use while thirty of its pods do nothing."""

import asyncio

from bench import servers
from bench.rest import Object, Rest, namespace
from bench.results import Result, result
from bench.workloads import is_ready, pod

NODE, PODS = "node1", 30
SETTLING, WATCHING = 20.0, 60.0


async def run(rest: Rest, project: str) -> list[Result]:
    """`project` is the lab's compose project.  Needs root."""
    async with namespace(rest) as ns:
        path = f"/api/v1/namespaces/{ns}/pods"
        await asyncio.gather(*(rest.request("POST", path, _on_the_node(f"p{i}")) for i in range(PODS)))
        await rest.until(path, lambda pods: sum(map(is_ready, pods.values())) == PODS)
        await asyncio.sleep(SETTLING)
        parts = [
            await asyncio.to_thread(servers.of_lab, project, f"{NODE}-{part}") for part in ("kubelet", "kube-proxy")
        ]
        before = sum(part.processor_seconds() for part in parts)
        await asyncio.sleep(WATCHING)
        used = sum(part.processor_seconds() for part in parts) - before
        memory = sum(part.memory() for part in parts)
    return [result("node.memory", memory / 1e6), result("node.idle", used / WATCHING * 100)]


def _on_the_node(name: str) -> Object:
    made = pod(name)
    made["spec"]["nodeName"] = NODE
    return made
