"""Whether the schema of a version can be kept to: its structure, its defaults, and its rules with what they may cost.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from api.paths import Fault, Path, forbidden, invalid, not_supported, required
from apiserver.customs import defaulting, expressions, jsonpaths, lists, pruning, structure, values
from apiserver.customs.schemas import Schema
from machinery.cel import schemas as cel_schemas

Tree = dict[str, Any]
Faults = Iterator[Fault]
Costs = list[tuple[Path, int]]
RULE_COST, TOTAL_COST = 10_000_000, 100_000_000
MOST, UNBOUNDED = 2**64 - 1, 2**56
"""Of costs; from the second on, there is no bound that means anything."""


def schema_faults(tree: Tree, path: Path) -> Faults:
    """Of the schema of one version: structure, then defaults and rules if that is sound."""
    found = list(structure.faults(tree, path))
    yield from found
    if found:
        return
    schema = Schema(tree)
    yield from _defaults(schema, path, True)
    costs: Costs = []
    yield from _rules(schema, path, 1, True, costs)
    total = sum(cost for _, cost in costs)
    if total > TOTAL_COST:
        for where, cost in sorted(costs, key=lambda pair: -pair[1])[:4]:
            if cost > TOTAL_COST // 100:
                why = "contributed to estimated rule & messageExpression cost total exceeding cost limit for entire OpenAPIv3 schema"  # noqa: E501
                yield forbidden(where, why)
        name = "x-kubernetes-validations estimated rule & messageExpression cost total for entire OpenAPIv3 schema"
        yield forbidden(path, _overspent(name, total, TOTAL_COST))


def _defaults(schema: Schema, path: Path, root: bool) -> Faults:
    """A default must be what pruning, defaulting and validation leave as it is."""
    if schema.has_default:
        here, given = path.child("default"), schema.default
        if root:
            yield forbidden(here, "must not be set at the root")
        whole = {"value": msgspec.json.decode(msgspec.json.encode(given))}
        holder = Schema({"type": "object", "properties": {"value": schema.source}})
        pruning.prune(whole, holder)
        if not values.same(whole["value"], given):
            yield invalid(here, given, "must not have unknown fields")
        else:
            defaulting.default(whole, holder)
            value = whole.get("value")
            yield from [*values.faults(value, schema, str(here)), *lists.faults(value, schema, here)]
    for name, inner in schema.properties.items():
        yield from _defaults(inner, path.child("properties").key(name), False)
    if isinstance(schema.additional, Schema):
        yield from _defaults(schema.additional, path.child("additionalProperties"), False)
    if schema.items is not None:
        yield from _defaults(schema.items, path.child("items"), False)


def _rules(schema: Schema, path: Path, times: float, root: bool, costs: Costs, *, alone: bool = True) -> Faults:
    """`times`: how often there may be such a value in one object. `alone`: what was there before can be told."""
    given = schema.source.get("x-kubernetes-validations") or ()
    type_ = cel_schemas.declared(schema.source, root=root) if given else None
    here = path.child("x-kubernetes-validations")
    for at, source in enumerate(given):
        yield from _rule(source, type_, schema, here.index(at), times, costs, alone)
    for name, inner in schema.properties.items():
        yield from _rules(inner, path.child("properties").key(name), times, False, costs, alone=alone)
    if isinstance(schema.additional, Schema):
        most = schema.source.get("maxProperties")
        size = most if most is not None else _unbounded(schema.additional, 6)
        yield from _rules(
            schema.additional, path.child("additionalProperties"), times * size, False, costs, alone=alone
        )
    if schema.items is not None:
        most = schema.source.get("maxItems")
        size = most if most is not None else _unbounded(schema.items, 1)
        known = alone and schema.list_type == "map"
        yield from _rules(schema.items, path.child("items"), times * size, False, costs, alone=known)


def _unbounded(schema: Schema, between: int) -> int:
    found = cel_schemas.declared(schema.source)
    return (cel_schemas.LONGEST_DOCUMENT - 2) // ((found.least_bytes if found is not None else 1) + between)


def _rule(source: Tree, type_: Any, schema: Schema, path: Path, times: float, costs: Costs, alone: bool) -> Faults:
    if not (source.get("rule") or "").strip():
        yield required(path.child("rule"), "rule is not specified")
        return
    said = source.get("message")
    if said is not None and said and not said.strip():
        yield invalid(path.child("message"), said, "message must be non-empty if specified")
    elif said and "\n" in said:
        yield invalid(path.child("message"), said, "message must not contain line breaks")
    elif "\n" in source["rule"].strip() and not said:
        yield required(path.child("message"), "message must be specified if rule contains line breaks")
    reasons = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate")
    if source.get("reason") and source["reason"] not in reasons:
        yield not_supported(path.child("reason"), source["reason"], reasons)
    if source.get("fieldPath") and jsonpaths.names(source["fieldPath"]) is None and "[" not in source["fieldPath"]:
        yield invalid(path.child("fieldPath"), source["fieldPath"], "fieldPath must be a valid path")
    if type_ is None:
        return
    try:
        rule = expressions.compiled(source, type_)
    except expressions.Broken as e:
        shown = source.get("messageExpression") if e.field == "messageExpression" else source
        yield invalid(path.child(e.field), shown, e.message)
        return
    if (rule.transition or rule.optional_old) and not alone:
        why = "oldSelf cannot be used on the uncorrelatable portion of the schema within"
        yield invalid(path.child("rule"), source["rule"], f"{why} {str(path).rpartition('.x-kubernetes')[0]}")
    for name, program in (("rule", rule.program), ("messageExpression", rule.message)):
        if program is None:
            continue
        cost = min(int(program.cost().most * times), MOST)
        if name == "messageExpression" and cost >= UNBOUNDED:
            continue  # no bound can be told of `string(self.x)`, which the documentation's own example says
        costs.append((path.child(name), cost))
        if cost > RULE_COST:
            yield forbidden(path.child(name), _overspent(f"estimated {name} cost", cost, RULE_COST))


def _overspent(what: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )
