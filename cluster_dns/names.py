"""The tree of all names: what exists, what it answers, and what a change touches. Pure.

A name exists if it has records, was said to be there, or something exists below it (RFC 8020): such a name answers
"no such data", any other one of our zones "no such name" (RFC 2308).
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cluster_dns.records import Layout, Record, Records, of_pod_name, of_zone

LONGEST_CHAIN = 8


class Owned(NamedTuple):
    name: str
    record: Record


@dataclass(frozen=True, slots=True)
class Found:
    """An answer from our zones. Without `answer`, `exists` makes the difference between NODATA and NXDOMAIN."""

    zone: str
    """Whose SOA goes with a negative answer; "" for an address of nobody's range that an endpoint has all the same."""
    exists: bool
    answer: tuple[Owned, ...] = ()
    additional: tuple[Owned, ...] = ()
    elsewhere: str = ""
    """The name outside of our zones to which the answer's last CNAME leads."""


class Names:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.serial = 1
        self._zones = frozenset(layout.zones())
        self._pods = f".pod.{layout.domain}"
        self._told: dict[Hashable, Records] = {}
        self._at: dict[str, dict[Hashable, tuple[Record, ...]]] = {}
        self._below: dict[str, int] = {}
        self.put("zone", of_zone(layout))

    def put(self, source: Hashable, records: Records) -> set[str]:
        """Replaces all that `source` has said before; returns the names that may now answer otherwise."""
        before = self._told.pop(source, {})
        if records:
            self._told[source] = records
        if before == records:
            return set()
        self.serial += 1
        touched = {*before, *records}
        for name in before.keys() - records.keys():
            touched |= self._remove(name, source)
        for name, found in records.items():
            touched |= self._set(name, source, found)
        return touched

    def find(self, name: str, type_: str) -> Found | None:
        """None: not ours, ask elsewhere. `name` as in `records`."""
        zone = self.zone_of(name)
        if not zone and name not in self._at:
            return None
        chain: list[Owned] = []
        target, exists = name, True
        while len(chain) < LONGEST_CHAIN:
            records = self._records(target)
            exists = records is not None
            matching = [Owned(target, r) for r in records or () if r.type == type_]
            alias = next((r.data for r in records or () if r.type == "CNAME"), "")
            if matching or not alias:
                return Found(zone, exists, (*chain, *matching), tuple(self._targets(matching)))
            chain.append(Owned(target, Record("CNAME", alias)))
            if not self.zone_of(alias):
                return Found(zone, exists, tuple(chain), elsewhere=alias)
            target = alias
        return Found(zone, exists, tuple(chain))

    def zone_of(self, name: str) -> str:
        """The zone of ours that `name` is in, or ""."""
        return next((parent for parent in _upwards(name) if parent in self._zones), "")

    def decisive(self, name: str) -> str:
        """The name whose change, as `put` tells it, may change what `name` answers: pods' hang on their namespace."""
        parent = name.partition(".")[2]
        return parent if parent.endswith(self._pods) else name

    def start_of_authority(self, zone: str) -> Record:
        """https://www.rfc-editor.org/rfc/rfc2308#section-4: the last number is how long a "no" may be remembered."""
        layout = self.layout
        return Record("SOA", f"{layout.name_server} hostmaster.{layout.domain} {self.serial} 7200 1800 86400 5")

    def _records(self, name: str) -> tuple[Record, ...] | None:
        """None if there is no such name."""
        if name in self._zones:
            return (*self._gathered(name), self.start_of_authority(name))
        if name in self._at:
            return self._gathered(name)
        if name in self._below:
            return ()
        return self._pod(name)

    def _gathered(self, name: str) -> tuple[Record, ...]:
        return tuple(dict.fromkeys(r for records in self._at[name].values() for r in records))

    def _pod(self, name: str) -> tuple[Record, ...] | None:
        label, _, parent = name.partition(".")
        if not parent.endswith(self._pods) or parent not in self._at:
            return None
        record = of_pod_name(label)
        return None if record is None else (record,)

    def _targets(self, answer: list[Owned]) -> Iterator[Owned]:
        """The addresses of what SRV records name, to save a question."""
        for target in dict.fromkeys(o.record.data.split()[-1] for o in answer if o.record.type == "SRV"):
            yield from (Owned(target, r) for r in self._records(target) or () if r.type in ("A", "AAAA"))

    def _set(self, name: str, source: Hashable, records: tuple[Record, ...]) -> set[str]:
        appeared = name not in self._at
        self._at.setdefault(name, {})[source] = records
        return self._count(name, 1) if appeared else set()

    def _remove(self, name: str, source: Hashable) -> set[str]:
        at = self._at[name]
        del at[source]
        if at:
            return set()
        del self._at[name]
        return self._count(name, -1)

    def _count(self, name: str, change: int) -> set[str]:
        """The names above that came to be or ceased to be by what exists below them."""
        touched = set()
        for parent in _upwards(name.partition(".")[2]):
            before = self._below.get(parent, 0)
            if before + change:
                self._below[parent] = before + change
            else:
                del self._below[parent]
            if not before or not before + change:
                touched.add(parent)
        return touched


def _upwards(name: str) -> Iterator[str]:
    """The name itself, its parent, and so on, without the root."""
    while name:
        yield name
        name = name.partition(".")[2]
