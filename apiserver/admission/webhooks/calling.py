"""One webhook: called, its answer checked, and its silence read as its failurePolicy says."""

import logging
import uuid
from typing import Protocol

from api.errors import ApiError
from apiserver.admission.attributes import Attributes
from apiserver.admission.webhooks import forms, refusals, reviews
from apiserver.admission.webhooks.forms import Forms, Tree
from apiserver.admission.webhooks.reviews import NoReview, Verdict
from apiserver.admission.webhooks.selecting import Call
from apiserver.requests import Request
from apiserver.webhooks.calling import CallFault, ClientConfig

log = logging.getLogger(__name__)


class Post(Protocol):
    """apiserver.webhooks.Caller.call."""

    async def __call__(self, client_config: ClientConfig, body: Tree, timeout: float) -> Tree: ...


class Failed(Exception):
    """The webhook could not be asked, or gave no answer that counts."""


async def ask(
    post: Post, call: Call, request: Request, about: Attributes, new: Tree | None, old: Tree | None, *, mutating: bool
) -> Verdict | None:
    """What the webhook says; None if it says nothing and its failurePolicy lets that pass.

    Raises InternalError if it does not, BadRequest for a dry run that the webhook cannot take part in.
    """
    hook = call.hook
    if request.dry_run and not hook.dry_runs:
        raise refusals.no_dry_run(hook.name)
    try:
        verdict = await _asked(post, call, request, about, new, old, mutating)
    except Failed as e:
        if not hook.fails_open:
            log.warning('failing closed: webhook "%s": %s', hook.name, e)
            raise refusals.failed(hook.name, str(e)) from e
        log.warning('failing open: webhook "%s": %s', hook.name, e)
        kind = "mutation" if mutating else "validating"
        request.annotations[f"failed-open.{kind}.webhook.admission.k8s.io/{hook.uid}"] = hook.name
        return None
    for key, value in verdict.annotations.items():
        request.annotations[f"{hook.name}/{key}"] = value
    request.warn(verdict.warnings)
    return verdict


async def _asked(
    post: Post, call: Call, request: Request, about: Attributes, new: Tree | None, old: Tree | None, mutating: bool
) -> Verdict:
    hook, uid = call.hook, str(uuid.uuid4())
    try:
        version = reviews.version_of(hook.versions)
    except NoReview as e:
        raise Failed(str(e)) from e
    body = reviews.question(version, uid, request, about, call.kind, new, old)
    try:
        document = await post(hook.client_config, body, hook.timeout)
    except CallFault as e:
        raise Failed(f"failed to call webhook: {e}") from e
    try:
        return reviews.answer(version, uid, document, mutating=mutating)
    except NoReview as e:
        raise Failed(f"received invalid webhook response: {e}") from e


async def trees(shown_by: Forms, about: Attributes, call: Call) -> tuple[Tree | None, Tree | None]:
    """The objects as the webhook wants them.  Raises InternalError if they have no such form."""
    try:
        new = await forms.show(shown_by, about, call.kind, about.obj)
        return new, await forms.show(shown_by, about, call.kind, about.old)
    except ApiError as e:
        raise refusals.internal(e.message) from e
