"""The flags about devices."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from kubelet.volumes.host_paths import HostPaths

KUBELET, CDI = "/var/lib/kubelet", ("/var/run/cdi", "/run/cdi")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    cdi: tuple[str, ...]
    """Directories of the machine's with CDI files; what stands in a later one counts."""
    moved: HostPaths | None
    """None: as the root directory has it."""

    def paths(self, root: Path, *, shared: bool) -> HostPaths:
        """`shared`: other nodes may be on the same machine."""
        if self.moved is not None:
            return self.moved
        own = [(KUBELET, str(root))] if str(root) != KUBELET else []
        return HostPaths((*own, *((path, f"{root}/cdi") for path in CDI if shared)))


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cdi-spec-dirs", default="/etc/cdi,/var/run/cdi", help="where files say what a container gets with a device")
    add(
        "--host-path-map", default=None, metavar="/PATH=/ELSEWHERE,...",
        help="what pods call by the first path is at the second one; by default /var/lib/kubelet at --root-dir and, "
        "with --node-container, /var/run/cdi at cdi in there",
    )  # fmt: skip


def read(flags: argparse.Namespace) -> DeviceConfig:
    """Raises ValueError."""
    text = flags.host_path_map
    return DeviceConfig(
        cdi=tuple(d for d in flags.cdi_spec_dirs.split(",") if d),
        moved=HostPaths.parse(text) if text is not None else None,
    )
