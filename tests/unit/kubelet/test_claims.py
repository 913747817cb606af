"""Volumes behind claims."""

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from api.types import (
    CSIPersistentVolumeSource,
    HostPathVolumeSource,
    LocalVolumeSource,
    NFSVolumeSource,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSecurityContext,
    Volume,
    VolumeDevice,
    VolumeMount,
)
from api.volumes import LOCAL_DRIVER
from kubelet.containers.environments import Sources
from kubelet.containers.fields import Place
from kubelet.runtime.interfaces import Mount
from kubelet.volumes.claims import Keeper, Kept, claim_fault, give_to_group
from kubelet.volumes.contents import VolumeFault
from kubelet.volumes.layouts import Layout
from machinery.testing import settle
from tests.unit.kubelet.builders import container, pod


def volume(name: str = "pvc-1", policy: str = "Delete", **source: Any) -> PersistentVolume:
    source = source or {"csi": CSIPersistentVolumeSource(driver=LOCAL_DRIVER, volumeHandle=name)}
    spec = PersistentVolumeSpec(persistentVolumeReclaimPolicy=policy, **source)
    return PersistentVolume(metadata=ObjectMeta(name=name), spec=spec)


def claim(phase: str = "Bound", deleted: str = "") -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="default", deletionTimestamp=deleted),
        spec=PersistentVolumeClaimSpec(volumeName="pvc-1"),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def user(*, read_only: bool = False, **security: Any) -> Pod:
    source = PersistentVolumeClaimVolumeSource(claimName="data", readOnly=read_only or None)
    context = PodSecurityContext(**security) if security else None
    c = container(volumeMounts=[VolumeMount(name="v", mountPath="/d")])
    return pod(c, volumes=[Volume(name="v", persistentVolumeClaim=source)], securityContext=context)


def mounts(root: Path, of: Pod, found: PersistentVolume | str, **mount: Any) -> Any:
    layout = Layout(root, "u1", root)
    layout.set_up(of, Sources(claimed={"data": found}), Place())
    return layout.mounts(of, container(volumeMounts=[VolumeMount(name="v", mountPath="/d", **mount)]), 0, {})[0]


def test_a_volume_of_our_own_is_a_directory_that_anybody_may_write_and_that_outlives_the_pod(tmp_path: Path) -> None:
    mount = mounts(tmp_path, user(), volume())
    assert (mount.source, mount.target, mount.read_only) == (str(tmp_path / "volumes/pvc-1"), "/d", False)
    assert stat.S_IMODE(Path(mount.source).stat().st_mode) == 0o777
    Path(mount.source, "kept").write_text("x")
    Layout(tmp_path, "u1").remove()
    assert Path(mount.source, "kept").read_text() == "x"
    assert Path(mounts(tmp_path, user(), volume()).source, "kept").exists()


def test_a_claim_that_is_used_for_reading_is_mounted_for_reading(tmp_path: Path) -> None:
    assert mounts(tmp_path, user(read_only=True), volume()).read_only


def test_a_sub_path_stays_inside_of_the_volume(tmp_path: Path) -> None:
    assert mounts(tmp_path, user(), volume(), subPath="a/b").source.endswith("volumes/pvc-1/a/b")
    (tmp_path / "volumes/pvc-1/out").symlink_to("/etc")
    with pytest.raises(VolumeFault, match="failed to prepare subPath for volumeMount"):
        mounts(tmp_path, user(), volume(), subPath="out")


def test_volumes_of_the_machine_are_mounted_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    for source in ({"hostPath": HostPathVolumeSource(path="/srv")}, {"local": LocalVolumeSource(path="/srv")}):
        assert mounts(tmp_path, user(), volume(**source)).source == "/srv"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ("PVC is not bound", "PVC is not bound"),
        (volume(local=LocalVolumeSource(path="/nowhere")), "hostPath /nowhere doesn't exist"),
        (volume(csi=CSIPersistentVolumeSource(driver="x", volumeHandle="h")), "driver name x not found"),
        (volume(csi=CSIPersistentVolumeSource(driver=LOCAL_DRIVER, volumeHandle="../x")), "is not a name"),
        (volume(nfs=NFSVolumeSource(server="s", path="/")), "no volume plugin matched"),
        (volume(volumeMode="Block", nfs=NFSVolumeSource(server="s", path="/")), "can be a block device"),
    ],
)
def test_a_volume_that_cannot_be_had_is_a_fault(tmp_path: Path, found: Any, why: str) -> None:
    with pytest.raises(VolumeFault, match=why):
        mounts(tmp_path, user(), found)


def block(path: str) -> PersistentVolume:
    return PersistentVolume(spec=PersistentVolumeSpec(local=LocalVolumeSource(path=path), volumeMode="Block"))


