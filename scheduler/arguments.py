"""What a profile's plug-ins are told (`pluginConfig`): read, checked in upstream's words, and applied to the profile.

https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/
"""

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
from msgspec import Struct, field

from api.labels import EVERYTHING
from api.names import qualified_name_faults
from api.paths import Fault, Path, duplicate, forbidden, invalid, not_supported, required
from api.types import NodeAffinity, TopologySpreadConstraint
from machinery.flags import duration
from scheduler import filters, inter_pod_affinity, scores
from scheduler.profiles import Profile
from scheduler.resources import CPU, MEMORY
from scheduler.scores import Strategy
from scheduler.wishes import SYSTEM_SPREADS, Spread

API_VERSION = "kubescheduler.config.k8s.io/v1"
LEAST, MOST, RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"
SYSTEM, LIST = "System", "List"
Faults = Iterator[Fault]


class Resource(Struct, forbid_unknown_fields=True):
    name: str
    weight: int = 1


class Point(Struct, forbid_unknown_fields=True):
    utilization: int = 0
    score: int = 0


class Ratio(Struct, forbid_unknown_fields=True):
    shape: list[Point] = []


class ScoringStrategy(Struct, forbid_unknown_fields=True):
    type: str = LEAST
    resources: list[Resource] = []
    requestedToCapacityRatio: Ratio | None = None


class Arguments(Struct, forbid_unknown_fields=True):
    """Of one plug-in."""

    plugin: ClassVar[str]
    apiVersion: str = API_VERSION
    kind: str = ""

    def faults(self, path: Path) -> Faults:
        yield from ()

    def applied(self, profile: Profile) -> Profile:
        return profile


class NodeResourcesFitArgs(Arguments):
    plugin = "NodeResourcesFit"
    ignoredResources: list[str] = []
    ignoredResourceGroups: list[str] = []
    scoringStrategy: ScoringStrategy = field(default_factory=ScoringStrategy)

    def faults(self, path: Path) -> Faults:
        for name in ("ignoredResources", "ignoredResourceGroups"):
            for at, given in enumerate(getattr(self, name)):
                here = path.child(name).index(at)
                if name == "ignoredResourceGroups" and "/" in given:
                    yield invalid(here, given, "resource group name can't contain '/'")
                yield from (invalid(here, given, why) for why in qualified_name_faults(given))
        strategy, here = self.scoringStrategy, path.child("scoringStrategy")
        if strategy.type not in (LEAST, MOST, RATIO):
            yield not_supported(here.child("type"), strategy.type, [LEAST, MOST, RATIO])
        for at, resource in enumerate(strategy.resources):
            if not 0 < resource.weight <= 100:
                why = f"resource weight of {resource.name} not in valid range (0, 100]"
                yield invalid(here.child("resources").index(at).child("weight"), resource.weight, why)
        ratio, place = strategy.requestedToCapacityRatio, here.child("requestedToCapacityRatio")
        if strategy.type != RATIO:
            if ratio is not None:
                yield forbidden(place, "must be nil when type is not RequestedToCapacityRatio")
        elif ratio is None:
            yield required(place, "must be specified when type is RequestedToCapacityRatio")
        else:
            yield from _shape_faults(ratio.shape, place.child("shape"))

    def applied(self, profile: Profile) -> Profile:
        given = self.scoringStrategy
        weights = {r.name: r.weight for r in given.resources} or {CPU: 1, MEMORY: 1}
        strategy: Strategy = scores.most_allocated if given.type == MOST else scores.least_allocated
        if given.type == RATIO and given.requestedToCapacityRatio is not None:
            strategy = scores.requested_to_capacity(
                [(p.utilization, p.score) for p in given.requestedToCapacityRatio.shape]
            )
        score = scores.allocation(strategy, weights, only_positive=given.type == RATIO)
        ignored = frozenset(self.ignoredResources), frozenset(self.ignoredResourceGroups)
        judging = filters.resources_fit(*ignored) if any(ignored) else filters.node_resources_fit
        return profile.with_filter(self.plugin, judging).with_score(self.plugin, score)


