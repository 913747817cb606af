"""ValidatingAdmissionWebhook: all hooks at once, after everything that may change the object."""

import asyncio
from typing import Any

from api import kinds
from api.errors import ApiError
from api.types import ValidatingWebhookConfiguration
from apiserver.admission.attributes import Attributes, attributes
from apiserver.admission.webhooks import calling, refusals
from apiserver.admission.webhooks.calling import Post
from apiserver.admission.webhooks.conditions import Conditions
from apiserver.admission.webhooks.forms import Forms
from apiserver.admission.webhooks.hooks import Hooks, Source
from apiserver.admission.webhooks.selecting import Call, call_for, is_exempt
from apiserver.requests import Request

CONFIGURATIONS = kinds.of(ValidatingWebhookConfiguration)


class ValidatingWebhooks:
    """A `Judge`."""

    def __init__(self, source: Source, post: Post, forms: Forms, conditions: Conditions) -> None:
        self._source = source
        self._post = post
        self._forms = forms
        self._conditions = conditions
        self._hooks = Hooks(source, CONFIGURATIONS)

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """Of several refusals, the first hook's is told."""
        hooks = self._hooks.of(request.asked or request.kind, self._forms.equivalents)
        if not hooks or is_exempt(request.kind):
            return
        about = attributes(request, obj, old)
        calls = [c for h in hooks if (c := await call_for(h, about, self._forms, self._source)) is not None]
        if not calls:
            return
        if len(calls) == 1:
            await self._one(request, about, calls[0])
            return
        outcomes = await asyncio.gather(*(self._refusal(request, about, call) for call in calls))
        if refusal := next((e for e in outcomes if e is not None), None):
            raise refusal

    async def _refusal(self, request: Request, about: Attributes, call: Call) -> ApiError | None:
        try:
            await self._one(request, about, call)
        except ApiError as e:
            return e
        return None

    async def _one(self, request: Request, about: Attributes, call: Call) -> None:
        new, old = await calling.trees(self._forms, about, call)
        if not self._conditions.hold(call.hook, request, about, call.kind, new, old):
            return
        verdict = await calling.ask(self._post, call, request, about, new, old, mutating=False)
        if verdict is not None and not verdict.allowed:
            raise refusals.denied(call.hook.name, verdict.status)
