"""Service account tokens as documents: signed claims, nothing about whether what they name still exists.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

import base64
import hashlib
import re
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from machinery.rereading import Reread

PRIVATE = "kubernetes.io"
ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
REMEMBERED = 2048
LEEWAY = 60.0
"""Seconds by which the clocks of two servers may differ, upstream's: a token holds so much earlier and longer."""
PEM = re.compile(rb"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)
Claims = dict[str, Any]
Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Untrue(Exception):
    """Not a token of this issuer, or not one for this audience, or too old."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An object that a token names: it is worth nothing once that is gone."""

    name: str
    uid: str

    def claim(self) -> Claims:
        return {"name": self.name, "uid": self.uid} if self.uid else {"name": self.name}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token shall say. Seconds count from its issue."""

    namespace: str
    account: Bound
    audiences: Sequence[str]
    seconds: int
    warn_after: int = 0
    """0: no claim about it."""
    pod: Bound | None = None
    secret: Bound | None = None
    node: Bound | None = None


class _Read:
    """What the files hold, and the tokens that these keys were found to have signed.  Raises ValueError, OSError."""

    def __init__(self, signing: Path, verifying: Iterable[Path]) -> None:
        private = serialization.load_pem_private_key(signing.read_bytes(), None)
        if not isinstance(private, Private):
            raise ValueError(f"{signing}: an RSA or EC key is needed to sign service account tokens")
        self.private: Private = private
        keys = [private.public_key(), *(key for path in verifying for key in _public(path))]
        self.public: dict[str, Public] = {key_id(key): key for key in keys}
        self.own = next(iter(self.public))
        self.verified: OrderedDict[bytes, Claims] = OrderedDict()


class Keys:
    """`issuer` is what `iss` says, and the audience of tokens that name none. The keys are what the files hold at the
    time: a new key signs from then on, and an old one verifies as long as it is among `verifying`.

    Raises ValueError, OSError for a file that holds no usable key.
    """

    def __init__(self, issuer: str, signing: Path, verifying: Iterable[Path] = ()) -> None:
        self.issuer = issuer
        verifying = tuple(verifying)
        self._current = Reread(lambda: _Read(signing, verifying), signing, *verifying)

    @property
    def public(self) -> Mapping[str, Public]:
        return self._current().public

    def issue(self, wanted: Wanted, now: int) -> str:
        bound = {k: v.claim() for k in ("pod", "secret", "node") if (v := getattr(wanted, k)) is not None}
        account = {"namespace": wanted.namespace, "serviceaccount": wanted.account.claim()}
        warn = {"warnafter": now + wanted.warn_after} if wanted.warn_after else {}
        claims = {
            "aud": list(wanted.audiences), "exp": now + wanted.seconds, "iat": now, "iss": self.issuer,
            "jti": str(uuid.uuid4()), PRIVATE: {**account, **bound, **warn}, "nbf": now,
            "sub": f"system:serviceaccount:{wanted.namespace}:{wanted.account.name}",
        }  # fmt: skip
        current = self._current()
        key = current.private
        return jwt.encode(claims, key, algorithm(key.public_key()), headers={"kid": current.own, "typ": None})

    def is_ours(self, token: str) -> bool:
        """Whether it claims to come from this issuer; nothing is verified."""
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return False
        return unverified.get("iss") == self.issuer

    def read(self, token: str, audiences: Iterable[str], now: float) -> tuple[Claims, list[str]]:
        """The claims, and those of `audiences` that the token is for.  Raises Untrue."""
        claims = self._signed(token)
        if now - LEEWAY > claims.get("exp", 0):
            raise Untrue("service account token has expired")
        if now + LEEWAY < claims.get("nbf", 0):
            raise Untrue("token not valid yet")
        stated = claims.get("aud", ())
        stated = [stated] if isinstance(stated, str) else stated
        common = [a for a in audiences if a in stated]
        if not common:
            raise Untrue(f"invalid bearer token, [invalid audience: token audiences {stated} do not match]")
        return claims, common

    def _signed(self, token: str) -> Claims:
        """The claims of a token whose signature holds, which is looked at once for each token that is in use."""
        digest, current = hashlib.sha256(token.encode()).digest(), self._current()
        if (known := current.verified.get(digest)) is not None:
            current.verified.move_to_end(digest)
            return known
        try:
            key = current.public.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise Untrue("service account token was signed by a key that is not known here")
            claims: Claims = jwt.decode(
                token, key, [algorithm(key)], issuer=self.issuer,
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )  # fmt: skip
        except jwt.InvalidTokenError as e:
            raise Untrue(f"invalid bearer token: {e}") from e
        current.verified[digest] = claims
        if len(current.verified) > REMEMBERED:
            current.verified.popitem(last=False)
        return claims

    def web_keys(self) -> list[Claims]:
        """The public keys as JWKs."""
        found: list[Claims] = []
        for name, key in self.public.items():
            web: Claims
            if isinstance(key, ec.EllipticCurvePublicKey):
                web = ECAlgorithm.to_jwk(key, as_dict=True)
            else:
                web = RSAAlgorithm.to_jwk(key, as_dict=True)
            numbers: Claims = {k: web[k] for k in ("kty", "crv", "x", "y", "n", "e") if k in web}
            found.append({"use": "sig", "kid": name, "alg": algorithm(key), **numbers})
        return found


def algorithm(key: Public) -> str:
    return ALGORITHMS[key.curve.name] if isinstance(key, ec.EllipticCurvePublicKey) else "RS256"


def key_id(key: Public) -> str:
    """As upstream names keys: the hash of the public key."""
    document = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.urlsafe_b64encode(hashlib.sha256(document).digest()).decode().rstrip("=")


def _public(path: Path) -> Iterator[Public]:
    """Of a file with public keys or private ones, one after the other."""
    blocks = PEM.findall(path.read_bytes())
    if not blocks:
        raise ValueError(f"{path}: there is no key in PEM")
    for block in blocks:
        if b"PRIVATE KEY" in block:
            private = serialization.load_pem_private_key(block, None)
            key = private.public_key() if isinstance(private, Private) else None
        else:
            loaded = serialization.load_pem_public_key(block)
            key = loaded if isinstance(loaded, Public) else None
        if key is None:
            raise ValueError(f"{path}: an RSA or EC key is needed to verify service account tokens")
        yield key
