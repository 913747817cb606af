"""How many replicas a metric asks for. Pure.

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#algorithm-details . Pods that
cannot be judged are assumed to need what speaks against the change: nothing if it would grow, all if it would shrink.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from api import meta, quantities, times
from api.types import Container, Pod

CPU = "cpu"
INITIALIZATION_SECONDS = 300.0
READINESS_DELAY_SECONDS = 30.0


class NoMetric(Exception):
    """The metric says nothing now; the message says why, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a pod used: thousandths of a unit, over a window of seconds that ended at `time` (epoch)."""

    value: int
    time: float = 0.0
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far from the target nothing is done, below it and above it."""

    down: float = 0.1
    up: float = 0.1

    def hold(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Answer:
    replicas: int
    utilization: int = 0
    """Per cent of what was requested; 0 for targets that are amounts."""
    average: int = 0
    """Thousandths of a unit for each pod."""


@dataclass(slots=True)
class _Groups:
    ready: int
    unready: set[str]
    missing: set[str]
    ignored: set[str]


def by_utilization(
    current: int, target: int, resource: str, samples: Mapping[str, Sample], pods: Iterable[Pod], container: str,
    now: float, tolerances: Tolerances,
) -> Answer:  # fmt: skip
    """For a target in per cent of the requests. `container` "" is the whole pod.  Raises NoMetric."""
    pods = list(pods)
    requests = {p.metadata.name: _requested(p, resource, container) for p in pods}

    def ratio_of(used: Mapping[str, int]) -> tuple[float, int, int]:
        total = sum(requests[name] for name in used)
        if not total:
            raise NoMetric("no metrics returned matched known pods")
        utilization = sum(used.values()) * 100 // total
        return utilization / target, utilization, sum(used.values()) // len(used)

    # A pod without a sample is assumed to use all of its request, or the target if that is more.
    full = {name: amount * max(100, target) // 100 for name, amount in requests.items()}
    return _decide(current, resource, samples, pods, now, tolerances, ratio_of, full)


def by_average(
    current: int, target: int, resource: str, samples: Mapping[str, Sample], pods: Iterable[Pod],
    now: float, tolerances: Tolerances,
) -> Answer:  # fmt: skip
    """For a target that is an amount for each pod, in thousandths.  Raises NoMetric."""
    pods = list(pods)

    def ratio_of(used: Mapping[str, int]) -> tuple[float, int, int]:
        average = sum(used.values()) // len(used)
        return average / target, 0, average

    full = {p.metadata.name: target for p in pods}
    return _decide(current, resource, samples, pods, now, tolerances, ratio_of, full)


def _decide(
    current: int, resource: str, samples: Mapping[str, Sample], pods: list[Pod], now: float, tolerances: Tolerances,
    ratio_of: Callable[[Mapping[str, int]], tuple[float, int, int]], full: Mapping[str, int],
) -> Answer:  # fmt: skip
    if not pods:
        raise NoMetric("no pods returned by selector while calculating replica count")
    groups = _grouped(pods, samples, resource, now)
    names = {p.metadata.name for p in pods}
    used = {
        name: s.value
        for name, s in samples.items()
        if name in names and name not in groups.ignored and name not in groups.unready
    }
    if not used:
        raise NoMetric("did not receive metrics for targeted pods (pods might be unready)")
    ratio, utilization, average = ratio_of(used)
    warming = bool(groups.unready) and ratio > 1.0
    if not warming and not groups.missing:
        replicas = current if tolerances.hold(ratio) else math.ceil(ratio * groups.ready)
        return Answer(replicas, utilization, average)
    assumed = dict(used)
    if ratio < 1.0:
        assumed |= {name: full[name] for name in groups.missing}
    elif ratio > 1.0:
        assumed |= dict.fromkeys(groups.missing, 0)
    if warming:
        assumed |= dict.fromkeys(groups.unready, 0)
    again, *_ = ratio_of(assumed)
    replicas = math.ceil(again * len(assumed))
    turned = (ratio < 1.0 < again) or (again < 1.0 < ratio)
    contrary = (again < 1.0 and replicas > current) or (again > 1.0 and replicas < current)
    if tolerances.hold(again) or turned or contrary:
        replicas = current
    return Answer(replicas, utilization, average)


def _grouped(pods: Iterable[Pod], samples: Mapping[str, Sample], resource: str, now: float) -> _Groups:
    groups = _Groups(0, set(), set(), set())
    for pod in pods:
        name = pod.metadata.name
        if pod.metadata.deletionTimestamp or pod.status.phase in ("Failed", "Succeeded"):
            groups.ignored.add(name)
        elif pod.status.phase == "Pending":
            groups.unready.add(name)
        elif name not in samples:
            groups.missing.add(name)
        elif resource == CPU and _warms_up(pod, samples[name], now):
            groups.unready.add(name)
        else:
            groups.ready += 1
    return groups


def _warms_up(pod: Pod, sample: Sample, now: float) -> bool:
    """Whether its processor time tells of its start rather than of its work."""
    ready = meta.condition(pod, "Ready")
    if ready is None or not pod.status.startTime:
        return True
    start, since = times.parse(pod.status.startTime), times.parse(ready.lastTransitionTime)
    if start + INITIALIZATION_SECONDS > now:
        return bool(ready.status == "False" or sample.time < since + sample.window)
    return bool(ready.status == "False" and start + READINESS_DELAY_SECONDS > since)


def _requested(pod: Pod, resource: str, container: str) -> int:
    """In thousandths.  Raises NoMetric for a container that requests nothing."""
    found = [c for c in _long_running(pod) if not container or c.name == container]
    if container and not found:
        raise NoMetric(f"container {container} not found in Pod {pod.metadata.name}")
    total = 0
    for each in found:
        amount = each.resources.requests.get(resource)
        if amount is None:
            raise NoMetric(f"missing request for {resource} in container {each.name} of Pod {pod.metadata.name}")
        total += quantities.milli(amount)
    return total


def _long_running(pod: Pod) -> list[Container]:
    return pod.spec.containers + [c for c in pod.spec.initContainers if c.restartPolicy == "Always"]
