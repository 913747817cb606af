"""`wherry node stop` and `start`: a node loses its power, and has it again.

What was on its disk stays, as with a machine: pods' directories, and containers that have ended, which the kubelet
finds when it comes back.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from wherry.labs import Lab
from wherry.nodes import find, pods_containers

GOES_ON = frozenset({"running", "paused", "restarting"})


def stop(docker_engine: docker.DockerClient, lab: Lab, name: str) -> str:
    """Nobody is asked to end, and nobody is told. Raises Trouble."""
    node = find(docker_engine, lab, name)
    if not any(part.status in GOES_ON for part in node.parts):
        raise node.trouble("it is stopped", f"`wherry node start {name}` starts it.")
    # The kubelet first: it would start anew what of its pods has ended.
    _kill(node.components)
    ended = pods_containers(docker_engine, lab, name)
    _kill(ended)
    _kill([node.holder])
    return f"node {name} is stopped, and {len(ended)} containers of its pods with it"


def start(docker_engine: docker.DockerClient, lab: Lab, name: str) -> str:
    """Does not wait until it is Ready. Raises Trouble."""
    node = find(docker_engine, lab, name)
    if all(part.status in GOES_ON for part in node.parts):
        raise node.trouble("it runs", f"`wherry node stop {name}` stops it.")
    for part in node.parts:
        part.start()
    return f"node {name} is started"


def _kill(containers: Iterable[Container]) -> None:
    """The engine takes its own killing for a wish, so that no restart policy undoes it."""

    def kill(container: Container) -> None:
        try:
            container.kill()
        except NotFound:
            pass  # it was leaving anyway
        except APIError as e:
            if e.status_code != 409:  # "is not running"
                raise

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(kill, containers))
