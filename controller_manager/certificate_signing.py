"""Approved requests for Kubernetes' own signers get a certificate of the cluster's authority.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from api import errors, meta, times
from api.meta import Key
from api.types import CertificateSigningRequest, CertificateSigningRequestCondition
from controller_manager import certificates
from controller_manager.certificates import Refused
from controller_manager.contexts import Context
from machinery.controllers import Controller
from machinery.pairs import matching
from machinery.rereading import Reread
from machinery.running import CannotGoOn

NAME = "certificatesigningrequest-signing-controller"
BACKDATE, SHORT = timedelta(minutes=5), timedelta(hours=8)
PURPOSES = {
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH, "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING, "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION, "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING, "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}  # fmt: skip
USES = {
    "signing": "digital_signature", "digital signature": "digital_signature",
    "content commitment": "content_commitment", "key encipherment": "key_encipherment",
    "key agreement": "key_agreement", "data encipherment": "data_encipherment", "crl sign": "crl_sign",
    "encipher only": "encipher_only", "decipher only": "decipher_only",
}  # fmt: skip
NO_USES = dict.fromkeys((*USES.values(), "key_cert_sign"), False)


def new(context: Context) -> Controller:
    config = context.config
    signer = None
    if config.signing_certificate is not None and config.signing_key is not None:
        signer = Signer(config.signing_certificate, config.signing_key, timedelta(seconds=config.signing_seconds))
    return SigningController(context, signer).controller


@dataclass(frozen=True, slots=True)
class Authority:
    """Of whose certificates the first in a file is the one that signs; others after it are still trusted."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @classmethod
    def read(cls, certificate: Path, key: Path) -> "Authority":
        """Raises OSError, ValueError."""
        pair = matching(certificate, key)
        private = serialization.load_pem_private_key(pair.key, None)
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError(f"{key}: an RSA or EC key is needed to sign certificates")
        return cls(x509.load_pem_x509_certificate(pair.certificate), private)


class Signer:
    """Signs with the authority of the files as they are at the time.  Raises CannotGoOn for files that hold none."""

    def __init__(self, certificate: Path, key: Path, longest: timedelta) -> None:
        try:
            self._authority = Reread(partial(Authority.read, certificate, key), certificate, key)
        except (OSError, ValueError, TypeError) as e:
            raise CannotGoOn(f"the certificates' authority (--cluster-signing-cert-file, -key-file): {e}") from e
        self._longest = longest

    def sign(self, request: CertificateSigningRequest, now: datetime) -> bytes:
        """The certificate in PEM.  Raises Refused."""
        asked, authority = certificates.parse(request), self._authority()
        certificates.check(request, asked)
        wanted = request.spec.expirationSeconds
        lasts = min(self._longest, timedelta(seconds=wanted)) if wanted is not None else self._longest
        begins = now - BACKDATE
        # A short life is counted from now: five minutes less would be a noticeable part of it.
        ends = min((now if lasts < SHORT else begins) + lasts, authority.certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(asked.subject)
            .issuer_name(authority.certificate.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_authority_key(authority), critical=False)
        )
        usages = request.spec.usages
        if uses := {USES[usage]: True for usage in usages if usage in USES}:
            builder = builder.add_extension(x509.KeyUsage(**{**NO_USES, **uses}), critical=True)
        if purposes := [PURPOSES[usage] for usage in usages if usage in PURPOSES]:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if names := certificates.names_of(asked):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _authority_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    try:
        own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


class SigningController:
    """Its keys are requests. Without an authority it leaves all of them alone."""

    def __init__(self, context: Context, signer: Signer | None) -> None:
        self._client = context.client
        self._clock = context.clock
        self._signer = signer
        self._requests = context.informers(CertificateSigningRequest)
        self.controller = Controller(NAME, self.reconcile, informers=(self._requests,))
        self._requests.on_change(self._changed)

    def _changed(self, old: CertificateSigningRequest | None, new: CertificateSigningRequest | None) -> None:
        if new is not None and self._concerns(new):
            self.controller.queue.add(meta.key(new))

    def _concerns(self, request: CertificateSigningRequest) -> bool:
        if request.spec.signerName not in certificates.SIGNERS or request.status.certificate:
            return False
        return certificates.is_approved(request) and not certificates.is_failed(request)

    async def reconcile(self, key: Key) -> None:
        request = self._requests.get(*key)
        if self._signer is None or request is None or not self._concerns(request):
            return
        new = meta.clone(request)
        now = self._clock.now()
        try:
            issued = self._signer.sign(request, datetime.fromtimestamp(now, UTC))
            new.status.certificate = base64.b64encode(issued).decode()
        except Refused as e:
            new.status.conditions.append(
                CertificateSigningRequestCondition(
                    type="Failed", status="True", reason="SignerValidationFailure", message=str(e),
                    lastUpdateTime=times.format(now), lastTransitionTime=times.format(now),
                )
            )  # fmt: skip
        try:
            await self._client.update_status(new)
        except errors.NotFound:
            return
