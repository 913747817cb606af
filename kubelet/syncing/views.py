"""One pod and everything that is known of it at one moment: the input of every decision."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from api.types import Container, Pod, PodCondition
from kubelet.runtime.interfaces import SANDBOX, Record
from kubelet.syncing import restarts
from kubelet.syncing.restarts import is_sidecar


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one running container say.  Without a readiness or startup probe the answer is yes."""

    ready: bool = True
    started: bool = True
    failed: str = ""  # "liveness" or "startup" once that probe has failed for good


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the last try to start a container came to nothing, and when the next one is due.

    A pull that failed shows as `reason` at first and as `later_reason` while it waits (ErrImagePull, ImagePullBackOff).
    """

    reason: str
    message: str
    since: float
    retry_at: float
    later_reason: str = ""
    later_message: str = ""

    LATER = 2.0  # seconds after which the second pair is shown

    def holds(self, now: float) -> bool:
        """Whether it is too early for another try.  A clock that was set back, to before the fault, says nothing."""
        return self.since <= now < self.retry_at

    def shown(self, now: float) -> tuple[str, str]:
        if self.later_reason and now >= self.since + self.LATER:
            return self.later_reason, self.later_message
        return self.reason, self.message

    def next_change(self, now: float) -> float:
        """When there is something new to show or to do."""
        later = self.since + self.LATER
        return later if self.later_reason and now < later else self.retry_at


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`records` holds every container labelled with the pod's uid, in any order."""

    pod: Pod
    now: float
    records: tuple[Record, ...] = ()
    health: Mapping[str, Health] = field(default_factory=dict)  # by container id
    faults: Mapping[str, Fault] = field(default_factory=dict)  # by container name
    hashes: Mapping[str, str] = field(default_factory=dict)  # of the container specs, by container name
    host_ip: str = ""
    address: str = ""  # of the pod; "" while it has none
    stopping: bool = False  # the pod must end, whatever its object says (deleted, evicted, past its deadline)
    refusal: tuple[str, str] | None = None  # (reason, message) with which the pod has failed as a whole
    rejected: bool = False  # it was not let in, so nothing of it ever ran
    ending: frozenset[str] = frozenset()  # ids of containers that are being killed
    recursive_read_only: bool = False  # the engine can make read-only what is mounted below a mount
    resizing: tuple[PodCondition, ...] = ()  # what holds a resize up
    disruptions: tuple[PodCondition, ...] = ()  # why the kubelet ends the pod, where that is worth a condition
    restarts: frozenset[str] = frozenset()  # names of containers that a resize restarts

    @property
    def terminating(self) -> bool:
        return self.stopping or bool(self.pod.metadata.deletionTimestamp) or self.refusal is not None

    def sandboxes(self) -> list[Record]:
        return sandboxes(self.records)

    def sandbox(self) -> Record | None:
        """The running sandbox with the highest attempt, if it is alive and has an address."""
        newest = next(iter(self.sandboxes()), None)
        return newest if newest is not None and newest.running and newest.id not in self.ending else None

    def history(self, name: str) -> list[Record]:
        """All instances of a container, the newest first."""
        return sorted((r for r in self.records if not r.is_pause and r.name == name), key=_age, reverse=True)

    def newest(self, name: str) -> Record | None:
        return next(iter(self.history(name)), None)

    def current(self, name: str, sandbox: Record) -> Record | None:
        """The newest instance, if it belongs to this sandbox and round; those of earlier ones are only history."""
        record = self.newest(name)
        if record is None or record.labels.get(SANDBOX) != sandbox.id or self.outdated(record):
            return None
        return record

    @property
    def round(self) -> int:
        return restarts.round_of(self.pod, self.records)

    def outdated(self, record: Record) -> bool:
        """It is of an earlier round, so another instance must take its place."""
        return record.round < self.round and not any(e.name == record.name for e in self.pod.spec.ephemeralContainers)

    def wanted(self, container: Container, record: Record | None, *, init: bool = False) -> bool:
        """Must an instance be started, given the newest one?"""
        if record is not None and record.ended and self.outdated(record):
            return True
        return restarts.wanted(self.pod, container, record, init=init)

    def renews(self, container: Container) -> bool:
        """The newest instance is out of date, whatever it ended with."""
        newest = self.newest(container.name)
        return newest is not None and self.outdated(newest)

    @property
    def restarting(self) -> bool:
        """All containers are to start anew, and some are still what they were."""
        return any(r.running and self.outdated(r) for r in self.records if not r.is_pause)

    def health_of(self, record: Record) -> Health:
        return self.health.get(record.id, Health())


def sandboxes(records: Iterable[Record]) -> list[Record]:
    """Pause containers, the newest first."""
    return sorted((r for r in records if r.is_pause), key=_age, reverse=True)


def _age(record: Record) -> tuple[int, float]:
    return record.attempt, record.created_at


def sidecars(pod: Pod) -> list[Container]:
    return [c for c in pod.spec.initContainers if is_sidecar(c)]


def debugging(pod: Pod) -> list[Container]:
    """The ephemeral containers, as containers: their fields are the same ones and one more."""
    return [Container(**{f: getattr(e, f) for f in Container.__struct_fields__}) for e in pod.spec.ephemeralContainers]


def all_running(records: Iterable[Record]) -> list[Record]:
    return [r for r in records if r.running and not r.is_pause]
