"""One pod's attachment: its list of plug-ins, executed in order, and the record of it.

The record is written before the first plug-in runs and goes after the last has undone its work, so that whatever a
plug-in may have done can be undone by a later kubelet too, with the configuration that it was done with.
"""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kubelet.network.cni.configurations import Document, NetworkList, parse
from kubelet.network.cni.plugins import Call, PluginFailed, execute

INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class Attachment:
    """`inode` is the namespace's, since a process number may be another process's by now. `result` is what the last
    plug-in has returned, None as long as not all of them have."""

    network: NetworkList
    path: tuple[str, ...]
    container: str
    pid: int
    inode: int
    arguments: str
    capabilities: Document
    result: Document | None = None

    @classmethod
    def load(cls, file: Path) -> "Attachment":
        """Raises OSError, ValueError, KeyError: it is no such record."""
        told: dict[str, Any] = json.loads(file.read_text())
        return cls(**{**told, "network": parse(told["network"]), "path": tuple(told["path"])})

    def save(self, file: Path) -> None:
        names = ("path", "container", "pid", "inode", "arguments", "capabilities", "result")
        document = {"network": self.network.document, **{name: getattr(self, name) for name in names}}
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}")
        partial.write_text(json.dumps(document))
        partial.replace(file)

    @property
    def address(self) -> str:
        return address(self.result) if self.result is not None else ""

    async def add(self) -> "Attachment":
        """Itself with a result.  Raises PluginFailed."""
        result: Document | None = None
        for plugin in self.network.plugins:
            result = await self._execute("ADD", plugin, result)
        return replace(self, result=result)

    async def check(self) -> None:
        """Raises PluginFailed if something of it is not as it was made."""
        for plugin in self.network.plugins if self.network.checks else ():
            await self._execute("CHECK", plugin, self.result)

    async def delete(self) -> None:
        """Raises PluginFailed; it can be tried again."""
        result = self.result if self.network.hands_results_on else None
        for plugin in reversed(self.network.plugins):
            await self._execute("DEL", plugin, result)

    async def _execute(self, verb: str, plugin: Document, result: Document | None) -> Document:
        wanted = {name: self.capabilities[name] for name, on in plugin.get("capabilities", {}).items()
                  if on and name in self.capabilities}  # fmt: skip
        extra = {"runtimeConfig": wanted} if wanted else {}
        return await execute(verb, self._call(), configuration(self.network, plugin, result, **extra), self.path)

    def _call(self) -> Call:
        path = Path(f"/proc/{self.pid}/ns/net")
        try:
            here = path.stat().st_ino == self.inode
        except OSError:
            here = False
        return Call(self.container, str(path) if here else "", INTERFACE, self.arguments)


def configuration(network: NetworkList, plugin: Document, result: Document | None, **extra: Any) -> Document:
    """What one plug-in of a list reads: its own part with what belongs to all."""
    previous = {"prevResult": result} if result is not None else {}
    return {**plugin, "name": network.name, "cniVersion": network.version, **previous, **extra}


def address(result: Mapping[str, Any]) -> str:
    """The pod's IPv4 address by a result of any version.  Raises PluginFailed."""
    interfaces = result.get("interfaces", [])
    for each in result.get("ips", []):
        at = each.get("interface")
        inside = at is None or interfaces[at].get("sandbox")
        if inside and (found := _ipv4(each.get("address", ""))):
            return found
    if found := _ipv4(result.get("ip4", {}).get("ip", "")):
        return found
    raise PluginFailed("the plugins have given the pod no IPv4 address")


def _ipv4(text: str) -> str:
    try:
        found = ipaddress.ip_interface(text)
    except ValueError:
        return ""
    return str(found.ip) if found.version == 4 else ""
