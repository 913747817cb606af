"""Ingresses × Services × endpoints × Secrets → the site that the proxy serves. Pure.

https://kubernetes.io/docs/concepts/services-networking/ingress/ ; where that leaves a choice (a request whose host has
rules is answered by those alone, no class means not ours), as ingress-nginx does.
"""

import base64
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from api import names
from api.addresses import decimal
from api.meta import Key, key
from api.types import (
    EndpointSlice,
    Ingress,
    IngressBackend,
    IngressClass,
    IngressTLS,
    Secret,
    Service,
    ServicePort,
)  # fmt: skip

CONTROLLER = "wherry.io/ingress"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
NOWHERE = ""
"""The backend of what nobody serves."""
MOST_HOSTS = 100
"""Of one certificate in one line of the proxy's list, of which 64 kB are read."""


class Server(NamedTuple):
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Path:
    """`exact` or the beginning of the request's path, by whole elements."""

    path: str
    exact: bool
    backend: str

    @property
    def order(self) -> tuple[int, bool]:
        """The longest first, and an exact one before a beginning of its length."""
        return -len(self.path), not self.exact


@dataclass(frozen=True, slots=True)
class Host:
    """`name` is `shop.example`, `*.example` for exactly one more label, or "" for all other hosts."""

    name: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """In PEM, the key at its end. Without `hosts`, for the names that stand in it."""

    hosts: tuple[str, ...]
    pem: str


