import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from wherry.composing import Compose
from wherry.kubectl import Kubectl
from wherry.labs import CLUSTER_LABEL, Lab

ASK = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode().strip())
"""
# Asks until its standard input ends, one connection for each request, and tells how it went.
ASK_ON = """
import sys, threading, urllib.request
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
answers, faults = 0, []
print("asking", flush=True)
while not end.is_set():
    try:
        urllib.request.urlopen(sys.argv[1], timeout=5).read()
        answers += 1
    except OSError as e:
        faults.append(str(e))
print(answers, faults)
"""


@dataclass
class Load:
    """How a stretch of requests went; filled in when it ends."""

    answers: int = 0
    faults: str = ""


@dataclass(frozen=True)
class Node:
    """A lab node, seen from its own network namespace."""

    lab: Lab
    name: str

    def run(self, *command: str) -> str:
        """The output of a command in the node's kubelet container."""
        ran = subprocess.run(self._exec(*command), env=self._environment(), capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def ask(self, url: str, times: int = 1) -> list[str]:
        return self.run("python3", "-c", ASK, url, str(times)).splitlines()

    @contextmanager
    def talking(self, script: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """A Python script in the node's kubelet container, with its ends of the talk."""
        command = self._exec("python3", "-c", script, *arguments)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=self._environment(), stdin=pipe, stdout=pipe, text=True) as running:
            yield running

    @contextmanager
    def asking(self, url: str) -> Iterator[Load]:
        """Requests without a pause for as long as the block runs."""
        load = Load()
        with self.talking(ASK_ON, url) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "asking\n"
            try:
                yield load
            finally:
                told, _ = running.communicate(timeout=30)
        answers, load.faults = told.strip().split(" ", 1)
        load.answers = int(answers)

    def interfaces(self) -> set[str]:
        return set(re.findall(r"^\d+: ([^:@]+)", self.run("ip", "-o", "link"), re.MULTILINE))

    def rules(self) -> str:
        """Every nftables rule of the node, without Docker's own."""
        tables = [line for line in self.run("nft", "list", "tables").splitlines() if "kube-proxy" in line]
        return "".join(self.run("nft", "list", *table.split()) for table in tables)

    def _exec(self, *command: str) -> list[str]:
        return Compose(self.lab).command("exec", "-T", f"{self.name}-kubelet", *command)

    def _environment(self) -> dict[str, str]:
        return Compose(self.lab).environment()


@pytest.fixture
def node(lab: Lab) -> Callable[[str], Node]:
    return lambda name: Node(lab, name)


@pytest.fixture
def containers(lab: Lab, docker_engine: docker.DockerClient) -> Callable[..., list[Container]]:
    """The containers that kubelets of this lab have made, chosen by labels."""

    def of(**labels: str) -> list[Container]:
        wanted = [f"{CLUSTER_LABEL}={lab.name}", *(f"{k.replace('__', '.')}={v}" for k, v in labels.items())]
        return docker_engine.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)

    return of


@pytest.fixture
def of_pod(containers: Callable[..., list[Container]]) -> Callable[[dict[str, Any]], list[Container]]:
    """The containers of one pod object, its sandbox too."""
    return lambda pod: containers(io__kubernetes__pod__uid=pod["metadata"]["uid"])


@pytest.fixture
def running(kubectl: Kubectl) -> Callable[..., list[dict[str, Any]]]:
    """Waits until exactly so many pods of a selector are there and Ready, with none of them leaving."""

    def wait(count: int, selector: str = "app=test1", seconds: float = 60) -> list[dict[str, Any]]:
        def settled(pods: dict[str, Any]) -> bool:
            return len(pods) == count and all(is_ready(pod) for pod in pods.values())

        return list(kubectl.until(settled, "pods", "--selector", selector, seconds=seconds).values())

    return wait


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
