"""The flow schema of a request: of those that match it, the one with the lowest precedence, then name.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema
"""

import math
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeVar

from api import kinds
from api.kinds import Kind
from api.types import (
    FlowcontrolV1Subject,
    FlowSchema,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    ResourcePolicyRule,
)
from apiserver.requests import Request, User

SCHEMAS, LEVELS = kinds.of(FlowSchema), kinds.of(PriorityLevelConfiguration)
REMEMBERED = 4096
ACCOUNT = "system:serviceaccount:"
ALL = "*"
T = TypeVar("T")


class Source(Protocol):
    def version(self, kind: Kind) -> int: ...
    def list_cached(self, kind: Kind) -> Iterable[object]: ...


class Flow(NamedTuple):
    """The UIDs of what a request was classified by."""

    schema: str
    level: str


class Classifier:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._versions = (-1, -1)
        self._schemas: list[tuple[FlowSchema, str]] = []
        self._known: dict[object, Flow | None] = {}

    def of(self, request: Request) -> Flow | None:
        """None if there are not even the mandatory ones yet."""
        versions = self._source.version(SCHEMAS), self._source.version(LEVELS)
        if versions != self._versions or len(self._known) >= REMEMBERED:
            self._refresh()
            self._versions = versions
        user, kind = request.user, request.kind
        at = (user.name, user.groups, request.verb, kind.group, kind.plural, request.subresource, request.namespace,
              request.path)  # fmt: skip
        if at not in self._known:
            self._known[at] = self._classify(request)
        return self._known[at]

    def _refresh(self) -> None:
        levels = {level.metadata.name: level.metadata.uid for level in self._listed(LEVELS, PriorityLevelConfiguration)}
        self._schemas = [
            (schema, levels[schema.spec.priorityLevelConfiguration.name])
            for schema in sorted(self._listed(SCHEMAS, FlowSchema), key=_order)
            if schema.spec.priorityLevelConfiguration is not None
            and schema.spec.priorityLevelConfiguration.name in levels
        ]
        self._known.clear()

    def _listed(self, kind: Kind, type_: type[T]) -> list[T]:
        return [obj for obj in self._source.list_cached(kind) if isinstance(obj, type_)]

    def _classify(self, request: Request) -> Flow | None:
        for schema, level in self._schemas:
            if any(_matches(rules, request) for rules in schema.spec.rules):
                return Flow(schema.metadata.uid, level)
        # Whoever is in neither of the groups that everybody should be in.
        last = next((s for s in self._schemas if s[0].metadata.name == "catch-all"), None)
        return Flow(last[0].metadata.uid, last[1]) if last is not None else None


def _order(schema: FlowSchema) -> tuple[int, str]:
    return schema.spec.matchingPrecedence or 0, schema.metadata.name


def _matches(rules: PolicyRulesWithSubjects, request: Request) -> bool:
    if not any(_is(subject, request.user) for subject in rules.subjects):
        return False
    if request.path:
        return any(_about_path(rule, request) for rule in rules.nonResourceRules)
    return any(_about(rule, request) for rule in rules.resourceRules)


def _is(subject: FlowcontrolV1Subject, user: User) -> bool:
    if subject.user is not None:
        return subject.user.name in (ALL, user.name)
    if subject.group is not None:
        return subject.group.name == ALL or subject.group.name in user.groups
    if subject.serviceAccount is not None and user.name.startswith(ACCOUNT):
        namespace, _, name = user.name.removeprefix(ACCOUNT).partition(":")
        return namespace == subject.serviceAccount.namespace and subject.serviceAccount.name in (ALL, name)
    return False


def _about(rule: ResourcePolicyRule, request: Request) -> bool:
    kind = request.kind
    resource = f"{kind.plural}/{request.subresource}" if request.subresource else kind.plural
    return (
        _names(rule.verbs, request.verb)
        and _names(rule.apiGroups, kind.group)
        and _names(rule.resources, resource)
        and (_names(rule.namespaces, request.namespace) if request.namespace else bool(rule.clusterScope))
    )


def _about_path(rule: NonResourcePolicyRule, request: Request) -> bool:
    return _names(rule.verbs, request.verb) and any(
        pattern in (ALL, request.path) or (pattern.endswith("/*") and request.path.startswith(pattern[:-1]))
        for pattern in rule.nonResourceURLs
    )


def _names(patterns: list[str], word: str) -> bool:
    return word in patterns or ALL in patterns


SEATS = 600
"""What upstream's default flags let run at once."""


def seats(source: Source) -> dict[tuple[str, ...], float]:
    """How many requests each priority level is entitled to, by its name."""
    shares: dict[str, int] = {}
    for level in source.list_cached(LEVELS):
        assert isinstance(level, PriorityLevelConfiguration)
        either = level.spec.limited or level.spec.exempt
        shares[level.metadata.name] = (either.nominalConcurrencyShares or 0) if either is not None else 0
    total = sum(shares.values()) or 1
    return {(name,): float(math.ceil(SEATS * share / total)) for name, share in shares.items()}
