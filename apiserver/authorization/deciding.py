"""What an authorizer is, and those that need no rules."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from api import errors
from api.types import PolicyRule
from apiserver.requests import Request, User


class Decision(NamedTuple):
    """`reason` says by what it is allowed, or what else there is to know about why it is not."""

    allowed: bool
    reason: str = ""


YES, NO = Decision(True), Decision(False)


class Authorizer(ABC):
    @abstractmethod
    def decide(self, request: Request) -> Decision: ...

    def rules(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        """What the user may do in a namespace and everywhere, and what could not be found out."""
        return [], []

    def authorize(self, request: Request) -> None:
        """Called first for every verb, before anything is read or decoded.  Raises Forbidden."""
        allowed, reason = self.decide(request)
        if not allowed:
            raise refusal(request, reason)


class First(Authorizer):
    """The first that allows decides; the others' reasons are told if nobody does."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def decide(self, request: Request) -> Decision:
        reasons = []
        for authorizer in self._authorizers:
            decision = authorizer.decide(request)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons)) if reasons else NO

    def rules(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        found: list[PolicyRule] = []
        faults: list[str] = []
        for authorizer in self._authorizers:
            rules, more = authorizer.rules(user, namespace)
            found += [rule for rule in rules if rule not in found]
            faults += more
        return found, faults


ABOUT_SELF = frozenset({"SelfSubjectReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview"})
MASTERS = "system:masters"
SELF = "system:apiserver"
EVERYTHING = [
    PolicyRule(verbs=["*"], apiGroups=["*"], resources=["*"]),
    PolicyRule(verbs=["*"], nonResourceURLs=["*"]),
]


class Masters(Authorizer):
    """system:masters, whatever the rules say: somebody must be able to repair them.  The server itself is one."""

    def decide(self, request: Request) -> Decision:
        return YES if self._has(request.user) else NO

    def rules(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        return (EVERYTHING if self._has(user) else []), []

    def _has(self, user: User) -> bool:
        return MASTERS in user.groups or user.name == SELF


PUBLIC = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
"""Open to those who do not say who they are: probes, and clients that look what server this is."""
TRUSTED_GROUPS = frozenset({MASTERS, "system:nodes"})
TRUSTED_PREFIX = "system:kube-"


class Groups(Masters):
    """Without rules in objects: administrators and the cluster's components may do everything, others ask who they
    are."""

    def decide(self, request: Request) -> Decision:
        about_self = request.kind.name in ABOUT_SELF and "system:authenticated" in request.user.groups
        public = request.path in PUBLIC and request.verb == "get"
        return YES if about_self or public or self._has(request.user) else NO

    def _has(self, user: User) -> bool:
        trusted = not TRUSTED_GROUPS.isdisjoint(user.groups)
        return trusted or user.name == SELF or user.name.startswith(TRUSTED_PREFIX)


def refusal(request: Request, reason: str = "") -> errors.Forbidden:
    """`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"`."""
    more = f": {reason}" if reason else ""
    if request.path:
        why = f'User "{request.user.name}" cannot {request.verb} path "{request.path}"'
        return errors.Forbidden(f"forbidden: {why}{more}", {})
    kind = request.kind
    resource = f"{kind.plural}/{request.subresource}" if request.subresource else kind.plural
    where = f'in the namespace "{request.namespace}"' if request.namespace else "at the cluster scope"
    why = f'User "{request.user.name}" cannot {request.verb} resource "{resource}" in API group "{kind.group}" {where}'
    plural = f"{resource}.{kind.group}" if kind.group else resource
    if request.name:
        return errors.forbidden(plural, request.name, why + more)
    refused = errors.forbidden(plural, "", why)
    return errors.Forbidden(f"{plural} is forbidden: {why}{more}", {k: v for k, v in refused.details.items() if v})
