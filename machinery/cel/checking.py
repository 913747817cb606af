"""The types of all parts of an expression, and what is wrong with them, in cel-go's words.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#type-checking
"""

from collections.abc import Callable, Mapping

from machinery.cel.faults import CelFault, Issue
from machinery.cel.trees import (
    Call,
    Comprehension,
    Ident,
    ListNode,
    Literal,
    MapNode,
    Node,
    Select,
    Struct,
    is_binding,
)
from machinery.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DYN,
    ERROR,
    INT,
    NAMED_TYPES,
    NULL,
    STRING,
    UINT,
    Function,
    Overload,
    Type,
    listed,
    mapped,
    optional,
    typed,
)
from machinery.cel.unification import Bindings, most_general, same
from machinery.cel.values import Uint

LITERALS = {bool: BOOL, int: INT, Uint: UINT, float: DOUBLE, str: STRING, bytes: BYTES, type(None): NULL}
LITERAL_CHECKS = ("duration", "timestamp", "matches")
"""Functions whose literal arguments are tried out beforehand."""

Structs = Callable[[str], Type | None]
"""The type of the objects that `Name{…}` makes."""


def check(
    tree: Node,
    variables: Mapping[str, Type],
    functions: Mapping[str, Function],
    structs: Structs,
    *,
    strict: bool = True,
) -> list[Issue]:
    """Fills in the nodes' types and overloads.  `strict`: elements of one literal are of one type."""
    checker = _Checker(variables, functions, structs, strict)
    checker.check(tree)
    checker.settle()
    return checker.issues


