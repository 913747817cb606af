"""The selector of a pod's group: what its services and its controller select it by.

Pods that say nothing about spreading are spread from the others of their group.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from api import labels, meta
from api.labels import EVERYTHING, Requirement, Selector
from api.types import Pod, ReplicaSet, ReplicationController, Service, StatefulSet


class Reader(Protocol):
    """What is needed of an informer."""

    def get(self, namespace: str, name: str) -> Any: ...
    def list(self, namespace: str = "") -> list[Any]: ...


class Groups:
    def __init__(self, readers: Mapping[type[Any], Reader]) -> None:
        self._services = readers[Service]
        self._controllers = {kind.__name__: readers[kind] for kind in CONTROLLERS}

    def selector(self, pod: Pod) -> Selector:
        """All the selectors joined; EVERYTHING if the pod belongs to nothing."""
        joined: dict[Requirement, None] = {}
        for service in self._services.list(pod.metadata.namespace):
            wanted = service.spec.selector
            # Compared as dicts: a namespace may have a thousand services, and this is done for every decision.
            if wanted and wanted.items() <= pod.metadata.labels.items():
                joined |= dict.fromkeys(labels.from_map(wanted).requirements)
        joined |= dict.fromkeys(self._of_controller(pod).requirements)
        return Selector(tuple(joined)) if joined else EVERYTHING

    def _of_controller(self, pod: Pod) -> Selector:
        owner = meta.controller_of(pod)
        reader = self._controllers.get(owner.kind) if owner is not None else None
        controller = (
            reader.get(pod.metadata.namespace, owner.name) if reader is not None and owner is not None else None
        )
        if controller is None or not meta.is_controlled_by(pod, controller):
            return EVERYTHING
        if isinstance(controller, ReplicationController):
            return labels.from_map(controller.spec.selector)
        return labels.from_object(controller.spec.selector)


CONTROLLERS: tuple[type[Any], ...] = (ReplicationController, ReplicaSet, StatefulSet)
KINDS: tuple[type[Any], ...] = (Service, *CONTROLLERS)
