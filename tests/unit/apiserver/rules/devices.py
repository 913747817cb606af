"""Claims for devices, classes and slices of them, as they come out of the API server's rules."""

from typing import Any

from api import kinds, meta
from api.kinds import Kind
from apiserver.rules import decode, default, prepare_create, prepare_update, validate, validate_update

EXACTLY = {"deviceClassName": "gpu.example.com"}
REQUEST = {"name": "one", "exactly": EXACTLY}
POOL = {"name": "p", "generation": 1, "resourceSliceCount": 1}
SLICE = {"driver": "gpu.example.com", "nodeName": "n", "pool": POOL}
RESULT = {"request": "one", "driver": "gpu.example.com", "pool": "p", "device": "d"}
ALLOCATION = {"devices": {"results": [RESULT]}}
CONSUMER = {"resource": "pods", "name": "p", "uid": "u"}


def written(name: str, spec: dict[str, Any], status: Any = None, **metadata: Any) -> tuple[Kind, Any]:
    """(the kind, the object with its defaults)"""
    kind = kinds.by_name("resource.k8s.io/v1", name)
    assert kind is not None
    metadata = {"name": "one", **({"namespace": "ns"} if kind.namespaced else {}), **metadata}
    document = {"metadata": metadata, "spec": spec} | ({"status": status} if status is not None else {})
    obj, _ = decode(kind, meta.encode(document))
    default(kind, obj)
    return kind, obj


def claim(*requests: dict[str, Any], status: Any = None, **devices: Any) -> tuple[Kind, Any]:
    return written("ResourceClaim", {"devices": {"requests": list(requests), **devices}}, status)


def slice_(**spec: Any) -> tuple[Kind, Any]:
    return written("ResourceSlice", {**SLICE, **spec})


def faults(made: tuple[Kind, Any]) -> list[str]:
    """Of a new object."""
    kind, obj = made
    prepare_create(kind, obj)
    return [str(f) for f in validate(kind, obj)]


def faults_of_update(new: tuple[Kind, Any], old: tuple[Kind, Any], subresource: str = "") -> list[str]:
    kind, obj = new
    prepare_update(kind, obj, old[1], subresource)
    return [str(f) for f in validate_update(kind, obj, old[1], subresource)]
