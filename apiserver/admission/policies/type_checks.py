"""What a policy's expressions mean for the types that it matches: mistakes that would show only on requests.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#type-checking

The check never changes what a policy does; it is told in the policy's status.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from api import schema
from api.kinds import Kind
from api.types import ExpressionWarning, NamedRuleWithOperations
from machinery.cel import CompilationFault, schemas
from machinery.cel.admitting import environments
from machinery.cel.types import DYN, Type

MOST_TYPES = 10
FindKind = Callable[[str, str], Kind | None]
FindResource = Callable[[str, str, str], Kind | None]


def warnings(policy: Any, by_resource: FindResource, by_name: FindKind) -> list[ExpressionWarning]:
    """Of a ValidatingAdmissionPolicy: one for each expression that does not fit a type."""
    kinds = _matched(policy.spec.matchConstraints, by_resource)
    params = _params(policy.spec.paramKind, by_name)
    found = []
    for i, validation in enumerate(policy.spec.validations):
        for field in ("expression", "messageExpression"):
            source = getattr(validation, field)
            if source and (text := _check(source, policy.spec.variables, kinds, params)):
                found.append(ExpressionWarning(fieldRef=f"spec.validations[{i}].{field}", warning=text))
    return found


def _check(source: str, variables: Sequence[Any], kinds: Sequence[Kind], params: Type | None) -> str:
    told = []
    for kind in kinds:
        obj = type_of(kind)
        if obj is None:
            continue
        _, whole, _ = environments(variables, params, obj=obj)
        try:
            whole.compile(source)
        except CompilationFault as e:
            group = f"{kind.group}/{kind.version}"
            told.append(f"{group}, Kind={kind.name}: {e.message}\n")
    return "\n".join(told)


def _params(wanted: Any, by_name: FindKind) -> Type | None:
    if wanted is None:
        return None
    kind = by_name(wanted.apiVersion, wanted.kind)
    return (type_of(kind) if kind is not None else None) or DYN


def _matched(constraints: Any, by_resource: FindResource) -> list[Kind]:
    """The kinds that rules name without wildcards, sorted."""
    if constraints is None:
        return []
    found = {kind for rule in constraints.resourceRules for kind in _named(rule, by_resource)}
    return sorted(found, key=lambda k: (k.group, k.version, k.name))[:MOST_TYPES]


def _named(rule: NamedRuleWithOperations, by_resource: FindResource) -> Iterable[Kind]:
    if any("*" in word for word in (*rule.apiGroups, *rule.apiVersions)):
        return
    for group in rule.apiGroups:
        for version in rule.apiVersions:
            for resource in rule.resources:
                if "*" not in resource and "/" not in resource and (kind := by_resource(group, version, resource)):
                    yield kind


def type_of(kind: Kind) -> Type | None:
    """The type of objects of a kind, as its published schema describes them; None if there is none."""
    if kind.custom:
        return schemas.declared(kind.shape.source, root=True, name=kind.name, keywords=True)
    return _built_in(kind)


@lru_cache(maxsize=64)
def _built_in(kind: Kind) -> Type | None:
    full = schema.names().get(kind.type.__name__)
    if full is None:
        return None
    return schemas.declared(_resolved(full, ()), root=True, name=kind.name, keywords=True)


def _resolved(name: str, within: tuple[str, ...]) -> dict[str, Any]:
    """A definition with those that it refers to in it. What contains itself is cut off there."""
    definition = schema.definitions()[name]
    if "oneOf" in definition:  # IntOrString, Quantity
        return {"x-kubernetes-int-or-string": True}
    if name in within:
        return {}
    return _with_references(definition, (*within, name))


def _with_references(node: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    if "$ref" in node:
        return _resolved(node["$ref"].removeprefix(schema.PREFIX), within)
    out = dict(node)
    if isinstance(node.get("type"), list):
        out["type"] = next(word for word in node["type"] if word != "null")
    if "properties" in node:
        out["properties"] = {name: _with_references(inner, within) for name, inner in node["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            out[name] = _with_references(node[name], within)
    return out
