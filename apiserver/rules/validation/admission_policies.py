"""Admission policies and their bindings; every expression must compile."""

import re
from collections.abc import Iterable
from typing import Any

from api import names
from api.paths import Path, duplicate, forbidden, invalid, not_supported, required, too_many
from api.types import (
    AuditAnnotation,
    MatchCondition,
    MatchResources,
    Mutation,
    ParamKind,
    ParamRef,
    Validation,
    Variable,
)
from apiserver.rules.validation import selectors
from apiserver.rules.validation.extensions import MOST_CONDITIONS, rule_faults
from apiserver.rules.validation.values import Faults, formed, one_of
from machinery.cel import Environment
from machinery.cel.admitting import PATCH, PATCH_OBJECT, Broken, compile_in, environments, type_of, with_variables
from machinery.cel.lexing import KEYWORDS, RESERVED
from machinery.cel.types import BOOL, DYN, NULL, STRING, Type, listed

SPEC = Path("spec")
ACTIONS = ("Audit", "Deny", "Warn")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
PATCHES = ("ApplyConfiguration", "JSONPatch")
POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
MOST_NOTES = 20
LONGEST_VALUE_EXPRESSION = 5 * 1024
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)


def validating(it: Any) -> Faults:
    spec = it.spec
    yield from _common(spec)
    plain, whole, variables = environments(spec.variables, _params(spec))
    yield from _conditions(SPEC.child("matchConditions"), spec.matchConditions, plain)
    yield from _variables(spec.variables, variables)
    if not spec.validations and not spec.auditAnnotations:
        why = "validations or auditAnnotations must contain at least one item"
        yield required(SPEC.child("validations"), why)
        yield required(SPEC.child("auditAnnotations"), why)
        return
    unasking, _, _ = environments((), _params(spec), authorizer=False)
    messages = with_variables(unasking, {name: type_of(v) for name, v in variables.items()})
    for i, validation in enumerate(spec.validations):
        yield from _validation(SPEC.child("validations").index(i), validation, whole, messages)
    yield from _notes(SPEC.child("auditAnnotations"), it.metadata.name, spec.auditAnnotations, whole)


def validating_updated(new: Any, old: Any) -> Faults:
    yield from validating(new)


def mutating(it: Any) -> Faults:
    spec = it.spec
    yield from _common(spec)
    plain, whole, variables = environments(spec.variables, _params(spec), patches=True)
    yield from _conditions(SPEC.child("matchConditions"), spec.matchConditions, plain)
    yield from _variables(spec.variables, variables)
    if not spec.mutations:
        yield required(SPEC.child("mutations"), "mutations must contain at least one item")
    for i, mutation in enumerate(spec.mutations):
        yield from _mutation(SPEC.child("mutations").index(i), mutation, whole)
    if not spec.reinvocationPolicy:
        yield required(SPEC.child("reinvocationPolicy"))
    else:
        yield from one_of(SPEC.child("reinvocationPolicy"), spec.reinvocationPolicy, ("IfNeeded", "Never"))


def mutating_updated(new: Any, old: Any) -> Faults:
    yield from mutating(new)


def _params(spec: Any) -> Type | None:
    return DYN if spec.paramKind is not None else None


def _common(spec: Any) -> Faults:
    yield from one_of(SPEC.child("failurePolicy"), spec.failurePolicy, POLICIES)
    if spec.paramKind is not None:
        yield from _param_kind(SPEC.child("paramKind"), spec.paramKind)
    at = SPEC.child("matchConstraints")
    if spec.matchConstraints is None:
        yield required(at)
        return
    yield from _match_resources(at, spec.matchConstraints)
    if not spec.matchConstraints.resourceRules:
        yield required(at.child("resourceRules"))