class NodeResourcesBalancedAllocationArgs(Arguments):
    plugin = "NodeResourcesBalancedAllocation"
    resources: list[Resource] = []

    def faults(self, path: Path) -> Faults:
        seen: set[str] = set()
        for at, resource in enumerate(self.resources):
            here = path.child("resources").index(at)
            if resource.name in seen:
                yield duplicate(here.child("name"), resource.name)
            seen.add(resource.name)
            if resource.weight != 1:
                yield invalid(here.child("weight"), resource.weight, "must be 1")

    def applied(self, profile: Profile) -> Profile:
        if not self.resources:
            return profile
        return profile.with_score(self.plugin, scores.balance([r.name for r in self.resources]))


class NodeAffinityArgs(Arguments):
    plugin = "NodeAffinity"
    addedAffinity: NodeAffinity | None = None

    def applied(self, profile: Profile) -> Profile:
        if self.addedAffinity is None:
            return profile
        added = self.addedAffinity
        judging, score = filters.node_selection_with(added), scores.node_preferences_with(added)
        return profile.with_filter(self.plugin, judging).with_score(self.plugin, score)


class InterPodAffinityArgs(Arguments):
    plugin = "InterPodAffinity"
    hardPodAffinityWeight: int = inter_pod_affinity.HARD_WEIGHT
    ignorePreferredTermsOfExistingPods: bool = False

    def faults(self, path: Path) -> Faults:
        if not 0 <= self.hardPodAffinityWeight <= 100:
            where = path.child("hardPodAffinityWeight")
            yield invalid(where, self.hardPodAffinityWeight, "not in valid range [0, 100]")

    def applied(self, profile: Profile) -> Profile:
        score = inter_pod_affinity.scoring(
            self.hardPodAffinityWeight, only_asked=self.ignorePreferredTermsOfExistingPods
        )
        return profile.with_score(self.plugin, score)


class PodTopologySpreadArgs(Arguments):
    plugin = "PodTopologySpread"
    defaultConstraints: list[TopologySpreadConstraint] = []
    defaultingType: str = SYSTEM

    def faults(self, path: Path) -> Faults:
        given, here = self.defaultConstraints, path.child("defaultingType")
        if self.defaultingType not in (SYSTEM, LIST):
            yield not_supported(here, self.defaultingType, [SYSTEM, LIST])
        elif self.defaultingType == SYSTEM and given:
            yield invalid(here, self.defaultingType, "when .defaultConstraints are not empty")
        seen: set[tuple[str, str]] = set()
        for at, each in enumerate(given):
            yield from _constraint_faults(each, path.child("defaultConstraints").index(at), seen)

    def applied(self, profile: Profile) -> Profile:
        if self.defaultingType == SYSTEM:
            return replace(profile, spreads=SYSTEM_SPREADS)
        spreads = (
            Spread(EVERYTHING, c.topologyKey, c.maxSkew, required=c.whenUnsatisfiable != "ScheduleAnyway")
            for c in self.defaultConstraints
        )
        return replace(profile, spreads=tuple(spreads))


class VolumeBindingArgs(Arguments):
    plugin = "VolumeBinding"
    bindTimeoutSeconds: int = 600
    shape: list[Point] | None = None

    def faults(self, path: Path) -> Faults:
        if self.bindTimeoutSeconds < 0:
            why = "invalid BindTimeoutSeconds, should not be a negative value"
            yield invalid(path.child("bindTimeoutSeconds"), self.bindTimeoutSeconds, why)
        if self.shape is not None:
            why = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring"
            yield invalid(path.child("shape"), msgspec.to_builtins(self.shape), why)

    def applied(self, profile: Profile) -> Profile:
        return replace(profile, bind_seconds=float(self.bindTimeoutSeconds))


