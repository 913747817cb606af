"""A pod's directory under the root directory, laid out like upstream's, and the mounts made of it."""

import os
import shutil
import stat
from pathlib import Path

from api import quantities
from api.types import Container, EmptyDirVolumeSource, HostPathVolumeSource, PersistentVolume, Pod, Volume, VolumeMount
from api.volumes import claim_name
from kubelet.containers.environments import Sources, expand, unknown
from kubelet.containers.fields import Place
from kubelet.runtime.interfaces import Mount
from kubelet.volumes import files
from kubelet.volumes.claims import Kept, give_to_group
from kubelet.volumes.contents import VolumeFault, contents, is_made_of_files

TERMINATION_LOG = "/dev/termination-log"
PROPAGATIONS = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


class Layout:
    """The files of one pod.  `root` is the same path for the kubelet and for the engine; `machine` is where this
    process sees the machine's root directory, None if it does not."""

    def __init__(self, root: Path, uid: str, machine: Path | None = None) -> None:
        self.uid = uid
        self._machine = machine
        self.pod = root / "pods" / uid
        self._kept = Kept(root)
        self._claimed: dict[str, PersistentVolume] = {}

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
        """Make every volume of the pod; again, to bring their contents up to date.  Raises VolumeFault, OSError."""
        context = pod.spec.securityContext
        group = context.fsGroup if context is not None else None
        for volume in pod.spec.volumes:
            try:
                self._set_up_one(pod, volume, sources, place, group)
            except VolumeFault as e:
                raise VolumeFault(f'MountVolume.SetUp failed for volume "{volume.name}" : {e}') from e

    def _set_up_one(self, pod: Pod, volume: Volume, sources: Sources, place: Place, group: int | None) -> None:
        if is_made_of_files(volume):
            files.write(self.volume(volume), contents(pod, volume, sources, place), group)
        elif volume.emptyDir is not None and volume.emptyDir.medium != "Memory":
            path = self.volume(volume)
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(0o777 if group is None else 0o2777)
                if group is not None:
                    os.chown(path, -1, group)
        elif volume.hostPath is not None:
            if self._machine is not None and (fault := host_path_fault(volume.hostPath, self._machine)):
                raise VolumeFault(fault)
        elif name := claim_name(pod, volume):
            self._claimed[volume.name or ""] = self._set_up_claimed(sources.claimed[name], pod, group)
        elif volume.emptyDir is None:
            raise VolumeFault(f"no volume plugin matched the type {_plugin(volume)}")

    def _set_up_claimed(self, found: PersistentVolume | str, pod: Pod, group: int | None) -> PersistentVolume:
        """Raises VolumeFault, OSError."""
        if isinstance(found, str):
            raise VolumeFault(found)
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
        """All of it; what a container left there included."""
        shutil.rmtree(self.pod, ignore_errors=True)

    def mounts(self, pod: Pod, container: Container, attempt: int, env: dict[str, str]) -> tuple[Mount, ...]:
        """Raises VolumeFault for a subPath that leads out of its volume."""
        volumes = {v.name: v for v in pod.spec.volumes}
        found = [self._mount(volumes[m.name], m, env) for m in container.volumeMounts]
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

    def _mount(self, volume: Volume, mount: VolumeMount, env: dict[str, str]) -> Mount:
        target = mount.mountPath or ""
        target = target if target.startswith("/") else f"/{target}"
        source = volume.persistentVolumeClaim
        read_only = bool(mount.readOnly or (source is not None and source.readOnly))
        if (memory := volume.emptyDir) is not None and memory.medium == "Memory":
            return Mount(self.memory_volume(volume), target, read_only, tmpfs=True, size=_limit(memory))
        inner = _expanded(mount.subPathExpr, env) if mount.subPathExpr else mount.subPath
        check_recursion(mount)
        propagation = PROPAGATIONS.get(mount.mountPropagation or "", "")
        claimed = self._claimed.get(volume.name or "")
        host = volume.hostPath if claimed is None else _host_path(claimed)
        if host is not None:
            # What this process sees under that path may be another directory than the engine's, so nothing is followed.
            base = Path(host.path or "/") / _relative(inner)
            create = host.type in ("", "DirectoryOrCreate")
            return Mount(str(base), target, read_only, create=create, propagation=propagation)
        base = self.volume(volume)
        if claimed is not None:
            kept = self._kept.path(claimed)
            assert kept is not None, "set_up refuses all other kinds"
            base = kept
        path = sub_path(base, inner) if inner else base
        return Mount(str(path), target, read_only or is_made_of_files(volume), propagation=propagation)

    def memory_mounts(self, pod: Pod) -> tuple[Mount, ...]:
        """Volumes in memory live as long as something has them mounted, so the sandbox does."""
        return tuple(
            Mount(self.memory_volume(v), f"/volumes/{v.name}", tmpfs=True, size=_limit(v.emptyDir))
            for v in pod.spec.volumes
            if v.emptyDir is not None and v.emptyDir.medium == "Memory"
        )


