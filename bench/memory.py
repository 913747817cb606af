"""What the idle components hold: the proportional set size of their processes, in MB.

Shared pages count in parts, so that the sums are what the machine really misses.
"""

from pathlib import Path

import docker

from bench.results import Result, result


def run(project: str) -> list[Result]:
    """`project` is the lab's compose project. Needs root: other users' maps cannot be read."""
    client = docker.from_env()
    sizes: dict[str, float] = {}
    try:
        for container in client.containers.list(filters={"label": f"com.docker.compose.project={project}"}):
            service = container.labels["com.docker.compose.service"]
            pids = [int(row[1]) for row in container.top()["Processes"]]
            sizes[service] = sum(map(_proportional, pids)) / 1e6
    finally:
        client.close()
    found = [result(f"memory.{name}", sizes[name]) for name in ("apiserver", "controller-manager", "scheduler", "etcd")]
    nodes = [sizes[f"{n}-kubelet"] + sizes[f"{n}-kube-proxy"] for n in sizes if f"{n}-kubelet" in sizes]
    return [*found, result("memory.node", sum(nodes) / len(nodes))]


def _proportional(pid: int) -> int:
    """Bytes; 0 for a process that has just ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
