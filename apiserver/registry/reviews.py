"""Questions that are asked by creating an object and answered in its status; nothing is stored.

https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from typing import Any

from api import kinds, meta
from api.errors import BadRequest
from api.kinds import Kind
from api.types import (
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


def answer(request: Request, review: Any, authorizer: Authorizer) -> bytes:
    """The review with its status.  Raises BadRequest."""
    user = request.user
    if request.kind.name == "SelfSubjectReview":
        extra = {key: list(values) for key, values in user.extra.items()}
        info = UserInfo(username=user.name, uid=user.uid, groups=list(user.groups), extra=extra)
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
    if not spec.user and not spec.groups:
        raise BadRequest("at least one of user or group must be specified")
    return User(spec.user, spec.uid, tuple(spec.groups), {key: tuple(values) for key, values in spec.extra.items()})


def _access(user: User, spec: Any, authorizer: Authorizer) -> SubjectAccessReviewStatus:
    if (spec.resourceAttributes is None) == (spec.nonResourceAttributes is None):
        raise BadRequest("exactly one of resourceAttributes or nonResourceAttributes must be specified")
    if spec.nonResourceAttributes is not None:
        asked = Request(user, spec.nonResourceAttributes.verb, EVERYTHING, path=spec.nonResourceAttributes.path)
    else:
        wanted = spec.resourceAttributes
        asked = Request(
            user, wanted.verb, _kind(wanted.group, wanted.resource), wanted.namespace, wanted.name, wanted.subresource
        )
    allowed, reason = authorizer.decide(asked)
    return SubjectAccessReviewStatus(allowed=allowed, reason=reason)


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
