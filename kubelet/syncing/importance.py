"""Which pods a node cannot do without.
https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/
"""

from api.types import Pod

SYSTEM_CRITICAL, NODE_CRITICAL = 2_000_000_000, 2_000_001_000
SOURCE, MIRROR = "kubernetes.io/config.source", "kubernetes.io/config.mirror"


def is_static(pod: Pod) -> bool:
    """It comes from a file or an address of the node's own, not from the API server."""
    return pod.metadata.annotations.get(SOURCE, "api") != "api"


def is_critical(pod: Pod) -> bool:
    mirrored = MIRROR in pod.metadata.annotations
    return is_static(pod) or mirrored or (pod.spec.priority or 0) >= SYSTEM_CRITICAL


def is_node_critical(pod: Pod) -> bool:
    return is_critical(pod) and pod.spec.priorityClassName == "system-node-critical"


def may_preempt(preemptor: Pod, other: Pod) -> bool:
    if is_critical(preemptor) and not is_critical(other):
        return True
    return (preemptor.spec.priority or 0) > (other.spec.priority or 0)
