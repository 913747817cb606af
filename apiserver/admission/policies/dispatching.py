"""From a request to the policies, bindings and parameters that it is to be judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api import kinds, meta
from api.kinds import Kind
from api.types import Namespace
from apiserver.admission.attributes import Attributes
from apiserver.admission.policies import authorizers, evaluating
from apiserver.admission.policies.compiling import Policy
from apiserver.admission.policies.sources import Binding, Bound, ParamFault, Params, Policies, is_exempt, shown_as
from apiserver.admission.reading import find
from apiserver.admission.webhooks import forms
from apiserver.admission.webhooks.forms import Forms
from apiserver.admission.webhooks.hooks import Source
from apiserver.authorization import Authorizer
from apiserver.requests import Request
from machinery.cel.libraries.authorizing import Ask

NAMESPACES = kinds.of(Namespace)


@dataclass(frozen=True, slots=True)
class Means:
    """What both kinds of policies need."""

    source: Source
    forms: Forms
    params: Params
    authorizer: Authorizer


@dataclass(frozen=True, slots=True)
class Invocation:
    policy: Policy
    binding: Binding
    params: Mapping[str, Any] | None
    kind: Kind
    """As which the objects are to be looked at."""

    @property
    def key(self) -> str:
        metadata = (self.params or {}).get("metadata", {})
        return "/".join((self.policy.name, self.binding.name, metadata.get("namespace", ""), metadata.get("name", "")))


@dataclass(frozen=True, slots=True)
class Misconfiguration:
    policy: Policy
    binding: Binding | None
    message: str


@dataclass(slots=True)
class Found:
    ask: Ask
    invocations: list[Invocation] = field(default_factory=list)
    faults: list[Misconfiguration] = field(default_factory=list)


class Dispatcher:
    def __init__(self, means: Means, policies: Kind, bindings: Kind) -> None:
        self._means = means
        self._policies = Policies(means.source, policies, bindings)

    def policies(self, request: Request) -> tuple[Bound, ...]:
        asked = request.asked or request.kind
        return () if is_exempt(asked) else self._policies.of(asked, self._means.forms.equivalents)

    async def invocations(self, bound: tuple[Bound, ...], request: Request, about: Attributes) -> Found:
        """Raises NotFound if the request's namespace is asked about, and is not there."""
        found = Found(authorizers.asking(self._means.authorizer, request.user))
        for each in bound:
            await self._invocations_of(each, about, found)
        return found

    async def _invocations_of(self, bound: Bound, about: Attributes, found: Found) -> None:
        policy = bound.policy
        kind = await shown_as(policy.matching, about, self._means.forms, self._means.source)
        if kind is None:
            return
        for binding in bound.bindings:
            if await shown_as(binding.matching, about, self._means.forms, self._means.source) is None:
                continue
            try:
                params = await self._means.params.of(policy, binding, about.namespace)
            except ParamFault as e:
                what = "policy" if e.of_policy else "binding"
                message = f"failed to configure {what}: {e}"
                found.faults.append(Misconfiguration(policy, None if e.of_policy else binding, message))
                continue
            found.invocations += [Invocation(policy, binding, each, kind) for each in params]

    async def variables(self, request: Request, about: Attributes, invocation: Invocation) -> dict[str, Any]:
        """Raises ApiError if the objects have no form as that kind."""
        shown = self._means.forms
        new = await forms.show(shown, about, invocation.kind, about.obj)
        old = await forms.show(shown, about, invocation.kind, about.old)
        namespace = None
        if about.namespace and not about.is_namespace:
            found = await find(self._means.source, NAMESPACES, "", about.namespace)
            namespace = meta.tree(found) if found is not None else None
        given = evaluating.variables(request, about, new, old, invocation.kind, namespace)
        return given | {"params": invocation.params}

    @property
    def forms(self) -> Forms:
        return self._means.forms
