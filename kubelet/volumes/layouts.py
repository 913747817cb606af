"""A pod's directory under the root directory, laid out like upstream's, and the mounts made of it."""

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from api import quantities
from api.quotas.pods import limits
from api.types import Container, HostPathVolumeSource, PersistentVolume, Pod, Volume, VolumeDevice, VolumeMount
from api.volumes import claim_name
from kubelet.containers.environments import Sources, expand, file_references, unknown
from kubelet.containers.fields import Place
from kubelet.runtime.interfaces import Mount
from kubelet.volumes import files
from kubelet.volumes.claims import Kept, give_to_group
from kubelet.volumes.contents import VolumeFault, contents, is_made_of_files, words
from kubelet.volumes.host_paths import HostPaths
from kubelet.volumes.pinning import Pinning

NOWHERE: Mapping[str, str] = MappingProxyType({})
FILE_TYPES = {
    "Directory": stat.S_ISDIR, "File": stat.S_ISREG, "Socket": stat.S_ISSOCK, "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}  # fmt: skip
HOST_PATHS = {
    "Directory": ("Directory", "directory"), "DirectoryOrCreate": ("Directory", "directory"),
    "File": ("File", "file"), "FileOrCreate": ("File", "file"), "Socket": ("Socket", "socket file"),
    "CharDevice": ("CharDevice", "character device"), "BlockDevice": ("BlockDevice", "block device"),
}  # fmt: skip
"""By the type that a volume wants: the type of its file, and what upstream calls that."""
TERMINATION_LOG = "/dev/termination-log"
NOT_PINNING = Pinning()
PROPAGATIONS = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


class Layout:
    """The files of one pod.  `root` is the same path for the kubelet and for the engine; `machine` is where this
    process sees the machine's root directory, None if it does not."""

    def __init__(
        self, root: Path, uid: str, machine: Path | None = None, pinning: Pinning = NOT_PINNING,
        paths: HostPaths = HostPaths(),  # noqa: B008  it never changes
    ) -> None:  # fmt: skip
        self.uid = uid
        self._paths = paths
        self._machine = machine
        self._pinning = pinning
        self.pod = root / "pods" / uid
        self._pinned = self.pod / "volume-subpaths"
        self._kept = Kept(root)
        self._claimed: dict[str, PersistentVolume] = {}
        self._memory = 0  # bytes that the node has for pods

    def volume(self, volume: Volume) -> Path:
        return self.pod / "volumes" / f"kubernetes.io~{_plugin(volume)}" / (volume.name or "")

    def termination_log(self, container: str, attempt: int) -> Path:
        return self.pod / "containers" / container / f"{attempt}.log"

    @property
    def hosts(self) -> Path:
        return self.pod / "etc-hosts"

    @property
    def resolver(self) -> Path:
        return self.pod / "resolv.conf"

    def memory_volume(self, volume: Volume) -> str:
        return f"wherry_{self.uid}_{volume.name}"

    def set_up(self, pod: Pod, sources: Sources, place: Place) -> None:
        """Make every volume of the pod; again, to bring their contents up to date.  Raises VolumeFault."""
        group = _group(pod)
        used = _uses(pod)
        self._memory = quantities.value((place.allocatable or {}).get("memory", "0"))
        for volume in pod.spec.volumes:
            try:
                self._set_up_one(pod, volume, sources, place, group)
                check_mode(volume, self._claimed.get(volume.name or ""), used[volume.name or ""])
            except (VolumeFault, OSError) as e:
                if not used[volume.name or ""]:
                    continue  # no container would notice
                why = words(e) if isinstance(e, OSError) else e
                raise VolumeFault(f'MountVolume.SetUp failed for volume "{volume.name}" : {why}') from e

    def _set_up_one(self, pod: Pod, volume: Volume, sources: Sources, place: Place, group: int | None) -> None:
        if is_made_of_files(volume):
            files.write(self.volume(volume), contents(pod, volume, sources, place), group)
        elif volume.emptyDir is not None:
            if volume.emptyDir.medium == "Memory":
                return  # the engine makes it, with the sandbox
            if volume.emptyDir.medium:
                raise VolumeFault(f"unknown storage medium {volume.emptyDir.medium!r}")
            path = self.volume(volume)
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(0o777 if group is None else 0o2777)
                if group is not None:
                    os.chown(path, -1, group)
        elif volume.image is not None:
            return  # its files come when a container needs them, as upstream has it
        elif volume.hostPath is not None:
            if self._machine is not None and (fault := host_path_fault(volume.hostPath, self._machine, self._paths)):
                raise VolumeFault(fault)
        elif name := claim_name(pod, volume):
            self._claimed[volume.name or ""] = self._set_up_claimed(sources.claimed[name], pod, group)
        else:
            raise VolumeFault(f"no volume plugin matched the type {_plugin(volume)}")

    def _set_up_claimed(self, found: PersistentVolume | str, pod: Pod, group: int | None) -> PersistentVolume:
        """Raises VolumeFault, OSError."""
        if isinstance(found, str):
            raise VolumeFault(found)
        if found.spec.volumeMode == "Block" and _host_path(found) is None:
            raise VolumeFault("only what the machine has at a path can be a block device")
        if (path := self._kept.path(found)) is not None:
            self._kept.set_up(found)
            context = pod.spec.securityContext
            if group is not None and context is not None:
                give_to_group(path, group, context.fsGroupChangePolicy or "Always")
        elif (host := _host_path(found)) is not None:
            if self._machine is not None and (fault := host_path_fault(host, self._machine)):
                raise VolumeFault(fault)
        elif found.spec.csi is not None:
            name = found.spec.csi.driver
            raise VolumeFault(f"driver name {name} not found in the list of registered CSI drivers")
        else:
            raise VolumeFault("no volume plugin matched")
        return found

    def remove(self) -> None:
        """All of it; what a container left there included.  Raises OSError rather than follow what is still mounted."""
        if self._pinned.exists():
            for container in self._pinned.iterdir():
                self._pinning.release(container)
        shutil.rmtree(self.pod, ignore_errors=True)

    def release(self, container: Container) -> None:
        """The container has its mounts now, or will not get them: what was held for it can go."""
        self._pinning.release(self._pinned / (container.name or ""))

    def mounts(
        self, pod: Pod, container: Container, attempt: int, env: dict[str, str], memory: Mapping[str, str] = NOWHERE,
        *, recursive: bool = False,
    ) -> tuple[Mount, ...]:  # fmt: skip
        """What its subPaths lead to is held until `release`.  `memory` says where the engine keeps volumes in memory.
        Raises VolumeFault."""
        volumes = {v.name: v for v in pod.spec.volumes}
        for mount in container.volumeMounts:
            check_recursion(mount, possible=recursive)
        found = [
            self._mount(pod, volumes[m.name], m, env, container.name or "", n, memory)
            for n, m in enumerate(container.volumeMounts)
        ]
        found += [self._device(volumes[d.name], d) for d in container.volumeDevices]
        taken = {m.target for m in found}
        log = self.termination_log(container.name or "", attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        log.chmod(0o666)
        own = [
            Mount(str(self.hosts), "/etc/hosts"),
            Mount(str(self.resolver), "/etc/resolv.conf"),
            Mount(str(log), container.terminationMessagePath or TERMINATION_LOG),
        ]
        return (*found, *(m for m in own if m.target not in taken))

    def _device(self, volume: Volume, device: VolumeDevice) -> Mount:
        claim, host = volume.persistentVolumeClaim, _host_path(self._claimed[volume.name or ""])
        assert host is not None, "set_up refuses all other kinds"
        read_only = bool(claim is not None and claim.readOnly)
        return Mount(host.path or "", device.devicePath or "", read_only, device=True)

    def _mount(
        self, pod: Pod, volume: Volume, mount: VolumeMount, env: dict[str, str], container: str, n: int,
        memory: Mapping[str, str],
    ) -> Mount:  # fmt: skip
        target = mount.mountPath or ""
        target = target if target.startswith("/") else f"/{target}"
        claim = volume.persistentVolumeClaim
        read_only = bool(mount.readOnly or (claim is not None and claim.readOnly))
        read_only = read_only or is_made_of_files(volume) or volume.image is not None
        propagation = PROPAGATIONS.get(mount.mountPropagation or "", "")
        inner = sub_path(mount, env)
        in_memory = volume.emptyDir is not None and volume.emptyDir.medium == "Memory"
        if in_memory and not inner:
            return self._in_memory(pod, volume, target, read_only=read_only)
        claimed = self._claimed.get(volume.name or "")
        host = volume.hostPath if claimed is None else _host_path(claimed)
        create = host is not None and host.type in ("", "DirectoryOrCreate")
        if in_memory:
            base = Path(memory[volume.name or ""])
        elif host is not None:
            base = Path(self._paths.real(host.path or "/") if claimed is None else host.path or "/")
        elif claimed is not None:
            kept = self._kept.path(claimed)
            assert kept is not None, "set_up refuses all other kinds"
            base = kept
        else:
            base = self.volume(volume)
        if not inner:
            return Mount(
                str(base), target, read_only, create=create, propagation=propagation, recursive=mount.recursiveReadOnly
            )  # fmt: skip
        try:
            path = self._pinning.pin(base, inner, self._pinned / container / str(n), create=create)
        except OSError as e:
            # Not a word of why: that would tell about files of the machine.
            where = f'for volumeMount "{mount.name}" of container "{container}"'
            raise VolumeFault(f"failed to prepare subPath {where}") from e
        return Mount(str(path), target, read_only, propagation=propagation, recursive=mount.recursiveReadOnly)

    def env_files(
        self, pod: Pod, container: Container, memory: Mapping[str, str] = NOWHERE
    ) -> dict[tuple[str, str], bytes]:  # fmt: skip
        """What can be read of the files that the container's variables come from."""
        found = {}
        for name, path in file_references(container):
            volume = next(v for v in pod.spec.volumes if v.name == name)
            base = Path(memory[name]) if name in memory else self.volume(volume)
            with contextlib.suppress(OSError):  # whoever needs it will say so
                found[name, path] = self._pinning.read(base, path)
        return found

    def unpacking(self, volume: Volume) -> Path:
        """An empty directory for the files of an image, until all of them are there."""
        path = self.volume(volume)
        part = path.with_name(f".{path.name}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        return part

    def _in_memory(self, pod: Pod, volume: Volume, target: str, *, read_only: bool = False) -> Mount:
        name, size = self.memory_volume(volume), memory_size(pod, volume, self._memory)
        return Mount(name, target, read_only, tmpfs=True, size=size, group=_group(pod))

    def memory_mounts(self, pod: Pod) -> tuple[Mount, ...]:
        """Volumes in memory live as long as something has them mounted, so the sandbox does."""
        return tuple(
            self._in_memory(pod, v, f"/volumes/{v.name}")
            for v in pod.spec.volumes
            if v.emptyDir is not None and v.emptyDir.medium == "Memory"
        )


def _uses(pod: Pod) -> dict[str, set[str]]:
    """By which fields of its containers each volume of the pod is used."""
    found: dict[str, set[str]] = {v.name or "": set() for v in pod.spec.volumes}
    containers: list[Any] = [*pod.spec.initContainers, *pod.spec.containers, *pod.spec.ephemeralContainers]
    for c in containers:
        names = {m.name or "" for m in c.volumeMounts} | {name for name, _ in file_references(c)}
        for field, used in (("volumeMounts", names), ("volumeDevices", {d.name or "" for d in c.volumeDevices})):
            for name in used & found.keys():
                found[name].add(field)
    return found


def check_mode(volume: Volume, claimed: PersistentVolume | None, used: Collection[str]) -> None:
    """Raises VolumeFault where a directory is wanted as a device, or a device as a directory."""
    mode = claimed.spec.volumeMode or "Filesystem" if claimed is not None else "Filesystem"
    wrong = "volumeMounts" if mode == "Block" else "volumeDevices"
    if wrong in used:
        raise VolumeFault(f"volume {volume.name} has volumeMode {mode}, but is specified in {wrong}")


def _group(pod: Pod) -> int | None:
    return pod.spec.securityContext.fsGroup if pod.spec.securityContext is not None else None


def memory_size(pod: Pod, volume: Volume, allocatable: int) -> int:
    """Bytes: a volume in memory holds no more than its limit, its pod's or the node's memory; 0 is no limit."""
    own = volume.emptyDir.sizeLimit if volume.emptyDir is not None else None
    whole = limits(pod).get("memory")
    bounds = (quantities.value(own) if own else 0, int(whole.value) if whole is not None else 0, allocatable)
    return min((bound for bound in bounds if bound > 0), default=0)


def sub_path(mount: VolumeMount, env: dict[str, str]) -> str:
    """What of the volume is mounted; "" is all of it.  Raises VolumeFault, in upstream's words."""
    inner = mount.subPath
    if mount.subPathExpr:
        # Part of a path cannot be left as it stands, as other references to variables that there are not.
        if missing := unknown(mount.subPathExpr, env):
            raise VolumeFault(f'missing value for "{missing[0]}"')
        inner = expand(mount.subPathExpr, env)
    if inner.startswith("/"):
        raise VolumeFault(f"error SubPath `{inner}` must not be an absolute path")
    if ".." in PurePosixPath(inner).parts:
        raise VolumeFault(f"unable to provision SubPath `{inner}`: must not contain '..'")
    return inner


def check_recursion(mount: VolumeMount, *, possible: bool) -> None:
    """Raises VolumeFault where the engine would have to hide what is mounted below from writers, and cannot."""
    if mount.recursiveReadOnly == "Enabled" and not possible:
        why = "requested recursive read-only mode, but it is not supported by the runtime"
        raise VolumeFault(f'failed to resolve recursive read-only mode: volume "{mount.name}" {why}')


def _host_path(volume: PersistentVolume) -> HostPathVolumeSource | None:
    """A path of the machine's that the volume is."""
    if (local := volume.spec.local) is not None:
        kind = "BlockDevice" if volume.spec.volumeMode == "Block" else "Directory"
        return HostPathVolumeSource(path=local.path or "", type=kind)
    return volume.spec.hostPath


def host_path_fault(
    source: HostPathVolumeSource, machine: Path, paths: HostPaths = HostPaths()  # noqa: B008
) -> str:  # fmt: skip
    """Why a host path is not what its type says, or "".  `machine` is where this process sees the machine's root.
    https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types
    """
    kind, path = source.type, machine / paths.real(source.path or "/").lstrip("/")
    if kind not in HOST_PATHS:
        return ""
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    if not path.exists():
        return f"hostPath {source.path} doesn't exist"
    wanted, name = HOST_PATHS[kind]
    found = next((k for k, is_one in FILE_TYPES.items() if is_one(path.stat().st_mode)), "")
    return "" if found == wanted else f"hostPath type check failed: {source.path} is not a {name}, it's a {found}"


def _plugin(volume: Volume) -> str:
    names = {"emptyDir": "empty-dir", "configMap": "configmap", "downwardAPI": "downward-api", "hostPath": "host-path"}
    for field in volume.__struct_fields__:
        if field != "name" and getattr(volume, field) is not None:
            return names.get(field, field)
    return "empty-dir"
