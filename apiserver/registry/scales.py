"""The scale subresource: the number of replicas of several kinds, in one shape (autoscaling/v1 Scale)."""

from typing import Any

import msgspec

from api import labels, meta
from api.errors import BadRequest
from api.kinds import Kind
from api.paths import Path, invalid, refusal
from api.types import ObjectMeta, Scale, ScaleSpec, ScaleStatus
from apiserver.registry.objects import Current


def scale_of(obj: Any, revision: int) -> Scale:
    """The Scale of a ReplicationController, ReplicaSet, Deployment or StatefulSet."""
    metadata = obj.metadata
    selector = obj.spec.selector
    chosen = labels.from_map(selector) if isinstance(selector, dict) else labels.from_object(selector)
    return Scale(
        metadata=ObjectMeta(
            name=metadata.name, namespace=metadata.namespace, uid=metadata.uid, resourceVersion=str(revision),
            creationTimestamp=metadata.creationTimestamp,
        ),
        spec=ScaleSpec(replicas=obj.spec.replicas),
        status=ScaleStatus(replicas=obj.status.replicas, selector=str(chosen)),
    )  # fmt: skip


def document(kind: Kind, served: bytes) -> bytes:
    """The Scale document of a served object."""
    obj = meta.decode(served, kind.type)
    return meta.encode(scale_of(obj, int(obj.metadata.resourceVersion or 0)))


def read(document: bytes) -> Scale:
    """A Scale that a client sent.  Raises BadRequest, Invalid."""
    try:
        scale = meta.decode(document, Scale)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise BadRequest(f'Scale in version "v1" cannot be handled as a Scale: {e}') from e
    if (scale.apiVersion, scale.kind) != ("autoscaling/v1", "Scale"):
        raise BadRequest(f"wrong object passed to Scale update: {scale.apiVersion}, Kind={scale.kind}")
    replicas = scale.spec.replicas or 0
    if replicas < 0:
        fault = invalid(Path("spec.replicas"), replicas, "must be greater than or equal to 0")
        raise refusal("autoscaling", "Scale", scale.metadata.name, [fault])
    return scale


def scaled(current: Current, scale: Scale) -> Any:
    """The object of that size."""
    obj = meta.clone(current.obj)
    obj.spec.replicas = scale.spec.replicas or 0
    if scale.metadata.resourceVersion:
        obj.metadata.resourceVersion = scale.metadata.resourceVersion
    if scale.metadata.uid:
        obj.metadata.uid = scale.metadata.uid
    return obj
