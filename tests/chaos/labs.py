"""A lab to break: beside the tests' own, with several of each part of the control plane."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.chaos import clocks, disks
from tests.chaos.faults.parts import NODES
from wherry import bringing_up, cleaning
from wherry.composing import Compose
from wherry.labs import PROJECT, Lab, node_names
from wherry.progress import Progress

NUMBER = int(os.environ.get("WHERRY_TEST_LAB") or 1)
"""As of the tests' lab."""
LAB = Lab(
    name=f"wherry-chaos{NUMBER}",
    state=PROJECT / "build" / "chaos-lab",
    data=Path(f"/var/lib/wherry-chaos{NUMBER}"),
    network=f"10.{123 + NUMBER}.1",
    api_port=16353 + 100 * NUMBER,
    grpc_port=16354 + 100 * NUMBER,
    scheduler_port=16369 + 100 * NUMBER,
    controllers_port=16367 + 100 * NUMBER,
)


LINES = 2000
"""Of each log."""


@contextmanager
def broken_lab() -> Iterator[tuple[Lab, docker.DockerClient]]:
    """For as long as the block runs."""
    _down()  # what an interrupted run has left
    with Progress() as progress:
        docker_engine = bringing_up.prepare(progress, balancer=True)
        try:
            with progress.step(f"image {clocks.IMAGE}"):
                clocks.build(docker_engine)
            Compose(LAB).choose(NODES, ha=True)
            disks.make(LAB)
            clocks.fit(LAB, NODES)
            bringing_up.start(LAB, node_names(NODES), docker_engine, progress)
            yield LAB, docker_engine
        finally:
            _down()
            docker_engine.close()


def keep_logs(lab: Lab, docker_engine: docker.DockerClient, place: Path) -> None:
    """What every part of the lab has said lately, for whoever wants to know why something was wrong."""
    place.mkdir(parents=True, exist_ok=True)
    project: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={lab.name}"}
    for container in docker_engine.containers.list(all=True, filters=project, ignore_removed=True):
        (place / f"{container.name}.log").write_bytes(container.logs(timestamps=True, tail=LINES))


def _down() -> None:
    try:
        cleaning.down(LAB, keep_data=False)
    finally:
        disks.remove(LAB)
