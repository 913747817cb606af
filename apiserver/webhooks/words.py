"""Faults of a connection in the words of Go's net/http, which clients of Kubernetes know and match."""

import errno
import ssl
from urllib.parse import urlsplit

_NOT_TRUSTED = frozenset({2, 18, 19, 20, 21, 27})
"""X509_V_ERR_…: no issuer found, self-signed, not trusted."""
_NOT_YET_VALID, _EXPIRED, _HOSTNAME, _ADDRESS = 9, 10, 62, 64
_ERRNOS = {
    errno.ECONNREFUSED: "connect: connection refused",
    errno.ECONNRESET: "read: connection reset by peer",
    errno.EHOSTUNREACH: "connect: no route to host",
    errno.ENETUNREACH: "connect: network is unreachable",
    errno.ETIMEDOUT: "connect: connection timed out",
}
DEADLINE = "context deadline exceeded"


def of_tls(error: ssl.SSLError, host: str) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return "http: server gave HTTP response to HTTPS client"
        return f"remote error: tls: {(error.reason or str(error)).lower().replace('_', ' ')}"
    code = error.verify_code
    if code in _NOT_TRUSTED:
        why = "certificate signed by unknown authority"
    elif code in (_EXPIRED, _NOT_YET_VALID):
        why = f"certificate has expired or is not yet valid: {error.verify_message}"
    elif code == _ADDRESS:
        why = f"cannot validate certificate for {host} because it doesn't contain any matching IP SANs"
    elif code == _HOSTNAME:
        why = f"certificate is not valid for any names, but wanted to match {host}"
    else:
        why = error.verify_message
    return f"tls: failed to verify certificate: x509: {why}"


def of_socket(error: OSError, address: str) -> str:
    """`address` is host:port."""
    known = _ERRNOS.get(error.errno or 0)
    return f"dial tcp {address}: {known or error.strerror or error}"


def about(method: str, url: str, why: str) -> str:
    """As Go's url.Error says it: `Post "https://…": WHY`, without the password that a URL may have."""
    parts = urlsplit(url)
    if parts.password:
        url = parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}").geturl()
    return f'{method.capitalize()} "{url}": {why}'
