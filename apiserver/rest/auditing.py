"""What the REST door tells the audit. Each of these does nothing where nothing is audited."""

from contextlib import AbstractContextManager

from aiohttp import web

from apiserver.auditing import CURRENT, Auditor, Entry
from apiserver.requests import User


def begun(auditor: Auditor, http: web.BaseRequest, audit_id: str) -> AbstractContextManager[Entry]:
    """The entry of a request; the block is the request."""
    return auditor.request(
        audit_id=audit_id, uri=http.raw_path, verb=http.method.lower(), agent=http.headers.get("User-Agent", ""),
        sources=_sources(http),
    )  # fmt: skip


def _sources(http: web.BaseRequest) -> list[str]:
    """Who is said to have asked, proxies on the way, and who is connected."""
    said = [word.strip() for word in http.headers.get("X-Forwarded-For", "").split(",")]
    found = [*said, http.headers.get("X-Real-Ip", "").strip(), http.remote or ""]
    return list(dict.fromkeys(word for word in found if word))


def is_on() -> bool:
    """Whether this request is audited."""
    return CURRENT.get() is not None


def known(user: User) -> None:
    if (entry := CURRENT.get()) is not None:
        entry.user = user


def read(body: bytes) -> None:
    """The body of the request, as JSON."""
    if (entry := CURRENT.get()) is not None:
        entry.body = body


def answered(document: bytes) -> None:
    """The answer, as JSON."""
    if (entry := CURRENT.get()) is not None:
        entry.response = document


def refused(status: dict[str, object]) -> None:
    if (entry := CURRENT.get()) is not None:
        entry.status = status


def started() -> None:
    """The answer goes on for long."""
    if (entry := CURRENT.get()) is not None:
        entry.started()


def panicked(why: str) -> None:
    if (entry := CURRENT.get()) is not None:
        entry.panicked(why)
