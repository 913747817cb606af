"""Components of the last kept release beside today's: see docs/development.md, "Releases"."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from machinery.client import connect
from machinery.testing import ControlPlane, apiserver, etcd, write_certificates
from tests.integration.clients.clusters import Cluster
from tests.integration.cluster_dns.test_processes import cluster_dns, data
from tests.integration.conformance.conftest import STRATEGIC, Answer, Api, Watch, client_of, is_true
from tests.integration.processes import NODE, Environment, controller_manager, kubelet, scheduler
from tests.integration.upgrade.test_kept_clusters import OUR_OWN
from tests.releases import sources, world
from tests.releases.troubles import troubles
from tests.releases.world import APPS, CORE, SAMPLES, WORK, Tree

OTHER = "node2"
# A machine that is busy may need long to start an API server, and whoever leads meanwhile shall go on.
ELECTED = ("--leader-elect-lease-duration=45s", "--leader-elect-renew-deadline=40s")
LEASES = "/apis/coordination.k8s.io/v1/namespaces"
LEADERS = (f"{LEASES}/kube-system/leases/kube-controller-manager", f"{LEASES}/kube-system/leases/kube-scheduler")
MORE = world.REPLICAS + 1
SHARING = "--permit-port-sharing"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return sources.unpack(tmp_path_factory.mktemp("source"))


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_certificates(tmp_path / "pki")
    return tmp_path / "pki"


@pytest.fixture
def then(tmp_path: Path) -> Path:
    """A directory of the older components' own."""
    (tmp_path / "then").mkdir()
    return tmp_path / "then"


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """For API servers that follow one another. Nobody else is given them meanwhile, for they are taken here: who
    listens there must share them."""
    with socket.socket() as rest, socket.socket() as grpc:
        for taken in (rest, grpc):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
        yield rest.getsockname()[1], grpc.getsockname()[1]


class Both(Api):
    """Each request goes to the other API server than the one before it."""

    def __init__(self, *apis: Api) -> None:
        self._turns = itertools.cycle(apis)

    async def send(self, *arguments: Any, **headers: str) -> Answer:
        return await next(self._turns).send(*arguments, **headers)

    def watch(self, *arguments: str) -> AbstractAsyncContextManager[Watch]:
        return next(self._turns).watch(*arguments)


@dataclass(frozen=True, slots=True)
class Beats:
    """Leases that are renewed, and nodes that are well without a break."""

    renewed: dict[str, str]
    well: dict[str, str]
    """Path → when it was last renewed, and since when it is Ready."""

    @classmethod
    async def begun(cls, api: Api, *names: str) -> "Beats":
        nodes = {path: await api.until(path, is_true("Ready")) for path in (f"/api/v1/nodes/{name}" for name in names)}
        leases = [*LEADERS, *(f"{LEASES}/kube-node-lease/leases/{name}" for name in names)]
        renewed = {path: (await api.until(path, bool))["spec"]["renewTime"] for path in leases}
        return cls(renewed, {path: ready_since(node) for path, node in nodes.items()})

    async def went_on(self, api: Api) -> None:
        for lease, then in self.renewed.items():
            await api.until(lease, lambda obj, then=then: obj["spec"]["renewTime"] > then)
        for node, since in self.well.items():
            assert ready_since(await api.get(node)) == since


