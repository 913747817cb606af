"""Syntax trees of CEL expressions.

Nodes carry what the checker finds out (`type`, `overloads`), so that the cost estimator and the planner need not ask
again.  `offset` is the place in the source that a complaint about the node points at: the operator, the dot, the
opening parenthesis of a call.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from machinery.cel.types import DYN, Overload, Type


@dataclass(slots=True, eq=False)
class Node:
    offset: int
    type: Type = dataclasses.field(default=DYN, init=False)


@dataclass(slots=True, eq=False)
class Literal(Node):
    value: Any


@dataclass(slots=True, eq=False)
class Ident(Node):
    name: str
    resolved: Any = dataclasses.field(default=None, init=False)
    """The type that the name stands for, if it is a type's."""


@dataclass(slots=True, eq=False)
class Select(Node):
    operand: Node
    field: str
    test_only: bool = False
    """`has(operand.field)`"""
    optional: bool = False
    """`operand.?field`"""
    qualified: str = dataclasses.field(default="", init=False)
    """The dotted variable that this is, rather than a selection."""


@dataclass(slots=True, eq=False)
class Call(Node):
    function: str
    target: Node | None
    arguments: list[Node]
    overloads: list[Overload] = dataclasses.field(default_factory=list, init=False)
    """Those that fit the types as far as they are known."""
    candidates: list[Overload] = dataclasses.field(default_factory=list, init=False)
    """All of this style of call: values may turn out to be of other types than was concluded from their use."""

    @property
    def operands(self) -> list[Node]:
        return self.arguments if self.target is None else [self.target, *self.arguments]


@dataclass(slots=True, eq=False)
class ListNode(Node):
    elements: list[Node]
    optional: frozenset[int] = frozenset()


@dataclass(slots=True, eq=False)
class Entry:
    offset: int
    key: Node
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class MapNode(Node):
    entries: list[Entry]


@dataclass(slots=True, eq=False)
class FieldValue:
    offset: int
    name: str
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class Struct(Node):
    name: str
    fields: list[FieldValue]


@dataclass(slots=True, eq=False)
class Comprehension(Node):
    """A fold: `accumulator` starts as `start`; for every element of `range`, while `condition`, it becomes `step`;
    the value is `result`.  With `second`, `variable` is the index or key and `second` the element or value."""

    range: Node
    variable: str
    second: str
    accumulator: str
    start: Node
    condition: Node
    step: Node
    result: Node


ACCUMULATOR = "@result"
UNUSED = "#unused"


def is_binding(node: Comprehension) -> bool:
    """A fold over nothing, which only gives a name to a value."""
    return (
        isinstance(node.range, ListNode)
        and not node.range.elements
        and isinstance(node.condition, Literal)
        and node.condition.value is False
        and node.accumulator != ACCUMULATOR
    )


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for inner in _below(node):
        yield from walk(inner)


def _below(node: Node) -> Sequence[Node]:
    match node:
        case Select():
            return [node.operand]
        case Call():
            return node.operands
        case ListNode():
            return node.elements
        case MapNode():
            return [part for entry in node.entries for part in (entry.key, entry.value)]
        case Struct():
            return [field.value for field in node.fields]
        case Comprehension():
            return [node.range, node.start, node.condition, node.step, node.result]
    return []
