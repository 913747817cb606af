"""ReplicaSets.  https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/"""

from api import labels
from api.types import ReplicaSet, ReplicaSetCondition
from controller_manager.contexts import Context
from controller_manager.replica_controllers import Flavour, ReplicaController
from machinery.controllers import Controller

FLAVOUR = Flavour(
    what=ReplicaSet,
    condition=ReplicaSetCondition,
    selector=lambda replica_set: labels.from_object(replica_set.spec.selector),
    component="replicaset-controller",
    counts_terminating=True,
)


def new(context: Context) -> Controller:
    return ReplicaController(context, "replicaset-controller", FLAVOUR).controller
