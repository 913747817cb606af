"""How fast a number of replicas may change, and how long it must have been wanted. Pure.

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#configurable-scaling-behavior
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from api.types import HorizontalPodAutoscalerSpec, HPAScalingPolicy, HPAScalingRules

STABILIZATION_SECONDS = 300
LONGEST_PERIOD = 3600.0
# Without `behavior` there are no policies: in one step the number may double, or become this one.
LEAST_HIGHEST = 4


class Wanted(NamedTuple):
    replicas: int
    time: float


class Change(NamedTuple):
    by: int
    time: float


class Limited(NamedTuple):
    replicas: int
    reason: str
    message: str
    """Of the condition ScalingLimited (or of AbleToScale, where a recommendation had to wait)."""


WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_FAST_UP = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
TOO_FAST_DOWN = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")

UP = HPAScalingRules(
    stabilizationWindowSeconds=0, selectPolicy="Max",
    policies=[
        HPAScalingPolicy(type="Pods", value=4, periodSeconds=15),
        HPAScalingPolicy(type="Percent", value=100, periodSeconds=15),
    ],
)  # fmt: skip
DOWN = HPAScalingRules(
    stabilizationWindowSeconds=STABILIZATION_SECONDS, selectPolicy="Max",
    policies=[HPAScalingPolicy(type="Percent", value=100, periodSeconds=15)],
)  # fmt: skip


def rules(spec: HorizontalPodAutoscalerSpec) -> tuple[HPAScalingRules, HPAScalingRules]:
    """(up, down), with upstream's defaults in the place of what is not said; without policies if nothing is."""
    behavior = spec.behavior
    if behavior is None:
        return replace(UP, policies=[]), replace(DOWN, policies=[])
    return _filled(behavior.scaleUp, UP), _filled(behavior.scaleDown, DOWN)


def _filled(given: HPAScalingRules | None, default: HPAScalingRules) -> HPAScalingRules:
    if given is None:
        return default
    window = given.stabilizationWindowSeconds
    return HPAScalingRules(
        stabilizationWindowSeconds=default.stabilizationWindowSeconds if window is None else window,
        selectPolicy=given.selectPolicy or default.selectPolicy,
        policies=given.policies or default.policies,
        tolerance=given.tolerance,
    )


@dataclass(slots=True)
class Memory:
    """What one autoscaler wanted and did in the last hour."""

    wanted: deque[Wanted] = field(default_factory=deque)
    ups: deque[Change] = field(default_factory=deque)
    downs: deque[Change] = field(default_factory=deque)

    def begin(self, replicas: int, now: float) -> None:
        """So many there are. When that is seen first, it counts as wanted: nobody knows what was wanted before."""
        if not self.wanted:
            self.wanted.append(Wanted(replicas, now))

    def stabilized(
        self, current: int, desired: int, up: HPAScalingRules, down: HPAScalingRules, now: float
    ) -> tuple[int, str]:
        """What all recommendations of the windows agree on, and the reason of AbleToScale if that is something else."""
        self.wanted.append(Wanted(desired, now))
        while self.wanted and self.wanted[0].time < now - LONGEST_PERIOD:
            self.wanted.popleft()
        up_window, down_window = up.stabilizationWindowSeconds or 0, down.stabilizationWindowSeconds or 0
        lowest = min([w.replicas for w in self.wanted if w.time > now - up_window] or [desired])
        highest = max([w.replicas for w in self.wanted if w.time > now - down_window] or [desired])
        found = current
        if found < min(desired, lowest):
            found = min(desired, lowest)
        if found > max(desired, highest):
            found = max(desired, highest)
        if found == desired:
            return found, ""
        return found, "ScaleUpStabilized" if desired > found else "ScaleDownStabilized"

    def did(self, before: int, after: int, now: float) -> None:
        changes = self.ups if after > before else self.downs
        changes.append(Change(abs(after - before), now))
        while changes and changes[0].time < now - LONGEST_PERIOD:
            changes.popleft()

    def limited(
        self, current: int, desired: int, least: int, most: int, up: HPAScalingRules, down: HPAScalingRules, now: float
    ) -> Limited:
        """The step from `current` towards `desired` that the policies and the bounds allow."""
        if desired > current:
            limit = self._highest(current, up, now)
            limit = max(limit, current)
            if desired > min(limit, most):
                return Limited(most, *TOO_MANY) if most <= limit else Limited(limit, *TOO_FAST_UP)
        elif desired < current:
            limit = min(self._lowest(current, down, now), current)
            if desired < max(limit, least):
                return Limited(least, *TOO_FEW) if least >= limit else Limited(limit, *TOO_FAST_DOWN)
        return Limited(desired, *WITHIN)

    def _highest(self, current: int, up: HPAScalingRules, now: float) -> int:
        if not up.policies:
            return max(2 * current, LEAST_HIGHEST)
        limits = []
        for policy in up.policies:
            start = current - _sum(self.ups, now - policy.periodSeconds) + _sum(self.downs, now - policy.periodSeconds)
            if policy.type == "Pods":
                limits.append(start + policy.value)
            else:
                limits.append(math.ceil(start * (1 + policy.value / 100)))
        return _selected(up.selectPolicy, limits, current, highest=True)

    def _lowest(self, current: int, down: HPAScalingRules, now: float) -> int:
        if not down.policies:
            return 0
        limits = []
        for policy in down.policies:
            start = current + _sum(self.downs, now - policy.periodSeconds) - _sum(self.ups, now - policy.periodSeconds)
            if policy.type == "Pods":
                limits.append(start - policy.value)
            else:
                limits.append(int(start * (1 - policy.value / 100)))
        return _selected(down.selectPolicy, limits, current, highest=False)


def _selected(policy: str, limits: list[int], current: int, *, highest: bool) -> int:
    """Of the policies' limits the one that lets the most happen (Max) or the least (Min)."""
    if policy == "Disabled":
        return current
    return max(limits) if (policy == "Max") == highest else min(limits)


def _sum(changes: Iterable[Change], since: float) -> int:
    return sum(c.by for c in changes if c.time > since)
