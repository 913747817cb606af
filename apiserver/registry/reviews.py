"""Questions that are asked by creating an object and answered in its status; nothing is stored.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from collections.abc import Iterator
from typing import Any

from api import kinds, meta
from api.errors import BadRequest
from api.kinds import Kind
from api.paths import Fault, Path, invalid, refusal, required
from api.types import (
    FieldSelectorAttributes,
    NonResourceRule,
    ResourceRule,
    SelfSubjectReviewStatus,
    SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
    UserInfo,
)
from apiserver.authorization import Authorizer
from apiserver.authorization.deciding import ABOUT_SELF
from apiserver.authorization.rights import aggregate
from apiserver.requests import Request, User

ACCESS = frozenset({"SelfSubjectAccessReview", "SubjectAccessReview", "LocalSubjectAccessReview"})
KINDS = ABOUT_SELF | ACCESS
EVERYTHING = Kind("", "", "Anything", "*", namespaced=True)


def answer(request: Request, review: Any, authorizer: Authorizer, now: str = "") -> bytes:
    """The review with its status.  Raises BadRequest, Invalid."""
    user = request.user
    review.metadata.namespace = request.namespace
    if request.kind.name in ACCESS and (faults := list(_faults(request, review))):
        raise refusal(request.kind.group, request.kind.name, "", faults)
    if request.kind.name == "SelfSubjectReview":
        extra = {key: list(values) for key, values in user.extra.items()}
        info = UserInfo(username=user.name, uid=user.uid, groups=list(user.groups), extra=extra)
        review.metadata.creationTimestamp = now
        review.status = SelfSubjectReviewStatus(userInfo=info)
    elif request.kind.name == "SelfSubjectRulesReview":
        if not review.spec.namespace:
            raise BadRequest("no namespace on request")
        review.status = _rules(user, review.spec.namespace, authorizer)
    else:
        review.status = _access(_subject(request, review.spec), review.spec, authorizer)
    return meta.encode(review)


def _subject(request: Request, spec: Any) -> User:
    if request.kind.name == "SelfSubjectAccessReview":
        return request.user
    return User(spec.user, spec.uid, tuple(spec.groups), {key: tuple(values) for key, values in spec.extra.items()})


def _access(user: User, spec: Any, authorizer: Authorizer) -> SubjectAccessReviewStatus:
    if spec.nonResourceAttributes is not None:
        asked = Request(user, spec.nonResourceAttributes.verb, EVERYTHING, path=spec.nonResourceAttributes.path)
    else:
        wanted = spec.resourceAttributes
        asked = Request(
            user, wanted.verb, _kind(wanted.group, wanted.resource), wanted.namespace, wanted.name, wanted.subresource,
            field_selector=_selector(wanted.fieldSelector),
        )  # fmt: skip
    allowed, reason = authorizer.decide(asked)
    return SubjectAccessReviewStatus(allowed=allowed, reason=reason)


def _faults(request: Request, review: Any) -> Iterator[Fault]:
    spec, at, local = review.spec, Path("spec"), request.kind.name == "LocalSubjectAccessReview"
    about, url = spec.resourceAttributes, spec.nonResourceAttributes
    if local and url is not None:
        yield invalid(at.child("nonResourceAttributes"), url, "disallowed on this kind of request")
    elif about is not None and url is not None:
        why = "cannot be specified in combination with resourceAttributes"
        yield invalid(at.child("nonResourceAttributes"), url, why)
    elif about is None and url is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        yield invalid(at.child("resourceAttributes"), None, why)
    if request.kind.name != "SelfSubjectAccessReview" and not spec.user and not spec.groups:
        yield invalid(at.child("user"), "", "at least one of user or group must be specified")
    if about is None:
        return
    if local and about.namespace != request.namespace:
        yield invalid(at.child("resourceAttributes.namespace"), about.namespace, "must match metadata.namespace")
    for name in ("fieldSelector", "labelSelector"):
        chosen, here = getattr(about, name), at.child("resourceAttributes", name)
        if chosen is None:
            continue
        if chosen.rawSelector and chosen.requirements:
            why = "may not specified at the same time as requirements"
            yield invalid(here.child("rawSelector"), chosen.rawSelector, why)
        if not chosen.rawSelector and not chosen.requirements:
            why = f"when {name} is specified, requirements or rawSelector is required"
            yield required(here.child("requirements"), why)


def _selector(chosen: FieldSelectorAttributes | None) -> str:
    """As lists and watches have it. What no authorizer looks at (other operators) is left out: that asks for more."""
    if chosen is None:
        return ""
    if chosen.rawSelector:
        return chosen.rawSelector
    return ",".join(f"{r.key}={r.values[0]}" for r in chosen.requirements if r.operator == "In" and len(r.values) == 1)


def _kind(group: str, resource: str) -> Kind:
    """Of whatever version: permissions name groups. A resource that nobody serves may be asked about too."""
    known = (kind for kind in kinds.BUILT_IN if (kind.group, kind.plural) == (group, resource))
    return next(known, Kind(group, "", resource, resource, namespaced=True))


def _rules(user: User, namespace: str, authorizer: Authorizer) -> SubjectRulesReviewStatus:
    rules, faults = authorizer.rules(user, namespace)
    return SubjectRulesReviewStatus(
        resourceRules=[
            ResourceRule(verbs=r.verbs, apiGroups=r.apiGroups, resources=r.resources, resourceNames=r.resourceNames)
            for r in rules
            if r.resources
        ],
        nonResourceRules=[
            NonResourceRule(verbs=r.verbs, nonResourceURLs=r.nonResourceURLs) for r in rules if r.nonResourceURLs
        ],
        evaluationError=aggregate(faults) if faults else "",
        incomplete=bool(faults),
    )
