"""MutatingAdmissionPolicy: expressions that say what is to be changed of an object.

https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
"""

from functools import partial
from typing import Any

from api import kinds, meta
from api.types import MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding
from apiserver.admission.attributes import Attributes, attributes
from apiserver.admission.policies import patches, refusals
from apiserver.admission.policies.compiling import Change, Policy
from apiserver.admission.policies.dispatching import Dispatcher, Found, Invocation, Means
from apiserver.admission.policies.evaluating import Evaluation, Fault, evaluate
from apiserver.admission.policies.sources import Binding
from apiserver.admission.webhooks import forms
from apiserver.requests import Request, Turn
from machinery.cel import BudgetFault

NAME = "MutatingAdmissionPolicy"


class MutatingPolicies:
    """A `Plugin`."""

    def __init__(self, means: Means) -> None:
        self._dispatcher = Dispatcher(
            means, kinds.of(MutatingAdmissionPolicy), kinds.of(MutatingAdmissionPolicyBinding)
        )

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        bound = self._dispatcher.policies(request)
        if not bound or obj is None:
            return
        about = attributes(request, obj, old)
        found = await self._dispatcher.invocations(bound, request, about)
        refused = [(_told(f.policy, f.binding, f.message), "") for f in found.faults if not f.policy.fails_open]
        again = request.reinvocation
        turn = again.turns.setdefault(NAME, Turn())
        if again.second and meta.encode(obj) != turn.left:
            _call_again(turn)
        for invocation in found.invocations:
            if again.second and invocation.key not in turn.due:
                continue
            try:
                await self._invoke(request, about, invocation, found, turn)
            except Fault as e:
                if not invocation.policy.fails_open:
                    refused.append((_told(invocation.policy, invocation.binding, str(e)), "Invalid"))
        turn.left = meta.encode(obj)
        if refused:
            raise refusals.unchangeable(about, refused)

    async def _invoke(
        self, request: Request, about: Attributes, invocation: Invocation, found: Found, turn: Turn
    ) -> None:
        """Raises Fault."""
        before = meta.encode(about.obj)
        policy, shown_by = invocation.policy, self._dispatcher.forms
        for at, change in enumerate(policy.changes):
            # Each sees what the one before it left.
            given = await self._dispatcher.variables(request, about, invocation)
            held, value = await evaluate(policy, about, given, found.ask, partial(_value, policy, change, at == 0))
            if not held:
                return
            tree = given["object"]
            made = patches.applied(tree, invocation.kind, value) if change.applies else patches.patched(tree, value)
            if made != tree:
                await forms.replace(shown_by, about, invocation.kind, about.obj, made)
        if meta.encode(about.obj) != before:
            request.reinvocation.wanted = True
            _call_again(turn)
        if policy.reinvoked:
            turn.invoked.add(invocation.key)


def _call_again(turn: Turn) -> None:
    turn.due |= turn.invoked
    turn.invoked.clear()


def _told(policy: Policy, binding: Binding | None, message: str) -> str:
    if binding is None:
        return f'policy "{policy.name}" denied request: {message}'
    return f"policy '{policy.name}' with binding '{binding.name}' denied request: {message}"


def _value(policy: Policy, change: Change, first: bool, evaluation: Evaluation) -> tuple[bool, Any]:
    """(whether the policy's conditions hold, what the mutation's expression comes to).  Raises Fault."""
    if first and not evaluation.holds(policy):
        return False, None
    try:
        return True, evaluation.value(change.expression)
    except BudgetFault as e:
        raise Fault(e.message) from e