def test_a_block_device_is_given_to_the_container_under_its_own_name(tmp_path: Path) -> None:
    source = PersistentVolumeClaimVolumeSource(claimName="data")
    c = container(volumeDevices=[VolumeDevice(name="v", devicePath="/dev/xvda")])
    of = pod(c, volumes=[Volume(name="v", persistentVolumeClaim=source)])
    layout = Layout(tmp_path, "u1")
    layout.set_up(of, Sources(claimed={"data": block("/dev/loop0")}), Place())
    assert layout.mounts(of, c, 0, {})[0] == Mount("/dev/loop0", "/dev/xvda", device=True)
    with pytest.raises(VolumeFault, match="volume v has volumeMode Filesystem, but is specified in volumeDevices"):
        layout.set_up(of, Sources(claimed={"data": volume()}), Place())
    with pytest.raises(VolumeFault, match="volume v has volumeMode Block, but is specified in volumeMounts"):
        layout.set_up(user(), Sources(claimed={"data": block("/dev/loop0")}), Place())


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, 'failed to fetch PVC from API server: persistentvolumeclaims "data" not found'),
        (claim("Pending"), "PVC is not bound"),
        (claim(deleted="2026-01-01T00:00:00Z"), "PVC is being deleted"),
        (claim(), ""),
    ],
)
def test_a_claim_that_is_no_good_is_named(found: Any, why: str) -> None:
    assert claim_fault(found, "data", user()) == why


def test_data_goes_with_its_volume_only_when_that_was_to_be_deleted(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for name, policy in (("pvc-1", "Delete"), ("pvc-2", "Retain"), ("pvc-3", "Delete"), ("pvc-4", "Delete")):
        kept.set_up(volume(name, policy))
    kept.mark(volume("pvc-3", "Retain"))
    for name in ("pvc-1", "pvc-2", "pvc-3"):
        kept.remove(volume(name))
    assert sorted(p.name for p in (tmp_path / "volumes").glob("pvc*")) == ["pvc-2", "pvc-3", "pvc-4"]


def test_data_of_volumes_that_went_while_nobody_looked_goes_too(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for name, policy in (("pvc-1", "Delete"), ("pvc-2", "Retain"), ("pvc-3", "Delete")):
        kept.set_up(volume(name, policy))
    kept.sweep({"pvc-3"})
    assert sorted(p.name for p in (tmp_path / "volumes").glob("pvc*")) == ["pvc-2", "pvc-3"]


async def test_a_volume_whose_handle_is_no_name_is_nothing_to_keep(tmp_path: Path) -> None:
    bad = volume("bad", csi=CSIPersistentVolumeSource(driver=LOCAL_DRIVER, volumeHandle="../x"))
    informer = Known({"pvc-1": volume(), "bad": bad})  # the last is the first to be looked at
    (tmp_path / "volumes/pvc-1").mkdir(parents=True)
    keeper = Keeper(Kept(tmp_path), informer)  # type: ignore[arg-type]
    running = asyncio.create_task(keeper.run())
    for each in informer.list():
        keeper._changed(None, each)
    async with asyncio.timeout(5):
        while keeper._changes or not (tmp_path / "volumes/.deletable/pvc-1").exists():
            await asyncio.to_thread(lambda: None)
    await settle()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


class Known:
    """An informer whose volumes do not change."""

    def __init__(self, volumes: dict[str, PersistentVolume]) -> None:
        self._volumes = volumes

    def on_change(self, told: object) -> None:
        return

    async def synced(self) -> None:
        return

    def list(self) -> list[PersistentVolume]:
        return [*self._volumes.values()]

    def get(self, namespace: str, name: str) -> PersistentVolume | None:
        return self._volumes.get(name)


def test_a_group_gets_everything_in_the_volume_and_no_link_is_followed(tmp_path: Path) -> None:
    inside = tmp_path / "v"
    inside.mkdir()
    (inside / "file").write_text("")
    outside = tmp_path / "outside"
    outside.write_text("")
    (inside / "link").symlink_to(outside)
    before = outside.stat()
    give_to_group(inside, 1234, "Always")
    assert (inside / "file").stat().st_gid == 1234
    assert stat.S_IMODE((inside / "file").stat().st_mode) & 0o660 == 0o660
    assert inside.stat().st_mode & stat.S_ISGID
    assert (outside.stat().st_gid, outside.stat().st_mode) == (before.st_gid, before.st_mode)


def test_a_volume_that_is_the_groups_already_is_left_alone_if_that_is_the_policy(tmp_path: Path) -> None:
    give_to_group(tmp_path, 1234, "Always")
    (tmp_path / "file").write_text("")
    os.chown(tmp_path / "file", -1, 0)
    give_to_group(tmp_path, 1234, "OnRootMismatch")
    assert (tmp_path / "file").stat().st_gid == 0
    give_to_group(tmp_path, 1234, "Always")
    assert (tmp_path / "file").stat().st_gid == 1234
