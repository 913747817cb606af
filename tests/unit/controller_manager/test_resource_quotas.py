"""Quotas: what is used is counted, given back, and not given away while somebody may be about to take it."""

from typing import Any

from api import meta
from api.types import ConfigMap, ObjectMeta, Pod, ResourceQuota, ResourceQuotaSpec, ResourceV1ResourceClaim
from controller_manager.resource_quotas import QUIET_SECONDS
from machinery.testing import FakeClock
from tests.unit.controller_manager.worlds import World, controllers, rest

QUOTAS = "resourcequota-controller"


def quota(**hard: str) -> ResourceQuota:
    limits = {name.replace("_", "/"): text for name, text in hard.items()}
    return ResourceQuota(metadata=ObjectMeta(name="q", namespace="default"), spec=ResourceQuotaSpec(hard=limits))


def config_map(name: str, namespace: str = "default") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace))


def pod(name: str, cpu: str, **status: Any) -> Pod:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    document = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container]},
        "status": status,
    }
    return meta.decode(meta.encode(document), Pod)


def status(world: World) -> tuple[dict[str, str], dict[str, str]]:
    found = world.one(ResourceQuota, "q").status
    return found.hard, found.used


async def charge(world: World, **used: str) -> None:
    """As the API server does before it stores something."""
    standing = world.one(ResourceQuota, "q")
    standing.status.used = standing.status.used | used
    await world.update_status(standing)
    await rest()


async def test_what_is_there_is_counted(world: World) -> None:
    for name in "ab":
        await world.create(config_map(name))
    await world.create(config_map("a", "other"))
    await world.create(pod("p", "250m"))
    await world.create(pod("q", "1", phase="Succeeded"))
    async with controllers(world, QUOTAS):
        await world.create(quota(configmaps="5", count_pods="9", pods="9", cpu="2"))
        await rest()
        used = {"configmaps": "2", "count/pods": "2", "pods": "1", "cpu": "250m"}
        assert status(world) == ({"configmaps": "5", "count/pods": "9", "pods": "9", "cpu": "2"}, used)


async def test_devices_are_counted_as_they_are_asked_for(world: World) -> None:
    def asked(name: str, *wishes: tuple[str, str, int]) -> dict[str, Any]:
        choices = [
            {"name": f"c{i}", "deviceClassName": c, "allocationMode": m, "count": n}
            for i, (c, m, n) in enumerate(wishes)
        ]
        return {"name": name} | ({"firstAvailable": choices} if len(choices) > 1 else {"exactly": choices[0]})

    requests = [
        asked("some", ("gpus", "ExactCount", 3)),
        asked("every", ("gpus", "All", 0)),
        asked("either", ("gpus", "ExactCount", 2), ("nics", "ExactCount", 1), ("gpus", "ExactCount", 5)),
    ]
    document = {"metadata": {"name": "c", "namespace": "default"}, "spec": {"devices": {"requests": requests}}}
    await world.create(meta.decode(meta.encode(document), ResourceV1ResourceClaim))
    gpus, nics = (f"{c}.deviceclass.resource.k8s.io_devices" for c in ("gpus", "nics"))
    async with controllers(world, QUOTAS):
        await world.create(quota(**{gpus: "99", nics: "9", "count_resourceclaims.resource.k8s.io": "9"}))
        await rest()
        assert status(world)[1] == {
            "gpus.deviceclass.resource.k8s.io/devices": "40",
            "nics.deviceclass.resource.k8s.io/devices": "1",
            "count/resourceclaims.resource.k8s.io": "1",
        }


async def test_what_is_deleted_is_given_back(world: World) -> None:
    await world.create(config_map("a"))
    async with controllers(world, QUOTAS):
        await world.create(quota(configmaps="5"))
        await rest()
        assert status(world)[1] == {"configmaps": "1"}
        await world.delete(ConfigMap, "a", "default")
        await rest()
        assert status(world)[1] == {"configmaps": "0"}


async def test_a_charge_is_not_given_back_before_its_object_can_be_there(world: World, clock: FakeClock) -> None:
    await world.create(config_map("a"))
    async with controllers(world, QUOTAS) as term:
        await world.create(quota(configmaps="5"))
        await rest()
        await charge(world, configmaps="2")  # for an object that is on its way
        await world.delete(ConfigMap, "a", "default")
        await rest()
        assert status(world)[1] == {"configmaps": "2"}
        await clock.advance(QUIET_SECONDS)
        [controller] = [c for c in term.controllers if c.name == QUOTAS]
        await controller.reconcile_now(meta.key(world.one(ResourceQuota, "q")))
        assert status(world)[1] == {"configmaps": "0"}


async def test_a_pod_that_ends_frees_what_it_had(world: World) -> None:
    running = await world.create(pod("p", "1"))
    async with controllers(world, QUOTAS):
        await world.create(quota(pods="5", cpu="2"))
        await rest()
        running.status.phase = "Failed"
        await world.update_status(running)
        await rest()
        assert status(world)[1] == {"pods": "0", "cpu": "0"}


async def test_a_quota_is_followed(world: World) -> None:
    async with controllers(world, QUOTAS):
        made = await world.create(quota(configmaps="5", services="1"))
        await rest()
        standing = world.one(ResourceQuota, "q")
        standing.spec.hard = {"configmaps": "7"}
        await world.update(standing)
        await rest()
        assert status(world) == ({"configmaps": "7"}, {"configmaps": "0"})
        assert made.metadata.uid == world.one(ResourceQuota, "q").metadata.uid


async def test_an_account_that_is_right_is_left_alone(world: World) -> None:
    async with controllers(world, QUOTAS):
        await world.create(quota(configmaps="5"))
        await rest()
        written = len(world.writes)
        await world.create(config_map("a", "other"))
        await rest()
        assert len(world.writes) == written + 1
