"""Docker Compose: the file for N nodes, and the command."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from machinery import pairs
from wherry import masters
from wherry.labs import NODES, PROJECT, Lab, node_names
from wherry.troubles import Trouble

TEMPLATE = "node1"
# In the words of engines with and without a proxy for published ports.
TAKEN_PORT = re.compile(r":(\d+): bind: address already in use|:(\d+) failed: port is already allocated")
Document = dict[str, Any]


def document(template: Document, count: int, *, ha: bool = False) -> Document:
    """compose.yaml with `count` nodes instead of its three, each a copy of node1 with its own name and address; with
    `ha`, several of each part of the control plane."""
    services = template["services"]
    others = {name: service for name, service in services.items() if not name.startswith("node")}
    block = {name: service for name, service in services.items() if name.split("-")[0] == TEMPLATE}
    others["certificates"] = {**others["certificates"], "command": _command(others["certificates"], count)}
    nodes: Document = {}
    for number, name in enumerate(node_names(count), start=1):
        nodes |= _renamed(block, name, f".{100 + number}")
    made = {**template, "services": others | nodes}
    return masters.several(made) if ha else made


def _command(service: Document, count: int) -> list[str]:
    command: list[str] = service["command"]
    return [*command[: command.index("--nodes") + 1], *node_names(count)]


def _renamed(value: Any, name: str, address: str) -> Any:
    if isinstance(value, str):
        return value.replace(TEMPLATE, name).replace("}.101", "}" + address)
    if isinstance(value, list):
        return [_renamed(item, name, address) for item in value]
    if isinstance(value, dict):
        return {_renamed(key, name, address): _renamed(item, name, address) for key, item in value.items()}
    return value


class Compose:
    """`docker compose` on one lab's project."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @property
    def generated(self) -> Path:
        return self._lab.state / "compose.yaml"

    @property
    def file(self) -> Path:
        return self.generated if self.generated.exists() else PROJECT / "compose.yaml"

    def nodes(self) -> int:
        """How many nodes the lab has, or will have when it comes up."""
        services = yaml.safe_load(self.file.read_text())["services"]
        return sum(f"{name}-kubelet" in services for name in services)

    def has_several_masters(self) -> bool:
        return masters.BALANCER in yaml.safe_load(self.file.read_text())["services"]

    def choose(self, count: int, *, ha: bool = False) -> None:
        """From now on the lab has `count` nodes, and with `ha` several of each part of its control plane."""
        if count == NODES and not ha:
            self.generated.unlink(missing_ok=True)
            return
        made = document(yaml.safe_load((PROJECT / "compose.yaml").read_text()), count, ha=ha)
        # The relative default would be taken from the file's own place.
        text = yaml.safe_dump(made, sort_keys=False).replace("./.wherry", str(PROJECT / ".wherry"))
        pairs.replace(self.generated, text.encode(), 0o644)

    def up(self) -> Iterator[str]:
        """Brings everything up without waiting for health; yields what compose says. Raises Trouble."""
        advice = "Run scripts/up again; if it says the same, scripts/down first."
        yield from self._run(["up", "--detach", "--remove-orphans", "--pull", "never"], advice)

    def create(self) -> Iterator[str]:
        """Every container, network and volume, but nothing runs; yields what compose says. Raises Trouble."""
        advice = "scripts/down, then try again."
        yield from self._run(["up", "--no-start", "--remove-orphans", "--pull", "never"], advice)

    def down(self, *, volumes: bool) -> Iterator[str]:
        """Raises Trouble."""
        options = ["--remove-orphans", "--timeout", "3", *(["--volumes"] if volumes else [])]
        yield from self._run(["down", *options], "See what `docker ps -a` shows, and run scripts/down again.")

    def command(self, *arguments: str) -> list[str]:
        place = ["--project-name", self._lab.name, "--project-directory", str(PROJECT), "--file", str(self.file)]
        return [*binary(), *place, *arguments]

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self._lab.environment()}

    def _run(self, arguments: list[str], advice: str) -> Iterator[str]:
        running = subprocess.Popen(
            self.command("--progress", "plain", *arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert running.stdout is not None
        said = []
        with running:
            for line in running.stdout:
                said.append(line)
                yield line.strip()
        if running.returncode:
            reason, advice = explained("".join(said), self._lab) or (f"`docker compose {arguments[0]}` failed", advice)
            raise Trouble("compose", reason, "".join(said), advice)


def explained(said: str, lab: Lab) -> tuple[str, str] | None:
    """The reason and the advice, if what compose said is about something that others have taken."""
    if found := TAKEN_PORT.search(said):
        port = found[1] or found[2]
        setting = next((name for name, value in lab.environment().items() if value == port), "its port")
        advice = f"Stop what listens there (`ss -ltnp 'sport = :{port}'`), or run scripts/up with another {setting}."
        return f"port {port} of this machine is taken", advice
    if "Pool overlaps" in said:
        advice = "Run scripts/up with another WHERRY_NETWORK, e.g. 10.125.0; `docker network ls` shows what there is."
        return f"another network has addresses of {lab.network}.0/24, maybe another lab's", advice
    return None


def binary() -> list[str]:
    """The compose that stands beside this Python, else the engine's own plug-in."""
    beside = Path(sys.executable).parent / "docker-compose"
    if beside.exists():
        return [str(beside)]
    if shutil.which("docker"):
        return ["docker", "compose"]
    raise Trouble("compose", "there is no docker-compose", advice="Run scripts/up, which installs it.")
