"""What extends the API server: webhook configurations, API services, and where either is to be reached."""

from collections.abc import Sequence
from typing import Any

from api import names
from api.paths import Path, duplicate, invalid, not_supported, required, too_many
from api.types import APIService, MatchCondition, RuleWithOperations
from apiserver.client_configs import client_config, port
from apiserver.rules.validation import selectors
from apiserver.rules.validation.values import Faults, formed, one_of, optional

WEBHOOKS = Path("webhooks")
REVIEWS = ("v1", "v1beta1")
NO_SIDE_EFFECTS = ("None", "NoneOnDryRun")
OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
SEGMENTS = 3
LONGEST_WAIT = 30
MOST_CONDITIONS = 64


def webhooks(obj: Any) -> Faults:
    """Of a Mutating- or ValidatingWebhookConfiguration."""
    seen: set[str] = set()
    for i, webhook in enumerate(obj.webhooks):
        at = WEBHOOKS.index(i)
        yield from _webhook(at, webhook)
        yield from _review_versions(at.child("admissionReviewVersions"), webhook.admissionReviewVersions)
        if webhook.name and webhook.name in seen:
            yield duplicate(at.child("name"), webhook.name)
        seen.add(webhook.name)


def webhooks_updated(new: Any, old: Any) -> Faults:
    yield from webhooks(new)


def _webhook(at: Path, webhook: Any) -> Faults:
    yield from _qualified(at.child("name"), webhook.name)
    for i, rule in enumerate(webhook.rules):
        yield from rule_faults(at.child("rules").index(i), rule)
    yield from optional(at.child("failurePolicy"), webhook.failurePolicy, ("Fail", "Ignore"))
    yield from optional(at.child("matchPolicy"), webhook.matchPolicy, ("Equivalent", "Exact"))
    if not webhook.sideEffects:
        yield required(at.child("sideEffects"), f"must specify one of {', '.join(NO_SIDE_EFFECTS)}")
    else:
        yield from optional(at.child("sideEffects"), webhook.sideEffects, NO_SIDE_EFFECTS)
    if webhook.timeoutSeconds is not None and not 1 <= webhook.timeoutSeconds <= LONGEST_WAIT:
        why = f"the timeout value must be between 1 and {LONGEST_WAIT} seconds"
        yield invalid(at.child("timeoutSeconds"), webhook.timeoutSeconds, why)
    yield from selectors.selector(at.child("namespaceSelector"), webhook.namespaceSelector)
    yield from selectors.selector(at.child("objectSelector"), webhook.objectSelector)
    yield from optional(
        at.child("reinvocationPolicy"), getattr(webhook, "reinvocationPolicy", ""), ("IfNeeded", "Never")
    )
    yield from client_config(at.child("clientConfig"), webhook.clientConfig)
    yield from match_conditions(at.child("matchConditions"), webhook.matchConditions)


def _qualified(at: Path, name: str) -> Faults:
    if not name:
        yield required(at)
    elif faults := names.dns_subdomain_faults(name):
        yield invalid(at, name, ",".join(faults))
    elif name.count(".") + 1 < SEGMENTS:
        yield invalid(at, name, "should be a domain with at least three segments separated by dots")


def rule_faults(at: Path, rule: RuleWithOperations) -> Faults:
    """Of one RuleWithOperations."""
    operations = at.child("operations")
    if not rule.operations:
        yield required(operations)
    yield from _lonely(operations, rule.operations, "operations")
    for i, operation in enumerate(rule.operations):
        if operation not in OPERATIONS:
            yield not_supported(operations.index(i), operation, OPERATIONS)
    if not rule.apiGroups:
        yield required(at.child("apiGroups"))
    yield from _lonely(at.child("apiGroups"), rule.apiGroups, "API groups")
    versions = at.child("apiVersions")
    if not rule.apiVersions:
        yield required(versions)
    yield from _lonely(versions, rule.apiVersions, "API versions")
    for i, version in enumerate(rule.apiVersions):
        if not version:
            yield required(versions.index(i))
    yield from _resources(at.child("resources"), rule.resources)
    yield from optional(at.child("scope"), rule.scope, SCOPES)


def _lonely(at: Path, values: Sequence[str], what: str) -> Faults:
    if len(values) > 1 and "*" in values:
        yield invalid(at, values, f"if '*' is present, must not specify other {what}")


