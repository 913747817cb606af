"""From a connection and its Authorization header to a User."""

import csv
import hmac
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from api.errors import Unauthorized
from apiserver.authentication.accounts import Accounts
from apiserver.requests import ANONYMOUS, User

AUTHENTICATED = "system:authenticated"


@lru_cache(maxsize=4096)
def certificate_user(certificate: bytes) -> User:
    """The user that a certificate (DER or PEM) names: the common name, with the organizations as groups.

    That a trusted authority signed it was established by TLS.  Raises Unauthorized if it names nobody.
    """
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    load = x509.load_pem_x509_certificate if certificate.startswith(b"-----") else x509.load_der_x509_certificate
    subject = load(certificate).subject
    name = next((str(a.value) for a in subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
    if not name:
        raise Unauthorized("Unauthorized")
    groups = [str(a.value) for a in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return User(name, groups=(*groups, AUTHENTICATED))


class Authenticator:
    """`tokens` is a static token file: lines of `token,user,uid,"group1,group2"`, as upstream reads it; `accounts`
    knows the tokens of service accounts.

    Raises ValueError or OSError if the file cannot be read.
    """

    def __init__(self, tokens: Path | None = None, accounts: Accounts | None = None) -> None:
        self.accounts = accounts
        self._users: dict[bytes, User] = {}
        if tokens is None:
            return
        with tokens.open(newline="") as lines:
            for row in csv.reader(lines):
                if len(row) < 3:
                    raise ValueError(f"token file {tokens}: expected at least 3 columns, found {len(row)}")
                groups = tuple(g for g in (row[3] if len(row) > 3 else "").split(",") if g)
                self._users[row[0].encode()] = User(row[1], row[2], (*groups, AUTHENTICATED))

    async def __call__(self, certificate: bytes | None, authorization: str) -> User:
        """The user behind a connection and its Authorization header; the anonymous one if neither says anything.

        Raises Unauthorized for a claim that is not true.
        """
        if certificate:
            return certificate_user(certificate)
        if not authorization:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Unauthorized")
        user, _ = await self.owner(token.strip())
        return user

    async def owner(self, token: str, audiences: Iterable[str] = ()) -> tuple[User, list[str]]:
        """Whose bearer token it is, and which of the audiences (none: this API's own) it is for.

        Raises Unauthorized.
        """
        given = token.encode()
        for known, user in self._users.items():
            if hmac.compare_digest(known, given):
                return user, list(audiences)
        if self.accounts is None:
            raise Unauthorized("Unauthorized")
        return await self.accounts.owner(token, audiences)
