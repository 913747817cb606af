"""The kernel's table of services, and the clients that it remembers."""

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from api.meta import Key
from kube_proxy import transactions
from kube_proxy.ledger import Change
from kube_proxy.mirrors import Kernel, Mirror, elements, text
from kube_proxy.nftables import NftablesError
from kube_proxy.rules import TABLE, Elements, ranges
from kube_proxy.transactions import Layout

log = logging.getLogger(__name__)

_FORGET_ROUNDS = 5
RANGES = Key("ranges/", "")


class Table(Mirror):
    name = TABLE
    first_priority = transactions.FIRST_PRIORITY

    def __init__(self, kernel: Kernel, layout: Layout) -> None:
        super().__init__(kernel)
        self._layout = layout
        self.ledger.change({RANGES: ranges([layout.service_range])})

    def apply(self, desired: Mapping[Key, Elements]) -> Change:
        """Program what these services want now; returns what changed.  Raises NftablesError."""
        change = self.ledger.change(desired)
        if not self._structure:
            self.replace()
        elif change:
            self._change(change)
        return change

    def replace(self) -> None:
        self._structure = ""
        pins = [f"{key} timeout {timeout}s expires {expires}s : {to}" for key, to, timeout, expires in self._pins()]
        whole = partial(transactions.whole, self._layout, self.ledger.chains, self.ledger.elements, turn=self._turn())
        try:
            self._kernel.run(whole(pins))
        except NftablesError:
            if not pins:
                raise
            # What an older version remembered must not keep this one from starting.
            self._kernel.run(whole())
        self._forget()
        self._structure = self._kernel.structure(TABLE)

    def _contents(self) -> Iterable[tuple[str, str]]:
        yield from (("map", name) for name in transactions.MAPS)
        yield from (("set", name) for name in transactions.SETS)

    def _change(self, change: Change) -> None:
        reshapes = bool(change.new_chains or change.unused_chains)
        written = self._write(transactions.part(change), reshapes=reshapes)
        if written and any("endpoints-" in e.map for e in change.removed):
            self._forget()

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

    def _pins(self) -> list[tuple[str, str, int, int]]:
        """The clients that the kernel remembers: key, endpoint, seconds of memory, seconds left of them."""
        try:
            document = self._kernel.listed(TABLE, "affinity")
        except NftablesError:
            return []  # there is no table yet
        pins = []
        for element, to in elements(document):
            inner = element["elem"]
            pins.append((text(inner["val"]), text(to), inner["timeout"], max(inner["expires"], 1)))
        return pins
