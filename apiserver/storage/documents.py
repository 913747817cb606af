"""The bytes of a document, and how the revision gets into them.

A stored document begins `{"apiVersion":…,"kind":…,"metadata":{` and has no resourceVersion; the served one has it as
the first field of its metadata.
"""

import re

_HEAD = re.compile(rb'\{"apiVersion":"[^"\\]*","kind":"[^"\\]*","metadata":\{')
_VERSION = re.compile(rb'"resourceVersion":"[0-9]*",?')


def serve(stored: bytes, revision: int) -> bytes:
    """The document as it is served at that revision."""
    at = _head(stored)
    comma = b"" if stored[at : at + 1] == b"}" else b","
    return b'%b"resourceVersion":"%d"%b%b' % (stored[:at], revision, comma, stored[at:])


def store(served: bytes) -> bytes:
    """The inverse of `serve`."""
    at = _head(served)
    found = _VERSION.match(served, at)
    return served[:at] + served[found.end() :] if found else served


def moved(served: bytes, revision: int) -> bytes:
    """The same document, as it is served at another revision."""
    return serve(store(served), revision)


def _head(document: bytes) -> int:
    found = _HEAD.match(document)
    if found is None:
        raise ValueError(f"not a stored document: {document[:80]!r}")
    return found.end()
