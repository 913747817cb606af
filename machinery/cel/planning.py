"""Checked trees → functions that evaluate them.

Every node becomes a closure that takes a Frame, so that evaluation looks nothing up that was known before.  Closures
count what they cost; nothing runs on after the frame's limit.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from machinery.cel import operators, tolls
from machinery.cel.faults import BudgetFault, EvaluationFault
from machinery.cel.libraries.kinds import kind_of
from machinery.cel.trees import (
    ACCUMULATOR,
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
from machinery.cel.types import Overload, Type
from machinery.cel.values import NOTHING, Defaulted, Instance, Optional, Selectable, TypeValue

EXCEEDED = "operation cancelled: actual cost limit exceeded"


class Frame:
    """One evaluation: the variables given, those of folds, and what it has cost."""

    __slots__ = ("cost", "given", "limit", "local")

    def __init__(self, given: dict[str, Any], limit: int) -> None:
        self.given = given
        self.local: dict[str, Any] = {}
        self.cost = 0
        self.limit = limit

    def spend(self, amount: int) -> None:
        self.cost += amount
        if self.cost > self.limit:
            raise BudgetFault(EXCEEDED)


Step = Callable[[Frame], Any]


def plan(tree: Node) -> Step:
    return _Planner().plan(tree)


class _Planner:
    def __init__(self) -> None:
        self._scopes: list[str] = []

    def plan(self, node: Node) -> Step:
        match node:
            case Literal():
                return _literal(node.value)
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

    def _ident(self, node: Ident) -> Step:
        if node.resolved is not None and node.name not in self._scopes:
            return _literal(_type_value(node.resolved))
        name = node.name
        if name in self._scopes:

            def local(frame: Frame) -> Any:
                frame.cost += 1
                return frame.local[name]

            return local
        return _variable(name)

    def _select(self, node: Select) -> Step:
        if node.qualified:
            if node.type.kind == "type":
                return _literal(_type_value(node.type.parameters[0]))
            return _variable(node.qualified)
        operand, field = self.plan(node.operand), node.field
        if (declared := node.operand.type.field(field)) is not None:
            field = declared.property
        if node.test_only:
            return lambda frame: _has(operand(frame), field)
        if node.optional or node.operand.type.name == "optional_type":
            return _optional_selection(operand, field)

        def select(frame: Frame) -> Any:
            value = operand(frame)
            frame.cost += 1
            try:
                return value[field]
            except KeyError:
                raise EvaluationFault(f"no such key: {field}") from None
            except TypeError:
                return _select_other(value, field)

        return select

    def _call(self, node: Call) -> Step:
        steps = [self.plan(operand) for operand in node.operands]
        match node.function:
            case "_&&_":
                return _logical(*steps, decides=False)
            case "_||_":
                return _logical(*steps, decides=True)
            case "_?_:_":
                return _conditional(*steps)
            case "_[?_]":
                return _optional_index(*steps)
            case "@not_strictly_false":
                return _not_strictly_false(steps[0])
            case "_[_]" if node.operands[0].type.name == "optional_type":
                return _optional_index(*steps)
        return _Dispatch(node.function, node.candidates).step(steps)

    def _list(self, node: ListNode) -> Step:
        steps = [self.plan(element) for element in node.elements]
        if not node.optional:

            def build(frame: Frame) -> list[Any]:
                frame.spend(tolls.LIST)
                return [step(frame) for step in steps]

            return build
        optional = node.optional

        def build_some(frame: Frame) -> list[Any]:
            frame.spend(tolls.LIST)
            found = []
            for at, step in enumerate(steps):
                value = step(frame)
                if at not in optional:
                    found.append(value)
                elif value.present:
                    found.append(value.value)
            return found

        return build_some

    def _map(self, node: MapNode) -> Step:
        steps = [(self.plan(e.key), self.plan(e.value), e.optional) for e in node.entries]

        def build(frame: Frame) -> dict[Any, Any]:
            frame.spend(tolls.MAP)
            found: dict[Any, Any] = {}
            for key_step, value_step, optional in steps:
                key, value = operators.hashable(key_step(frame)), value_step(frame)
                if key in found:
                    raise EvaluationFault(f"Failed with repeated key: {key}")
                if not optional:
                    found[key] = value
                elif value.present:
                    found[key] = value.value
            return found

        return build

    def _struct(self, node: Struct) -> Step:
        steps = []
        for field in node.fields:
            declared = node.type.field(field.name)
            name = declared.property if declared is not None else field.name
            steps.append((name, self.plan(field.value), field.optional))
        type_name = node.type.name

        def build(frame: Frame) -> Instance:
            frame.spend(tolls.STRUCT)
            found = {}
            for name, step, optional in steps:
                value = step(frame)
                if not optional:
                    found[name] = value
                elif value.present:
                    found[name] = value.value
            return Instance(type_name, found)

        return build

    def _comprehension(self, node: Comprehension) -> Step:
        over, start = self.plan(node.range), self.plan(node.start)
        outer = len(self._scopes)
        self._scopes.append(node.accumulator)
        if is_binding(node):
            result = self.plan(node.result)
            del self._scopes[outer:]
            return _binding(over, node.accumulator, start, result)
        result = self.plan(node.result)
        self._scopes += [node.variable, node.second] if node.second else [node.variable]
        condition, step = self.plan(node.condition), self._step(node.step, node.accumulator)
        del self._scopes[outer:]
        return _fold(node, over, start, condition, step, result)

    def _step(self, node: Node, accumulator: str) -> Step:
        match node:
            case Call(function="_?_:_", arguments=[condition, yes, no]):
                return _conditional(self.plan(condition), self._step(yes, accumulator), self.plan(no))
            case Call(function="_+_", arguments=[Ident(name=name), ListNode(elements=[element])]) if (
                name == accumulator == ACCUMULATOR
            ):
                return _append(accumulator, self.plan(element))
        return self.plan(node)


def _literal(value: Any) -> Step:
    return lambda frame: value


def _type_value(t: Type) -> TypeValue:
    names = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration", "null": "null_type"}
    return TypeValue(names.get(t.name, t.name))


def _variable(name: str) -> Step:
    def given(frame: Frame) -> Any:
        frame.cost += 1
        try:
            return frame.given[name]
        except KeyError:
            raise EvaluationFault(f"no such attribute(s): {name}") from None

    return given


def _select_other(value: Any, field: str) -> Any:
    """Not a map."""
    if isinstance(value, Selectable):
        return value.select(field)
    if value is None or isinstance(value, (bool, int, float, str, bytes, list)):
        raise EvaluationFault(f"no such key: {field}")
    raise operators.no_such_overload()


def _has(value: Any, field: str) -> bool:
    if isinstance(value, dict):
        return field in value or isinstance(value, Defaulted)
    if isinstance(value, Optional):
        return value.present and _has(value.value, field)
    if isinstance(value, Selectable):
        return value.has(field)
    raise operators.no_such_overload()


def _optional_selection(operand: Step, field: str) -> Step:
    def select(frame: Frame) -> Optional:
        value = operand(frame)
        frame.cost += 1
        if isinstance(value, Optional):
            if not value.present:
                return NOTHING
            value = value.value
        if isinstance(value, Selectable):
            return Optional(value.select(field)) if value.has(field) else NOTHING
        if not isinstance(value, dict):
            if value is None:
                return NOTHING
            raise operators.no_such_overload()
        return Optional(value[field]) if _has(value, field) else NOTHING

    return select


def _optional_index(container: Step, key: Step) -> Step:
    def index(frame: Frame) -> Optional:
        value, wanted = container(frame), key(frame)
        frame.cost += 1
        if isinstance(value, Optional):
            if not value.present:
                return NOTHING
            value = value.value
        try:
            return Optional(operators.index(value, wanted))
        except EvaluationFault:
            return NOTHING
        except TypeError as e:
            raise operators.no_such_overload() from e

    return index


def _logical(left: Step, right: Step, *, decides: bool) -> Step:
    """Either side may decide, whatever is wrong with the other."""

    def run(frame: Frame) -> bool:
        fault: EvaluationFault | None = None
        for side in (left, right):
            try:
                value = side(frame)
            except BudgetFault:
                raise
            except EvaluationFault as e:
                fault = fault or e
                continue
            if value is decides:
                break
            if type(value) is not bool:
                fault = fault or operators.no_such_overload()
        else:
            if fault is not None:
                raise fault
            return not decides
        return bool(decides)

    return run


def _conditional(condition: Step, yes: Step, no: Step) -> Step:
    def run(frame: Frame) -> Any:
        value = condition(frame)
        if value is True:
            return yes(frame)
        if value is False:
            return no(frame)
        raise operators.no_such_overload()

    return run


def _not_strictly_false(operand: Step) -> Step:
    """A fold's own question whether it may stop; what went wrong so far does not stop it."""

    def run(frame: Frame) -> bool:
        frame.spend(1)
        return bool(operand(frame) is not False)

    return run


