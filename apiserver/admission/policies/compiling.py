"""Policies, compiled once for each of their revisions.

What cannot be compiled becomes a Broken program: validation lets none into the store, but a policy that came there in
another way must still be judged by its failurePolicy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api import labels
from api.labels import Selector
from api.types import MatchCondition, MatchResources, Mutation, NamedRuleWithOperations
from machinery.cel import Environment, Program
from machinery.cel.admitting import (
    PATCH,
    PATCH_OBJECT,
    Compiled,
    compile_in,
    environments,
    type_of,
    with_variables,
)
from machinery.cel.trees import Call, Node, walk
from machinery.cel.types import BOOL, DYN, NULL, STRING, listed


@dataclass(frozen=True, slots=True)
class Matching:
    """matchConstraints of a policy, matchResources of a binding."""

    rules: Sequence[NamedRuleWithOperations]
    excluded: Sequence[NamedRuleWithOperations]
    namespaces: Selector
    objects: Selector
    exact: bool


def matching(resources: MatchResources | None) -> Matching | None:
    """None: everything."""
    if resources is None:
        return None
    return Matching(
        resources.resourceRules,
        resources.excludeResourceRules,
        _selector(resources.namespaceSelector),
        _selector(resources.objectSelector),
        resources.matchPolicy == "Exact",
    )


def _selector(selector: Any) -> Selector:
    return labels.EVERYTHING if selector is None else labels.from_object(selector)


@dataclass(frozen=True, slots=True)
class Check:
    """One of `validations`."""

    source: Any
    expression: Compiled
    message: Compiled | None


@dataclass(frozen=True, slots=True)
class Change:
    """One of `mutations`."""

    applies: bool
    """ApplyConfiguration, not JSONPatch."""
    expression: Compiled


@dataclass(frozen=True, slots=True)
class Policy:
    """What validating and mutating policies have alike, and `checks` and `notes` or `changes`."""

    name: str
    source: Any
    matching: Matching | None
    conditions: Sequence[tuple[MatchCondition, Compiled]]
    variables: dict[str, Compiled]
    fails_open: bool
    reinvoked: bool
    asks: int
    """How many authorization checks its expressions can make at most, loops aside."""
    checks: Sequence[Check] = ()
    notes: Sequence[tuple[str, Compiled]] = ()
    changes: Sequence[Change] = ()


def policy(source: Any) -> Policy:
    """A ValidatingAdmissionPolicy or a MutatingAdmissionPolicy."""
    spec = source.spec
    mutations: Sequence[Mutation] = getattr(spec, "mutations", ())
    params = DYN if spec.paramKind is not None else None
    plain, whole, variables = environments(spec.variables, params, patches=bool(mutations))
    conditions = [(c, compile_in(plain, c.expression, BOOL)) for c in spec.matchConditions]
    unasking, _, _ = environments(spec.variables, params, authorizer=False)
    messages = with_variables(unasking, {name: type_of(v) for name, v in variables.items()})
    checks = [
        Check(v, compile_in(whole, v.expression, BOOL), _message(messages, v.messageExpression))
        for v in getattr(spec, "validations", ())
    ]
    notes = [(a.key, compile_in(whole, a.valueExpression, STRING, NULL)) for a in getattr(spec, "auditAnnotations", ())]
    changes = [_change(whole, m) for m in mutations]
    everything = [c for _, c in conditions] + [c.expression for c in checks] + list(variables.values())
    everything += [c for _, c in notes] + [c.expression for c in changes]
    return Policy(
        name=source.metadata.name,
        source=source,
        matching=matching(spec.matchConstraints),
        conditions=conditions,
        variables=variables,
        fails_open=spec.failurePolicy == "Ignore",
        reinvoked=getattr(spec, "reinvocationPolicy", "") == "IfNeeded",
        asks=sum(_asks(c.tree) for c in everything if isinstance(c, Program)),
        checks=checks,
        notes=notes,
        changes=changes,
    )


def _message(within: Environment, source: str) -> Compiled | None:
    return compile_in(within, source, STRING) if source else None


def _change(within: Environment, mutation: Mutation) -> Change:
    if mutation.patchType == "JSONPatch":
        source = mutation.jsonPatch.expression if mutation.jsonPatch is not None else ""
        return Change(False, compile_in(within, source, listed(PATCH)))
    source = mutation.applyConfiguration.expression if mutation.applyConfiguration is not None else ""
    return Change(True, compile_in(within, source, PATCH_OBJECT))


def _asks(tree: Node) -> int:
    return sum(isinstance(node, Call) and node.function == "check" for node in walk(tree))
