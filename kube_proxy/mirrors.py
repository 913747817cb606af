"""A table of the kernel, held equal to a ledger.

States: before the first `replace` nothing is known of the kernel's table, and every `apply` replaces it. A transaction
that the kernel refuses means that somebody else changed the table: then it is replaced too.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from kube_proxy.ledger import Ledger
from kube_proxy.nftables import NftablesError
from kube_proxy.rules import Element, Elements

log = logging.getLogger(__name__)

_TURNS = 64  # fewer than lie between any two hooks that must keep their order
_PRIORITY = re.compile(r" priority (-?[0-9]+)")
_PROTOCOLS = {"6": "tcp", "17": "udp", "132": "sctp"}


class Kernel(Protocol):
    """What a table needs of nftables.Nftables."""

    def run(self, commands: str) -> str: ...
    def structure(self, table: str) -> str: ...
    def listed(self, table: str, name: str, *, kind: str = "map") -> str: ...


class Mirror(ABC):
    """Blocks while the kernel works; for one thread at a time.

    After an NftablesError the kernel holds the previous content, and the next call makes up for it.

    A table that replaces another is called later at every hook, by its `turn`. The kernel shows packets new hooks
    before the transaction is valid, and old ones until after it. A packet that has passed a new hook while its rules
    were not valid yet, and comes to the old one when its rules are no longer, is judged by neither: it happened at one
    in a thousand replacements under load. In this order one of the two always judges. Only each 64th can miss a packet.
    """

    name: str
    first_priority: int  # of the first hook in the table, in its first turn

    def __init__(self, kernel: Kernel) -> None:
        self.ledger = Ledger()
        self._kernel = kernel
        self._structure = ""  # as listed after the last change of chains; "" when the kernel's table is unknown

    @property
    def known(self) -> bool:
        """Whether the next change will be written alone, and not the whole table."""
        return bool(self._structure)

    @abstractmethod
    def replace(self) -> None:
        """Write the whole table in one transaction, in which no packet meets a half of it."""

    @abstractmethod
    def _contents(self) -> Iterable[tuple[str, str]]:
        """Kind ("map" or "set") and name of all that holds the ledger's elements."""

    def _turn(self) -> int:
        """One more than that of the table in the kernel; 0 if there is none."""
        found = _PRIORITY.search(self._kernel.structure(self.name))
        return (int(found[1]) - self.first_priority + 1) % _TURNS if found else 0

    def repair(self) -> bool:
        """Compare everything with the kernel, and replace the table if it has drifted. True if it had."""
        if self._structure and self._intact():
            return False
        self.replace()
        return True

    def _write(self, commands: str, *, reshapes: bool) -> bool:
        """Run the commands that bring a change about; False if the table had to be replaced instead."""
        structure, self._structure = self._structure, ""
        try:
            self._kernel.run(commands)
        except NftablesError as e:
            log.warning("the table %s was changed by someone else and is replaced: %s", self.name, e)
            self.replace()
            return False
        self._structure = self._kernel.structure(self.name) if reshapes else structure
        return True

    def _intact(self) -> bool:
        try:
            if self._kernel.structure(self.name) != self._structure:
                return False
            found: Elements = {}
            for kind, name in self._contents():
                listed = elements(self._kernel.listed(self.name, name, kind=kind))
                found |= {Element(name, text(key)): text(value) for key, value in listed}
        except NftablesError as e:
            log.info("the table %s cannot be listed: %s", self.name, e)
            return False
        return found == self.ledger.elements


def elements(document: str) -> Iterable[tuple[Any, Any]]:
    """The elements of the map or set that libnftables listed; a set's have the value None."""
    for each in msgspec.json.decode(document)["nftables"]:
        for kind in ("map", "set"):
            for element in each.get(kind, {}).get("elem", []):
                yield (element[0], element[1]) if kind == "map" else (element, None)


def _named(parts: list[str]) -> list[str]:
    """The parts of a key or a value, the protocol by its name: it comes first, or after the address of a key."""
    at = 1 if "." in parts[0] else 0
    if at == 0 or len(parts) > 2:
        parts[at] = _PROTOCOLS.get(parts[at], parts[at])
    return parts


def text(value: Any) -> str:
    """An expression of libnftables' JSON, as the ledger writes it."""
    match value:
        case None:
            return ""
        case {"concat": parts}:
            return " . ".join(_named([text(part) for part in parts]))
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case {"goto": {"target": target}}:
            return f"goto {target}"
        case {"drop": _}:
            return "drop"
    return str(value)
