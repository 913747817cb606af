"""From a connection and its Authorization header to a User."""

import base64
import csv
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from api.errors import Unauthorized
from apiserver.authentication.accounts import CREDENTIAL, EXTRA, Accounts
from apiserver.authentication.proxies import Headers, Proxies
from apiserver.requests import ANONYMOUS, User
from machinery.clocks import SYSTEM, Clock
from machinery.issuing import Authorities, loaded

AUTHENTICATED, UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
PROTOCOL = "base64url.bearer.authorization.k8s.io."


@lru_cache(maxsize=4096)
def certificate_user(certificate: bytes) -> User:
    """The user that a certificate (DER or PEM) names: the common name, with the organizations as groups, and by which
    certificate that is known.

    That a trusted authority signed it is for others to see to.  Raises Unauthorized if it names nobody.
    """
    shown = loaded(certificate)
    subject = shown.subject
    name = next((str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
    if not name:
        raise Unauthorized("Unauthorized")
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    known_by = f"X509SHA256={shown.fingerprint(hashes.SHA256()).hex()}"
    return authenticated(User(name, groups=tuple(groups), extra={EXTRA + CREDENTIAL: (known_by,)}))


class Authenticator:
    """`tokens` is a static token file: lines of `token,user,uid,"group1,group2"`, as upstream reads it; `accounts`
    knows the tokens of service accounts; `proxies` whom to believe about others.  Without `client_ca`, whatever
    certificate TLS has let in is a client's.  Not `anonymous`: whoever says nothing about themselves is refused.

    Raises ValueError or OSError if a file cannot be read.
    """

    def __init__(
        self,
        tokens: Path | None = None,
        accounts: Accounts | None = None,
        proxies: Proxies | None = None,
        client_ca: Path | None = None,
        *,
        anonymous: bool = True,
        clock: Clock = SYSTEM,
    ) -> None:
        self.accounts = accounts
        self._anonymous = anonymous
        self._proxies = proxies
        self._clients = Authorities(client_ca) if client_ca is not None else None
        self._clock = clock
        self._users: dict[bytes, User] = dict(_read(tokens)) if tokens is not None else {}

    async def __call__(self, certificate: bytes | None, authorization: str, headers: Headers | None = None) -> User:
        """The user behind a connection and its headers; the anonymous one if nothing says who that is.

        Raises Unauthorized for a claim that is not true.
        """
        if certificate and headers is not None and (user := self._vouched(certificate, headers)) is not None:
            return authenticated(user)
        if certificate and self._is_client(certificate):
            return certificate_user(certificate)
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() == "bearer" and (token := token.strip().partition(" ")[0]):
            user, _ = await self.owner(token)
            return user
        if headers is not None and (token := _of_websocket(headers)):
            user, _ = await self.owner(token)
            return user
        if not self._anonymous or certificate:
            raise Unauthorized("Unauthorized")
        return ANONYMOUS

    def _vouched(self, certificate: bytes, headers: Headers) -> User | None:
        if self._proxies is None or not self._proxies.vouches(certificate, self._clock.now()):
            return None
        return self._proxies.user(headers)

    def _is_client(self, certificate: bytes) -> bool:
        return self._clients is None or self._clients.vouch(certificate, self._clock.now())

    async def owner(self, token: str, audiences: Iterable[str] = ()) -> tuple[User, list[str]]:
        """Whose bearer token it is, and which of the audiences (none: this API's own) it is for.

        Raises Unauthorized.
        """
        try:
            given = token.encode()
        except UnicodeEncodeError as e:  # bytes that are no text, as no token is
            raise Unauthorized("Unauthorized") from e
        for known, user in self._users.items():
            if hmac.compare_digest(known, given):
                return user, list(audiences)
        if self.accounts is None:
            raise Unauthorized("Unauthorized")
        return await self.accounts.owner(token, audiences)


def authenticated(user: User) -> User:
    """A member of everybody who is somebody."""
    if AUTHENTICATED in user.groups or user.name == ANONYMOUS.name or UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))


def _read(tokens: Path) -> Iterator[tuple[bytes, User]]:
    with tokens.open(newline="") as lines:
        for row in csv.reader(lines):
            if len(row) < 3:
                raise ValueError(f"token file {tokens}: expected at least 3 columns, found {len(row)}")
            groups = tuple(g for g in (row[3] if len(row) > 3 else "").split(",") if g)
            yield row[0].encode(), User(row[1], row[2], (*groups, AUTHENTICATED))


def _of_websocket(headers: Headers) -> str:
    """Browsers cannot set Authorization on a websocket; the token is one of the protocols that they offer.

    https://github.com/kubernetes/kubernetes/pull/47740
    """
    if headers.get("Upgrade", "").lower() != "websocket":
        return ""
    for offered in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if (word := offered.strip()).startswith(PROTOCOL):
            encoded = word.removeprefix(PROTOCOL)
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except ValueError as e:
                raise Unauthorized("Unauthorized") from e
    return ""
