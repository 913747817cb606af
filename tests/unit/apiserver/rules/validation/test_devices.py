"""Claims for devices and slices of them."""

from typing import Any

import pytest

from api import kinds, meta
from apiserver.rules import decode, default, validate, validate_update

REQUEST = {"name": "one", "exactly": {"deviceClassName": "gpu.example.com"}}
SLICE = {
    "driver": "gpu.example.com", "nodeName": "n", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
}  # fmt: skip


def made(name: str, spec: dict[str, Any]) -> tuple[Any, Any]:
    kind = kinds.by_name("resource.k8s.io/v1", name)
    assert kind is not None
    metadata = {"name": "one"} | ({"namespace": "ns"} if kind.namespaced else {})
    obj, _ = decode(kind, meta.encode({"metadata": metadata, "spec": spec}))
    default(kind, obj)
    return kind, obj


def claim(*requests: dict[str, Any]) -> tuple[Any, Any]:
    return made("ResourceClaim", {"devices": {"requests": list(requests)}})


def told(made: tuple[Any, Any]) -> list[str]:
    return [str(f) for f in validate(*made)]


def test_a_request_is_for_one_device_unless_it_says_otherwise() -> None:
    kind, obj = claim(REQUEST)
    assert validate(kind, obj) == []
    exactly = obj.spec.devices.requests[0].exactly
    assert (exactly.allocationMode, exactly.count) == ("ExactCount", 1)


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (
            {"name": "one"},
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ),
        (
            {"name": "one", "exactly": {"deviceClassName": ""}},
            "spec.devices.requests[0].exactly.deviceClassName: Required value",
        ),
        ({**REQUEST, "name": ""}, "spec.devices.requests[0].name: Required value"),
    ],
)
def test_a_request_says_what_it_is_for(request_: dict[str, Any], fault: str) -> None:
    assert told(claim(request_)) == [fault]


def test_a_claim_and_a_template_stay_as_they_are() -> None:
    kind, new = claim({**REQUEST, "name": "two"})
    assert [f.path for f in validate_update(kind, new, claim(REQUEST)[1])] == ["spec"]
    kind, new = made("ResourceClaimTemplate", {"spec": {"devices": {"requests": [REQUEST]}}})
    assert [f.path for f in validate_update(kind, new, made("ResourceClaimTemplate", {"spec": {}})[1])] == ["spec"]


def test_a_slice_is_of_one_place_and_one_driver() -> None:
    assert told(made("ResourceSlice", SLICE)) == []
    assert told(made("ResourceSlice", {**SLICE, "nodeName": ""}))[0].startswith("spec: Required value: exactly one of")
    assert told(made("ResourceSlice", {**SLICE, "allNodes": True}))[0].startswith("spec: Invalid value")
    kind, new = made("ResourceSlice", {**SLICE, "driver": "other.example.com", "nodeName": "m"})
    faults = validate_update(kind, new, made("ResourceSlice", SLICE)[1])
    assert [f.path for f in faults] == ["spec.driver", "spec.nodeName"]