def _param_kind(at: Path, it: ParamKind) -> Faults:
    version = at.child("apiVersion")
    if not it.apiVersion:
        yield required(version)
    elif it.apiVersion.count("/") > 1:
        yield invalid(version, it.apiVersion, f"unexpected GroupVersion string: {it.apiVersion}")
    else:
        group, _, named = it.apiVersion.rpartition("/")
        if group and (faults := names.dns_subdomain_faults(group)):
            yield invalid(version, group, ",".join(faults))
        if not named:
            yield invalid(version, it.apiVersion, "version must be specified")
        elif faults := names.dns_1035_faults(named):
            yield invalid(version, named, ",".join(faults))
    if not it.kind:
        yield required(at.child("kind"))
    elif faults := names.dns_1035_faults(it.kind.lower()):
        why = f"may have mixed case, but should otherwise match: {','.join(faults)}"
        yield invalid(at.child("kind"), it.kind, why)


def _match_resources(at: Path, it: MatchResources) -> Faults:
    yield from one_of(at.child("matchPolicy"), it.matchPolicy, MATCH_POLICIES)
    for name in ("namespaceSelector", "objectSelector"):
        chosen = getattr(it, name)
        if chosen is None:
            yield required(at.child(name))
        else:
            yield from selectors.selector(at.child(name), chosen)
    for name in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(getattr(it, name)):
            each = at.child(name).index(i)
            seen: set[str] = set()
            for n, resource in enumerate(rule.resourceNames):
                yield from formed(each.child("resourceNames").index(n), resource, names.path_segment_faults)
                if resource in seen:
                    yield duplicate(each.child("resourceNames").index(n), resource)
                seen.add(resource)
            yield from rule_faults(each, rule)


def _expression(at: Path, source: str, within: Environment, *wants: Type) -> Faults:
    found = compile_in(within, source, *wants)
    if isinstance(found, Broken):
        yield invalid(at, source, found.message)


def _conditions(at: Path, conditions: Iterable[MatchCondition], within: Environment) -> Faults:
    conditions = list(conditions)
    if len(conditions) > MOST_CONDITIONS:
        yield too_many(at, len(conditions), MOST_CONDITIONS)
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        each, source = at.index(i), (condition.expression or "").strip()
        if not source:
            yield required(each.child("expression"))
        else:
            yield from _expression(each.child("expression"), source, within, BOOL)
        if not condition.name:
            yield required(each.child("name"))
            continue
        yield from formed(each.child("name"), condition.name, names.qualified_name_faults)
        if condition.name in seen:
            yield duplicate(each.child("name"), condition.name)
        seen.add(condition.name)


def _variables(variables: Iterable[Variable], compiled: dict[str, Any]) -> Faults:
    for i, variable in enumerate(variables):
        at = SPEC.child("variables").index(i)
        name = variable.name or ""
        if not name.strip():
            yield required(at.child("name"), "name is not specified")
        elif not _IDENTIFIER.fullmatch(name) or name in KEYWORDS or name in RESERVED:
            yield invalid(at.child("name"), name, "name is not a valid CEL identifier")
        if not (variable.expression or "").strip():
            yield required(at.child("expression"), "expression is not specified")
        elif isinstance(found := compiled[name], Broken):
            yield invalid(at.child("expression"), variable.expression, found.message)


def _validation(at: Path, it: Validation, within: Environment, messages: Environment) -> Faults:
    if not (it.expression or "").strip():
        yield required(at.child("expression"), "expression is not specified")
    else:
        yield from _expression(at.child("expression"), it.expression, within, BOOL)
    if it.messageExpression:
        where = at.child("messageExpression")
        if not it.messageExpression.strip():
            yield invalid(where, it.messageExpression, "must be non-empty if specified")
        else:
            yield from _expression(where, it.messageExpression, messages, STRING)
    message = it.message.strip()
    if it.message and not message:
        yield invalid(at.child("message"), it.message, "message must be non-empty if specified")
    elif "\n" in message or "\r" in message:
        yield invalid(at.child("message"), it.message, "message must not contain line breaks")
    if it.reason and it.reason not in REASONS:
        yield not_supported(at.child("reason"), it.reason, REASONS)


