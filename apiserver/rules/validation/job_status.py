"""The status of a job, whoever manages it: https://kubernetes.io/docs/concepts/workloads/controllers/job/#managed-by

What was wrong before and has not changed is nobody's fault now: a job whose spec has just changed may have a status
that does not fit until its controller has looked.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from api import meta, times
from api.paths import Fault, Path, duplicate, invalid, required
from api.types import Job
from apiserver.rules.validation import indexes
from apiserver.rules.validation.values import Faults, nonnegative

STATUS = Path("status")
CONDITIONS = STATUS.child("conditions")


def updated(new: Job, old: Job) -> Faults:
    yield from _counts(new, old)
    yield from _conditions(new, old)
    yield from _times(new, old)
    yield from _finished(new, old)
    yield from _indexes(new, old)


def _condition(why: str) -> Fault:
    return Fault("FieldValueInvalid", str(CONDITIONS), f"Invalid value: {why}")


def _is(type_: str) -> Callable[[Job], bool]:
    return lambda job: meta.is_true(job, type_)


complete, failed = _is("Complete"), _is("Failed")
met, doomed = _is("SuccessCriteriaMet"), _is("FailureTarget")


def _is_finished(job: Job) -> bool:
    return complete(job) or failed(job)


def _counts(new: Job, old: Job) -> Faults:
    status = new.status
    for name in ("active", "succeeded", "failed", "ready", "terminating"):
        yield from nonnegative(STATUS.child(name), getattr(status, name))
    if status.uncountedTerminatedPods is not None:
        seen: set[str] = set()
        for name in ("succeeded", "failed"):
            at = STATUS.child("uncountedTerminatedPods", name)
            yield from _uids(at, getattr(status.uncountedTerminatedPods, name), seen)
    if status.ready is not None and status.ready > status.active and _changed(new, old, "ready", "active"):
        yield invalid(STATUS.child("ready"), status.ready, "cannot set more ready pods than active")
    if status.failed < old.status.failed:
        yield invalid(STATUS.child("failed"), status.failed, "cannot decrease the failed counter")
    # A job that has as many indexes as pods at a time may be made smaller.
    elastic = new.spec.completionMode == "Indexed" and new.spec.completions == new.spec.parallelism
    if status.succeeded < old.status.succeeded and not elastic:
        yield invalid(STATUS.child("succeeded"), status.succeeded, "cannot decrease the succeeded counter")


def _uids(path: Path, uids: Iterable[str], seen: set[str]) -> Iterator[Fault]:
    for i, uid in enumerate(uids):
        if not uid:
            yield invalid(path.index(i), uid, "must not be empty")
        elif uid in seen:
            yield duplicate(path.index(i), uid)
        seen.add(uid)


def _conditions(new: Job, old: Job) -> Faults:
    if _turned(new, old, complete, failed) and complete(new) and failed(new):
        yield _condition("cannot set Complete=True and Failed=true conditions")
    if _turned(new, old, complete, doomed) and complete(new) and doomed(new):
        yield _condition("cannot set Complete=True and FailureTarget=true conditions")
    if _turned(new, old, failed, doomed) and failed(new) and not doomed(new):
        yield _condition("cannot set Failed=True condition without the FailureTarget=true condition")
    if _turned(new, old, complete, met) and complete(new) and not met(new):
        yield _condition("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if met(new) and failed(new):
        yield _condition("cannot set SuccessCriteriaMet=True and Failed=true conditions")
    if met(new) and doomed(new):
        yield _condition("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    for name, holds in (("Failed", failed), ("Complete", complete), ("FailureTarget", doomed)):
        if holds(old) and not holds(new):
            yield _condition(f"cannot disable the terminal {name}=True condition")
    if met(old) and not met(new):
        yield _condition("cannot disable the SuccessCriteriaMet=True condition")
    if complete(old) and not met(old) and met(new):
        yield _condition("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")


def _times(new: Job, old: Job) -> Faults:
    started, ended = new.status.startTime, new.status.completionTime
    at = STATUS.child("completionTime")
    if _turned(new, old, complete) or _changed(new, old, "completionTime"):
        if ended and not complete(new):
            yield invalid(at, ended, "cannot set completionTime when there is no Complete=True condition")
        if not ended and complete(new):
            yield required(at, "completionTime is required for Complete jobs")
    backwards = bool(started and ended) and times.parse(ended) < times.parse(started)
    if backwards and _changed(new, old, "startTime", "completionTime"):
        yield invalid(at, ended, "completionTime cannot be set before startTime")
    if ended and old.status.completionTime and _changed(new, old, "completionTime"):
        yield invalid(at, ended, "field is immutable")
    # The time begins anew when a job is resumed.
    resumed = meta.is_true(old, "Suspended") and not meta.is_true(new, "Suspended")
    if old.status.startTime and _changed(new, old, "startTime") and not new.spec.suspend and not resumed:
        yield invalid(STATUS.child("startTime"), started or None, "field is immutable for unsuspended job once set")


def _finished(new: Job, old: Job) -> Faults:
    if not _is_finished(new):
        return
    status, ended = new.status, _turned(new, old, _is_finished)
    if status.active and (ended or _changed(new, old, "active")):
        yield invalid(STATUS.child("active"), status.active, "active>0 is invalid for finished job")
    if status.terminating and (ended or _changed(new, old, "terminating")):
        yield invalid(STATUS.child("terminating"), status.terminating, "terminating>0 is invalid for finished job")
    never_ran = new.spec.suspend and new.spec.completions == 0
    if not status.startTime and not never_ran and (ended or _changed(new, old, "startTime")):
        yield required(STATUS.child("startTime"), "startTime is required for finished job")
    uncounted = status.uncountedTerminatedPods
    left = uncounted is not None and bool(uncounted.succeeded or uncounted.failed)
    if left and (ended or _changed(new, old, "uncountedTerminatedPods")):
        at = STATUS.child("uncountedTerminatedPods")
        yield invalid(at, meta.tree(uncounted), "uncountedTerminatedPods needs to be empty for finished job")


def _indexes(new: Job, old: Job) -> Faults:
    spec, status = new.spec, new.status
    parsed: dict[str, list[tuple[int, int]]] = {}
    for name in ("completedIndexes", "failedIndexes"):
        text = getattr(status, name)
        try:
            parsed[name] = indexes.parse(text, spec.completions or 0) if spec.completions is not None else []
        except ValueError as e:
            if _changed(new, old, name):
                yield invalid(STATUS.child(name), text, f"error parsing {name}: {e}")
    if status.completedIndexes and spec.completionMode != "Indexed" and _changed(new, old, "completedIndexes"):
        why = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield invalid(STATUS.child("completedIndexes"), status.completedIndexes, why)
    if status.failedIndexes and spec.backoffLimitPerIndex is None and _changed(new, old, "failedIndexes"):
        why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield invalid(STATUS.child("failedIndexes"), status.failedIndexes, why)
    common = indexes.overlap(parsed.get("completedIndexes", []), parsed.get("failedIndexes", []))
    if common is not None and _changed(new, old, "completedIndexes", "failedIndexes"):
        why = f"failedIndexes and completedIndexes overlap at index: {common}"
        yield invalid(STATUS.child("failedIndexes"), status.failedIndexes, why)


def _changed(new: Job, old: Job, *names: str) -> bool:
    return any(getattr(new.status, name) != getattr(old.status, name) for name in names)


def _turned(new: Job, old: Job, *holds: Callable[[Any], bool]) -> bool:
    return any(test(new) != test(old) for test in holds)
