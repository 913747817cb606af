"""The real kubectl on one lab, for the lab's own steps and for tests."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry.labs import Lab
from wherry.troubles import Trouble

Object = dict[str, Any]
Objects = dict[str, Object]


def binary() -> str:
    """The pinned kubectl beside this Python, else the one on the path."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.exists() else "kubectl"


@dataclass(frozen=True)
class Kubectl:
    """`kubectl("get", "pods")` is its standard output. With `namespace`, every command goes there."""

    lab: Lab
    namespace: str = ""

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Raises Trouble if it exits with anything but 0; `said` is what it wrote to both outputs."""
        ran = self.run(*arguments, stdin=stdin)
        if ran.returncode:
            words = " ".join(arguments)
            advice = f"Try it yourself: KUBECONFIG={self.lab.kubeconfig} {binary()} {words}"
            raise Trouble("kubectl", f"`kubectl {words}` failed", ran.stdout + ran.stderr, advice)
        return ran.stdout

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment(), input=stdin, capture_output=True, text=True, check=False
        )

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output", "json"))

    def until(
        self, holds: Callable[[dict[str, Object]], bool], *arguments: str, seconds: float = 60
    ) -> dict[str, Object]:
        """Watches `kubectl get ARGUMENTS` until `holds` of the objects by name; returns them. Raises Trouble, late."""
        objects: dict[str, Object] = {}
        for event in self.watch(*arguments, seconds=seconds):
            name = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                objects.pop(name, None)
            else:
                objects[name] = event["object"]
            # The first objects come one by one, so part of them may look like the end: the whole list decides.
            if holds(objects) and holds(listed := self._listed(*arguments)):
                return listed
        raise Trouble("kubectl", f"waited in vain for {' '.join(arguments)}", json.dumps(objects, indent=1)[-6000:])

    def _listed(self, *arguments: str) -> Objects:
        told = self.json("get", *arguments)
        return {item["metadata"]["name"]: item for item in told.get("items", [told])}

    def watch(self, *arguments: str, seconds: float) -> Iterator[Object]:
        """Events of `kubectl get ARGUMENTS`, the present objects first, for at most so many seconds."""
        command = self.command("get", *arguments, "--watch", "--output-watch-events", "--output", "json")
        running = subprocess.Popen(
            command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        # Ends the loop below by closing the pipe that it reads.
        clock = threading.Timer(seconds, running.kill)
        clock.start()
        try:
            assert running.stdout is not None
            for line in running.stdout:
                yield json.loads(line)
        finally:
            clock.cancel()
            running.kill()
            running.communicate()

    def command(self, *arguments: str) -> list[str]:
        return [binary(), *(["--namespace", self.namespace] if self.namespace else []), *arguments]

    def environment(self) -> dict[str, str]:
        # A cache of its own: another lab at the same address may serve other kinds.
        own = {"KUBECONFIG": str(self.lab.kubeconfig), "KUBECACHEDIR": str(self.lab.state / "kubectl-cache")}
        return {**os.environ, **own}
