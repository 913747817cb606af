"""ReplicationControllers: replica sets of an older make, whose selectors are maps.

https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/
"""

from api import labels
from api.types import ReplicationController, ReplicationControllerCondition
from controller_manager.contexts import Context
from controller_manager.replica_controllers import Flavour, ReplicaController
from machinery.controllers import Controller

FLAVOUR = Flavour(
    what=ReplicationController,
    condition=ReplicationControllerCondition,
    selector=lambda controller: labels.from_map(controller.spec.selector),
    component="replication-controller",
    counts_terminating=False,
)


def new(context: Context) -> Controller:
    return ReplicaController(context, "replicationcontroller-controller", FLAVOUR).controller
