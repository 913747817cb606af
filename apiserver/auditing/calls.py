"""Requests through the gRPC door, as the audit tells of them: with the path that the REST door has for the same."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from api.errors import ApiError
from apiserver.auditing.entries import Auditor, Entry
from apiserver.authorization import Authorizer
from apiserver.requests import Request, User

T = TypeVar("T")
BODIES = {"patch": "patch", "create": "object", "update": "object"}
"""Where a message has what is sent."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks on a stream: `user` is whom they act as."""

    user: User
    own: User
    agent: str = ""
    peer: str = ""
    """As gRPC writes it: `ipv4:192.0.2.1:1234`."""


def begun(auditor: Auditor, caller: Caller, verb: str, resource: Any) -> AbstractContextManager[Entry]:
    """The entry of a call; the block is the call."""
    facts: Mapping[str, Any] = {
        "audit_id": str(uuid.uuid4()), "uri": path(resource), "verb": verb.replace("_", ""), "agent": caller.agent,
        "sources": [address(caller.peer)], "user": caller.own,
    }  # fmt: skip
    return auditor.request(**facts)


async def told(
    auditor: Auditor, caller: Caller, verb: str, message: Any, perform: Callable[[Any, User], Awaitable[T]]
) -> T:
    """What `perform` answers to the message, told to the auditor.  Raises what it raises."""
    with begun(auditor, caller, verb, message.resource) as entry:
        entry.body = getattr(message, BODIES.get(verb, "options"), b"")
        try:
            answer = await perform(message, caller.user)
        except ApiError as e:
            entry.status = e.to_status()
            entry.done(e.code)
            raise
        except Exception as e:
            entry.panicked(repr(e))
            raise
        entry.response = getattr(answer, "json", b"")
        entry.done(201 if verb == "create" else 200)
        return answer


def permitted(auditor: Auditor, caller: Caller, request: Request, authorizer: Authorizer) -> None:
    """Told of when it may begin: what goes to and fro between a client and a container has no status.

    Raises Forbidden.
    """
    facts: Mapping[str, Any] = {
        "audit_id": str(uuid.uuid4()), "verb": request.verb, "agent": caller.agent, "user": caller.own,
        "uri": place(request.kind, request.namespace, request.name, request.subresource),
        "sources": [address(caller.peer)],
    }  # fmt: skip
    with auditor.request(**facts) as entry:
        try:
            authorizer.authorize(request)
        except ApiError as e:
            entry.status = e.to_status()
            entry.done(e.code)
            raise
        entry.done(200)


def path(resource: Any) -> str:
    """Of a message's resource."""
    return place(resource, resource.namespace, resource.name, resource.subresource)


def place(kind: Any, namespace: str, name: str, subresource: str) -> str:
    parts = ["/apis", kind.group, kind.version] if kind.group else ["/api", kind.version]
    if namespace:
        parts += ["namespaces", namespace]
    return "/".join(part for part in (*parts, kind.plural, name, subresource) if part)


def address(peer: str) -> str:
    """Of a peer without its port: `ipv6:%5B::1%5D:1234` is `::1`."""
    family, _, rest = peer.partition(":")
    if family not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
