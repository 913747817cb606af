"""What a filter says: which nodes it rejects, why, and whether removing pods could help."""

from typing import NamedTuple

from scheduler.columns import Mask


class Rejection(NamedTuple):
    rejected: Mask
    reason: str  # in upstream's words
    final: bool = False  # removing pods from the node would not help (upstream: UnschedulableAndUnresolvable)
    fatal: bool = False  # an error: if no filter before rejects such a node, the pod goes nowhere at all
    whole: bool = False  # about the pod, whatever the node: nothing else is said then (upstream: a PreFilter's word)