def _limit(source: EmptyDirVolumeSource) -> int:
    """Bytes; 0 is no limit."""
    return quantities.value(source.sizeLimit) if source.sizeLimit else 0


def _expanded(text: str, env: dict[str, str]) -> str:
    """Raises VolumeFault for a variable that there is not: part of a path cannot be left as it stands."""
    if missing := unknown(text, env):
        raise VolumeFault(f'missing value for "{missing[0]}"')
    return expand(text, env)


def check_recursion(mount: VolumeMount) -> None:
    """Raises VolumeFault where the engine would have to hide what is mounted below from writers, which it cannot."""
    if mount.recursiveReadOnly == "Enabled":
        why = "requested recursive read-only mode, but it is not supported by the runtime"
        raise VolumeFault(f'volume "{mount.name}" {why}')


def _host_path(volume: PersistentVolume) -> HostPathVolumeSource | None:
    """A path of the machine's that the volume is."""
    if (local := volume.spec.local) is not None:
        return HostPathVolumeSource(path=local.path or "", type="Directory")
    return volume.spec.hostPath


def sub_path(base: Path, inner: str) -> Path:
    """A directory or file inside of a volume, made if it is missing.

    Each component is looked at by itself: a link that a container has put there could lead anywhere on the machine.
    """
    root = base.resolve()
    path = root
    for part in _relative(inner).parts:
        path = path / part
        if path.is_symlink():
            resolved = path.resolve()
            if not resolved.is_relative_to(root):
                raise VolumeFault(
                    f'failed to create subPath directory for volumeMount: "{inner}" leads out of the volume'
                )
            path = resolved
        elif not path.exists():
            path.mkdir(mode=0o750)
            path.chmod(stat.S_IMODE(base.stat().st_mode) & 0o777)
    return path


def host_path_fault(source: HostPathVolumeSource, machine: Path) -> str:
    """Why a host path is not what its type says, or "".  `machine` is where this process sees the machine's root.
    https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types
    """
    kind, path = source.type, machine / (source.path or "/").lstrip("/")
    checks = {
        "Directory": ("directory", stat.S_ISDIR), "File": ("file", stat.S_ISREG), "Socket": ("socket", stat.S_ISSOCK),
        "CharDevice": ("character device", stat.S_ISCHR), "BlockDevice": ("block device", stat.S_ISBLK),
    }  # fmt: skip
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True)
    elif kind == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
    elif kind in checks:
        name, is_one = checks[kind]
        if not path.exists() or not is_one(path.stat().st_mode):
            return f"hostPath type check failed: {source.path} is not a {name}"
    return ""


def _plugin(volume: Volume) -> str:
    names = {"emptyDir": "empty-dir", "configMap": "configmap", "downwardAPI": "downward-api", "hostPath": "host-path"}
    for field in volume.__struct_fields__:
        if field != "name" and getattr(volume, field) is not None:
            return names.get(field, field)
    return "empty-dir"


def _relative(inner: str) -> Path:
    path = Path(inner)
    if path.is_absolute() or ".." in path.parts:
        raise VolumeFault(f"subPath {inner!r} must be a relative path within the volume")
    return path
