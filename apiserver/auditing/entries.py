"""One request, from its arrival to its answer, as audit events.

https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from api import times
from api.kinds import Kind
from api.types import PolicyRule
from apiserver.auditing.policies import NAMES, SILENT, Level, Policy, Verdict
from apiserver.authorization.deciding import Authorizer, Decision, refusal
from apiserver.requests import Request, User
from machinery.clocks import Clock

DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"
PAGE = Kind("", "", "Page", "", namespaced=False)
Document = dict[str, Any]


class Entry:
    """`tell` takes the encoded events. The doors fill in what they learn: `user` (None: nobody known), `body` and
    `response` (JSON documents), `status` (a Status document, of a failure)."""

    def __init__(
        self, policy: Policy, tell: Callable[[bytes], None], clock: Clock,
        *, audit_id: str, uri: str, verb: str, agent: str, sources: list[str], user: User | None = None,
    ) -> None:  # fmt: skip
        self.user = user
        self.body = self.response = b""
        self.status: Document | None = None
        self.annotations: dict[str, str] = {}
        self._policy, self._tell, self._clock = policy, tell, clock
        self._facts: Document = {"auditID": audit_id, "requestURI": uri, "verb": verb}
        self._agent, self._sources = agent, sources
        self._received = clock.now()
        self._verdict: Verdict = SILENT
        self._request: Request | None = None

    def about(self, request: Request) -> None:
        """What it turned out to be. Only the first word counts: rights are asked about for other reasons too."""
        if self._request is not None or request.verb == "impersonate":
            return
        self._request = request
        self._verdict = self._policy.judge(self.user or request.user, request)
        if self._verdict.level:
            self._facts["verb"] = request.verb
            self._emit("RequestReceived", None)

    def decided(self, request: Request, decision: Decision) -> None:
        self.about(request)
        if request is self._request:
            self.annotations[DECISION] = "allow" if decision.allowed else "forbid"
            self.annotations[REASON] = decision.reason

    def started(self) -> None:
        """The answer has begun and goes on for long."""
        if self._verdict.level:
            self._emit("ResponseStarted", {"metadata": {}, "code": 200})

    def done(self, code: int) -> None:
        if self._request is None:  # it did not come as far as being understood
            path = self._facts["requestURI"].partition("?")[0]
            self.about(Request(self.user or User(""), self._facts["verb"], PAGE, path=path))
        if self._verdict.level:
            status = {"metadata": {}, **self.status, "code": code} if self.status else {"metadata": {}, "code": code}
            self._emit("ResponseComplete", {k: v for k, v in status.items() if k in STATUS})

    def panicked(self, why: str) -> None:
        if self._verdict.level:
            status = {"metadata": {}, "status": "Failure", "message": why, "reason": "InternalError", "code": 500}
            self._emit("Panic", status)

    def _emit(self, stage: str, status: Document | None) -> None:
        if stage in self._verdict.omitted:
            return
        request = self._request
        assert request is not None
        level = self._verdict.level
        event: Document = {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": NAMES[level], **self._facts, "stage": stage,
            **self._who(request), "sourceIPs": self._sources, "userAgent": self._agent,
        }  # fmt: skip
        if not request.path:
            event["objectRef"] = self._reference(request)
        if status is not None:
            event["responseStatus"] = status
        if level >= Level.REQUEST and stage != "RequestReceived" and (body := self._object(self.body)) is not None:
            event["requestObject"] = body
        whole = level >= Level.RESPONSE and stage == "ResponseComplete"
        if whole and (answer := self._object(self.response)) is not None:
            event["responseObject"] = answer
        event["requestReceivedTimestamp"] = times.format_micro(self._received)
        event["stageTimestamp"] = times.format_micro(self._clock.now())
        if self.annotations:
            event["annotations"] = self.annotations
        self._tell(msgspec.json.encode(event))

    def _who(self, request: Request) -> Document:
        if self.user is None or self.user == request.user:
            return {"user": _described(request.user)}
        return {"user": _described(self.user), "impersonatedUser": _described(request.user)}

    def _reference(self, request: Request) -> Document:
        kind = request.kind
        found: Document = {
            "resource": kind.plural, "namespace": request.namespace, "name": request.name, "apiGroup": kind.group,
            "apiVersion": kind.version, "subresource": request.subresource, **self._identity(request),
        }  # fmt: skip
        return {key: value for key, value in found.items() if value}

    def _identity(self, request: Request) -> Document:
        """Of what is sent, its uid and resourceVersion; of what is new, the name too."""
        if request.verb not in ("create", "update"):
            return {}
        try:
            sent = _headed.decode(self.body).metadata if self.body else _Metadata()
            made = _headed.decode(self.response).metadata if self.response and not request.name else _Metadata()
        except msgspec.MsgspecError:
            return {}
        name = request.name or sent.name or made.name
        return {"name": name, "uid": sent.uid, "resourceVersion": sent.resourceVersion}

    def _object(self, document: bytes) -> Any:
        if not document:
            return None
        if not self._verdict.omit_managed_fields:
            return msgspec.Raw(document)
        try:
            found = msgspec.json.decode(document)
        except msgspec.MsgspecError:
            return None
        for obj in (found, *(found.get("items") or ())) if isinstance(found, dict) else ():
            if isinstance(obj, dict) and isinstance(metadata := obj.get("metadata"), dict):
                metadata.pop("managedFields", None)
        return found


class _Metadata(msgspec.Struct):
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""


class _Headed(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


STATUS = frozenset({"metadata", "status", "message", "reason", "details", "code"})
_headed = msgspec.json.Decoder(_Headed)


def _described(user: User) -> Document:
    found = {
        "username": user.name, "uid": user.uid, "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


CURRENT: ContextVar[Entry | None] = ContextVar("audit", default=None)


def annotate(key: str, value: str) -> None:
    """Add an annotation to the event of the request that this task serves, if it is audited."""
    if (entry := CURRENT.get()) is not None:
        entry.annotations[key] = value


class Auditor:
    def __init__(self, policy: Policy, tell: Callable[[bytes], None], clock: Clock) -> None:
        self._policy, self._tell, self._clock = policy, tell, clock

    @contextmanager
    def request(self, **facts: Any) -> Iterator[Entry]:
        """The block is one request; `facts` are those that Entry wants."""
        entry = Entry(self._policy, self._tell, self._clock, **facts)
        mark = CURRENT.set(entry)
        try:
            yield entry
        finally:
            CURRENT.reset(mark)


class Audited(Authorizer):
    """Tells the audit of what is decided about requests."""

    def __init__(self, inner: Authorizer) -> None:
        self._inner = inner

    def decide(self, request: Request) -> Decision:
        return self._inner.decide(request)

    def rules(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        return self._inner.rules(user, namespace)

    def authorize(self, request: Request) -> None:
        decision = self._inner.decide(request)
        if (entry := CURRENT.get()) is not None:
            entry.decided(request, decision)
        if not decision.allowed:
            raise refusal(request, decision.reason)
