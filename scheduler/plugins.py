"""Upstream's plug-ins, the extension points that each has, and which of them a profile is left with.

https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, field

# The order in which upstream looks for faults.
TYPES = {
    "preFilter": "PreFilterPlugin", "filter": "FilterPlugin", "postFilter": "PostFilterPlugin",
    "reserve": "ReservePlugin", "preScore": "PreScorePlugin", "score": "ScorePlugin", "preBind": "PreBindPlugin",
    "bind": "BindPlugin", "postBind": "PostBindPlugin", "permit": "PermitPlugin", "preEnqueue": "PreEnqueuePlugin",
    "queueSort": "QueueSortPlugin",
}  # fmt: skip
BOTH = "preFilter filter"
SCORED = "preScore score"
# With the weight of the default profile, in its order.
DEFAULTS: Mapping[str, tuple[int, str]] = {
    "SchedulingGates": (0, "preEnqueue"),
    "PrioritySort": (0, "queueSort"),
    "GangScheduling": (0, "preEnqueue"),  # without effect, unless the feature gate GenericWorkload is on
    "NodeUnschedulable": (0, "filter"),
    "NodeName": (0, "filter"),
    "TaintToleration": (3, f"filter {SCORED}"),
    "NodeAffinity": (2, f"{BOTH} {SCORED}"),
    "NodePorts": (0, BOTH),
    "NodeResourcesFit": (1, f"{BOTH} {SCORED}"),
    "VolumeRestrictions": (0, BOTH),
    "NodeVolumeLimits": (0, BOTH),
    "VolumeBinding": (0, f"{BOTH} reserve preBind"),
    "VolumeZone": (0, BOTH),
    "PodTopologySpread": (2, f"{BOTH} {SCORED}"),
    "InterPodAffinity": (2, f"{BOTH} {SCORED}"),
    "DynamicResources": (2, "preEnqueue preFilter filter postFilter score reserve preBind"),
    "DefaultPreemption": (0, "postFilter"),
    "NodeResourcesBalancedAllocation": (1, SCORED),
    "ImageLocality": (1, "score"),
    "DefaultBinder": (0, "bind"),
}


class Plugin(Struct, forbid_unknown_fields=True):
    name: str
    weight: int = 0


class PluginSet(Struct, forbid_unknown_fields=True):
    enabled: list[Plugin] = []
    disabled: list[Plugin] = []


class Plugins(Struct, forbid_unknown_fields=True):
    multiPoint: PluginSet = field(default_factory=PluginSet)
    preEnqueue: PluginSet = field(default_factory=PluginSet)
    queueSort: PluginSet = field(default_factory=PluginSet)
    preFilter: PluginSet = field(default_factory=PluginSet)
    filter: PluginSet = field(default_factory=PluginSet)
    postFilter: PluginSet = field(default_factory=PluginSet)
    preScore: PluginSet = field(default_factory=PluginSet)
    score: PluginSet = field(default_factory=PluginSet)
    reserve: PluginSet = field(default_factory=PluginSet)
    permit: PluginSet = field(default_factory=PluginSet)
    preBind: PluginSet = field(default_factory=PluginSet)
    bind: PluginSet = field(default_factory=PluginSet)
    postBind: PluginSet = field(default_factory=PluginSet)


class Enabled(NamedTuple):
    """By extension point, the plug-ins and their weights.

    What prepares at an earlier point for a later one is one function here: who is disabled in preFilter or preScore
    has nothing to say in filter or score either. (Upstream, that is an error for each pod.)
    """

    points: Mapping[str, Mapping[str, int]]

    def at(self, point: str) -> dict[str, int]:
        before = {"filter": "preFilter", "score": "preScore"}.get(point)
        return {
            name: weight
            for name, weight in self.points[point].items()
            if before is None or before not in DEFAULTS[name][1].split() or name in self.points[before]
        }


def enabled(given: Plugins, profile: str) -> Enabled:
    """Raises ValueError in upstream's words."""
    everywhere = _merged(given.multiPoint)
    points = {point: _at(point, everywhere, getattr(given, point)) for point in TYPES}
    sorts = len(points["queueSort"])
    if not sorts:
        raise ValueError(f'at least one queue sort plugin is needed for profile with scheduler name "{profile}"')
    if not points["bind"]:
        raise ValueError(f'at least one bind plugin is needed for profile with scheduler name "{profile}"')
    return Enabled(points)


def _merged(given: PluginSet) -> dict[str, int]:
    """The default profile's plug-ins and their weights, without and with those that are named."""
    gone = {plugin.name for plugin in given.disabled}
    found = {} if "*" in gone else {name: weight for name, (weight, _) in DEFAULTS.items() if name not in gone}
    return _with("preFilter", found, given.enabled)


def _at(point: str, everywhere: Mapping[str, int], given: PluginSet) -> dict[str, int]:
    """What is said of the point outdoes what is said of all."""
    gone = {plugin.name for plugin in given.disabled}
    found = {} if "*" in gone else {n: w for n, w in everywhere.items() if _extends(n, point) and n not in gone}
    for plugin in given.enabled:
        if plugin.name in DEFAULTS and not _extends(plugin.name, point):
            raise ValueError(f'plugin "{plugin.name}" does not extend {TYPES[point]} plugin')
    return _with(point, found, given.enabled)


def _with(point: str, found: dict[str, int], plugins: Iterable[Plugin]) -> dict[str, int]:
    seen: set[str] = set()
    for plugin in plugins:
        if plugin.name not in DEFAULTS:
            raise ValueError(f'{TYPES[point]} "{plugin.name}" does not exist')
        if plugin.name in seen:
            raise ValueError(f'plugin "{plugin.name}" already registered as "{TYPES[point]}"')
        seen.add(plugin.name)
        found[plugin.name] = plugin.weight or found.get(plugin.name) or DEFAULTS[plugin.name][0] or 1
    return found


def _extends(name: str, point: str) -> bool:
    return point in DEFAULTS[name][1].split()
