"""What the idle components hold: the proportional set size of their processes, in MB.

Shared pages count in parts, so that the sums are what the machine really misses.
"""

import docker

from bench.results import Result, result
from bench.servers import proportional


def run(project: str) -> list[Result]:
    """`project` is the lab's compose project. Needs root: other users' maps cannot be read."""
    client = docker.from_env()
    sizes: dict[str, float] = {}
    try:
        for container in client.containers.list(filters={"label": f"com.docker.compose.project={project}"}):
            service = container.labels["com.docker.compose.service"]
            pids = [int(row[1]) for row in container.top()["Processes"]]
            sizes[service] = sum(map(proportional, pids)) / 1e6
    finally:
        client.close()
    found = [result(f"memory.{name}", sizes[name]) for name in ("apiserver", "controller-manager", "scheduler", "etcd")]
    nodes = [sizes[f"{n}-kubelet"] + sizes[f"{n}-kube-proxy"] for n in sizes if f"{n}-kubelet" in sizes]
    return [*found, result("memory.node", sum(nodes) / len(nodes))]
