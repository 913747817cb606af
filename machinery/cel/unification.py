"""Which types fit where: assignability, with type parameters being bound on the way.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#parameterized-types
"""

from collections.abc import Sequence
from dataclasses import replace

from machinery.cel.types import DYN, Type, param

NULLABLE = frozenset({"opaque", "struct", "timestamp", "duration", "null"})


class Bindings:
    """What the type parameters of one expression stand for."""

    def __init__(self) -> None:
        self._bound: dict[str, Type] = {}
        self._undo: list[tuple[str, Type | None]] = []
        """What was bound before, to be restored if in the end not everything fits."""
        self._made = 0

    def fresh(self) -> Type:
        self._made += 1
        return param(f"_var{self._made}")

    def instantiate(self, types: Sequence[Type]) -> list[Type]:
        """The same types with parameters that nobody else has."""
        renamed: dict[str, Type] = {}
        return [self._renamed(t, renamed) for t in types]

    def _renamed(self, t: Type, renamed: dict[str, Type]) -> Type:
        if t.kind == "param":
            if t.name not in renamed:
                renamed[t.name] = self.fresh()
            return renamed[t.name]
        if not t.parameters:
            return t
        return replace(t, parameters=tuple(self._renamed(p, renamed) for p in t.parameters))

    def assignable(self, given: Sequence[Type], wanted: Sequence[Type]) -> bool:
        """Whether all fit; if so, the parameters stay bound to what made them fit."""
        if len(given) != len(wanted):
            return False
        self._undo.clear()
        if all(self._fits(g, w) for g, w in zip(given, wanted, strict=True)):
            return True
        for name, before in reversed(self._undo):
            if before is None:
                del self._bound[name]
            else:
                self._bound[name] = before
        return False

    def _bind(self, name: str, t: Type) -> None:
        self._undo.append((name, self._bound.get(name)))
        self._bound[name] = t

    def _fits(self, given: Type, wanted: Type) -> bool:
        if wanted.kind == "param":
            valid, bound = self._substitutes(given, wanted)
            if valid or bound:
                return valid
        if given.kind == "param":
            return self._substitutes(wanted, given)[0]
        if given.kind in ("dyn", "error") or wanted.kind in ("dyn", "error"):
            return True
        if given.kind == "null":
            return wanted.kind in NULLABLE
        if given.kind != wanted.kind:
            return False
        if given.kind in ("opaque", "struct") and given.name != wanted.name:
            return False
        if given.kind == "type":
            return True
        return len(given.parameters) == len(wanted.parameters) and all(
            self._fits(g, w) for g, w in zip(given.parameters, wanted.parameters, strict=True)
        )

    def _substitutes(self, t: Type, parameter: Type) -> tuple[bool, bool]:
        """(whether `t` can stand for the parameter, whether something stands for it already)"""
        bound = self._bound.get(parameter.name)
        if bound is not None:
            if same(t, bound):
                return True, True
            if self._fits(t, bound):
                self._bind(parameter.name, most_general(t, bound))
                return True, True
            return False, True
        if self._occurs(parameter, t):
            return False, False
        self._bind(parameter.name, t)
        return True, False

    def _occurs(self, parameter: Type, within: Type) -> bool:
        if within.kind == "param":
            if within.name == parameter.name:
                return True
            bound = self._bound.get(within.name)
            return bound is not None and self._occurs(parameter, bound)
        return any(self._occurs(parameter, p) for p in within.parameters)

    def resolve(self, t: Type, *, open_to_dyn: bool = False) -> Type:
        """With what is bound in the place of the parameters."""
        if t.kind == "param":
            bound = self._bound.get(t.name)
            if bound is not None:
                return self.resolve(bound, open_to_dyn=open_to_dyn)
            return DYN if open_to_dyn else t
        if not t.parameters:
            return t
        parameters = tuple(self.resolve(p, open_to_dyn=open_to_dyn) for p in t.parameters)
        if all(a is b for a, b in zip(parameters, t.parameters, strict=True)):
            return t
        return replace(t, parameters=parameters)


def same(a: Type, b: Type) -> bool:
    if a is b:
        return True
    return (
        a.kind == b.kind
        and a.name == b.name
        and len(a.parameters) == len(b.parameters)
        and all(same(p, q) for p, q in zip(a.parameters, b.parameters, strict=True))
    )


def most_general(a: Type, b: Type) -> Type:
    return a if _less_specific(a, b) else b


def _less_specific(a: Type, b: Type) -> bool:
    if a.kind in ("dyn", "param"):
        return True
    if b.kind in ("dyn", "param") or a.kind != b.kind:
        return False
    if a.kind == "type":
        return True
    if a.name != b.name or len(a.parameters) != len(b.parameters):
        return False
    return all(_less_specific(p, q) for p, q in zip(a.parameters, b.parameters, strict=True))
