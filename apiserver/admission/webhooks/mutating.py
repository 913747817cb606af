"""MutatingAdmissionWebhook: hooks one after the other, each given what those before it left."""

from typing import Any

from api import kinds, meta
from api.errors import ApiError
from api.types import MutatingWebhookConfiguration
from apiserver import patching
from apiserver.admission.attributes import Attributes, attributes
from apiserver.admission.webhooks import calling, forms, refusals
from apiserver.admission.webhooks.calling import Post
from apiserver.admission.webhooks.conditions import Conditions
from apiserver.admission.webhooks.forms import Forms, Tree
from apiserver.admission.webhooks.hooks import Hooks, Source
from apiserver.admission.webhooks.selecting import Call, call_for, is_exempt
from apiserver.requests import Request, Turn

CONFIGURATIONS = kinds.of(MutatingWebhookConfiguration)
NAME = "MutatingAdmissionWebhook"


class MutatingWebhooks:
    """A `Plugin`."""

    def __init__(self, source: Source, post: Post, forms: Forms, conditions: Conditions) -> None:
        self._source = source
        self._post = post
        self._forms = forms
        self._conditions = conditions
        self._hooks = Hooks(source, CONFIGURATIONS)

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        hooks = self._hooks.of(request.asked or request.kind, self._forms.equivalents)
        if not hooks or is_exempt(request.kind):
            return
        about = attributes(request, obj, old)
        calls = [c for h in hooks if (c := await call_for(h, about, self._forms, self._source)) is not None]
        if not calls:
            return
        again = request.reinvocation
        turn = again.turns.setdefault(NAME, Turn())
        if again.second and obj is not None and meta.encode(obj) != turn.left:
            _call_again(turn)
        for number, call in enumerate(calls):
            await self._one(request, about, call, turn, number)
        if obj is not None:
            turn.left = meta.encode(obj)

    async def _one(self, request: Request, about: Attributes, call: Call, turn: Turn, number: int) -> None:
        hook = call.hook
        if request.reinvocation.second and hook.uid not in turn.due:
            return
        new, old = await calling.trees(self._forms, about, call)
        if not self._conditions.hold(hook, request, about, call.kind, new, old):
            return
        shown = _without_the_servers(new, about) if new is not None else None
        verdict = await calling.ask(self._post, call, request, about, shown, old, mutating=True)
        if verdict is None:
            return
        if not verdict.allowed:
            raise refusals.denied(hook.name, verdict.status)
        changed = bool(verdict.patch) and await self._change(about, call, shown, verdict.patch)
        _note(request, call, number, changed)
        if changed:
            request.reinvocation.wanted = True
            _call_again(turn)
        if hook.reinvoked:
            turn.invoked.add(hook.uid)

    async def _change(self, about: Attributes, call: Call, shown: Tree | None, patch: bytes) -> bool:
        """Whether the patch changed the object."""
        if patch.strip() == b"[]":
            return False
        if shown is None:
            what = f'admission webhook "{call.hook.name}" attempted to modify the object'
            raise refusals.internal(f"{what}, which is not supported for this operation")
        try:
            patched = patching.json_patch(shown, patch)
        except ApiError as e:
            raise refusals.internal(str(e.__cause__ or e.message)) from e
        if patched == shown:
            return False
        kept = about.obj.metadata if hasattr(about.obj, "metadata") else None
        await forms.replace(self._forms, about, call.kind, about.obj, patched)
        if kept is not None:
            _restore(about, about.obj.metadata, kept)
        return True


def _call_again(turn: Turn) -> None:
    turn.due |= turn.invoked
    turn.invoked.clear()


def _without_the_servers(tree: Tree, about: Attributes) -> Tree:
    """On creation, what the server gives an object comes after the webhooks."""
    metadata = tree.get("metadata")
    if about.old is not None or not isinstance(metadata, dict) or not forms.is_own(about, about.obj):
        return tree
    hidden = {"uid", "creationTimestamp"} | (set() if about.name else {"name"})
    return {**tree, "metadata": {name: value for name, value in metadata.items() if name not in hidden}}


def _restore(about: Attributes, metadata: Any, kept: Any) -> None:
    if about.old is None:
        metadata.uid, metadata.creationTimestamp = kept.uid, kept.creationTimestamp
        metadata.name = metadata.name or kept.name


def _note(request: Request, call: Call, number: int, changed: bool) -> None:
    round_ = int(request.reinvocation.second)
    key = f"mutation.webhook.admission.k8s.io/round_{round_}_index_{number}"
    hook = call.hook
    noted = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
    request.annotations[key] = meta.encode(noted).decode()
