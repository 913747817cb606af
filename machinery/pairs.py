"""A certificate and its private key, as they stand in two files that others may be replacing at this moment.

Apart from `certificates`, because the library that makes certificates costs a process five megabytes, and most only
show theirs.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pair:
    """Both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def matching(certificate: Path, key: Path) -> Pair:
    """What stands in two files.  Raises OSError, and ValueError if they are not of one pair: one was replaced, the
    other one not yet."""
    pair = _read(certificate, key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
    except ssl.SSLError as e:
        raise ValueError(f"{certificate} is not of the key in {key}: {e}") from e
    if _read(certificate, key) != pair:
        raise ValueError(f"{certificate} and {key} are being replaced")
    return pair


def replace(path: Path, content: bytes, mode: int) -> None:
    """Writes a file whole or not at all, never readable by more than `mode` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=mode)
    partial.write_bytes(content)
    partial.chmod(mode)
    partial.replace(path)


def _read(certificate: Path, key: Path) -> Pair:
    return Pair(certificate.read_bytes(), key.read_bytes())
