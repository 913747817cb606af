"""The kernel's table, held equal to the ledger.

States: before the first `replace` nothing is known of the kernel's table, and every `apply` replaces it. A transaction
that the kernel refuses means that somebody else changed the table: then it is replaced too.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from api.meta import Key
from kube_proxy import transactions
from kube_proxy.ledger import Change, Ledger
from kube_proxy.nftables import NftablesError
from kube_proxy.rules import TABLE, Element, Elements
from kube_proxy.transactions import Layout

log = logging.getLogger(__name__)

_FORGET_ROUNDS = 5
_PROTOCOLS = {"6": "tcp", "17": "udp", "132": "sctp"}


class Kernel(Protocol):
    """What a table needs of nftables.Nftables."""

    def run(self, commands: str) -> str: ...
    def structure(self, table: str) -> str: ...
    def listed(self, table: str, name: str, *, kind: str = "map") -> str: ...


class Table:
    """Blocks while the kernel works; for one thread at a time."""

    def __init__(self, kernel: Kernel, layout: Layout) -> None:
        self.ledger = Ledger()
        self._kernel = kernel
        self._layout = layout
        self._structure = ""  # as listed after the last change of chains; "" when the kernel's table is unknown

    def apply(self, desired: Mapping[Key, Elements]) -> Change:
        """Program what these services want now; returns what changed.  Raises NftablesError.

        After an error the kernel holds the previous content, and the next call makes up for it.
        """
        change = self.ledger.change(desired)
        if not self._structure:
            self.replace()
        elif change:
            self._change(change)
        return change

    def replace(self) -> None:
        """Write the whole table in one transaction, in which no packet meets a half of it."""
        self._structure = ""
        pins = [f"{key} timeout {timeout}s expires {expires}s : {to}" for key, to, timeout, expires in self._pins()]
        whole = (self._layout, self.ledger.chains, self.ledger.elements)
        try:
            self._kernel.run(transactions.whole(*whole, pins))
        except NftablesError:
            if not pins:
                raise
            # What an older version remembered must not keep this one from starting.
            self._kernel.run(transactions.whole(*whole))
        self._forget()
        self._structure = self._kernel.structure(TABLE)

    def repair(self) -> bool:
        """Compare everything with the kernel, and replace the table if it has drifted. True if it had."""
        if self._structure and self._intact():
            return False
        self.replace()
        return True

    def _change(self, change: Change) -> None:
        structure, self._structure = self._structure, ""
        try:
            self._kernel.run(transactions.part(change))
        except NftablesError as e:
            log.warning("the table was changed by someone else and is replaced: %s", e)
            self.replace()
            return
        if any("endpoints-" in e.map for e in change.removed):
            self._forget()
        if change.new_chains or change.unused_chains:
            structure = self._kernel.structure(TABLE)
        self._structure = structure

    def _forget(self) -> None:
        """Let go of clients that are remembered at an endpoint which has left.

        Again until there are none: a packet that was under way during the transaction may have added one.
        """
        for _ in range(_FORGET_ROUNDS):
            if not any(e.startswith("remember-") for e in self.ledger.chains):
                return
            stale = [(key, to) for key, to, _, _ in self._pins() if self._left(key, to)]
            if not stale:
                return
            try:
                self._kernel.run(transactions.forget(stale))
            except NftablesError as e:
                # The client came again meanwhile and got another endpoint; the next round sees what it has now.
                log.debug("clients moved while being forgotten: %s", e)

    def _left(self, key: str, backend: str) -> bool:
        address, protocol, port, _ = key.split(" . ")
        backends = self.ledger.backends(address, protocol, int(port))
        return backends is None or backend not in backends

    def _intact(self) -> bool:
        try:
            if self._kernel.structure(TABLE) != self._structure:
                return False
            found: Elements = {}
            for name in transactions.MAPS:
                found |= {Element(name, key): value for key, value in _entries(self._kernel.listed(TABLE, name))}
            for name in transactions.SETS:
                listed = self._kernel.listed(TABLE, name, kind="set")
                found |= {Element(name, key): "" for key, _ in _entries(listed)}
        except NftablesError as e:
            log.info("the table cannot be listed: %s", e)
            return False
        return found == self.ledger.elements

    def _pins(self) -> list[tuple[str, str, int, int]]:
        """The clients that the kernel remembers: key, endpoint, seconds of memory, seconds left of them."""
        try:
            document = self._kernel.listed(TABLE, "affinity")
        except NftablesError:
            return []  # there is no table yet
        pins = []
        for element, to in _elements(document):
            inner = element["elem"]
            pins.append((_text(inner["val"]), _text(to), inner["timeout"], max(inner["expires"], 1)))
        return pins


def _entries(document: str) -> Iterable[tuple[str, str]]:
    for element, value in _elements(document):
        yield _text(element), _text(value)


def _elements(document: str) -> Iterable[tuple[Any, Any]]:
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


def _text(value: Any) -> str:
    """An expression of libnftables' JSON, as the ledger writes it."""
    match value:
        case None:
            return ""
        case {"concat": parts}:
            return " . ".join(_named([_text(part) for part in parts]))
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"goto": {"target": target}}:
            return f"goto {target}"
        case {"drop": _}:
            return "drop"
    return str(value)
