"""The scale subresource: the number of replicas of several kinds, in one shape (autoscaling/v1 Scale)."""

from typing import Any

from api import labels, meta
from api.errors import BadRequest
from api.kinds import Kind
from api.paths import Path, invalid, refusal
from api.types import ObjectMeta, Scale, ScaleSpec, ScaleStatus
from apiserver.customs import scaling
from apiserver.registry.objects import Current
from apiserver.rules import decoding


def scale_of(kind: Kind, obj: Any, revision: int) -> Scale:
    """The Scale of a ReplicationController, ReplicaSet, Deployment, StatefulSet or custom object."""
    metadata = obj.metadata
    if kind.custom:
        replicas, now, chosen = scaling.read(kind, obj)
    else:
        selector = obj.spec.selector
        found = labels.from_map(selector) if isinstance(selector, dict) else labels.from_object(selector)
        replicas, now, chosen = obj.spec.replicas, obj.status.replicas, str(found)
    return Scale(
        metadata=ObjectMeta(
            name=metadata.name, namespace=metadata.namespace, uid=metadata.uid, resourceVersion=str(revision),
            creationTimestamp=metadata.creationTimestamp,
        ),
        spec=ScaleSpec(replicas=replicas),
        status=ScaleStatus(replicas=now, selector=chosen),
    )  # fmt: skip


def path_of(kind: Kind) -> tuple[str, ...]:
    """Where an object of that kind has the number."""
    return tuple(kind.shape.scale.replicas) if kind.custom else ("spec", "replicas")


def document(kind: Kind, served: bytes) -> bytes:
    """The Scale document of a served object."""
    obj = meta.decode(served, kind.type)
    return meta.encode(scale_of(kind, obj, int(obj.metadata.resourceVersion or 0)))


def read(document: bytes) -> Scale:
    """A Scale that a client sent.  Raises BadRequest, Invalid."""
    scale = decoding.read(Scale, document)
    if (scale.apiVersion, scale.kind) != ("autoscaling/v1", "Scale"):
        raise BadRequest(f"wrong object passed to Scale update: {scale.apiVersion}, Kind={scale.kind}")
    replicas = scale.spec.replicas or 0
    if replicas < 0:
        fault = invalid(Path("spec.replicas"), replicas, "must be greater than or equal to 0")
        raise refusal("autoscaling", "Scale", scale.metadata.name, [fault])
    return scale


def scaled(kind: Kind, current: Current, scale: Scale) -> Any:
    """The object of that size."""
    obj = meta.clone(current.obj)
    if kind.custom:
        scaling.write(kind, obj, scale.spec.replicas or 0)
    else:
        obj.spec.replicas = scale.spec.replicas or 0
    if scale.metadata.resourceVersion:
        obj.metadata.resourceVersion = scale.metadata.resourceVersion
    if scale.metadata.uid:
        obj.metadata.uid = scale.metadata.uid
    return obj
