"""Tokens of service accounts: asked for under serviceaccounts/token, and judged by a TokenReview.  Nothing is stored.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from api import errors, kinds, meta, times
from api.errors import BadRequest, Unauthorized, no_such_method
from api.kinds import Kind
from api.paths import Path, invalid, refusal
from api.types import (
    Node,
    ObjectMeta,
    Pod,
    Secret,
    ServiceAccount,
    TokenRequest,
    TokenRequestSpec,
    TokenRequestStatus,
    TokenReview,
    TokenReviewStatus,
    UserInfo,
)
from apiserver.admission.reading import Reader, find
from apiserver.authentication import Authenticator, Keys
from apiserver.authentication.tokens import Bound, Wanted
from apiserver.requests import Request
from apiserver.rules.decoding import read
from machinery.clocks import Clock

ACCOUNTS, PODS, SECRETS, NODES = (kinds.of(t) for t in (ServiceAccount, Pod, Secret, Node))
BINDABLE = {"Pod": PODS, "Secret": SECRETS, "Node": NODES}
GROUP = "authentication.k8s.io"
HOUR, SHORTEST, LONGEST = 3600, 600, 1 << 32
INJECTED, EXTENDED = 3607, 365 * 24 * 3600
"""Admission asks for so odd a number of seconds for the pods that did not ask themselves.  Their programs may be too
old to read a token again, so theirs last longer than they are told (upstream: ExpirationExtensionSeconds)."""
T = TypeVar("T")


class _Binding(NamedTuple):
    """What a token is bound to; at most one of the first two, and the node beside a pod."""

    pod: Any = None
    secret: Any = None
    node: Bound | None = None


Admit = Callable[[Any, Any], Awaitable[None]]
"""What admission says about a new object: (it, None)."""


class Tokens:
    def __init__(self, identity: Authenticator | None, reader: Reader, clock: Clock) -> None:
        self._identity = identity
        self._reader = reader
        self._clock = clock

    async def issue(self, request: Request, body: bytes, admit: Admit) -> bytes:
        """The TokenRequest with a token.  Raises BadRequest, Invalid, NotFound, Conflict, Forbidden."""
        accounts = self._identity.accounts if self._identity is not None else None
        if accounts is None:
            raise no_such_method()
        wanted = _read(body, TokenRequest)
        if elsewhere := list(_elsewhere(wanted.metadata, request)):
            raise refusal(GROUP, "TokenRequest", request.name, elsewhere[:1])
        account = await self._existing(ACCOUNTS, request.namespace, request.name)
        wanted.metadata.name, wanted.metadata.namespace = request.name, request.namespace
        await admit(wanted, None)
        spec = wanted.spec
        if faults := list(_faults(spec)):
            raise refusal(GROUP, "TokenRequest", "", faults)
        bound = await self._bound(request, wanted)
        spec.audiences = spec.audiences or [accounts.keys.issuer]
        spec.expirationSeconds = seconds = spec.expirationSeconds or HOUR
        now = self._clock.now()
        if not request.dry_run:
            claims = _claims(accounts.keys, account, bound, spec.audiences, seconds)
            wanted.status = TokenRequestStatus(
                token=accounts.keys.issue(claims, int(now)), expirationTimestamp=times.format(now + seconds)
            )
        wanted.metadata.creationTimestamp = times.format(now)
        return meta.encode(wanted)

    async def review(self, body: bytes, admit: Admit) -> bytes:
        """The TokenReview with its verdict.  Raises BadRequest."""
        review = _read(body, TokenReview)
        await admit(review, None)
        if not review.spec.token:
            raise BadRequest("token is required for TokenReview in authentication")
        review.status = await self._verdict(review.spec.token, review.spec.audiences)
        return meta.encode(review)

    async def _verdict(self, token: str, audiences: list[str]) -> TokenReviewStatus:
        if self._identity is None:
            return TokenReviewStatus(user=UserInfo())
        try:
            user, common = await self._identity.owner(token, audiences)
        except Unauthorized:
            return TokenReviewStatus(user=UserInfo(), error="invalid bearer token")
        extra = {key: list(values) for key, values in user.extra.items()}
        info = UserInfo(username=user.name, uid=user.uid, groups=list(user.groups), extra=extra)
        return TokenReviewStatus(authenticated=True, user=info, audiences=common)

    async def _bound(self, request: Request, wanted: TokenRequest) -> _Binding:
        ref = wanted.spec.boundObjectRef
        if ref is None:
            return _Binding()
        kind = BINDABLE.get(ref.kind)
        if kind is None or ref.apiVersion not in ("v1", ""):
            group, _, version = ref.apiVersion.rpartition("/")
            raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={ref.kind}")
        found = await self._existing(kind, request.namespace if kind.namespaced else "", ref.name)
        if kind is PODS and found.spec.serviceAccountName != request.name:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{request.name}" to pod running with different serviceaccount '
                "name."
            )
        if ref.uid not in ("", found.metadata.uid):
            why = (
                f"the UID in the bound object reference ({ref.uid}) does not match the UID in record. The object might "
                "have been deleted and then recreated"
            )
            raise errors.conflict(ref.kind, ref.name, why)
        if kind is PODS:
            return _Binding(pod=found, node=self._node(found.spec.nodeName))
        return _Binding(secret=found) if kind is SECRETS else _Binding(node=_named(found))

    def _node(self, name: str) -> Bound | None:
        """A pod's token says on which node it runs."""
        if not name:
            return None
        node = self._reader.get_cached(NODES, "", name)
        return _named(node) if node is not None else Bound(name, "")

    async def _existing(self, kind: Kind, namespace: str, name: str) -> Any:
        found = await find(self._reader, kind, namespace, name)
        if found is None:
            raise errors.not_found(kind.group_resource, name)
        return found


def _claims(keys: Keys, account: Any, bound: _Binding, audiences: list[str], seconds: int) -> Wanted:
    lasts_longer = seconds == INJECTED and bound.pod is not None and keys.issuer in audiences
    return Wanted(
        namespace=account.metadata.namespace,
        account=_named(account),
        audiences=audiences,
        seconds=EXTENDED if lasts_longer else seconds,
        warn_after=seconds if lasts_longer else 0,
        pod=_named(bound.pod) if bound.pod is not None else None,
        secret=_named(bound.secret) if bound.secret is not None else None,
        node=bound.node,
    )


def _named(obj: Any) -> Bound:
    return Bound(obj.metadata.name, obj.metadata.uid)


def _elsewhere(metadata: ObjectMeta, request: Request) -> Any:
    """What is said of another account than the one whose token is asked for."""
    for field in ("name", "namespace"):
        said = getattr(metadata, field)
        if said not in ("", getattr(request, field)):
            yield invalid(Path("metadata").child(field), said, f"must match the service account {field} if specified")


def _faults(spec: TokenRequestSpec) -> Any:
    path, seconds = Path("spec.expirationSeconds"), spec.expirationSeconds
    if seconds is not None and seconds < SHORTEST:
        yield invalid(path, seconds, "may not specify a duration less than 10 minutes")
    if seconds is not None and seconds > LONGEST:
        yield invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")


def _read(body: bytes, type_: type[T]) -> T:
    name, found = type_.__name__, read(type_, body or b"{}")
    if (found.apiVersion, found.kind) != (f"{GROUP}/v1", name):  # type: ignore[attr-defined]
        raise BadRequest(f"the object provided is unrecognized (must be of type {name})")
    return found
