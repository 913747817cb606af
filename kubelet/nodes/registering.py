"""This node's object: made at the start, kept true, and a sign of life beside it.
https://kubernetes.io/docs/concepts/architecture/nodes/
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from api import errors, meta, times
from api.nodes import GRPC_PORT_ANNOTATION
from api.types import Lease, LeaseSpec, Node, NodeStatus, ObjectMeta, OwnerReference
from kubelet.network.plumbing import Network
from kubelet.nodes import machines
from kubelet.nodes.capacities import Promises
from kubelet.nodes.conditions import Health, conditions, turned
from kubelet.nodes.machines import Machine
from kubelet.runtime.interfaces import EngineError, Image, Runtime, Version
from machinery.client import Client
from machinery.clocks import Clock
from machinery.events import Recorder

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS, RENEW_SECONDS = 40, 10.0
STATUS_SECONDS, REPORT_SECONDS = 10.0, 300.0
RETRY_SECONDS = 0.2
ATTACHED_BY_CONTROLLER = "volumes.kubernetes.io/controller-managed-attach-detach"
"""Says that this kubelet attaches no volumes itself."""
WRITING, RENEWING = "writing the node's status", "renewing the node's lease"

log = logging.getLogger("node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    name: str
    address: str
    port: int
    grpc_port: int
    promised: Promises
    labels: Mapping[str, str]
    root: Path
    max_images: int = machines.MOST_IMAGES


class Registering:
    """Owns the Node object of this kubelet; `node` is what the API server last had."""

    def __init__(
        self, client: Client, runtime: Runtime, network: Network, recorder: Recorder, identity: Identity,
        machine: Machine, clock: Clock,
    ) -> None:  # fmt: skip
        self.node: Node | None = None
        self.engine = Version("docker", "unknown")
        self._client = client
        self._runtime = runtime
        self._network = network
        self._recorder = recorder
        self._identity = identity
        self._machine = machine
        self._clock = clock
        self._reported_at = -REPORT_SECONDS
        self._changed = asyncio.Event()
        self._has_network = False
        self._closing = False
        self._failing: set[str] = set()
        self.pressures: Callable[[], Collection[str]] = tuple

    def networked(self) -> None:
        """The node has its range of pod addresses and can connect pods."""
        self._has_network = True
        self._changed.set()

    def look_again(self) -> None:
        """Something that the node's status tells has changed."""
        self._changed.set()

    async def register(self) -> Node:
        """Make the object, or bring an existing one's labels and annotations up to date.

        Tries until the API server answers.
        """
        said = ""
        while True:
            try:
                self.node = await self._register()
            except (errors.ApiError, EngineError) as e:
                if str(e) != said:
                    said = str(e)
                    log.info("waiting to register the node: %s", said)
                await self._clock.sleep(RETRY_SECONDS)
            else:
                self.tell("Normal", "Starting", "Starting kubelet.")
                log.info("registered node %s", self._identity.name)
                return self.node

    async def _register(self) -> Node:
        name = self._identity.name
        wanted = machines.labels(self._machine, name) | dict(self._identity.labels)
        annotations = {GRPC_PORT_ANNOTATION: str(self._identity.grpc_port), ATTACHED_BY_CONTROLLER: "true"}
        try:
            node = await self._client.get(Node, name)
        except errors.NotFound:
            new = Node(metadata=ObjectMeta(name=name, labels=wanted, annotations=annotations))
            new.status = await self._status(new)
            try:
                return await self._client.create(new)
            except errors.AlreadyExists:
                node = await self._client.get(Node, name)
        metadata = node.metadata
        if not (wanted.items() <= metadata.labels.items() and annotations.items() <= metadata.annotations.items()):
            patch = {"metadata": {"labels": wanted, "annotations": annotations}}
            node = await self._client.patch(Node, name, "", patch)
        return node

    async def _status(self, node: Node) -> NodeStatus:
        # A restarted kubelet finds its range in the object: its node was Ready all the time.
        has_network = self._has_network or bool(node.spec.podCIDR)
        problem = await self._network.problem()
        if not has_network:
            problem = "container runtime network not ready: the node has no pod CIDR yet"
        problems = [problem] if problem else []
        images = node.status.images
        status = None
        try:
            self.engine, found = await asyncio.gather(self._runtime.version(), self._runtime.images())
            status = self._facts(self.engine, found)
        except EngineError as e:
            log.warning("the engine: %s", e)
            problems.append("container runtime is down")
        if status is None:
            status = self._facts(Version("docker", "unknown"), [])
            status.images = images
        if self._closing:
            problems.append("node is shutting down")
        health = Health(self._clock.now(), self.pressures(), tuple(problems))
        status.conditions = conditions(node, health)
        status.volumesInUse, status.volumesAttached = node.status.volumesInUse, node.status.volumesAttached
        # Extended resources are whoever's who wrote them; all of what there is can be given away.
        extended = {r: amount for r, amount in node.status.capacity.items() if "/" in r and r not in status.capacity}
        status.capacity, status.allocatable = status.capacity | extended, status.allocatable | extended
        return status

    def _facts(self, engine: Version, images: list[Image]) -> NodeStatus:
        i = self._identity
        return machines.facts(self._machine, i.name, i.address, i.port, i.promised, engine, images, i.max_images)

    async def run(self) -> None:
        """Keeps the status true until cancelled: looks every 10 seconds, writes what changed, and all of it every 5
        minutes."""
        while True:
            self._changed.clear()
            try:
                await self._update()
            except errors.NotFound:
                log.warning("the node's object is gone: registering again")
                await self.register()
                continue
            except errors.Conflict:
                continue  # somebody else wrote first: look again
            except errors.ApiError as e:
                self._failed(WRITING, e)
                await self._clock.sleep(RETRY_SECONDS)
                continue
            self._failing.discard(WRITING)
            await self._pause(STATUS_SECONDS)

    def _failed(self, what: str, error: errors.ApiError) -> None:
        """Said aloud once, until it has been done again: a server that is away is asked several times a second."""
        log.log(logging.DEBUG if what in self._failing else logging.WARNING, "%s: %s", what, error)
        self._failing.add(what)

    async def _pause(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        woken = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([sleeping, woken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            woken.cancel()

    async def _update(self) -> None:
        node = await self._client.get(Node, self._identity.name)
        status = await self._status(node)
        now = self._clock.monotonic()
        if _essence(node.status) == _essence(status) and now - self._reported_at < REPORT_SECONDS:
            self.node = node
            return
        ready, was, pressures = _ready(status), _ready(node.status), turned(node, status.conditions)
        node.status = status
        self.node = await self._client.update_status(node)
        self._reported_at = now
        reasons = pressures + (["NodeReady" if ready else "NodeNotReady"] if ready != was else [])
        for reason in reasons:
            self.tell("Normal", reason, f"Node {self._identity.name} status is now: {reason}")

    def shutting_down(self) -> None:
        """It is not Ready any more."""
        self._closing = True
        self.tell("Normal", "Shutdown", "Shutdown manager detected shutdown event")
        self._changed.set()

    def tell(self, kind: str, reason: str, message: str) -> None:
        """An event of the node."""
        self._recorder.event(self._regarding(), kind, reason, message)

    def _regarding(self) -> Node:
        # Upstream's events about nodes carry the node's name as uid, and `kubectl describe node` asks for that.
        name = self._identity.name
        return Node(metadata=ObjectMeta(name=name, uid=name))

    async def renew(self) -> None:
        """The sign of life, every 10 seconds until cancelled."""
        while True:
            try:
                await self._renew()
            except errors.ApiError as e:
                self._failed(RENEWING, e)
                await self._clock.sleep(RETRY_SECONDS * 5)
                continue
            self._failing.discard(RENEWING)
            await self._clock.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        name = self._identity.name
        now = times.format_micro(self._clock.now())
        try:
            await self._client.patch(Lease, name, LEASE_NAMESPACE, {"spec": {"renewTime": now, "holderIdentity": name}})
        except errors.NotFound:
            await self._client.create(self._lease(now))

    def _lease(self, now: str) -> Lease:
        name = self._identity.name
        owners = []
        if self.node is not None:
            owners = [OwnerReference(apiVersion="v1", kind="Node", name=name, uid=self.node.metadata.uid)]
        return Lease(
            metadata=ObjectMeta(name=name, namespace=LEASE_NAMESPACE, ownerReferences=owners),
            spec=LeaseSpec(holderIdentity=name, leaseDurationSeconds=LEASE_SECONDS, renewTime=now),
        )


def _ready(status: NodeStatus) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions)


def _essence(status: NodeStatus) -> bytes:
    """The status without its heartbeats."""
    copy = meta.clone(status)
    for condition in copy.conditions:
        condition.lastHeartbeatTime = ""
    return meta.encode(copy)
