"""When what led to a change of a service's endpoints happened: proxies measure from then how long it took to them.

https://github.com/kubernetes/community/blob/master/sig-scalability/slos/network_programming_latency.md
"""

from collections.abc import Iterable

from api import meta
from api.meta import Key
from api.types import Pod, Service
from controller_manager.service_backends import LAST_CHANGE
from controller_manager.slices import Changes


class TriggerTimes:
    """For one controller; what it has been told of a service before is what is not new."""

    def __init__(self) -> None:
        self._seen: dict[Key, dict[str, str]] = {}

    def forget(self, key: Key) -> None:
        self._seen.pop(key, None)

    def newest(self, service: Service, pods: Iterable[Pod]) -> str:
        """The earliest of the times that are new since the last call; "" if none is, as when a pod has gone."""
        key = meta.key(service)
        before = self._seen.get(key, {})
        now = {"": service.metadata.creationTimestamp} | {p.metadata.name: _ready_since(p) for p in pods}
        self._seen[key] = now
        return min((at for name, at in now.items() if at > before.get(name, "")), default="")


def stamp(changes: Changes, at: str) -> None:
    """Say in every slice that is written when its cause happened; "" if that is not known."""
    for s in (*changes.create, *changes.update):
        s.metadata.annotations = {k: v for k, v in s.metadata.annotations.items() if k != LAST_CHANGE}
        if at:
            s.metadata.annotations[LAST_CHANGE] = at


def _ready_since(pod: Pod) -> str:
    """When it became ready or ceased to be."""
    found = meta.condition(pod, "Ready")
    return found.lastTransitionTime if found is not None else ""
