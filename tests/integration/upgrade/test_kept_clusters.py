"""Today's components on what earlier releases have left: see docs/development.md, "Releases"."""

import asyncio
import base64
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from apiserver.storage.etcd import Endpoints, Etcd
from machinery.testing import ControlPlane, apiserver, etcd
from tests.integration.conformance.conftest import Api, client_of
from tests.integration.processes import workers
from tests.releases import KEPT, world
from tests.releases.keeping import CLUSTER, SAID, encryption
from tests.releases.world import APPS, CORE, PLURAL, WORK, Tree

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUR_OWN = {
    ("endpoints", "kubernetes"), ("endpointslices", "kubernetes"), ("apiservices", "v1.elsewhere.example.com"),
}  # fmt: skip
"""What tells where this API server is, and whom it reaches."""
BOOTSTRAPPING = "kubernetes.io/bootstrapping"
"""The label of the roles that each release brings up to its own."""
WORKLOADS = ("deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions")


@dataclass(frozen=True, slots=True)
class Cluster:
    place: Path
    plane: ControlPlane
    api: Api
    lists: dict[str, Tree]
    """What the release answered: path → list."""
    token: str

    async def stored(self, key: bytes) -> bytes:
        own = self.plane.pki / "apiserver"
        endpoints = Endpoints((self.plane.etcd,), own / "ca.crt", own / "tls.crt", own / "tls.key")
        async with Etcd(endpoints) as client:
            return bytes((await client.range(key)).kvs[0].value)


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=sorted(KEPT.glob(f"*/{CLUSTER}")), ids=lambda path: path.parent.name
)
async def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    place = tmp_path_factory.mktemp("kept")
    with tarfile.open(request.param) as tar:
        tar.extractall(place, filter="data")
    said = json.loads((place / SAID).read_text())
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(etcd(place, place / "pki"))
        plane = await stack.enter_async_context(apiserver(place, place / "pki", url, encryption(place)))
        api = await stack.enter_async_context(client_of(plane))
        yield Cluster(place, plane, api, said["lists"], said["token"])


def foreign(path: str, listing: Tree) -> dict[str, Tree]:
    """The items by namespace and name, without those that are each API server's, or each release's."""
    plural = path.rpartition("/")[2]
    named = {f"{o['metadata'].get('namespace', '')}/{o['metadata']['name']}": o for o in listing["items"]}
    return {
        name: o for name, o in named.items()
        if (plural, o["metadata"]["name"]) not in OUR_OWN and BOOTSTRAPPING not in o["metadata"].get("labels", {})
    }  # fmt: skip


def uids(listing: Tree) -> set[str]:
    return {item["metadata"]["uid"] for item in listing["items"]}


async def test_everything_is_served_in_each_version_as_the_release_did(cluster: Cluster) -> None:
    assert all(cluster.lists[path]["items"] for path in cluster.lists)
    for path, listing in cluster.lists.items():
        assert foreign(path, await cluster.api.get(path)) == foreign(path, listing), path
        for item in listing["items"]:
            where, name = item["metadata"].get("namespace"), item["metadata"]["name"]
            root, _, plural = path.rpartition("/")
            one = f"{root}/namespaces/{where}/{plural}/{name}" if where else f"{path}/{name}"
            found = await cluster.api.get(one)
            assert found["metadata"]["uid"] == item["metadata"]["uid"]


async def test_secrets_are_sealed_and_opened_by_the_keys_of_then(cluster: Cluster) -> None:
    word = await cluster.api.get(f"{CORE}/secrets/word")
    assert word["data"] == {"word": "c3dvcmRmaXNo"}
    sealed = await cluster.stored(f"/registry/secrets/{WORK}/word".encode())
    assert sealed.startswith(b"k8s:enc:aesgcm:v1:kept:")


async def test_tokens_of_then_still_tell_who_somebody_is(cluster: Cluster) -> None:
    for token in (cluster.token, (await cluster.api.get(f"{CORE}/secrets/lasting"))["data"]["token"]):
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": plain(token)}}
        status = (await cluster.api.create("/apis/authentication.k8s.io/v1/tokenreviews", review))["status"]
        assert status["authenticated"]
        assert status["user"]["username"] == f"system:serviceaccount:{WORK}:default"


def plain(token: str) -> str:
    """Of a Secret's data, or as it is."""
    return token if "." in token else base64.b64decode(token).decode()


async def test_who_watched_then_is_told_to_list_again_and_goes_on(cluster: Cluster) -> None:
    path = f"{CORE}/configmaps"
    async with cluster.api.watch(path, cluster.lists["/api/v1/configmaps"]["metadata"]["resourceVersion"]) as watch:
        type_, obj = await watch.next()
    assert (type_, obj["code"], obj["reason"]) == ("ERROR", 410, "Expired")
    async with cluster.api.watch(path, (await cluster.api.get(path))["metadata"]["resourceVersion"]) as watch:
        await cluster.api.create(path, {"metadata": {"name": "later"}})
        type_, obj = await watch.next()
    assert (type_, obj["metadata"]["name"]) == ("ADDED", "later")
    await cluster.api.delete(f"{path}/later")


async def test_custom_objects_are_the_same_in_both_versions(cluster: Cluster) -> None:
    for version in world.VERSIONS:
        for name in ("of-v1", "of-v1beta1"):
            boat = await cluster.api.get(f"/apis/{world.GROUP}/{version}/namespaces/{WORK}/{PLURAL}/{name}")
            assert boat["spec"]["name"] == "Wherry"
            assert boat["apiVersion"] == f"{world.GROUP}/{version}"


async def test_controllers_go_on_and_leave_alone_what_stands(cluster: Cluster) -> None:
    api = cluster.api
    pods = cluster.lists["/api/v1/pods"]
    async with workers(cluster.plane, cluster.place):
        # Each of these needs the controllers, the scheduler and the kubelet: they have looked at all else by then.
        await api.create(f"{APPS}/deployments", world.workload("later", replicas=1))
        await api.patch(f"{APPS}/statefulsets/store", {"spec": {"replicas": world.REPLICAS + 1}})
        for path, ready in ((f"{APPS}/deployments/later", 1), (f"{APPS}/statefulsets/store", world.REPLICAS + 1),
                            (f"{APPS}/deployments/web", world.REPLICAS)):  # fmt: skip
            await api.until(path, lambda obj, n=ready: obj["status"].get("availableReplicas") == n)
        async with asyncio.timeout(60):
            for item in pods["items"]:
                name, phase = item["metadata"]["name"], item["status"]["phase"]
                path = f"/api/v1/namespaces/{item['metadata']['namespace']}/pods/{name}"
                await api.until(path, lambda obj, phase=phase: obj["status"]["phase"] == phase)
        for path, more in (("/api/v1/pods", 2), ("/api/v1/persistentvolumeclaims", 1), ("/apis/apps/v1/replicasets", 1),
                           ("/apis/apps/v1/controllerrevisions", 0)):  # fmt: skip
            now, then = uids(await api.get(path)), uids(cluster.lists[path])
            assert (len(then - now), len(now - then)) == (0, more), path
        for name in WORKLOADS:
            now = {o["metadata"]["uid"]: o for o in (await api.get(f"/apis/apps/v1/{name}"))["items"]}
            for old in cluster.lists[f"/apis/apps/v1/{name}"]["items"]:
                new = now[old["metadata"]["uid"]]
                if old["metadata"]["name"] != "store":
                    assert new.get("spec") == old.get("spec")
                    assert new["metadata"].get("generation") == old["metadata"].get("generation")
                else:
                    assert new["status"]["updateRevision"] == old["status"]["updateRevision"]
