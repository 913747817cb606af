"""Flow schemas and priority levels."""

from collections.abc import Sequence
from typing import Any

from api import names
from api.paths import Path, forbidden, invalid, required
from api.types import (
    FlowcontrolV1Subject,
    FlowSchema,
    LimitedPriorityLevelConfiguration,
    NonResourcePolicyRule,
    PolicyRulesWithSubjects,
    PriorityLevelConfiguration,
    ResourcePolicyRule,
)  # fmt: skip
from apiserver.rules.validation.values import Faults, formed, nonnegative, one_of, positive, within

SPEC = Path("spec")
HIGHEST_PRECEDENCE = 10_000
SUBJECTS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
ALL = "*"


def flow_schema(it: FlowSchema) -> Faults:
    spec, at = it.spec, SPEC.child("matchingPrecedence")
    precedence = spec.matchingPrecedence or 0
    if not 1 <= precedence <= HIGHEST_PRECEDENCE:
        yield invalid(at, precedence, f"must be within (0, {HIGHEST_PRECEDENCE}]")
    elif precedence == 1 and it.metadata.name != "exempt":
        yield invalid(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    if spec.distinguisherMethod is not None:
        at = SPEC.child("distinguisherMethod", "type")
        yield from one_of(at, spec.distinguisherMethod.type, ("ByNamespace", "ByUser"))
    level, at = spec.priorityLevelConfiguration, SPEC.child("priorityLevelConfiguration", "name")
    if level is None or not level.name:
        yield required(at, "must reference a priority level")
    else:
        yield from formed(at, level.name, names.dns_subdomain_faults)
    for i, rules in enumerate(spec.rules):
        yield from _rules(SPEC.child("rules").index(i), rules)


def flow_schema_updated(new: Any, old: Any) -> Faults:
    yield from flow_schema(new)


def _rules(at: Path, it: PolicyRulesWithSubjects) -> Faults:
    if not it.subjects:
        yield required(at.child("subjects"), "subjects must contain at least one value")
    for i, subject in enumerate(it.subjects):
        yield from _subject(at.child("subjects").index(i), subject)
    if not it.resourceRules and not it.nonResourceRules:
        yield required(at, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for i, rule in enumerate(it.resourceRules):
        yield from _resource_rule(at.child("resourceRules").index(i), rule)
    for i, path in enumerate(it.nonResourceRules):
        yield from _path_rule(at.child("nonResourceRules").index(i), path)


def _subject(at: Path, it: FlowcontrolV1Subject) -> Faults:
    yield from one_of(at.child("kind"), it.kind, SUBJECTS)
    for kind, field in SUBJECTS.items():
        given = getattr(it, field)
        if kind != it.kind and given is not None:
            yield forbidden(at.child(field), f"{field} is forbidden when subject kind is not '{kind}'")
        elif kind == it.kind and given is None:
            yield required(at.child(field), f"{field} is required when subject kind is '{kind}'")
        elif kind == it.kind and not given.name:
            yield required(at.child(field, "name"))
    if it.serviceAccount is not None and not it.serviceAccount.namespace:
        yield required(at.child("serviceAccount", "namespace"), "must specify namespace for service account")


def _words(at: Path, words: Sequence[str], what: str) -> Faults:
    if not words:
        yield required(at, f"{what} must contain at least one value")
    elif len(words) > 1 and ALL in words:
        yield invalid(at, words, f"if '*' is present, must not specify other {what}")


def _resource_rule(at: Path, it: ResourcePolicyRule) -> Faults:
    yield from _words(at.child("verbs"), it.verbs, "verbs")
    yield from _words(at.child("apiGroups"), it.apiGroups, "api groups")
    yield from _words(at.child("resources"), it.resources, "resources")
    if not it.namespaces and not it.clusterScope:
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        yield required(at.child("namespaces"), why)
    elif len(it.namespaces) > 1 and ALL in it.namespaces:
        yield invalid(at.child("namespaces"), it.namespaces, "if '*' is present, must not specify other namespaces")


def _path_rule(at: Path, it: NonResourcePolicyRule) -> Faults:
    yield from _words(at.child("verbs"), it.verbs, "verbs")
    yield from _words(at.child("nonResourceURLs"), it.nonResourceURLs, "non-resource URLs")
    for i, url in enumerate(it.nonResourceURLs):
        if url != ALL and not url.startswith("/"):
            yield invalid(at.child("nonResourceURLs").index(i), url, "must start with slash")


def priority_level(it: PriorityLevelConfiguration) -> Faults:
    spec = it.spec
    yield from one_of(SPEC.child("type"), spec.type, ("Exempt", "Limited"))
    if spec.type == "Exempt" and spec.limited is not None:
        yield forbidden(SPEC.child("limited"), "must be nil if the type is not Limited")
    if spec.type == "Limited":
        if spec.exempt is not None:
            yield forbidden(SPEC.child("exempt"), "must be nil if the type is Limited")
        if spec.limited is None:
            yield required(SPEC.child("limited"), "must not be empty when type is Limited")
        else:
            yield from _limited(SPEC.child("limited"), spec.limited)


def priority_level_updated(new: Any, old: Any) -> Faults:
    yield from priority_level(new)


def _limited(at: Path, it: LimitedPriorityLevelConfiguration) -> Faults:
    yield from nonnegative(at.child("nominalConcurrencyShares"), it.nominalConcurrencyShares)
    yield from within(at.child("lendablePercent"), it.lendablePercent, 0, 100)
    yield from nonnegative(at.child("borrowingLimitPercent"), it.borrowingLimitPercent)
    response, at = it.limitResponse, at.child("limitResponse")
    if response is None:
        yield required(at.child("type"))
        return
    yield from one_of(at.child("type"), response.type, ("Queue", "Reject"))
    if response.type == "Reject" and response.queuing is not None:
        yield forbidden(at.child("queuing"), "must be nil if limited.limitResponse.type is not Limited")
    if response.type == "Queue" and response.queuing is not None:
        for name in ("queueLengthLimit", "queues", "handSize"):
            yield from positive(at.child("queuing", name), getattr(response.queuing, name))
        hand, queues = response.queuing.handSize or 0, response.queuing.queues or 0
        if hand > queues:
            yield invalid(at.child("queuing", "handSize"), hand, f"should not be greater than queues ({queues})")
