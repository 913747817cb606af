"""AdmissionReview: the question to a webhook, and its answer.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from api.kinds import Kind
from api.types import Status
from apiserver.admission.attributes import CONNECT, Attributes
from apiserver.admission.webhooks.forms import Tree
from apiserver.requests import Request, User

GROUP = "admission.k8s.io"
KNOWN = ("v1", "v1beta1")
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


class NoReview(ValueError):
    """What came back is no answer. The message says why, as upstream does."""


@dataclass(frozen=True, slots=True)
class Verdict:
    allowed: bool
    status: Status | None = None
    """Of a refusal, as far as the webhook says."""
    patch: bytes = b""
    warnings: Sequence[str] = ()
    annotations: dict[str, str] = field(default_factory=dict)


class _Response(msgspec.Struct):
    uid: str = ""
    allowed: bool = False
    status: Status | None = None
    patch: str | None = None
    patchType: str | None = None
    auditAnnotations: dict[str, str] | None = None
    warnings: list[str] | None = None


class _Review(msgspec.Struct):
    apiVersion: str = ""
    kind: str = ""
    response: _Response | None = None


def version_of(accepted: Sequence[str]) -> str:
    """The first version that the webhook accepts and this server speaks.  Raises NoReview."""
    for version in accepted:
        if version in KNOWN:
            return version
    raise NoReview(
        "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
    )


def question(
    version: str, uid: str, request: Request, about: Attributes, kind: Kind, new: Tree | None, old: Tree | None
) -> dict[str, Any]:
    """The document to send, with the objects as ones of `kind`."""
    asked, subresource = about.asked, about.subresource
    asking: dict[str, Any] = {
        "uid": uid,
        "kind": _shown(kind, about, new, old),
        "resource": _resource(kind),
        "requestKind": _shown(asked, about, new, old),
        "requestResource": _resource(asked),
        "operation": about.operation,
        "userInfo": _user(request.user),
        "object": new,
        "oldObject": old,
        "dryRun": request.dry_run,
        "options": None,
    }
    if subresource:
        asking |= {"subResource": subresource, "requestSubResource": subresource}
    asking |= {name: value for name, value in (("name", about.name), ("namespace", about.namespace)) if value}
    if about.operation != CONNECT:
        identity = {"kind": _OPTIONS[about.operation], "apiVersion": "meta.k8s.io/v1"}
        asking["options"] = identity | dict(request.options) | ({"dryRun": ["All"]} if request.dry_run else {})
    return {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": asking}


def _shown(kind: Kind, about: Attributes, new: Tree | None, old: Tree | None) -> dict[str, str]:
    """The kind of the objects: of some subresources another one than the resource's."""
    obj = new if new is not None else old
    if obj is None or not about.subresource or is_named(obj, about):
        return {"group": kind.group, "version": kind.version, "kind": kind.name}
    group, _, version = obj["apiVersion"].rpartition("/")
    return {"group": group, "version": version, "kind": obj["kind"]}


def is_named(tree: Tree, about: Attributes) -> bool:
    return bool(tree.get("kind") == about.asked.name)


def _resource(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "resource": kind.plural}


def _user(user: User) -> dict[str, Any]:
    shown: dict[str, Any] = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


def answer(version: str, uid: str, document: dict[str, Any], *, mutating: bool) -> Verdict:
    """Raises NoReview."""
    try:
        review = msgspec.convert(_without_nulls(document), _Review)
    except msgspec.ValidationError as e:
        raise NoReview(str(e)) from e
    response = review.response
    if response is None:
        raise NoReview("webhook response was absent")
    if version == "v1":
        _check(review, response, uid, mutating)
    elif response.patch and mutating:
        response.patchType = "JSONPatch"
    return Verdict(
        response.allowed,
        response.status,
        _patch(response) if mutating else b"",
        response.warnings or (),
        response.auditAnnotations or {},
    )


def _check(review: _Review, response: _Response, uid: str, mutating: bool) -> None:
    if response.uid != uid:
        raise NoReview(f'expected response.uid="{uid}", got "{response.uid}"')
    if (review.apiVersion, review.kind) != (f"{GROUP}/v1", "AdmissionReview"):
        got = f"{review.apiVersion}, Kind={review.kind}"
        raise NoReview(f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {got}")
    if not mutating:
        if response.patch:
            raise NoReview("validating webhook may not return response.patch")
        if response.patchType is not None:
            raise NoReview("validating webhook may not return response.patchType")
    elif response.patch and response.patchType is None:
        raise NoReview("webhook returned response.patch but not response.patchType")
    elif not response.patch and response.patchType is not None:
        raise NoReview("webhook returned response.patchType but not response.patch")
    elif response.patchType == "":
        raise NoReview('webhook returned invalid response.patchType of ""')


def _patch(response: _Response) -> bytes:
    if not response.patch:
        return b""
    if response.patchType != "JSONPatch":
        raise NoReview(f'unsupported patch type "{response.patchType}"')
    try:
        return base64.b64decode(response.patch, validate=True)
    except (binascii.Error, ValueError) as e:
        raise NoReview(f"illegal base64 data in response.patch: {e}") from e


def _without_nulls(value: Any) -> Any:
    """Go's decoder reads null as nothing said."""
    if isinstance(value, dict):
        return {name: _without_nulls(v) for name, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
