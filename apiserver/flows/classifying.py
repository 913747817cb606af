"""The flow schema of a request: of those that match it, the one with the lowest precedence, then name.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema
"""

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
from machinery.remembering import LONGEST

SCHEMAS, LEVELS = kinds.of(FlowSchema), kinds.of(PriorityLevelConfiguration)
REMEMBERED = 4096
ACCOUNT = "system:serviceaccount:"
ALL = "*"
T = TypeVar("T")


class Source(Protocol):
    def version(self, kind: Kind) -> int: ...
    def list_cached(self, kind: Kind) -> Iterable[object]: ...


class Flow(NamedTuple):
    """What a request was classified by: UIDs and names; `key` tells the flows of one schema apart."""

    schema: str
    level: str
    schema_name: str
    level_name: str
    key: str


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
            found = self._classify(request)
            if len(request.path) + len(request.namespace) > LONGEST:  # whatever it is, it is no frequent one
                return found
            self._known[at] = found
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
                return _flow(schema, level, request)
        # Whoever is in neither of the groups that everybody should be in.
        last = next((s for s in self._schemas if s[0].metadata.name == "catch-all"), None)
        return _flow(*last, request) if last is not None else None


def _flow(schema: FlowSchema, level: str, request: Request) -> Flow:
    method, name = schema.spec.distinguisherMethod, schema.metadata.name
    told = {"ByUser": request.user.name, "ByNamespace": request.namespace}
    reference = schema.spec.priorityLevelConfiguration
    assert reference is not None, "only schemas with a level are asked"
    key = f"{name}/{told.get((method.type if method is not None else None) or '', '')}"
    return Flow(schema.metadata.uid, level, name, reference.name, key)


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
