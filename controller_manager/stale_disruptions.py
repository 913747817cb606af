"""Pods that were to be deleted and stayed: after a while the condition DisruptionTarget is not true of them any more.

Whoever sets it deletes the pod next, and may be stopped between the two. Upstream's disruption controller does this,
too, with a queue of its own. https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

from api import meta, times
from api.meta import Key
from api.types import Pod
from controller_manager.contexts import Context
from controller_manager.disruptions import TARGET, take_back
from controller_manager.pods import is_active
from machinery.controllers import Controller

PATIENCE = 120.0
"""Seconds in which a pod must be seen to go."""


def new(context: Context) -> Controller:
    return StaleDisruptionController(context).controller


def stale_at(pod: Pod) -> float | None:
    """In seconds since the epoch; None if no such condition holds, or if it may hold for as long as it likes.

    The kubelet says it of pods that it ends by itself, and those need no deletion.
    """
    found = meta.condition(pod, TARGET)
    if found is None or found.status != "True" or found.reason == "TerminationByKubelet" or not is_active(pod):
        return None
    return (times.parse(found.lastTransitionTime) if found.lastTransitionTime else 0.0) + PATIENCE


class StaleDisruptionController:
    """Its keys are pods."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._pods = context.informers(Pod)
        self.controller = Controller("stale-pod-disruption-controller", self.reconcile, informers=(self._pods,))
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and stale_at(new) is not None:
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or (at := stale_at(pod)) is None:
            return None
        if (left := at - self._clock.now()) > 0:
            return left
        await take_back(self._client, pod, self._clock.now())
        return None
