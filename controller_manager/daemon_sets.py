"""DaemonSets: a pod on every node that it fits.

https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/ . What is done next is decided in `daemon_plans`,
where pods belong in `placements`; here it is read and written. The scheduler binds the pods.
"""

from collections.abc import Sequence
from contextlib import suppress

from api import errors, labels, meta
from api.meta import Key
from api.types import ControllerRevision, DaemonSet, DaemonSetStatus, Node, ObjectMeta, Pod
from controller_manager import daemon_plans, histories, placements
from controller_manager.backoffs import Backoffs
from controller_manager.claims import claim
from controller_manager.contexts import Context
from controller_manager.daemon_plans import HASH_LABEL, Fleet, Plan
from controller_manager.gathering import all_of
from controller_manager.histories import Histories
from controller_manager.informing import Written
from controller_manager.owned_pods import OwnedPods
from controller_manager.placements import Verdict
from controller_manager.refusals import namespace_is_going
from controller_manager.replicas import slow_start
from machinery.controllers import Controller

BURST = 250
"""Pods created or deleted in one reconciliation, at most."""
GENERATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"


def new(context: Context) -> Controller:
    return DaemonSetController(context).controller


class DaemonSetController:
    """Keeps the pods of every daemon set."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._events = context.recorder("daemonset-controller")
        self._sets = context.informers(DaemonSet)
        self._written = Written(self._sets)
        self._nodes = context.informers(Node)
        self._histories = Histories(context, HASH_LABEL)
        self._pods = OwnedPods(context, DaemonSet, self._sets, lambda s: labels.from_object(s.spec.selector))
        self._backoffs = Backoffs(context.clock)
        self.controller = Controller(
            "daemonset-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._sets, self._pods.informer, self._nodes, self._histories.informer),
        )  # fmt: skip
        self._pods.feed(self.controller.queue)
        self._nodes.on_change(self._node_changed)

    # What happens → which key

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        """A node's heartbeats, the most frequent news there are, decide nothing."""
        if old is not None and new is not None and _placing(old) == _placing(new):
            return
        for of in self._sets.list():
            before, after = (_verdict(of, node) if node is not None else None for node in (old, new))
            if before != after:
                self.controller.queue.add(meta.key(of))

    # One step

    async def reconcile(self, key: Key) -> float | None:
        found = self._sets.get(*key)
        if found is None or found.metadata.deletionTimestamp:
            self._pods.forget(key)
            return None
        of = self._written.newest(found)
        selector = labels.from_object(of.spec.selector)
        if not selector:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self._events.event(of, "Warning", "SelectingAll", message)
            return None
        waiting = await self._pods.waiting(key)
        revisions = await self._histories.of(of, selector)
        present, collisions = await self._histories.present(of, revisions)
        fleet = await self._fleet(of, present)
        again: list[float | None] = [waiting, daemon_plans.next_look(fleet)]
        failure: errors.ApiError | None = None
        if not waiting:
            try:
                again.append(await self._manage(key, fleet))
            except errors.ApiError as e:
                failure = e
        # What was not acted upon was not observed.
        observed = of.status.observedGeneration if waiting else of.metadata.generation or 0
        await self._write_status(of, daemon_plans.status(fleet, observed, collisions or of.status.collisionCount))
        if not waiting:
            await self._truncate(fleet, present, revisions)
        if failure is not None and not namespace_is_going(failure):
            raise failure
        return min((s for s in again if s), default=None)

    async def _fleet(self, of: DaemonSet, present: ControllerRevision) -> Fleet:
        selector = labels.from_object(of.spec.selector)
        pods = await claim(self._client, of, selector, [*self._pods.of(of), *self._pods.orphans(of.metadata.namespace)])
        spec = of.spec.template.spec
        tolerated = placements.tolerations(spec)
        verdicts = {n.metadata.name: placements.verdict(spec, tolerated, n) for n in self._nodes.list()}
        hashed = present.metadata.labels.get(HASH_LABEL, "")
        return Fleet(of, hashed, verdicts, daemon_plans.by_node(pods), self._clock.now())

    async def _manage(self, key: Key, fleet: Fleet) -> float | None:
        """Do what is to be done next; the seconds after which there is more, if that is known."""
        made = daemon_plans.tidy(fleet)
        again = self._replace(fleet.set, made)
        if not (made.create or made.delete):
            made = daemon_plans.roll(fleet)
        await all_of(self._delete(key, fleet.set, pod) for pod in made.delete[:BURST])
        nodes = made.create[:BURST]
        for size in slow_start(len(nodes)):
            batch, nodes = nodes[:size], nodes[size:]
            await all_of(self._create(key, fleet, node) for node in batch)
        return again

    def _replace(self, of: DaemonSet, made: Plan) -> float | None:
        """Let pods that have ended be deleted, failed ones less often the more often they fail."""
        waits = []
        for node, pod in made.replace:
            name = f"{pod.metadata.namespace}/{pod.metadata.name}"
            if pod.status.phase == "Succeeded":
                message = f"Found succeeded daemon pod {name} on node {node}, will try to delete it"
                self._events.event(of, "Normal", "SucceededDaemonPod", message)
            elif wait := self._backoffs.remaining((of.metadata.uid, node)):
                waits.append(wait)
                continue
            else:
                self._backoffs.note((of.metadata.uid, node))
                message = f"Found failed daemon pod {name} on node {node}, will try to kill it"
                self._events.event(of, "Warning", "FailedDaemonPod", message)
            made.delete.append(pod)
        return min(waits, default=None)

    async def _create(self, key: Key, fleet: Fleet, node: str) -> None:
        refused = await self._pods.make(key, fleet.set, new_pod(fleet.set, fleet.hash, node), self._events)
        if refused is not None:
            raise refused

    async def _delete(self, key: Key, of: DaemonSet, pod: Pod) -> None:
        refused = await self._pods.remove(key, of, pod, self._events)
        if refused is not None:
            raise refused

    # Status and history

    async def _write_status(self, of: DaemonSet, status: DaemonSetStatus) -> None:
        if status == of.status:
            return
        changed = meta.clone(of)
        changed.status = status
        with suppress(errors.NotFound):  # gone meanwhile
            self._written.note(await self._client.update_status(changed))

    async def _truncate(
        self, fleet: Fleet, present: ControllerRevision, revisions: Sequence[ControllerRevision]
    ) -> None:
        old = [r for r in revisions if r.metadata.uid != present.metadata.uid]
        living = {p.metadata.labels.get(HASH_LABEL) for pods in fleet.pods.values() for p in pods}
        unused = [r for r in old if r.metadata.labels.get(HASH_LABEL) not in living]
        limit = fleet.set.spec.revisionHistoryLimit
        await self._histories.delete(histories.superfluous(unused, limit, len(old) - len(unused)))


def new_pod(of: DaemonSet, hashed: str, node: str) -> Pod:
    """The pod that the scheduler will put on `node`, and nowhere else."""
    template = meta.clone(of.spec.template)
    placements.bind(template.spec, node)
    template.spec.tolerations = placements.tolerations(template.spec)
    metadata = template.metadata
    generation = of.metadata.annotations.get(GENERATION)
    own = {HASH_LABEL: hashed} | ({GENERATION_LABEL: generation} if generation else {})
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{of.metadata.name}-", namespace=of.metadata.namespace, labels=metadata.labels | own,
            annotations=metadata.annotations, finalizers=metadata.finalizers,
            ownerReferences=[meta.controller_reference(of)],
        ),
        spec=template.spec,
    )  # fmt: skip


def _placing(node: Node) -> object:
    return node.metadata.uid, node.metadata.labels, node.spec


def _verdict(of: DaemonSet, node: Node) -> Verdict:
    spec = of.spec.template.spec
    return placements.verdict(spec, placements.tolerations(spec), node)
