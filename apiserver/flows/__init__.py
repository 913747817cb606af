"""API priority and fairness, as far as clients see it: which flow a request belongs to.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/

defaults     the flow schemas and priority levels that every cluster has
classifying  the flow schema, and by it the priority level, of a request
keeping      makes the defaults, and keeps the statuses of flow schemas

Nothing queues by them: one event loop serves every request at once.
"""

from apiserver.flows.classifying import Classifier, Flow, seats

__all__ = ["Classifier", "Flow", "seats"]
"""`keeping` is for whoever runs the server; it needs the registry."""
