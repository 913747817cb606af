"""Kind by kind: which resources of a quota it counts for, and how much of them one object uses."""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, Protocol

from api import kinds, names, times
from api.kinds import Kind
from api.quotas import pods, scopes
from api.quotas.amounts import ONE, ZERO, Amount, Usage, add, amount, most, plus, read
from api.resource_claims import requests
from api.types import (
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    ResourceV1ResourceClaim,
    ScopedResourceSelectorRequirement,
    Service,
)  # fmt: skip

COUNT = "count/"
REQUESTS = "requests."
PODS, SERVICES = kinds.of(Pod), kinds.of(Service)
CLAIMS, DEVICES = kinds.of(PersistentVolumeClaim), kinds.of(ResourceV1ResourceClaim)
# Names from the days before count/.
ALIASES = {"configmaps", "replicationcontrollers", "resourcequotas", "secrets"}
# Never counted: what is not stored, and events.
FREE = {"bindings", "componentstatuses", "events", "events.events.k8s.io"}
UNCOUNTED_GROUPS = {"authentication.k8s.io", "authorization.k8s.io"}
OF_PODS = {
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods", "count/pods",
}  # fmt: skip
# A mistake of the first days, kept: whoever limits these obliges every container to state them.
STATED = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
COMPUTE = "cpu", "memory", "ephemeral-storage"
OF_SERVICES = {"services", "services.nodeports", "services.loadbalancers", "count/services"}
OF_CLAIMS = {"persistentvolumeclaims", "requests.storage", "count/persistentvolumeclaims"}
STORAGE_CLASS = ".storageclass.storage.k8s.io/"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices"
MOST_DEVICES = 32
"""In one allocation: what a request for all devices is charged."""


class Evaluator(Protocol):
    updates: bool
    """Whether an update can be charged too."""

    def matching(self, resources: Iterable[str]) -> set[str]:
        """Those resources of a quota that objects of this kind use."""

    def usage(self, obj: Any, now: float) -> Usage: ...

    def in_scope(self, scope: ScopedResourceSelectorRequirement, obj: Any) -> bool: ...

    def unstated(self, resources: Collection[str], obj: Any) -> str:
        """What the object has to state because of these resources, and does not; "" if nothing."""


def of(kind: Kind) -> Evaluator | None:
    """None for kinds that are never counted."""
    if not kind.namespaced or kind.group_resource in FREE or kind.group in UNCOUNTED_GROUPS:
        return None
    special = _special().get(kind.group_resource)
    return special or Objects(kind.group_resource)


def counted_by(name: str) -> str:
    """The `plural.group` of the kind that a resource of a quota counts; "" if that is no kind's name."""
    if name.startswith(COUNT):
        return name.removeprefix(COUNT)
    if name in ALIASES:
        return name
    special = (resource for resource, e in _special().items() if e.matching([name]))
    return next(special, "")


def covers(evaluator: Evaluator, quota: ResourceQuota, obj: Any) -> bool:
    """Whether the object is within all scopes of the quota."""
    return all(evaluator.in_scope(scope, obj) for scope in scopes.of(quota))


@cache
def _special() -> dict[str, Evaluator]:
    return {
        PODS.group_resource: Pods(),
        SERVICES.group_resource: Services(),
        CLAIMS.group_resource: Claims(),
        DEVICES.group_resource: Devices(),
    }


class Objects:
    """Any kind: one is one."""

    updates = False

    def __init__(self, group_resource: str) -> None:
        self.names = {COUNT + group_resource} | ({group_resource} & ALIASES)

    def matching(self, resources: Iterable[str]) -> set[str]:
        return self.names.intersection(resources)

    def usage(self, obj: Any, now: float) -> Usage:
        return dict.fromkeys(self.names, ONE)

    def in_scope(self, scope: ScopedResourceSelectorRequirement, obj: Any) -> bool:
        return False

    def unstated(self, resources: Collection[str], obj: Any) -> str:
        return ""


class Pods(Objects):
    def __init__(self) -> None:
        super().__init__(PODS.group_resource)

    def matching(self, resources: Iterable[str]) -> set[str]:
        return {
            name
            for name in resources
            if name in OF_PODS
            or name.startswith(("hugepages-", "requests.hugepages-"))
            or (name.startswith(REQUESTS) and "/" in name and "kubernetes.io/" not in name)
        }

    def usage(self, pod: Pod, now: float) -> Usage:
        counted: Usage = {"count/pods": ONE}
        if not _is_live(pod, now):
            return counted
        return counted | _computed(pods.requests(pod, with_status=True), pods.limits(pod, with_status=True))

    def in_scope(self, scope: ScopedResourceSelectorRequirement, pod: Pod) -> bool:
        return scopes.covers_pod(scope, pod)

    def unstated(self, resources: Collection[str], pod: Pod) -> str:
        required = STATED.intersection(resources)
        missing: dict[str, set[str]] = {}
        for container in (*pod.spec.containers, *pod.spec.initContainers) if required else ():
            stated = _computed(read(container.resources.requests), read(container.resources.limits))
            for name in required - stated.keys():
                missing.setdefault(name, set()).add(container.name)
        return "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))


