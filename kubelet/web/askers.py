"""Who asks: whom a certificate of the cluster's authority names, or whose token the API server says it is."""

import hashlib
from dataclasses import dataclass

from aiohttp import web

from api.errors import ApiError
from api.types import TokenReview, TokenReviewSpec, UserInfo
from machinery.client import Client
from machinery.clocks import Clock
from machinery.https import shown_by
from machinery.remembering import Memory

KEPT_SECONDS = 120.0
"""How long an answer about a token holds: upstream's default."""
AUTHENTICATED = "system:authenticated"
ANONYMOUS = ("system:anonymous", "system:unauthenticated")


@dataclass(frozen=True, slots=True)
class Asker:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Askers:
    def __init__(self, client: Client, clock: Clock, *, anonymous: bool = False) -> None:
        """With `anonymous`, who shows nothing is somebody too."""
        self._client = client
        self._anonymous = anonymous
        # By what can be computed from a token, but not back.
        self._known: Memory[bytes, Asker | None] = Memory(clock)

    async def of(self, request: web.BaseRequest) -> Asker | None:
        """None if it is nobody who is known, whatever the reason: upstream tells none."""
        name, groups = shown_by(request)
        if name:
            return Asker(name, groups=_authenticated(groups))
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return await self._owner(token.strip())
        return Asker(ANONYMOUS[0], groups=ANONYMOUS[1:]) if self._anonymous else None

    async def _owner(self, token: str) -> Asker | None:
        try:
            known = hashlib.sha256(token.encode()).digest()
        except UnicodeEncodeError:
            return None  # bytes that are no text, as no token is
        if known in self._known:
            return self._known[known]
        try:
            review = await self._client.create(TokenReview(spec=TokenReviewSpec(token=token)))
        except ApiError:
            return None  # it was not answered, so that nothing is known of the token
        user = review.status.user
        owner = _asker(user) if review.status.authenticated and user is not None else None
        self._known.put(known, owner, KEPT_SECONDS)
        return owner


def _asker(user: UserInfo) -> Asker:
    extra = tuple((key, tuple(values)) for key, values in sorted(user.extra.items()))
    return Asker(user.username or "", user.uid or "", _authenticated(user.groups), extra)


def _authenticated(groups: list[str]) -> tuple[str, ...]:
    return (*groups, *(() if AUTHENTICATED in groups else (AUTHENTICATED,)))
