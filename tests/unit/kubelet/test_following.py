import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.types import (
    ConfigMap,
    ConfigMapEnvSource,
    ConfigMapVolumeSource,
    EnvFromSource,
    Pod,
    Secret,
    SecretVolumeSource,
    Volume,
)  # fmt: skip
from kubelet.pods.following import Following, Reference, references
from machinery.clocks import SYSTEM
from tests.unit.kubelet.builders import container, pod
from tests.unit.machinery.resources import Resources, connected

SETTINGS = Reference(ConfigMap, "default", "settings")


def showing(uid: str) -> Pod:
    return pod(
        metadata={"uid": uid}, volumes=[Volume(name="v", configMap=ConfigMapVolumeSource(name="settings"))]
    )  # fmt: skip


class Heard:
    """What pods were told, and a way to wait for it."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Reference, str]] = []
        self._more = asyncio.Event()

    def by(self, uid: str, reference: Reference, version: str) -> None:
        self.all.append((uid, reference, version))
        self._more.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.all) < count:
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def followed(*uids: str) -> AsyncIterator[tuple[Resources, Following, Heard]]:
    heard = Heard()
    async with connected() as (service, client), asyncio.TaskGroup() as tasks:
        following = Following(client, SYSTEM)
        for uid in uids:
            following.follow(showing(uid), lambda r, v, uid=uid: heard.by(uid, r, v))
        running = tasks.create_task(following.run())
        yield service, following, heard
        running.cancel()


async def settings(service: Resources, **data: str) -> None:
    metadata = {"name": "settings", "namespace": "default"}
    await service.put("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


async def test_everybody_who_shows_an_object_hears_of_it_as_it_comes_changes_and_goes():
    async with followed("a", "b") as (service, _, heard):
        await settings(service, color="blue")
        await heard.reach(2)
        await settings(service, color="red")
        await heard.reach(4)
        await service.remove("configmaps", "settings", "default")
        await heard.reach(6)
        assert heard.all == [(uid, SETTINGS, version) for version in ("1", "2", "") for uid in ("a", "b")]
        assert service.lists == 1


async def test_who_has_left_hears_nothing_and_the_last_one_ends_the_watch():
    async with followed("a", "b") as (service, following, heard):
        await settings(service, color="blue")
        await heard.reach(2)
        following.leave(showing("a"))
        await settings(service, color="red")
        await heard.reach(3)
        assert heard.all[2:] == [("b", SETTINGS, "2")]
        following.leave(showing("b"))
        following.follow(showing("c"), lambda r, v: heard.by("c", r, v))
        await heard.reach(4)
        assert heard.all[3:] == [("c", SETTINGS, "2")]
        assert service.lists == 2


def test_a_pod_refers_to_what_its_volumes_and_variables_name_but_for_the_clusters_certificate():
    of = pod(
        container(envFrom=[EnvFromSource(configMapRef=ConfigMapEnvSource(name="variables"))]),
        volumes=[
            Volume(name="v", configMap=ConfigMapVolumeSource(name="settings")),
            Volume(name="s", secret=SecretVolumeSource(secretName="key")),
            Volume(name="ca", configMap=ConfigMapVolumeSource(name="kube-root-ca.crt")),
        ],
    )
    assert references(of) == {
        SETTINGS,
        Reference(ConfigMap, "default", "variables"),
        Reference(Secret, "default", "key"),
    }
