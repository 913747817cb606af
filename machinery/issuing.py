"""Which certificates an authority has issued, asked at every request: connections last, what they rest on may not.

TLS has followed the chain and looked at the clock when the connection was made. Since then the certificate may have
expired and the authority may have been replaced. Upstream verifies at each request, too.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from machinery.rereading import Reread

REMEMBERED = 4096


class Authorities:
    """Of a PEM file with any number of them, as it is at the time.  Raises ValueError, OSError if it holds none."""

    def __init__(self, file: Path) -> None:
        self._issued = Reread(lambda: _Issued(x509.load_pem_x509_certificates(file.read_bytes())), file)

    def vouch(self, certificate: bytes, now: float) -> bool:
        """Whether a certificate (DER or PEM) is one of theirs, directly, and lasts."""
        return now < self._issued().until(certificate)


class _Issued:
    def __init__(self, authorities: Sequence[x509.Certificate]) -> None:
        self._authorities = authorities
        self._known: dict[bytes, float] = {}

    def until(self, certificate: bytes) -> float:
        """When the certificate ends, 0 if somebody else has issued it."""
        known = self._known.get(certificate)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[certificate] = self._look(loaded(certificate))
        return known

    def _look(self, certificate: x509.Certificate) -> float:
        for authority in self._authorities:
            try:
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return certificate.not_valid_after_utc.timestamp()
        return 0.0


def loaded(certificate: bytes) -> x509.Certificate:
    load = x509.load_pem_x509_certificate if certificate.startswith(b"-----") else x509.load_der_x509_certificate
    return load(certificate)
