"""Whether and when a container that has ended is started again.

The back-off needs no memory: each instance carries, as a label, how long to wait after its own end.  The first restart
is immediate, the following ones wait 10 s, 20 s, 40 s … 300 s; ten minutes of running start the count again.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from collections.abc import Iterable

from api.restart_rules import RESTART_ALL, follows, may_restart_all, rule_for, ruled
from api.types import Container, Pod
from kubelet.runtime.interfaces import Record

FIRST = 10.0
LONGEST = 300.0
FORGIVEN_AFTER = 600.0


def wanted(pod: Pod, container: Container, record: Record | None, *, init: bool = False) -> bool:
    """Must an instance be started, given the newest one?"""
    if record is None:
        return True
    if not record.ended:
        return not record.running
    if record.again:
        return True
    code = exit_code(record)
    if init and not is_sidecar(container) and code == 0:
        return False
    return follows(pod, container, code)


def is_sidecar(container: Container) -> bool:
    """An init container that keeps running beside the others.
    https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
    """
    return container.restartPolicy == "Always"


# Restarting all containers: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-all-containers


def round_of(pod: Pod, records: Iterable[Record]) -> int:
    """How often all containers were to start anew.  Whatever belongs to an earlier round is out of date.

    Each instance carries the round that it was made in as a label, and one whose end asks for all of them begins the
    next.  So nothing is remembered, and an instance that was made while nobody had yet seen that end is told by it.
    """
    if not may_restart_all(pod):
        return 0
    seen = [r for r in records if not r.is_pause]
    sources = {c.name: c for c in ruled(pod)}
    return max((r.round + _asks(pod, sources.get(r.name), r, seen) for r in seen), default=0)


def _asks(pod: Pod, container: Container | None, record: Record, seen: list[Record]) -> bool:
    if container is None or not record.ended:
        return False
    rule = rule_for(container, exit_code(record))
    if rule is None or rule.action != RESTART_ALL:
        return False
    # A sidecar that ends after the pod's own work is done is no reason to begin it again.
    return container not in pod.spec.initContainers or not _was_over(pod, record, seen)


def _was_over(pod: Pod, record: Record, seen: list[Record]) -> bool:
    """Whether in that round every regular container had ended for good before this one did."""
    for container in pod.spec.containers:
        mine = [r for r in seen if r.name == container.name and r.round >= record.round]
        last = max(mine, key=lambda r: r.attempt, default=None)
        if last is None or wanted(pod, container, last) or not last.ended or last.finished_at > record.finished_at:
            return False
    return True


def exit_code(record: Record) -> int:
    """128 stands for a container that could not be started: it failed, though the engine may say 0."""
    return record.exit_code or (128 if record.error and not record.started_at else 0)


def delay(record: Record, now: float) -> float:
    """Seconds until it may be started again."""
    if _ran(record) >= FORGIVEN_AFTER:
        return 0.0
    # The engine's clock may be ahead of ours, and nothing waits longer for that.
    return min(record.backoff, max(0.0, (record.finished_at or record.created_at) + record.backoff - now))


def next_backoff(previous: Record | None) -> float:
    """The label of an instance that follows `previous`."""
    if previous is None:
        return 0.0
    if previous.backoff == 0 or _ran(previous) >= FORGIVEN_AFTER:
        return FIRST
    return min(LONGEST, 2 * previous.backoff)


def message(pod: Pod, container: str, record: Record) -> str:
    meta = pod.metadata
    return (
        f"back-off {duration(record.backoff)} restarting failed container={container} "
        f"pod={meta.name}_{meta.namespace}({meta.uid})"
    )


def duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def milliseconds(seconds: float) -> str:
    """As Go prints it, cut to milliseconds: 0s, 850ms, 1.2s, 1m2.5s."""
    whole = int(seconds * 1000)
    if whole < 1000:
        return f"{whole}ms" if whole else "0s"
    minutes, rest = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{start}{rest / 1000:g}s"


def _ran(record: Record) -> float:
    return record.finished_at - record.started_at if record.started_at and record.finished_at else 0.0
