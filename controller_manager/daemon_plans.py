"""What a daemon set does next. Pure.

https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/ . First every node gets what it should have (`tidy`);
only when nothing is left to do there, an update goes on (`roll`). Without surge an old pod is deleted and the tidying
makes the new one; with surge the new one is made beside the old, which goes when the new one is available.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from api import times
from api.types import DaemonSet, DaemonSetStatus, Pod
from controller_manager import placements
from controller_manager.placements import Verdict
from controller_manager.pods import is_finished, is_ready, is_terminating, seconds_to_available
from controller_manager.rollouts import scaled

HASH_LABEL = "controller-revision-hash"


@dataclass(slots=True)
class Plan:
    """The next step."""

    create: list[str] = field(default_factory=list)
    """Names of nodes."""
    delete: list[Pod] = field(default_factory=list)
    replace: list[tuple[str, Pod]] = field(default_factory=list)
    """Pods that have ended, with their nodes."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """A daemon set and everything that the next step depends on."""

    set: DaemonSet
    hash: str
    """The label of the pods of the present template."""
    verdicts: Mapping[str, Verdict]
    """Of every node there is."""
    pods: Mapping[str, Sequence[Pod]]
    """By node, the one that counts first; without those that have ended and are being deleted."""
    now: float

    @property
    def desired(self) -> int:
        return sum(v.runs for v in self.verdicts.values())

    def available(self, pod: Pod) -> bool:
        return seconds_to_available(pod, self.set.spec.minReadySeconds or 0, self.now) == 0

    def is_new(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(HASH_LABEL) == self.hash


def by_node(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    """Bound pods before others, then the oldest."""
    found: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=lambda p: (not p.spec.nodeName, _created(p), p.metadata.name)):
        if not (is_finished(pod) and is_terminating(pod)):
            found.setdefault(placements.target(pod), []).append(pod)
    return found


def _created(pod: Pod) -> float:
    return times.parse(pod.metadata.creationTimestamp) if pod.metadata.creationTimestamp else 0.0


def _fences(fleet: Fleet) -> tuple[int, int]:
    """(maxSurge, maxUnavailable), both rounded up, never both 0."""
    rolling, desired = fleet.set.spec.updateStrategy.rollingUpdate, fleet.desired
    if fleet.set.spec.updateStrategy.type != "RollingUpdate" or rolling is None:
        return 0, 1
    surge = scaled(rolling.maxSurge, desired, up=True)
    unavailable = scaled(rolling.maxUnavailable, desired, up=True)
    return (surge, unavailable) if surge or unavailable else (0, 1)


# What every node should have


def tidy(fleet: Fleet) -> Plan:
    made = Plan()
    for node, (runs, stays) in fleet.verdicts.items():
        pods = fleet.pods.get(node, ())
        living = [p for p in pods if not is_terminating(p)]
        if runs and not pods:
            made.create.append(node)
        elif stays:
            made.replace += [(node, p) for p in living if is_finished(p)]
            made.delete += _surplus(fleet, [p for p in living if not is_finished(p)])
        else:
            made.delete += living
    for node, pods in fleet.pods.items():
        if node not in fleet.verdicts:  # those that are bound there are the pod garbage collector's
            made.delete += [p for p in pods if not p.spec.nodeName and not is_terminating(p)]
    return made


def _surplus(fleet: Fleet, pods: Sequence[Pod]) -> list[Pod]:
    """All but one; while surging, all but one new pod and the ready old one that it is to relieve."""
    if len(pods) < 2:
        return []
    if not _fences(fleet)[0]:
        return [*pods[1:]]
    new, old = ([p for p in pods if fleet.is_new(p) is wanted] for wanted in (True, False))
    relieved = bool(new and old) and (not is_ready(old[0]) or fleet.available(new[0]))
    return [*new[1:], *old[0 if relieved else 1 :]]


# Updates


def roll(fleet: Fleet) -> Plan:
    """The next step of a rolling update, when there is nothing to tidy."""
    if fleet.set.spec.updateStrategy.type != "RollingUpdate":
        return Plan()
    surge, unavailable = _fences(fleet)
    return _surge(fleet, surge) if surge else _replace(fleet, unavailable)


def _living(fleet: Fleet) -> Iterable[tuple[str, list[Pod], list[Pod]]]:
    """Each node that has or should have a pod, with its new and its old ones."""
    wanted = {node for node, verdict in fleet.verdicts.items() if verdict.runs}
    for node in sorted(wanted | set(fleet.pods)):
        pods = [p for p in fleet.pods.get(node, ()) if not is_terminating(p)]
        yield node, [p for p in pods if fleet.is_new(p)], [p for p in pods if not fleet.is_new(p)]


def _replace(fleet: Fleet, limit: int) -> Plan:
    made, candidates, down = Plan(), [], 0
    for _, new, old in _living(fleet):
        if len(new) + len(old) != 1:
            down += 1
        elif new:
            down += not fleet.available(new[0])
        elif fleet.available(old[0]):
            candidates.append(old[0])
        else:
            made.delete.append(old[0])  # it serves nobody: nothing is lost
    made.delete += candidates[: max(0, limit - down)]
    return made


def _surge(fleet: Fleet, limit: int) -> Plan:
    made, candidates, surging = Plan(), [], 0
    for node, new, old in _living(fleet):
        if not old:
            continue
        if len(new) > 1 or len(old) > 1:
            surging += 1
        elif new and fleet.available(new[0]):
            made.delete.append(old[0])
        elif new:
            surging += 1
        elif not fleet.verdicts.get(node, Verdict(False, False)).runs:
            continue
        elif fleet.available(old[0]):
            candidates.append(node)
        else:
            made.create.append(node)
    made.create += candidates[: max(0, limit - surging)]
    return made


# Status


def status(fleet: Fleet, observed: int, collisions: int | None) -> DaemonSetStatus:
    found = DaemonSetStatus(
        observedGeneration=observed, collisionCount=collisions, conditions=fleet.set.status.conditions,
        currentNumberScheduled=0, desiredNumberScheduled=0, numberMisscheduled=0, numberReady=0,
    )  # fmt: skip
    for node, verdict in fleet.verdicts.items():
        pods = fleet.pods.get(node, ())
        if not verdict.runs:
            found.numberMisscheduled += bool(pods)
            continue
        found.desiredNumberScheduled += 1
        if pods:
            found.currentNumberScheduled += 1
            found.numberReady += is_ready(pods[0])
            found.numberAvailable += fleet.available(pods[0])
            found.updatedNumberScheduled += fleet.is_new(pods[0])
    found.numberUnavailable = found.desiredNumberScheduled - found.numberAvailable
    return found


def next_look(fleet: Fleet) -> float | None:
    """Seconds until one more pod will have been ready for minReadySeconds."""
    least = fleet.set.spec.minReadySeconds or 0
    waits = (seconds_to_available(p, least, fleet.now) for pods in fleet.pods.values() for p in pods)
    return min((w for w in waits if w), default=None)
