"""How faults get hold of the parts of the lab."""

import ssl
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

import docker
from docker.models.containers import Container

from tests.chaos.doors import SPACE, server_addresses
from tests.chaos.faults.members import Members
from wherry.labs import CLUSTER_LABEL, Lab

NODES = 3
NODE_NAMES = tuple(f"node{number}" for number in range(1, NODES + 1))
LEADER = "the etcd leader"
ANSWER_SECONDS = 3
LOOK = 0.2
"""Seconds between two looks at what tells nobody when it changes."""

Target = tuple[str, ...]
"""Services of compose.yaml or nodes that are struck together; LEADER stands for the member that leads."""


class Parts:
    """Safe to use from several threads."""

    def __init__(self, lab: Lab, docker_engine: docker.DockerClient, told: Callable[[], int] = lambda: 0) -> None:
        """`told` is the revision up to which the storm's own account of etcd goes: no more may be forgotten."""
        self.lab, self.engine, self.told = lab, docker_engine, told
        self.members = Members(lab)
        self._tls = ssl.create_default_context(cafile=str(lab.pki / "admin" / "ca.crt"))
        self.notes: list[str] = []
        """What faults have found out about themselves."""

    def note(self, text: str) -> None:
        self.notes.append(text)

    def settle(self, target: Target) -> Target:
        """Who that is at the moment."""
        return tuple(self.members.leader() if name == LEADER else name for name in target)

    def services(self, target: Target) -> list[Container]:
        return [self.engine.containers.get(self.lab.container(name)) for name in target]

    def restart(self, server: str) -> None:
        """An API server, which is ready when this returns."""
        (container,) = self.services((server,))
        container.restart(timeout=10)
        while server in self.unready():
            time.sleep(LOOK)

    def unready(self) -> list[str]:
        """The API servers that do not say that they are ready."""
        return [name for name, address in server_addresses(self.lab).items() if not self._ready(address)]

    def _ready(self, address: str) -> bool:
        there = HTTPSConnection(address, 6443, context=self._tls, timeout=ANSWER_SECONDS)
        with closing(there):
            try:
                there.request("GET", "/readyz")
                return there.getresponse().status == 200
            except (OSError, HTTPException):
                return False

    def forget(self) -> None:
        """Lets etcd forget everything but the latest revision of each key."""
        self.members.compact(self.members.leader(), self.told())

    def most_memory(self, name: str) -> int:
        """Bytes that a service's process has had at most since it was started."""
        (container,) = self.services((name,))
        status = Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def pods_containers(self, *labels: str) -> list[Container]:
        """Those of the workload's pods that run, and have these labels."""
        wanted = [f"{CLUSTER_LABEL}={self.lab.name}", f"io.kubernetes.pod.namespace={SPACE}", *labels]
        return list(self.engine.containers.list(filters={"label": wanted}, ignore_removed=True))
