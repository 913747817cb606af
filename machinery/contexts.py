"""TLS contexts that follow their files."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machinery.rereading import Reread

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, as gRPC has them: what was recorded stays secret when the key does not, and nothing is made of SHA-1,
which OpenSSL takes by default. All of 1.3 are good."""


class FollowingContext(ssl.SSLContext):
    """Stands for the context that `made` makes of the files as they are at a handshake.

    Not one context that loads them again: what it once trusts, and the tickets by which it knows clients again, it
    would keep.  Raises what `made` does.
    """

    _current: Reread[ssl.SSLContext]

    def __new__(cls, made: Callable[[], ssl.SSLContext], *files: Path | None) -> "FollowingContext":
        current = Reread(made, *files)
        context = super().__new__(cls, current().protocol)
        context._current = current
        return context

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """What an event loop asks for when it has accepted or made a connection."""
        return self._current().wrap_bio(*arguments, **options)


def serving(
    certificate: Path, key: Path | None, *authorities: Path, to_come: bool = False, protocol: str = "http/1.1"
) -> FollowingContext:  # fmt: skip
    """For a server of HTTP that asks its clients for a certificate of one of the authorities, and does without one.
    Without authorities it asks for none.  `to_come`: its own may be missing, and then no handshake succeeds.

    Raises OSError.
    """

    def made() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols([protocol])
        if certificate.exists() or not to_come:
            context.load_cert_chain(certificate, key)
        for authority in authorities:
            context.load_verify_locations(authority)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    return FollowingContext(made, certificate, key, *authorities)
