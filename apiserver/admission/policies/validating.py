"""ValidatingAdmissionPolicy: expressions that must be true of what is about to be stored.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from api import kinds
from api.types import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from apiserver.admission.attributes import attributes
from apiserver.admission.policies import refusals
from apiserver.admission.policies.compiling import Check, Policy
from apiserver.admission.policies.dispatching import Dispatcher, Invocation, Means
from apiserver.admission.policies.evaluating import Evaluation, Fault, evaluate
from apiserver.admission.policies.sources import Binding
from apiserver.requests import Request
from machinery.cel import BudgetFault

LONGEST_MESSAGE = 5 * 1024
LONGEST_NOTE = 10 * 1024


@dataclass(frozen=True, slots=True)
class Decision:
    """Of one validation that is not fulfilled, or could not be told."""

    message: str
    index: int = 0
    reason: str = ""


@dataclass(slots=True)
class Outcome:
    denied: list[Decision] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    note_faults: list[str] = field(default_factory=list)


class ValidatingPolicies:
    """A `Judge`."""

    def __init__(self, means: Means) -> None:
        self._dispatcher = Dispatcher(
            means, kinds.of(ValidatingAdmissionPolicy), kinds.of(ValidatingAdmissionPolicyBinding)
        )

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        bound = self._dispatcher.policies(request)
        if not bound:
            return
        about = attributes(request, obj, old)
        found = await self._dispatcher.invocations(bound, request, about)
        refused = [(_told(f.policy, f.binding, f.message), "") for f in found.faults if not f.policy.fails_open]
        notes: dict[str, list[str]] = {}
        for invocation in found.invocations:
            given = await self._dispatcher.variables(request, about, invocation)
            policy = invocation.policy
            outcome = await evaluate(policy, about, given, found.ask, partial(_outcome, policy))
            refused += _act(request, invocation, outcome)
            for key, value in outcome.notes.items():
                values = notes.setdefault(f"{policy.name}/{key}", [])
                if value not in values:
                    values.append(value)
        request.annotations.update({key: ", ".join(values) for key, values in notes.items()})
        if refused:
            raise refusals.invalid(about, *refused[0])


def _told(policy: Policy, binding: Binding | None, message: str) -> str:
    bound = f" with binding '{binding.name}'" if binding is not None else ""
    return f"ValidatingAdmissionPolicy '{policy.name}'{bound} denied request: {message}"


def _act(request: Request, invocation: Invocation, outcome: Outcome) -> list[tuple[str, str]]:
    """The refusals (message, reason) that the binding makes of an outcome; the rest goes to the request."""
    policy, binding = invocation.policy, invocation.binding
    refused = []
    actions: Sequence[str] = binding.source.spec.validationActions
    for decision in outcome.denied:
        if "Deny" in actions:
            refused.append((_told(policy, binding, decision.message), decision.reason))
        if "Audit" in actions:
            _publish(request, invocation, decision)
        if "Warn" in actions:
            request.warnings.append(
                f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}': "
                f"{decision.message}"
            )
    if not policy.fails_open:
        refused += [(_told(policy, binding, message), "") for message in outcome.note_faults]
    return refused


def _publish(request: Request, invocation: Invocation, decision: Decision) -> None:
    failure = {
        "message": decision.message,
        "policy": invocation.policy.name,
        "binding": invocation.binding.name,
        "expressionIndex": decision.index,
        "validationActions": list(invocation.binding.source.spec.validationActions),
    }
    key = "validation.policy.admission.k8s.io/validation_failure"
    request.annotations[key] = json.dumps([failure], separators=(",", ":"), ensure_ascii=False)


def _outcome(policy: Policy, evaluation: Evaluation) -> Outcome:
    outcome = Outcome()
    try:
        if not evaluation.holds(policy):
            return outcome
        outcome.denied = [d for i, check in enumerate(policy.checks) if (d := _judged(evaluation, policy, check, i))]
    except (Fault, BudgetFault) as e:
        return outcome if policy.fails_open else Outcome([Decision(str(e))])
    for key, program in policy.notes:
        try:
            value = evaluation.value(program)
        except (Fault, BudgetFault) as e:
            outcome.note_faults.append(str(e))
            continue
        if isinstance(value, str) and value.strip():
            outcome.notes[key] = value.strip()[:LONGEST_NOTE]
    return outcome


def _judged(evaluation: Evaluation, policy: Policy, check: Check, index: int) -> Decision | None:
    """Raises BudgetFault."""
    try:
        if evaluation.value(check.expression) is True:
            return None
    except Fault as e:
        return None if policy.fails_open else Decision(str(e), index)
    return Decision(_message(evaluation, check), index, check.source.reason or "Invalid")


def _message(evaluation: Evaluation, check: Check) -> str:
    if check.message is not None:
        try:
            value = evaluation.value(check.message)
        except Fault:
            value = ""
        if isinstance(value, str):
            value = value.strip()
            if value and len(value.encode()) <= LONGEST_MESSAGE and "\n" not in value:
                return value
    return check.source.message.strip() or f"failed expression: {check.source.expression.strip()}"
