"""Where expressions are compiled: the variables that they may use, and the limits that they have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from machinery.cel import estimates
from machinery.cel.checking import Structs, check
from machinery.cel.estimates import Range
from machinery.cel.faults import CompilationFault, EvaluationFault, Issue, compilation_fault
from machinery.cel.libraries.tables import STANDARD
from machinery.cel.parsing import TOO_DEEP, parse
from machinery.cel.planning import Frame, Step, plan
from machinery.cel.trees import Node
from machinery.cel.types import Function, Type

PER_CALL = 1_000_000
"""What one evaluation may cost, upstream's PerCallLimit."""


def _no_structs(_: str) -> Type | None:
    return None


@dataclass(slots=True)
class Budget:
    """What several evaluations may cost together; `left` goes down."""

    left: int


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. `evaluate` may be called by several threads at once."""

    source: str
    tree: Node
    _run: Step
    _converts: Mapping[str, Callable[[Any], Any]]

    @property
    def type(self) -> Type:
        return self.tree.type

    def cost(self) -> Range:
        """What it can cost, from what schemas say about sizes."""
        return estimates.estimate(self.tree)

    def evaluate(self, given: dict[str, Any], budget: Budget | None = None, limit: int = PER_CALL) -> Any:
        """The value, of CEL's own types (machinery.cel.values.to_json for JSON's).

        Raises EvaluationFault; BudgetFault if it costs more than `limit` or what the budget has left.
        """
        if self._converts:
            given = {name: self._converted(name, value) for name, value in given.items()}
        frame = Frame(given, limit if budget is None else min(limit, max(budget.left, 0)))
        try:
            return self._run(frame)
        except RecursionError as e:
            raise EvaluationFault(TOO_DEEP) from e
        finally:
            if budget is not None:
                budget.left -= frame.cost

    def _converted(self, name: str, value: Any) -> Any:
        convert = self._converts.get(name)
        return convert(value) if convert is not None else value


@dataclass(frozen=True, slots=True)
class Environment:
    """The types of the variables by name; names may have dots."""

    variables: Mapping[str, Type]
    functions: Mapping[str, Function] = field(default_factory=lambda: STANDARD)
    structs: Structs = _no_structs
    """The types of the objects that expressions can make, by name."""
    strict: bool = True
    """Elements of one literal are of one type, and literal arguments are tried out."""
    binds: bool = False
    """`cel.bind(name, value, result)` gives names to values."""

    def compile(self, source: str, wants: tuple[Type, ...] = (), must_be: str = "") -> Program:
        """`wants`: the kinds of result that will do, none for any; `must_be` says so in the fault.

        Raises CompilationFault with cel-go's message.
        """
        tree = parse(source, binds=self.binds)
        try:
            issues = check(tree, self.variables, self.functions, self.structs, strict=self.strict)
            run = plan(tree) if not issues else None
        except RecursionError:
            issues, run = [Issue(0, TOO_DEEP)], None
        if run is None:
            raise compilation_fault(source, issues)
        if wants and not any(tree.type.kind == t.kind and _agrees(tree.type, t) for t in wants):
            raise CompilationFault(must_be or _must_be(wants, tree.type))
        converts = {name: t.convert for name, t in self.variables.items() if t.convert is not None}
        return Program(source, tree, run, converts)

    def extended(self, variables: Mapping[str, Type]) -> "Environment":
        return replace(self, variables={**self.variables, **variables})


def _must_be(wants: tuple[Type, ...], found: Type) -> str:
    if len(wants) == 1:
        return f"must evaluate to {wants[0]} but got {found}"
    return f"must evaluate to one of [{' '.join(map(str, wants))}] but got {found}"


def _agrees(found: Type, wanted: Type) -> bool:
    if wanted.kind in ("opaque", "struct") and found.name != wanted.name:
        return False
    return all(
        w.kind == "dyn" or f.kind == "dyn" or (f.kind == w.kind and _agrees(f, w))
        for f, w in zip(found.parameters, wanted.parameters, strict=False)
    )
