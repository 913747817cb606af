"""A certificate authority and the certificates it issues: EC P-256, one key pair for serving and for calling.

Every port of the cluster speaks TLS and asks its caller for a certificate, so every component has one that is good for
both; its common name is the user and its organizations are the groups that the API server sees.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from machinery.pairs import Pair

LIFETIME = timedelta(days=3650)
RENEW_BEFORE = timedelta(days=30)
# Clocks of containers and hosts agree, those of a laptop that slept may not.
SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who holds a certificate: `user` and `groups` when it calls, `hosts` (DNS names and addresses) when it serves."""

    user: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SigningPair:
    """A key pair without a certificate, both PEM."""

    public: bytes
    private: bytes = field(repr=False)


def signing_pair() -> SigningPair:
    """To sign service account tokens with. EC: a signature takes a twentieth of the time that RSA needs."""
    private = new_key()
    return SigningPair(public_half(private), private)


def new_key() -> bytes:
    """PEM."""
    return _private(ec.generate_private_key(ec.SECP256R1()))


def request(subject: Subject, key: bytes) -> bytes:
    """A signing request (PKCS #10) for somebody who holds the key, both PEM."""
    private = serialization.load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject))
    if subject.hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(_names(subject.hosts)), critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def says(certificate: x509.Certificate, subject: Subject) -> bool:
    """Whether it names the user, and at least those groups and hosts."""
    users = [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = {a.value for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}
    return users == [subject.user] and groups >= {*subject.groups} and _names_hosts(certificate, subject)


def public_half(private: bytes) -> bytes:
    """Of a private key, both PEM."""
    key = serialization.load_pem_private_key(private, None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class Authority:
    """Issues certificates. `Authority.create` makes a new one; `Authority(pair)` continues one that was stored, whose
    certificate is that of the key among those in the pair: others, before it or to come, may be trusted beside it.

    Raises ValueError if the key's is not among them.
    """

    def __init__(self, pair: Pair) -> None:
        key = serialization.load_pem_private_key(pair.key, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        found = x509.load_pem_x509_certificates(pair.certificate)
        own = next((each for each in found if each.public_key() == key.public_key()), None)
        if own is None:
            raise ValueError("the authority's key is of none of its certificates")
        self._key = key
        self._certificate = own
        self.others = [each for each in found if each != own]
        self.own = _pem(own)
        self.pair = Pair(b"".join([self.own, *map(_pem, self.others)]), pair.key)
        """The certificate first, those that are trusted beside it after it."""

    @classmethod
    def create(cls, name: str, now: datetime | None = None) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(Subject(name))
        built = (
            _builder(subject, subject, key.public_key(), now or datetime.now(UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(_pair(built, key))

    def issue(self, subject: Subject, now: datetime | None = None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(_name(subject), self._certificate.subject, key.public_key(), now or datetime.now(UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(both, critical=False)
            .add_extension(issuer_key, critical=False)
        )
        if subject.hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(_names(subject.hosts)), critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)

    def still_serves(self, certificate: bytes, subject: Subject, now: datetime | None = None) -> bool:
        """True if `certificate` is of this authority, not near its end, and says everything that `subject` asks for."""
        try:
            held = x509.load_pem_x509_certificate(certificate)
            held.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        lasts = held.not_valid_after_utc - (now or datetime.now(UTC)) > RENEW_BEFORE
        return lasts and held.subject == _name(subject) and _names_hosts(held, subject)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(subject: Subject) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.groups]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, subject.user)])


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    return [_general_name(host) for host in hosts]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _names_hosts(certificate: x509.Certificate, subject: Subject) -> bool:
    return {*_names(subject.hosts)} <= {*_names_of(certificate)}


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(_pem(certificate), _private(key))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
