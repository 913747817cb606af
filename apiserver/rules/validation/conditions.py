"""Conditions of the common form: type, status, reason, message and when it changed.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
"""

from collections.abc import Sequence

from api import names
from api.paths import Path, duplicate, invalid, not_supported, required, too_long, too_many
from api.types import Condition
from apiserver.rules.validation.values import Faults, formed

STATUSES = ("False", "True", "Unknown")
LONGEST_REASON = 1024
LONGEST_MESSAGE = 32 * 1024


def conditions(path: Path, given: Sequence[Condition], most: int) -> Faults:
    if len(given) > most:
        yield too_many(path, len(given), most)
    seen: set[str] = set()
    for i, it in enumerate(given):
        if it.type in seen:
            yield duplicate(path.index(i).child("type"), it.type)
        seen.add(it.type)
        yield from _condition(path.index(i), it)


def _condition(at: Path, it: Condition) -> Faults:
    yield from formed(at.child("type"), it.type, names.qualified_name_faults)
    if it.status not in STATUSES:
        yield not_supported(at.child("status"), it.status or "", STATUSES)
    if (it.observedGeneration or 0) < 0:
        yield invalid(at.child("observedGeneration"), it.observedGeneration, "must be greater than or equal to zero")
    if not it.lastTransitionTime:
        yield required(at.child("lastTransitionTime"), "must be set")
    if not it.reason:
        yield required(at.child("reason"), "must be set")
    else:
        yield from formed(at.child("reason"), it.reason, names.condition_reason_faults)
        if len(it.reason) > LONGEST_REASON:
            yield too_long(at.child("reason"), LONGEST_REASON)
    if len((it.message or "").encode()) > LONGEST_MESSAGE:
        yield too_long(at.child("message"), LONGEST_MESSAGE)
