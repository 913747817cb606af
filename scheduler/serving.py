"""The gRPC service wherry.v1.Scheduler: why is a pod where it is, and what waits."""

from typing import Any

import grpc

from api import meta
from api.meta import Key
from api.types import Pod
from machinery.informers import Informer
from proto import scheduler_pb2 as pb
from proto.scheduler_pb2_grpc import SchedulerServicer, add_SchedulerServicer_to_server
from scheduler.decisions import Verdict, explain
from scheduler.queues import State, Waiting
from scheduler.scheduling import Scheduler

SERVICE = pb.DESCRIPTOR.services_by_name["Scheduler"].full_name
Context = grpc.aio.ServicerContext[Any, Any]


class Explainer(SchedulerServicer):
    def __init__(self, scheduler: Scheduler, pods: Informer[Pod]) -> None:
        self._scheduler = scheduler
        self._pods = pods

    def register(self, server: grpc.aio.Server) -> None:
        add_SchedulerServicer_to_server(self, server)

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.Explanation:
        pod = self._pods.get(request.namespace, request.name)
        if pod is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'pods "{request.name}" not found')
        return explanation(self._scheduler, pod)

    async def Queue(self, request: pb.QueueRequest, context: Context) -> pb.QueueState:
        queue = self._scheduler.queue
        return pb.QueueState(
            active=[_queued(w) for w in queue.waiting(State.ACTIVE, State.IN_FLIGHT)],
            backoff=[_queued(w) for w in queue.waiting(State.BACKOFF)],
            unschedulable=[_queued(w) for w in queue.waiting(State.UNSCHEDULABLE, State.GATED)],
        )


def explanation(scheduler: Scheduler, pod: Pod) -> pb.Explanation:
    """What would be decided now; for a pod that has a node, as if it had none yet."""
    key, bound_to = meta.key(pod), pod.spec.nodeName
    free = meta.clone(pod)
    free.spec.nodeName = ""
    node = scheduler.snapshot.node_of(key)
    counted = scheduler.snapshot.remove_pod(key)
    try:
        message, verdicts = explain(scheduler.snapshot, scheduler.wish_of(free))
    finally:
        if counted is not None:
            scheduler.snapshot.set_pod(counted, node)
    return pb.Explanation(
        node=bound_to or _best(verdicts),
        bound=bool(bound_to),
        message=message,
        verdicts=[_verdict(v) for v in verdicts],
    )


def _best(verdicts: list[Verdict]) -> str:
    feasible = [v for v in verdicts if not v.rejected_by]
    return max(feasible, key=_total).node if feasible else ""


def _total(verdict: Verdict) -> int:
    return sum(verdict.scores.values())


def _verdict(verdict: Verdict) -> pb.Verdict:
    return pb.Verdict(
        node=verdict.node, rejected_by=verdict.rejected_by, reason=verdict.reason, scores=verdict.scores,
        total=_total(verdict),
    )  # fmt: skip


def _queued(waiting: Waiting) -> pb.QueuedPod:
    key: Key = waiting.key
    return pb.QueuedPod(
        namespace=key.namespace, name=key.name, attempts=waiting.attempts, message=waiting.message
    )  # fmt: skip
