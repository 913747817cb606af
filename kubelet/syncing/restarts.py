"""Whether and when a container that has ended is started again.

The back-off needs no memory: each instance carries, as a label, how long to wait after its own end.  The first restart
is immediate, the following ones wait 10 s, 20 s, 40 s … 300 s; ten minutes of running start the count again.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
"""

from api.types import Container, ContainerRestartRule, Pod
from kubelet.runtime.interfaces import Record
from kubelet.syncing.views import is_sidecar

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
    if init and not is_sidecar(container):
        return exit_code(record) != 0 and pod.spec.restartPolicy != "Never"
    if container.restartPolicy and any(_applies(rule, exit_code(record)) for rule in container.restartPolicyRules):
        return True
    match container.restartPolicy or pod.spec.restartPolicy:
        case "Never":
            return False
        case "OnFailure":
            return exit_code(record) != 0
        case _:
            return True


def exit_code(record: Record) -> int:
    """128 stands for a container that could not be started: it failed, though the engine may say 0."""
    return record.exit_code or (128 if record.error and not record.started_at else 0)


def delay(record: Record, now: float) -> float:
    """Seconds until it may be started again."""
    if _ran(record) >= FORGIVEN_AFTER:
        return 0.0
    return max(0.0, (record.finished_at or record.created_at) + record.backoff - now)


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


def _applies(rule: ContainerRestartRule, code: int) -> bool:
    codes = rule.exitCodes
    if codes is None or rule.action != "Restart":
        return False
    return (code in codes.values) == (codes.operator == "In")
