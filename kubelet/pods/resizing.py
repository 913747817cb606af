"""Giving running containers other amounts of cpu and memory.
https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/

A resize is granted or put off as a whole; what was granted is carried out container by container.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

from api import meta, quantities
from api.quotas import pods as totals
from api.types import Container, Pod, PodCondition
from kubelet.containers.specs import amounts
from kubelet.pods.allocations import resizable
from kubelet.pods.means import Means
from kubelet.runtime.interfaces import AMOUNTS, Amounts, EngineError, Record
from kubelet.syncing.restarts import is_sidecar

RETRY = 10.0
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
UNITS = {"memory": quantities.value, "cpu": quantities.milli}

log = logging.getLogger("pods")


class Resizing:
    """Of one pod: `conditions` say what holds a resize up, `restarts` are containers that must be restarted for it.

    What an earlier kubelet has told of the pod's last resize is not told again.
    """

    def __init__(self, means: Means, pod: Pod) -> None:
        self.restarts: frozenset[str] = frozenset()
        self._means = means
        self._pending: PodCondition | None = meta.condition(pod, PENDING)
        self._progress: PodCondition | None = meta.condition(pod, IN_PROGRESS)

    @property
    def conditions(self) -> tuple[PodCondition, ...]:
        return tuple(c for c in (self._pending, self._progress) if c is not None)

    @property
    def waits(self) -> bool:
        """For room that others give back."""
        return self._pending is not None

    async def settle(self, pod: Pod, records: Iterable[Record]) -> float | None:
        """Let the running containers have what the pod asks for now, or was promised last.  Seconds until it is worth
        another try, or None if there is nothing left to do."""
        allocations = self._means.allocations
        if allocations.of(pod) is pod:
            self._pending = None
        elif (refusal := self._refusal(pod)) is not None:
            self._put_off(pod, *refusal)
        else:
            allocations.grant(pod)
            self._pending = None
            self._progress = _condition(pod, IN_PROGRESS)
            self._tell(pod, "Normal", "ResizeStarted", message(pod, "started"))
        done = await self._carry_out(allocations.of(pod), records)
        return None if done and self._pending is None else RETRY

    def _put_off(self, pod: Pod, reason: str, why: str) -> None:
        old, self._pending = self._pending, _condition(pod, PENDING, reason, why)
        # How much there is changes often; that a resize waits is told once.
        if old is None or (old.reason, old.observedGeneration) != (reason, pod.metadata.generation):
            self._tell(pod, "Warning", f"Resize{reason}", message(pod, reason, why))

    async def _carry_out(self, pod: Pod, records: Iterable[Record]) -> bool:
        """False if the engine did not let it."""
        quota = self._means.host.quota
        running = {r.name: r for r in records if r.running and not r.is_pause}
        due = [
            (c, r, what)
            for c in resizable(pod)
            if (r := running.get(c.name)) and (what := difference(pod, c, r, quota))
        ]
        self.restarts = frozenset(c.name for c, _, what in due if _needs_restart(c, what))
        if due:
            self._means.groups.widen(pod)
        for container, record, _ in due:
            if container.name in self.restarts:
                continue
            try:
                await self._means.runtime.update(record.id, amounts(pod, container, quota))
                await self._means.cache.refresh(record.id)
            except EngineError as e:
                self._fail(pod, container, str(e))
                return False
        if self.restarts:  # the group is narrowed when the containers that exceed it are gone
            self._progress = self._progress or _condition(pod, IN_PROGRESS)
        elif due or self._progress is not None:
            self._means.groups.ensure(pod)
            self._complete(pod)
        return True

    def _fail(self, pod: Pod, container: Container, why: str) -> None:
        log.warning("resizing container %s of pod %s: %s", container.name, pod.metadata.uid, why)
        old, self._progress = self._progress, _condition(pod, IN_PROGRESS, "Error", why)
        if old is None or (old.reason, old.message) != ("Error", why):
            self._tell(pod, "Warning", "ResizeError", message(pod, "error", why))

    def _complete(self, pod: Pod) -> None:
        if self._progress is not None:
            self._progress = None
            self._tell(pod, "Normal", "ResizeCompleted", message(pod, "completed"))

    def _tell(self, pod: Pod, kind: str, reason: str, words: str) -> None:
        self._means.recorder.event(pod, kind, reason, words)

    def _refusal(self, pod: Pod) -> tuple[str, str] | None:
        """(reason, message) if the node has not that much at all, or not now."""
        capacity = self._means.allocatable()
        for name in UNITS:
            wanted, has = _requested([pod], name), _amount(capacity, name)
            if name in capacity and wanted > has:
                why = f"{name}, requested: {wanted}, capacity: {has}"
                return "Infeasible", f"Node didn't have enough capacity: {why}"
        others = [p for p in self._means.pods() if p.metadata.uid != pod.metadata.uid and not is_over(p)]
        for name in UNITS:
            wanted, has, used = _requested([pod], name), _amount(capacity, name), _requested(others, name)
            if name in capacity and wanted and used + wanted > has:
                why = f"{name}, requested: {wanted}, used: {used}, capacity: {has}"
                return "Deferred", f"Node didn't have enough resource: {why}"
        return None


def message(pod: Pod, what: str, why: str = "") -> str:
    """Of an event, as upstream writes it: with what each container is to have."""
    inits = [_described(c) for c in pod.spec.initContainers if is_sidecar(c)]
    told: dict[str, Any] = {"initContainers": inits} if inits else {}
    told |= {"containers": [_described(c) for c in pod.spec.containers], "generation": pod.metadata.generation}
    if why:
        told["error"] = why
    return f"Pod resize {what}: {json.dumps(told, separators=(',', ':'), ensure_ascii=False)}"


def _described(container: Container) -> dict[str, Any]:
    parts = {"limits": container.resources.limits, "requests": container.resources.requests}
    resources = {part: dict(sorted(has.items())) for part, has in parts.items() if has}
    return {"name": container.name, "resources": resources}


def _condition(pod: Pod, kind: str, reason: str = "", why: str = "") -> PodCondition:
    generation = pod.metadata.generation
    return PodCondition(type=kind, status="True", reason=reason, message=why, observedGeneration=generation)


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


def _needs_restart(container: Container, what: set[str]) -> bool:
    return any(p.restartPolicy == "RestartContainer" and p.resourceName in what for p in container.resizePolicy)


def _requested(pods: Iterable[Pod], name: str) -> int:
    scale = 1000 if name == "cpu" else 1
    found = (totals.requests(p).get(name) for p in pods)
    return sum(math.ceil(amount.value * scale) for amount in found if amount is not None)


def _amount(resources: Mapping[str, str], name: str) -> int:
    return UNITS[name](resources.get(name, "0"))


def is_over(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")
