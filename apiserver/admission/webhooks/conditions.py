"""matchConditions: CEL expressions that must all be true for a webhook to be called at all.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-matchconditions
"""

from functools import lru_cache
from typing import Any

from api import errors
from api.kinds import Kind
from apiserver.admission.attributes import Attributes
from apiserver.admission.policies.authorizers import asking, variables
from apiserver.admission.webhooks import reviews
from apiserver.admission.webhooks.forms import Tree
from apiserver.admission.webhooks.hooks import Hook
from apiserver.authorization import Authorizer
from apiserver.requests import Request
from machinery.cel import Budget, EvaluationFault
from machinery.cel.admitting import Broken, Compiled, compile_in, environment
from machinery.cel.types import BOOL

KEPT = 1024
BUDGET = 2_500_000
"""What all conditions of one webhook may cost together: a quarter of what a policy may, as upstream has it."""


@lru_cache(maxsize=KEPT)
def compiled(expression: str) -> Compiled:
    return compile_in(environment(), expression, BOOL)


class Conditions:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def hold(
        self, hook: Hook, request: Request, about: Attributes, kind: Kind, new: Tree | None, old: Tree | None
    ) -> bool:
        """Whether the webhook is to be called. One false condition settles it, whatever the others come to.

        Raises Forbidden where that cannot be told and failurePolicy is Fail.
        """
        if not hook.conditions:
            return True
        given = self._given(request, about, kind, new, old)
        faults: list[str] = []
        budget = Budget(BUDGET)
        for condition in hook.conditions:
            found = compiled(condition.expression)
            try:
                if isinstance(found, Broken):
                    faults.append(found.message)
                elif not found.evaluate(given, budget):
                    return False
            except EvaluationFault as e:
                faults.append(f"expression '{condition.expression}' resulted in error: {e}")
        if faults and not hook.fails_open:
            why = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
            raise errors.forbidden(about.asked.group_resource, about.name, why)
        return not faults

    def _given(
        self, request: Request, about: Attributes, kind: Kind, new: Tree | None, old: Tree | None
    ) -> dict[str, Any]:
        asked = reviews.question("v1", "", request, about, kind, new, old)["request"]
        shown = {name: value for name, value in asked.items() if name not in ("uid", "object", "oldObject")}
        ask = asking(self._authorizer, request.user)
        given = {"object": new, "oldObject": old, "request": shown, "namespaceObject": None}
        return given | variables(ask, about)
