"""TLS contexts for calls to servers of the cluster, made once for each authority, so that connections can be shared."""

import base64
import ssl
from functools import lru_cache, partial
from pathlib import Path

from machinery.contexts import FollowingContext

KEPT = 256


class Unreadable(ValueError):
    """The bundle holds no certificate, or is no base64."""


@lru_cache(maxsize=KEPT)
def context(
    ca_bundle: str, certificate: Path | None = None, key: Path | None = None, *, verify: bool = True
) -> ssl.SSLContext:
    """`ca_bundle` is PEM in base64; "" means the authorities that this machine trusts. `certificate` and `key` are what
    the API server shows of itself, as the files are at a handshake.

    Raises Unreadable, and OSError for files that cannot be read.
    """
    if certificate is None:
        return _made(ca_bundle, None, None, verify=verify)
    return FollowingContext(partial(_made, ca_bundle, certificate, key, verify=verify), certificate, key)


def _made(ca_bundle: str, certificate: Path | None, key: Path | None, *, verify: bool) -> ssl.SSLContext:
    try:
        pem = base64.b64decode(ca_bundle, validate=True).decode("ascii") if ca_bundle else None
    except ValueError as e:
        raise Unreadable("unable to load root certificates: illegal base64 data") from e
    try:
        found = ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as e:
        raise Unreadable("unable to load root certificates: unable to parse bytes as PEM block") from e
    # Go does not ask for what this flag asks for, and hand-made authorities seldom have it.
    found.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if pem is not None:
        # An intermediate certificate that is trusted by name is enough of an anchor, as Go sees it.
        found.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        found.load_cert_chain(certificate, key)
    return found
