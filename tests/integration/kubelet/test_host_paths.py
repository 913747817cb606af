"""The machine's own files and mounts in containers."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.types import HostPathVolumeSource, SecurityContext, Volume, VolumeMount
from tests.integration.kubelet.asking import ready, sh, told


def at(path: Path, kind: str, name: str = "v") -> Volume:
    return Volume(name=name, hostPath=HostPathVolumeSource(path=str(path), type=kind))


def mount(place: Path) -> None:
    """Something of its own at a place."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)


@pytest.fixture
def shared(root: Path) -> Iterator[Path]:
    """A mount whose own mounts are everybody's."""
    place = root / "shared"
    place.mkdir()
    mount(place)
    subprocess.run(["mount", "--make-shared", str(place)], check=True)
    (place / "before").mkdir()
    yield place
    subprocess.run(["umount", "--recursive", "--lazy", str(place)], check=True)


async def test_a_host_path_must_be_what_its_type_says(lab: Any, pods: Any, containers: Any) -> None:
    file, directory, door, new = (lab.root / name for name in ("file", "directory", "door", "new"))
    file.write_text("here")
    directory.mkdir()
    kinds = {
        "file": at(file, "File", "file"), "directory": at(directory, "Directory", "directory"),
        "door": at(door, "Socket", "door"), "new": at(new, "FileOrCreate", "new"),
        "null": at(Path("/dev/null"), "CharDevice", "null"), "anything": at(file, "", "anything"),
    }  # fmt: skip
    wrong = {
        "none": (at(lab.root / "none", "File"), f"hostPath {lab.root}/none doesn't exist"),
        "a": (at(directory, "File"), f"hostPath type check failed: {directory} is not a file, it's a Directory"),
        "b": (at(file, "Directory"), f"hostPath type check failed: {file} is not a directory, it's a File"),
        "c": (at(file, "DirectoryOrCreate"), f"hostPath type check failed: {file} is not a directory, it's a File"),
        "d": (at(file, "Socket"), f"hostPath type check failed: {file} is not a socket file, it's a File"),
        "e": (at(door, "CharDevice"), f"hostPath type check failed: {door} is not a character device, it's a Socket"),
        "f": (
            at(Path("/dev/null"), "BlockDevice"),
            "hostPath type check failed: /dev/null is not a block device, it's a CharDevice",
        ),
    }
    mounts = [VolumeMount(name=name, mountPath=f"/host/{name}") for name in kinds]
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door))
        async with lab.kubelet():
            await lab.create(pods("web", containers(volumeMounts=mounts), volumes=list(kinds.values())))
            for name, (volume, _) in wrong.items():
                main = containers(volumeMounts=[VolumeMount(name="v", mountPath="/host")])
                await lab.create(pods(name, main, volumes=[volume]))
            for name, (_, why) in wrong.items():
                assert await told(lab, "FailedMount", name) == f'MountVolume.SetUp failed for volume "v" : {why}'
            pod = await lab.until("web", ready)
            found = sh(lab, pod, "cd /host; stat -c '%n %F %a' file directory door null new; cat anything")
            assert found.splitlines() == [
                "file regular file 644", "directory directory 755", "door socket 755",
                "null character special file 666", "new regular empty file 644", "here",
            ]  # fmt: skip


async def test_mounts_reach_whom_the_propagation_says(shared: Path, lab: Any, pods: Any, containers: Any) -> None:
    def seeing(name: str, propagation: str, **fields: Any) -> Any:
        mount = VolumeMount(name="v", mountPath="/host", mountPropagation=propagation or None)
        return containers(name, volumeMounts=[mount], **fields)

    strong = SecurityContext(privileged=True)
    each = [
        seeing("private", "None"), seeing("unsaid", ""), seeing("slave", "HostToContainer"),
        seeing("both", "Bidirectional", securityContext=strong),
    ]  # fmt: skip
    async with lab.kubelet():
        await lab.create(pods("web", *each, volumes=[at(shared, "Directory")]))
        pod = await lab.until("web", ready)
        (shared / "later").mkdir()
        mount(shared / "later")
        (shared / "later" / "host").write_text("")
        said = sh(lab, pod, "mount -t tmpfs tmpfs /host/before && touch /host/before/both", "both")
        assert said == ""
        assert (shared / "before" / "both").exists()
        for name, expected in {
            "private": ["before", "later"], "unsaid": ["before", "later"],
            "slave": ["before", "before/both", "later", "later/host"],
            "both": ["before", "before/both", "later", "later/host"],
        }.items():  # fmt: skip
            assert sh(lab, pod, "cd /host; find * | sort", name).split() == expected
