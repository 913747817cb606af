"""Calls that are short for something else, most of them for folds.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#macros, and cel-go's two-variable comprehensions.
"""

from collections.abc import Callable, Sequence

from machinery.cel.trees import (
    ACCUMULATOR,
    UNUSED,
    Call,
    Comprehension,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
)

Note = Callable[[int, str], Node]
"""Puts down what is wrong with a place and gives a node to go on with."""


def expand(
    offset: int, name: str, target: Node | None, arguments: list[Node], note: Note, *, binds: bool = False
) -> Node | None:
    """None if the call is not a macro.  `binds`: `cel.bind` is one."""
    if target is None:
        return _has(offset, arguments[0], note) if name == "has" and len(arguments) == 1 else None
    if binds and name == "bind" and len(arguments) == 3 and isinstance(target, Ident) and target.name == "cel":
        return _bind(_At(offset, note), arguments)
    macro = _MACROS.get((name, len(arguments)))
    return macro(_At(offset, note), target, arguments) if macro is not None else None


def _has(offset: int, what: Node, note: Note) -> Node:
    if not isinstance(what, Select) or what.optional:
        return note(what.offset, "invalid argument to has() macro")
    return Select(offset, what.operand, what.field, test_only=True)


class _At:
    """Makes nodes that stand where the macro stands."""

    def __init__(self, offset: int, note: Note) -> None:
        self.offset = offset
        self.note = note

    def ident(self, name: str) -> Node:
        return Ident(self.offset, name)

    def literal(self, value: object) -> Node:
        return Literal(self.offset, value)

    def call(self, function: str, *arguments: Node) -> Node:
        return Call(self.offset, function, None, list(arguments))

    def accumulated(self) -> Node:
        return Ident(self.offset, ACCUMULATOR)

    def append(self, element: Node) -> Node:
        return self.call("_+_", self.accumulated(), ListNode(self.offset, [element]))

    def fold(self, range_: Node, names: Sequence[str], start: Node, while_: Node, step: Node, result: Node) -> Node:
        second = names[1] if len(names) == 2 else ""
        return Comprehension(self.offset, range_, names[0], second, ACCUMULATOR, start, while_, step, result)

    def bound(self, name: str, value: Node, result: Node) -> Node:
        """A fold over nothing."""
        nothing, never = ListNode(self.offset, []), self.literal(False)
        return Comprehension(self.offset, nothing, UNUSED, "", name, value, never, self.ident(name), result)

    def names(self, arguments: Sequence[Node]) -> list[str] | Node:
        """The variables that a macro declares, or the complaint about them."""
        found = []
        for argument in arguments:
            if not isinstance(argument, Ident):
                return self.note(argument.offset, "argument must be a simple name")
            if argument.name in (ACCUMULATOR, "__result__"):
                return self.note(
                    argument.offset, f"iteration variable overwrites accumulator variable: {argument.name}"
                )
            if argument.name in found:
                return self.note(argument.offset, f"duplicate variable name: {argument.name}")
            found.append(argument.name)
        return found


_Macro = Callable[[_At, Node, list[Node]], Node]


def _quantifier(build: Callable[[_At, Node, list[str], Node], Node]) -> _Macro:
    def macro(at: _At, target: Node, arguments: list[Node]) -> Node:
        names = at.names(arguments[:-1])
        return build(at, target, names, arguments[-1]) if isinstance(names, list) else names

    return macro


def _all(at: _At, target: Node, names: list[str], predicate: Node) -> Node:
    going = at.call("@not_strictly_false", at.accumulated())
    step = at.call("_&&_", at.accumulated(), predicate)
    return at.fold(target, names, at.literal(True), going, step, at.accumulated())


def _exists(at: _At, target: Node, names: list[str], predicate: Node) -> Node:
    going = at.call("@not_strictly_false", at.call("!_", at.accumulated()))
    step = at.call("_||_", at.accumulated(), predicate)
    return at.fold(target, names, at.literal(False), going, step, at.accumulated())


