"""Whom a proxy in front of the API server has authenticated: it says so in headers, and a certificate says it may.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#authenticating-proxy
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from cryptography.x509.oid import NameOID
from multidict import CIMultiDictProxy

from apiserver.requests import User
from machinery.issuing import Authorities, loaded

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


class Proxies:
    """Raises ValueError, OSError for an authority that cannot be read."""

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        self._authorities = Authorities(settings.ca)

    def vouches(self, certificate: bytes, now: float) -> bool:
        """Whether the connection of that certificate is a proxy's."""
        if not self._authorities.vouch(certificate, now):
            return False
        return not self.settings.allowed or _name(certificate) in self.settings.allowed

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


@lru_cache(maxsize=256)
def _name(certificate: bytes) -> str:
    return next((str(a.value) for a in loaded(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")
