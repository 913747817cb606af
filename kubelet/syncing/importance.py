"""Which pods a node cannot do without.
https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/
"""

from api.types import Pod
from kubelet.statics.manifests import is_mirror, is_static

SYSTEM_CRITICAL, NODE_CRITICAL = 2_000_000_000, 2_000_001_000


def is_critical(pod: Pod) -> bool:
    return is_static(pod) or is_mirror(pod) or (pod.spec.priority or 0) >= SYSTEM_CRITICAL


def is_node_critical(pod: Pod) -> bool:
    return is_critical(pod) and pod.spec.priorityClassName == "system-node-critical"


def may_preempt(preemptor: Pod, other: Pod) -> bool:
    if is_critical(preemptor) and not is_critical(other):
        return True
    return (preemptor.spec.priority or 0) > (other.spec.priority or 0)
