"""Priority: the number that a pod's priority class stands for."""

from typing import Any

from api import errors, kinds
from api.types import Pod, PodGroup, PriorityClass
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request

PODS = kinds.of(Pod)
CLASSES = kinds.of(PriorityClass)
GROUPS = kinds.of(PodGroup)
DEFAULT_POLICY = "PreemptLowerPriority"
HIGHEST_USER = 1_000_000_000
# Upstream stores these two as objects; they count here whether or not the objects are there.
SYSTEM = {"system-cluster-critical": 2 * HIGHEST_USER, "system-node-critical": 2 * HIGHEST_USER + 1000}


class Priority:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/"""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.subresource or obj is None:
            return
        if request.kind is PODS:
            await self._resolve(obj, old)
        elif request.kind is GROUPS:
            await self._resolve_group(obj, old)
        elif request.kind is CLASSES:
            self._one_default(obj)

    async def _resolve(self, pod: Pod, old: Pod | None) -> None:
        if old is not None:
            # The number was settled at creation; clients that send the object without it keep it.
            if pod.spec.priority is None and old.spec.priority is not None:
                pod.spec.priority = old.spec.priority
            if pod.spec.preemptionPolicy == "" and old.spec.preemptionPolicy:
                pod.spec.preemptionPolicy = old.spec.preemptionPolicy
            return
        name, value, policy = await self._class_of(pod)
        pod.spec.priorityClassName = name
        if pod.spec.priority is not None and pod.spec.priority != value:
            raise _refusal(
                pod, f"the integer value of priority ({pod.spec.priority}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name",
            )  # fmt: skip
        pod.spec.priority = value
        if pod.spec.preemptionPolicy and pod.spec.preemptionPolicy != policy:
            raise _refusal(
                pod, f"the string value of PreemptionPolicy ({pod.spec.preemptionPolicy}) must not be provided in pod "
                f"spec; priority admission controller computed {policy} from the given PriorityClass name",
            )  # fmt: skip
        pod.spec.preemptionPolicy = policy

    async def _resolve_group(self, group: PodGroup, old: PodGroup | None) -> None:
        if old is not None:
            if group.spec.priority is None:
                group.spec.priority = old.spec.priority
            return
        name, value, _ = await self._class_of(group)
        if group.spec.priority is not None and group.spec.priority != value:
            raise _refusal(
                group, f"the integer value of priority ({group.spec.priority}) must not be provided in pod group spec; "
                f"priority admission controller computed {value} from the given PriorityClass name",
            )  # fmt: skip
        group.spec.priorityClassName, group.spec.priority = name, value

    async def _class_of(self, pod: Pod | PodGroup) -> tuple[str, int, str]:
        name = pod.spec.priorityClassName
        if not name:
            default = self._default()
            if default is None:
                return "", 0, DEFAULT_POLICY
            return default.metadata.name, default.value or 0, default.preemptionPolicy or DEFAULT_POLICY
        if name in SYSTEM:
            return name, SYSTEM[name], DEFAULT_POLICY
        found = await find(self.reader, CLASSES, "", name)
        if found is None:
            raise _refusal(pod, f"no PriorityClass with name {name} was found")
        return name, found.value or 0, found.preemptionPolicy or DEFAULT_POLICY

    def _default(self) -> PriorityClass | None:
        """The global default; of several, which only races can make, the lowest counts."""
        defaults = [c for c in self.reader.list_cached(CLASSES) if c.globalDefault]
        return min(defaults, key=lambda c: c.value or 0, default=None)

    def _one_default(self, new: PriorityClass) -> None:
        other = self._default() if new.globalDefault else None
        if other is not None and other.metadata.name != new.metadata.name:
            raise errors.forbidden(
                CLASSES.group_resource, new.metadata.name,
                f"PriorityClass {other.metadata.name} is already marked as default. Only one default can exist",
            )  # fmt: skip


def _refusal(obj: Pod | PodGroup, why: str) -> errors.Forbidden:
    return errors.forbidden((PODS if isinstance(obj, Pod) else GROUPS).group_resource, obj.metadata.name, why)
