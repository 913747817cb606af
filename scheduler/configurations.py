"""KubeSchedulerConfiguration: profiles, which plug-ins they have, and what those are told.

https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/ . What would have no effect is refused,
but for what is harmless: settings of parallelism and sampling, since all nodes are always looked at, and at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from machinery.running import CannotGoOn
from scheduler.filters import FILTERS
from scheduler.profiles import DEFAULT as PROFILE
from scheduler.profiles import Profile
from scheduler.queues import FIRST_BACKOFF, LONGEST_BACKOFF
from scheduler.scores import SCORES, Strategy, allocation, least_allocated, most_allocated, requested_to_capacity

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
PREEMPTION = "DefaultPreemption"
FILTERING, SCORING = dict(FILTERS), {name: (weight, score) for name, weight, score in SCORES}
# Upstream's plug-ins that are part of every profile here, or that would have nothing to do.
ALWAYS = {
    "PrioritySort", "SchedulingGates", "DefaultBinder", "NodeVolumeLimits", "DynamicResources",
}  # fmt: skip
PLUGINS = {*FILTERING, *SCORING, PREEMPTION, *ALWAYS}
OTHER_POINTS = "preEnqueue", "queueSort", "preFilter", "preScore", "reserve", "permit", "preBind", "bind", "postBind"


class Plugin(Struct, forbid_unknown_fields=True):
    name: str
    weight: int = 0


class PluginSet(Struct, forbid_unknown_fields=True):
    enabled: list[Plugin] = []
    disabled: list[Plugin] = []


class Plugins(Struct, forbid_unknown_fields=True):
    multiPoint: PluginSet = field(default_factory=PluginSet)
    filter: PluginSet = field(default_factory=PluginSet)
    postFilter: PluginSet = field(default_factory=PluginSet)
    score: PluginSet = field(default_factory=PluginSet)
    preEnqueue: PluginSet = field(default_factory=PluginSet)
    queueSort: PluginSet = field(default_factory=PluginSet)
    preFilter: PluginSet = field(default_factory=PluginSet)
    preScore: PluginSet = field(default_factory=PluginSet)
    reserve: PluginSet = field(default_factory=PluginSet)
    permit: PluginSet = field(default_factory=PluginSet)
    preBind: PluginSet = field(default_factory=PluginSet)
    bind: PluginSet = field(default_factory=PluginSet)
    postBind: PluginSet = field(default_factory=PluginSet)


class PluginConfig(Struct, forbid_unknown_fields=True):
    name: str
    args: dict[str, Any] = {}


class Resource(Struct, forbid_unknown_fields=True):
    name: str
    weight: int = 1


class Point(Struct, forbid_unknown_fields=True):
    utilization: int
    score: int


class Ratio(Struct, forbid_unknown_fields=True):
    shape: list[Point] = []


class ScoringStrategy(Struct, forbid_unknown_fields=True):
    type: Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"] = "LeastAllocated"
    resources: list[Resource] = []
    requestedToCapacityRatio: Ratio = field(default_factory=Ratio)


class FitArgs(Struct, forbid_unknown_fields=True):
    apiVersion: str = API_VERSION
    kind: Literal["NodeResourcesFitArgs"] = "NodeResourcesFitArgs"
    scoringStrategy: ScoringStrategy = field(default_factory=ScoringStrategy)


class PreemptionArgs(Struct, forbid_unknown_fields=True):
    apiVersion: str = API_VERSION
    kind: Literal["DefaultPreemptionArgs"] = "DefaultPreemptionArgs"
    minCandidateNodesPercentage: int = PROFILE.candidates_percent
    minCandidateNodesAbsolute: int = PROFILE.candidates


class ProfileDocument(Struct, forbid_unknown_fields=True):
    schedulerName: str = PROFILE.name
    percentageOfNodesToScore: int | None = None
    plugins: Plugins = field(default_factory=Plugins)
    pluginConfig: list[PluginConfig] = []


class Document(Struct, forbid_unknown_fields=True):
    apiVersion: Literal["kubescheduler.config.k8s.io/v1"]
    kind: Literal["KubeSchedulerConfiguration"]
    clientConnection: dict[str, Any] = {}
    leaderElection: dict[str, Any] = {}
    profiles: list[ProfileDocument] = []
    podInitialBackoffSeconds: int = int(FIRST_BACKOFF)
    podMaxBackoffSeconds: int = int(LONGEST_BACKOFF)
    percentageOfNodesToScore: int | None = None
    parallelism: int = 16


@dataclass(frozen=True, slots=True)
class Configuration:
    profiles: tuple[Profile, ...] = (PROFILE,)
    first_backoff: float = FIRST_BACKOFF
    longest_backoff: float = LONGEST_BACKOFF
    kubeconfig: Path | None = None
    leader_elect: bool | None = None
    lease: str = ""


DEFAULT = Configuration()


def load(path: Path) -> Configuration:
    """Raises CannotGoOn."""
    try:
        return parse(path.read_bytes())
    except (OSError, msgspec.MsgspecError, ValueError) as e:
        raise CannotGoOn(f"the configuration {path} cannot be used: {e}") from e


def parse(text: bytes) -> Configuration:
    """Raises ValueError, and what decoding raises."""
    document = msgspec.yaml.decode(text, type=Document)
    if not 0 < document.podInitialBackoffSeconds <= document.podMaxBackoffSeconds:
        raise ValueError("podMaxBackoffSeconds must not be less than podInitialBackoffSeconds, which must be positive")
    profiles = tuple(_profile(p) for p in document.profiles or [ProfileDocument()])
    if len({p.name for p in profiles}) < len(profiles):
        raise ValueError("duplicate profile with the same schedulerName")
    kubeconfig = document.clientConnection.get("kubeconfig")
    return Configuration(
        profiles, document.podInitialBackoffSeconds, document.podMaxBackoffSeconds,
        Path(kubeconfig) if kubeconfig else None, document.leaderElection.get("leaderElect"),
        document.leaderElection.get("resourceName", ""),
    )  # fmt: skip


def _profile(document: ProfileDocument) -> Profile:
    plugins = document.plugins
    for point in OTHER_POINTS:
        given: PluginSet = getattr(plugins, point)
        _known(given)
        if given.disabled:
            raise ValueError(
                f"plugins.{point}.disabled: only multiPoint, filter, postFilter and score can lose plug-ins"
            )
    filters = _enabled(dict.fromkeys(FILTERING, 1), FILTERING, plugins.multiPoint, plugins.filter)
    defaults = {name: weight for name, (weight, _) in SCORING.items()}
    weights = _enabled(defaults, defaults, plugins.multiPoint, plugins.score)
    preempts = _enabled({PREEMPTION: 1}, {PREEMPTION: 1}, plugins.multiPoint, plugins.postFilter)
    profile = Profile(
        name=document.schedulerName,
        filters=tuple((name, FILTERING[name]) for name in filters),
        scores=tuple((name, weight, SCORING[name][1]) for name, weight in weights.items()),
        preempts=bool(preempts),
    )
    for config in document.pluginConfig:
        if config.name not in ARGUMENTS:
            raise ValueError(f"pluginConfig: arguments of {config.name} cannot be set")
        profile = ARGUMENTS[config.name](profile, config.args)
    return profile


def _enabled(
    defaults: dict[str, int], possible: Iterable[str], everywhere: PluginSet, here: PluginSet
) -> dict[str, int]:  # fmt: skip
    """The weights of the plug-ins at one extension point. What is said of the point outdoes what is said of all."""
    found = dict(defaults)
    for given in (everywhere, here):
        _known(given)
        for plugin in given.disabled:
            if plugin.name == "*":
                found.clear()
            found.pop(plugin.name, None)
        for plugin in given.enabled:
            if plugin.name in possible:
                found[plugin.name] = plugin.weight or found.get(plugin.name) or defaults[plugin.name]
            elif given is here:
                raise ValueError(f"plugin {plugin.name!r} does not extend this point")
    return found


def _known(given: PluginSet) -> None:
    for plugin in (*given.enabled, *given.disabled):
        if plugin.name not in PLUGINS and not (plugin.name == "*" and plugin in given.disabled):
            raise ValueError(f"plugin {plugin.name!r} does not exist")
        if plugin.weight < 0:
            raise ValueError(f"plugin {plugin.name!r}: the weight must not be negative")


def _fit(profile: Profile, arguments: dict[str, Any]) -> Profile:
    given = msgspec.convert(arguments, FitArgs).scoringStrategy
    weights = {r.name: r.weight for r in given.resources} or {"cpu": 1, "memory": 1}
    if not all(0 < weight <= 100 for weight in weights.values()):
        raise ValueError("scoringStrategy.resources: weights must be between 1 and 100")
    ratio = given.type == "RequestedToCapacityRatio"
    strategy = _shaped(given.requestedToCapacityRatio.shape) if ratio else STRATEGIES[given.type]
    score = allocation(strategy, weights, only_positive=ratio)
    scores = ((name, weight, score if name == "NodeResourcesFit" else each) for name, weight, each in profile.scores)
    return replace(profile, scores=tuple(scores))


def _shaped(shape: list[Point]) -> Strategy:
    if not shape:
        raise ValueError("requestedToCapacityRatio.shape: at least one point must be specified")
    at = [p.utilization for p in shape]
    if at != sorted(set(at)) or not all(0 <= p.utilization <= 100 and 0 <= p.score <= 10 for p in shape):
        raise ValueError("requestedToCapacityRatio.shape: utilization 0-100 must be ascending, scores be 0-10")
    return requested_to_capacity([(p.utilization, p.score) for p in shape])


def _preemption(profile: Profile, arguments: dict[str, Any]) -> Profile:
    given = msgspec.convert(arguments, PreemptionArgs)
    percent, absolute = given.minCandidateNodesPercentage, given.minCandidateNodesAbsolute
    if not 0 <= percent <= 100 or absolute < 0 or not percent + absolute:
        raise ValueError("minCandidateNodesPercentage must be 0-100, and minCandidateNodesAbsolute 0 only if it is not")
    return replace(profile, candidates_percent=percent, candidates=absolute)


STRATEGIES: dict[str, Strategy] = {"LeastAllocated": least_allocated, "MostAllocated": most_allocated}
ARGUMENTS: dict[str, Callable[[Profile, dict[str, Any]], Profile]] = {
    "NodeResourcesFit": _fit, PREEMPTION: _preemption,
}  # fmt: skip
