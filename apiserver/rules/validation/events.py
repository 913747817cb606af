"""Events, of the core group and of events.k8s.io: one kind in two forms, and one set of field names in the faults.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from typing import NamedTuple

from api import names
from api.paths import Path, invalid, required
from api.types import Event, EventSeries, EventsV1Event, EventsV1EventSeries, ObjectReference
from apiserver.rules.validation.values import Faults, formed, immutable

INVOLVED = Path("involvedObject").child("namespace")
ELSEWHERE = "does not match event.namespace"
UNSET = "needs to be unset"
FIXED = (
    "regarding", "reason", "note", "deprecatedSource", "deprecatedFirstTimestamp", "deprecatedLastTimestamp",
    "deprecatedCount", "type", "eventTime", "action", "related", "reportingController", "reportingInstance",
)  # fmt: skip
CORE_NAMES = {
    "regarding": "involvedObject", "note": "message", "deprecatedSource": "source", "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp", "deprecatedLastTimestamp": "lastTimestamp",
}  # fmt: skip


class _Parts(NamedTuple):
    """What both forms have, by the names of the core group."""

    namespace: str
    involved: str
    time: str
    controller: str
    instance: str
    action: str
    reason: str
    message: str


def core(it: Event) -> Faults:
    yield from _both(
        _Parts(
            it.metadata.namespace, it.involvedObject.namespace, it.eventTime, it.reportingComponent,
            it.reportingInstance, it.action, it.reason, it.message,
        )
    )  # fmt: skip


def modern(it: EventsV1Event) -> Faults:
    """The newer form, which asks for more."""
    yield from _modern(it)
    yield from _series(it.series)
    if not it.eventTime:
        yield required(Path("eventTime"))
    if it.type not in ("Normal", "Warning"):
        yield invalid(Path("type"), "", f"has invalid value: {it.type}")
    for name in ("deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount"):
        if getattr(it, name):
            yield invalid(Path(CORE_NAMES[name]), "", UNSET)
    source = it.deprecatedSource
    if source is not None and (source.component or source.host):
        yield invalid(Path("source"), "", UNSET)


def modern_updated(new: EventsV1Event, old: EventsV1Event) -> Faults:
    """Only its series grows."""
    yield from _modern(new)
    if new.series != old.series:
        yield from _series(new.series)
    for name in FIXED:
        yield from immutable(Path(CORE_NAMES.get(name, name)), getattr(new, name), getattr(old, name))


def _modern(it: EventsV1Event) -> Faults:
    regarding = it.regarding or ObjectReference()
    yield from _both(
        _Parts(
            it.metadata.namespace, regarding.namespace, it.eventTime, it.reportingController, it.reportingInstance,
            it.action, it.reason, it.note,
        )
    )  # fmt: skip


def _series(it: EventSeries | EventsV1EventSeries | None) -> Faults:
    if it is None:
        return
    if (it.count or 0) < 2:
        yield invalid(Path("series.count"), "", "should be at least 2")
    if not it.lastObservedTime:
        yield required(Path("series.lastObservedTime"))


def _both(it: _Parts) -> Faults:
    if not it.time:  # the old form: nothing more than that it is where its object is
        if it.namespace != (it.involved or "default"):
            yield invalid(INVOLVED, it.involved, ELSEWHERE)
        return
    if not it.involved and it.namespace not in ("default", "kube-system"):
        yield invalid(INVOLVED, it.involved, ELSEWHERE)
    if not it.controller:
        yield required(Path("reportingController"))
    yield from formed(Path("reportingController"), it.controller, names.qualified_name_faults)
    yield from _text("reportingInstance", it.instance, 128)
    yield from _text("action", it.action, 128)
    yield from _text("reason", it.reason, 128)
    if len(it.message.encode()) > 1024:
        yield invalid(Path("message"), "", "can have at most 1024 characters")


def _text(name: str, value: str, limit: int) -> Faults:
    if not value:
        yield required(Path(name))
    elif len(value.encode()) > limit:
        yield invalid(Path(name), "", f"can have at most {limit} characters")
