"""Times as Kubernetes writes them: RFC 3339 in UTC, by the second (Time) or the microsecond (MicroTime)."""

from datetime import UTC, datetime
from functools import lru_cache


def format(seconds: float) -> str:  # noqa: A001
    """Seconds since the epoch → `2026-11-23T12:00:00Z`."""
    return _format(int(seconds))


@lru_cache(maxsize=64)
def _format(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro(seconds: float) -> str:
    """Seconds since the epoch → `2026-11-23T12:00:00.000000Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(text: str) -> float:
    """A Time or MicroTime → seconds since the epoch.  Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()