def ready_since(node: Tree) -> str:
    (ready,) = (c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"
    since: str = ready["lastTransitionTime"]
    return since


async def leaders(api: Api) -> list[str]:
    return [(await api.get(path))["spec"]["holderIdentity"] for path in LEADERS]


@asynccontextmanager
async def deciding(plane: ControlPlane, place: Path, env: Environment | None = None) -> AsyncIterator[None]:
    """A controller manager and a scheduler, which lead when nobody else does."""
    async with controller_manager(plane, place, *ELECTED, env=env), scheduler(plane, place, *ELECTED, env=env):
        yield


async def change(api: Api, *nodes: str) -> None:
    """The workloads of the kept world grow, are rolled, and shrink; the daemons come to be on these nodes."""
    replicated = (f"{APPS}/deployments/web", f"{APPS}/statefulsets/store")
    for path in replicated:
        await api.patch(path, {"spec": {"replicas": MORE}})
    for path in replicated:
        await api.until(path, stands(MORE, "replicas", "updatedReplicas", "availableReplicas"))
    rolled = {"containers": [{"name": "main", "image": "app:2"}]}
    for path in replicated:
        await api.patch(path, {"spec": {"template": {"spec": rolled}}}, STRATEGIC)
    # The kept world has a node that is only an object.
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    wide = {"template": {"spec": {**rolled, "nodeSelector": None, "affinity": affinity}}}
    await api.patch(f"{APPS}/daemonsets/every", {"spec": wide}, STRATEGIC)
    for path in replicated:
        await api.until(path, stands(MORE, "replicas", "updatedReplicas", "availableReplicas"))
    await api.until(f"{APPS}/daemonsets/every", stands(len(nodes), "updatedNumberScheduled", "numberAvailable"))
    await api.until(f"{CORE}/endpoints/web", lambda obj: addresses(obj) == MORE)
    await api.patch(f"{APPS}/deployments/web", {"spec": {"replicas": 1}})
    await api.until(f"{CORE}/endpoints/web", lambda obj: addresses(obj) == 1)


def stands(size: int, *counts: str) -> Callable[[Tree], bool]:
    """Whether a workload's status is of its present spec, and counts so many."""

    def holds(obj: Tree) -> bool:
        status = obj["status"]
        return status.get("observedGeneration") == obj["metadata"]["generation"] and all(
            status.get(count) == size for count in counts
        )

    return holds


def addresses(endpoints: Tree) -> int:
    return sum(len(subset.get("addresses", [])) for subset in endpoints.get("subsets", []))


async def visit(api: Api, plane: ControlPlane, place: Path, *nodes: str) -> None:
    """Into a daemon of each node, twice: the second time over the connection to its kubelet that was kept."""
    cluster = Cluster(plane, place, plane.kubeconfig(place / "kubeconfig"))
    pods = (await api.get(f"{CORE}/pods?labelSelector=app%3Devery"))["items"]
    daemons = {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}
    for node in nodes:
        pod = daemons[node]
        for _ in range(2):
            said = await asyncio.to_thread(cluster.kubectl, "-n", WORK, "exec", pod, "--", "echo", "hi")
            assert said == "hi\n"
        (await api.send("GET", f"{CORE}/pods/{pod}/log")).ok()
        assert (await api.get(f"/apis/metrics.k8s.io/v1beta1/nodes/{node}"))["usage"].keys() == {"cpu", "memory"}


async def resolve(api: Api, plane: ControlPlane, place: Path, env: Environment | None = None) -> None:
    address = (await api.get(f"{CORE}/services/web"))["spec"]["clusterIP"]
    async with connect(plane.access()) as client, cluster_dns(plane, place, client, env) as names:
        assert data(await names.ask(f"web.{WORK}.svc.cluster.local.")) == [address]


async def end(api: Api) -> None:
    """All of the kept world goes: one deployment after its pods, the rest with its namespace."""
    await api.delete(f"{APPS}/deployments/web", {"propagationPolicy": "Foreground"})
    await api.gone(f"{APPS}/deployments/web")
    for namespace in (WORK, SAMPLES):
        await api.delete(f"/api/v1/namespaces/{namespace}")
    for namespace in (WORK, SAMPLES):
        await api.gone(f"/api/v1/namespaces/{namespace}")


def errors(*places: Path) -> dict[str, list[str]]:
    """Of the components whose logs are in these directories."""
    logs = [log for place in places for log in place.glob("*.log") if log.name != "etcd.log"]
    return {log.name: found for log in logs if (found := troubles(log.read_text()))}


async def test_an_older_api_server_serves_younger_components(older: Environment, pki: Path, tmp_path: Path) -> None:
    async with (
        etcd(tmp_path, pki) as url,
        apiserver(tmp_path, pki, url, env=older) as plane,
        client_of(plane) as api,
        deciding(plane, tmp_path),
        kubelet(plane, tmp_path),
    ):
        beats = await Beats.begun(api, NODE)
        await world.make(api)
        await change(api, NODE)
        await visit(api, plane, tmp_path, NODE)
        await resolve(api, plane, tmp_path)
        await beats.went_on(api)
        await end(api)
    assert errors(tmp_path) == {}


async def test_older_components_go_on_with_a_younger_api_server(
    older: Environment, pki: Path, then: Path, ports: tuple[int, int], tmp_path: Path
) -> None:
    """It takes the place of their own one while they work, and is started once more."""
    async with etcd(tmp_path, pki) as url, AsyncExitStack() as others:
        async with apiserver(then, pki, url, SHARING, ports=ports, env=older) as plane, client_of(plane) as api:
            await others.enter_async_context(deciding(plane, tmp_path, older))
            await others.enter_async_context(kubelet(plane, tmp_path, env=older))
            beats = await Beats.begun(api, NODE)
            await world.make(api)
            before = await leaders(api)
            assert errors(then) == {}
        async with apiserver(tmp_path, pki, url, SHARING, ports=ports) as plane, client_of(plane) as api:
            await change(api, NODE)
            await visit(api, plane, tmp_path, NODE)
            await resolve(api, plane, tmp_path, older)
            await beats.went_on(api)
        async with apiserver(tmp_path, pki, url, SHARING, ports=ports) as plane, client_of(plane) as api:
            await end(api)
            assert await leaders(api) == before
            await others.aclose()
    assert errors(tmp_path) == {}


async def test_api_servers_nodes_and_leaders_of_both_releases_make_one_cluster(
    older: Environment, pki: Path, then: Path, tmp_path: Path
) -> None:
    """Two API servers on one etcd and a node of each; the younger controllers and scheduler take over."""
    async with (
        etcd(tmp_path, pki) as url,
        apiserver(then, pki, url, env=older) as old,
        client_of(old) as old_api,
        AsyncExitStack() as servers,
    ):
        async with kubelet(old, then, env=older), AsyncExitStack() as others:
            async with deciding(old, then, older):
                await world.make(old_api)
                new = await servers.enter_async_context(apiserver(tmp_path, pki, url))
                new_api = await servers.enter_async_context(client_of(new))
                before = await leaders(old_api)
                await others.enter_async_context(kubelet(new, tmp_path, node=OTHER))
                await others.enter_async_context(deciding(new, tmp_path))
                beats = await Beats.begun(new_api, NODE, OTHER)
            both = Both(old_api, new_api)
            for path, leader in zip(LEADERS, before, strict=True):
                await both.until(path, lambda obj, of=leader: obj["spec"].get("holderIdentity") not in (None, "", of))
            await change(both, NODE, OTHER)
            for plane, api in ((old, old_api), (new, new_api)):
                await visit(api, plane, tmp_path, NODE, OTHER)
            await beats.went_on(both)
        assert alike(await world.everything(old_api)) == alike(await world.everything(new_api))
    assert errors(then, tmp_path) == {}


def alike(lists: dict[str, Tree]) -> dict[str, list[Tree]]:
    """Path → items, without those that an API server has of its own: these two write each other's ports over."""
    return {
        path: [o for o in listing["items"] if (path.rpartition("/")[2], o["metadata"]["name"]) not in OUR_OWN]
        for path, listing in lists.items()
    }