class DefaultPreemptionArgs(Arguments):
    plugin = "DefaultPreemption"
    minCandidateNodesPercentage: int = 10
    minCandidateNodesAbsolute: int = 100

    def faults(self, path: Path) -> Faults:
        names = "minCandidateNodesPercentage", "minCandidateNodesAbsolute"
        percent, absolute = self.minCandidateNodesPercentage, self.minCandidateNodesAbsolute
        if not 0 <= percent <= 100:
            yield invalid(path.child(names[0]), percent, "not in valid range [0, 100]")
        if absolute < 0:
            yield invalid(path.child(names[1]), absolute, "not in valid range [0, inf)")
        if percent == absolute == 0:
            for here, other in (names, names[::-1]):
                yield invalid(path.child(here), 0, f"cannot be zero at the same time as {other}")

    def applied(self, profile: Profile) -> Profile:
        percent, absolute = self.minCandidateNodesPercentage, self.minCandidateNodesAbsolute
        return replace(profile, candidates_percent=percent, candidates=absolute)


class DynamicResourcesArgs(Arguments):
    plugin = "DynamicResources"
    filterTimeout: str = ""
    bindingTimeout: str = ""

    def applied(self, profile: Profile) -> Profile:
        """Raises ValueError."""
        try:
            return replace(profile, device_seconds=duration(self.bindingTimeout)) if self.bindingTimeout else profile
        except ArgumentTypeError as e:
            raise ValueError(str(e)) from e


KINDS: tuple[type[Arguments], ...] = (
    NodeResourcesFitArgs, NodeResourcesBalancedAllocationArgs, NodeAffinityArgs, InterPodAffinityArgs,
    PodTopologySpreadArgs, VolumeBindingArgs, DefaultPreemptionArgs, DynamicResourcesArgs,
)  # fmt: skip
BY_PLUGIN: dict[str, Callable[[Any], Arguments]] = {k.plugin: lambda given, k=k: _read(given, k) for k in KINDS}  # type: ignore[misc]


def _read(given: Any, kind: type[Arguments]) -> Arguments:
    """Raises ValueError."""
    found = msgspec.convert(given, kind)
    if found.kind not in ("", kind.__name__):
        raise ValueError(f"args for plugin {kind.plugin} were not of type {kind.__name__}, got {found.kind}")
    return found


def _shape_faults(shape: list[Point], path: Path) -> Faults:
    if not shape:
        yield required(path, "at least one point must be specified")
    for at in range(1, len(shape)):
        if shape[at - 1].utilization >= shape[at].utilization:
            why = "values must be sorted in increasing order"
            yield invalid(path.index(at).child("utilization"), shape[at].utilization, why)
            break
    for at, point in enumerate(shape):
        if not 0 <= point.utilization <= 100:
            yield invalid(path.index(at).child("utilization"), point.utilization, "not in valid range [0, 100]")
        if not 0 <= point.score <= 10:
            yield invalid(path.index(at).child("score"), point.score, "not in valid range [0, 10]")


def _constraint_faults(given: TopologySpreadConstraint, path: Path, seen: set[tuple[str, str]]) -> Faults:
    if (given.maxSkew or 0) <= 0:
        yield invalid(path.child("maxSkew"), given.maxSkew or 0, "not in valid range (0, inf)")
    key, action = given.topologyKey, given.whenUnsatisfiable
    if not key:
        yield required(path.child("topologyKey"), "can not be empty")
    else:
        yield from (invalid(path.child("topologyKey"), key, why) for why in qualified_name_faults(key))
    if not action:
        yield required(path.child("whenUnsatisfiable"), "can not be empty")
    elif action not in ("DoNotSchedule", "ScheduleAnyway"):
        yield not_supported(path.child("whenUnsatisfiable"), action, ["DoNotSchedule", "ScheduleAnyway"])
    if given.labelSelector is not None:
        why = "constraint must not define a selector, as they deduced for each pod"
        yield forbidden(path.child("labelSelector"), why)
    if (key, action) in seen:
        yield duplicate(path, f"{{{key}, {action}}}")
    seen.add((key, action))
