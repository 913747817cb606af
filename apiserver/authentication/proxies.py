"""Whom a proxy in front of the API server has authenticated: it says so in headers, and a certificate says it may.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#authenticating-proxy
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from multidict import CIMultiDictProxy

from apiserver.requests import User

Headers = CIMultiDictProxy[str]


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Upstream's --requestheader-… flags."""

    ca: Path
    allowed: tuple[str, ...] = ()
    """Common names of the proxies' certificates; () is any that the authority has signed."""
    users: tuple[str, ...] = ("X-Remote-User",)
    uids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("X-Remote-Group",)
    extra: tuple[str, ...] = ("X-Remote-Extra-",)
    """Prefixes."""


@dataclass(slots=True)
class Proxies:
    """Raises ValueError, OSError for an authority that cannot be read."""

    settings: ProxySettings
    _authorities: Sequence[x509.Certificate] = field(init=False)
    _known: dict[bytes, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._authorities = x509.load_pem_x509_certificates(self.settings.ca.read_bytes())

    def vouches(self, certificate: bytes) -> bool:
        """Whether the connection of that certificate (DER) is a proxy's."""
        known = self._known.get(certificate)
        if known is None:
            if len(self._known) > 1024:
                self._known.clear()
            known = self._known[certificate] = self._is_proxy(x509.load_der_x509_certificate(certificate))
        return known

    def _is_proxy(self, certificate: x509.Certificate) -> bool:
        if not is_issued_by(certificate, self._authorities):
            return False
        name = next((a.value for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
        return not self.settings.allowed or name in self.settings.allowed

    def user(self, headers: Headers) -> User | None:
        """None if the headers name nobody."""
        settings = self.settings
        name = next((value for header in settings.users if (value := headers.get(header, ""))), "")
        if not name:
            return None
        uid = next((value for header in settings.uids if (value := headers.get(header, ""))), "")
        groups = tuple(group for header in settings.groups for group in headers.getall(header, ()) if group)
        return User(name, uid, groups, self._extra(headers))

    def _extra(self, headers: Headers) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for header, value in headers.items():
            for prefix in self.settings.extra:
                if header.lower().startswith(prefix.lower()):
                    key = unquote(header[len(prefix) :].lower())
                    found[key] = (*found.get(key, ()), value)
        return found


def is_issued_by(certificate: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    """Directly: the TLS library has followed the chain, this only tells two authorities apart."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False