def _exists_one(at: _At, target: Node, names: list[str], predicate: Node) -> Node:
    step = at.call("_?_:_", predicate, at.call("_+_", at.accumulated(), at.literal(1)), at.accumulated())
    result = at.call("_==_", at.accumulated(), at.literal(1))
    return at.fold(target, names, at.literal(0), at.literal(True), step, result)


def _filter(at: _At, target: Node, names: list[str], predicate: Node) -> Node:
    step = at.call("_?_:_", predicate, at.append(at.ident(names[0])), at.accumulated())
    return at.fold(target, names, ListNode(at.offset, []), at.literal(True), step, at.accumulated())


def _to_list(variables: int) -> _Macro:
    """`map` and `transformList`: the variables, perhaps a filter, the element."""

    def macro(at: _At, target: Node, arguments: list[Node]) -> Node:
        names = at.names(arguments[:variables])
        if not isinstance(names, list):
            return names
        step = at.append(arguments[-1])
        if len(arguments) == variables + 2:
            step = at.call("_?_:_", arguments[variables], step, at.accumulated())
        return at.fold(target, names, ListNode(at.offset, []), at.literal(True), step, at.accumulated())

    return macro


def _to_map(insertion: Callable[[_At, list[str], Node], Node]) -> _Macro:
    def macro(at: _At, target: Node, arguments: list[Node]) -> Node:
        names = at.names(arguments[:2])
        if not isinstance(names, list):
            return names
        step = insertion(at, names, arguments[-1])
        if len(arguments) == 4:
            step = at.call("_?_:_", arguments[2], step, at.accumulated())
        return at.fold(target, names, MapNode(at.offset, []), at.literal(True), step, at.accumulated())

    return macro


def _value(at: _At, names: list[str], value: Node) -> Node:
    return at.call("cel.@mapInsert", at.accumulated(), at.ident(names[0]), value)


def _entry(at: _At, names: list[str], entry: Node) -> Node:
    return at.call("cel.@mapInsert", at.accumulated(), entry)


def _bind(at: _At, arguments: list[Node]) -> Node:
    """`cel.bind(name, value, result)`"""
    name, value, result = arguments
    if not isinstance(name, Ident):
        return at.note(name.offset, "cel.bind() variable names must be simple identifiers")
    return at.bound(name.name, value, result)


def _mapped_optional(wrap: bool) -> _Macro:
    """`x.optMap(v, e)` and `x.optFlatMap(v, e)`"""

    def macro(at: _At, target: Node, arguments: list[Node]) -> Node:
        names = at.names(arguments[:1])
        if not isinstance(names, list):
            return names
        bound = at.bound(names[0], Call(at.offset, "value", target, []), arguments[1])
        if wrap:
            bound = at.call("optional.of", bound)
        return at.call("_?_:_", Call(at.offset, "hasValue", target, []), bound, at.call("optional.none"))

    return macro


_MACROS: dict[tuple[str, int], _Macro] = {
    ("all", 2): _quantifier(_all),
    ("all", 3): _quantifier(_all),
    ("exists", 2): _quantifier(_exists),
    ("exists", 3): _quantifier(_exists),
    ("exists_one", 2): _quantifier(_exists_one),
    ("existsOne", 2): _quantifier(_exists_one),
    ("existsOne", 3): _quantifier(_exists_one),
    ("filter", 2): _quantifier(_filter),
    ("map", 2): _to_list(1),
    ("map", 3): _to_list(1),
    ("transformList", 3): _to_list(2),
    ("transformList", 4): _to_list(2),
    ("transformMap", 3): _to_map(_value),
    ("transformMap", 4): _to_map(_value),
    ("transformMapEntry", 3): _to_map(_entry),
    ("transformMapEntry", 4): _to_map(_entry),
    ("optMap", 2): _mapped_optional(True),
    ("optFlatMap", 2): _mapped_optional(False),
}