def _binding(over: Step, name: str, start: Step, result: Step) -> Step:
    def run(frame: Frame) -> Any:
        over(frame)
        value = start(frame)
        outer = frame.local
        frame.local = {**outer, name: value}
        try:
            return result(frame)
        finally:
            frame.local = outer

    return run


def _fold(node: Comprehension, over: Step, start: Step, condition: Step, step: Step, result: Step) -> Step:
    first, second, accumulator = node.variable, node.second, node.accumulator
    quantifier = node.step.function if isinstance(node.step, Call) else ""
    decisive = {"_&&_": False, "_||_": True}.get(quantifier)

    def run(frame: Frame) -> Any:
        items = _pairs(over(frame), bool(second))
        outer = frame.local
        local = frame.local = {**outer, accumulator: start(frame)}
        fault: EvaluationFault | None = None
        try:
            for key, item in items:
                local[first] = key if second else item
                if second:
                    local[second] = item
                if not condition(frame):
                    break
                try:
                    local[accumulator] = step(frame)
                except BudgetFault:
                    raise
                except EvaluationFault as e:
                    # A later element may still decide.
                    if decisive is None:
                        raise
                    fault = fault or e
                frame.spend(0)
            value = result(frame)
            if fault is not None and value is not decisive:
                raise fault
            return value
        finally:
            frame.local = outer

    return run


