"""What the rules about devices need a clock or another object for.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#admin-access
"""

from typing import Any

from api import kinds, times
from api.paths import Path, forbidden, refusal
from api.resource_claims import requests, results
from api.types import Namespace, ResourceClaimTemplate, ResourceSlice, ResourceV1ResourceClaim
from apiserver.admission.reading import Reader
from apiserver.requests import Request
from machinery.clocks import Clock

NAMESPACES, CLAIMS, TEMPLATES, SLICES = (
    kinds.of(t) for t in (Namespace, ResourceV1ResourceClaim, ResourceClaimTemplate, ResourceSlice)
)
LABEL = "resource.kubernetes.io/admin-access"
UNLABELLED = f"admin access to devices requires the `{LABEL}: true` label on the containing namespace"


class DeviceTaints:
    """A taint begins when it is written, unless it says otherwise: upstream's default."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if obj is None or request.kind is not SLICES:
            return
        for device in obj.spec.devices:
            for taint in device.taints:
                taint.timeAdded = taint.timeAdded or times.format(self._clock.now())


class DeviceAdminAccess:
    """Devices that are somebody else's already are for namespaces that an administrator has labelled.

    Upstream's strategies ask this, so that the answer has their form.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """Raises Invalid."""
        if obj is None or request.kind not in (CLAIMS, TEMPLATES):
            return
        if request.subresource == "status":
            at = None if _given(old) else _given(obj)
        else:
            at = _asked(obj) if old is None else None  # what was asked for never changes
        if at is None:
            return
        name, kind = obj.metadata.namespace, request.kind
        if _is_labelled(self._reader.get_cached(NAMESPACES, "", name)):
            return
        # Nobody is refused for a label that the cache has not seen yet.
        if not _is_labelled(await self._reader.get_fresh(NAMESPACES, "", name)):
            raise refusal(kind.group, kind.name, obj.metadata.name, [forbidden(at, UNLABELLED)])


def _is_labelled(namespace: Namespace | None) -> bool:
    return namespace is not None and namespace.metadata.labels.get(LABEL) == "true"


def _asked(obj: ResourceV1ResourceClaim | ResourceClaimTemplate) -> Path | None:
    devices = obj.spec.spec.devices if isinstance(obj, ResourceClaimTemplate) else obj.spec.devices
    for i, request in enumerate(requests(devices)):
        if request.exactly is not None and request.exactly.adminAccess:
            return Path("spec.devices.requests").index(i).child("adminAccess")  # of templates, too
    return None


def _given(claim: ResourceV1ResourceClaim) -> Path | None:
    for i, result in enumerate(results(claim.status.allocation)):
        if result.adminAccess:
            return Path("status.allocation.devices.results").index(i).child("adminAccess")
    return None
