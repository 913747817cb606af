"""CDI: what a container gets with a device, read from files of the node, since the engine knows nothing of them.
https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md

A file has the devices of one kind, `vendor/class`; a device is named `vendor/class=name`.  What the engine cannot do
for a container (hooks and the like) is refused, and so is a file that says anything unknown.
"""

import logging
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from kubelet.runtime.interfaces import EngineError, Mount, Spec
from kubelet.volumes.host_paths import HostPaths

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
SUFFIXES = (".json", ".yaml")
KIND = re.compile(r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?")
PERMISSIONS = re.compile(r"[rwm]*")
PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
# Of the last two the engine says nothing in a mount: what is mounted has them where its file system has.
HARMLESS = ("bind", "rbind", "ro", "rw", "nosuid", "nodev")

log = logging.getLogger("devices")


class _Node(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    hostPath: str = ""
    type: str = ""
    major: int | None = None
    minor: int | None = None
    fileMode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class _Mount(msgspec.Struct, forbid_unknown_fields=True):
    hostPath: str
    containerPath: str
    options: list[str] = []
    type: str = ""


class _Edits(msgspec.Struct, forbid_unknown_fields=True):
    env: list[str] = []
    deviceNodes: list[_Node] = []
    mounts: list[_Mount] = []
    additionalGids: list[int] = []
    hooks: list[Any] = []
    intelRdt: Any = None
    netDevices: list[Any] = []


class _Device(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    annotations: dict[str, str] = {}
    containerEdits: _Edits = msgspec.field(default_factory=_Edits)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    cdiVersion: str
    kind: str
    devices: list[_Device]
    annotations: dict[str, str] = {}
    containerEdits: _Edits = msgspec.field(default_factory=_Edits)


class Library:
    """The files of some directories of the machine's.  `machine` is where this process sees the machine's root, None
    if it does not; a path that `paths` moves is seen by everybody."""

    def __init__(
        self, directories: Sequence[str], paths: HostPaths = HostPaths(), machine: Path | None = Path("/")  # noqa: B008
    ) -> None:  # fmt: skip
        self._directories = directories
        self._paths = paths
        self._machine = machine

    def inject(self, spec: Spec, names: Sequence[str]) -> Spec:
        """The specification of a container that has these devices too.  Raises EngineError."""
        known = self._devices()
        if unknown := [name for name in names if name not in known]:
            raise EngineError(f"CDI device injection failed: unresolvable CDI devices {', '.join(unknown)}")
        wanted = [known[name] for name in names]
        # What holds for all devices of a file comes once, and before what is its devices' own.
        for edits in [*{id(f): f.containerEdits for f, _ in wanted}.values(), *(d.containerEdits for _, d in wanted)]:
            try:
                spec = self._edited(spec, edits)
            except ValueError as e:
                raise EngineError(f"CDI device injection failed: {e}") from e
        return spec

    def _devices(self) -> dict[str, tuple[_File, _Device]]:
        """By qualified name.  One that two files of the same directory have is nobody's."""
        found: dict[str, tuple[_File, _Device]] = {}
        for directory in self._directories:
            here: dict[str, tuple[_File, _Device]] = {}
            twice = set()
            for file in self._files(directory):
                for device in file.devices:
                    name = f"{file.kind}={device.name}"
                    if name in here:
                        twice.add(name)
                    here[name] = (file, device)
            for name in twice:
                log.warning("several CDI files in %s have a device %s", directory, name)
                del here[name]
                found.pop(name, None)
            found |= here
        return found

    def _files(self, directory: str) -> Iterator[_File]:
        real = self._paths.real(directory)
        place = Path(real) if self._paths.is_moved(directory) else self._seen(real)
        for path in sorted(place.iterdir()) if place is not None and place.is_dir() else ():
            if path.suffix in SUFFIXES:
                try:
                    yield parse(path.read_bytes())
                except (OSError, ValueError) as e:
                    log.warning("CDI file %s does not count: %s", path, e)

    def _seen(self, path: str) -> Path | None:
        return self._machine / path.lstrip("/") if self._machine is not None else None

    def _edited(self, spec: Spec, edits: _Edits) -> Spec:
        """Raises ValueError."""
        for field, what in (("hooks", edits.hooks), ("intelRdt", edits.intelRdt), ("netDevices", edits.netDevices)):
            if what:
                raise ValueError(f"the container engine cannot do what {field} of a CDI file ask for")
        env = {e.partition("=")[0]: e for e in (*spec.env, *edits.env)}
        more = [*map(self._node, edits.deviceNodes), *map(self._mount, edits.mounts)]
        taken = {m.target for m in more}
        groups = dict.fromkeys((*spec.groups, *(str(g) for g in edits.additionalGids if g)))
        return replace(
            spec, env=tuple(env.values()), groups=tuple(groups),
            mounts=(*(m for m in spec.mounts if m.target not in taken), *more),
        )  # fmt: skip

    def _mount(self, mount: _Mount) -> Mount:
        if mount.type not in ("", "none", "bind"):
            raise ValueError(f"the container engine cannot make a mount of type {mount.type} for a device")
        if odd := [o for o in mount.options if o not in (*HARMLESS, *PROPAGATIONS)]:
            raise ValueError(f"the container engine cannot mount {mount.hostPath} with {', '.join(odd)}")
        return Mount(
            self._paths.real(mount.hostPath), mount.containerPath, read_only="ro" in mount.options,
            propagation=next((o for o in mount.options if o in PROPAGATIONS), ""),
        )  # fmt: skip

    def _node(self, node: _Node) -> Mount:
        host = self._paths.real(node.hostPath or node.path)
        if (seen := self._seen(host)) is not None:
            _check_same(node, seen, host)
        elif node.type == "p":
            raise ValueError(f"the container engine cannot make the pipe {node.path}")
        return Mount(host, node.path, device=True, permissions=node.permissions)


def _check_same(node: _Node, seen: Path, host: str) -> None:
    """The engine gives a container the node that the machine has, and no other.  Raises ValueError."""
    try:
        info = seen.stat()
    except OSError as e:
        raise ValueError(f"failed to stat CDI host device {host!r}: {e.strerror}") from e
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c" if stat.S_ISCHR(info.st_mode) else "p"
    if kind == "p":
        raise ValueError(f"{host} is not a device, so the container engine cannot give it to a container")
    there = {
        "type": kind, "major": os.major(info.st_rdev), "minor": os.minor(info.st_rdev),
        "fileMode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid,
    }  # fmt: skip
    wanted = {
        "type": "c" if node.type == "u" else node.type or None, "major": node.major, "minor": node.minor,
        "fileMode": node.fileMode & 0o7777 if node.fileMode is not None else None, "uid": node.uid, "gid": node.gid,
    }  # fmt: skip
    for field, value in wanted.items():
        if value is not None and value != there[field]:
            raise ValueError(
                f"the container engine gives {host} as the machine has it, not with {field} {value}, but {there[field]}"
            )


def parse(text: bytes) -> _File:
    """A CDI file, YAML or JSON.  Raises ValueError."""
    try:
        file = msgspec.convert(yaml.safe_load(text), _File)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e
    if file.cdiVersion.removeprefix("v") not in VERSIONS:
        raise ValueError(f"invalid version {file.cdiVersion!r}")
    if not KIND.fullmatch(file.kind):
        raise ValueError(f"invalid kind {file.kind!r}")
    if not file.devices:
        raise ValueError("invalid spec, no devices")
    names = [d.name for d in file.devices]
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"invalid device name {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"invalid spec, multiple device {name!r}")
    for edits in (file.containerEdits, *(d.containerEdits for d in file.devices)):
        _check(edits)
    return file


def _check(edits: _Edits) -> None:
    """Raises ValueError."""
    for variable in edits.env:
        if variable.find("=") < 1:
            raise ValueError(f"invalid environment variable {variable!r}")
    for node in edits.deviceNodes:
        if not node.path or node.type not in ("", "b", "c", "u", "p") or not PERMISSIONS.fullmatch(node.permissions):
            raise ValueError(f"invalid device node {node.path!r}")
    for mount in edits.mounts:
        if not (mount.hostPath and mount.containerPath):
            raise ValueError("invalid mount, empty host or container path")
