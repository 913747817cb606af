"""What tests ask of pods that run on the engine."""

import subprocess
from typing import Any

from api import meta
from api.types import Event, Pod


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def ended(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def identity(pod: Pod, name: str = "main") -> str:
    found = next(s for s in pod.status.containerStatuses if s.name == name)
    return found.containerID.removeprefix("docker://")


def sh(lab: Any, pod: Pod, command: str, name: str = "main") -> str:
    """What a shell command prints in a container of the pod."""
    # The docker library may lose the first words of a process.
    told = ["docker", "--host", lab.endpoint, "exec", identity(pod, name), "sh", "-c", command]
    done = subprocess.run(told, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def logs(lab: Any, pod: Pod, name: str = "main") -> str:
    return str(lab.engine.logs(identity(pod, name)).decode())


def waiting(pod: Pod, name: str = "main") -> str:
    """The reason why a container waits; "" if it does not."""
    state = next((s.state.waiting for s in pod.status.containerStatuses if s.name == name), None)
    return state.reason if state is not None else ""


async def told(lab: Any, reason: str, about: str = "") -> str:
    """The message of the first event with that reason, about that pod if one is named."""
    listing = await lab.client.list(Event, "default")
    for each in listing.items:
        if each.reason == reason and about in ("", each.involvedObject.name):
            return str(each.message)
    async for batch in lab.client.watch(Event, "default", resource_version=listing.resource_version):
        for event in batch:
            found = event.object
            if event.type == "ADDED" and found.reason == reason and about in ("", found.involvedObject.name):
                return str(found.message)
    raise AssertionError("the watch ended")
