"""A claim from its creation to the removal of its data, through every component."""

from pathlib import Path

from api.types import (
    Container,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    Pod,
    PodSpec,
    StorageClass,
    Volume,
    VolumeMount,
    VolumeResourceRequirements,
)
from machinery.client import Client
from machinery.testing import ControlPlane
from tests.integration.processes import until, workers


def claim() -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="default"),
        spec=PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"], resources=VolumeResourceRequirements(requests={"storage": "1Gi"})
        ),
    )


def user() -> Pod:
    source = PersistentVolumeClaimVolumeSource(claimName="data")
    main = Container(name="main", image="app:1", volumeMounts=[VolumeMount(name="v", mountPath="/data")])
    spec = PodSpec(
        containers=[main], volumes=[Volume(name="v", persistentVolumeClaim=source)], terminationGracePeriodSeconds=0
    )
    return Pod(metadata=ObjectMeta(name="user", namespace="default"), spec=spec)


async def test_a_claim_binds_out_of_the_box_and_its_data_goes_with_it(
    plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    async with workers(plane, tmp_path):
        await until(client, StorageClass, lambda found: [c.metadata.name for c in found] == ["standard"])
        await client.create(claim())
        await client.create(user())
        await until(client, Pod, lambda found: found[0].status.phase == "Running")
        [bound] = await until(client, PersistentVolumeClaim, lambda found: found[0].status.phase == "Bound")
        directory = tmp_path / "kubelet" / "volumes" / bound.spec.volumeName
        assert directory.is_dir()
        await client.delete(PersistentVolumeClaim, "data", "default")
        [held] = (await client.list(PersistentVolumeClaim)).items
        assert held.metadata.deletionTimestamp
        await client.delete(Pod, "user", "default", grace_seconds=0)
        await until(client, PersistentVolume, lambda found: not found)
        await until(client, PersistentVolumeClaim, lambda found: not found)
