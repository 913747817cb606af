"""The kubelet put together."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from api import meta, quantities
from api.types import Node, ObjectMeta, PersistentVolume, Pod, Service
from api.volumes import NODE_LABEL
from kubelet.certificates.holding import connected, held
from kubelet.cgroups import limits, names, trees
from kubelet.cgroups.keeping import Kept as KeptGroups
from kubelet.cgroups.keeping import Wanted
from kubelet.cgroups.limits import Limits
from kubelet.config import Config
from kubelet.containers import security
from kubelet.containers.specs import Host
from kubelet.devices.assembling import Assembled as Devices
from kubelet.eviction.evicting import Evicting
from kubelet.eviction.observing import Observer
from kubelet.eviction.reclaiming import discard_ended
from kubelet.images.collecting import Collector
from kubelet.images.pulling import Puller
from kubelet.images.records import Records
from kubelet.images.stores import Store
from kubelet.images.users import Users
from kubelet.metrics import Beginnings, Metrics
from kubelet.network.addresses import Addresses, Elsewhere, Pool
from kubelet.network.cni.networks import Plugins, abandon
from kubelet.network.neighbours import Neighbours
from kubelet.network.netlink import Netlink
from kubelet.network.plumbing import Network, Plumbing
from kubelet.network.ways import Routes
from kubelet.nodes import capacities, machines, shutdowns
from kubelet.nodes.registering import Identity, Registering
from kubelet.nodes.shutdowns import Shutdown
from kubelet.pods.admission import Gate
from kubelet.pods.assignments import Assignments
from kubelet.pods.caches import Cache
from kubelet.pods.fitting import PREEMPTED
from kubelet.pods.following import Following
from kubelet.pods.handlers import Handlers
from kubelet.pods.means import Means
from kubelet.pods.pretending import SimulatedHandlers
from kubelet.pods.reports import PodReporter, Reports
from kubelet.pods.sources import handler, pull_secrets, sources
from kubelet.pods.tokens import Tokens
from kubelet.pods.workers import Ending
from kubelet.runtime.docker import Docker
from kubelet.runtime.interfaces import EngineError, Runtime, Version
from kubelet.runtime.simulated import Simulated
from kubelet.serving.finding import Finder
from kubelet.serving.logs import Logs
from kubelet.serving.service import NodeService
from kubelet.statics.manifests import is_mirror
from kubelet.statics.mirrors import Mirrors
from kubelet.statics.sources import Statics
from kubelet.syncing.conditions import disruption
from kubelet.syncing.statuses import TERMINAL
from kubelet.usage.cgroups import Cgroups
from kubelet.usage.looking import Gauge, Looking
from kubelet.usage.simulated import SimulatedGauge
from kubelet.volumes import resolvers
from kubelet.volumes.claims import Keeper, Kept
from kubelet.volumes.layouts import Layout
from kubelet.volumes.pinning import Pinning
from kubelet.web.assembling import Shown, https
from machinery import addresses
from machinery.client import Client
from machinery.clocks import Clock
from machinery.events import Recorder
from machinery.informers import Informer
from machinery.running import CannotGoOn
from machinery.serving import Server
from proto.node_pb2_grpc import add_NodeServicer_to_server

ENGINE_RETRY = 1.0
CALLERS = ("system:apiserver", "kubernetes-admin")

log = logging.getLogger("kubelet")


async def run(config: Config, clock: Clock) -> None:
    """The whole kubelet, until cancelled; the containers run on."""
    try:
        config.root.mkdir(parents=True, exist_ok=True)
        # Secrets lie below it, readable by whatever user a pod has; others of the machine must not get there.
        config.root.chmod(0o750)
    except OSError as e:
        raise CannotGoOn(f"the root directory is needed: {e}") from e
    with _runtime(config, clock) as runtime:
        async with connected(config, clock) as client:
            await Agent(config, client, runtime, network(config), clock).run()


@contextlib.contextmanager
def _runtime(config: Config, clock: Clock) -> Iterator[Runtime]:
    engine = Docker(config.endpoint, config.cluster, config.node, clock=clock)
    try:
        yield engine
    finally:
        engine.close()


def network(config: Config, opened: Callable[[], Netlink] = Netlink) -> Network:
    """The pod network in the namespace that `opened` talks to."""
    if config.cni_configuration is not None:
        return Plugins(config.cni_configuration, config.cni_path, config.attachments, config.unreachable, opened)
    way = config.vxlan if config.pod_network == "vxlan" else Routes()
    return Plumbing(config.address, config.unreachable, opened, way)


def _gauge(config: Config, runtime: Runtime) -> Gauge:
    if isinstance(runtime, Simulated):
        return SimulatedGauge(runtime.engine)
    root = config.resources.cgroup_root
    return Cgroups(node=[names.directory(root, driver) for driver in (names.CGROUPFS, names.SYSTEMD)] if root else [])


@dataclass(frozen=True, slots=True)
class Views:
    """What is the same seen from every node."""

    services: Informer[Service]
    nodes: Informer[Node]

    @classmethod
    def of(cls, client: Client, clock: Clock) -> "Views":
        return cls(Informer(client, Service, clock=clock), Informer(client, Node, clock=clock))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.services.run())
            tasks.create_task(self.nodes.run())


class Agent:
    """One kubelet with its parts: `client` and `runtime` are the caller's, and so are `views`, where several share
    them: they must be run.  Implements `evicting.Node`."""

    def __init__(
        self, config: Config, client: Client, runtime: Runtime, network: Network, clock: Clock,
        views: Views | None = None,
    ) -> None:  # fmt: skip
        self._config = config
        self._network = network
        self._machine = machines.machine(config.root, config.node)
        self._promised = capacities.promises(machines.capacity(self._machine, config.max_pods), config.resources)
        self._pods = Informer(client, Pod, field_selector=f"spec.nodeName={config.node}", clock=clock)
        own = Views.of(client, clock)
        self._views = own if views is None else None
        self._services, self._nodes = (views or own).services, (views or own).nodes
        self._recorder = Recorder(client, "kubelet", config.node, clock=clock)
        self._reports = Reports(client)
        self._cache = Cache(runtime, clock)
        self._handlers = SimulatedHandlers(runtime) if isinstance(runtime, Simulated) else Handlers(runtime)
        identity = Identity(
            name=config.node, address=config.address, port=config.port, grpc_port=config.grpc_port,
            promised=self._promised, labels=config.labels, root=config.root, max_images=config.images.most_in_status,
        )  # fmt: skip
        self._registering = Registering(client, runtime, network, self._recorder, identity, self._machine, clock)
        self._records = Records(config.images.records)
        self._collector = Collector(
            runtime, self._records, lambda: machines.disk(config.root), self._registering.tell, clock,
            config.images.thresholds, pinned=(config.pause_image,),
        )  # fmt: skip
        self._statics = Statics(
            config.manifests, config.manifest_url, config.node, clock,
            file_period=config.file_check, url_period=config.url_check,
        )  # fmt: skip
        self._mirrors = Mirrors(
            client, self._pods, self._statics.pods, lambda uid: self._assignments.busy(uid),
            lambda: self._registering.node,
        )  # fmt: skip
        metrics = Metrics(clock)
        simulated = isinstance(runtime, Simulated)
        self._devices = Devices(config, client, clock, _machine_root(config), simulated=simulated)
        self._following = Following(client, clock)
        self._means = self._share(client, runtime, metrics, clock)
        self._assignments = Assignments(
            self._means, self._pods, self._statics.pods, lambda pod: self._mirrors.settle(meta.key(pod))
        )
        self._statics.on_change = self._statics_changed
        self._devices.on_change = self._assignments.devices_changed
        looking = Looking(_gauge(config, runtime), self._cache.all, clock, own_pid=os.getpid())
        self._observer = Observer(
            self._promised, config.root, runtime, self._cache, looking, lambda: self._means.groups, self._means.machine
        )
        self._evicting = Evicting(
            self, self._observer, config.resources, clock, [self._discard_ended, self._collector.free_unused]
        )
        self._registering.pressures = lambda: self._evicting.pressures
        self._shutdown = Shutdown(
            config.shutdown_grace, config.shutdown_grace_critical, self._of_node, self._shut_down,
            self._registering.shutting_down, clock,
        )  # fmt: skip
        self._means.admission = Gate(
            self._node, self._promised_pods, lambda pod: self._shutdown.refusal() or self._evicting.refusal(pod),
            self._preempt, config.allowed_sysctls,
            armored=machines.has_armor(),
        )  # fmt: skip
        finder = Finder(self._pods, self._cache)
        logs = Logs(runtime, finder, clock)
        service = NodeService(runtime, finder, logs, looking)
        self._certificates = held(config, client, lambda: self._nodes.get("", config.node), clock)
        self._server = Server(
            f"{config.bind}:{config.grpc_port}",
            self._certificates.files,
            lambda server: add_NodeServicer_to_server(service, server),
            ("wherry.v1.Node",),
            allowed=CALLERS,
        )
        self._volumes = Informer(client, PersistentVolume, label_selector=f"{NODE_LABEL}={config.node}", clock=clock)
        shown = Shown(
            machine=self._machine, runtime=runtime, finder=finder, logs=logs, looking=looking, pods=self._of_node,
            records=self._cache.all, running=finder.everything, metrics=metrics, volumes=self._volumes.list,
            checks={"log": lambda: True, "syncloop": self._assignments.is_turning},
            collectors=[*runtime.collectors, *self._certificates.collectors, *self._devices.collectors],
        )  # fmt: skip
        self._web = https(config, client, self._certificates.files, shown, clock)
        self._keeper = Keeper(Kept(config.root), self._volumes)
        self._pool: asyncio.Future[Pool] = asyncio.get_running_loop().create_future()
        self._addressed = asyncio.Event()
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(Beginnings(metrics, clock).changed)

    def _share(self, client: Client, runtime: Runtime, metrics: Metrics, clock: Clock) -> Means:
        config = self._config
        return Means(
            runtime=runtime,
            cache=self._cache,
            network=self._network,
            recorder=self._recorder,
            reporter=PodReporter(self._reports, self._mirrors.of),
            handlers=self._handlers,
            images=Store(
                puller=Puller(runtime, clock, config.images.parallel_pulls), records=self._records,
                users=Users(runtime), root=config.root, policy=config.images.verification,
            ),
            clock=clock,
            metrics=metrics,
            host=Host(
                cluster=config.cluster, node=config.node, pause_image=config.pause_image, powers=security.powers(),
                memory=quantities.value(self._promised.capacity["memory"]), quota=self._limits().quota,
                node_container=config.node_container,
                unshares=config.runtime == "docker" and config.sandbox_network == "unshare",
            ),
            host_ip=config.address,
            root=config.root,
            sources=partial(sources, client, Tokens(client, clock)),
            following=self._following,
            pull_secrets=partial(pull_secrets, client),
            handler=partial(handler, client),
            runtimes=lambda: self._registering.engine.runtimes,
            recursive_read_only=lambda: self._registering.engine.recursive_read_only,
            pinning=Pinning(runtime.process),
            services=self._services.list,
            pods=self._promised_pods,
            allocatable=lambda: self._promised.allocatable,
            machine=_machine_root(config),
            host_paths=config.host_paths,
            devices=self._devices.prepared,
            cluster_dns=config.cluster_dns,
            cluster_domain=config.cluster_domain,
            resolver=resolvers.parse(_read(config.resolver)),
            hosts=_read(Path("/etc/hosts")),
            starts=asyncio.Semaphore(config.parallel_starts),
        )  # fmt: skip

    def _of_node(self) -> list[Pod]:
        """Every pod that is to run here, once: a mirror pod only shows one."""
        return [*(p for p in self._pods.list() if not is_mirror(p)), *self._statics.pods()]

    def _promised_pods(self) -> list[Pod]:
        return [self._means.allocations.of(p) for p in self._of_node()]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in (
                self._recorder.run(), self._certificates.run(), self._serve(), self._web.run(), self._reports.run(),
                self._handlers.run(), self._cache.run(), self._pods.run(), self._volumes.run(), self._following.run(),
                self._keeper.run(), self._collector.run(), self._live(), self._work(),
                self._statics.run(), self._shutdown.run(),
                self._devices.run(self._assignments.complete, self._assignments.known),
            ):  # fmt: skip
                tasks.create_task(part)
            if self._views is not None:
                tasks.create_task(self._views.run())
            if isinstance(self._network, Plumbing):
                tasks.create_task(Neighbours(self._nodes, self._network, self._config.node).run())
                tasks.create_task(addresses.stays(lambda: self._config.address))

    async def _serve(self) -> None:
        """gRPC cannot listen without a certificate."""
        await self._certificates.to_serve()
        await self._server.run()

    async def _live(self) -> None:
        """The Node object and its lease."""
        await self._registering.register()
        await self._server.ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._registering.run())
            tasks.create_task(self._registering.renew())
            await self._assignments.complete()
            tasks.create_task(self._mirrors.run())

    async def _work(self) -> None:
        """The pods."""
        try:
            await self._network.prepare()
        except OSError as e:
            raise CannotGoOn(f"the node's network cannot be set up: {e}") from e
        self._statics.read()
        if isinstance(self._network, Plugins):
            self._pool.set_result(Elsewhere())
        elif self._config.pod_cidr:
            self._pool.set_result(Addresses(self._config.pod_cidr))
        if self._config.runtime != "simulated":
            version = await self._runtime_version()
            self._observer.engine_is(version)
            self._group(version.cgroup_driver)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._address())
            tasks.create_task(self._assignments.run(self._connected, self._tidy))
            if self._config.runtime != "simulated":  # whose pods use nothing of the machine
                tasks.create_task(self._evicting.run())

    async def _address(self) -> None:
        """Give pods addresses, once it is known which, and who has one already."""
        pool = await self._pool
        await self._cache.synced()
        self._means.addresses = pool
        self._assignments.adopt_addresses()
        self._registering.networked()
        self._addressed.set()

    async def _connected(self) -> None:
        """There is a network to put assigned pods in: adopting them earlier would look like losing them."""
        await self._addressed.wait()
        await self._services.synced()

    def _statics_changed(self) -> None:
        self._assignments.statics_changed()
        for pod in self._statics.pods():
            self._mirrors.settle(meta.key(pod))

    def pods(self) -> list[Pod]:
        return [p for p in self._of_node() if p.status.phase not in TERMINAL]

    async def end(self, pod: Pod, ending: Ending) -> None:
        if over := self._assignments.end(pod, ending):
            await over.wait()

    async def _shut_down(self, pod: Pod, seconds: float) -> None:
        why = shutdowns.MESSAGE
        await self.end(pod, Ending(shutdowns.REASON, why, seconds, (disruption(why),)))

    async def _discard_ended(self) -> None:
        await discard_ended(self._of_node(), self._cache, self._means.runtime)

    def _preempt(self, pod: Pod) -> None:
        self._assignments.end(pod, Ending("Preempting", PREEMPTED, None, (disruption(PREEMPTED),)))

    def _node(self) -> Node:
        """What others have given it to give away is in the object, what it has itself is known here."""
        name, own = self._config.node, dict(self._promised.allocatable)
        known = self._nodes.get("", name)
        labels = machines.labels(self._machine, name) | self._config.labels
        node = meta.clone(known) if known is not None else Node(metadata=ObjectMeta(name=name, labels=labels))
        node.status.allocatable = {n: a for n, a in node.status.allocatable.items() if "/" in n} | own
        return node

    def tell(self, kind: str, reason: str, message: str) -> None:
        self._registering.tell(kind, reason, message)

    def count(self, signal: str) -> None:
        self._means.metrics.evicted(signal)

    def pressed(self) -> None:
        self._registering.look_again()

    def _group(self, driver: str) -> None:
        """The node's control groups, before the first pod stands in one; without them where that is not allowed."""
        resources = self._config.resources
        wanted = Wanted(
            root=resources.cgroup_root, driver=driver, node=self._limits(), max_pids=resources.max_pids,
            all_pods=limits.of_all_pods(self._promised.for_pods) if resources.enforced else Limits(),
            per_qos=resources.per_qos,
        )  # fmt: skip
        groups = KeptGroups(trees.tree(trees.MOUNT, driver), wanted)
        try:
            groups.prepare()
        except OSError as e:
            log.warning("going on without control groups: %s", e)
            message = f"Failed to update Node Allocatable Limits {list(groups.all_pods)}: {e}"
            self._registering.tell("Warning", "FailedNodeAllocatableEnforcement", message)
            return
        self._means.groups = groups
        if resources.enforced:
            message = "Updated Node Allocatable limit across pods"
            self._registering.tell("Normal", "NodeAllocatableEnforced", message)

    def _limits(self) -> Limits:
        return limits.of_node(self._promised.capacity, self._machine.cpus, self._machine.memory)

    async def _runtime_version(self) -> Version:
        while True:
            try:
                return await self._means.runtime.version()
            except EngineError as e:
                log.info("waiting for the engine: %s", e)
                await self._means.clock.sleep(ENGINE_RETRY)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None or new.metadata.name != self._config.node:
            return
        self._certificates.look_again()
        if new.spec.podCIDR and not self._pool.done():
            self._pool.set_result(Addresses(new.spec.podCIDR))
            log.info("pod addresses come from %s", new.spec.podCIDR)

    async def _tidy(self, known: Callable[[], Collection[str]]) -> None:
        """Remove what pods that are gone have left behind."""
        await self._network.sweep(known)
        if not isinstance(self._network, Plugins):
            await abandon(self._config.attachments)
        self._means.groups.sweep(known())
        for directory in (self._config.root / "pods").glob("*"):
            if directory.name not in known():
                log.info("removing %s: there is no such pod", directory)
                layout = Layout(self._config.root, directory.name, pinning=self._means.pinning)
                await asyncio.to_thread(layout.remove)


def _machine_root(config: Config) -> Path | None:
    """Where the machine's files are: here if this process lives there, or under process 1 if that can be entered."""
    if not config.node_container:
        return Path("/")
    return Path("/proc/1/root") if os.access("/proc/1/root/etc", os.R_OK) else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
