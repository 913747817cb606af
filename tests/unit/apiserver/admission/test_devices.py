"""Devices that others have, and the times of taints."""

from typing import Any

import pytest

from api.errors import Invalid
from api.types import Namespace, ObjectMeta
from apiserver.admission.devices import LABEL, DeviceAdminAccess, DeviceTaints
from machinery.testing import FakeClock
from tests.unit.apiserver.admission.worlds import Memory, asking
from tests.unit.apiserver.rules.devices import EXACTLY, RESULT, claim, slice_, written

ADMIN = {"name": "one", "exactly": {**EXACTLY, "adminAccess": True}}
GIVEN = {"allocation": {"devices": {"results": [RESULT, {**RESULT, "adminAccess": True}]}}}
FORBIDDEN = f"Forbidden: admin access to devices requires the `{LABEL}: true` label on the containing namespace"
TEMPLATE = {"spec": {"devices": {"requests": [ADMIN]}}}


def labelled(value: str) -> Memory:
    return Memory(Namespace(metadata=ObjectMeta(name="ns", labels={LABEL: value})))


@pytest.mark.parametrize(
    ("obj", "old", "subresource", "path"),
    [
        (claim(ADMIN), None, "", "spec.devices.requests[0].adminAccess"),
        (written("ResourceClaimTemplate", TEMPLATE), None, "", "spec.devices.requests[0].adminAccess"),
        (claim(ADMIN, status=GIVEN), claim(ADMIN), "status", "status.allocation.devices.results[1].adminAccess"),
        (claim(ADMIN), claim(ADMIN), "", ""),
        (claim(ADMIN, status=GIVEN), claim(ADMIN, status=GIVEN), "status", ""),
        (claim({"name": "one", "exactly": EXACTLY}), None, "", ""),
    ],
)
async def test_devices_that_others_have_are_for_namespaces_with_a_label(
    obj: Any, old: Any, subresource: str, path: str
) -> None:
    kind, new = obj
    request = asking(new, "update" if old else "create", subresource=subresource)
    before = old[1] if old else None
    await DeviceAdminAccess(labelled("true")).judge(request, new, before)
    access = DeviceAdminAccess(labelled("True"))
    if not path:
        return await access.judge(request, new, before)
    with pytest.raises(Invalid) as caught:
        await access.judge(request, new, before)
    assert caught.value.message == f'{kind.name}.resource.k8s.io "one" is invalid: {path}: {FORBIDDEN}'
    return None


async def test_a_taint_begins_when_it_is_written_unless_it_says_otherwise() -> None:
    known = {"key": "b", "effect": "None", "timeAdded": "2020-01-01T00:00:00Z"}
    _, obj = slice_(devices=[{"name": "d", "taints": [{"key": "a", "effect": "None"}, known]}])
    await DeviceTaints(FakeClock()).admit(asking(obj), obj, None)
    first, second = obj.spec.devices[0].taints
    assert first.timeAdded.endswith("Z")
    assert second.timeAdded == "2020-01-01T00:00:00Z"
