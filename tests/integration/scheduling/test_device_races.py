"""Schedulers that are killed, stopped and superseded: at no revision two claims have one device."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random

import pytest

from api import errors, meta
from api.types import ObjectMeta, Pod, ResourceV1ResourceClaim, ServiceAccount, Toleration
from machinery.client import Client, connect
from machinery.testing import control_plane
from tests.unit.scheduler.device_objects import claim, device_class, request, slice_of, user

from .test_races import History, add_node, history, rule

NODES, DEVICES, WAITING = 4, 6, 30
PREFIX = b"/registry/resource.k8s.io/resourceclaims/"
LAST = "last"


@pytest.mark.parametrize("seed", [1])
async def test_no_device_is_given_twice_whoever_leads(seed: int, tmp_path: Path) -> None:
    await _play(seed, faults=4, directory=tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
async def test_no_device_is_given_twice_after_many_faults(seed: int, tmp_path: Path) -> None:
    await _play(seed, faults=40, directory=tmp_path)


async def _play(seed: int, faults: int, directory: Path) -> None:
    random = Random(seed)
    async with control_plane(directory) as plane, connect(plane.access()) as client, AsyncExitStack() as stack:
        await client.create(ServiceAccount(metadata=ObjectMeta(name="default", namespace="default")))
        await client.create(device_class())
        for number in range(NODES):
            await add_node(client, number)
            await client.create(slice_of(*(f"d{i}" for i in range(DEVICES)), node=f"n{number}", name=f"n{number}"))
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(history(plane, stack, PREFIX, f"/{LAST}"))
            load = tasks.create_task(_load(client, random))
            for generation in range(faults):
                await rule(plane, directory, client, random, generation)
            load.cancel()
            await client.create(_claim(LAST, 1))
    assert _check(following.result()) > 10 * faults


async def _load(client: Client, random: Random) -> None:
    """Pods come all the time, more than there are devices for, and those that have been placed go with their claims."""
    number = 0
    while True:
        pods = (await client.list(Pod, "default")).items
        placed = [p for p in pods if p.spec.nodeName]
        for each in random.sample(placed, len(placed) // 3):
            await client.delete(Pod, each.metadata.name, "default", grace_seconds=0)
            await _free(client, each.metadata.name)
        for _ in range(max(0, WAITING - len(pods) + len(placed))):
            number += 1
            await client.create(_claim(f"p{number}", random.choice([1, 1, 2])))
            new = user(f"p{number}", name=f"p{number}", tolerations=[Toleration(operator="Exists")])
            new.metadata.uid, new.spec.terminationGracePeriodSeconds = "", 0
            await client.create(new)


async def _free(client: Client, name: str) -> None:
    """As the controller of claims does when the only user has gone, and as owners' claims go with them."""
    free = {"status": {"reservedFor": None, "allocation": None}}
    await client.patch(ResourceV1ResourceClaim, name, "default", free, subresource="status")
    await client.patch(ResourceV1ResourceClaim, name, "default", {"metadata": {"finalizers": None}})
    with suppress(errors.NotFound):
        await client.delete(ResourceV1ResourceClaim, name, "default")


def _claim(name: str, count: int) -> ResourceV1ResourceClaim:
    new = meta.clone(claim(name, request(count=count)))
    new.metadata.uid, new.metadata.resourceVersion = "", ""
    return new


def _check(found: History) -> int:
    """Replays the history; how many claims were allocated."""
    claims: dict[str, list[tuple[str, str]]] = {}
    allocations = 0
    for revision, key, document in found:
        before = claims.pop(key, [])
        allocation = (document or {}).get("status", {}).get("allocation")
        if allocation is None:
            continue
        claims[key] = [(r["pool"], r["device"]) for r in allocation["devices"]["results"]]
        assert before in ([], claims[key]), f"{key} got other devices at {revision}"
        allocations += not before
        held = [each for devices in claims.values() for each in devices]
        assert len(held) == len({*held}), f"a device was given twice at {revision}"
    return allocations