def _is_live(pod: Pod, now: float) -> bool:
    """Pods that are over, or should have been gone by now, hold nothing."""
    if pod.status.phase in ("Failed", "Succeeded"):
        return False
    metadata = pod.metadata
    if metadata.deletionTimestamp and metadata.deletionGracePeriodSeconds is not None:
        return now <= times.parse(metadata.deletionTimestamp) + metadata.deletionGracePeriodSeconds
    return True


def _computed(requests: Usage, limits: Usage) -> Usage:
    used: Usage = {"pods": ONE}
    for name in COMPUTE:
        if name in requests:
            used[name] = used[REQUESTS + name] = requests[name]
        if name in limits:
            used["limits." + name] = limits[name]
    for name, asked in requests.items():
        if name.startswith("hugepages-"):
            used[name] = used[REQUESTS + name] = asked
        elif _is_extended(name):
            used[REQUESTS + name] = asked
    return used


def _is_extended(name: str) -> bool:
    native = "/" not in name or "kubernetes.io/" in name
    return not native and not name.startswith(REQUESTS) and not names.qualified_name_faults(REQUESTS + name)


class Services(Objects):
    updates = True

    def __init__(self) -> None:
        super().__init__(SERVICES.group_resource)

    def matching(self, resources: Iterable[str]) -> set[str]:
        return OF_SERVICES.intersection(resources)

    def usage(self, service: Service, now: float) -> Usage:
        spec, balanced = service.spec, service.spec.type == "LoadBalancer"
        ports = 0
        if spec.type == "NodePort" or (balanced and spec.allocateLoadBalancerNodePorts is not False):
            ports = len(spec.ports)
        elif balanced:
            ports = sum(1 for p in spec.ports if p.nodePort)
        return {
            "count/services": ONE,
            "services": ONE,
            "services.loadbalancers": ONE if balanced else ZERO,
            "services.nodeports": amount(str(ports)),
        }


class Claims(Objects):
    updates = True

    def __init__(self) -> None:
        super().__init__(CLAIMS.group_resource)

    def matching(self, resources: Iterable[str]) -> set[str]:
        return {n for n in resources if n in OF_CLAIMS or n.partition(STORAGE_CLASS)[2] in OF_CLAIMS}

    def usage(self, claim: PersistentVolumeClaim, now: float) -> Usage:
        used: Usage = {"persistentvolumeclaims": ONE, "count/persistentvolumeclaims": ONE}
        class_name = claim.metadata.annotations.get(BETA_CLASS) or claim.spec.storageClassName
        if class_name:
            used[f"{class_name}{STORAGE_CLASS}persistentvolumeclaims"] = ONE
        storage = _storage(claim)
        if storage is not None:
            used["requests.storage"] = storage
            if class_name:
                used[f"{class_name}{STORAGE_CLASS}requests.storage"] = storage
        return used

    def in_scope(self, scope: ScopedResourceSelectorRequirement, claim: PersistentVolumeClaim) -> bool:
        return scopes.covers_claim(scope, claim)


def _storage(claim: PersistentVolumeClaim) -> Amount | None:
    """What is asked for, or still allocated from a larger wish before."""
    asked = read(claim.spec.resources.requests) if claim.spec.resources is not None else {}
    if "storage" not in asked:
        return None
    return most(asked, read(claim.status.allocatedResources)).get("storage")


class Devices(Objects):
    def __init__(self) -> None:
        super().__init__(DEVICES.group_resource)

    def matching(self, resources: Iterable[str]) -> set[str]:
        return {name for name in resources if name in self.names or name.endswith(DEVICE_CLASS)}

    def usage(self, claim: ResourceV1ResourceClaim, now: float) -> Usage:
        used = super().usage(claim, now)
        for request in requests(claim.spec.devices):
            one: Usage = {}
            for choice in [request.exactly] if request.exactly is not None else request.firstAvailable:
                wanted = MOST_DEVICES if choice.allocationMode == "All" else choice.count or 1
                name = choice.deviceClassName + DEVICE_CLASS
                one = most(one, {name: plus(ZERO, amount(str(wanted)))})
            used = add(used, one)
        return used
