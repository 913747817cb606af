"""The gRPC service wherry.v1.Scheduler: why is a pod where it is, what waits, what would be if."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from api import meta
from api.meta import Key
from api.types import Node, Pod
from machinery.informers import Informer
from proto import scheduler_pb2 as pb
from proto.scheduler_pb2_grpc import SchedulerServicer, add_SchedulerServicer_to_server
from scheduler.advice import Failed
from scheduler.consulting import consult, silence
from scheduler.decisions import Decision, Verdict, explain, schedule
from scheduler.queues import State, Waiting
from scheduler.scheduling import Scheduler
from scheduler.simulation import Change, Simulation
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

if TYPE_CHECKING:  # it brings an HTTP client, which most do not need
    from scheduler.extenders import Extenders

SERVICE = pb.DESCRIPTOR.services_by_name["Scheduler"].full_name
Context = grpc.aio.ServicerContext[Any, Any]
# Nothing else is decided meanwhile.
SIMULATED_PODS = 1000


class Explainer(SchedulerServicer):
    def __init__(self, scheduler: Scheduler, pods: Informer[Pod], nodes: Informer[Node]) -> None:
        self._scheduler = scheduler
        self._pods = pods
        self._nodes = nodes

    def register(self, server: grpc.aio.Server) -> None:
        add_SchedulerServicer_to_server(self, server)

    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.Explanation:
        pod = self._pods.get(request.namespace, request.name)
        if pod is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f'pods "{request.name}" not found')
        return await explanation(self._scheduler, pod)

    async def Queue(self, request: pb.QueueRequest, context: Context) -> pb.QueueState:
        queue = self._scheduler.queue
        return pb.QueueState(
            active=[_queued(w) for w in queue.waiting(State.ACTIVE, State.IN_FLIGHT)],
            backoff=[_queued(w) for w in queue.waiting(State.BACKOFF)],
            unschedulable=[_queued(w) for w in queue.waiting(State.UNSCHEDULABLE, State.GATED)],
        )

    async def Simulate(self, request: pb.SimulateRequest, context: Context) -> pb.Simulation:
        try:
            return await simulation(self._scheduler, self._nodes.list, request)
        except (msgspec.MsgspecError, ValueError) as e:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))

    async def Metrics(self, request: pb.MetricsRequest, context: Context) -> pb.Exposition:
        content_type, body = self._scheduler.metrics.exposition.render()
        return pb.Exposition(content_type=content_type, body=body)


async def simulation(
    scheduler: Scheduler, known: Callable[[], list[Node]], request: pb.SimulateRequest
) -> pb.Simulation:  # fmt: skip
    """Raises ValueError and what decoding raises."""
    if len(request.pods) > SIMULATED_PODS:
        raise ValueError(f"at most {SIMULATED_PODS} pods can be placed at once")
    change = Change([meta.decode(each, Node) for each in request.nodes], request.without)
    wishes = [scheduler.wish_of(_free(meta.decode(each, Pod))) for each in request.pods]
    supposed, random = Simulation(scheduler.snapshot, wishes, change, known), Random(0)
    extenders = scheduler.extenders
    if extenders is None or not any(extenders.concern(wish.pod) for wish in wishes):
        supposed.decide(lambda w: schedule(scheduler.snapshot, w, random, scheduler.profile_of(w.pod)))
    else:
        await supposed.consult(partial(_consulted, scheduler, extenders, random, supposed))
    return pb.Simulation(
        placements=[
            pb.Placement(
                namespace=wish.namespace, name=wish.key.name, node=decision.node, message=decision.message,
                preemption=preemption_of(decision),
            )
            for wish, decision in zip(wishes, supposed.decisions, strict=True)
        ]
    )  # fmt: skip


async def _consulted(
    scheduler: Scheduler, extenders: "Extenders", random: Random, supposed: Simulation, wish: Wish
) -> Decision:  # fmt: skip
    try:
        decision, _ = await consult(
            extenders, scheduler.snapshot, wish, scheduler.profile_of(wish.pod), random, standing=supposed.standing,
            node=supposed.node,
        )  # fmt: skip
    except Failed as e:
        return Decision("", str(e))
    return decision


def _free(pod: Pod) -> Pod:
    """The pod without a node, as the API server would first store it."""
    pod.metadata.namespace = pod.metadata.namespace or "default"
    pod.spec.nodeName = ""
    return pod


async def explanation(scheduler: Scheduler, pod: Pod) -> pb.Explanation:
    """What would be decided now; for a pod that has a node, as if it had none yet."""
    bound_to, profile = pod.spec.nodeName, scheduler.profile_of(pod)
    snapshot, wish = scheduler.snapshot, scheduler.wish_of(_free(meta.clone(pod)))
    apart = partial(_apart, snapshot, meta.key(pod))
    if scheduler.extenders is not None and scheduler.extenders.concern(wish.pod):
        try:
            decision, advice = await consult(scheduler.extenders, snapshot, wish, profile, Random(0), standing=apart)
        except Failed as e:
            with apart():
                decision, advice = Decision("", str(e)), silence(snapshot, wish, profile, e)
        with apart():
            verdicts = explain(snapshot, wish, profile, advice)
    else:
        with apart():
            decision, verdicts = schedule(snapshot, wish, Random(0), profile), explain(snapshot, wish, profile)
    return pb.Explanation(
        node=bound_to or _best(verdicts),
        bound=bool(bound_to),
        message=decision.message or ("" if bound_to else scheduler.holds_up(pod)),
        verdicts=[_verdict(v) for v in verdicts],
        preemption=preemption_of(decision),
    )


@contextmanager
def _apart(snapshot: Snapshot, key: Key) -> Iterator[None]:
    """As if the pod were on no node."""
    node = snapshot.node_of(key)
    counted = snapshot.remove_pod(key)
    try:
        yield
    finally:
        if counted is not None:
            snapshot.set_pod(counted, node)


def preemption_of(decision: Decision) -> pb.Preemption | None:
    found = decision.preemption
    if not found.node:
        return None
    victims = [pb.PodName(namespace=v.namespace, name=v.key.name) for v in found.victims]
    return pb.Preemption(node=found.node, victims=victims)


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