def _notes(at: Path, name: str, notes: list[AuditAnnotation], within: Environment) -> Faults:
    if len(notes) > MOST_NOTES:
        yield invalid(at, notes, f"must not have more than {MOST_NOTES} auditAnnotations")
    seen: set[str] = set()
    for i, note in enumerate(notes):
        each = at.index(i)
        yield from formed(each.child("key"), f"{name}/{note.key or ''}", names.qualified_name_faults)
        source = (note.valueExpression or "").strip()
        where = each.child("valueExpression")
        if not source:
            yield required(where, "valueExpression is not specified")
        elif len(source) > LONGEST_VALUE_EXPRESSION:
            yield required(where, f"must not exceed {LONGEST_VALUE_EXPRESSION} bytes in length")
        else:
            yield from _expression(where, note.valueExpression, within, STRING, NULL)
        if note.key in seen:
            yield duplicate(each.child("key"), note.key)
        seen.add(note.key)


def _mutation(at: Path, it: Mutation, within: Environment) -> Faults:
    chosen = {"ApplyConfiguration": it.applyConfiguration, "JSONPatch": it.jsonPatch}
    fields = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    if it.patchType not in PATCHES:
        if not it.patchType:
            yield required(at.child("patchType"))
        else:
            yield not_supported(at.child("patchType"), it.patchType, PATCHES)
        return
    for name, given in chosen.items():
        if given is not None and name != it.patchType:
            yield forbidden(at.child(fields[name]), f"must not be specified when patchType is {it.patchType}")
    given, field = chosen[it.patchType], at.child(fields[it.patchType])
    if given is None:
        yield required(field, f"must be specified when patchType is {it.patchType}")
    elif not (given.expression or "").strip():
        yield required(field.child("expression"), "expression is not specified")
    else:
        wanted = PATCH_OBJECT if it.patchType == "ApplyConfiguration" else listed(PATCH)
        yield from _expression(field.child("expression"), given.expression, within, wanted)


# --- bindings


def binding(it: Any) -> Faults:
    """Of either kind of policy."""
    spec = it.spec
    if not spec.policyName:
        yield required(SPEC.child("policyName"))
    else:
        yield from formed(SPEC.child("policyName"), spec.policyName, names.dns_subdomain_faults)
    if spec.paramRef is not None:
        yield from _param_ref(SPEC.child("paramRef"), spec.paramRef)
    if spec.matchResources is not None:
        yield from _match_resources(SPEC.child("matchResouces"), spec.matchResources)  # upstream's spelling


def binding_updated(new: Any, old: Any) -> Faults:
    yield from binding(new)


def validating_binding(it: Any) -> Faults:
    yield from binding(it)
    at, seen = SPEC.child("validationActions"), set[str]()
    for i, action in enumerate(it.spec.validationActions):
        if action not in ACTIONS:
            yield not_supported(at.index(i), action, ACTIONS)
        if action in seen:
            yield duplicate(at.index(i), action)
        seen.add(action)
    if {"Deny", "Warn"} <= seen:
        yield invalid(
            at,
            it.spec.validationActions,
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)",
        )
    if not seen:
        yield required(at, "at least one validation action is required")


def validating_binding_updated(new: Any, old: Any) -> Faults:
    yield from validating_binding(new)


def _param_ref(at: Path, it: ParamRef) -> Faults:
    exclusive = "name and selector are mutually exclusive"
    if it.name:
        yield from formed(at.child("name"), it.name, names.path_segment_faults)
        if it.selector is not None:
            yield forbidden(at.child("name"), exclusive)
    if it.selector is not None:
        yield from selectors.selector(at.child("selector"), it.selector)
        if it.name:
            yield forbidden(at.child("selector"), exclusive)
    if not it.name and it.selector is None:
        yield required(at, "one of name or selector must be specified")
    yield from one_of(at.child("parameterNotFoundAction"), it.parameterNotFoundAction, ("Allow", "Deny"))
