"""Namespaces: what they get when they begin, and what happens when they end."""

from pathlib import Path

import pytest

from api import errors, meta
from api.types import ConfigMap, Namespace, ObjectMeta, Pod, Secret, ServiceAccount
from controller_manager.namespaces import contents
from tests.unit.controller_manager.making import namespace, pod
from tests.unit.controller_manager.worlds import World, controllers, rest

NAMESPACES = "namespace-controller"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "ca.crt"
    file.write_text("the certificate")
    return file


def test_every_kind_of_content_is_deleted_once_and_pods_first() -> None:
    kinds = contents()
    assert kinds[0].plural == "pods"
    assert len({(k.group, k.plural) for k in kinds}) == len(kinds) > 25
    assert [k.group for k in kinds if k.name == "Event"] == [""]


async def test_an_empty_namespace_goes_at_once(world: World) -> None:
    async with controllers(world, NAMESPACES):
        await world.create(namespace("mine"))
        await world.delete(Namespace, "mine")
        await rest(30)
        assert world.all(Namespace) == []


async def test_everything_in_it_goes_before_it(world: World) -> None:
    world.graceful = True
    await world.create(namespace("default"))
    await world.create(namespace("other"))
    await world.create(pod("p"))
    await world.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
    await world.create(Secret(metadata=ObjectMeta(name="s", namespace="other")))
    async with controllers(world, NAMESPACES):
        await world.delete(Namespace, "default")
        await rest(30)
        going = world.one(Namespace, "default")
        assert going.status.phase == "Terminating"
        remaining = meta.condition(going, "NamespaceContentRemaining")
        assert remaining.status == "True"
        assert remaining.message == "Some resources are remaining: pods. has 1 resource instances"
        assert {c.type for c in going.status.conditions} == {
            "NamespaceDeletionDiscoveryFailure", "NamespaceDeletionGroupVersionParsingFailure",
            "NamespaceDeletionContentFailure", "NamespaceContentRemaining", "NamespaceFinalizersRemaining",
        }  # fmt: skip
        assert len(world.all(Secret)) == 2, "pods go before what they use"
        await world.finish(Pod, "p")
        await rest(30)
        assert [n.metadata.name for n in world.all(Namespace)] == ["other"]
        assert [s.metadata.namespace for s in world.all(Secret)] == ["other"]


async def test_finalizers_of_its_content_are_waited_for_and_named(world: World) -> None:
    await world.create(namespace("default"))
    await world.create(ConfigMap(metadata=ObjectMeta(name="c", namespace="default", finalizers=["example.com/mine"])))
    async with controllers(world, NAMESPACES):
        await world.delete(Namespace, "default")
        await rest(30)
        named = meta.condition(world.one(Namespace, "default"), "NamespaceFinalizersRemaining")
        assert named.message == (
            "Some content in the namespace has finalizers remaining: example.com/mine in 1 resource instances"
        )
        freed = world.one(ConfigMap, "c")
        freed.metadata.finalizers = []
        await world.update(freed)
        await rest(30)
        assert world.all(Namespace) == []


async def test_what_cannot_be_deleted_is_said(world: World) -> None:
    await world.create(namespace("default"))
    await world.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
    world.refuse("delete", "Secret", errors.InternalError("the storage is full"))
    async with controllers(world, NAMESPACES):
        await world.delete(Namespace, "default")
        await rest()
        failure = meta.condition(world.one(Namespace, "default"), "NamespaceDeletionContentFailure")
        assert (failure.status, failure.reason) == ("True", "ContentDeletionFailed")
        assert failure.message == "Failed to delete all resource types, 1 remaining: the storage is full"


async def test_what_cannot_be_deleted_is_tried_again_each_minute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.create(namespace("default"))
    await world.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
    world.refuse("delete", "Secret", errors.InternalError("the storage is full"))
    async with controllers(world, NAMESPACES) as term:
        queue = term.controllers[0].queue
        waits: list[float] = []
        monkeypatch.setattr(queue, "add_after", lambda key, seconds: waits.append(seconds))
        monkeypatch.setattr("machinery.queues.FIRST_RETRY", 0.005)
        await world.delete(Namespace, "default")
        await rest()
        for _ in range(20):
            queue.add(meta.Key("", "default"))
            await rest()
        assert len(waits) > 20
        assert waits[-1] == max(waits) == 60


async def test_every_namespace_has_a_service_account_and_the_certificate(world: World, certificate: Path) -> None:
    names = ("serviceaccount-controller", "root-ca-certificate-publisher-controller")
    async with controllers(world, *names, root_ca_file=certificate):
        await world.create(namespace("mine"))
        await rest()
        assert world.one(ServiceAccount, "default", "mine").metadata.name == "default"
        assert world.one(ConfigMap, "kube-root-ca.crt", "mine").data == {"ca.crt": "the certificate"}

        await world.delete(ServiceAccount, "default", "mine")
        await world.delete(ConfigMap, "kube-root-ca.crt", "mine")
        await rest()
        assert len(world.all(ServiceAccount)) == len(world.all(ConfigMap)) == 1

        changed = world.one(ConfigMap, "kube-root-ca.crt", "mine")
        changed.data = {"ca.crt": "another"}
        await world.update(changed)
        await rest()
        assert world.one(ConfigMap, "kube-root-ca.crt", "mine").data == {"ca.crt": "the certificate"}


async def test_a_namespace_that_is_going_gets_nothing_anew(world: World, certificate: Path) -> None:
    names = ("serviceaccount-controller", "root-ca-certificate-publisher-controller")
    await world.create(namespace("mine"))
    await world.delete(Namespace, "mine")
    async with controllers(world, *names, root_ca_file=certificate):
        assert world.all(ServiceAccount) == world.all(ConfigMap) == []
