"""`wherry down`, and what remains of pods and nodes when their kubelets are gone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container

from wherry import engine, exposing
from wherry.composing import Compose
from wherry.images import TAG
from wherry.labs import CLUSTER_LABEL, NODE_LABEL, Lab
from wherry.locks import alone
from wherry.progress import Progress
from wherry.troubles import Trouble

GROUPS = Path("/sys/fs/cgroup")


def down(lab: Lab, *, keep_data: bool) -> None:
    """Removes the lab; with `keep_data` etcd's volume and the certificates stay. Raises Trouble.

    Never stops the engine, whoever started it: other containers may run on it.
    """
    with Progress() as progress:
        try:
            docker_engine = engine.client()
            docker_engine.ping()
        except DockerException as e:
            advice = "Start the Docker engine and run scripts/down again; without it nothing runs either."
            raise Trouble("engine", "no Docker engine answers", str(e), advice) from e
        # They would hold the network that compose removes.
        exposing.remove(docker_engine, lab)
        with progress.step("docker compose down") as step:
            # Kubelets first of all: they would make anew whatever of theirs is removed.
            for line in Compose(lab).down(volumes=not keep_data):
                step.passes(line)
        with progress.step("pods"):
            remove_pods(docker_engine, lab)
        with progress.step("control groups"):
            remove_groups(docker_engine, lab)
        with progress.step("directories"):
            _erase(docker_engine, lab.data)
            if not keep_data:
                _erase(docker_engine, lab.state)


def remove_pods(docker_engine: docker.DockerClient, lab: Lab) -> None:
    """Every container and volume that kubelets of this cluster have made."""
    _remove(_containers(docker_engine, lab))
    for volume in docker_engine.volumes.list(filters={"label": f"{CLUSTER_LABEL}={lab.name}"}):
        volume.remove(force=True)


def remove_nodes(docker_engine: docker.DockerClient, lab: Lab, *, keep: Collection[str]) -> None:
    """The pods of nodes that the lab no longer has."""
    containers = _containers(docker_engine, lab)
    _remove(container for container in containers if container.labels.get(NODE_LABEL) not in keep)


def remove_groups(docker_engine: docker.DockerClient, lab: Lab) -> None:
    """What kubelets have made of the kernel's control groups, in every hierarchy and in both ways to name them."""
    names = lab.name, f"{lab.name.replace('-', '_')}.slice"
    places = [p / name for p in (GROUPS, *_directories(GROUPS)) for name in names if (p / name).is_dir()]
    if not places:
        return
    command = ["find", *map(str, places), "-type", "d", "-delete"]
    if os.geteuid() == 0:
        subprocess.run(command, check=False, capture_output=True)
    else:
        _as_root(docker_engine, command, GROUPS)


def _directories(place: Path) -> list[Path]:
    return [p for p in place.iterdir() if p.is_dir() and not p.is_symlink()] if place.is_dir() else []


def _containers(docker_engine: docker.DockerClient, lab: Lab) -> list[Container]:
    ours: dict[str, str | list[str] | bool] = {"label": f"{CLUSTER_LABEL}={lab.name}"}
    return list(docker_engine.containers.list(all=True, filters=ours, ignore_removed=True))


def _remove(containers: Iterable[Container]) -> None:
    def remove(container: Container) -> None:
        try:
            container.remove(force=True, v=True)
        except NotFound:
            pass  # it was leaving anyway
        except APIError as e:
            if e.status_code != 409:  # "removal is already in progress"
                raise

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, containers))


def _erase(docker_engine: docker.DockerClient, place: Path) -> None:
    """Removes a directory that may hold files of root, whoever we are."""
    if not place.exists():
        return
    if os.geteuid() != 0:
        _as_root(docker_engine, ["find", str(place), "-delete"], place.parent)
    else:
        shutil.rmtree(place)


def _as_root(docker_engine: docker.DockerClient, command: list[str], place: Path) -> None:
    """In a container that sees `place` under its own name."""
    try:
        docker_engine.containers.run(
            f"wherry/component:{TAG}",
            command[1:],
            entrypoint=command[0],
            volumes={str(place): {"bind": str(place), "mode": "rw"}},
            network_mode="none",
            remove=True,
        )
    except (ImageNotFound, APIError) as e:
        told = " ".join(command)
        raise Trouble("directories", f"`{told}` failed", str(e), f"Run `{told}` as root.") from e


def main(lab: Lab, *, keep_data: bool) -> int:
    """An exit code: 0, 1 after trouble that it has told, 130 if interrupted."""
    try:
        with alone(lab):
            down(lab, keep_data=keep_data)
    except Trouble as trouble:
        print(f"\nscripts/down failed.\n{trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run scripts/down again: it takes what is left.", file=sys.stderr)
        return 130
    print("The lab is gone; its objects are kept for the next scripts/up." if keep_data else "The lab is gone.")
    return 0
