"""How expressions ask what somebody may do."""

import asyncio
from dataclasses import replace

from api import kinds
from api.kinds import Kind
from apiserver.admission.attributes import Attributes
from apiserver.authorization import Authorizer
from apiserver.requests import Request, User
from machinery.cel.libraries import authorizing
from machinery.cel.libraries.authorizing import Ask, Decision, Question, ResourceCheck

ACCOUNTS = "system:serviceaccounts"


def asking(authorizer: Authorizer, user: User) -> Ask:
    """For expressions that are evaluated on the event loop. The same question is asked once."""
    known: dict[Question, Decision] = {}

    def ask(question: Question) -> Decision:
        found = known.get(question)
        if found is None:
            decided = authorizer.decide(_request(question, user))
            found = known[question] = Decision(decided.allowed, decided.reason)
        return found

    return ask


def from_thread(ask: Ask, loop: asyncio.AbstractEventLoop) -> Ask:
    """For expressions that are evaluated in another thread: authorizers belong to the loop's."""

    async def answer(question: Question) -> Decision:
        return ask(question)

    return lambda question: asyncio.run_coroutine_threadsafe(answer(question), loop).result()


def variables(ask: Ask, about: Attributes) -> dict[str, object]:
    own = Question(
        group=about.asked.group,
        resource=about.asked.plural,
        subresource=about.subresource,
        namespace=about.namespace,
        name=about.name,
    )
    return {
        "authorizer": authorizing.Authorizer(ask),
        "authorizer.requestResource": ResourceCheck(ask, own),
    }


def _request(question: Question, user: User) -> Request:
    if question.account is not None:
        namespace, name = question.account
        groups = (ACCOUNTS, f"{ACCOUNTS}:{namespace}", "system:authenticated")
        user = User(f"system:serviceaccount:{namespace}:{name}", groups=groups)
    if question.path:
        return Request(user, question.verb, _kind("", ""), path=question.path)
    return Request(
        user,
        question.verb,
        _kind(question.group, question.resource),
        namespace=question.namespace,
        name=question.name,
        subresource=question.subresource,
        field_selector=question.field_selector,
    )


def _kind(group: str, plural: str) -> Kind:
    """The kind of that resource, or one made up: rules may speak of resources that nobody serves."""
    found = next((k for k in kinds.BUILT_IN if k.group == group and k.plural == plural), None)
    return found or replace(kinds.BUILT_IN[0], group=group, version="*", name=plural, plural=plural)
