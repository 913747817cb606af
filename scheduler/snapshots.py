"""The world as decisions see it: nodes as rows, their facts as columns, changed in place by one event at a time.

A full rebuild for each pod (what upstream avoids with generations) would cost more than the decision. For one thread.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from api.meta import Key
from api.types import Node, Pod
from scheduler import resources
from scheduler.budgets import Budget
from scheduler.columns import Grouped, Ints, Labels, Mask, grown
from scheduler.crowds import Crowds, StandingTerms
from scheduler.nominations import Nominations
from scheduler.remembering import Remembered
from scheduler.resources import CPU, MEMORY, PODS, Amounts
from scheduler.storage import Choice, Storage
from scheduler.tiers import Tiers
from scheduler.wishes import HostPort, Wish, tagged

if TYPE_CHECKING:  # it brings the allocator and the language of its selectors
    from scheduler.devices import Devices, Grant

_FIRST_ROWS = 16


class HeldTaint(NamedTuple):
    key: str
    value: str
    effect: str


class Snapshot:
    """`exists` says which rows stand for a node. Columns have as many rows as it, and are only to be read."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.names: list[str] = []
        self.exists: Mask = np.zeros(0, dtype=np.bool_)
        self.unschedulable: Mask = np.zeros(0, dtype=np.bool_)
        self.labels = Labels()
        self.taints = Grouped()
        self.allocatable: dict[str, Ints] = {CPU: _zeros(), MEMORY: _zeros(), PODS: _zeros()}
        self.used: dict[str, Ints] = {CPU: _zeros(), MEMORY: _zeros(), PODS: _zeros()}
        self.compared: dict[str, Ints] = {CPU: _zeros(), MEMORY: _zeros()}
        self.ports: dict[tuple[str, int], dict[int, Counter[str]]] = {}
        self.images: dict[str, dict[int, int]] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.crowds = Crowds()
        self.standing = StandingTerms()
        self.storage = Storage()
        self.devices: Devices | None = None
        """None as long as nobody has heard of a claim, a class or a slice."""
        self.tiers = Tiers()
        self.nominations = Nominations()
        self.remembered = Remembered()
        self.next_row = 0
        """Where the search for nodes goes on, if not all of them are compared."""
        self._nominated = Tiers()
        self.budgets: dict[Key, Budget] = {}
        self._free: list[int] = []
        self._images_of: dict[int, tuple[str, ...]] = {}
        self._pods: dict[str, dict[Key, Wish]] = {}  # by node name, also of nodes that are not known (any more)
        self._node_of: dict[Key, str] = {}
        self._grow(_FIRST_ROWS)

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self.rows)

    # Nodes

    def set_node(self, node: Node) -> None:
        name = node.metadata.name
        row = self.rows.get(name)
        if row is None:
            row = self._new_row(name)
            self._describe(row, node)
            for wish in self._pods.get(name, {}).values():
                self._count(wish, row, 1)
            for wish in self.nominations.on(name):
                self._nominated.change(wish, row, 1)
        else:
            self._describe(row, node)
        if self.devices is not None:
            self.devices.node_changed(name)

    def remove_node(self, name: str) -> None:
        """Its pods stay known: the node may come back."""
        row = self.rows.pop(name, None)
        if row is None:
            return
        for wish in self._pods.get(name, {}).values():
            self._count(wish, row, -1)
        for wish in self.nominations.on(name):
            self._nominated.change(wish, row, -1)
        self.exists[row] = False
        self.names[row] = ""
        self.labels.set(row, {})
        self._set_images(row, {})
        for column in self.allocatable.values():
            column[row] = 0
        self.remembered.change(row)
        self._free.append(row)
        if self.devices is not None:
            self.devices.node_changed(name)

    def _describe(self, row: int, node: Node) -> None:
        self.labels.set(row, node.metadata.labels)
        self.unschedulable[row] = bool(node.spec.unschedulable)
        self.taints.set(row, tuple(HeldTaint(t.key, t.value, t.effect) for t in node.spec.taints))
        given = resources.amounts(node.status.allocatable or node.status.capacity)
        for resource in given.keys() - self.allocatable.keys():
            self.allocatable[resource] = np.zeros(len(self.exists), dtype=np.int64)
        for resource, column in self.allocatable.items():
            column[row] = given.get(resource, 0)
        self.remembered.change(row)
        self._set_images(row, {tagged(n): i.sizeBytes or 0 for i in node.status.images for n in i.names})

    def _set_images(self, row: int, sizes: Mapping[str, int]) -> None:
        for image in self._images_of.pop(row, ()):
            del self.images[image][row]
            if not self.images[image]:
                del self.images[image]
        if sizes:
            self._images_of[row] = tuple(sizes)
        for image, size in sizes.items():
            self.images.setdefault(image, {})[row] = size

    def _new_row(self, name: str) -> int:
        if not self._free:
            self._grow(2 * len(self.exists))
        row = self._free.pop()
        self.rows[name], self.names[row], self.exists[row] = row, name, True
        return row

    def _grow(self, rows: int) -> None:
        before = len(self.exists)
        self.exists, self.unschedulable = (
            np.concatenate((mask, np.zeros(rows - before, dtype=np.bool_)))
            for mask in (self.exists, self.unschedulable)
        )
        for columns in (self.allocatable, self.used, self.compared):
            for resource, column in columns.items():
                columns[resource] = grown(column, rows)
        for each in (
            self.labels, self.taints, self.crowds, self.standing, self.tiers, self._nominated, self.remembered,
        ):  # fmt: skip
            each.grow(rows)
        self.names += [""] * (rows - before)
        self._free = [*range(rows - 1, before - 1, -1)]

    # Claims

    def with_devices(self) -> "Devices":
        """From now on, they are known."""
        if self.devices is None:
            from scheduler.devices import Devices

            self.devices = Devices()
        return self.devices

    def promise(
        self, choices: Iterable[Choice], grants: Iterable["Grant"], node: str, *, supposed: bool = False
    ) -> None:  # fmt: skip
        """That becomes of the claims of a pod on that node; until it is written, or given up.

        `supposed`: others count on it that are decided in the same go.
        """
        self.storage.reserve(choices, node)
        if self.devices is not None:
            self.devices.reserve(grants, supposed=supposed)

    def withdraw(self, choices: Iterable[Choice], grants: Iterable["Grant"], *, supposed: bool = False) -> None:
        """It is written now, or will never be. To be called once for each promise."""
        self.storage.release(choices)
        if self.devices is not None:
            self.devices.release(grants, supposed=supposed)

    # Pods

    def pods(self, node: str) -> Iterator[Wish]:
        return iter(self._pods.get(node, {}).values())

    @property
    def pod_count(self) -> int:
        return len(self._node_of)

    def node_of(self, pod: Key) -> str:
        """Where the pod is counted, or ""."""
        return self._node_of.get(pod, "")

    def set_pod(self, wish: Wish, node: str) -> None:
        """Count the pod on that node from now on, in the place of what was known of it."""
        self.remove_pod(wish.key)
        self._pods.setdefault(node, {})[wish.key] = wish
        self._node_of[wish.key] = node
        for claim in wish.claims:
            self.storage.users[Key(wish.namespace, claim)] += 1
        if (row := self.rows.get(node)) is not None:
            self._count(wish, row, 1)

    def remove_pod(self, pod: Key) -> Wish | None:
        node = self._node_of.pop(pod, None)
        if node is None:
            return None
        wish = self._pods[node].pop(pod)
        for claim in wish.claims:
            self.storage.users[Key(wish.namespace, claim)] -= 1
        if not self._pods[node]:
            del self._pods[node]
        if (row := self.rows.get(node)) is not None:
            self._count(wish, row, -1)
        return wish

    def refresh(self, key: Key, pod: Pod) -> None:
        """A newer revision of a pod that is counted, in which nothing that counts is different."""
        if (node := self._node_of.get(key)) is not None:
            self._pods[node][key] = replace(self._pods[node][key], pod=pod)

    # Nominations

    def nominate(self, wish: Wish, node: str) -> None:
        self.renounce(wish.key)
        self.nominations.put(wish, node)
        if (row := self.rows.get(node)) is not None:
            self._nominated.change(wish, row, 1)

    def renounce(self, pod: Key) -> str:
        """The node that the pod was nominated to, or ""."""
        place = self.nominations.remove(pod)
        if place is None:
            return ""
        wish, node = place
        if (row := self.rows.get(node)) is not None:
            self._nominated.change(wish, row, -1)
        return node

    @contextmanager
    def counting_nominated(self, wish: Wish) -> Iterator[bool]:
        """As if those that the pod has to leave room for were on their nodes; whether there are any.

        Most pods have nothing to do with them but that they share resources. To add those up costs a hundredth of
        what it costs to count the pods one by one.
        """
        if not self._nominated.has_from(wish.priority):
            yield False
            return
        related = wish.affinity or wish.anti_affinity or wish.spreads_strictly or wish.host_ports or wish.claims
        if not related and not self.nominations.keep_apart and self.nominations.isdisjoint(self._node_of):
            self._reserve(wish, 1)
            try:
                yield True
            finally:
                self._reserve(wish, -1)
            return
        ahead = self.nominations.ahead_of(wish)
        added = [(other, node) for other, node in ahead if other.key not in self._node_of]
        for other, node in added:
            self.set_pod(other, node)
        try:
            yield bool(ahead)
        finally:
            for other, _ in added:
                self.remove_pod(other.key)

    def ahead_on(self, wish: Wish, row: int, node: str) -> Counter[str]:
        """What the pods will use that were nominated to the node and that this one has to leave room for."""
        ahead = self._nominated.from_at(wish.priority, row)
        own, on = self.nominations.place_of(wish.key) or (None, "")
        if own is not None and on == node and own.priority >= wish.priority:
            ahead.subtract(own.requests | {PODS: 1})
        return ahead

    def _reserve(self, wish: Wish, by: int) -> None:
        reserved = self._nominated.from_(wish.priority)
        if PODS in reserved:
            self.remembered.change_all(np.flatnonzero(reserved[PODS]).tolist())
        for resource, amounts in reserved.items():
            column = self.used.get(resource)
            if column is None:
                column = self.used[resource] = np.zeros(len(self.exists), dtype=np.int64)
            column += by * amounts
        own, on = self.nominations.place_of(wish.key) or (None, "")
        if own is not None and on in self.rows and own.priority >= wish.priority:
            self._add(self.used, own.requests | {PODS: 1}, self.rows[on], -by)

    def _count(self, wish: Wish, row: int, by: int) -> None:
        self.remembered.change(row)
        self._add(self.used, wish.requests, row, by)
        for resource, column in self.compared.items():
            column[row] += by * wish.compared.get(resource, 0)
        self.used[PODS][row] += by
        for port in wish.host_ports:
            self._count_port(port, row, by)
        if by > 0:
            self.crowds.add(wish, row)
        else:
            self.crowds.remove(wish, row)
        self.standing.change(wish, row, by)
        self.tiers.change(wish, row, by)

    def _add(self, columns: dict[str, Ints], amounts: Amounts, row: int, by: int) -> None:
        for resource, amount in amounts.items():
            column = columns.get(resource)
            if column is None:
                column = columns[resource] = np.zeros(len(self.exists), dtype=np.int64)
            column[row] += by * amount

    def _count_port(self, port: HostPort, row: int, by: int) -> None:
        rows = self.ports.setdefault((port.protocol, port.port), {})
        addresses = rows.setdefault(row, Counter())
        addresses[port.address] += by
        if not addresses[port.address]:
            del addresses[port.address]
        if not addresses:
            del rows[row]
        if not rows:
            del self.ports[port.protocol, port.port]


def _zeros() -> Ints:
    return np.zeros(0, dtype=np.int64)
