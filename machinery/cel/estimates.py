"""What an expression can cost at most, from the sizes that its schema allows.

Upstream refuses rules of custom resources by this figure, so the rules of the estimate are its own:
https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from machinery.cel import tolls
from machinery.cel.tolls import REGEX_LENGTH, TRAVERSAL
from machinery.cel.trees import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select, Struct, is_binding
from machinery.cel.types import Type

MOST = 2**64 - 1
SCALARS = frozenset({"bool", "double", "duration", "int", "timestamp", "uint", "null", "type"})
OPAQUE_SCALARS = "kubernetes.", "net."


@dataclass(frozen=True, slots=True)
class Range:
    """Of a size, or of a cost."""

    least: int
    most: int

    def __add__(self, other: "Range") -> "Range":
        return Range(min(self.least + other.least, MOST), min(self.most + other.most, MOST))

    def __mul__(self, other: "Range") -> "Range":
        return Range(min(self.least * other.least, MOST), min(self.most * other.most, MOST))

    def __or__(self, other: "Range") -> "Range":
        return Range(min(self.least, other.least), max(self.most, other.most))

    def times(self, factor: float) -> "Range":
        return Range(min(ceil(self.least * factor), MOST), min(ceil(self.most * factor), MOST))


def exactly(n: int) -> Range:
    return Range(n, n)


NOTHING, ONE, ANY = exactly(0), exactly(1), Range(0, MOST)


@dataclass(slots=True)
class _Sized:
    """What is known of a value: its size, that of its keys or indices, and that of its elements or values."""

    size: Range | None = None
    keys: Range | None = None
    values: Range | None = None


def estimate(tree: Node) -> Range:
    """Of a checked tree."""
    estimator = _Estimator()
    return estimator.cost(tree)


class _Estimator:
    def __init__(self) -> None:
        self._known: dict[int, _Sized] = {}
        self._scopes: dict[str, list[tuple[_Sized, Type]]] = {}

    # --- sizes

    def _size(self, node: Node) -> Range:
        return self._size_or_none(node) or ANY

    def _size_or_none(self, node: Node) -> Range | None:
        known = self._known.get(id(node))
        if known is not None and known.size is not None:
            return known.size
        match node:
            case Literal():
                return exactly(tolls.size(node.value))
            case ListNode():
                return exactly(len(node.elements))
            case MapNode():
                return exactly(len(node.entries))
        if node.type.most is not None:
            return Range(0, node.type.most)
        if _is_scalar(node.type):
            return ONE
        if isinstance(node, Ident) and (scopes := self._scopes.get(node.name)):
            return scopes[-1][0].size
        return None

    def _entries(self, node: Node) -> _Sized:
        known = self._known.get(id(node))
        if known is not None and known.values is not None:
            return known
        if isinstance(node, Ident) and (scopes := self._scopes.get(node.name)):
            return scopes[-1][0]
        return _Sized()

    def _note(self, node: Node, size: Range | None = None, entries: _Sized | None = None) -> None:
        known = self._known.setdefault(id(node), _Sized())
        if size is not None:
            known.size = size
        if entries is not None and entries.values is not None:
            known.keys, known.values = entries.keys, entries.values

    # --- costs

    def cost(self, node: Node) -> Range:
        match node:
            case Literal():
                return NOTHING
            case Ident():
                return ONE
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListNode():
                return self._list(node)
            case MapNode():
                return self._map(node)
            case Struct():
                return sum((self.cost(field.value) for field in node.fields), exactly(tolls.STRUCT))
            case Comprehension():
                return self._binding(node) if is_binding(node) else self._fold(node)
        raise AssertionError(type(node))

    def _select(self, node: Select) -> Range:
        if node.qualified:
            return ONE
        operand = self.cost(node.operand)
        if node.test_only or node.operand.type.kind not in ("map", "struct", "dyn"):
            return operand
        return operand + ONE if node.operand.type.kind != "dyn" else operand

    def _list(self, node: ListNode) -> Range:
        cost = sum(map(self.cost, node.elements), exactly(tolls.LIST))
        values = [self._size(element) for element in node.elements]
        self._note(node, entries=_Sized(keys=ONE, values=_union(values)))
        return cost

    def _map(self, node: MapNode) -> Range:
        cost = exactly(tolls.MAP)
        for entry in node.entries:
            cost += self.cost(entry.key) + self.cost(entry.value)
        keys = [self._size(entry.key) for entry in node.entries]
        values = [self._size(entry.value) for entry in node.entries]
        self._note(node, entries=_Sized(keys=_union(keys), values=_union(values)))
        return cost

    def _push(self, name: str, sized: _Sized, type_: Type) -> None:
        self._scopes.setdefault(name, []).append((sized, type_))

    def _pop(self, *names: str) -> None:
        for name in names:
            if name:
                self._scopes[name].pop()

    def _binding(self, node: Comprehension) -> Range:
        cost = self.cost(node.range) + self.cost(node.start)
        entries = self._entries(node.start)
        bound = _Sized(self._size_or_none(node.start), entries.keys, entries.values)
        self._push(node.accumulator, bound, node.start.type)
        cost += self.cost(node.result)
        self._pop(node.accumulator)
        self._note(node, self._size_or_none(node.result), self._entries(node.result))
        return cost

    def _fold(self, node: Comprehension) -> Range:
        cost = self.cost(node.range) + self.cost(node.start)
        entries = self._entries(node.start)
        started = _Sized(self._size_or_none(node.start), entries.keys, entries.values)
        self._push(node.accumulator, started, node.start.type)
        over = self._entries(node.range)
        if node.second:
            self._push(node.variable, _Sized(over.keys), node.type)
            self._push(node.second, _Sized(over.values), node.type)
        else:
            size = over.values if node.range.type.kind == "list" else over.keys
            self._push(node.variable, _Sized(size), node.type)
        once = self.cost(node.condition) + self.cost(node.step)
        self._pop(node.variable, node.second)
        cost += self.cost(node.result)
        self._pop(node.accumulator)
        count = self._size(node.range)
        if isinstance(node.start, Literal):
            self._note(node, self._size_or_none(node.start))
        elif isinstance(node.start, (ListNode, MapNode)):
            self._note(node, count, self._entries(node.step))
        return cost + count * once

    def _call(self, node: Call) -> Range:
        if node.function == "dyn" and len(node.arguments) == 1:
            cost = self.cost(node.arguments[0])
            self._note(node, self._size_or_none(node.arguments[0]), self._entries(node.arguments[0]))
            return cost + ONE
        costs = [self.cost(operand) for operand in node.operands]
        match node.function:
            case "_&&_" | "_||_":
                return Range(costs[0].least, (costs[0] + costs[1]).most)
            case "_?_:_":
                return self._conditional(node, costs)
        paid = sum(costs, NOTHING)
        found = _CALLS.get(node.function)
        if found is not None and node.operands:
            cost, size = found(self, node)
        else:
            cost, size = ONE, None
        if node.function == "_[_]":
            size = self._entries(node.operands[0]).values
        self._note(node, size)
        return paid + cost

    def _conditional(self, node: Call, costs: list[Range]) -> Range:
        yes, no = node.arguments[1:]
        self._note(node, self._size(yes) | self._size(no), _both(self._entries(yes), self._entries(no)))
        return costs[0] + (costs[1] | costs[2])

    # --- calls; the cost without that of the operands, and the size of the result if it is known

    def first(self, node: Call) -> Range:
        return self._size(node.operands[0])

    def second(self, node: Call) -> Range:
        return self._size(node.operands[1]) if len(node.operands) > 1 else ANY

    def joined(self, node: Call) -> tuple[Range, Range | None]:
        """`+` of strings, bytes, lists."""
        kinds = {overload.result.kind for overload in node.overloads}
        if not kinds & {"string", "bytes", "list"}:
            return ONE, None
        size = self.first(node) + self.second(node)
        self._note(node, entries=_both(self._entries(node.operands[0]), self._entries(node.operands[1])))
        cost = size.times(TRAVERSAL) if kinds & {"string", "bytes"} else ONE
        return (cost | ONE if len(kinds) > 1 else cost), size

    def compared(self, node: Call) -> tuple[Range, Range | None]:
        kinds = {overload.parameters[0].kind for overload in node.overloads}
        if not kinds & {"string", "bytes", "param"}:
            return ONE, None
        most = min(self.first(node).most, self.second(node).most)
        cost = Range(1 if most else 0, most).times(TRAVERSAL)
        return (cost | ONE if len(kinds) > 1 else cost), None

    def included(self, node: Call) -> tuple[Range, Range | None]:
        lists = [overload.id == "in_list" for overload in node.overloads]
        if not any(lists):
            return ONE, None
        size = self.second(node)
        return (size if all(lists) else size | ONE), None

    def walked(self, node: Call) -> tuple[Range, Range | None]:
        target = node.operands[0]
        size = self._size(target)
        if not target.type.parameters:
            return size.times(TRAVERSAL), None
        element, each = target.type.parameters[0], ONE
        if element.kind in ("string", "bytes"):
            bound = Range(0, element.most) if element.most is not None else self._entries(target).values or ANY
            each += bound.times(TRAVERSAL)
        return size * each, None

    def replaced(self, node: Call) -> tuple[Range, Range | None]:
        text, old, new = (self._size(operand) for operand in node.operands[:3])
        most = _replaced_most(text.most, old.least, new.most)
        least = _replaced_least(text.least, old.most, new.least)
        return text.times(2 * TRAVERSAL), Range(min(least, MOST), min(most, MOST))

    def concatenated(self, node: Call) -> tuple[Range, Range | None]:
        items = self.first(node)
        target = node.operands[0]
        element = target.type.parameters[0] if target.type.parameters else target.type
        each = Range(0, element.most) if element.most is not None else self._entries(target).values or ANY
        size = items * each
        if len(node.operands) > 1:
            size += self.second(node) * Range(max(items.least - 1, 0), max(items.most - 1, 0))
        return size.times(TRAVERSAL), size

    def matched(self, node: Call) -> tuple[Range, Range | None]:
        text = (self.first(node) + ONE).times(TRAVERSAL)
        size = Range(0, self.first(node).most) if node.function != "matches" else None
        return text * self.second(node).times(REGEX_LENGTH), size

    def contained(self, node: Call) -> tuple[Range, Range | None]:
        return self.first(node).times(TRAVERSAL) * self.second(node).times(TRAVERSAL), None


def _replaced_most(text: int, old: int, new: int) -> int:
    if old == 0:
        return (text + 1) * new + text
    return text if new <= old else ceil(text / old) * new


def _replaced_least(text: int, old: int, new: int) -> int:
    if old == 0:
        return (text + 1) * new + text
    return text if old <= new else ceil(text / old) * new


def _union(sizes: list[Range]) -> Range:
    if not sizes:
        return NOTHING
    found = sizes[0]
    for size in sizes[1:]:
        found |= size
    return found


def _both(a: _Sized, b: _Sized) -> _Sized:
    if a.values is None or b.values is None:
        return _Sized()
    keys = a.keys | b.keys if a.keys is not None and b.keys is not None else None
    return _Sized(keys=keys, values=a.values | b.values)


def _is_scalar(t: Type) -> bool:
    if t.name == "optional_type":
        return _is_scalar(t.parameters[0])
    return t.kind in SCALARS or (t.kind == "opaque" and t.name.startswith(OPAQUE_SCALARS))


_Call = Callable[[_Estimator, Call], tuple[Range, Range | None]]


def _traversed(factor: float, *, keeps_size: bool = False) -> _Call:
    def run(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
        size = estimator.first(node)
        return size.times(factor), size if keeps_size else None

    return run


def _traversed_argument(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
    return estimator.second(node).times(TRAVERSAL), None


def _split(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
    size = estimator.first(node)
    return size.times(2 * TRAVERSAL), Range(0, size.most)


def _text(factor: int) -> _Call:
    """`bytes` and `string`; only those of one another traverse."""

    def run(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
        if node.operands[0].type.kind not in ("string", "bytes"):
            return ONE, None
        size = estimator.first(node)
        result = Range(size.least, min(size.most * 4, MOST)) if factor == 4 else Range(size.least // 4, size.most)
        return size.times(TRAVERSAL), result

    return run


def _quoted(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
    size = estimator.first(node)
    return size.times(TRAVERSAL), Range(size.least + 2, min(size.most * 2 + 2, MOST))


def _formatted(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
    return estimator.first(node).times(TRAVERSAL), None


def _paired(times: int) -> _Call:
    def run(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
        return estimator.first(node) * estimator.second(node) * exactly(times), None

    return run


def _network(extra: int) -> _Call:
    def run(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
        cost = Range(8, 32).times(TRAVERSAL) + exactly(extra)
        if node.operands[1].type.kind == "string":
            cost += estimator.second(node).times(TRAVERSAL)
        return cost, None

    return run


def _validated(estimator: _Estimator, node: Call) -> tuple[Range, Range | None]:
    return (estimator.second(node) + ONE).times(TRAVERSAL) * exactly(60).times(REGEX_LENGTH), None


_CALLS: dict[str, _Call] = {
    "check": lambda _, __: (exactly(tolls.CHECK), None),
    "_+_": _Estimator.joined,
    "@in": _Estimator.included,
    "replace": _Estimator.replaced,
    "join": _Estimator.concatenated,
    "contains": _Estimator.contained,
    "split": _split,
    "validate": _validated,
    "bytes": _text(4),
    "string": _text(1),
    "strings.quote": _quoted,
    "format": _formatted,
    "containsIP": _network(0),
    "containsCIDR": _network(5),
    "sets.contains": _paired(1),
    "sets.intersects": _paired(1),
    "sets.equivalent": _paired(2),
    "ip.isCanonical": _traversed(2 * TRAVERSAL),
    **dict.fromkeys(("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"), _Estimator.compared),
    **dict.fromkeys(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"), _Estimator.walked),
    **dict.fromkeys(("matches", "find", "findAll"), _Estimator.matched),
    **dict.fromkeys(("startsWith", "endsWith"), _traversed_argument),
    **dict.fromkeys(("lowerAscii", "upperAscii", "substring", "trim"), _traversed(TRAVERSAL, keeps_size=True)),
    **dict.fromkeys(("url", "cidr", "ip", "isIP", "isCIDR", "quantity", "isQuantity"), _traversed(TRAVERSAL)),
    **dict.fromkeys(("semver", "isSemver"), _traversed(TRAVERSAL)),
}
