"""A kubelet on the real engine, with a real API server, whose node is a network namespace of its own."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import docker
import pytest

from api import meta
from api.types import Container, Node, ObjectMeta, Pod, PodSpec, ServiceAccount
from kubelet import agents
from kubelet.agents import Agent
from kubelet.cgroups import trees
from kubelet.config import Config, parse
from kubelet.network.netlink import netlink_in
from kubelet.runtime.docker import Docker
from kubelet.runtime.interfaces import CLUSTER
from kubelet.runtime.simulated import Engine, Simulated, SimulatedNetwork
from machinery.channels import channel
from machinery.client import Client, connect
from machinery.clocks import SYSTEM
from machinery.kubeconfigs import Access
from machinery.testing import ControlPlane, control_plane, free_port
from proto.node_pb2_grpc import NodeStub
from tests.integration.kubelet.engines import PrivateEngine

IMAGE = "busybox:1.35"
PAUSE = "wherry/pause:1"
ROOTS = Path("/var/lib/wherry-kubelet-test")
SHARED = "unix:///var/run/docker.sock"
FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"]


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    client = docker.APIClient(version="auto")
    for image in (IMAGE, PAUSE):
        assert client.images(image), f"the image {image} is needed: scripts/up builds it"
    yield client
    client.close()


@pytest.fixture(scope="session")
def spare_engine(tmp_path_factory: pytest.TempPathFactory, engine: docker.APIClient) -> Iterator[PrivateEngine]:
    """Not started before a test wants it."""
    images = tmp_path_factory.mktemp("images") / "images.tar"
    subprocess.run(["docker", "save", "--output", str(images), IMAGE, PAUSE], check=True)
    made = PrivateEngine(ROOTS / f"engine-{uuid.uuid4().hex[:8]}", images)
    yield made
    if made.home.exists():
        made.remove()


@pytest.fixture
def private_engine(spare_engine: PrivateEngine) -> PrivateEngine:
    """An engine that runs and has the images, whatever the test before has done to it."""
    spare_engine.start()
    spare_engine.load()
    return spare_engine


@pytest.fixture
def cluster(engine: docker.APIClient) -> Iterator[str]:
    """A name that marks this test's containers, all of which go at its end."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    _remove_all(engine, name)


