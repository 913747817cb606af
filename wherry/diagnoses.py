"""Which part of a lab keeps it from coming up, in its own last words."""

import docker
from docker.models.containers import Container

from wherry.labs import Lab
from wherry.troubles import Trouble

# What others wait for comes first: the first one that is not well is the cause, not a consequence.
ORDER = ("certificates", "etcd", "apiserver", "controller-manager", "scheduler", "node")
PATIENCE = 4
"""Restarts after which a component is taken to be unable to start, not just early."""


def services(engine: docker.DockerClient, lab: Lab) -> dict[str, Container]:
    """The lab's containers by the names of their services, most needed first."""
    wanted: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={lab.name}"}
    found = {c.labels["com.docker.compose.service"]: c for c in engine.containers.list(all=True, filters=wanted)}

    def rank(name: str) -> tuple[int, str]:
        return next((at for at, part in enumerate(ORDER) if name.startswith(part)), len(ORDER)), name

    return {name: found[name] for name in sorted(found, key=rank)}


def gives_up(engine: docker.DockerClient, lab: Lab) -> Trouble | None:
    """Trouble if a component has been restarted so often that waiting for it is in vain."""
    for name, container in services(engine, lab).items():
        if container.attrs["RestartCount"] >= PATIENCE and container.status != "running":
            return trouble(name, container, f"it has ended {container.attrs['RestartCount']} times")
    return None


def late(engine: docker.DockerClient, lab: Lab, waited_for: str, suspect: str) -> Trouble:
    """Trouble about what did not come in time: of a container that does not run, else of the `suspect`."""
    all_services = services(engine, lab)
    for name, container in all_services.items():
        finished = name == "certificates" and container.attrs["State"]["ExitCode"] == 0
        if container.status != "running" and not finished:
            return trouble(name, container, f"it is {container.status} while we wait for {waited_for}")
    if suspect in all_services:
        return trouble(suspect, all_services[suspect], f"{waited_for} did not come in time")
    return Trouble(suspect, f"{waited_for} did not come in time", advice="Run scripts/up again.")


def trouble(name: str, container: Container, reason: str) -> Trouble:
    said: bytes = container.logs(tail=20)
    advice = f"`docker logs {container.name}` says more. scripts/up goes on from here; scripts/down clears everything."
    return Trouble(name, reason, said.decode(errors="replace"), advice)
