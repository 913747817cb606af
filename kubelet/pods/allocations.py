"""What of cpu and memory each pod of this node was promised: what its spec says, but for a resize that is not granted.

https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/1287-in-place-update-pod-resources . Containers are
made, and room is counted, by what was promised; so one that is restarted while a resize waits has what it had before.
"""

from collections.abc import Mapping

import msgspec

from api.types import Container, Pod, ResourceRequirements

Promised = Mapping[str, ResourceRequirements]
"""By container name; of the whole pod under WHOLE."""
WHOLE = ""


class Allocations:
    """Of all pods of a node.  What a kubelet before this one has promised is read in a pod's status."""

    def __init__(self) -> None:
        self._promised: dict[str, Promised] = {}

    def take(self, pod: Pod) -> None:
        """It is this kubelet's from now on, with what it was promised before."""
        self._promised.setdefault(pod.metadata.uid, _told(pod))

    def grant(self, pod: Pod) -> None:
        """It may have what its spec says now."""
        self._promised[pod.metadata.uid] = _asked(pod)

    def forget(self, uid: str) -> None:
        self._promised.pop(uid, None)

    def of(self, pod: Pod) -> Pod:
        """The pod with what it was promised: itself, if that is what its spec says."""
        found = self._promised.get(pod.metadata.uid)
        promised = found if found is not None else _told(pod)
        if all(_amounts(promised.get(name, has)) == _amounts(has) for name, has in _asked(pod).items()):
            return pod
        containers = [_sized(c, promised) for c in pod.spec.containers]
        inits = [_sized(c, promised) for c in pod.spec.initContainers]
        whole = promised.get(WHOLE, _whole(pod))
        spec = msgspec.structs.replace(
            pod.spec, containers=containers, initContainers=inits,
            resources=whole if whole.requests or whole.limits else None,
        )  # fmt: skip
        return msgspec.structs.replace(pod, spec=spec)


def _asked(pod: Pod) -> dict[str, ResourceRequirements]:
    return {WHOLE: _whole(pod)} | {c.name: c.resources for c in resizable(pod)}


def _whole(pod: Pod) -> ResourceRequirements:
    return pod.spec.resources or ResourceRequirements()


def resizable(pod: Pod) -> list[Container]:
    """All but ephemeral ones; init containers while they run."""
    return [*pod.spec.containers, *pod.spec.initContainers]


def _sized(container: Container, promised: Promised) -> Container:
    requests, limits = _amounts(promised.get(container.name, container.resources))
    resources = msgspec.structs.replace(container.resources, requests=requests, limits=limits)
    return msgspec.structs.replace(container, resources=resources)


def _amounts(resources: ResourceRequirements) -> tuple[dict[str, str], dict[str, str]]:
    return resources.requests, resources.limits


def _told(pod: Pod) -> Promised:
    """What a status tells of a container is what it has; where that is not what it was promised, a resize that was
    granted is under way, to what the spec says."""
    statuses = {s.name: s for s in (*pod.status.containerStatuses, *pod.status.initContainerStatuses)}
    whole, told = _whole(pod), pod.status.resources
    found = {WHOLE: told if told is not None and told.requests == pod.status.allocatedResources else whole}
    for container in resizable(pod):
        status = statuses.get(container.name)
        has = status.resources if status is not None else None
        settled = status is not None and has is not None and has.requests == status.allocatedResources
        found[container.name] = has if settled and has is not None else container.resources
    return found
