"""What a pod counts for while the resources of its containers are changed in place. Pure.

Until its kubelet has done what the spec asks for, a container counts with the most of what it is to have, was promised
and has; and without what it is to have, if the node can never give that.
https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/1287-in-place-update-pod-resources
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from api import meta
from api.types import Container, ContainerStatus, Pod, ResourceRequirements

PENDING = "PodResizePending"
Amounts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Held:
    """What the containers have, by their names, where their statuses tell it."""

    statuses: Mapping[str, ContainerStatus]
    infeasible: bool = False
    whole: ResourceRequirements | None = None
    """What the pod as a whole has, if it asks for something as a whole; with what it was promised."""
    promised: Amounts = field(default_factory=dict)

    def requests(self, container: Container) -> list[Amounts]:
        """Of each resource the most in any of them counts."""
        asked = container.resources.requests
        status = self.statuses.get(container.name)
        if status is None or status.resources is None or _is_done(container, status):
            return [asked]
        has: list[Amounts] = [status.resources.requests, status.allocatedResources]
        return has if self.infeasible else [asked, *has]

    def limits(self, container: Container) -> list[Amounts]:
        status = self.statuses.get(container.name)
        if status is None or status.resources is None:
            return [container.resources.limits]
        return [status.resources.limits] if self.infeasible else [container.resources.limits, status.resources.limits]

    def requests_of(self, whole: ResourceRequirements) -> list[Amounts]:
        """As `requests`, for what is stated for the whole pod."""
        if self.whole is None:
            return [whole.requests]
        has: list[Amounts] = [self.whole.requests, self.promised]
        return has if self.infeasible else [whole.requests, *has]

    def limits_of(self, whole: ResourceRequirements) -> list[Amounts]:
        if self.whole is None:
            return [whole.limits]
        return [self.whole.limits] if self.infeasible else [whole.limits, self.whole.limits]


NOTHING = Held({})


def held(pod: Pod) -> Held:
    found = {s.name or "": s for s in (*pod.status.containerStatuses, *pod.status.initContainerStatuses)}
    if not found:
        return NOTHING
    pending = meta.condition(pod, PENDING)
    infeasible = pending is not None and pending.reason == "Infeasible"
    return Held(found, infeasible, pod.status.resources, pod.status.allocatedResources)


def is_resizing(pod: Pod) -> bool:
    """Whether a container has or was promised something else than it asks for."""
    statuses = {s.name: s for s in (*pod.status.containerStatuses, *pod.status.initContainerStatuses)}
    if not statuses:
        return False
    whole, has = pod.spec.resources, pod.status.resources
    if whole is not None and has is not None and not (has.requests == whole.requests == pod.status.allocatedResources):
        return True
    containers = (*pod.spec.containers, *pod.spec.initContainers)
    return any((s := statuses.get(c.name)) is not None and not _is_done(c, s) for c in containers)


def _is_done(container: Container, status: ContainerStatus) -> bool:
    asked, has = container.resources.requests, status.resources
    return has is None or (has.requests == asked and status.allocatedResources == asked)
