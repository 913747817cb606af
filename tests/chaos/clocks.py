"""Clocks of single parts that can be set, while the machine's goes right: each part reads its own from a file.

Namespaces of time have no wall clock of their own, so the part's library for it is another one (`clock/clock.c`).
"""

import struct
from pathlib import Path
from typing import Any

import docker
import yaml

from wherry import images, masters
from wherry.certificates import replace
from wherry.composing import Compose
from wherry.labs import Lab, node_names

IMAGE = f"wherry/clocked:{images.TAG}"
RECIPE = Path(__file__).with_name("clock")
OFFSET = struct.Struct("q")
PARTS = ("apiserver", "controller-manager", "scheduler")
"""All that are written in Go, etcd that is, ask the kernel themselves."""


def clocked(nodes: int) -> list[str]:
    """The services whose clocks can be set."""
    return [name for part in PARTS for name in masters.names(part)] + [f"{n}-kubelet" for n in node_names(nodes)]


def build(docker_engine: docker.DockerClient) -> None:
    arguments = {"PLATFORM": f"wherry/platform:{images.TAG}", "COMPONENT": f"wherry/component:{images.TAG}"}
    docker_engine.images.build(path=str(RECIPE), tag=IMAGE, buildargs=arguments, rm=True)


def fit(lab: Lab, nodes: int) -> None:
    """From now on these services of the lab have clocks that can be set.  They go right for now."""
    generated = Compose(lab).generated
    document = yaml.safe_load(generated.read_text())
    for name in clocked(nodes):
        set_by(lab, name, 0)
        service: dict[str, Any] = document["services"][name]
        service |= {"image": IMAGE, "volumes": [*service["volumes"], f"{_file(lab, name).parent}:/clock:ro"]}
    replace(generated, yaml.safe_dump(document, sort_keys=False).encode(), 0o644)


def set_by(lab: Lab, name: str, seconds: int) -> None:
    """So far ahead of the machine's clock (behind it, if negative).  In place: the part has the file mapped."""
    file = _file(lab, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("r+b" if file.exists() else "x+b") as opened:
        opened.write(OFFSET.pack(seconds))


def _file(lab: Lab, name: str) -> Path:
    return lab.state / "clocks" / name / "offset"
