"""One policy on one request: its expressions' variables, what they come to, and what they may cost.

Evaluation is synchronous and pure.  What turns out to take longer than a moment is started again in another thread,
so that no expression holds up the event loop.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from apiserver.admission.attributes import CONNECT, Attributes
from apiserver.admission.policies import authorizers
from apiserver.admission.policies.compiling import Policy
from apiserver.admission.webhooks import reviews
from apiserver.admission.webhooks.forms import Tree
from apiserver.requests import Request
from machinery.cel import Budget, BudgetFault, CelFault, EvaluationFault, Program
from machinery.cel.admitting import Broken, Compiled
from machinery.cel.libraries.authorizing import Ask
from machinery.cel.tolls import CHECK
from machinery.cel.values import Selectable

BUDGET = 10_000_000
"""What the expressions of one policy may cost on one request, upstream's RuntimeCELCostBudget."""
CONDITIONS_BUDGET = BUDGET // 4
QUICK = 20_000
"""What they may cost on the event loop: a few milliseconds."""
OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
T = TypeVar("T")


class Fault(Exception):
    """An expression has no value. The message says why, as upstream does."""


class TooLong(Exception):
    """It cannot be done within a moment."""


class Variables(Selectable):
    """`variables.NAME`: evaluated when it is first asked for, and once."""

    def __init__(self, programs: dict[str, Compiled], evaluate: Callable[[Compiled], Any]) -> None:
        self._programs = programs
        self._evaluate = evaluate
        self._known: dict[str, Any] = {}

    def has(self, field: str) -> bool:
        return field in self._programs

    def select(self, field: str) -> Any:
        if field not in self._known:
            program = self._programs.get(field)
            if program is None:
                raise EvaluationFault(f"no such key: {field}")
            try:
                self._known[field] = self._evaluate(program)
            except BudgetFault:
                raise
            except EvaluationFault as e:
                raise EvaluationFault(f'composited variable "{field}" fails to evaluate: {e.message}') from e
        return self._known[field]


class Evaluation:
    """The expressions of one policy about one object, with one parameter object."""

    def __init__(self, policy: Policy, given: dict[str, Any], budget: int) -> None:
        self._given = {**given, "variables": Variables(policy.variables, self._bare)}
        self._quick = budget < BUDGET
        self._budget = Budget(budget)

    def _bare(self, program: Compiled) -> Any:
        if isinstance(program, Broken):
            raise EvaluationFault(f"compilation error: {program.message}")
        return program.evaluate(self._given, self._budget)

    def value(self, program: Compiled) -> Any:
        """Raises Fault, TooLong; BudgetFault when nothing more may be evaluated."""
        try:
            return self._bare(program)
        except BudgetFault as e:
            if self._quick:
                raise TooLong from e
            if self._budget.left <= 0:
                raise BudgetFault(OUT_OF_BUDGET) from e
            raise Fault(_told(program, e)) from e
        except EvaluationFault as e:
            raise Fault(_told(program, e)) from e

    def holds(self, policy: Policy) -> bool:
        """Whether all matchConditions are true: one that is false settles it.  Raises Fault, TooLong."""
        faults = []
        for _, program in policy.conditions:
            try:
                if self.value(program) is not True:
                    return False
            except Fault as e:
                faults.append(str(e))
            except BudgetFault as e:
                raise Fault(e.message) from e
        if faults:
            raise Fault(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
        return True


def _told(program: Compiled, fault: CelFault) -> str:
    if isinstance(program, Program):
        return f"expression '{program.source}' resulted in error: {fault.message}"
    return fault.message


async def evaluate(
    policy: Policy, about: Attributes, given: dict[str, Any], ask: Ask, work: Callable[[Evaluation], T]
) -> T:
    """What `work` makes of the policy, here or in another thread."""
    quick = QUICK + policy.asks * CHECK
    try:
        return work(Evaluation(policy, given | authorizers.variables(ask, about), min(quick, BUDGET - 1)))
    except TooLong:
        elsewhere = authorizers.from_thread(ask, asyncio.get_running_loop())
        whole = Evaluation(policy, given | authorizers.variables(elsewhere, about), BUDGET)
        return await asyncio.to_thread(work, whole)


_NAMESPACE = (
    "name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "finalizers",
)  # fmt: skip


def variables(
    request: Request, about: Attributes, new: Tree | None, old: Tree | None, shown_as: Any, namespace: Tree | None
) -> dict[str, Any]:
    """What all expressions see; `shown_as` is the kind that the objects are shown as."""
    asking = reviews.question("v1", "", request, about, shown_as, new, old)["request"]
    hidden = {"uid", "object", "oldObject"} | ({"options"} if about.operation == CONNECT else set())
    shown = {name: value for name, value in asking.items() if name not in hidden}
    if namespace is not None:
        metadata = {name: value for name, value in namespace["metadata"].items() if name in _NAMESPACE}
        namespace = {"metadata": metadata, **{n: namespace[n] for n in ("spec", "status") if n in namespace}}
    return {"object": new, "oldObject": old, "request": shown, "namespaceObject": namespace}
