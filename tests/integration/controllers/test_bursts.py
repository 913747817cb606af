"""Many things at once: nothing on the way holds them up, and nothing is left behind."""

import asyncio
from pathlib import Path

import pytest

from api.types import (
    ConfigMap,
    Container,
    Deployment,
    DeploymentSpec,
    LabelSelector,
    Namespace,
    ObjectMeta,
    Pod,
    PodSpec,
    PodTemplateSpec,
    Secret,
)
from machinery.client import Client
from machinery.testing import ControlPlane
from tests.integration.processes import until, workers


def deployment(replicas: int) -> Deployment:
    labels = {"app": "many"}
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=labels), spec=PodSpec(containers=[Container(name="main", image="app:1")])
    )
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(matchLabels=labels), template=template)
    return Deployment(metadata=ObjectMeta(name="many", namespace="default"), spec=spec)


async def test_two_hundred_pods_come_and_go_at_once(plane: ControlPlane, client: Client, tmp_path: Path) -> None:
    async with workers(plane, tmp_path, max_pods=300):
        await client.create(deployment(200))
        await until(client, Deployment, lambda found: found[0].status.readyReplicas == 200, seconds=60)
        await client.delete(Deployment, "many", "default")
        await until(client, Pod, lambda found: not found, seconds=60)


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.long)])
async def test_many_namespaces_are_gone_with_everything_in_them(
    plane: ControlPlane, client: Client, tmp_path: Path, count: int
) -> None:
    async with workers(plane, tmp_path):
        names = [f"crowd-{i}" for i in range(count)]

        async def fill(name: str) -> None:
            await client.create(Namespace(metadata=ObjectMeta(name=name)))
            for i in range(5):
                metadata = ObjectMeta(name=f"of-{i}", namespace=name)
                await client.create(ConfigMap(metadata=metadata, data={"a": "b"}))
                await client.create(Secret(metadata=metadata))

        await asyncio.gather(*map(fill, names))
        await asyncio.gather(*(client.delete(Namespace, name) for name in names))
        await until(client, Namespace, lambda found: not any(n.metadata.name in names for n in found), seconds=120)
        assert not [c for c in (await client.list(ConfigMap)).items if c.metadata.namespace in names]