class _Checker:
    def __init__(
        self, variables: Mapping[str, Type], functions: Mapping[str, Function], structs: Structs, strict: bool
    ) -> None:
        self.issues: list[Issue] = []
        self._variables = variables
        self._functions = functions
        self._structs = structs
        self._strict = strict
        self._bindings = Bindings()
        self._scopes: list[dict[str, Type]] = []
        self._seen: list[Node] = []

    def _note(self, offset: int, text: str) -> None:
        self.issues.append(Issue(offset, text))

    def settle(self) -> None:
        """Parameters that nothing was bound to can be anything."""
        for node in self._seen:
            node.type = self._bindings.resolve(node.type, open_to_dyn=True)

    def check(self, node: Node) -> Type:
        node.type = self._type(node)
        self._seen.append(node)
        return node.type

    def _type(self, node: Node) -> Type:
        match node:
            case Literal():
                return LITERALS[type(node.value)]
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListNode():
                return self._list(node)
            case MapNode():
                return self._map(node)
            case Struct():
                return self._struct(node)
            case Comprehension():
                return self._comprehension(node)
        raise AssertionError(type(node))

    # --- names

    def _variable(self, name: str) -> Type | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return self._variables.get(name)

    def _ident(self, node: Ident) -> Type:
        found = self._variable(node.name)
        if found is not None:
            return found
        if node.name in NAMED_TYPES:
            node.resolved = NAMED_TYPES[node.name]
            return typed(NAMED_TYPES[node.name])
        self._note(node.offset, f"undeclared reference to '{node.name}' (in container '')")
        return ERROR

    def _select(self, node: Select) -> Type:
        dotted = _qualified(node)
        if dotted and not any(dotted.split(".")[0] in scope for scope in self._scopes):
            found = self._variables.get(dotted)
            if found is not None:
                node.qualified = dotted
                return found
            if dotted in NAMED_TYPES:
                node.qualified = dotted
                return typed(NAMED_TYPES[dotted])
        operand = self._bindings.resolve(self.check(node.operand))
        if node.test_only:
            self._field(node, self._unwrapped(operand), BOOL)
            return BOOL
        if operand.name == "optional_type" or node.optional:
            found = self._field(node, self._unwrapped(operand), DYN)
            return optional(self._unwrapped(self._bindings.resolve(found)))
        return self._field(node, operand, ERROR)

    def _unwrapped(self, t: Type) -> Type:
        return self._bindings.resolve(t.parameters[0]) if t.name == "optional_type" else t

    def _field(self, node: Select, operand: Type, otherwise: Type) -> Type:
        match operand.kind:
            case "dyn" | "error":
                return DYN
            case "map":
                return operand.parameters[1]
            case "struct":
                field = operand.field(node.field)
                if field is not None:
                    return field.type
                self._note(node.offset, f"undefined field '{node.field}'")
                return ERROR
            case "param":
                # Nothing is known yet; whatever has fields fits.
                self._bindings.assignable([operand], [DYN])
                return DYN
        self._note(node.offset, f"type '{operand}' does not support field selection")
        return otherwise

    # --- calls

    def _call(self, node: Call) -> Type:
        strict, self._strict = self._strict, self._strict and node.function != "format"
        for argument in node.arguments:
            self.check(argument)
        self._strict = strict
        if node.function == "_[?_]" or (
            node.function == "_[_]" and self._bindings.resolve(node.arguments[0].type).name == "optional_type"
        ):
            return self._optional_index(node)
        if node.target is not None:
            namespace = _qualified(node.target)
            function = self._functions.get(f"{namespace}.{node.function}") if namespace else None
            if function is not None:
                node.target, node.function = None, function.name
            else:
                self.check(node.target)
        function = self._functions.get(node.function)
        if function is None:
            self._note(node.offset, f"undeclared reference to '{node.function}' (in container '')")
            return ERROR
        return self._resolve(node, function)

    def _optional_index(self, node: Call) -> Type:
        function = self._functions["_[_]"]
        container = self._unwrapped(self._bindings.resolve(node.arguments[0].type))
        return optional(self._unwrapped(self._resolve(node, function, [container, node.arguments[1].type])))

    def _resolve(self, node: Call, function: Function, given: list[Type] | None = None) -> Type:
        if given is None:
            given = [self._bindings.resolve(operand.type) for operand in node.operands]
        result: Type | None = None
        member = node.target is not None
        node.candidates = [o for o in function.overloads if o.member == member and len(o.parameters) == len(given)]
        for overload in node.candidates:
            found = self._match(overload, given)
            if found is None:
                continue
            node.overloads.append(overload)
            if result is None:
                result = found
            elif result.kind != "dyn" and not same(result, found):
                result = DYN
        if result is None:
            shown = [self._bindings.resolve(t, open_to_dyn=True) for t in given]
            self._note(node.offset, _no_overload(function.name, shown, member))
            return ERROR
        if self._strict and node.function in LITERAL_CHECKS:
            self._try_literal(node)
        return result

    def _match(self, overload: Overload, given: list[Type]) -> Type | None:
        *wanted, result = self._bindings.instantiate([*overload.parameters, overload.result])
        if not self._bindings.assignable(given, wanted):
            return None
        return self._bindings.resolve(result)

    def _try_literal(self, node: Call) -> None:
        argument = node.arguments[-1] if node.arguments else None
        if not isinstance(argument, Literal) or type(argument.value) is not str:
            return
        values = [""] * (len(node.operands) - 1) + [argument.value]
        try:
            node.overloads[0].run(*values)
        except CelFault:
            kind = "matches" if node.function == "matches" else node.function
            self._note(argument.offset, f"invalid {kind} argument")

    # --- aggregates

    def _list(self, node: ListNode) -> Type:
        element: Type | None = None
        for at, item in enumerate(node.elements):
            found = self.check(item)
            if at in node.optional:
                found = self._of_optional(item, found)
            element = self._join(item.offset, element, found)
        return listed(element if element is not None else self._bindings.fresh())

    def _map(self, node: MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            key = self._join(entry.key.offset, key, self.check(entry.key))
            found = self.check(entry.value)
            if entry.optional:
                found = self._of_optional(entry.value, found)
            value = self._join(entry.value.offset, value, found)
        return mapped(key or self._bindings.fresh(), value or self._bindings.fresh())

    def _of_optional(self, node: Node, found: Type) -> Type:
        inner = self._unwrapped(self._bindings.resolve(found))
        if not self._bindings.assignable([found], [optional(inner)]):
            self._note(node.offset, f"expected type 'optional_type({found})' but found '{found}'")
        return inner

    def _join(self, offset: int, before: Type | None, now: Type) -> Type:
        if before is None:
            return now
        before, now = self._bindings.resolve(before), self._bindings.resolve(now)
        if self._bindings.assignable([before], [now]):
            return most_general(before, now)
        if self._strict:
            self._note(offset, f"expected type '{before}' but found '{now}'")
            return ERROR
        return DYN

    def _struct(self, node: Struct) -> Type:
        found = self._structs(node.name)
        if found is None:
            self._note(node.offset, f"undeclared reference to '{node.name}' (in container '')")
        for field in node.fields:
            value = self.check(field.value)
            if field.optional:
                value = self._of_optional(field.value, value)
            if found is None:
                continue
            declared = found.field(field.name)
            if declared is None:
                self._note(field.offset, f"undefined field '{field.name}'")
            elif not self._bindings.assignable([value], [declared.type]):
                value = self._bindings.resolve(value)
                self._note(
                    field.offset,
                    f"expected type of field '{field.name}' is '{declared.type}' but provided type is '{value}'",
                )
        return found or ERROR

    # --- folds

    def _comprehension(self, node: Comprehension) -> Type:
        over = self._bindings.resolve(self.check(node.range))
        start = self.check(node.start)
        self._scopes.append({node.accumulator: start})
        self._scopes.append({} if is_binding(node) else self._loop_variables(node, over))
        self._must_be(node.condition, BOOL)
        self._must_be(node.step, start)
        self._scopes.pop()
        result = self.check(node.result)
        self._scopes.pop()
        return self._bindings.resolve(result)

    def _loop_variables(self, node: Comprehension, over: Type) -> dict[str, Type]:
        match over.kind:
            case "list":
                key, value = INT, over.parameters[0]
            case "map":
                key, value = over.parameters
            case "dyn" | "error" | "param":
                if over.kind == "param":
                    self._bindings.assignable([over], [DYN])
                key = value = DYN
            case _:
                self._note(
                    node.range.offset,
                    f"expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)",
                )
                key = value = ERROR
        if node.second:
            return {node.variable: key, node.second: value}
        return {node.variable: value if over.kind == "list" else key}

    def _must_be(self, node: Node, wanted: Type) -> None:
        found = self.check(node)
        if not self._bindings.assignable([found], [wanted]):
            wanted, found = self._bindings.resolve(wanted), self._bindings.resolve(found)
            self._note(node.offset, f"expected type '{wanted}' but found '{found}'")


def _qualified(node: Node) -> str:
    """`a.b.c` as one name, or "" if it is something else."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test_only and not node.optional:
        prefix = _qualified(node.operand)
        return f"{prefix}.{node.field}" if prefix else ""
    return ""


def _no_overload(name: str, given: list[Type], member: bool) -> str:
    shown = [str(t) for t in given]
    signature = f"{shown[0]}.({', '.join(shown[1:])})" if member else f"({', '.join(shown)})"
    return f"found no matching overload for '{name}' applied to '{signature}'"
