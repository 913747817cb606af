"""The API server as a process: what it has used of processors, and what it holds in memory."""

import os
from dataclasses import dataclass
from pathlib import Path

import docker

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """Its process ids as this machine sees them; needs root."""

    pids: tuple[int, ...]

    def processor_seconds(self) -> float:
        return sum(map(_ticks, self.pids)) / TICKS

    def memory(self) -> int:
        """Bytes: the proportional set size, in which shared pages count in parts."""
        return sum(map(proportional, self.pids))


def of_lab(project: str, service: str = "apiserver") -> Server:
    """`project` is the lab's compose project."""
    client = docker.from_env()
    try:
        labels = [f"com.docker.compose.project={project}", f"com.docker.compose.service={service}"]
        found = client.containers.list(filters={"label": labels})
        return Server(tuple(int(row[1]) for container in found for row in container.top()["Processes"]))
    finally:
        client.close()


def proportional(pid: int) -> int:
    """Bytes; 0 for a process that has just ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
