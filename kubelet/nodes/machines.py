"""What there is to know of this machine."""

import os
import platform
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.types import (
    ContainerImage,
    DaemonEndpoint,
    NodeAddress,
    NodeDaemonEndpoints,
    NodeFeatures,
    NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures,
    NodeStatus,
    NodeSystemInfo,
)  # fmt: skip
from kubelet.images.collecting import Disk
from kubelet.nodes.capacities import Promises
from kubelet.runtime.interfaces import Image, Version

KUBELET_VERSION = "v1.37.0-wherry"
MOST_IMAGES, MOST_NAMES = 50, 5
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Machine:
    cpus: int
    memory: int
    storage: int
    huge_pages: tuple[tuple[str, int], ...]
    os_image: str
    kernel: str
    machine_id: str
    boot_id: str
    system_uuid: str

    @property
    def architecture(self) -> str:
        return ARCHITECTURES.get(platform.machine(), platform.machine())


def machine(root: Path, node: str) -> Machine:
    """`root` is the directory whose file system holds the pods' files."""
    memory = next((int(v) * 1024 for k, v in _pairs("/proc/meminfo") if k == "MemTotal"), 0)
    storage = shutil.disk_usage(root).total
    pages = tuple(
        (f"hugepages-{_binary(size)}", size * int(_read(d / "nr_hugepages") or 0))
        for d in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*"))
        if (size := int(d.name.removeprefix("hugepages-").removesuffix("kB")) * 1024)
    )
    release = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    return Machine(
        cpus=os.cpu_count() or 1,
        memory=memory,
        storage=storage,
        huge_pages=pages,
        os_image=release.get("PRETTY_NAME", platform.system()),
        kernel=platform.release(),
        # Several nodes may share one machine: their identity must not be one.
        machine_id=uuid.uuid5(uuid.NAMESPACE_DNS, f"{_read(Path('/etc/machine-id'))}.{node}").hex,
        boot_id=_read(Path("/proc/sys/kernel/random/boot_id")),
        system_uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{_read(Path('/etc/machine-id'))}.{node}.system")),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _pairs(path: str) -> list[tuple[str, str]]:
    lines = (line.split() for line in _read(Path(path)).splitlines())
    return [(words[0].rstrip(":"), words[1]) for words in lines if len(words) > 1]


def _binary(size: int) -> str:
    for suffix, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size % factor == 0:
            return f"{size // factor}{suffix}"
    return str(size)


def capacity(m: Machine, max_pods: int) -> dict[str, str]:
    return {
        "cpu": str(m.cpus),
        "memory": f"{m.memory // 1024}Ki",
        "ephemeral-storage": f"{m.storage // 1024}Ki",
        "pods": str(max_pods),
    } | {name: str(size) for name, size in m.huge_pages}


def facts(
    m: Machine, node: str, address: str, port: int, promised: Promises, engine: Version, images: Sequence[Image],
    max_images: int = MOST_IMAGES,
) -> NodeStatus:  # fmt: skip
    """The part of a Node's status that is not conditions.  Of the images, the largest; -1 for all."""
    return NodeStatus(
        addresses=[NodeAddress(type="InternalIP", address=address), NodeAddress(type="Hostname", address=node)],
        capacity=dict(promised.capacity),
        allocatable=dict(promised.allocatable),
        features=NodeFeatures(supplementalGroupsPolicy=True),
        runtimeHandlers=[_handler(engine)],
        daemonEndpoints=NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(Port=port)),
        images=_images(images, max_images),
        nodeInfo=NodeSystemInfo(
            architecture=m.architecture,
            bootID=m.boot_id,
            containerRuntimeVersion=f"{engine.name}://{engine.version}",
            kernelVersion=m.kernel,
            kubeProxyVersion="",
            kubeletVersion=KUBELET_VERSION,
            machineID=m.machine_id,
            operatingSystem="linux",
            osImage=m.os_image,
            systemUUID=m.system_uuid,
        ),
    )


def _images(images: Sequence[Image], most: int) -> list[ContainerImage]:
    named = sorted((i for i in images if i.names), key=lambda i: (i.size, i.id), reverse=True)
    return [
        ContainerImage(names=list(i.names[:MOST_NAMES]), sizeBytes=i.size)
        for i in (named if most < 0 else named[:most])
    ]  # fmt: skip


def _handler(engine: Version) -> NodeRuntimeHandler:
    features = NodeRuntimeHandlerFeatures(
        recursiveReadOnlyMounts=engine.recursive_read_only, userNamespaces=False
    )  # fmt: skip
    return NodeRuntimeHandler(name="", features=features)


def has_armor() -> bool:
    """Does the kernel enforce AppArmor profiles?"""
    return _read(Path("/sys/module/apparmor/parameters/enabled")) == "Y"


def free_memory() -> int:
    return next((int(v) * 1024 for k, v in _pairs("/proc/meminfo") if k == "MemAvailable"), 0)


def disk(root: Path) -> Disk:
    usage = shutil.disk_usage(root)
    return Disk(usage.total, usage.free)


def labels(m: Machine, node: str) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": m.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": m.architecture,
        "kubernetes.io/hostname": node,
        "kubernetes.io/os": "linux",
    }