def _remove_all(engine: docker.APIClient, cluster: str) -> None:
    for left in engine.containers(all=True, filters={"label": f"{CLUSTER}={cluster}"}):
        # What the stopped kubelet had asked for last may still be happening.
        with contextlib.suppress(docker.errors.NotFound):
            try:
                engine.remove_container(left["Id"], force=True, v=True)
            except docker.errors.APIError:
                engine.wait(left["Id"], timeout=30, condition="removed")
    for volume in engine.volumes({"label": f"{CLUSTER}={cluster}"})["Volumes"] or []:
        engine.remove_volume(volume["Name"], force=True)
    with suppress(OSError):  # what an engine that was killed has left running is still in one
        trees.tree(trees.MOUNT, "cgroupfs").remove((cluster,))


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network namespace that no packet can leave."""
    name = f"wherry-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    for command in (
        ["link", "set", "lo", "up"],
        ["route", "add", "unreachable", "10.96.0.0/16", "metric", "4000000"],
        ["route", "add", "unreachable", "10.244.0.0/16", "metric", "4000000"],
        ["address", "add", "10.99.0.1/32", "dev", "lo"],
    ):
        subprocess.run(["ip", "-n", name, *command], check=True)
    subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.fixture
def root() -> Iterator[Path]:
    """A directory that the engine sees under the same path."""
    path = ROOTS / uuid.uuid4().hex[:8]
    path.mkdir(parents=True)
    yield path
    # A start that was under way when the kubelet stopped may still write here.
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # another test's directory is still in it
        path.parent.rmdir()


@dataclass
class Lab:
    """One node. `kubelet()` runs its kubelet for as long as the block runs; again, to restart it."""

    plane: ControlPlane
    client: Client
    engine: docker.APIClient
    cluster: str
    namespace: str
    root: Path
    endpoint: str = SHARED
    port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    simulated: Engine | None = None  # in the place of the real one

    @asynccontextmanager
    async def kubelet(self, *flags: str, alone: bool = False) -> AsyncIterator[None]:
        """`alone`: it reaches no API server."""
        config = self._config(flags)
        handle = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        runtime: Docker | Simulated = Docker(config.endpoint, self.cluster, "node1")
        network = agents.network(config, lambda: netlink_in(handle))
        if self.simulated is not None:
            runtime, network = Simulated(self.cluster, "node1", engine=self.simulated), SimulatedNetwork()
        access = self.plane.access("node1-kubelet")
        if alone:
            access = replace(access, server=f"https://127.0.0.1:{free_port()}")
        async with connect(access) as client:
            running = asyncio.create_task(Agent(config, client, runtime, network, SYSTEM).run())
            try:
                if not alone:
                    await self._schedulable(running)
                yield
                assert not running.done(), running.exception()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                runtime.close()
                os.close(handle)

    def _config(self, flags: Sequence[str]) -> Config:
        pki = self.plane.pki / "node1-kubelet"
        return parse(
            ["--kubeconfig", "unused", "--hostname-override", "node1", "--node-ip", "10.99.0.1",
             "--address", "127.0.0.1", "--port", str(self.port), "--grpc-port", str(self.grpc_port),
             "--root-dir", str(self.root), "--cluster-name", self.cluster, "--client-ca-file", str(pki / "ca.crt"),
             "--tls-cert-file", str(pki / "tls.crt"), "--tls-private-key-file", str(pki / "tls.key"),
             "--cgroup-root", f"/{self.cluster}/node1",
             "--container-runtime-endpoint", self.endpoint,
             "--runtime", "docker" if self.simulated is None else "simulated", *flags]
        )  # fmt: skip

    async def _schedulable(self, running: "asyncio.Task[None]") -> None:
        """What the controller manager's node-ipam would do."""
        async with asyncio.timeout(20):
            node: Node | None = None
            listing = await self.client.list(Node)
            node = next(iter(listing.items), None)
            if node is None:
                async for batch in self.client.watch(Node, resource_version=listing.resource_version):
                    node = next((e.object for e in batch if e.type == "ADDED"), None)
                    if node is not None:
                        break
            assert node is not None
            assert not running.done()
            if not node.spec.podCIDR:
                cidr = "10.244.1.0/24"
                await self.client.patch(Node, "node1", "", {"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}})

    async def create(self, pod: Pod) -> Pod:
        return await self.client.create(pod)

    async def until(
        self, name: str, holds: Callable[[Pod], object], seconds: float = 30, *, gone_is_fine: bool = False
    ) -> Pod:
        """The pod, once it is so.  `gone_is_fine`: another of that name is to come."""
        last: Pod | None = None
        try:
            async with asyncio.timeout(seconds):
                async for pod in self._versions(name):
                    assert pod is not None or gone_is_fine, f"pod {name} is gone"
                    last = pod
                    if pod is not None and holds(pod):
                        return pod
        except TimeoutError as e:
            raise AssertionError(f"pod {name} stayed {meta.encode(last.status).decode() if last else 'away'}") from e
        raise AssertionError("the watch ended")

    async def until_gone(self, name: str, seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            async for pod in self._versions(name):
                if pod is None:
                    return

    async def _versions(self, name: str) -> AsyncIterator[Pod | None]:
        chosen = {"namespace": "default", "field_selector": f"metadata.name={name}"}
        listing = await self.client.list(Pod, **chosen)
        yield listing.items[0] if listing.items else None
        while True:
            watch = self.client.watch(Pod, resource_version=listing.resource_version, **chosen)
            async for batch in watch:
                for event in batch:
                    if event.type != "BOOKMARK":
                        yield None if event.type == "DELETED" else event.object

    @asynccontextmanager
    async def node(self) -> AsyncIterator[NodeStub]:
        """The kubelet's own service, as the API server calls it."""
        access = self.plane.access("apiserver")
        target = Access(f"https://127.0.0.1:{self.grpc_port}", access.ca, access.certificate, access.key)
        async with channel(target) as grpc_channel:
            await asyncio.wait_for(grpc_channel.channel_ready(), 10)
            yield NodeStub(grpc_channel)

    async def until_made(self, number: int, seconds: float = 20) -> None:
        """Returns when the engine has so many containers of this node, running or not."""
        async with asyncio.timeout(seconds):
            while len(await asyncio.to_thread(self.containers)) < number:
                await SYSTEM.sleep(0.01)  # as close to the moment as may be: events come after it

    def containers(self) -> list[dict[str, object]]:
        if self.simulated is not None:
            return [{"Id": record.id, "Labels": record.labels} for record in self.simulated.records.values()]
        return self.engine.containers(all=True, filters={"label": f"{CLUSTER}={self.cluster}"})

    def inside(self, *command: str) -> str:
        """What a command prints in the network namespace of the node."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], check=False, capture_output=True, text=True, timeout=20
        )
        return done.stdout + done.stderr


@pytest.fixture
async def lab(
    tmp_path: Path, engine: docker.APIClient, cluster: str, namespace: str, root: Path
) -> AsyncIterator[Lab]:  # fmt: skip
    async with _plane(tmp_path) as (plane, client):
        yield Lab(plane, client, engine, cluster, namespace, root)


@pytest.fixture
async def own_lab(
    tmp_path: Path, private_engine: PrivateEngine, namespace: str, root: Path
) -> AsyncIterator[Lab]:  # fmt: skip
    """The same on an engine of one's own, which the test may stop and kill."""
    cluster = f"test-{uuid.uuid4().hex[:8]}"
    async with _plane(tmp_path) as (plane, client):
        yield Lab(plane, client, private_engine.client, cluster, namespace, root, private_engine.endpoint)
    private_engine.start()
    _remove_all(private_engine.client, cluster)


@asynccontextmanager
async def _plane(tmp_path: Path) -> AsyncIterator[tuple[ControlPlane, Client]]:
    async with AsyncExitStack() as stack:
        # A `kubernetes` Service may not lead to a loopback address, and nothing here follows it.
        plane = await stack.enter_async_context(control_plane(tmp_path, "--advertise-address", "192.0.2.1"))
        client = await stack.enter_async_context(connect(plane.access()))
        await client.create(
            ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"), automountServiceAccountToken=False)
        )
        yield plane, client


def make_pod(name: str, *containers: Container, **spec: object) -> Pod:
    """One that is bound to the node already."""
    chosen = containers or (make_container(),)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(containers=list(chosen), nodeName="node1", **spec),  # type: ignore[arg-type]
    )


def make_container(name: str = "main", command: list[str] | None = None, **fields: object) -> Container:
    return Container(name=name, image=IMAGE, command=command or FOREVER, **fields)  # type: ignore[arg-type]


def is_ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


@pytest.fixture
def pods() -> Callable[..., Pod]:
    return make_pod


@pytest.fixture
def containers() -> Callable[..., Container]:
    return make_container
