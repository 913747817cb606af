"""Where a pair that was asked for is kept: certificate and key in one PEM file, under the name that upstream's has.

Upstream's is a link to one of all files that there ever were. Here the file is replaced, so that keys that are not
needed any more do not lie about.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from machinery.pairs import replace


class Store:
    def __init__(self, path: Path) -> None:
        self.path = path

    def current(self) -> x509.Certificate | None:
        """None if there is none.  Raises ValueError, OSError."""
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        return _matching(content, content)

    def keep(self, certificate: bytes, key: bytes) -> x509.Certificate:
        """From now on it is the current one.  Raises ValueError if they are of no pair; OSError."""
        found = _matching(certificate, key)
        replace(self.path, certificate.rstrip() + b"\n" + key, 0o600)
        return found

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)


def _matching(certificate: bytes, key: bytes) -> x509.Certificate:
    found = x509.load_pem_x509_certificate(certificate)
    if serialization.load_pem_private_key(key, None).public_key() != found.public_key():
        raise ValueError("the certificate is not of the key")
    return found
