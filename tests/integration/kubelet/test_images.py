"""Images: whose they are, from whom they come, and when they go.  On an engine whose images may be deleted."""

import asyncio
import base64
import json
from typing import Any

import pytest

from api.types import Event, LocalObjectReference, ObjectMeta, Pod, Secret
from kubelet.images.collecting import CannotFree, Collector, Disk, Thresholds
from kubelet.images.records import Records
from kubelet.runtime.docker import Docker
from kubelet.runtime.interfaces import EngineError, RegistryUnavailable
from machinery.clocks import SYSTEM
from tests.integration.kubelet.engines import PrivateEngine
from tests.integration.kubelet.registries import Registry, registry


def waiting(pod: Pod) -> str:
    state = pod.status.containerStatuses[0].state.waiting if pod.status.containerStatuses else None
    return state.reason if state is not None else ""


def had(pod: Pod) -> bool:
    """The image is empty: it was had, and its command was not found in it."""
    return waiting(pod) == "RunContainerError" or pod.status.phase == "Running"


async def told(lab: Any, *beginnings: str) -> None:
    """Returns when there is an event with each of these messages, whichever pod it is about."""
    missing, listing = set(beginnings), await lab.client.list(Event, "default")
    missing -= {b for b in missing for e in listing.items if e.message.startswith(b)}
    async with asyncio.timeout(10):
        while missing:
            watch = lab.client.watch(Event, "default", resource_version=listing.resource_version)
            async for batch in watch:
                missing -= {b for b in missing for e in batch if e.type == "ADDED" and e.object.message.startswith(b)}
                if not missing:
                    return


async def login(lab: Any, name: str, source: Registry, user: str, password: str) -> LocalObjectReference:
    document = json.dumps({"auths": {source.address: {"username": user, "password": password}}}).encode()
    data = {".dockerconfigjson": base64.b64encode(document).decode()}
    meta = ObjectMeta(name=name, namespace="default")
    await lab.client.create(Secret(metadata=meta, type="kubernetes.io/dockerconfigjson", data=data))
    return LocalObjectReference(name=name)


async def test_an_image_that_a_secret_opened_is_not_everybodys(own_lab: Any, pods: Any, containers: Any) -> None:
    lab = own_lab
    async with lab.kubelet(), registry("me", "secret") as source:
        wrong = await login(lab, "wrong", source, "me", "guessed")
        right = await login(lab, "right", source, "me", "secret")
        main = containers(imagePullPolicy="IfNotPresent")
        main.image = f"{source.address}/team/private:1"
        await lab.create(pods("early", main))
        refused = await lab.until("early", lambda pod: waiting(pod) == "ErrImagePull")
        assert "no basic auth credentials" in refused.status.containerStatuses[0].state.waiting.message
        await lab.create(pods("known", main, imagePullSecrets=[wrong, right]))
        await lab.until("known", had)
        assert len(source.manifests) == 1
        await lab.create(pods("stranger", main))
        await lab.until("stranger", lambda pod: waiting(pod) == "ErrImagePull")
        await lab.create(pods("again", main, imagePullSecrets=[right]))
        await lab.until("again", had)
        assert len(source.manifests) == 1, "who holds the secret need not ask"
        never = containers(imagePullPolicy="Never")
        never.image = main.image
        await lab.create(pods("never", never))
        await lab.until("never", lambda pod: waiting(pod) == "ErrImageNeverPull")
        await lab.create(pods("allowed", never, imagePullSecrets=[right]))
        await lab.until("allowed", had)


async def test_the_nodes_own_login_is_for_every_pod(own_lab: Any, pods: Any, containers: Any) -> None:
    lab = own_lab
    async with registry("node", "secret") as source:
        held = {"auths": {source.address: {"username": "node", "password": "secret"}}}
        (lab.root / "config.json").write_text(json.dumps(held))
        main = containers()
        main.image = f"{source.address}/team/nodes:1"
        async with lab.kubelet():
            for name in ("one", "two"):
                await lab.create(pods(name, main))
                await lab.until(name, had)
        assert len(source.manifests) == 1


async def test_pods_that_want_one_image_at_once_pull_it_once(own_lab: Any, pods: Any, containers: Any) -> None:
    lab = own_lab
    async with lab.kubelet(), registry() as source:
        main = containers(imagePullPolicy="IfNotPresent")
        main.image = f"{source.address}/team/shared"
        names = [f"p{n}" for n in range(4)]
        for name in names:
            await lab.create(pods(name, main))
        for name in names:
            await lab.until(name, had)
        await told(lab, f'Pulling image "{main.image}"', f'Successfully pulled image "{main.image}" in ')
        assert len(source.manifests) == 1


async def test_always_asks_the_registry_again(own_lab: Any, pods: Any, containers: Any) -> None:
    lab = own_lab
    async with lab.kubelet(), registry() as source:
        main = containers(imagePullPolicy="Always")
        main.image = f"{source.address}/team/always:1"
        for name in ("one", "two"):
            await lab.create(pods(name, main))
            await lab.until(name, had)
        source.refusal = 503
        await lab.create(pods("three", main))
        pod = await lab.until("three", lambda pod: waiting(pod) == "RegistryUnavailable")
        assert "503 Service Unavailable" in pod.status.containerStatuses[0].state.waiting.message
        await told(lab, f'Failed to pull image "{main.image}": received unexpected', "Error: RegistryUnavailable")


async def test_a_full_disk_costs_the_images_that_kubelets_pulled_and_no_others(
    private_engine: PrivateEngine, tmp_path: Any
) -> None:
    engine = Docker(private_engine.endpoint, "c", "node1")
    records, free, said = Records(tmp_path), [2000], []
    collector = Collector(
        engine, records, lambda: Disk(10_000, free[0]), lambda *event: said.append(event), SYSTEM,
        Thresholds(least_age=0.0), pinned=("wherry/pause:1",),
    )  # fmt: skip
    try:
        async with registry() as source:
            pulled = await engine.pull(f"{source.address}/team/pulled:1")
            assert await engine.image(f"{source.address}/team/pulled:1") is not None
        records.add(pulled.id, f"{source.address}/team/pulled", None, SYSTEM.now())
        before = {i.id for i in await engine.images()}
        await collector.collect()
        assert {i.id for i in await engine.images()} == before, "the disk is not full"
        private_engine.client.create_container(pulled.id, ["x"], name="uses-it")
        assert await collector.free_unused() == 0, "a container has it"
        private_engine.client.remove_container("uses-it")
        free[0] = 1500
        with pytest.raises(CannotFree):
            await collector.collect()
        assert {i.id for i in await engine.images()} == before - {pulled.id}
        assert records.of(pulled.id) is None
        assert [reason for _, reason, _ in said] == ["FreeDiskSpaceFailed"]
    finally:
        engine.close()


async def test_a_registry_that_is_away_is_not_one_that_refuses(private_engine: PrivateEngine) -> None:
    engine = Docker(private_engine.endpoint, "c", "node1")
    try:
        async with registry() as source:
            source.refusal = 503
            with pytest.raises(RegistryUnavailable):
                await engine.pull(f"{source.address}/team/app:1")
            source.refusal = 404
            with pytest.raises(EngineError) as refused:
                await engine.pull(f"{source.address}/team/app:1")
            assert not isinstance(refused.value, RegistryUnavailable)
    finally:
        engine.close()
