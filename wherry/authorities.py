"""A new authority in place of an old one, step by step, so that at each step everybody knows everybody.

    begin     the new one is trusted beside the old one, which still signs
    switch    the new one signs: its certificates are issued, and the old one is still trusted
    forget    the old one is trusted no more

https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/.  Which step was taken last is told by the
files alone: `next.key` is there between the first two.
"""

from datetime import UTC, datetime
from pathlib import Path

from machinery import pairs
from machinery.certificates import Authority
from machinery.pairs import Pair
from wherry import certificates

NEXT = "next.key"


def begin(directory: Path, name: str) -> None:
    """Of a roll-over that was broken off, goes on with that one's key."""
    place = directory / name
    if (place / NEXT).exists():
        return
    now = datetime.now(UTC)
    old = certificates.authority_of(directory, name)
    # Another subject than before: who looks for an issuer by its name must find one.
    new = Authority.create(f"{certificates.AUTHORITIES[name]}-{now:%Y%m%d%H%M%S}", now)
    pairs.replace(place / "ca.crt", old.pair.certificate + new.pair.certificate, 0o644)
    # Last: without it, the certificate is one that nobody will ever use.
    pairs.replace(place / NEXT, new.pair.key, 0o600)


def switch(directory: Path, name: str) -> None:
    place = directory / name
    (place / NEXT).replace(place / "ca.key")


def forget(directory: Path, name: str) -> bool:
    """Whether there was somebody to forget."""
    authority = certificates.authority_of(directory, name)
    if not authority.others:
        return False
    alone = Authority(Pair(authority.own, authority.pair.key))
    pairs.replace(directory / name / "ca.crt", alone.pair.certificate, 0o644)
    return True