def _resources(at: Path, resources: Sequence[str]) -> Faults:
    if not resources:
        yield required(at)
    whole, parts = set[str](), set[str]()
    for i, resource in enumerate(resources):
        if not resource:
            yield required(at.index(i))
            continue
        name, slash, part = resource.partition("/")
        if not slash:
            continue
        if name in whole:
            yield invalid(at.index(i), resource, f"if '{name}/*' is present, must not specify {resource}")
        if part in parts:
            yield invalid(at.index(i), resource, f"if '*/{part}' is present, must not specify {resource}")
        if part == "*":
            whole.add(name)
        if name == "*":
            parts.add(part)
    if len(resources) > 1 and "*/*" in resources:
        yield invalid(at, resources, "if '*/*' is present, must not specify other resources")
    plain = [r for r in resources if r and "/" not in r]
    if "*" in plain and plain[-1] != "*":
        why = "if '*' is present, must not specify other resources without subresources"
        yield invalid(at, resources, why)


def _review_versions(at: Path, versions: Sequence[str]) -> Faults:
    if not versions:
        yield required(at, f"must specify one of {', '.join(REVIEWS)}")
        return
    seen: set[str] = set()
    for i, version in enumerate(versions):
        if version in seen:
            yield invalid(at.index(i), version, "duplicate version")
        else:
            seen.add(version)
            yield from formed(at.index(i), version, names.dns_1035_faults)
    if seen.isdisjoint(REVIEWS):
        yield invalid(at, versions, f"must include at least one of {', '.join(REVIEWS)}")


def match_conditions(at: Path, conditions: Sequence[MatchCondition]) -> Faults:
    if len(conditions) > MOST_CONDITIONS:
        yield too_many(at, len(conditions), MOST_CONDITIONS)
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        each = at.index(i)
        if not (condition.expression or "").strip():
            yield required(each.child("expression"))
        elif (why := _uncompilable(condition.expression)) is not None:
            yield invalid(each.child("expression"), condition.expression, why)
        if not condition.name:
            yield required(each.child("name"))
            continue
        yield from formed(each.child("name"), condition.name, names.qualified_name_faults)
        if condition.name in seen:
            yield duplicate(each.child("name"), condition.name)
        seen.add(condition.name)


def _uncompilable(expression: str) -> str | None:
    # Admission imports these rules, so it can only be looked for when it is needed.
    from apiserver.admission.webhooks.conditions import compiled

    return getattr(compiled(expression), "message", None)


SPEC = Path("spec")
MOST_GROUP, MOST_VERSION = 20000, 1000


def api_service(obj: APIService) -> Faults:
    spec = obj.spec
    wanted = f"{spec.version}.{spec.group}"
    if obj.metadata.name != wanted:
        yield invalid(Path("metadata.name"), obj.metadata.name, f'must be `spec.version+"."+spec.group`: "{wanted}"')
    if not spec.group and spec.version != "v1":
        yield required(SPEC.child("group"), "only v1 may have an empty group and it better be legacy kube")
    if spec.group:
        yield from formed(SPEC.child("group"), spec.group, names.dns_subdomain_faults)
    yield from formed(SPEC.child("version"), spec.version, names.dns_1035_faults)
    for name, value, most in (
        ("groupPriorityMinimum", spec.groupPriorityMinimum or 0, MOST_GROUP),
        ("versionPriority", spec.versionPriority or 0, MOST_VERSION),
    ):
        if not 0 < value <= most:
            yield invalid(SPEC.child(name), value, f"must be positive and less than {most}")
    yield from _local(obj) if spec.service is None else _remote(obj)


def api_service_updated(new: APIService, old: APIService) -> Faults:
    yield from api_service(new)


def api_service_status_updated(new: APIService, old: APIService) -> Faults:
    for i, condition in enumerate(new.status.conditions):
        at = Path("status.conditions").index(i)
        yield from one_of(at.child("status"), condition.status, ("False", "True", "Unknown"))


def _local(obj: APIService) -> Faults:
    spec = obj.spec
    if spec.caBundle:
        size = f"{len(spec.caBundle) * 3 // 4 - spec.caBundle.count('=')} bytes"
        yield invalid(SPEC.child("caBundle"), size, "local APIServices may not have a caBundle")
    if spec.insecureSkipTLSVerify:
        why = "local APIServices may not have insecureSkipTLSVerify"
        yield invalid(SPEC.child("insecureSkipTLSVerify"), True, why)


def _remote(obj: APIService) -> Faults:
    spec, at = obj.spec, SPEC.child("service")
    assert spec.service is not None
    if not spec.service.namespace:
        yield required(at.child("namespace"))
    if not spec.service.name:
        yield required(at.child("name"))
    yield from port(at.child("port"), spec.service.port)
    if spec.insecureSkipTLSVerify and spec.caBundle:
        yield invalid(SPEC.child("insecureSkipTLSVerify"), True, "may not be true if caBundle is present")