def _pairs(value: Any, two: bool) -> Any:
    """(index or key, element or value); with one variable, maps give their keys."""
    if isinstance(value, list):
        return enumerate(value) if two else zip(repeat(0), value, strict=False)
    if isinstance(value, dict):
        return list(value.items()) if two else [(key, key) for key in value]
    raise EvaluationFault("no such overload")


def _append(accumulator: str, element: Step) -> Step:
    """`accumulator + [element]`, in the accumulator's place: copying it each time would be quadratic.  It is the
    fold's own, so nobody else sees it grow."""

    def run(frame: Frame) -> Any:
        frame.spend(tolls.LIST + 2)
        grown = frame.local[accumulator]
        grown.append(element(frame))
        return grown

    return run


class _Dispatch:
    """Chooses an overload by the values' classes, and remembers the choice."""

    def __init__(self, function: str, overloads: Sequence[Overload]) -> None:
        self._function = function
        self._overloads = overloads
        self._chosen: dict[tuple[type, ...], Callable[..., Any]] = {}
        self._toll = tolls.toll(function)

    def step(self, steps: Sequence[Step]) -> Step:
        if len(steps) == 1:
            return self._unary(steps[0])
        if len(steps) == 2:
            return self._binary(*steps)
        return self._many(steps)

    def _choose(self, classes: tuple[type, ...]) -> Callable[..., Any]:
        for overload in self._overloads:
            if all(_accepts(p, c) for p, c in zip(overload.parameters, classes, strict=True)):
                self._chosen[classes] = overload.run
                return overload.run
        raise operators.no_such_overload()

    def _unary(self, operand: Step) -> Step:
        chosen, charge = self._chosen, self._toll

        def run(frame: Frame) -> Any:
            value = operand(frame)
            classes = (type(value),)
            result = (chosen.get(classes) or self._choose(classes))(value)
            frame.spend(1 if charge is None else charge((value,), result))
            return result

        return run

    def _binary(self, left: Step, right: Step) -> Step:
        chosen, charge = self._chosen, self._toll

        def run(frame: Frame) -> Any:
            a, b = left(frame), right(frame)
            classes = (type(a), type(b))
            result = (chosen.get(classes) or self._choose(classes))(a, b)
            frame.spend(1 if charge is None else charge((a, b), result))
            return result

        return run

    def _many(self, steps: Sequence[Step]) -> Step:
        chosen, charge = self._chosen, self._toll

        def run(frame: Frame) -> Any:
            values = [step(frame) for step in steps]
            classes = tuple(map(type, values))
            result = (chosen.get(classes) or self._choose(classes))(*values)
            frame.spend(1 if charge is None else charge(values, result))
            return result

        return run


def _accepts(parameter: Type, python: type) -> bool:
    if parameter.kind in ("dyn", "param"):
        return True
    kind = kind_of(python)
    if parameter.kind == "opaque":
        return kind == parameter.name
    return kind == parameter.kind or (parameter.kind == "struct" and kind == "map")
