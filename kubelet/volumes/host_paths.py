"""Paths of the machine's that each node has for itself.

Drivers are written for a node that is a machine: their pods mount `/var/lib/kubelet/plugins_registry` and
`/var/run/cdi` from it.  Where several nodes share a machine, or the kubelet's root directory is another one, those are
found elsewhere.
"""

import posixpath
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostPaths:
    """`moved` are pairs: what is at or below the first path is at or below the second."""

    moved: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "HostPaths":
        """From `/path=/elsewhere,...`.  Raises ValueError."""
        pairs = [part.partition("=") for part in text.split(",") if part]
        if wrong := [a for a, _, b in pairs if not (a.startswith("/") and b.startswith("/"))]:
            raise ValueError(f"--host-path-map: {wrong[0]!r} is not /path=/elsewhere")
        return cls(tuple((posixpath.normpath(a), posixpath.normpath(b)) for a, _, b in pairs))

    def real(self, path: str) -> str:
        """Where on the machine it is."""
        whole = posixpath.normpath(path)
        for old, new in sorted(self.moved, reverse=True):
            if whole == old or whole.startswith(f"{old}/"):
                return new + whole[len(old) :]
        return path

    def is_moved(self, path: str) -> bool:
        return self.real(path) != path
