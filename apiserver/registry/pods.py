"""What is done to a pod through its own subresources: binding it to a node, evicting it."""

from typing import Any

from msgspec.structs import replace

from api import errors, meta
from api.errors import BadRequest
from api.paths import Path, not_supported, refusal, required
from api.types import Binding, Eviction, PodCondition
from apiserver.registry.objects import Current
from apiserver.requests import DeleteOptions, parse_delete_options
from apiserver.rules.decoding import read

BINDINGS = "pods/binding"


def read_binding(body: bytes, name: str) -> Binding:
    """Raises BadRequest, Invalid."""
    binding = read(Binding, body)
    target = binding.target
    if name and binding.metadata.name not in ("", name):
        raise BadRequest(f"name in URL does not match name in Binding object: {name} != {binding.metadata.name}")
    faults = []
    if target is None or not target.name:
        faults.append(required(Path("target.name")))
    elif target.kind not in ("", "Node"):
        faults.append(not_supported(Path("target.kind"), target.kind, ["Node", "<empty>"]))
    if faults:
        raise refusal("", "Binding", binding.metadata.name, faults)
    return binding


def bound(current: Current, binding: Binding, now: str) -> Any:
    """The pod on its node. A pod is bound once.  Raises Conflict."""
    pod, metadata = _opened(current.obj), binding.metadata
    name = pod.metadata.name
    if metadata.uid and metadata.uid != pod.metadata.uid:
        why = f"Precondition failed: UID in precondition: {metadata.uid}, UID in object meta: {pod.metadata.uid}"
        raise errors.conflict(BINDINGS, name, why)
    if pod.metadata.deletionTimestamp:
        raise errors.conflict(BINDINGS, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if pod.spec.nodeName:
        why = f'pod {name} is already assigned to node "{pod.spec.nodeName}"'
        raise errors.conflict(BINDINGS, name, why)
    if pod.spec.schedulingGates:
        raise errors.conflict(BINDINGS, name, f"pod {name} has non-empty .spec.schedulingGates")
    assert binding.target is not None
    pod.spec.nodeName = binding.target.name
    pod.status.nominatedNodeName = ""
    pod.metadata.labels = pod.metadata.labels | metadata.labels
    pod.metadata.annotations = pod.metadata.annotations | metadata.annotations
    scheduled = PodCondition(type="PodScheduled", status="True", lastTransitionTime=now)
    scheduled.observedGeneration = pod.metadata.generation or 0
    meta.set_condition(pod.status.conditions, scheduled)
    pod.metadata.resourceVersion = ""
    return pod


def _opened(pod: Any) -> Any:
    """The pod, with new objects in the places that a binding writes to: to copy all of it costs ten times as much."""
    status = replace(pod.status, conditions=[replace(condition) for condition in pod.status.conditions])
    return replace(pod, metadata=replace(pod.metadata), spec=replace(pod.spec), status=status)


def read_eviction(body: bytes, name: str) -> Eviction:
    """Raises BadRequest."""
    eviction = read(Eviction, body)
    if eviction.metadata.name != name:
        raise BadRequest("name in URL does not match name in Eviction object")
    return eviction


def deletion_of(eviction: Eviction) -> DeleteOptions:
    """How the evicted pod is to be deleted.  Raises BadRequest."""
    if eviction.deleteOptions is None:
        return DeleteOptions()
    return parse_delete_options(meta.encode(eviction.deleteOptions))
