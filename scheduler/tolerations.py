"""The taints that matter here; who tolerates them is told by `api.tolerations`."""

from scheduler.snapshots import HeldTaint

REPELLING = ("NoSchedule", "NoExecute")
UNSCHEDULABLE = HeldTaint("node.kubernetes.io/unschedulable", "", "NoSchedule")
