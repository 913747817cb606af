"""Giving running containers other amounts of cpu and memory.
https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/
"""

import logging
from collections.abc import Iterable, Mapping

from api import quantities
from api.types import Container, Pod, PodCondition
from kubelet.containers.specs import amounts
from kubelet.pods.means import Means
from kubelet.runtime.interfaces import AMOUNTS, Amounts, EngineError, Record
from kubelet.syncing.views import is_sidecar

RETRY = 10.0
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
UNITS = {"memory": quantities.value, "cpu": quantities.milli}

log = logging.getLogger("pods")


class Resizing:
    """Of one pod: `conditions` say what holds a resize up, `restarts` are containers that must be restarted for it."""

    def __init__(self, means: Means) -> None:
        self.conditions: tuple[PodCondition, ...] = ()
        self.restarts: frozenset[str] = frozenset()
        self._means = means

    @property
    def is_pending(self) -> bool:
        return any(c.type == PENDING for c in self.conditions)

    async def settle(self, pod: Pod, records: Iterable[Record]) -> float | None:
        """Let the running containers have what the pod asks for now.  Seconds until it is worth another try, or None
        if there is nothing left to do."""
        quota = self._means.host.quota
        running = {r.name: r for r in records if r.running and not r.is_pause}
        due = [
            (c, r, what) for c in _lasting(pod) if (r := running.get(c.name)) and (what := difference(pod, c, r, quota))
        ]
        self.conditions, self.restarts = (), frozenset()
        if not due:
            return None
        if (refusal := self._refusal(pod)) is not None:
            reason, message = refusal
            self.conditions = (PodCondition(type=PENDING, status="True", reason=reason, message=message),)
            return RETRY
        self._means.groups.widen(pod)
        for container, record, what in due:
            if _needs_restart(container, what):
                self.restarts |= {container.name}
                self.conditions = (PodCondition(type=IN_PROGRESS, status="True"),)
                continue
            try:
                await self._means.runtime.update(record.id, amounts(pod, container, quota))
                await self._means.cache.refresh(record.id)
            except EngineError as e:
                log.warning("resizing container %s of pod %s: %s", container.name, pod.metadata.uid, e)
                self.conditions = (PodCondition(type=IN_PROGRESS, status="True", reason="Error", message=str(e)),)
                return RETRY
        if not self.restarts:  # else the group is narrowed when the containers that exceed it are gone
            self._means.groups.ensure(pod)
        return None

    def _refusal(self, pod: Pod) -> tuple[str, str] | None:
        """(reason, message) if the node has not that much at all, or not now."""
        capacity = self._means.allocatable()
        for name in UNITS:
            wanted, has = _requested([pod], name), _amount(capacity, name)
            if name in capacity and wanted > has:
                message = f"{name}, requested: {wanted}, capacity: {has}"
                return "Infeasible", f"Node didn't have enough capacity: {message}"
        others = [p for p in self._means.pods() if p.metadata.uid != pod.metadata.uid and not _is_over(p)]
        for name in UNITS:
            wanted, has, used = _requested([pod], name), _amount(capacity, name), _requested(others, name)
            if name in capacity and wanted and used + wanted > has:
                message = f"{name}, requested: {wanted}, used: {used}, capacity: {has}"
                return "Deferred", f"Node didn't have enough resource: {message}"
        return None


def difference(pod: Pod, container: Container, record: Record, quota: int | None = None) -> set[str]:
    """Which of cpu and memory a running container has in another amount than it should.

    A limit that this machine's engine discarded when the container was made is not asked for again.
    """
    wanted, made = amounts(pod, container, quota), Amounts.parse(record.labels.get(AMOUNTS, ""))
    found = set()
    for name, field in (("cpu", "shares"), ("cpu", "quota"), ("memory", "memory")):
        should, does = getattr(wanted, field), getattr(record.amounts, field)
        discarded = does == 0 and (made is None or getattr(made, field) == should)
        if should != does and not discarded:
            found.add(name)
    return found


def _lasting(pod: Pod) -> list[Container]:
    return [*pod.spec.containers, *(c for c in pod.spec.initContainers if is_sidecar(c))]


def _needs_restart(container: Container, what: set[str]) -> bool:
    return any(p.restartPolicy == "RestartContainer" and p.resourceName in what for p in container.resizePolicy)


def _requested(pods: Iterable[Pod], name: str) -> int:
    return sum(_amount(c.resources.limits | c.resources.requests, name) for p in pods for c in _lasting(p))


def _amount(resources: Mapping[str, str], name: str) -> int:
    return UNITS[name](resources.get(name, "0"))


def _is_over(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")
