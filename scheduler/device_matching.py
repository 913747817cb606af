"""Selectors, taints and constraints: whether a device is one that a request wants. Pure.

What an expression says of a device is remembered with the device: a class selects among the same ones for every pod.
"""

from typing import Any

from api.tolerations import tolerates_device
from api.types import DeviceConstraint, DeviceToleration
from machinery import device_selectors
from machinery.cel import BudgetFault, CompilationFault, EvaluationFault, Program
from scheduler.pools import Offered, Pool

PREVENTING = ("NoSchedule", "NoExecute")
PROGRAMS = 256


class Selectors:
    """Compiled expressions."""

    def __init__(self) -> None:
        self._programs: dict[str, Program | CompilationFault] = {}

    def compile(self, expression: str) -> Program:
        """Raises CompilationFault."""
        known = self._programs.get(expression)
        if known is None:
            try:
                known = device_selectors.compiled(expression)
            except CompilationFault as e:
                known = e
            if len(self._programs) >= PROGRAMS:
                self._programs.pop(next(iter(self._programs)))
            self._programs[expression] = known
        if isinstance(known, CompilationFault):
            raise known
        return known

    def verdict(self, offered: Offered, expression: str) -> bool | Exception:
        """Whether it selects the device, or why that cannot be said."""
        known = offered.verdicts.get(expression)
        if known is None:
            known = offered.verdicts[expression] = self._verdict(offered, expression)
        return known

    def matching(self, pool: Pool, expressions: tuple[str, ...]) -> tuple[Offered, ...]:
        """The devices that all of the expressions select, or of which that cannot be said: see `fault`."""
        known = pool.matching.get(expressions)
        if known is None:
            known = tuple(d for d in pool.devices if all(self._selects(d, expressions)))
            pool.matching[expressions] = known
        return known

    def fault(self, offered: Offered, expressions: tuple[str, ...]) -> tuple[int, Exception] | None:
        """The first expression that fails on a device of `matching`, by its number, and how."""
        for at, expression in enumerate(expressions):
            if isinstance(verdict := self.verdict(offered, expression), Exception):
                return at, verdict
        return None

    def _selects(self, offered: Offered, expressions: tuple[str, ...]) -> Any:
        for expression in expressions:
            verdict = self.verdict(offered, expression)
            yield bool(verdict)
            if isinstance(verdict, Exception):
                return

    def _verdict(self, offered: Offered, expression: str) -> bool | Exception:
        device = offered.device
        try:
            program = self.compile(expression)
            if offered.seen is None:
                offered.seen = device_selectors.seen(
                    offered.id.driver, device.attributes, device.capacity, device.allowMultipleAllocations
                )
            return device_selectors.matches(program, offered.seen)
        except (CompilationFault, EvaluationFault, BudgetFault) as e:
            return e


def is_tainted(offered: Offered, tolerations: list[DeviceToleration]) -> bool:
    """Whether a taint keeps the device from being given to a request that tolerates so much."""
    return any(
        taint.effect in PREVENTING and not any(tolerates_device(each, taint) for each in tolerations)
        for taint in offered.device.taints
    )


class Constraint:
    """What the devices of some requests of a claim must have in common, or must not: the value of an attribute.

    A device without the attribute fulfils neither.
    """

    def __init__(self, given: DeviceConstraint) -> None:
        self._requests = frozenset(given.requests)
        self._attribute = given.matchAttribute or given.distinctAttribute
        self._distinct = not given.matchAttribute
        self._values: list[object] = []

    def concerns(self, parent: str, request: str) -> bool:
        """`request` is `parent`, or one of its alternatives: parent/name."""
        return not self._requests or parent in self._requests or request in self._requests

    def add(self, offered: Offered) -> bool:
        """Count the device, if it is allowed."""
        value = attribute_of(offered, self._attribute)
        if value is None:
            return False
        if value in self._values if self._distinct else (self._values and value != self._values[0]):
            return False
        self._values.append(value)
        return True

    def remove(self) -> None:
        """The one that was added last."""
        self._values.pop()


def attribute_of(offered: Offered, name: str) -> object | None:
    """By its qualified name; with the driver's domain it may also be the device's own name without one."""
    domain, _, own = name.partition("/")
    attributes = offered.device.attributes
    found = attributes.get(name)
    if found is None and domain == offered.id.driver:
        found = attributes.get(own)
    if found is None:
        return None
    for kind in ("int_", "bool_", "string", "version"):
        if (value := getattr(found, kind)) is not None and (value != "" or kind == "string"):
            return kind, value
    return None
