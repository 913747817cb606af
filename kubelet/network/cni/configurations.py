"""Which plug-ins connect a pod: the first usable file of a directory, as container runtimes choose it.
https://www.cni.dev/docs/spec/#section-1-network-configuration-format
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIXES = frozenset({".conf", ".conflist", ".json"})
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
# What the verbs came with.
CHECKS, COLLECTS = VERSIONS.index("0.4.0"), VERSIONS.index("1.1.0")

Document = Mapping[str, Any]

log = logging.getLogger("network")


class Unusable(Exception):
    """A file that does not configure a network; the message says why."""


@dataclass(frozen=True, slots=True)
class NetworkList:
    """A list of plug-ins. `document` is the file's content, from which the same list can be made again."""

    document: Document
    name: str
    version: str
    plugins: tuple[Document, ...]

    @property
    def checks(self) -> bool:
        return VERSIONS.index(self.version) >= CHECKS and not self.document.get("disableCheck")

    @property
    def hands_results_on(self) -> bool:
        """Does DEL get what ADD has returned?"""
        return VERSIONS.index(self.version) >= CHECKS

    @property
    def collects(self) -> bool:
        """Do plug-ins remove what nobody uses, and tell of their own state?"""
        return VERSIONS.index(self.version) >= COLLECTS

    @property
    def collects_garbage(self) -> bool:
        return self.collects and not self.document.get("disableGC")


def find(directory: Path) -> NetworkList | None:
    """The one that counts; None if there is none."""
    try:
        files = sorted(p for p in directory.iterdir() if p.suffix in SUFFIXES)
    except FileNotFoundError:
        return None
    for file in files:
        try:
            return parse(json.loads(file.read_text()), is_list=file.suffix == ".conflist")
        except (Unusable, ValueError, OSError) as e:
            log.warning("network configuration %s: %s", file, e)
    return None


def parse(document: Any, *, is_list: bool = True) -> NetworkList:
    """Raises Unusable.  A single plug-in's configuration is a list of one."""
    if not isinstance(document, dict):
        raise Unusable("it is no JSON object")
    if not is_list and "plugins" not in document:
        own = {"cniVersion": document.get("cniVersion", ""), "name": document.get("name", "")}
        document = {**own, "plugins": [document]}
    plugins = document.get("plugins")
    if not isinstance(plugins, list) or not plugins:
        raise Unusable("error parsing configuration list: no plugins in list")
    if not all(isinstance(p, dict) and p.get("type") for p in plugins):
        raise Unusable("error parsing configuration list: missing 'type'")
    name = document.get("name")
    if not isinstance(name, str) or not name:
        raise Unusable("error parsing configuration list: no name")
    return NetworkList(document, name, _version(document), tuple(plugins))


def _version(document: Document) -> str:
    """The highest that both sides know.  Raises Unusable."""
    named = (document.get("cniVersion") or "0.1.0", *document.get("cniVersions", ()))
    told = [str(v) for v in named if v in VERSIONS]
    if not told:
        raise Unusable(f"unsupported CNI version {document.get('cniVersion')!r}, supported: {', '.join(VERSIONS)}")
    return max(told, key=VERSIONS.index)