class Complaint(NamedTuple):
    """What cannot be served, for an event about the Ingress."""

    about: Key
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Site:
    hosts: tuple[Host, ...] = ()
    default: str = NOWHERE
    backends: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    certificates: tuple[Certificate, ...] = ()
    complaints: tuple[Complaint, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """What is read; each finds nothing as None or as no objects."""

    service: Callable[[Key], Service | None]
    slices: Callable[[Key], Iterable[EndpointSlice]]
    secret: Callable[[Key], Secret | None]


def is_ours(ingress: Ingress, classes: Iterable[IngressClass]) -> bool:
    wanted = ingress.spec.ingressClassName or ingress.metadata.annotations.get(CLASS_ANNOTATION, "")
    return any(c.metadata.name == wanted and c.spec.controller == CONTROLLER for c in classes)


def site(ingresses: Iterable[Ingress], world: World) -> Site:
    """Of two that want one path, or to be the default, the older one has it."""
    making = _Making(world)
    for ingress in sorted(
        ingresses, key=lambda i: (i.metadata.creationTimestamp, i.metadata.namespace, i.metadata.name)
    ):
        making.add(ingress)
    return making.site()


class _Making:
    def __init__(self, world: World) -> None:
        self._world = world
        self._paths: dict[str, dict[tuple[str, bool], Path]] = {}
        self._default = NOWHERE
        self._backends: dict[str, tuple[Server, ...]] = {}
        self._certificates: list[Certificate] = []
        self._complaints: list[Complaint] = []

    def add(self, ingress: Ingress) -> None:
        spec = ingress.spec
        if spec.defaultBackend is not None:
            backend = self._backend(ingress, spec.defaultBackend)
            self._default = self._default or backend
        for rule in spec.rules:
            at = self._paths.setdefault((rule.host or "").lower(), {})
            for each in rule.http.paths if rule.http is not None else ():
                path = each.path or "/"
                if not path.startswith("/") or not path.isprintable():
                    self._complain(ingress, "Rejected", f"path {path!r} can be that of no request")
                    continue
                exact = each.pathType == "Exact"
                # `/shop/` is the beginning of `/shop` too.
                path = path if exact else path.rstrip("/") or "/"
                if (path, exact) not in at:
                    at[path, exact] = Path(path, exact, self._backend(ingress, each.backend))
        for tls in spec.tls:
            self._certify(ingress, tls)

    def site(self) -> Site:
        hosts = (
            Host(name, tuple(sorted(paths.values(), key=lambda p: p.order))) for name, paths in self._paths.items()
        )
        # Names before wildcards, longer ones before shorter ones, and what is for all others last.
        ordered = sorted(hosts, key=lambda h: (not h.name, h.name.startswith("*."), -len(h.name), h.name))
        return Site(
            tuple(ordered), self._default, dict(sorted(self._backends.items())), tuple(self._certificates),
            tuple(dict.fromkeys(self._complaints)),
        )  # fmt: skip

    def _complain(self, ingress: Ingress, reason: str, message: str) -> None:
        self._complaints.append(Complaint(key(ingress), reason, message))

    def _backend(self, ingress: Ingress, wanted: IngressBackend | None) -> str:
        """The name of the backend; one that cannot be had has no servers."""
        if wanted is None or wanted.service is None or wanted.service.port is None:
            self._complain(ingress, "Rejected", "only Services can be backends")
            return NOWHERE
        at = Key(ingress.metadata.namespace, wanted.service.name)
        port = wanted.service.port.name or wanted.service.port.number or 0
        # No name in Kubernetes has an underscore.
        name = f"{at.namespace}_{at.name}_{port}"
        if name not in self._backends:
            self._backends[name] = self._servers(ingress, at, port)
        return name

    def _servers(self, ingress: Ingress, at: Key, port: str | int) -> tuple[Server, ...]:
        service = self._world.service(at)
        if service is None:
            self._complain(ingress, "ServiceNotFound", f"Service {str(at)!r} does not exist")
            return ()
        if service.spec.type == "ExternalName":
            self._complain(ingress, "Rejected", f"Service {str(at)!r} has no endpoints: it is of type ExternalName")
            return ()
        found = next((p for p in service.spec.ports if port in (p.name, p.port)), None)
        if found is None:
            self._complain(ingress, "ServiceNotFound", f"Service {str(at)!r} has no port {port}")
            return ()
        return tuple(sorted(set(_ready(found, self._world.slices(at)))))

    def _certify(self, ingress: Ingress, tls: IngressTLS) -> None:
        if not tls.secretName:
            return  # the proxy's own certificate
        at = Key(ingress.metadata.namespace, tls.secretName)
        secret = self._world.secret(at)
        if secret is None:
            self._complain(ingress, "SecretNotFound", f"Secret {str(at)!r} does not exist")
            return
        try:
            pem = bundle(secret)
        except ValueError as e:
            self._complain(ingress, "SecretInvalid", f"Secret {str(at)!r} is no certificate with its key: {e}")
            return
        # The proxy reads a list of them, in which other characters mean something.
        hosts = [host for host in map(str.lower, tls.hosts) if not names.dns_subdomain_faults(host.removeprefix("*."))]
        if len(hosts) < len(tls.hosts):
            self._complain(ingress, "Rejected", f"not all TLS hosts are names of hosts: {tls.hosts}")
        for start in range(0, len(hosts), MOST_HOSTS) if tls.hosts else (0,):
            self._certificates.append(Certificate(tuple(hosts[start : start + MOST_HOSTS]), pem))


def _ready(port: ServicePort, slices: Iterable[EndpointSlice]) -> Iterable[Server]:
    for each in slices:
        numbers = [p.port for p in each.ports if (p.name or "") == (port.name or "") and p.port]
        if each.addressType != "IPv4" or not numbers:
            continue
        for endpoint in each.endpoints:
            # The API's own rule: an unknown condition counts as ready.
            if endpoint.conditions is None or endpoint.conditions.ready is not False:
                for address in endpoint.addresses:
                    yield Server(decimal(address), numbers[0])


def bundle(secret: Secret) -> str:
    """Certificates and key in one.  Raises ValueError if they are none, or do not belong together.

    What the proxy refuses would keep all other sites from it, so nothing is passed on unread.
    """
    pem, fault = _bundled(secret.data.get("tls.crt", ""), secret.data.get("tls.key", ""))
    if fault:
        raise ValueError(fault)
    return pem


@lru_cache(maxsize=1024)
def _bundled(certificate: str, private: str) -> tuple[str, str]:
    """The bundle, or what is wrong. Kept: all are asked for at each change of anything, and reading takes long."""
    try:
        pem = _joined(base64.b64decode(certificate), base64.b64decode(private))
        _try(pem)
    # What the library does not raise as a ValueError: a key with a password, a version or a curve of the future.
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, ssl.SSLError) as e:
        return "", str(e) or repr(e)
    return pem, ""


def _joined(certificate: bytes, private: bytes) -> str:
    if not certificate or not private:
        raise ValueError("tls.crt and tls.key are needed")
    chain = x509.load_pem_x509_certificates(certificate)
    # Whether its numbers are prime takes a tenth of a second; who has chosen others harms nobody else.
    loaded = load_pem_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if chain[0].public_key().public_bytes(*form) != loaded.public_key().public_bytes(*form):
        raise ValueError("the key belongs to another certificate")
    # Written anew: what stands behind a key is read by the proxy, too.
    key_alone = loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (b"".join(c.public_bytes(Encoding.PEM) for c in chain) + key_alone).decode("ascii")


def _try(pem: str) -> None:
    """Let the proxy's own library take it, which refuses keys that are too small, say.  Raises ssl.SSLError."""
    file = os.memfd_create("certificate")
    try:
        os.write(file, pem.encode())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
