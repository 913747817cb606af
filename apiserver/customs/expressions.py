"""x-kubernetes-validations: rules in CEL, at any place of a schema.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.paths import Fault, Path
from apiserver.customs.jsonpaths import names
from apiserver.customs.schemas import Schema
from apiserver.customs.values import ABSENT, NOWHERE, key_of, unchanged
from machinery.cel import Budget, BudgetFault, CompilationFault, Environment, EvaluationFault, Program, schemas
from machinery.cel.trees import Ident, Node
from machinery.cel.types import BOOL, STRING, Type, optional
from machinery.cel.values import NOTHING, Optional

BUDGET = 10_000_000
"""What all rules of one object may cost together."""
OVERSPENT = "validation failed due to running out of cost budget, no further validation rules will be run"
OLD = "oldSelf"
_REASONS = {
    "FieldValueForbidden": "Forbidden: {}", "FieldValueRequired": "Required value: {}",
    "FieldValueDuplicate": "Duplicate value: {}",
}  # fmt: skip


class Broken(Exception):
    """A rule cannot be compiled. `field` is the part of it that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class _Overspent(Exception):
    """No rule is asked after this."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Rule:
    source: dict[str, Any]
    program: Program
    message: Program | None
    transition: bool
    """It compares with what was there before, and says nothing where there was nothing."""
    optional_old: bool
    """It is asked also where there was nothing; oldSelf is an optional then."""

    @property
    def text(self) -> str:
        """What is said of it in messages about its evaluation."""
        return str(self.source.get("message") or self.source["rule"]).strip()

    def shown(self, given: dict[str, Any], budget: Budget) -> str:
        if self.message is not None:
            try:
                found = self.message.evaluate(given, budget)
            except EvaluationFault:
                found = ""
            if isinstance(found, str) and found.strip() and "\n" not in found:
                return found.strip()
        if said := (self.source.get("message") or "").strip():
            return said
        return f"failed rule: {self.source['rule'].strip()}"


def compiled(source: dict[str, Any], type_: Type) -> Rule:
    """Raises Broken."""
    optional_old = bool(source.get("optionalOldSelf"))
    environment = Environment({"self": type_, OLD: _optional(type_) if optional_old else type_})
    try:
        program = environment.compile(source.get("rule") or "", (BOOL,), "cel expression must evaluate to a bool")
    except CompilationFault as e:
        raise Broken("rule", f"compilation failed: {e.message}") from e
    uses_old = OLD in _variables(program.tree)
    if source.get("optionalOldSelf") is not None and not uses_old:
        raise Broken("optionalOldSelf", "may not be set if oldSelf is not used in rule")
    message = None
    if said := source.get("messageExpression"):
        try:
            message = environment.compile(said, (STRING,), "must evaluate to string")
        except CompilationFault as e:
            why = e.message if e.message.startswith("must") else f"compilation failed: {e.message}"
            raise Broken("messageExpression", f"messageExpression {why}") from e
    return Rule(source, program, message, uses_old and not optional_old, optional_old)


def _optional(of: Type) -> Type:
    found = optional(of)
    if of.convert is None:
        return found
    inner = of.convert
    return dataclasses.replace(found, convert=lambda value: Optional(inner(value.value)) if value.present else value)


def _variables(tree: Any) -> Iterator[str]:
    if isinstance(tree, Ident):
        yield tree.name
    if isinstance(tree, Node):
        for each in dataclasses.fields(tree):
            if each.name not in ("type", "overloads", "resolved"):
                yield from _variables(getattr(tree, each.name))
    elif isinstance(tree, list | tuple):
        for inner in tree:
            yield from _variables(inner)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, Type):
        for each in dataclasses.fields(tree):
            if each.name in ("key", "value"):
                yield from _variables(getattr(tree, each.name))


class Place:
    """The rules at one place of a schema, and of the places below that have any."""

    __slots__ = ("additional", "items", "properties", "rules", "schema", "type_name")

    def __init__(self, schema: Schema, *, root: bool = False) -> None:
        self.schema = schema
        self.type_name = "object" if root else schema.types[0] if schema.types else "object"
        self.rules: list[Rule] = []
        given = schema.source.get("x-kubernetes-validations") or ()
        type_ = schemas.declared(schema.source, root=root) if given else None
        if type_ is not None:
            for source in given:
                try:
                    self.rules.append(compiled(source, type_))
                except Broken:
                    continue  # refused when the definition was written, or older than the check
        self.properties = {
            name: place for name, inner in schema.properties.items() if (place := Place(inner)).matters()
        }
        additional = Place(schema.additional) if isinstance(schema.additional, Schema) else None
        self.additional = additional if additional is not None and additional.matters() else None
        items = Place(schema.items) if schema.items is not None else None
        self.items = items if items is not None and items.matters() else None

    def matters(self) -> bool:
        return bool(self.rules or self.properties or self.additional is not None or self.items is not None)


class Rules:
    """All rules of one version of a definition."""

    def __init__(self, schema: Schema) -> None:
        self._root = Place(schema, root=True)

    def __bool__(self) -> bool:
        return self._root.matters()

    def faults(self, tree: Any, old: Any = ABSENT) -> list[Fault]:
        """What the rules say of an object's document; `old` is what it replaces."""
        return list(_until_overspent(self._root, tree, old))


