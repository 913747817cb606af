"""API priority and fairness: which flow a request belongs to, and whether it is its turn.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/

defaults     the flow schemas and priority levels that every cluster has
classifying  the flow schema, and by it the priority level, of a request
queueing     seats and fair queues of the priority levels
gating       lets requests in by them
keeping      makes the defaults, and keeps the statuses of flow schemas
"""

from apiserver.flows.classifying import Flow
from apiserver.flows.gating import Gate

__all__ = ["Flow", "Gate"]
"""`keeping` is for whoever runs the server; it needs the registry."""
