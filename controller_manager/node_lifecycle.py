"""Nodes that fall silent: they are marked, tainted, and their pods leave the services.

https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller . A kubelet is heard when its Lease in
kube-node-lease or the heartbeat in its node's status changes; when that was is told by our own clock, since clocks of
two machines are never compared.
"""

from collections.abc import Sequence

from api import errors, meta, times
from api.meta import Key
from api.types import Lease, Node, Pod, Taint
from controller_manager import node_health
from controller_manager.contexts import Context
from controller_manager.gathering import all_of
from controller_manager.informing import Written
from controller_manager.node_health import Eviction, readiness
from controller_manager.node_zones import Zones
from controller_manager.pods import is_ready
from machinery.controllers import Controller

LEASES = "kube-node-lease"


def new(context: Context) -> Controller:
    return NodeLifecycleController(context).controller


class NodeLifecycleController:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._config = context.config
        self._events = context.recorder("node-controller")
        self._heard: dict[str, float] = {}
        c = context.config
        self._zones = Zones(
            rate=c.node_eviction_rate, secondary_rate=c.secondary_node_eviction_rate,
            large=c.large_cluster_size_threshold, threshold=c.unhealthy_zone_threshold,
        )  # fmt: skip
        self._next_eviction: dict[str, float] = {}  # zone → when the next node may begin to be evicted
        self._nodes = context.informers(Node)
        self._written = Written(self._nodes)
        self._leases = context.informers(Lease)
        self._pods = context.informers(Pod, indexes=("node",))
        self.controller = Controller(
            "node-lifecycle-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._nodes, self._leases, self._pods),
        )  # fmt: skip
        self._nodes.on_change(self._node_changed)
        self._leases.on_change(self._lease_changed)

    def _lease_changed(self, old: Lease | None, new: Lease | None) -> None:
        # No key: a node that is heard needs nothing, and one that is not is looked at when its time is up.
        if new is not None and new.metadata.namespace == LEASES:
            self._heard[new.metadata.name] = self._clock.monotonic()

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            assert old is not None
            self._heard.pop(old.metadata.name, None)
            self._tell(old, "RemovingNode", f"Removing Node {old.metadata.name} from Controller")
            if self._zones.remove(old.metadata.name):
                self._reconsider()
            return
        if old is None:
            self._tell(new, "RegisteredNode", f"Registered Node {new.metadata.name} in Controller")
        if old is None or _heartbeat(old) != _heartbeat(new):
            self._heard[new.metadata.name] = self._clock.monotonic()
        if old is None or _essence(old) != _essence(new):
            self.controller.queue.add(meta.key(new))
            self._count(new)

    def _tell(self, node: Node, reason: str, message: str) -> None:
        self._events.event(node, "Normal", reason, f"Node {node.metadata.name} event: {message}")

    def _count(self, node: Node) -> None:
        if self._zones.put(node):
            self._reconsider()

    def _reconsider(self) -> None:
        """Whether a node may be evicted depends on how many others are well."""
        for name in self._zones.unwell:
            self.controller.queue.add(Key("", name))

    async def reconcile(self, key: Key) -> float | None:
        node = self._nodes.get(*key)
        if node is None:
            return None
        node = self._written.newest(node)
        left = self._time_left(node)
        if left <= 0 and _speaks(node):
            node = await self._silence(node)
        if readiness(node) != "True":
            await self._mark_pods(node)
        wait = await self._taint(node)
        # A silent node is looked at again when it changes, which it must to be heard again.
        return min((s for s in (left, wait) if s is not None and s > 0), default=None)

    def _time_left(self, node: Node) -> float:
        """Seconds until the node counts as silent, if it is not heard before."""
        reported = node_health.ever_reported(node)
        grace = self._config.node_monitor_grace_period if reported else self._config.node_startup_grace_period
        return self._heard.get(node.metadata.name, 0.0) + grace - self._clock.monotonic()

    async def _silence(self, node: Node) -> Node:
        was_ready = readiness(node) == "True"
        changed = meta.clone(node)
        changed.status.conditions = node_health.silenced(node, self._clock.now())
        stored = self._written.note(await self._client.update_status(changed))
        if was_ready:
            message = f"Node {node.metadata.name} status is now: NodeNotReady"
            self._events.event(node, "Normal", "NodeNotReady", message)
        return stored

    async def _mark_pods(self, node: Node) -> None:
        """Its pods may run on, but nobody knows: they must leave the services."""
        ready = [p for p in self._pods.by_index("node", node.metadata.name) if is_ready(p)]
        await all_of(self._mark(p) for p in ready)

    async def _mark(self, pod: Pod) -> None:
        changed = meta.clone(pod)
        at = times.format(self._clock.now())
        for c in changed.status.conditions:
            if c.type == "Ready":
                c.status, c.lastTransitionTime = "False", at
        try:
            await self._client.update_status(changed)
        except errors.NotFound:
            return
        self._events.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _taint(self, node: Node) -> float | None:
        """Bring the taints in line with the conditions; seconds to wait for the turn to be evicted, or None."""
        zone, now = node_health.zone_of(node), self._clock.monotonic()
        seen = self._nodes.get("", node.metadata.name)
        if seen is None or seen.metadata.uid != node.metadata.uid:
            return None  # gone meanwhile, and it must not be counted again
        self._count(node)  # the informer may not show yet what was just written about it
        rate = self._zones.rate(zone)
        wait = self._next_eviction.get(zone, 0.0) - now
        if not rate:
            eviction = Eviction.CANCEL if rate is None else Eviction.KEEP
        else:
            eviction = Eviction.KEEP if wait > 0 else Eviction.BEGIN
        taints = node_health.wanted_taints(node, eviction, self._clock.now())
        begun = _is_evicted(taints) and not _is_evicted(node.spec.taints)
        if begun and rate:  # before it is written: others of the zone are looked at meanwhile
            self._next_eviction[zone] = now + 1 / rate
        if taints != node.spec.taints:
            changed = meta.clone(node)
            changed.spec.taints = taints
            try:
                self._written.note(await self._client.update(changed))
            except (errors.Conflict, errors.NotFound):
                if begun:  # nobody's turn was used
                    self._next_eviction[zone] = now
                raise
        waits = readiness(node) != "True" and not _is_evicted(taints) and rate
        return max(wait, 0.001) if waits else None


def _is_evicted(taints: Sequence[Taint]) -> bool:
    return any(t.effect == "NoExecute" and t.key in node_health.BY_READINESS.values() for t in taints)


def _speaks(node: Node) -> bool:
    """Whether any condition still says what a kubelet said."""
    conditions = {c.type: c.status for c in node.status.conditions}
    return any(conditions.get(kind) != "Unknown" for kind in node_health.WATCHED)


def _heartbeat(node: Node) -> tuple[object, ...]:
    return tuple((c.type, c.status, c.lastHeartbeatTime) for c in node.status.conditions if c.status != "Unknown")


def _essence(node: Node) -> tuple[object, ...]:
    conditions = tuple((c.type, c.status) for c in node.status.conditions)
    return conditions, node.spec.taints, bool(node.spec.unschedulable), node.metadata.uid, node_health.zone_of(node)
