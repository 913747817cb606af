"""Where control groups stand.

https://kubernetes.io/docs/concepts/architecture/cgroups/ . A name is what its groups are called from the top down:
`("wherry", "node1", "kubepods", "burstable", "pod1234")`.  Under systemd every group is a slice whose name repeats
those above it, so a `-` within a part would mean one more level.
"""

from pathlib import PurePosixPath

from api.qos import qos_class
from api.types import Pod

Name = tuple[str, ...]
CGROUPFS, SYSTEMD = "cgroupfs", "systemd"
KUBEPODS, BURSTABLE, BEST_EFFORT = "kubepods", "burstable", "besteffort"
_OF_CLASS = {"Guaranteed": (), "Burstable": (BURSTABLE,), "BestEffort": (BEST_EFFORT,)}


def parse(path: str) -> Name:
    """Of a flag: `/wherry/node1`."""
    return tuple(part for part in path.split("/") if part)


def of_pod(root: Name, pod: Pod) -> Name:
    """Guaranteed pods stand beside the groups of the other two classes, not in one of their own."""
    chosen = pod.status.qosClass or qos_class(pod.spec)
    return (*root, KUBEPODS, *_OF_CLASS[chosen], f"pod{pod.metadata.uid}")


def directory(name: Name, driver: str) -> PurePosixPath:
    """Relative to the top of a hierarchy."""
    if driver != SYSTEMD:
        return PurePosixPath(*name)
    return PurePosixPath(*(_slice(name[: depth + 1]) for depth in range(len(name))))


def parent(name: Name, driver: str) -> str:
    """How the engine is told to put a container there."""
    if not name:
        return ""
    return _slice(name) if driver == SYSTEMD else "/" + "/".join(name)


def uid(group: str) -> str:
    """The pod's, from the name of its directory; "" if it is none of a pod."""
    last = group.removesuffix(".slice").rpartition("-")[2] if group.endswith(".slice") else group
    return last.removeprefix("pod").replace("_", "-") if last.startswith("pod") else ""


def _slice(name: Name) -> str:
    return "-".join(part.replace("-", "_") for part in name) + ".slice"
