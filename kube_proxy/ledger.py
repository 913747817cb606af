"""What the table holds, for which service, and the least that must change in it. Pure.

States: an element belongs to the first service that claims it. Another one that wants the same element (two services
with one external address) waits, and gets it when the owner lets go. A shared chain exists while an element leads
there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from api.meta import Key
from kube_proxy.rules import Element, Elements, chain_of


@dataclass(slots=True)
class Change:
    """The difference between two contents of the table. A changed value is a removal and an addition."""

    added: Elements = field(default_factory=dict)
    removed: list[Element] = field(default_factory=list)
    new_chains: list[str] = field(default_factory=list)
    unused_chains: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


class Ledger:
    def __init__(self) -> None:
        self.elements: Elements = {}
        self._owners: dict[Element, Key] = {}
        self._claims: dict[Key, Elements] = {}
        self._waiting: dict[Element, list[Key]] = {}
        self._uses: Counter[str] = Counter()

    @property
    def chains(self) -> list[str]:
        return sorted(self._uses)

    def claims(self, service: Key) -> Elements:
        """What `service` has asked for."""
        return self._claims.get(service, {})

    def change(self, desired: Mapping[Key, Elements]) -> Change:
        """Take over what these services want from now on; an empty wish forgets the service."""
        before: dict[Element, str | None] = {}
        for service, wish in desired.items():
            for element in self._claims.get(service, {}).keys() - wish.keys():
                before.setdefault(element, self.elements.get(element))
                self._release(element, service)
        for service, wish in desired.items():
            for element, value in wish.items():
                if self.elements.get(element) != value or self._owners[element] != service:
                    before.setdefault(element, self.elements.get(element))
                    self._claim(element, service, value)
            if wish:
                self._claims[service] = wish
            else:
                self._claims.pop(service, None)
        self._settle(before)
        return self._difference(before)

    def backends(self, address: str, protocol: str, port: int) -> set[str] | None:
        """The endpoints (`address . port`) behind what clients ask for; None if clients of it are not remembered."""
        for key, endpoints, remembered in (
            (f"{address} . {protocol} . {port}", f"endpoints-{protocol}", "remembered-ips"),
            (f"{protocol} . {port}", f"node-port-endpoints-{protocol}", "remembered-node-ports"),
        ):
            if Element(remembered, key) in self.elements:
                return set(self._listed(endpoints, key))
        return None

    def answering(self, address: str, protocol: str, port: int) -> set[str]:
        """The endpoints behind an address or, with address "", behind a port of the node."""
        key = f"{protocol} . {port}"
        if address:
            key = f"{address} . {key}"
        names = ("endpoints", "host-ports") if address else ("node-port-endpoints", "host-ports-anywhere")
        host = self.elements.get(Element(f"{names[1]}-{protocol}", key))
        return {*self._listed(f"{names[0]}-{protocol}", key), *([host] if host is not None else [])}

    def _listed(self, name: str, key: str) -> Iterable[str]:
        index = 0
        while (backend := self.elements.get(Element(name, f"{key} . {index}"))) is not None:
            yield backend
            index += 1

    def _claim(self, element: Element, service: Key, value: str) -> None:
        if self._owners.setdefault(element, service) == service:
            self.elements[element] = value
        else:
            waiting = self._waiting.setdefault(element, [])
            if service not in waiting:
                waiting.append(service)

    def _release(self, element: Element, service: Key) -> None:
        if self._owners.get(element) == service:
            del self._owners[element], self.elements[element]
        elif service in self._waiting.get(element, []):
            self._waiting[element].remove(service)

    def _settle(self, touched: Iterable[Element]) -> None:
        """Give every element that was let go to the next that waits for it."""
        for element in touched:
            while element not in self._owners and self._waiting.get(element):
                heir = self._waiting[element].pop(0)
                if (value := self._claims.get(heir, {}).get(element)) is not None:
                    self._claim(element, heir, value)
            if element in self._waiting and not self._waiting[element]:
                del self._waiting[element]

    def _difference(self, before: Mapping[Element, str | None]) -> Change:
        change = Change()
        chains = set(self._uses)
        for element, old in before.items():
            new = self.elements.get(element)
            if new == old:
                continue
            if old is not None:
                change.removed.append(element)
                self._uses[chain_of(old)] -= 1
            if new is not None:
                change.added[element] = new
                self._uses[chain_of(new)] += 1
        self._uses = +self._uses
        del self._uses[""]
        change.new_chains = sorted(self._uses.keys() - chains)
        change.unused_chains = sorted(chains - self._uses.keys())
        return change
