"""Certificate signing requests, as upstream's pkg/apis/certificates/validation has them for v1.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from api import names
from api.paths import Fault, Path, duplicate, forbidden, invalid, not_supported, required
from api.types import CertificateSigningRequest, CertificateSigningRequestCondition

Faults = Iterator[Fault]
SPEC, STATUS = Path("spec"), Path("status")
CONDITIONS, CERTIFICATE = STATUS.child("conditions"), STATUS.child("certificate")
LEGACY = "kubernetes.io/legacy-unknown"
SHORTEST = 600
SEGMENT = 253
USAGES = (
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
)  # fmt: skip
DECISIONS = ("Approved", "Denied")
FINAL = (*DECISIONS, "Failed")


class Unusable(Exception):
    """Why a document is no certificate request, or no chain of certificates."""


def created(it: CertificateSigningRequest) -> Faults:
    spec = it.spec
    try:
        parse(spec.request)
    except Unusable as e:
        yield Fault("FieldValueInvalid", str(SPEC.child("request")), f"Invalid value: {_shown(spec.request)}: {e}")
    if not spec.usages:
        yield required(SPEC.child("usages"))
    for i, usage in enumerate(spec.usages):
        if usage not in USAGES:
            yield not_supported(SPEC.child("usages").index(i), usage, USAGES)
        elif usage in spec.usages[:i]:
            yield duplicate(SPEC.child("usages").index(i), usage)
    if spec.signerName == LEGACY:
        yield invalid(
            SPEC.child("signerName"), spec.signerName, "the legacy signerName is not allowed via this API version"
        )
    else:
        yield from signer_name(SPEC.child("signerName"), spec.signerName)
    if spec.expirationSeconds is not None and spec.expirationSeconds < SHORTEST:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        yield invalid(SPEC.child("expirationSeconds"), spec.expirationSeconds, why)


def updated(new: CertificateSigningRequest, old: CertificateSigningRequest) -> Faults:
    """Spec and status are the old ones by now: what is left to judge is metadata."""
    yield from ()


def status_updated(new: CertificateSigningRequest, old: CertificateSigningRequest) -> Faults:
    """Decisions are made under /approval."""
    yield from _conditions(new.status.conditions)
    yield from _kept(new, old)
    for type_ in DECISIONS:
        was, now = (_of_type(it, type_) for it in (old, new))
        if len(now) > len(was):
            yield forbidden(CONDITIONS, f"updates may not add a condition of type {_quoted(type_)}")
        elif len(now) == len(was) and now != was:
            yield forbidden(CONDITIONS, f"updates may not modify a condition of type {_quoted(type_)}")
    if new.status.certificate == old.status.certificate:
        return
    if old.status.certificate:
        yield forbidden(CERTIFICATE, "updates may not modify existing certificate content")
    try:
        _check_certificates(new.status.certificate)
    except Unusable as e:
        yield invalid(CERTIFICATE, "<certificate data>", str(e))


def approval_updated(new: CertificateSigningRequest, old: CertificateSigningRequest) -> Faults:
    yield from _conditions(new.status.conditions)
    yield from _kept(new, old)


def signer_name(path: Path, name: str) -> Faults:
    if not name:
        yield required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        yield invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        return
    labels = domain.split(".")
    for label in labels:
        for why in names.dns_label_faults(label):
            yield invalid(path, domain, f"validating label {_quoted(label)}: {why}")
    if len(labels) < 2:
        yield invalid(path, domain, "should be a domain with at least two segments separated by dots")
    for label in rest.split("."):
        for why in names.dns_subdomain_faults(label):
            yield invalid(path, rest, f"validating label {_quoted(label)}: {why}")


def parse(request: str) -> x509.CertificateSigningRequest:
    """The PKCS #10 request in the base64 of a PEM document.  Raises Unusable, also for a broken signature."""
    content = _decoded(request)
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in content:
        raise Unusable("PEM block type must be CERTIFICATE REQUEST")
    try:
        found = x509.load_pem_x509_csr(content)
        if not found.is_signature_valid:
            raise Unusable("x509: the signature of the request is not valid")
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as e:
        raise Unusable(f"x509: malformed certificate request: {e}") from e
    known = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
    if not isinstance(found.public_key(), known | dsa.DSAPublicKey):
        raise Unusable("x509: unsupported public key")
    return found


def _conditions(conditions: list[CertificateSigningRequestCondition]) -> Faults:
    seen: list[str] = []
    for i, condition in enumerate(conditions):
        at, type_ = CONDITIONS.index(i), condition.type
        if not type_:
            yield required(at.child("type"))
        allowed = ("True",) if type_ in FINAL else ("True", "False", "Unknown")
        if not condition.status:
            yield required(at.child("status"))
        elif condition.status not in allowed:
            yield not_supported(at.child("status"), condition.status, allowed)
        if type_ in DECISIONS and any(d in seen for d in DECISIONS if d != type_):
            yield invalid(at.child("type"), type_, "Approved and Denied conditions are mutually exclusive")
        if type_ in seen:
            yield duplicate(at.child("type"), type_)
        seen.append(type_)


def _kept(new: CertificateSigningRequest, old: CertificateSigningRequest) -> Faults:
    for type_ in FINAL:
        if len(_of_type(new, type_)) < len(_of_type(old, type_)):
            yield forbidden(CONDITIONS, f"updates may not remove a condition of type {_quoted(type_)}")


def _of_type(it: CertificateSigningRequest, type_: str) -> list[CertificateSigningRequestCondition]:
    return [condition for condition in it.status.conditions if condition.type == type_]


def _check_certificates(encoded: str) -> None:
    content = _decoded(encoded)
    if not content:
        return
    if not content.lstrip().startswith(b"-----BEGIN"):
        raise Unusable("must contain one or more PEM blocks")
    if content.count(b"-----BEGIN ") != content.count(b"-----BEGIN CERTIFICATE-----"):
        raise Unusable("only CERTIFICATE PEM blocks are allowed")
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError as e:
        raise Unusable(f"x509: malformed certificate: {e}") from e


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded or "", validate=False)
    except (binascii.Error, ValueError) as e:
        raise Unusable(f"illegal base64 data: {e}") from e


def _shown(encoded: str) -> str:
    """Bytes as Go's %#v writes them."""
    try:
        content = _decoded(encoded)
    except Unusable:
        content = b""
    return "[]byte{" + ", ".join(f"{byte:#x}" for byte in content) + "}"


def _quoted(text: str) -> str:
    return f'"{text}"'


def subject(request: x509.CertificateSigningRequest) -> str:
    """The common name."""
    return next((str(a.value) for a in request.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)), "")


def organizations(request: x509.CertificateSigningRequest) -> list[str]:
    found: list[Any] = request.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return [str(each.value) for each in found]
