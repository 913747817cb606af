"""Which events can help which pods: what a plug-in rejected is tried again only when that may have changed. Pure.

https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4247-queueinghint
"""

from collections.abc import Callable
from enum import Enum

from api.types import Node, Pod


class Event(Enum):
    """With upstream's names for them in metrics."""

    NODE_ADDED = "NodeAdd"
    NODE_REMOVED = "NodeDelete"
    NODE_RESOURCES = "NodeUpdateNodeAllocatable"
    NODE_LABELS = "NodeUpdateNodeLabel"
    NODE_TAINTS = "NodeUpdateNodeTaint"
    NODE_UNSCHEDULABLE = "NodeUpdate"
    POD_PLACED = "AssignedPodAdd"
    POD_REMOVED = "AssignedPodDelete"
    POD_LABELS = "AssignedPodUpdatePodLabel"  # of a pod on a node
    NAMESPACE = "NamespaceUpdate"
    STORAGE = "PersistentVolumeClaimUpdate"  # or a volume, a class, a node's limits
    CLAIM = "ResourceClaimUpdate"
    SLICE = "ResourceSliceUpdate"
    DEVICE_CLASS = "DeviceClassUpdate"


_NODES = frozenset({Event.NODE_ADDED})
_PODS = frozenset({Event.POD_PLACED, Event.POD_REMOVED, Event.POD_LABELS})
HELPS: dict[str, frozenset[Event]] = {
    "NodeUnschedulable": _NODES | {Event.NODE_UNSCHEDULABLE},
    "NodeName": _NODES,
    "TaintToleration": _NODES | {Event.NODE_TAINTS},
    "NodeAffinity": _NODES | {Event.NODE_LABELS},
    "NodePorts": _NODES | {Event.POD_REMOVED},
    "NodeResourcesFit": _NODES | {Event.NODE_RESOURCES, Event.POD_REMOVED},
    "VolumeRestrictions": frozenset({Event.POD_REMOVED, Event.STORAGE}),
    "NodeVolumeLimits": _NODES | {Event.POD_REMOVED, Event.STORAGE},
    "VolumeBinding": _NODES | {Event.NODE_LABELS, Event.STORAGE},
    "VolumeZone": _NODES | {Event.NODE_LABELS, Event.STORAGE},
    "PodTopologySpread": _NODES | _PODS | {Event.NODE_REMOVED, Event.NODE_LABELS, Event.NODE_TAINTS},
    "DynamicResources": _NODES | {Event.NODE_LABELS, Event.CLAIM, Event.SLICE, Event.DEVICE_CLASS},
    "GangScheduling": frozenset(),  # another pod of the gang, or a smaller gang: the cycles of gangs see to it
    "InterPodAffinity": _NODES | _PODS | {Event.NODE_LABELS, Event.NAMESPACE},
}


ALL = frozenset(Event)
"""Whatever happens may change an extender's mind."""


def always(plugin: str) -> bool:
    return True


def may_help(
    event: Event, rejectors: frozenset[str], room_helps: bool = True, concerns: Callable[[str], bool] = always
) -> bool:  # fmt: skip
    """Whether a pod that these plug-ins rejected may fit now. Without a plug-in there was no node.

    `room_helps`: on some node only other pods are in its way. `concerns`: what happened can help with what this
    plug-in says.
    """
    if not rejectors:
        return event is Event.NODE_ADDED
    if event is Event.POD_REMOVED and not room_helps:
        return False
    return any(event in HELPS.get(name, ALL) and concerns(name) for name in rejectors)


def node_events(old: Node | None, new: Node | None) -> set[Event]:
    """What a change of a node means; heartbeats mean nothing."""
    if old is None or new is None:
        return {Event.NODE_ADDED if old is None else Event.NODE_REMOVED}
    events = set()
    if old.status.allocatable != new.status.allocatable or old.status.capacity != new.status.capacity:
        events.add(Event.NODE_RESOURCES)
    if old.metadata.labels != new.metadata.labels:
        events.add(Event.NODE_LABELS)
    if old.spec.taints != new.spec.taints:
        events.add(Event.NODE_TAINTS)
    if bool(old.spec.unschedulable) != bool(new.spec.unschedulable):
        events.add(Event.NODE_UNSCHEDULABLE)
    return events


def changes_wish(old: Pod, new: Pod) -> bool:
    """Whether a pod that waits asks for something else than before."""
    return (
        old.spec != new.spec
        or old.metadata.labels != new.metadata.labels
        or old.status.resourceClaimStatuses != new.status.resourceClaimStatuses
    )