def _until_overspent(root: Place, tree: Any, old: Any) -> Iterator[Fault]:
    try:
        yield from _place(root, tree, old, Path(), Budget(BUDGET))
    except _Overspent as e:
        yield e.fault


def _place(
    place: Place, value: Any, old: Any, path: Path, budget: Budget, *, settled: bool = False
) -> Iterator[Fault]:  # fmt: skip
    """`settled`: nothing has changed around it, which counts where nobody knows what it was, as in an atomic list."""
    if value is None and not place.schema.nullable:
        return
    settled = settled if old is ABSENT else unchanged(old, value, place.schema)
    for rule in place.rules:
        if (rule.transition and old is ABSENT) or (settled and not (rule.transition or rule.optional_old)):
            continue
        if fault := _broken(rule, place, value, old, path, budget):
            yield fault
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            if (declared := place.properties.get(name)) is not None:
                yield from _place(declared, inner, before.get(name, ABSENT), path.child(name), budget, settled=settled)
            elif place.additional is not None and name not in place.schema.properties:
                known_as = before.get(name, ABSENT)
                yield from _place(place.additional, inner, known_as, path.key(name), budget, settled=settled)
    elif isinstance(value, list) and place.items is not None:
        known = {}
        if place.schema.list_type == "map" and isinstance(old, list):
            known = {key_of(item, place.schema): item for item in old}
        for at, item in enumerate(value):
            before_item = known.get(key_of(item, place.schema), ABSENT) if known else ABSENT
            yield from _place(place.items, item, before_item, path.index(at), budget, settled=settled)


def _broken(rule: Rule, place: Place, value: Any, old: Any, path: Path, budget: Budget) -> Fault | None:
    given = {"self": value}
    if rule.optional_old:
        given[OLD] = NOTHING if old is ABSENT else Optional(old)
    elif old is not ABSENT:
        given[OLD] = old
    where = str(path) or NOWHERE
    try:
        if rule.program.evaluate(given, budget) is True:
            return None
    except BudgetFault as e:
        why = OVERSPENT
        if budget.left > 0:
            why = f"call cost exceeds limit for rule: {rule.text}, no further validation rules will be run"
        raise _Overspent(Fault("FieldValueInvalid", where, f'Invalid value: "{place.type_name}": {why}')) from e
    except EvaluationFault as e:
        why = f"{e.message} evaluating rule: {rule.text}"
        if e.message.startswith("no such overload"):
            why = (
                f"'{e.message}': call arguments did not match a supported operator, function or macro signature for "
                f"rule: {rule.text}"
            )
        return Fault("FieldValueInvalid", where, f'Invalid value: "{place.type_name}": {why}')
    said = rule.shown(given, budget)
    reason = rule.source.get("reason") or "FieldValueInvalid"
    if below := rule.source.get("fieldPath"):
        where = _below(path, below)
    form = _REASONS.get(reason)
    if reason == "FieldValueDuplicate":
        return Fault(reason, where, f'Duplicate value: "{place.type_name}"')
    return Fault(reason, where, form.format(said) if form else f'Invalid value: "{place.type_name}": {said}')


def _below(path: Path, relative: str) -> str:
    found = names(relative)
    return str(path.child(*found)) if found else f"{path}{relative}"
